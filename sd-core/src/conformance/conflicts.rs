//! Writers that meet, on one handle and on two.

use std::sync::{Arc, Barrier};

use super::{
    Bench, BoxFuture,
    entities::{
        Tree, entry, free, has, ids, instance, instance_key, live, namespace, namespace_key, put_instance,
        put_namespace, put_service, relying, service_key, set,
    },
    threads::in_turns,
    witness::{Journal, commit, refused, state},
};
use crate::{
    model::{Namespace, UniqueKey},
    state::{
        InstanceEntry, State,
        change::{Change, Precondition},
    },
    store::registry::{CommitError, Registry},
};

pub(super) async fn a_conflict_shows_the_owner_of_the_key(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two) = (subject.registry(), subject.another().await);
    for name in ["a", "b", "c"] {
        let namespace = namespace(name);
        commit(one, set(vec![put_namespace(&namespace)])).await;
        refused(&two, relying(vec![Precondition::Free(UniqueKey::HttpName(name.into()))], vec![])).await;
        assert!(has(&state(&two), &namespace), "{name} is refused, and not seen");
    }
}

pub(super) async fn a_conflict_shows_the_deletion(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    commit(&two, set(tree.changes())).await;
    commit(one, set(vec![Change::DeleteService(tree.service.id.clone())])).await;
    refused(&two, relying(vec![live(&tree.service)], vec![tree.put("a")])).await;
    assert!(entry(&state(&two), &tree.service).is_none(), "its absence is refused, and not seen");
}

pub(super) async fn a_conflict_shows_the_change(bench: &Bench) {
    fn found<'a>(state: &'a State, tree: &Tree) -> &'a InstanceEntry {
        entry(state, &tree.service).unwrap().instances().get("a").unwrap()
    }
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    let version = |version| instance(&tree.namespace, &tree.service, "a", version);
    let changed = put_instance(&tree.service, &version("changed"));
    commit(&two, set(tree.changes())).await;
    commit(&two, set(vec![tree.put("a")])).await;
    let at =
        |state: &State| Precondition::At(instance_key(&tree.service, "a"), found(state, &tree).revision());
    let known = at(&state(&two));
    commit(one, relying(vec![live(&tree.service)], vec![changed])).await;
    let mine = put_instance(&tree.service, &version("mine"));
    refused(&two, relying(vec![known], vec![mine.clone()])).await;
    let shown = state(&two);
    assert_eq!(found(&shown, &tree).instance().attributes.get("version"), Some("changed"));
    commit(&two, relying(vec![at(&shown)], vec![mine])).await;
    assert_eq!(found(&state(&two), &tree).instance().attributes.get("version"), Some("mine"));
}

pub(super) async fn a_conflict_shows_the_child(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    commit(&two, set(vec![put_namespace(&tree.namespace)])).await;
    commit(one, set(vec![put_service(&tree.service)])).await;
    let childless = Precondition::Childless(namespace_key(&tree.namespace));
    let deletion = Change::DeleteNamespace(tree.namespace.id.clone());
    refused(&two, relying(vec![childless], vec![deletion])).await;
    assert!(entry(&state(&two), &tree.service).is_some(), "the service is in the way, and not seen");
    commit(one, set(vec![tree.put("a")])).await;
    let childless = Precondition::Childless(service_key(&tree.service));
    let deletion = Change::DeleteService(tree.service.id.clone());
    refused(&two, relying(vec![childless], vec![deletion])).await;
    assert_eq!(ids(&state(&two), &tree.service), ["a"], "the instance is in the way, and not seen");
}

pub(super) async fn handles_on_one_registry_see_each_other(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    commit(one, set(vec![put_namespace(&tree.namespace)])).await;
    let parent = Precondition::Live(namespace_key(&tree.namespace), tree.namespace.incarnation);
    commit(&two, relying(vec![parent], vec![put_service(&tree.service)])).await;
    let shown = state(&two);
    assert!(has(&shown, &tree.namespace) && entry(&shown, &tree.service).is_some());
    commit(one, relying(vec![live(&tree.service)], vec![tree.put("a")])).await;
    assert_eq!(ids(&state(one), &tree.service), ["a"]);
    // The last handle shows everything.
    let last = subject.another().await;
    refused(&last, relying(vec![Precondition::Childless(service_key(&tree.service))], vec![])).await;
    assert_eq!(ids(&state(&last), &tree.service), ["a"]);
}

