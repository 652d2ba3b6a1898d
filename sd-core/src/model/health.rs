//! The health state machine of an instance: a pure function `(health, event, now) -> health`.
//!
//! Events come from custom reports, health checkers and hosts. Callers ask for the status and for the next deadline.
//!
//! Sources: "UpdateInstanceCustomHealthStatus" and "HealthCheckConfig" in the API Reference, and "How Route 53 determines
//! whether a health check is healthy" in the Route 53 Developer Guide.

use std::{fmt, num::NonZeroU8, time::Duration};

use crate::model::Timestamp;

/// How the health of a service's instances is determined.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API has these three cases and cannot mix them")]
pub enum HealthCheck {
    /// No health check: the status is `UNKNOWN`, and every instance is routable.
    None,
    /// Custom reports, by UpdateInstanceCustomHealthStatus (`HealthCheckCustomConfig`).
    Custom,
    /// A Route 53 health check (`HealthCheckConfig`).
    Route53(HealthCheckConfig),
}

impl HealthCheck {
    /// The settings of the Route 53 health check, if it is one.
    #[must_use]
    pub fn route53(&self) -> Option<&HealthCheckConfig> {
        match self {
            Self::Route53(config) => Some(config),
            Self::None | Self::Custom => None,
        }
    }
}

/// Settings of a Route 53 health check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheckConfig {
    /// The protocol of the check.
    pub kind: HealthCheckType,
    /// The path that HTTP and HTTPS checks request; `None` for TCP.
    pub resource_path: Option<Box<str>>,
    /// How many consecutive results change the status, in both directions: 1–10.
    pub failure_threshold: NonZeroU8,
}

impl HealthCheckConfig {
    /// The path of an HTTP or HTTPS check that was given none.
    const RESOURCE_PATH: &str = "/";

    /// Settings without a path get the default path, if the check needs one. `None` if a TCP check has a path.
    pub(crate) fn new(
        kind: HealthCheckType,
        resource_path: Option<Box<str>>,
        failure_threshold: NonZeroU8,
    ) -> Option<Self> {
        let resource_path = match (kind, resource_path) {
            (HealthCheckType::Tcp, Some(_)) => return None,
            (HealthCheckType::Tcp, None) => None,
            (HealthCheckType::Http | HealthCheckType::Https, path) => {
                Some(path.unwrap_or_else(|| Self::RESOURCE_PATH.into()))
            }
        };
        Some(Self { kind, resource_path, failure_threshold })
    }
}

/// The protocol of a Route 53 health check, and what counts as healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum HealthCheckType {
    /// A status of 200–399 over HTTP.
    Http,
    /// A status of 200–399 over TLS.
    Https,
    /// A TCP connection that is accepted.
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

/// The status in effect, as the API reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum HealthStatus {
    /// The health check passes.
    Healthy,
    /// The health check fails.
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
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The status of an instance whose Route 53 check has no result yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the statuses that there are")]
pub enum HealthStart {
    /// HEALTHY until consecutive failures change it, as at AWS: a new check counts as healthy until there is enough data. The
    /// default.
    #[default]
    Healthy,
    /// UNHEALTHY until the first success.
    Unhealthy,
    /// UNKNOWN, and not routable, until the first result.
    Unknown,
}

/// A reported status, or the result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a result is good or bad")]
pub enum CustomHealthStatus {
    /// The instance is healthy.
    Healthy,
    /// The instance is unhealthy.
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

/// An event that may change an instance's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthEvent {
    /// A custom status is reported. It takes effect after the delay, unless the opposite status is reported before.
    Reported {
        /// The reported status.
        status: CustomHealthStatus,
        /// How long to wait for an opposite report: 30 s at AWS.
        delay: Duration,
    },
    /// A health checker has a result.
    Checked {
        /// The result of this one check.
        result: CustomHealthStatus,
        /// The check's `FailureThreshold`.
        threshold: NonZeroU8,
    },
    /// A host sets the status. It takes effect at once and cancels pending reports.
    Set(CustomHealthStatus),
}

