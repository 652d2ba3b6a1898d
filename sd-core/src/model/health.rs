//! The health state machine: what an instance's health is, what may happen to it, and when.
//!
//! A pure function over values: `(health, event, now) -> health`. Who feeds it (a custom report, a health checker,
//! a host) and who asks when a deadline has passed is not its business. The rules are those of
//! "UpdateInstanceCustomHealthStatus" and "HealthCheckConfig" in the API Reference and of "How Route 53 determines
//! whether a health check is healthy" in the Route 53 Developer Guide.

use std::{fmt, num::NonZeroU8, time::Duration};

use crate::model::Timestamp;

/// What a service's instances are checked by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API has these three cases and cannot mix them")]
pub enum HealthCheck {
    /// Nothing: the status is `UNKNOWN`, and every instance is routed to.
    None,
    /// Reports of the caller (`HealthCheckCustomConfig`).
    Custom,
    /// A Route 53 health check (`HealthCheckConfig`).
    Route53(HealthCheckConfig),
}

/// Settings of a Route 53 health check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheckConfig {
    /// What is asked of the endpoint.
    pub kind: HealthCheckType,
    /// The path that HTTP and HTTPS checks ask for; absent for TCP.
    pub resource_path: Option<Box<str>>,
    /// How many results in a row change the status, in both directions: 1–10.
    pub failure_threshold: NonZeroU8,
}

/// What a Route 53 health check asks of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum HealthCheckType {
    /// A status of 200–399 over HTTP.
    Http,
    /// A status of 200–399 over TLS.
    Https,
    /// A TCP connection.
    Tcp,
}

impl HealthCheckType {
    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
        }
    }
}

/// The status that is in effect, as the API reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum HealthStatus {
    /// Checked, and well.
    Healthy,
    /// Checked, and not well.
    Unhealthy,
    /// The service has no health check.
    Unknown,
}

impl HealthStatus {
    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether DNS and a discovery of healthy instances offer the instance: without a check everything counts as well.
    #[must_use]
    pub fn is_routable(self) -> bool {
        !matches!(self, Self::Unhealthy)
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A result: of a report, or of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a result is good or bad")]
pub enum CustomHealthStatus {
    /// The instance is well.
    Healthy,
    /// The instance is not.
    Unhealthy,
}

impl CustomHealthStatus {
    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        HealthStatus::from(self).as_str()
    }
}

impl From<CustomHealthStatus> for HealthStatus {
    fn from(status: CustomHealthStatus) -> Self {
        match status {
            CustomHealthStatus::Healthy => Self::Healthy,
            CustomHealthStatus::Unhealthy => Self::Unhealthy,
        }
    }
}

/// What may happen to an instance's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthEvent {
    /// The caller reports a custom status. It takes effect after the delay, unless the opposite is reported before.
    Reported {
        /// What is reported.
        status: CustomHealthStatus,
        /// How long the service waits for an opposite report; 30 s at AWS.
        delay: Duration,
    },
    /// A health checker has a result.
    Checked {
        /// The result of this one check.
        result: CustomHealthStatus,
        /// The check's `FailureThreshold`.
        threshold: NonZeroU8,
    },
    /// A host sets the status; it takes effect at once and drops what is pending.
    Set(CustomHealthStatus),
}

/// The health of one instance: the status in effect and what may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    status: HealthStatus,
    pending: Pending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// A report that has not taken effect; it is always the opposite of the status.
    Report {
        due: Timestamp,
    },
    /// Results in a row that contradict the status.
    Results {
        contrary: u8,
    },
}

impl Health {
    /// The health of an instance that is registered now.
    ///
    /// `initial` is `AWS_INIT_HEALTH_STATUS`, which only a custom check looks at; HEALTHY without it. A Route 53
    /// check counts as healthy until there is enough data.
    #[must_use]
    pub fn initial(check: &HealthCheck, initial: Option<CustomHealthStatus>) -> Self {
        let status = match check {
            HealthCheck::None => HealthStatus::Unknown,
            HealthCheck::Custom => initial.map_or(HealthStatus::Healthy, HealthStatus::from),
            HealthCheck::Route53(_) => HealthStatus::Healthy,
        };
        Self { status, pending: Pending::Nothing }
    }

