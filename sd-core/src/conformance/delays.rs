//! Operations that take their time: they are stored when they begin, and end by themselves.

use std::sync::Arc;

use super::{
    Bench,
    entities::{
        DELAY, NOW, Tree, creation, elsewhere, entry, here, ids, instance_key, namespace_update, pending,
        put_namespace, registration, relying, service_key, set, update,
    },
    witness::{Journal, Waiter, assert_legal, commit, refused, state},
};
use crate::{
    model::{HealthStatus, RecordType, Tags, Timestamp, UniqueKey},
    state::{
        State,
        change::{Change, Precondition},
    },
    store::registry::Registry,
};

/// The last moment at which it is under way, and the first at which it is not.
const BEFORE: Timestamp = Timestamp::from_millis(NOW + DELAY - 1);
pub(super) const DUE: Timestamp = Timestamp::from_millis(NOW + DELAY);

fn is_empty(state: &State) -> bool {
    here(state).namespaces().next().is_none()
}

pub(super) async fn an_operation_under_way_holds_its_keys(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    let (created, registered) = (creation("late"), registration(&tree, "a"));
    let keys =
        [UniqueKey::NamespaceInCreation("late".into()), UniqueKey::Target(instance_key(&tree.service, "a"))];
    let others =
        [UniqueKey::NamespaceInCreation("app".into()), UniqueKey::Target(instance_key(&tree.service, "b"))];
    let free = |keys: &[UniqueKey]| keys.iter().cloned().map(Precondition::Free).collect::<Vec<_>>();
    commit(registry, relying(free(&keys), vec![])).await;
    for begun in [created, registered] {
        for claim in &pending(&begun).claims {
            commit(registry, relying(vec![Precondition::Free(claim.clone())], vec![])).await;
        }
        commit(registry, begun.clone()).await;
        for claim in &pending(&begun).claims {
            refused(registry, relying(vec![Precondition::Free(claim.clone())], vec![])).await;
        }
    }
    registry.cell().advance(BEFORE);
    for key in keys.clone() {
        refused(registry, relying(vec![Precondition::Free(key)], vec![])).await;
    }
    commit(registry, relying(free(&others), vec![])).await;
    let mut elsewhere_free = relying(free(&keys), vec![]);
    elsewhere_free.scope = elsewhere();
    commit(registry, elsewhere_free).await;
    registry.cell().advance(DUE);
    let mut after = relying(free(&keys), vec![]);
    after.at = DUE;
    commit(registry, after).await;
}

pub(super) async fn pending_holds_while_an_operation_is_under_way(bench: &Bench) {
    let tree = Tree::new();
    for begun in [registration(&tree, "a"), creation("late")] {
        let subject = bench.fresh().await;
        let (one, two) = (subject.registry(), subject.another().await);
        commit(one, set(tree.changes())).await;
        let is_pending = Precondition::Pending(pending(&begun).operation.id.clone());
        refused(&two, relying(vec![is_pending.clone()], vec![])).await;
        commit(one, begun).await;
        for handle in [one, &two] {
            commit(handle, relying(vec![is_pending.clone()], vec![])).await;
            let mut late = relying(vec![is_pending.clone()], vec![]);
            late.at = BEFORE;
            commit(handle, late).await;
        }
        let mut over = relying(vec![is_pending.clone()], vec![]);
        over.at = DUE;
        refused(&two, over).await;
    }
}

pub(super) async fn an_operation_ends_at_its_moment(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let begun = creation("late");
    let id = pending(&begun).operation.id.clone();
    let logged = |registry: &Arc<dyn Registry>| registry.cell().operations().get(id.as_str()).is_some();
    commit(registry, begun).await;
    assert_eq!(registry.cell().next_deadline(), Some(DUE));
    for moment in [Timestamp::from_millis(NOW), BEFORE] {
        registry.cell().advance(moment);
        assert!(is_empty(&state(registry)) && !logged(registry), "before its time");
    }
    for _ in 0..2 {
        registry.cell().advance(DUE);
        let shown = state(registry);
        assert_eq!(here(&shown).namespaces().count(), 1);
        assert_legal(&shown);
        assert!(logged(registry));
        assert_eq!((registry.cell().operations().len(), registry.cell().next_deadline()), (1, None));
    }
    // The registry still works.
    let next = super::entities::namespace("next");
    commit(registry, set(vec![put_namespace(&next)])).await;
    assert_eq!(here(&state(registry)).namespaces().count(), 2);
}

