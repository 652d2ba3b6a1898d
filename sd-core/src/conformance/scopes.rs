//! Accounts and Regions.

use super::{
    Bench,
    entities::{Tree, delete_instance, elsewhere, entry, free, has, here, ids, put_namespace, relying, set},
    witness::{Journal, commit, refused, state},
};
use crate::{
    model::{Scope, UniqueKey},
    state::change::{Change, ChangeSet, Precondition},
};

fn moved(mut set: ChangeSet) -> ChangeSet {
    set.scope = elsewhere();
    set
}

/// The same entities, of the other scope.
fn twin(tree: &Tree) -> Tree {
    let (mut namespace, mut service) = (tree.namespace.clone(), tree.service.clone());
    namespace.scope = elsewhere();
    service.scope = elsewhere();
    Tree { namespace, service }
}

pub(super) async fn scopes_do_not_touch_each_other(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let (other, put) = (twin(&tree), tree.put("a"));
    let name = Precondition::Free(UniqueKey::HttpName("app".into()));
    let nothing_there = vec![free(&tree.namespace), name];
    commit(registry, relying(nothing_there.clone(), tree.changes())).await;
    commit(registry, moved(relying(nothing_there.clone(), other.changes()))).await;
    refused(registry, relying(nothing_there.clone(), vec![])).await;
    refused(registry, moved(relying(nothing_there.clone(), vec![]))).await;
    commit(registry, set(vec![put.clone()])).await;

    let elsewhere = elsewhere();
    let shown = state(registry);
    let there = shown.scope(&elsewhere).service(tree.service.id.as_str()).expect("the service is there too");
    assert_eq!(there.service().scope, elsewhere);
    assert!(there.instances().is_empty(), "an instance of another scope");
    assert_eq!(ids(&shown, &tree.service), ["a"]);

    let childless = Precondition::Childless(super::entities::service_key(&tree.service));
    let deletions = vec![
        Change::DeleteService(tree.service.id.clone()),
        Change::DeleteNamespace(tree.namespace.id.clone()),
    ];
    commit(registry, moved(relying(vec![childless], deletions))).await;
    let shown = state(registry);
    assert_eq!(shown.scope(&elsewhere).namespaces().count(), 0);
    assert!(has(&shown, &tree.namespace), "deleted in another scope");
    assert_eq!(ids(&shown, &tree.service), ["a"]);
    commit(registry, moved(relying(nothing_there, vec![put_namespace(&other.namespace)]))).await;
    assert_eq!(here(&state(registry)).namespaces().count(), 1);
}

pub(super) async fn observers_get_the_scope(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let (journal, _attached) = Journal::attached(registry);
    let put = tree.put("a");
    commit(registry, set(tree.changes())).await;
    commit(registry, moved(set(twin(&tree).changes()))).await;
    commit(registry, moved(set(vec![put]))).await;
    commit(registry, set(vec![delete_instance(&tree.service, "a")])).await;
    let told = journal.sets();
    let scopes: Vec<_> = told.iter().map(|set| set.scope.clone()).collect();
    assert_eq!(scopes, [Scope::default(), elsewhere(), elsewhere(), Scope::default()]);
    assert!(told.iter().all(|set| entry(&set.new, &tree.service).is_some()));
    journal.assert_unbroken();
}
