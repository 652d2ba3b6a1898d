//! The seam for faults: how a backend's test makes a write to its store go wrong.

use std::sync::Arc;

use super::BoxFuture;
use crate::store::registry::Registry;

/// What happens to one write on its way to a backend's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a backend's test causes each of them")]
pub enum StoreFault {
    /// The store has the write, and the process ends before it has the answer: no later request of the handle reaches the
    /// store, and every call on the handle fails.
    Crash,
    /// The store has the write, and the handle gets no answer, as after a lost connection.
    Unanswered,
    /// The store never has the write, and the handle gets no answer.
    Lost,
    /// The handle gets no answer, and the store receives the write at [`Faults::mend`].
    ArrivesLate,
    /// The store has the write, and the handle waits for the answer until [`Faults::mend`].
    AnsweredLate,
}

/// A fault, and which write it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a backend's test reads every member")]
pub struct Strike {
    /// The number of the write among those of the first handle since [`Faults::arm`], from 1. Reads do not count.
    pub write: usize,
    /// What happens to it.
    pub fault: StoreFault,
    /// Whether the handle gets no answer to any later request either, reads included, until [`Faults::mend`]. These requests
    /// do not reach the store.
    pub outage: bool,
}

/// The faults of the store below the first handle of a [`Subject`](super::Subject).
///
/// A test puts them between its backend and the store: it counts the writes of the first handle, and lets one of them fail.
pub trait Faults: Send + Sync + 'static {
    /// Whether the store can have this fault. Rules about other faults are not tried. A store in the process of its backend,
    /// for example, has no writes that arrive late.
    fn can_have(&self, fault: StoreFault) -> bool {
        let _ = fault;
        true
    }

    /// Lets this fault strike once, in place of one that has not struck yet.
    fn arm(&self, strike: Strike);

    /// Whether the fault of the last [`arm`](Self::arm) has struck.
    fn has_struck(&self) -> bool;

    /// Ends an outage. Lets writes arrive that are on their way, and gives the answers that are late.
    fn mend(&self);

    /// Opens the store again, as the next process does after a crash. The first handle is dropped before.
    fn reopen(&self) -> BoxFuture<'static, Arc<dyn Registry>>;
}
