//! Registries that can be forked.

use std::sync::Arc;

use super::{
    Bench, Subject,
    entities::{Tree, delete_instance, ids, operation, set},
    witness::{Journal, Waiter, commit, state},
};
use crate::store::registry::Registry;

/// An original with instance `a` and an operation, and its fork.
async fn forked(bench: &Bench) -> (Subject, Tree, Arc<dyn Registry>) {
    let subject = bench.fresh().await;
    let tree = Tree::new();
    commit(subject.registry(), set(tree.changes())).await;
    let mut registration = set(vec![tree.put("a")]);
    registration.operation = Some(operation());
    commit(subject.registry(), registration).await;
    let fork = subject.fork.as_ref().expect("the factory says `forked_by`")();
    (subject, tree, fork)
}

pub(super) async fn a_fork_starts_with_the_state_and_the_operations(bench: &Bench) {
    let (subject, tree, fork) = forked(bench).await;
    assert_eq!(ids(&state(&fork), &tree.service), ["a"]);
    assert_eq!(state(&fork).revision(), state(subject.registry()).revision());
    assert_eq!(fork.cell().operations().len(), 1);
}

pub(super) async fn forks_do_not_see_each_other(bench: &Bench) {
    let (subject, tree, fork) = forked(bench).await;
    let original = subject.registry();
    for (registry, id) in [(original, "original"), (&fork, "fork")] {
        let mut registration = set(vec![tree.put(id)]);
        registration.operation = Some(operation());
        commit(registry, registration).await;
    }
    commit(&fork, set(vec![delete_instance(&tree.service, "a")])).await;
    assert_eq!(ids(&state(original), &tree.service), ["a", "original"]);
    assert_eq!(ids(&state(&fork), &tree.service), ["fork"]);
    for registry in [original, &fork] {
        assert_eq!(registry.cell().operations().len(), 2);
    }
}

pub(super) async fn observers_stay_with_the_original(bench: &Bench) {
    let subject = bench.fresh().await;
    let (original, tree) = (subject.registry(), Tree::new());
    let (journal, _attached) = Journal::attached(original);
    let mut waiter = Waiter::new(original);
    commit(original, set(tree.changes())).await;
    assert!(waiter.ask().is_some() && waiter.ask().is_none());
    let fork = subject.fork.as_ref().expect("the factory says `forked_by`")();
    commit(&fork, set(vec![tree.put("a")])).await;
    assert_eq!((journal.sets().len(), waiter.rung()), (1, 0));
    commit(original, set(vec![tree.put("b")])).await;
    assert_eq!((journal.sets().len(), waiter.rung()), (2, 1));
    journal.assert_unbroken();
}
