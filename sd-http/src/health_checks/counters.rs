//! What a prober did.

use sd_core::door::Latency;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::failure::Failure;

/// What a prober has done since it was started: see [`counters`](super::ProberHandle::counters).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProberCounters {
    /// Whether this prober has [the turn](super::Prober::with_turn).
    pub probing: bool,
    /// Instances that are checked.
    pub instances: usize,
    /// Probes under way.
    pub in_flight: usize,
    /// Probes that succeeded.
    pub healthy: u64,
    /// Probes that failed, by class of [`Failure`]; all statuses are one class, `status`.
    pub failed: FailedProbes,
    /// Probes that this machine could not make, such as without free sockets. They are no results.
    pub not_made: u64,
    /// Results that came to nothing, because the instance was registered again or had another check by then.
    pub outdated: u64,
    /// Changes of a status to HEALTHY.
    pub to_healthy: u64,
    /// Changes of a status to UNHEALTHY.
    pub to_unhealthy: u64,
    /// Changes of a status that could not be stored. The next result tries again.
    pub not_stored: u64,
    /// How much later than due probes began.
    #[serde(serialize_with = "crate::counters::latency")]
    pub lateness: Latency,
    /// The same for targets that let the prober wait.
    #[serde(serialize_with = "crate::counters::latency")]
    pub lateness_of_slow: Latency,
}

/// The number of failed probes of each class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailedProbes([u64; Failure::CLASSES.len()]);

impl FailedProbes {
    pub(super) fn add(&mut self, failure: Failure) {
        self.0[failure.class()] += 1;
    }

    /// The classes and their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Failure::CLASSES.into_iter().zip(self.0)
    }
}

impl Serialize for FailedProbes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (class, count) in self.iter() {
            map.serialize_entry(class, &count)?;
        }
        map.end()
    }
}