pub(super) async fn handles_that_write_in_turns_lose_nothing(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (Arc::clone(subject.registry()), subject.another().await, Tree::new());
    commit(&one, set(tree.changes())).await;
    let expected: Vec<_> = (0..10).map(|i| format!("i-{i}")).collect();
    let handles = [&one, &two];
    for (index, change) in tree.put_all(expected.clone()).into_iter().enumerate() {
        let handle = handles[index % 2];
        commit(handle, relying(vec![live(&tree.service)], vec![change])).await;
    }
    for handle in handles {
        for id in &expected {
            let taken = UniqueKey::Id(instance_key(&tree.service, id));
            refused(handle, relying(vec![Precondition::Free(taken)], vec![])).await;
        }
        assert_eq!(ids(&state(handle), &tree.service), expected);
    }
}

pub(super) async fn registrations_into_one_service_do_not_conflict(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    commit(one, set(tree.changes())).await;
    let register = |id| relying(vec![live(&tree.service)], vec![tree.put(id)]);
    // Both are planned before either is stored; then interleaved; the same instance twice: the last one counts.
    let (first, second) = (register("a"), register("b"));
    commit(one, first).await;
    commit(one, second).await;
    for result in in_turns(one.commit(register("c")), one.commit(register("d"))).await {
        assert!(result.is_ok(), "{result:?}");
    }
    commit(one, register("a")).await;
    commit(&two, register("e")).await;
    // A registration need not look for others; who asks for them is shown them.
    for id in ["a", "b", "c", "d"] {
        let taken = UniqueKey::Id(instance_key(&tree.service, id));
        refused(&two, relying(vec![Precondition::Free(taken)], vec![])).await;
    }
    assert_eq!(ids(&state(&two), &tree.service), ["a", "b", "c", "d", "e"]);
}

pub(super) async fn threads_that_register_into_one_service_do_not_conflict(bench: &Bench) {
    const THREADS: usize = 4;
    const EACH: usize = 25;
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    let (journal, _attached) = Journal::attached(registry);
    let mut expected: Vec<_> = (0..THREADS * EACH).map(|i| format!("i-{i}")).collect();
    let changes = tree.put_all(expected.clone());
    let tasks = changes.chunks(EACH).map(|changes| {
        let sets: Vec<_> =
            changes.iter().map(|change| relying(vec![live(&tree.service)], vec![change.clone()])).collect();
        let registry = Arc::clone(registry);
        let task: BoxFuture<'static, ()> = Box::pin(async move {
            for set in sets {
                commit(&registry, set).await;
            }
        });
        task
    });
    bench.on_threads(tasks.collect()).await;
    expected.sort();
    assert_eq!(ids(&state(registry), &tree.service), expected);
    journal.assert_unbroken();
    assert_eq!(journal.sets().len(), THREADS * EACH);
}

/// What becomes of a set that puts a namespace, and whether the rival was visible when it was refused.
async fn race(registry: Arc<dyn Registry>, mine: Namespace, rival: Namespace) -> Result<(), String> {
    let name = UniqueKey::HttpName(mine.http_name.as_str().into());
    let set = relying(vec![Precondition::Free(name), free(&mine)], vec![put_namespace(&mine)]);
    match registry.commit(set).await {
        Ok(()) => Ok(()),
        Err(CommitError::Conflict) if has(&state(&registry), &rival) => Err("refused".to_owned()),
        Err(error) => Err(format!("{error:?}, and the cell does not show why")),
    }
}

fn assert_one(results: &[Result<(), String>], shown: &State, rivals: &[Namespace; 2]) {
    let stored = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(stored, 1, "{results:?}");
    assert!(results.iter().any(|result| *result == Err("refused".to_owned())), "{results:?}");
    for (result, rival) in results.iter().zip(rivals) {
        assert_eq!(has(shown, rival), result.is_ok(), "{results:?}");
    }
}

pub(super) async fn one_of_two_racing_sets_is_stored(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two) = (subject.registry(), subject.another().await);
    for (name, other) in [("same", one), ("two", &two)] {
        let rivals = [namespace(name), namespace(name)];
        let [left, right] = rivals.clone();
        let race = in_turns(
            race(Arc::clone(one), left.clone(), right.clone()),
            race(Arc::clone(other), right, left),
        );
        let results = race.await;
        refused(one, relying(vec![Precondition::Free(UniqueKey::HttpName(name.into()))], vec![])).await;
        assert_one(&results, &state(one), &rivals);
    }
}

pub(super) async fn one_of_two_racing_threads_succeeds(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    for round in 0..20 {
        let name = format!("app-{round}");
        let rivals = [namespace(&name), namespace(&name)];
        let [left, right] = rivals.clone();
        let start = Arc::new(Barrier::new(2));
        let tasks = [(left.clone(), right.clone()), (right, left)].map(|(mine, rival)| {
            let (start, registry) = (Arc::clone(&start), Arc::clone(registry));
            let task: BoxFuture<'static, _> = Box::pin(async move {
                start.wait();
                race(registry, mine, rival).await
            });
            task
        });
        let results = bench.on_threads(tasks.into()).await;
        assert_one(&results, &state(registry), &rivals);
    }
}
