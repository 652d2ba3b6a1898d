//! Trials: a fault at the first write of what is tried, then at the second, and so on.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::{Bench, Subject, fault::*, witness::state};
use crate::{
    cloud_map::{CloudMap, ScopedCloudMap},
    model::Scope,
    state::{State, change::ChangeSet},
    store::{
        cell::{StateCell, StateWriter},
        registry::{CommitError, Registry},
    },
};

/// More writes than a request or a set of the rules takes.
const MOST: usize = 200;

/// The faults after which a handle goes on.
pub(super) const WITHOUT_ANSWER: [StoreFault; 3] =
    [StoreFault::Unanswered, StoreFault::Lost, StoreFault::ArrivesLate];

/// The trials of a rule: every kind of strike, at every write.
pub(super) struct Trials<'a> {
    bench: &'a Bench,
    kinds: Vec<(StoreFault, bool)>,
    write: usize,
    /// The faults of the trial before.
    last: Option<Arc<dyn Faults>>,
}

impl<'a> Trials<'a> {
    /// Each of these faults, alone.
    pub(super) fn of(bench: &'a Bench, faults: &[StoreFault]) -> Self {
        let kinds = faults.iter().rev().map(|fault| (*fault, false)).collect();
        Self { bench, kinds, write: 1, last: None }
    }

    /// Each fault without an answer, alone and as the beginning of an outage.
    pub(super) fn without_answer(bench: &'a Bench) -> Self {
        let kinds = WITHOUT_ANSWER.iter().rev().flat_map(|fault| [(*fault, true), (*fault, false)]).collect();
        Self { bench, kinds, write: 1, last: None }
    }

    /// The next trial. A kind of strike is done when a trial comes to its end without it.
    pub(super) async fn next(&mut self) -> Option<Trial> {
        if let Some(last) = self.last.take() {
            if last.has_struck() {
                self.write += 1;
            } else {
                assert!(self.write > 1, "no write was struck: {:?}", self.kinds.last());
                self.kinds.pop();
                self.write = 1;
            }
        }
        assert!(self.write < MOST, "{MOST} writes are not enough: {:?}", self.kinds.last());
        loop {
            let (fault, outage) = *self.kinds.last()?;
            let subject = self.bench.fresh().await;
            let faults = subject.faults.clone().expect("the factory says `Subject::with_faults`");
            if faults.can_have(fault) {
                self.last = Some(Arc::clone(&faults));
                return Some(Trial { subject, faults, strike: Strike { write: self.write, fault, outage } });
            }
            self.kinds.pop();
        }
    }
}

/// A registry, and the fault that is to strike it.
pub(super) struct Trial {
    subject: Subject,
    faults: Arc<dyn Faults>,
    pub(super) strike: Strike,
}

impl Trial {
    /// The handle that the fault strikes.
    pub(super) fn registry(&self) -> &Arc<dyn Registry> {
        self.subject.registry()
    }

    /// An engine on the handle that the fault strikes.
    pub(super) fn api(&self) -> ScopedCloudMap {
        engine(self.registry())
    }

    /// Another handle, or the same one if the backend has one only.
    pub(super) async fn rival(&self) -> Arc<dyn Registry> {
        self.subject.another().await
    }

    /// Whether the rival is another handle.
    pub(super) fn has_rival(&self) -> bool {
        self.subject.open.is_some()
    }

    pub(super) fn arm(&self) {
        self.faults.arm(self.strike);
    }

    pub(super) fn has_struck(&self) -> bool {
        self.faults.has_struck()
    }

    pub(super) fn mend(&self) {
        self.faults.mend();
    }

    /// Drops the first handle and opens the store again: two handles, or one twice.
    pub(super) async fn restart(&mut self) -> [Arc<dyn Registry>; 2] {
        self.faults.mend();
        self.subject.immediate = None;
        self.subject.registry = Arc::new(Closed(StateWriter::new(State::new())));
        self.subject.registry = self.faults.reopen().await;
        [Arc::clone(self.registry()), self.subject.another().await]
    }
}

/// An engine on a handle.
pub(super) fn engine(registry: &Arc<dyn Registry>) -> ScopedCloudMap {
    CloudMap::new(Arc::clone(registry)).at(Scope::default())
}

/// How many changes of a set on an empty registry lead to what the handle shows.
pub(super) fn prefix(set: &ChangeSet, registry: &Arc<dyn Registry>) -> Option<usize> {
    let shown = state(registry);
    (0..=set.changes.len()).find(|count| {
        let mut prefix = ChangeSet::new(set.scope.clone(), set.at);
        prefix.changes.extend_from_slice(&set.changes[..*count]);
        let reached = State::new().apply(&prefix).expect("every prefix is legal");
        reached.diff(&shown).is_empty() && shown.diff(&reached).is_empty()
    })
}

/// In the place of a handle that was dropped.
#[derive(Debug)]
struct Closed(StateWriter);

#[async_trait]
impl Registry for Closed {
    fn cell(&self) -> &StateCell {
        self.0.cell()
    }

    async fn commit(&self, _: ChangeSet) -> Result<(), CommitError> {
        Err(CommitError::Unavailable { retry_after: None, source: "the handle is closed".into() })
    }
}