/// The health of one instance: the status in effect, and pending reports or results that may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    status: HealthStatus,
    pending: Pending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Nothing,
    /// A report that has not taken effect. It is always the opposite of the status.
    Report {
        due: Timestamp,
    },
    /// Consecutive results that contradict the status.
    Results {
        contrary: u8,
    },
    /// The first result, which decides alone.
    FirstResult,
}

impl Health {
    /// The health of an instance at its registration.
    ///
    /// `initial` is `AWS_INIT_HEALTH_STATUS`, by default HEALTHY; only a custom check uses it. A Route 53 check counts as
    /// healthy until there is enough data.
    #[must_use]
    pub fn initial(check: &HealthCheck, initial: Option<CustomHealthStatus>) -> Self {
        let status = match check {
            HealthCheck::None => HealthStatus::Unknown,
            HealthCheck::Custom => initial.map_or(HealthStatus::Healthy, HealthStatus::from),
            HealthCheck::Route53(_) => HealthStatus::Healthy,
        };
        Self { status, pending: Pending::Nothing }
    }

    /// The health of an instance whose Route 53 check has no result yet.
    ///
    /// If it does not start as HEALTHY, the instance is not routable until the first result, which decides the status
    /// whatever the threshold.
    #[must_use]
    pub fn before_first_result(start: HealthStart) -> Self {
        match start {
            HealthStart::Healthy => Self { status: HealthStatus::Healthy, pending: Pending::Nothing },
            HealthStart::Unhealthy => Self { status: HealthStatus::Unhealthy, pending: Pending::FirstResult },
            HealthStart::Unknown => Self { status: HealthStatus::Unknown, pending: Pending::FirstResult },
        }
    }

    /// The health of an instance after its service got this check. Without a check it is `UNKNOWN`. An instance that was
    /// not checked before starts as at its registration; one that was keeps its health.
    #[must_use]
    pub fn under(self, check: &HealthCheck, initial: Option<CustomHealthStatus>) -> Self {
        if self.is_checked() == (*check != HealthCheck::None) { self } else { Self::initial(check, initial) }
    }

    /// Health from its stored parts. `None` if they contradict each other: more than one of a pending report, contrary results
    /// and the wait for the first result; zero contrary results; a report or results with `UNKNOWN`; a wait with `HEALTHY`.
    pub(crate) fn of_parts(
        status: HealthStatus,
        report: Option<Timestamp>,
        contrary: Option<u8>,
        awaits_first_result: bool,
    ) -> Option<Self> {
        let pending = match (report, contrary, awaits_first_result) {
            (None, None, false) => Pending::Nothing,
            (None, None, true) => Pending::FirstResult,
            (Some(due), None, false) => Pending::Report { due },
            (None, Some(contrary @ 1..), false) => Pending::Results { contrary },
            _ => return None,
        };
        let is_legal = match pending {
            Pending::Nothing => true,
            Pending::Report { .. } | Pending::Results { .. } => status != HealthStatus::Unknown,
            Pending::FirstResult => status != HealthStatus::Healthy,
        };
        is_legal.then_some(Self { status, pending })
    }

    /// Whether the instance has a health check whose first result decides the status.
    pub(crate) fn awaits_first_result(self) -> bool {
        self.pending == Pending::FirstResult
    }

    /// Whether the instance has a health check.
    fn is_checked(self) -> bool {
        self.status != HealthStatus::Unknown || self.awaits_first_result()
    }

    /// Whether DNS and a discovery of healthy instances return the instance: it is healthy or has no health check.
    #[must_use]
    pub fn is_routable(self) -> bool {
        match self.status {
            HealthStatus::Healthy => true,
            HealthStatus::Unhealthy => false,
            HealthStatus::Unknown => !self.awaits_first_result(),
        }
    }

    /// How many results in a row contradict the status, if any do.
    pub(crate) fn contrary_results(self) -> Option<u8> {
        match self.pending {
            Pending::Results { contrary } => Some(contrary),
            Pending::Nothing | Pending::Report { .. } | Pending::FirstResult => None,
        }
    }

