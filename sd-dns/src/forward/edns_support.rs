//! Learns whether an upstream supports EDNS. Some drop queries with an OPT record, others refuse them.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Whether an upstream supports EDNS, as far as its responses show.
///
/// As long as no query with EDNS was answered, one without is sent as well, [`PATIENCE`] later. An upstream that answers
/// only the one without, [`FAILURES`] times in a row, is queried without EDNS for [`REMEMBERED`]. One failure is not
/// enough, because packets get lost.
#[derive(Debug)]
pub(super) struct EdnsSupport(Mutex<State>);

/// How long a query with EDNS waits before one without is sent as well.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many failures in a row turn EDNS off.
const FAILURES: u8 = 3;

/// How long EDNS stays off.
const REMEMBERED: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
struct State {
    /// Whether the last query with EDNS was answered.
    works: bool,
    /// Failures since a query with EDNS was answered.
    failures: u8,
    /// When EDNS was turned off.
    off_since: Option<Instant>,
}

/// The queries to send, one after the other, until one is answered.
#[derive(Debug)]
pub(super) struct QueryPlan {
    kind: PlanKind,
    retry_after: Duration,
    is_plain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlanKind {
    /// Queries without EDNS.
    Plain,
    /// Queries with EDNS and without in turn, each `retry_after` the one before.
    Known,
    /// The same, but each query without EDNS follows soon.
    Unknown,
}

impl EdnsSupport {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Whether queries have EDNS.
    pub(super) fn is_on(&self) -> bool {
        self.state().is_on()
    }

    /// Plans the queries. A query is repeated after `retry_after` without a response.
    pub(super) fn plan(&self, retry_after: Duration) -> QueryPlan {
        let state = self.state();
        let kind = match (state.is_on(), state.works) {
            (false, _) => PlanKind::Plain,
            (true, true) => PlanKind::Known,
            (true, false) => PlanKind::Unknown,
        };
        QueryPlan { kind, retry_after, is_plain: kind != PlanKind::Plain }
    }

    /// Notes a response. `sent_plain` is whether a query without EDNS was sent as well, `has_edns` whether the response
    /// has EDNS.
    pub(super) fn answered(&self, sent_plain: bool, has_edns: bool) {
        if has_edns || !sent_plain {
            *self.state() = State { works: true, ..State::default() };
        } else if self.is_on() {
            self.failed();
        }
    }

    /// Notes that only a query without EDNS was answered.
    pub(super) fn failed(&self) {
        let mut state = self.state();
        state.works = false;
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            // When EDNS is tried again, one failure turns it off.
            *state = State { works: false, failures: FAILURES - 1, off_since: Some(Instant::now()) };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_on(&self) -> bool {
        self.off_since.is_none_or(|since| since.elapsed() >= REMEMBERED)
    }
}

impl QueryPlan {
    /// Whether the next query has no EDNS, and how long to wait for its response.
    pub(super) fn next_query(&mut self) -> (bool, Duration) {
        let soon = PATIENCE.min(self.retry_after / 2);
        self.is_plain = self.kind == PlanKind::Plain || !self.is_plain;
        let wait = match (self.kind, self.is_plain) {
            (PlanKind::Unknown, false) => soon,
            (PlanKind::Unknown, true) => self.retry_after - soon,
            (PlanKind::Known | PlanKind::Plain, _) => self.retry_after,
        };
        (self.is_plain, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY_AFTER: Duration = Duration::from_secs(3);

    /// The first queries of a plan: whether each has no EDNS, and how long it waits.
    fn planned(support: &EdnsSupport) -> [(bool, Duration); 3] {
        let mut plan = support.plan(RETRY_AFTER);
        [(); 3].map(|()| plan.next_query())
    }

    #[test]
    fn a_query_without_edns_follows_soon_unless_the_last_one_with_edns_was_answered() {
        let known = [(false, RETRY_AFTER), (true, RETRY_AFTER), (false, RETRY_AFTER)];
        let unknown = [(false, PATIENCE), (true, RETRY_AFTER - PATIENCE), (false, PATIENCE)];
        let support = EdnsSupport::new();
        assert_eq!(planned(&support), unknown);
        // A response without EDNS to the only query, or one with EDNS.
        for (sent_plain, has_edns) in [(false, false), (false, true), (true, true)] {
            support.answered(sent_plain, has_edns);
            assert_eq!(planned(&support), known, "{sent_plain} {has_edns}");
            support.answered(true, false);
            assert_eq!(planned(&support), unknown, "{sent_plain} {has_edns}");
        }
    }

    #[test]
    fn failures_in_a_row_turn_edns_off() {
        let plain = [(true, RETRY_AFTER); 3];
        let support = EdnsSupport::new();
        for _ in 0..2 {
            for _ in 1..FAILURES {
                support.failed();
                assert!(support.is_on());
            }
            support.answered(false, true);
        }
        for _ in 0..FAILURES {
            support.failed();
        }
        assert!(!support.is_on());
        assert_eq!(planned(&support), plain);
    }
}
