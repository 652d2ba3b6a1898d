//! What is known of an upstream's EDNS: some drop queries with an OPT record, or refuse them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Whether queries to an upstream have EDNS.
///
/// An upstream that is not known to answer such queries is asked without EDNS as well, after [`PATIENCE`].
/// One that answers only that, [`FAILURES`] times in a row, is asked without EDNS for [`REMEMBERED`]: one
/// lost packet proves nothing.
#[derive(Debug)]
pub(super) struct Edns(Mutex<State>);

/// How long a query with EDNS is waited for before one without is sent as well.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often in a row EDNS has to fail before it is left out.
const FAILURES: u8 = 3;

/// How long it is left out.
const REMEMBERED: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
struct State {
    /// Whether the last query with EDNS was answered.
    works: bool,
    /// How many failed since one was.
    failures: u8,
    /// Since when it is left out.
    plain_since: Option<Instant>,
}

/// The queries that are sent for a question until one of them is answered.
#[derive(Debug)]
pub(super) struct Plan {
    kind: Kind,
    again: Duration,
    is_plain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Plain queries only.
    Plain,
    /// Each one a while after the other.
    Known,
    /// A plain one soon after each with EDNS.
    Unknown,
}

impl Edns {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Whether queries have EDNS.
    pub(super) fn is_tried(&self) -> bool {
        self.state().is_tried()
    }

    /// The queries for a question, which is asked again after so long without a response.
    pub(super) fn plan(&self, again: Duration) -> Plan {
        let state = self.state();
        let kind = match (state.is_tried(), state.works) {
            (false, _) => Kind::Plain,
            (true, true) => Kind::Known,
            (true, false) => Kind::Unknown,
        };
        Plan { kind, again, is_plain: kind != Kind::Plain }
    }

    /// A response has come, after a query without EDNS was sent as well or not.
    pub(super) fn answered(&self, sent_plain: bool, has_edns: bool) {
        if has_edns || !sent_plain {
            *self.state() = State { works: true, ..State::default() };
        } else if self.is_tried() {
            self.fails();
        }
    }

    /// A query with EDNS failed that was answered without.
    pub(super) fn fails(&self) {
        let mut state = self.state();
        state.works = false;
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            // Once it is over, a single failure is enough.
            *state = State { works: false, failures: FAILURES - 1, plain_since: Some(Instant::now()) };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_tried(&self) -> bool {
        self.plain_since.is_none_or(|since| since.elapsed() >= REMEMBERED)
    }
}

impl Plan {
    /// Whether the next query has no EDNS, and how long its response is waited for.
    pub(super) fn next_query(&mut self) -> (bool, Duration) {
        let soon = PATIENCE.min(self.again / 2);
        self.is_plain = self.kind == Kind::Plain || !self.is_plain;
        let pause = match (self.kind, self.is_plain) {
            (Kind::Unknown, false) => soon,
            (Kind::Unknown, true) => self.again - soon,
            (Kind::Known | Kind::Plain, _) => self.again,
        };
        (self.is_plain, pause)
    }
}
