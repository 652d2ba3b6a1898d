//! Waiting for a change: no change is missed.

use std::sync::{Arc, Barrier};

use super::{
    Bench, BoxFuture,
    entities::{has, namespace, put_namespace, set},
    witness::{Waiter, commit},
};
use crate::state::State;

pub(super) async fn a_subscription_merges_changes_and_loses_none(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (mut patient, mut waiting) = (Waiter::new(registry), Waiter::new(registry));
    assert!(waiting.ask().is_none());
    let namespaces = ["a", "b", "c"].map(namespace);
    for namespace in &namespaces {
        commit(registry, set(vec![put_namespace(namespace)])).await;
    }
    assert_eq!(waiting.rung(), 1, "woken once until it asks again");
    for waiter in [&mut patient, &mut waiting] {
        let state = waiter.ask().expect("something is new");
        assert!(namespaces.iter().all(|namespace| has(&state, namespace)), "the newest state");
        assert!(waiter.ask().is_none(), "once");
    }
}

pub(super) async fn a_subscription_starts_with_the_current_state(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    commit(registry, set(vec![put_namespace(&namespace("a"))])).await;
    let mut waiter = Waiter::new(registry);
    assert!(waiter.ask().is_none());
    let next = namespace("b");
    commit(registry, set(vec![put_namespace(&next)])).await;
    assert!(waiter.ask().is_some_and(|state| has(&state, &next)));
    // A dropped subscription is not woken.
    assert!(waiter.ask().is_none());
    drop(waiter);
    commit(registry, set(vec![put_namespace(&namespace("c"))])).await;
}

pub(super) async fn a_waiter_and_a_writer_never_miss_each_other(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    for round in 0..50 {
        let namespace = namespace(&format!("app-{round}"));
        let start = Arc::new(Barrier::new(2));
        let (starting, writer) = (Arc::clone(&start), Arc::clone(registry));
        let put = set(vec![put_namespace(&namespace)]);
        let mut waiter = Waiter::new(registry);
        let writing: BoxFuture<'static, Option<(Waiter, Option<State>)>> = Box::pin(async move {
            starting.wait();
            commit(&writer, put).await;
            None
        });
        let waiting: BoxFuture<'static, _> = Box::pin(async move {
            start.wait();
            let answer = waiter.ask();
            Some((waiter, answer))
        });
        let ends = bench.on_threads(vec![writing, waiting]).await;
        let Some((mut waiter, answer)) = ends.into_iter().flatten().next() else { panic!("it has ended") };
        // The writer has ended: who was not given the state has been woken for it.
        let state = answer.or_else(|| {
            assert!(waiter.rung() > 0, "it still waits in round {round}");
            waiter.ask()
        });
        assert!(state.is_some_and(|state| has(&state, &namespace)));
    }
}
