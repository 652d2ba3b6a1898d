//! Counters of changes, and the order of creation.

use super::Timestamp;

/// A counter of the changes of a registry. An entity's revision is that of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    pub(crate) const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The revision as a number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The API's `InstancesRevision`: it grows with every registration and deregistration in a service, and is at least the
/// time of the last one, in milliseconds since the Unix epoch.
///
/// At today's time it stays below 2^53, which JavaScript can represent. It stops at `u64::MAX`, which it reaches only if
/// the clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstancesRevision(u64);

impl InstancesRevision {
    pub(crate) const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The revision as a number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    pub(crate) fn next(self, now: Timestamp) -> Self {
        Self(self.0.saturating_add(1).max(now.as_millis()))
    }
}

/// The order of creation: by time, and within a millisecond by the revision of the creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    created: Timestamp,
    since: Revision,
}

impl Age {
    pub(crate) fn new(created: Timestamp, since: Revision) -> Self {
        Self { created, since }
    }

    /// The next age at the same moment.
    pub(crate) fn next(self) -> Self {
        Self { since: self.since.next(), ..self }
    }

    /// The place among what was created in the same millisecond.
    pub(crate) fn place(self) -> u64 {
        self.since.0
    }

    /// The time in milliseconds and the revision, as in page tokens.
    pub(crate) fn to_parts(self) -> [u64; 2] {
        [self.created.as_millis(), self.since.0]
    }

    pub(crate) fn from_parts([created, since]: [u64; 2]) -> Self {
        Self { created: Timestamp::from_millis(created), since: Revision(since) }
    }
}