    /// The status in effect.
    #[must_use]
    pub fn status(self) -> HealthStatus {
        self.status
    }

    /// When the status changes without another event; `None` if it does not.
    #[must_use]
    pub fn next_deadline(self) -> Option<Timestamp> {
        match self.pending {
            Pending::Report { due } => Some(due),
            Pending::Nothing | Pending::Results { .. } | Pending::FirstResult => None,
        }
    }

    /// The health at this moment, after a report that is due has taken effect.
    #[must_use]
    pub fn advance(self, now: Timestamp) -> Self {
        match self.pending {
            Pending::Report { due } if due <= now => self.flipped(),
            Pending::Report { .. } | Pending::Nothing | Pending::Results { .. } | Pending::FirstResult => {
                self
            }
        }
    }

    /// The health after an event at this moment. An instance without a health check stays `UNKNOWN`.
    #[must_use]
    pub fn on(self, event: HealthEvent, now: Timestamp) -> Self {
        let health = self.advance(now);
        if !health.is_checked() {
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
            // Nothing to change, or a pending report is cancelled.
            (true, _) => Pending::Nothing,
            // The same report again neither restarts nor shortens the wait.
            (false, Pending::Report { due }) => Pending::Report { due },
            (false, Pending::Nothing | Pending::Results { .. }) => Pending::Report { due },
            // A report is a first result.
            (false, Pending::FirstResult) => return Self { status, pending: Pending::Nothing },
        };
        Self { pending, ..self }
    }

    fn checked(self, result: HealthStatus, threshold: NonZeroU8) -> Self {
        if result == self.status || self.pending == Pending::FirstResult {
            return Self { status: result, pending: Pending::Nothing };
        }
        let before = match self.pending {
            Pending::Results { contrary } => contrary,
            Pending::Nothing | Pending::Report { .. } | Pending::FirstResult => 0,
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
    fn without_a_check_health_stays_unknown() {
        let health = Health::initial(&HealthCheck::None, Some(CustomHealthStatus::Unhealthy));
        let after = health.on(report(CustomHealthStatus::Unhealthy), at(0)).advance(at(100));
        assert_eq!(after.status(), HealthStatus::Unknown);
        assert!(after.is_routable());
    }

    #[test]
    fn the_initial_status_is_for_custom_checks_only() {
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
    fn the_opposite_report_cancels_the_first() {
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
    fn the_threshold_is_a_number_of_consecutive_results() {
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
    fn the_first_result_decides_where_health_does_not_start_as_healthy() {
        let threshold = NonZeroU8::new(3).unwrap();
        for start in [HealthStart::Unhealthy, HealthStart::Unknown] {
            let health = Health::before_first_result(start);
            assert!(!health.is_routable(), "{start:?}");
            let on = |health: Health, result| health.on(HealthEvent::Checked { result, threshold }, at(0));
            let good = on(health, CustomHealthStatus::Healthy);
            assert_eq!(good.status(), HealthStatus::Healthy);
            assert_eq!(
                on(good, CustomHealthStatus::Unhealthy).status(),
                HealthStatus::Healthy,
                "one of three"
            );
            let bad = on(health, CustomHealthStatus::Unhealthy);
            assert_eq!(bad.status(), HealthStatus::Unhealthy);
            assert_eq!(
                on(bad, CustomHealthStatus::Healthy).status(),
                HealthStatus::Unhealthy,
                "one of three"
            );
        }
        assert_eq!(Health::before_first_result(HealthStart::Healthy), custom());
    }

    #[test]
    fn a_host_overrules_a_pending_report() {
        let health = custom().on(report(CustomHealthStatus::Unhealthy), at(0));
        let set = health.on(HealthEvent::Set(CustomHealthStatus::Healthy), at(10));
        assert_eq!(set.advance(at(60)).status(), HealthStatus::Healthy);
    }

    proptest! {
        /// Only events and the last moment decide; advancing in between changes nothing.
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
            // After the delay nothing is pending.
            prop_assert_eq!(direct.advance(at(now + 30)).next_deadline(), None);
        }
    }
}
