//! What a fault leaves of a set.

use std::sync::Arc;

use super::{
    super::{
        Bench, StoreFault,
        entities::{Tree, free, operation, relying},
        witness::{assert_legal, commit, state},
    },
    trials::{Trial, Trials, prefix},
};
use crate::{
    model::Scope,
    state::change::ChangeSet,
    store::registry::{CommitError, Lookup, Registry},
};

/// Creates a namespace with a service and two instances, and finishes an operation. Relies on the namespace's id.
fn tree() -> ChangeSet {
    let tree = Tree::new();
    let mut set = relying(vec![free(&tree.namespace)], tree.changes());
    set.changes.extend([tree.put("a"), tree.put("b")]);
    set.operation = Some(operation());
    set
}

/// How many changes of the set the handle shows, and whether it finds the operation.
async fn shown(handle: &Arc<dyn Registry>, set: &ChangeSet, case: &str) -> (usize, bool) {
    let operation = &set.operation.as_ref().unwrap().id;
    handle.refresh(&Scope::default(), &[Lookup::Operation(operation.clone())]).await.unwrap();
    assert_legal(&state(handle));
    let Some(stored) = prefix(set, handle) else { panic!("no prefix of the set is shown: {case}") };
    let found = handle.cell().operations().get(operation.as_str()).is_some();
    assert!(!found || stored == set.changes.len(), "the operation of half a set is found: {case}");
    (stored, found)
}

/// That this handle can store the changes of the set, and then shows them with the operation.
async fn assert_can_store(handle: &Arc<dyn Registry>, set: &ChangeSet, case: &str) {
    let mut again = set.clone();
    again.preconditions.clear();
    commit(handle, again).await;
    assert_eq!(shown(handle, set, case).await, (set.changes.len(), true), "{case}");
    assert_eq!(handle.cell().operations().len(), 1, "one set, one operation: {case}");
}

pub(in super::super) async fn after_a_crash_a_prefix_of_the_set_is_stored(bench: &Bench) {
    let mut trials = Trials::of(bench, &[StoreFault::Crash]);
    while let Some(mut trial) = trials.next().await {
        let set = tree();
        trial.arm();
        let result = trial.registry().commit(set.clone()).await;
        let case = format!("{result:?} after {:?}", trial.strike);
        let [one, two] = trial.restart().await;
        let found = shown(&one, &set, &case).await;
        assert_eq!(shown(&two, &set, &case).await, found, "the handles differ: {case}");
        if !trial.has_struck() {
            assert_eq!(found, (set.changes.len(), true), "{case}");
        }
        assert_can_store(&two, &set, &case).await;
    }
}

/// Commits the set while the fault strikes, and mends the store. What the handle showed before that.
async fn struck(trial: &Trial, set: &ChangeSet) -> (Result<(), CommitError>, Option<usize>) {
    trial.arm();
    let result = trial.registry().commit(set.clone()).await;
    assert_legal(&state(trial.registry()));
    let shown = prefix(set, trial.registry());
    trial.mend();
    (result, shown)
}

pub(in super::super) async fn a_write_without_an_answer_is_not_a_conflict(bench: &Bench) {
    let mut trials = Trials::without_answer(bench);
    while let Some(trial) = trials.next().await {
        let set = tree();
        let (result, _) = struck(&trial, &set).await;
        let case = format!("{result:?} after {:?}", trial.strike);
        match result {
            Ok(()) => {
                let whole = (set.changes.len(), true);
                assert_eq!(shown(trial.registry(), &set, &case).await, whole, "{case}");
                assert_eq!(shown(&trial.rival().await, &set, &case).await, whole, "{case}");
            }
            Err(CommitError::Unavailable { .. } | CommitError::Ambiguous) => {
                assert!(trial.has_struck(), "{case}");
            }
            Err(CommitError::Conflict | CommitError::Rejected { .. }) => panic!("nobody else wrote: {case}"),
        }
        assert_can_store(trial.registry(), &set, &case).await;
    }
}

pub(in super::super) async fn a_failed_commit_shows_what_is_stored(bench: &Bench) {
    let mut trials = Trials::without_answer(bench);
    while let Some(mut trial) = trials.next().await {
        let set = tree();
        let (result, left) = struck(&trial, &set).await;
        let case = format!("{result:?} after {:?}", trial.strike);
        let Some(left) = left else { panic!("no prefix of the set is shown: {case}") };
        let [one, _] = trial.restart().await;
        let (stored, _) = shown(&one, &set, &case).await;
        match result {
            Ok(()) => assert_eq!((left, stored), (set.changes.len(), set.changes.len()), "{case}"),
            Err(CommitError::Ambiguous) => assert!(left <= stored, "what was shown is lost: {case}"),
            Err(_) => assert_eq!(left, stored, "the handle shows another prefix than is stored: {case}"),
        }
    }
}
