//! Sets that make a scope start over.

use std::sync::Arc;

use super::{
    Bench,
    entities::{
        Tree, creation, elsewhere, free, has, here, ids, instance_key, namespace, operation, pending,
        put_namespace, reborn, registration, relying, set,
    },
    witness::{Journal, commit, refused, state},
};
use crate::{
    api::{
        error::ErrorCode,
        request::{CreateHttpNamespaceRequest, GetOperationRequest},
    },
    cloud_map::CloudMap,
    model::{Scope, Timestamp, UniqueKey},
    state::change::{ChangeSet, Precondition},
    store::registry::{Lookup, Registry},
};

/// A set that makes the default scope start over.
fn reset() -> ChangeSet {
    let mut reset = set(vec![]);
    reset.reset = true;
    reset
}

/// A tree with instance `a` and a finished operation.
async fn filled(registry: &Arc<dyn Registry>) -> Tree {
    let tree = Tree::new();
    commit(registry, set(tree.changes())).await;
    let mut registration = set(vec![tree.put("a")]);
    registration.operation = Some(operation());
    commit(registry, registration).await;
    tree
}

/// The same namespace and service, created again: they have other incarnations.
fn again(tree: &Tree) -> Tree {
    let (mut namespace, mut service) = (tree.namespace.clone(), tree.service.clone());
    namespace.incarnation = reborn(namespace.incarnation);
    service.incarnation = reborn(service.incarnation);
    Tree { namespace, service }
}

pub(super) async fn a_reset_deletes_everything_in_its_scope(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let tree = filled(registry).await;
    let before = state(registry).revision();
    commit(registry, reset()).await;
    let shown = state(registry);
    assert_eq!((here(&shown).namespaces().count(), here(&shown).services_after(None).count()), (0, 0));
    assert!(shown.revision() > before);
    // All of it can be created again, without its former children.
    let name = Precondition::Free(UniqueKey::HttpName("app".into()));
    let id = Precondition::Free(UniqueKey::Id(instance_key(&tree.service, "a")));
    let again = again(&tree);
    commit(registry, relying(vec![free(&tree.namespace), name, id], again.changes())).await;
    assert_eq!(ids(&state(registry), &again.service), [""; 0]);
    commit(registry, set(vec![again.put("a")])).await;
    assert_eq!(ids(&state(registry), &again.service), ["a"]);
}

pub(super) async fn a_reset_forgets_finished_operations(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    filled(registry).await;
    commit(registry, reset()).await;
    assert!(registry.cell().operations().is_empty());
    // Nor do they come back with the next set, or with the next operation.
    commit(registry, set(vec![put_namespace(&namespace("next"))])).await;
    let mut finishing = set(vec![]);
    let next = operation();
    finishing.operation = Some(Arc::clone(&next));
    commit(registry, finishing).await;
    let log = registry.cell().operations();
    assert_eq!((log.get(next.id.as_str()), log.len()), (Some(next), 1));
}

pub(super) async fn operations_under_way_come_to_nothing_after_a_reset(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let tree = Tree::new();
    commit(registry, set(tree.changes())).await;
    let (creation, registration) = (creation("late"), registration(&tree, "a"));
    let due = pending(&creation).due;
    for begun in [&creation, &registration] {
        commit(registry, begun.clone()).await;
    }
    commit(registry, reset()).await;
    assert_eq!(registry.cell().next_deadline(), None);
    let claims = [&creation, &registration].map(|begun| pending(begun).claims.clone()).concat();
    let claims = claims.into_iter().map(Precondition::Free).collect();
    commit(registry, relying(claims, again(&tree).changes())).await;
    registry.cell().advance(due);
    let mut later = set(vec![put_namespace(&namespace("next"))]);
    later.at = Timestamp::from_millis(due.as_millis() + 1);
    commit(registry, later).await;
    let shown = state(registry);
    assert_eq!((here(&shown).namespaces().count(), ids(&shown, &tree.service).len()), (2, 0));
    assert!(registry.cell().operations().is_empty());
}

pub(super) async fn a_reset_leaves_other_scopes_alone(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, mut there) = (subject.registry(), namespace("there"));
    there.scope = elsewhere();
    let mut creation = set(vec![put_namespace(&there)]);
    creation.scope = elsewhere();
    let mut operation = (*operation()).clone();
    operation.scope = elsewhere();
    creation.operation = Some(Arc::new(operation.clone()));
    commit(registry, creation).await;
    filled(registry).await;
    commit(registry, reset()).await;
    let shown = state(registry);
    assert_eq!(here(&shown).namespaces().count(), 0);
    assert!(shown.scope(&elsewhere()).namespace(there.id.as_str()).is_some());
    let log = registry.cell().operations();
    assert_eq!((log.get(operation.id.as_str()).as_deref(), log.len()), (Some(&operation), 1));
}

