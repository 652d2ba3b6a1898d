//! The journal of calls, for tests that check what their program has called.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::{
    api::{call::Request, error::Error},
    model::{Scope, Timestamp, action::Action},
};

/// A call of the API.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Call {
    /// When it began, by the clock of the handle.
    pub at: Timestamp,
    /// The account and Region.
    pub scope: Scope,
    /// The unchecked request.
    pub request: Request,
    /// The outcome. `None` if the call still waits, or was dropped while it waited.
    pub outcome: Option<Result<(), Error>>,
}

/// The newest calls of a [`CloudMap`](crate::CloudMap) through all doors, in the order in which they began.
///
/// The journal is empty unless its size is [set](crate::CloudMapBuilder::journal). Requests that a door cannot decode are
/// not recorded.
pub struct Journal {
    capacity: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    calls: VecDeque<Call>,
    /// The number of the first call in `calls`.
    first: u64,
}

/// The number of a call in the journal, which it may have left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry(u64);

impl Journal {
    pub(crate) fn keeping(capacity: usize) -> Self {
        Self { capacity, entries: Mutex::default() }
    }

    /// The calls, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.with(|entries| entries.calls.iter().cloned().collect())
    }

    /// The requests of one operation of the API, oldest first.
    #[must_use]
    pub fn requests(&self, action: Action) -> Vec<Request> {
        self.with(|entries| {
            let requests = entries.calls.iter().map(|call| &call.request);
            requests.filter(|request| request.action() == action).cloned().collect()
        })
    }

    /// Removes all calls.
    pub fn clear(&self) {
        self.with(|entries| {
            entries.first += entries.calls.len() as u64;
            entries.calls.clear();
        });
    }

    pub(crate) fn begin(
        &self,
        at: Timestamp,
        scope: &Scope,
        request: impl FnOnce() -> Request,
    ) -> Option<Entry> {
        if self.capacity == 0 {
            return None;
        }
        let call = Call { at, scope: scope.clone(), request: request(), outcome: None };
        Some(self.with(|entries| {
            if entries.calls.len() == self.capacity {
                entries.calls.pop_front();
                entries.first += 1;
            }
            entries.calls.push_back(call);
            Entry(entries.first + entries.calls.len() as u64 - 1)
        }))
    }

    pub(crate) fn end<R>(&self, entry: Option<Entry>, result: &Result<R, Error>) {
        let Some(Entry(number)) = entry else { return };
        let outcome = result.as_ref().map(drop).map_err(Clone::clone);
        self.with(|entries| {
            let place = number.checked_sub(entries.first).and_then(|place| usize::try_from(place).ok());
            if let Some(call) = place.and_then(|place| entries.calls.get_mut(place)) {
                call.outcome = Some(outcome);
            }
        });
    }

    fn with<T>(&self, run: impl FnOnce(&mut Entries) -> T) -> T {
        run(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.calls()).finish()
    }
}