pub(super) async fn the_end_of_an_operation_reaches_observers(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (journal, _attached) = Journal::attached(registry);
    let mut waiter = Waiter::new(registry);
    let begun = creation("late");
    journal.look_for(&pending(&begun).operation.id);
    commit(registry, begun.clone()).await;
    assert!(waiter.ask().is_some() && waiter.ask().is_none(), "that it has begun is a change");
    let rung = waiter.rung();
    registry.cell().advance(BEFORE);
    assert_eq!(
        (journal.sets().len(), waiter.rung()),
        (1, rung),
        "the end reached an observer before its time"
    );
    registry.cell().advance(DUE);
    assert_eq!(waiter.rung(), rung + 1);
    assert!(waiter.ask().is_some_and(|state| !is_empty(&state)));
    journal.assert_unbroken();
    let told = journal.sets();
    let [first, last] = told.as_slice() else { panic!("{} calls", told.len()) };
    assert_eq!(first.changes, begun.changes);
    assert!(is_empty(&first.new) && !first.logged);
    assert_eq!(last.changes, pending(&begun).effect);
    assert!(is_empty(&last.old) && !is_empty(&last.new) && last.logged);
}

pub(super) async fn a_service_is_not_childless_while_a_registration_is_under_way(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    let childless = || Precondition::Childless(service_key(&tree.service));
    let deletion = Change::DeleteService(tree.service.id.clone());
    commit(registry, relying(vec![childless()], vec![])).await;
    commit(registry, registration(&tree, "a")).await;
    refused(registry, relying(vec![childless()], vec![])).await;
    refused(registry, relying(vec![childless()], vec![deletion.clone()])).await;
    assert!(ids(&state(registry), &tree.service).is_empty());
    registry.cell().advance(DUE);
    refused(registry, relying(vec![childless()], vec![deletion])).await;
    assert_eq!(ids(&state(registry), &tree.service), ["a"]);
}

pub(super) async fn a_service_is_not_childless_while_it_is_updated(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::in_zone());
    commit(registry, set(tree.changes())).await;
    commit(registry, set(update(&tree).changes)).await;
    let childless = Precondition::Childless(service_key(&tree.service));
    let deletion = Change::DeleteService(tree.service.id.clone());
    refused(registry, relying(vec![childless.clone()], vec![deletion.clone()])).await;
    registry.cell().advance(DUE);
    let mut after = relying(vec![childless], vec![deletion]);
    after.at = DUE;
    commit(registry, after).await;
    assert!(entry(&state(registry), &tree.service).is_none());
}

pub(super) async fn changes_during_an_update_are_kept(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::in_zone());
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a")])).await;
    commit(registry, set([update(&tree).changes, namespace_update(&tree).changes].concat())).await;
    let tags = Tags::new([("key".to_owned(), "value".to_owned())].into());
    let mut tagged = Tree { namespace: tree.namespace.clone(), service: tree.service.clone() };
    (tagged.namespace.tags, tagged.service.tags) = (tags.clone(), tags.clone());
    commit(registry, set(tagged.changes())).await;
    commit(registry, set(vec![tree.put("b")])).await;
    registry.cell().advance(DUE);
    let state = state(registry);
    assert_legal(&state);
    let namespace = here(&state).namespace(tree.namespace.id.as_str()).unwrap().namespace();
    assert_eq!((namespace.description.as_deref(), &namespace.tags), (Some("changed"), &tags));
    let found = entry(&state, &tree.service).unwrap();
    assert_eq!(
        (found.service().dns_config().unwrap().ttl(RecordType::A), &found.service().tags),
        (Some(5), &tags)
    );
    assert_eq!(ids(&state, &tree.service), ["a", "b"]);
    assert!(found.instances().iter().all(|entry| entry.health().status() == HealthStatus::Healthy));
}

pub(super) async fn an_operation_ends_at_the_same_moment_on_every_handle(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    commit(one, set(tree.changes())).await;
    commit(one, registration(&tree, "a")).await;
    let target = UniqueKey::Target(instance_key(&tree.service, "a"));
    refused(&two, relying(vec![Precondition::Free(target)], vec![])).await;
    assert_eq!(two.cell().next_deadline(), Some(DUE), "the refusal does not show the operation");
    assert!(ids(&state(&two), &tree.service).is_empty());
    for handle in [one, &two] {
        handle.cell().advance(DUE);
        assert_eq!(ids(&state(handle), &tree.service), ["a"]);
        assert_eq!(handle.cell().operations().len(), 1);
    }
}