    /// The health of an instance whose service has this check now. Without one it is `UNKNOWN`; with one it starts as at
    /// its registration if it was not checked before.
    #[must_use]
    pub fn under(self, check: &HealthCheck, initial: Option<CustomHealthStatus>) -> Self {
        let was_checked = self.status != HealthStatus::Unknown;
        if was_checked == (*check != HealthCheck::None) { self } else { Self::initial(check, initial) }
    }

    /// The status in effect.
    #[must_use]
    pub fn status(self) -> HealthStatus {
        self.status
    }

    /// When the status changes by itself, if nothing else happens.
    #[must_use]
    pub fn next_deadline(self) -> Option<Timestamp> {
        match self.pending {
            Pending::Report { due } => Some(due),
            Pending::Nothing | Pending::Results { .. } => None,
        }
    }

    /// The health at this moment: what is due has taken effect.
    #[must_use]
    pub fn advance(self, now: Timestamp) -> Self {
        match self.pending {
            Pending::Report { due } if due <= now => self.flipped(),
            Pending::Report { .. } | Pending::Nothing | Pending::Results { .. } => self,
        }
    }

    /// The health after an event at this moment. An instance without a health check stays `UNKNOWN`.
    #[must_use]
    pub fn on(self, event: HealthEvent, now: Timestamp) -> Self {
        let health = self.advance(now);
        if health.status == HealthStatus::Unknown {
            return health;
        }
        match event {
            HealthEvent::Set(status) => Self { status: status.into(), pending: Pending::Nothing },
            HealthEvent::Reported { status, delay } => {
                health.reported(status.into(), now.after(delay)).advance(now)
            }
            HealthEvent::Checked { result, threshold } => health.checked(result.into(), threshold),
        }
    }

    fn reported(self, status: HealthStatus, due: Timestamp) -> Self {
        let pending = match (status == self.status, self.pending) {
            // Nothing to change, or the opposite of what was waiting.
            (true, _) => Pending::Nothing,
            // The same again neither restarts nor shortens the wait.
            (false, Pending::Report { due }) => Pending::Report { due },
            (false, Pending::Nothing | Pending::Results { .. }) => Pending::Report { due },
        };
        Self { pending, ..self }
    }

    fn checked(self, result: HealthStatus, threshold: NonZeroU8) -> Self {
        if result == self.status {
            return Self { pending: Pending::Nothing, ..self };
        }
        let before = match self.pending {
            Pending::Results { contrary } => contrary,
            Pending::Nothing | Pending::Report { .. } => 0,
        };
        let contrary = before.saturating_add(1);
        if contrary >= threshold.get() {
            self.flipped()
        } else {
            Self { pending: Pending::Results { contrary }, ..self }
        }
    }

