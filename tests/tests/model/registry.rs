//! A memory registry that fails on command, and lets another writer act before a commit.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    ChangeSet, CommitError, Immediate, Registry, State, StateCell,
    stored::{Facts, Operation},
};

use crate::act::Fault;

type Rival = Box<dyn FnOnce() + Send>;

/// A registry with scripted faults. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Scripted {
    memory: Arc<MemoryRegistry>,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    faults: VecDeque<Fault>,
    rival: Option<Rival>,
    late: Vec<ChangeSet>,
}

impl Scripted {
    /// The registry that is read from the records of this one, as JSON. What has come late is still on its way.
    pub(crate) fn restarted(&self) -> Self {
        let cell = self.memory.cell();
        let (facts, finished) = (Facts::of(&cell.load()), cell.operations().stored());
        let text = serde_json::to_string(&(&facts, &finished)).unwrap();
        let (read, finished): (Facts, Vec<Operation>) = serde_json::from_str(&text).unwrap();
        assert_eq!(read, facts);
        let state = State::restore(read).unwrap();
        assert_eq!(Facts::of(&state), facts, "the records of what they were read into");
        let memory = Arc::new(MemoryRegistry::restored(state, finished).unwrap());
        Self { memory, script: Arc::clone(&self.script) }
    }

    /// Makes the next commits fail with these faults.
    pub(crate) fn fail(&self, faults: &[Fault]) {
        self.script.lock().unwrap().faults = faults.iter().copied().collect();
    }

    /// Runs `rival` before the next commit.
    pub(crate) fn before(&self, rival: impl FnOnce() + Send + 'static) {
        self.script.lock().unwrap().rival = Some(Box::new(rival));
    }

    /// Runs what is left of the script. Returns whether faults were left, and drops these.
    pub(crate) fn settle(&self) -> bool {
        let rival = self.script.lock().unwrap().rival.take();
        if let Some(rival) = rival {
            rival();
        }
        self.store_late();
        !std::mem::take(&mut self.script.lock().unwrap().faults).is_empty()
    }

    fn store_late(&self) {
        let late = std::mem::take(&mut self.script.lock().unwrap().late);
        for changes in late {
            // A set that conflicts by now is not stored.
            let _ = self.store(changes);
        }
    }

    fn store(&self, changes: ChangeSet) -> Result<(), CommitError> {
        match pin!(self.memory.commit(changes)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("the memory registry is pending"),
        }
    }
}

#[async_trait]
impl Registry for Scripted {
    fn cell(&self) -> &StateCell {
        self.memory.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        let rival = self.script.lock().unwrap().rival.take();
        if let Some(rival) = rival {
            rival();
        }
        self.store_late();
        let fault = self.script.lock().unwrap().faults.pop_front();
        match fault {
            None => self.store(changes),
            Some(Fault::Conflict) => Err(CommitError::Conflict),
            Some(Fault::Lost) => Err(CommitError::Ambiguous),
            Some(Fault::Stored) => {
                self.store(changes)?;
                Err(CommitError::Ambiguous)
            }
            Some(Fault::Late) => {
                self.script.lock().unwrap().late.push(changes);
                Err(CommitError::Ambiguous)
            }
            Some(Fault::Away) => Err(CommitError::Unavailable { retry_after: None, source: "away".into() }),
        }
    }
}

impl Immediate for Scripted {}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}
