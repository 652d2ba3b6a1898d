//! How long things take that AWS does not do at once.

use std::time::Duration;

/// The delays of operations and of custom health.
///
/// Whatever is delayed is part of the state, with the moment at which it takes effect; nothing waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    submitted: Duration,
    operation: Duration,
    custom_health: Duration,
}

impl Timing {
    /// Operations are done when they are answered, reports of health take effect at once. The default.
    #[must_use]
    pub const fn instant() -> Self {
        Self { submitted: Duration::ZERO, operation: Duration::ZERO, custom_health: Duration::ZERO }
    }

    /// About as long as AWS takes: an operation is SUBMITTED for half a second and PENDING until three seconds have passed
    /// (real ones were seen to take 2.7 s and more), a report of health takes effect after 30 s (API Reference,
    /// UpdateInstanceCustomHealthStatus).
    #[must_use]
    pub const fn aws() -> Self {
        Self {
            submitted: Duration::from_millis(500),
            operation: Duration::from_secs(3),
            custom_health: Duration::from_secs(30),
        }
    }

    /// Sets how long an operation takes from its request to its end. How long it is SUBMITTED stays as it is, but is never
    /// more than the whole.
    #[must_use]
    pub const fn with_operation(self, operation: Duration) -> Self {
        Self { operation, ..self }
    }

    /// Sets how long the service waits for an opposite report before a report of health takes effect.
    #[must_use]
    pub const fn with_custom_health(self, custom_health: Duration) -> Self {
        Self { custom_health, ..self }
    }

    /// How long an operation takes.
    #[must_use]
    pub const fn operation(&self) -> Duration {
        self.operation
    }

    /// How long a report of health waits.
    #[must_use]
    pub const fn custom_health(&self) -> Duration {
        self.custom_health
    }

    /// How long an operation is SUBMITTED.
    pub(crate) fn submitted(&self) -> Duration {
        self.submitted.min(self.operation)
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::instant()
    }
}
