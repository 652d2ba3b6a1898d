//! A committed set is visible at once and as a whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::{
    Bench,
    entities::{Tree, delete_instance, entry, has, here, ids, is_whole, namespace, pair, put_namespace, set},
    threads::looking,
    witness::{Journal, Waiter, commit, state},
};
use crate::{
    state::{State, change::Change},
    store::registry::Registry,
};

pub(super) async fn a_commit_is_in_the_cell_when_it_returns(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    let shown = state(registry);
    assert!(has(&shown, &tree.namespace));
    assert_eq!(entry(&shown, &tree.service).map(|entry| &**entry.service()), Some(&tree.service));
    for id in ["a", "b", "c"] {
        commit(registry, set(vec![tree.put(id)])).await;
        assert!(ids(&state(registry), &tree.service).contains(&id.to_owned()), "{id}");
    }
    commit(registry, set(vec![delete_instance(&tree.service, "b")])).await;
    assert_eq!(ids(&state(registry), &tree.service), ["a", "c"]);
}

pub(super) async fn a_commit_reaches_observers_before_it_returns(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (journal, _attached) = Journal::attached(registry);
    for name in ["a", "b", "c"] {
        let namespace = namespace(name);
        commit(registry, set(vec![put_namespace(&namespace)])).await;
        let sets = journal.sets();
        assert!(
            sets.last().is_some_and(|set| has(&set.new, &namespace)),
            "{name} did not reach the observer"
        );
    }
}

pub(super) async fn a_commit_wakes_subscriptions_before_it_returns(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let mut waiter = Waiter::new(registry);
    for (round, name) in (1..).zip(["a", "b", "c"]) {
        let namespace = namespace(name);
        assert!(waiter.ask().is_none(), "nothing has changed");
        commit(registry, set(vec![put_namespace(&namespace)])).await;
        assert_eq!(waiter.rung(), round, "who waits is woken once");
        assert!(waiter.ask().is_some_and(|state| has(&state, &namespace)), "{name} is not in the new state");
    }
}

/// Sets that create pairs of namespaces, then delete them.
fn pairs() -> Vec<Vec<Change>> {
    let pairs: Vec<_> = (0..8).map(pair).collect();
    let creations = pairs.iter().map(|pair| pair.iter().map(put_namespace).collect());
    let deletions =
        pairs.iter().map(|pair| pair.iter().map(|one| Change::DeleteNamespace(one.id.clone())).collect());
    creations.chain(deletions).collect()
}

pub(super) async fn no_reader_sees_half_of_a_set(bench: &Bench) {
    struct Stop(Arc<AtomicBool>);
    impl Drop for Stop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let stop = Stop(Arc::default());
    let (stopped, cell) = (Arc::clone(&stop.0), registry.cell().clone());
    // One reader never pauses, one reads when it is woken, one between the polls of the commit.
    let reader = thread::spawn(move || {
        let mut halves = 0;
        while !stopped.load(Ordering::SeqCst) {
            halves += usize::from(!is_whole(&cell.load()));
        }
        halves
    });
    let mut waiter = Waiter::new(registry);
    let mut halves = 0;
    for changes in pairs() {
        waiter.ask();
        let look = || halves += usize::from(!is_whole(&registry.cell().load()));
        let result = looking(registry.commit(set(changes)), look).await;
        assert!(result.is_ok(), "{result:?}");
    }
    drop(stop);
    assert_eq!(halves, 0, "seen while the commit waited");
    assert!(waiter.seen().iter().all(is_whole), "seen by a task that was woken");
    assert_eq!(reader.join().unwrap(), 0, "seen by a thread");
}

pub(super) async fn no_observer_sees_half_of_a_set(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (journal, _attached) = Journal::attached(registry);
    let pairs = pairs();
    for changes in &pairs {
        commit(registry, set(changes.clone())).await;
    }
    let sets = journal.sets();
    assert!(sets.iter().all(|set| is_whole(&set.old) && is_whole(&set.new) && is_whole(&set.shown)));
    assert_eq!(sets.len(), pairs.len(), "each set is one call");
}

pub(super) async fn a_large_set_is_one_change(bench: &Bench) {
    const COUNT: usize = 300;
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let (journal, _attached) = Journal::attached(registry);
    let mut changes = tree.changes();
    changes.extend(tree.put_all((0..COUNT).map(|i| format!("i-{i}"))));
    commit(registry, set(changes)).await;
    let counts = journal.sets();
    let counts: Vec<_> = counts.iter().map(|set| ids(&set.new, &tree.service).len()).collect();
    assert_eq!(counts, [COUNT]);
    assert_eq!(ids(&state(registry), &tree.service).len(), COUNT);
}

pub(super) async fn a_held_state_does_not_change(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a")])).await;
    let (held, copy) = (registry.cell().load(), state(registry));
    commit(registry, set(vec![delete_instance(&tree.service, "a"), tree.put("b")])).await;
    for state in [&*held, &copy] {
        assert_eq!(ids(state, &tree.service), ["a"]);
    }
    assert_eq!(ids(&state(registry), &tree.service), ["b"]);
}

pub(super) async fn the_state_does_not_change_without_a_commit(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry: &Arc<dyn Registry> = subject.registry();
    let empty = |state: &State| here(state).namespaces().next().is_none();
    assert!(empty(&state(registry)), "a fresh registry is empty");
    assert!(registry.cell().operations().is_empty());
    let start = state(registry).revision();
    let (journal, attached) = Journal::attached(registry);
    let mut waiter = Waiter::new(registry);
    assert!(waiter.ask().is_none());
    drop(attached);
    assert_eq!(journal.len(), 1, "an observer is rebuilt once");
    assert_eq!((state(registry).revision(), waiter.rung()), (start, 0));
    assert!(empty(&state(registry)));
}