pub(super) async fn a_reset_comes_before_the_changes_of_its_set(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let tree = filled(registry).await;
    let (journal, _attached) = Journal::attached(registry);
    let (mut again, next, operation) = (reset(), namespace("next"), operation());
    // Preconditions are about the state before it.
    let service = Precondition::Live(super::entities::service_key(&tree.service), tree.service.incarnation);
    again.preconditions = vec![service, free(&next)];
    again.changes = vec![put_namespace(&next)];
    again.operation = Some(Arc::clone(&operation));
    commit(registry, again).await;
    let shown = state(registry);
    assert!(has(&shown, &next) && here(&shown).namespaces().count() == 1);
    let log = registry.cell().operations();
    assert_eq!((log.get(operation.id.as_str()), log.len()), (Some(operation), 1));
    // Nobody sees the scope empty in between.
    journal.assert_unbroken();
    assert!(journal.sets().iter().all(|set| has(&set.new, &next)));
}

pub(super) async fn observers_see_a_reset_as_deletions(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    filled(registry).await;
    let (journal, _attached) = Journal::attached(registry);
    commit(registry, reset()).await;
    // The second time there is nothing to tell.
    commit(registry, reset()).await;
    journal.assert_unbroken();
    let sets = journal.sets();
    assert_eq!(sets.len(), 1, "all at once");
    assert_eq!((&sets[0].scope, sets[0].changes.len()), (&Scope::default(), 3));
    assert_eq!(sets[0].changes, sets[0].old.deletions(&Scope::default()));
}

pub(super) async fn a_reset_that_is_refused_changes_nothing(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let tree = filled(registry).await;
    let mut relying = reset();
    relying.preconditions = vec![free(&tree.namespace)];
    refused(registry, relying).await;
    assert_eq!(ids(&state(registry), &tree.service), ["a"]);
    assert_eq!(registry.cell().operations().len(), 1);
}

pub(super) async fn a_reset_applies_to_every_handle(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two) = (subject.registry(), subject.another().await);
    let tree = filled(one).await;
    // The other handle has seen it all.
    refused(&two, relying(vec![free(&tree.namespace)], vec![])).await;
    let id = operation();
    let mut finishing = set(vec![]);
    finishing.operation = Some(Arc::clone(&id));
    commit(&two, finishing).await;
    commit(one, reset()).await;
    commit(&two, relying(vec![free(&tree.namespace)], vec![put_namespace(&namespace("next"))])).await;
    let shown = state(&two);
    assert_eq!((here(&shown).namespaces().count(), here(&shown).services_after(None).count()), (1, 0));
    assert!(two.cell().operations().is_empty(), "it has forgotten the operations");
    // One that is opened later never hears of them.
    let three = subject.another().await;
    commit(&three, set(vec![])).await;
    assert_eq!(here(&state(&three)).namespaces().count(), 1);
    assert!(three.cell().operations().is_empty());
}

pub(super) async fn a_reset_forgets_operations_that_other_handles_know(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two) = (subject.registry(), subject.another().await);
    let mut facts = Vec::new();
    for (handle, name) in [(one, "one"), (&two, "two")] {
        let api = CloudMap::new(Arc::clone(handle)).at(Scope::default());
        let started = api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).await.unwrap();
        facts.push(Lookup::Operation(started.operation_id));
    }
    for handle in [one, &two] {
        handle.refresh(&Scope::default(), &facts).await.unwrap();
        assert_eq!(handle.cell().operations().len(), 2);
    }
    commit(&two, reset()).await;
    for handle in [one, &two, &subject.another().await] {
        handle.refresh(&Scope::default(), &facts).await.unwrap();
        assert!(handle.cell().operations().is_empty(), "it remembers operations from before");
        assert_eq!(here(&state(handle)).namespaces().count(), 0);
    }
}

pub(super) async fn the_instances_revision_grows_over_a_reset(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let tree = filled(registry).await;
    // As many within a millisecond that the revision is ahead of the time.
    for number in 0..5 {
        commit(registry, set(vec![tree.put(&format!("i-{number}"))])).await;
    }
    let revision = || {
        let shown = state(registry);
        super::entities::entry(&shown, &tree.service).unwrap().instances_revision()
    };
    let before = revision();
    commit(registry, reset()).await;
    commit(registry, set(again(&tree).changes())).await;
    assert!(revision() > before);
}

pub(super) async fn cloud_map_reset_empties_every_scope(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let cloud_map = CloudMap::new(Arc::clone(registry));
    let apis = [Scope::default(), elsewhere()].map(|scope| cloud_map.at(scope));
    let mut started = Vec::new();
    for api in &apis {
        let request = CreateHttpNamespaceRequest::new("app");
        started.push(api.create_http_namespace(request).await.unwrap().operation_id);
    }
    cloud_map.reset().await.unwrap();
    assert_eq!(state(registry).scopes().count(), 0);
    for (api, id) in apis.iter().zip(&started) {
        // Also after the backend has heard of something else.
        api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
        let found = api.get_operation(GetOperationRequest::new(id.as_str()));
        assert_eq!(found.unwrap_err().code(), ErrorCode::OperationNotFound);
    }
}
