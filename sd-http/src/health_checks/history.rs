//! The last results of an instance.

use std::collections::VecDeque;

use sd_core::Timestamp;
use serde::Serialize;

use super::{
    failure::Failure,
    probe::{Phases, Probed},
};

/// The most results that are kept of an instance.
const RESULTS: usize = 20;
/// The most failures that are kept beside them.
const FAILURES: usize = 5;

/// One result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// When the probe ended, in milliseconds since the Unix epoch.
    #[serde(serialize_with = "millis")]
    pub at: Timestamp,
    /// The status of the response, or 0 for a TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the check failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How long it took.
    #[serde(flatten)]
    pub phases: Phases,
}

pub(super) fn millis<S: serde::Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(moment.as_millis())
}

impl CheckResult {
    pub(super) fn new(at: Timestamp, probed: Probed) -> Self {
        Self { at, status: probed.result.ok(), failure: probed.result.err(), phases: probed.phases }
    }
}

/// The newest results, and the newest failures apart, so that successes do not displace them.
#[derive(Debug, Default)]
pub(super) struct History {
    results: VecDeque<CheckResult>,
    failures: VecDeque<CheckResult>,
    /// How many of the last results in a row are successes, or are failures.
    in_a_row: u32,
}

impl History {
    pub(super) fn add(&mut self, result: CheckResult) {
        let is_alike = |last: &CheckResult| last.failure.is_some() == result.failure.is_some();
        self.in_a_row =
            if self.results.back().is_some_and(is_alike) { self.in_a_row.saturating_add(1) } else { 1 };
        keep(&mut self.results, RESULTS, result);
        if result.failure.is_some() {
            keep(&mut self.failures, FAILURES, result);
        }
    }

    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    pub(super) fn last(&self) -> Option<&CheckResult> {
        self.results.back()
    }

    /// The newest first.
    pub(super) fn results(&self) -> Vec<CheckResult> {
        self.results.iter().rev().copied().collect()
    }

    /// The newest first.
    pub(super) fn failures(&self) -> Vec<CheckResult> {
        self.failures.iter().rev().copied().collect()
    }
}

fn keep(results: &mut VecDeque<CheckResult>, most: usize, result: CheckResult) {
    if results.len() == most {
        results.pop_front();
    }
    results.push_back(result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successes_do_not_displace_failures() {
        let mut history = History::default();
        let mut add = |at, result| {
            let probed = Probed { result, phases: Phases::default() };
            history.add(CheckResult::new(Timestamp::from_millis(at), probed));
        };
        for at in 0..7 {
            add(at, Err(Failure::Refused));
        }
        for at in 7..40 {
            add(at, Ok(200));
        }
        let times = |results: Vec<CheckResult>| {
            results.iter().map(|result| result.at.as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(times(history.results()), (20..40).rev().collect::<Vec<_>>());
        assert_eq!(times(history.failures()), [6, 5, 4, 3, 2]);
        assert_eq!(history.in_a_row(), 33);
    }
}
