//! The delays of what AWS does not do at once, and how often it checks health.

use std::time::Duration;

/// The delays of operations and of custom health, and the interval of health checks.
///
/// A delayed effect is part of the state, with the time at which it takes effect. No task waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    submitted: Duration,
    operation: Duration,
    custom_health: Duration,
    health_check_interval: Duration,
}

impl Timing {
    /// Operations end, and reports of health take effect, before the request is answered. Health is checked every second. The
    /// default.
    #[must_use]
    pub const fn instant() -> Self {
        Self {
            submitted: Duration::ZERO,
            operation: Duration::ZERO,
            custom_health: Duration::ZERO,
            health_check_interval: Duration::from_secs(1),
        }
    }

    /// About the delays of AWS. An operation is SUBMITTED for 0.5 s and ends after 3 s in all (AWS was seen to take 2.7 s and
    /// more). A report of health takes effect after 30 s (API Reference, UpdateInstanceCustomHealthStatus). Health is checked
    /// every 30 s (Route 53 Developer Guide, standard interval).
    #[must_use]
    pub const fn aws() -> Self {
        Self {
            submitted: Duration::from_millis(500),
            operation: Duration::from_secs(3),
            custom_health: Duration::from_secs(30),
            health_check_interval: Duration::from_secs(30),
        }
    }

    /// Sets the time of an operation from its request to its end. The time that it is SUBMITTED does not change, but is at
    /// most the whole.
    #[must_use]
    pub const fn with_operation(self, operation: Duration) -> Self {
        Self { operation, ..self }
    }

    /// Sets the delay after which a report of health takes effect, unless an opposite one comes before.
    #[must_use]
    pub const fn with_custom_health(self, custom_health: Duration) -> Self {
        Self { custom_health, ..self }
    }

    /// Sets the time from the response to a health check to the next check.
    #[must_use]
    pub const fn with_health_check_interval(self, health_check_interval: Duration) -> Self {
        Self { health_check_interval, ..self }
    }

    /// The time of an operation from its request to its end.
    #[must_use]
    pub const fn operation(&self) -> Duration {
        self.operation
    }

    /// The delay of a report of health.
    #[must_use]
    pub const fn custom_health(&self) -> Duration {
        self.custom_health
    }

    /// The time from the response to a health check to the next check.
    #[must_use]
    pub const fn health_check_interval(&self) -> Duration {
        self.health_check_interval
    }

    /// The time that an operation is SUBMITTED.
    pub(crate) fn submitted(&self) -> Duration {
        self.submitted.min(self.operation)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::instant()
    }
}
