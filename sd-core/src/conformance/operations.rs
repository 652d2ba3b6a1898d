//! The log of finished operations.

use super::{
    Bench,
    entities::{Tree, namespace, operation, put_namespace, set},
    witness::{Journal, commit},
};
use crate::state::change::ChangeSet;

/// A set that creates a namespace and finishes an operation.
fn finishing(name: &str) -> ChangeSet {
    let mut set = set(vec![put_namespace(&namespace(name))]);
    set.operation = Some(operation());
    set
}

pub(super) async fn an_operation_is_in_the_log_once(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    for (count, name) in (1..).zip(["a", "b", "c"]) {
        let set = finishing(name);
        let operation = set.operation.clone().unwrap();
        commit(registry, set).await;
        let log = registry.cell().operations();
        assert_eq!(log.get(operation.id.as_str()), Some(operation));
        assert_eq!(log.len(), count);
    }
}

pub(super) async fn an_operation_without_changes_is_in_the_log(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let mut set = set(vec![]);
    let operation = operation();
    set.operation = Some(operation.clone());
    commit(registry, set).await;
    let log = registry.cell().operations();
    assert_eq!((log.get(operation.id.as_str()), log.len()), (Some(operation), 1));
}

pub(super) async fn storing_an_operation_twice_logs_it_once(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let mut empty = set(vec![]);
    empty.operation = Some(operation());
    for (count, set) in (1..).zip([finishing("a"), empty]) {
        commit(registry, set.clone()).await;
        commit(registry, set.clone()).await;
        let operation = set.operation.unwrap();
        let log = registry.cell().operations();
        assert_eq!((log.get(operation.id.as_str()), log.len()), (Some(operation), count));
    }
}

pub(super) async fn observers_find_the_operation_in_the_log(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (journal, _attached) = Journal::attached(registry);
    let set = finishing("a");
    journal.look_for(&set.operation.as_ref().unwrap().id);
    commit(registry, set).await;
    let logged: Vec<_> = journal.sets().iter().map(|set| set.logged).collect();
    assert_eq!(logged, [true]);
}

pub(super) async fn a_set_without_an_operation_logs_none(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a")])).await;
    commit(registry, set(vec![])).await;
    assert!(registry.cell().operations().is_empty());
}