    fn flipped(self) -> Self {
        let status = match self.status {
            HealthStatus::Healthy => HealthStatus::Unhealthy,
            HealthStatus::Unhealthy => HealthStatus::Healthy,
            HealthStatus::Unknown => HealthStatus::Unknown,
        };
        Self { status, pending: Pending::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DELAY: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn report(status: CustomHealthStatus) -> HealthEvent {
        HealthEvent::Reported { status, delay: DELAY }
    }

    fn custom() -> Health {
        Health::initial(&HealthCheck::Custom, None)
    }

    #[test]
    fn without_a_check_nothing_changes() {
        let health = Health::initial(&HealthCheck::None, Some(CustomHealthStatus::Unhealthy));
        let after = health.on(report(CustomHealthStatus::Unhealthy), at(0)).advance(at(100));
        assert_eq!(after.status(), HealthStatus::Unknown);
        assert!(after.status().is_routable());
    }

    #[test]
    fn the_initial_status_counts_for_custom_checks_only() {
        let unhealthy = Some(CustomHealthStatus::Unhealthy);
        assert_eq!(Health::initial(&HealthCheck::Custom, unhealthy).status(), HealthStatus::Unhealthy);
        let route53 = HealthCheck::Route53(HealthCheckConfig {
            kind: HealthCheckType::Tcp,
            resource_path: None,
            failure_threshold: NonZeroU8::MIN,
        });
        assert_eq!(Health::initial(&route53, unhealthy).status(), HealthStatus::Healthy);
    }

    #[test]
    fn a_report_takes_effect_after_the_delay() {
        let health = custom().on(report(CustomHealthStatus::Unhealthy), at(0));
        assert_eq!(health.next_deadline(), Some(at(30)));
        assert_eq!(health.advance(at(29)).status(), HealthStatus::Healthy);
        assert_eq!(health.advance(at(30)).status(), HealthStatus::Unhealthy);
        assert_eq!(health.advance(at(30)).next_deadline(), None);
    }

    #[test]
    fn the_same_report_again_does_not_restart_the_wait() {
        let health = custom().on(report(CustomHealthStatus::Unhealthy), at(0));
        assert_eq!(health.on(report(CustomHealthStatus::Unhealthy), at(20)).next_deadline(), Some(at(30)));
    }

    #[test]
    fn the_opposite_report_cancels() {
        let health = custom().on(report(CustomHealthStatus::Unhealthy), at(0));
        let cancelled = health.on(report(CustomHealthStatus::Healthy), at(20));
        assert_eq!(cancelled.advance(at(100)), custom());
    }

    #[test]
    fn without_a_delay_a_report_takes_effect_at_once() {
        let event = HealthEvent::Reported { status: CustomHealthStatus::Unhealthy, delay: Duration::ZERO };
        assert_eq!(custom().on(event, at(5)).status(), HealthStatus::Unhealthy);
    }

    #[test]
    fn a_checker_needs_as_many_results_in_a_row_as_the_threshold_says() {
        let threshold = NonZeroU8::new(3).unwrap();
        let bad = HealthEvent::Checked { result: CustomHealthStatus::Unhealthy, threshold };
        let good = HealthEvent::Checked { result: CustomHealthStatus::Healthy, threshold };
        let apply = |events: &[HealthEvent]| events.iter().fold(custom(), |h, e| h.on(*e, at(0))).status();
        assert_eq!(apply(&[bad, bad]), HealthStatus::Healthy);
        assert_eq!(apply(&[bad, bad, good, bad, bad]), HealthStatus::Healthy);
        assert_eq!(apply(&[bad, bad, bad]), HealthStatus::Unhealthy);
        assert_eq!(apply(&[bad, bad, bad, good, good]), HealthStatus::Unhealthy);
        assert_eq!(apply(&[bad, bad, bad, good, good, good]), HealthStatus::Healthy);
    }

    #[test]
    fn a_host_overrules_what_is_pending() {
        let health = custom().on(report(CustomHealthStatus::Unhealthy), at(0));
        let set = health.on(HealthEvent::Set(CustomHealthStatus::Healthy), at(10));
        assert_eq!(set.advance(at(60)).status(), HealthStatus::Healthy);
    }

    proptest! {
        /// Asking in between changes nothing: only events and the last moment decide.
        #[test]
        fn advancing_in_steps_is_advancing_at_once(
            reports in prop::collection::vec((0u64..100, any::<bool>()), 0..20),
            asked in prop::collection::vec(0u64..2000, 0..20),
        ) {
            let mut now = 0;
            let (mut stepped, mut direct) = (custom(), custom());
            for (i, (pause, healthy)) in reports.into_iter().enumerate() {
                let before = now;
                now += pause;
                if let Some(moment) = asked.get(i) {
                    stepped = stepped.advance(at(before + moment % (pause + 1)));
                }
                let status = if healthy { CustomHealthStatus::Healthy } else { CustomHealthStatus::Unhealthy };
                stepped = stepped.on(report(status), at(now));
                direct = direct.on(report(status), at(now));
            }
            prop_assert_eq!(stepped.advance(at(now + 30)), direct.advance(at(now + 30)));
            // A status holds for as long as the delay at least, and after it nothing is pending.
            prop_assert_eq!(direct.advance(at(now + 30)).next_deadline(), None);
        }
    }
}
