//! Which calls observers get, and when.

use std::sync::{Arc, Barrier, atomic::Ordering};

use super::{
    Bench, BoxFuture,
    entities::{Tree, delete_instance, has, ids, namespace, put_health, put_namespace, set},
    witness::{Journal, Told, commit, state},
};
use crate::{
    model::CustomHealthStatus,
    state::{
        State,
        change::{Change, ChangeSet},
    },
    store::registry::Registry,
};

pub(super) async fn an_observer_is_rebuilt_when_it_is_attached(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let rebuilt = |journal: &Journal| match journal.told().as_slice() {
        [Told::Rebuilt(state)] => state.clone(),
        told => panic!("{} calls", told.len()),
    };
    let (empty, _attached) = Journal::attached(registry);
    assert_eq!(rebuilt(&empty).revision(), state(registry).revision());
    let tree = Tree::new();
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a")])).await;
    let (late, _attached_late) = Journal::attached(registry);
    let start = rebuilt(&late);
    assert_eq!(start.revision(), state(registry).revision());
    assert_eq!(ids(&start, &tree.service), ["a"]);
}

pub(super) async fn an_observer_gets_every_change_once_and_in_order(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let (journal, _attached) = Journal::attached(registry);
    let sets = [
        tree.changes(),
        vec![tree.put("a")],
        vec![tree.put("b"), put_health(&tree.service, "a", CustomHealthStatus::Unhealthy)],
        vec![delete_instance(&tree.service, "a"), tree.put("c"), tree.put("b")],
    ];
    let expected: [(&[&str], &[&str]); 4] =
        [(&[], &[]), (&[], &["a"]), (&["a"], &["a", "b"]), (&["a", "b"], &["b", "c"])];
    for changes in &sets {
        commit(registry, set(changes.clone())).await;
    }
    journal.assert_unbroken();
    let told = journal.sets();
    assert_eq!(told.len(), sets.len());
    for ((told, changes), (old, new)) in told.iter().zip(&sets).zip(expected) {
        assert_eq!(told.changes, *changes);
        assert_eq!(ids(&told.old, &tree.service), old);
        assert_eq!(ids(&told.new, &tree.service), new);
    }
}

pub(super) async fn a_panicking_observer_is_rebuilt_and_the_others_are_notified(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let [(first, _a), (bad, _b), (last, _c)] = [(); 3].map(|()| Journal::attached(registry));
    bad.panics.store(true, Ordering::SeqCst);
    let namespaces = ["a", "b"].map(namespace);
    for namespace in &namespaces {
        commit(registry, set(vec![put_namespace(namespace)])).await;
        assert!(has(&state(registry), namespace));
    }
    for good in [first, last] {
        good.assert_unbroken();
        assert_eq!(good.len(), 3);
    }
    let told = bad.told();
    let [Told::Rebuilt(_), Told::Changed(_), Told::Rebuilt(again), Told::Changed(after)] = told.as_slice()
    else {
        panic!("{} calls", told.len())
    };
    assert!(has(again, &namespaces[0]) && !has(again, &namespaces[1]));
    assert_eq!(after.old.revision(), again.revision());
    assert!(has(&after.new, &namespaces[1]));
}

pub(super) async fn a_panic_in_a_rebuild_affects_nobody_else(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let bad = Arc::new(Journal::default());
    bad.panics_in_rebuild.store(true, Ordering::SeqCst);
    let _attached = bad.attach(registry);
    let (good, _attached_good) = Journal::attached(registry);
    let namespace = namespace("a");
    commit(registry, set(vec![put_namespace(&namespace)])).await;
    assert!(has(&state(registry), &namespace));
    for journal in [&bad, &good] {
        let sets = journal.sets();
        assert_eq!(sets.len(), 1);
        assert!(has(&sets[0].new, &namespace));
    }
}

pub(super) async fn a_detached_observer_gets_nothing_more(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (journal, attached) = Journal::attached(registry);
    let (stays, _attached) = Journal::attached(registry);
    commit(registry, set(vec![put_namespace(&namespace("a"))])).await;
    drop(attached);
    commit(registry, set(vec![put_namespace(&namespace("b"))])).await;
    assert_eq!((journal.len(), stays.len()), (2, 3));
    assert_eq!(Arc::strong_count(&journal), 1, "it is not dropped");
}

/// Commits these one after the other on a thread, while the other future runs.
async fn beside<T: Send + 'static>(
    bench: &Bench,
    registry: &Arc<dyn Registry>,
    sets: Vec<ChangeSet>,
    act: impl Fn() -> T + Send + 'static,
) -> Vec<T> {
    let start = Arc::new(Barrier::new(2));
    let (starting, writer) = (Arc::clone(&start), Arc::clone(registry));
    let writing: BoxFuture<'static, Vec<T>> = Box::pin(async move {
        starting.wait();
        for set in sets {
            commit(&writer, set).await;
        }
        vec![]
    });
    let acting: BoxFuture<'static, Vec<T>> = Box::pin(async move {
        start.wait();
        (0..30).map(|_| act()).collect()
    });
    bench.on_threads(vec![writing, acting]).await.into_iter().flatten().collect()
}

fn many(name: &str) -> Vec<ChangeSet> {
    (0..60).map(|i| set(vec![put_namespace(&namespace(&format!("{name}-{i}")))])).collect()
}

pub(super) async fn detaching_beside_a_writer_leaves_no_gap(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (stays, _attached) = Journal::attached(registry);
    let sets = many("a");
    let (count, on) = (sets.len(), Arc::clone(registry));
    let journals = beside(bench, registry, sets, move || {
        let (journal, attached) = Journal::attached(&on);
        std::thread::yield_now();
        drop(attached);
        let told = journal.len();
        (journal, told)
    });
    for (journal, told) in journals.await {
        journal.assert_unbroken();
        assert_eq!(journal.len(), told, "called after it was detached");
        assert_eq!(Arc::strong_count(&journal), 1);
    }
    stays.assert_unbroken();
    assert_eq!(stays.sets().len(), count, "who stays misses nothing");
}

pub(super) async fn attaching_beside_a_writer_misses_nothing(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let sets = many("a");
    let last: Vec<Change> = sets.last().unwrap().changes.clone();
    let on = Arc::clone(registry);
    let journals = beside(bench, registry, sets, move || Journal::attached(&on)).await;
    let end = state(registry);
    for (journal, _attached) in journals {
        journal.assert_unbroken();
        let known: Option<State> = journal.told().pop().map(|told| match told {
            Told::Rebuilt(state) => state,
            Told::Changed(set) => set.new,
        });
        assert_eq!(known.map(|state| state.revision()), Some(end.revision()), "the last state is known");
    }
    let [Change::PutNamespace(last)] = last.as_slice() else { panic!("one namespace") };
    assert!(has(&end, last));
}
