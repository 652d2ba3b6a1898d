//! The future of `commit` is dropped.

use std::{
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

use super::{
    Bench,
    entities::{has, is_whole, namespace, operation, pair, put_namespace, set},
    witness::{Journal, commit, state},
};
use crate::{
    model::{Namespace, OperationId, Scope},
    state::{
        State,
        change::{Change, ChangeSet},
    },
    store::{
        cell::{Observer, StateCell},
        registry::Registry,
    },
};

/// How often a commit is polled before it is dropped, at most.
const POLLS: usize = 8;

/// A set that creates a pair of namespaces and finishes an operation.
fn paired() -> ([Namespace; 2], ChangeSet) {
    let pair = pair(1);
    let mut set = set(pair.iter().map(put_namespace).collect());
    set.operation = Some(operation());
    (pair, set)
}

/// Drops the commit of this set after some polls.
fn drop_after(registry: &Arc<dyn Registry>, set: ChangeSet, polls: usize) {
    let mut commit = pin!(registry.commit(set));
    for _ in 0..polls {
        if commit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            break;
        }
    }
}

/// Reads state and log of one moment: nothing is published while an observer is attached.
#[derive(Debug)]
struct Glance {
    cell: StateCell,
    operation: OperationId,
    seen: Mutex<Option<(State, bool)>>,
}

impl Glance {
    fn at(registry: &Arc<dyn Registry>, operation: &OperationId) -> (State, bool) {
        let (cell, operation) = (registry.cell().clone(), operation.clone());
        let glance = Arc::new(Self { cell, operation, seen: Mutex::default() });
        drop(registry.cell().attach(Arc::clone(&glance) as Arc<dyn Observer>));
        let seen = glance.seen.lock().unwrap().take();
        seen.expect("attaching an observer rebuilds it")
    }
}

impl Observer for Glance {
    fn changed(&self, _: &State, _: &State, _: &Scope, _: &[Change]) {}

    fn rebuild(&self, new: &State) {
        let logged = self.cell.operations().get(self.operation.as_str()).is_some();
        *self.seen.lock().unwrap() = Some((new.clone(), logged));
    }
}

pub(super) async fn a_dropped_commit_leaves_all_or_nothing(bench: &Bench) {
    for polls in 0..=POLLS {
        let subject = bench.fresh().await;
        let registry = subject.registry();
        let (journal, _attached) = Journal::attached(registry);
        let (pair, set) = paired();
        let operation = set.operation.clone().unwrap();
        drop_after(registry, set, polls);
        let (shown, logged) = Glance::at(registry, &operation.id);
        assert!(is_whole(&shown), "half of it after {polls} polls");
        assert_eq!(has(&shown, &pair[0]), logged, "the operation and its changes differ after {polls} polls");
        // After the next commit it is still so.
        commit(registry, super::entities::set(vec![put_namespace(&namespace("next"))])).await;
        let (shown, logged) = Glance::at(registry, &operation.id);
        assert!(is_whole(&shown), "half of it after {polls} polls and another commit");
        assert_eq!(has(&shown, &pair[0]), logged);
        assert!(journal.sets().iter().all(|set| is_whole(&set.new)), "half of it reached an observer");
    }
}

pub(super) async fn a_registry_goes_on_after_a_drop(bench: &Bench) {
    for polls in 0..=POLLS {
        let subject = bench.fresh().await;
        let registry = subject.registry();
        let (journal, _attached) = Journal::attached(registry);
        let (pair, again) = paired();
        drop_after(registry, again.clone(), polls);
        commit(registry, again).await;
        let shown = state(registry);
        assert!(pair.iter().all(|namespace| has(&shown, namespace)));
        assert_eq!(registry.cell().operations().len(), 1, "one set, one operation, after {polls} polls");
        let next = namespace("next");
        commit(registry, set(vec![put_namespace(&next)])).await;
        assert!(has(&state(registry), &next));
        journal.assert_unbroken();
    }
}
