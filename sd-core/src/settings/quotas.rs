//! How much an account may have and ask for in a Region, if that is limited.
//!
//! What every request and resource is limited to by the API itself, such as 50 tags of a resource, 30 attributes of a
//! service and 30 custom attributes of an instance, is no matter of quotas here: it always holds.

use std::{fmt, time::Duration};

use crate::model::action::Action;

/// Something of which an account may have only so many in a Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quota {
    /// Namespaces.
    Namespaces,
    /// Instances of all services of a namespace together.
    InstancesPerNamespace,
    /// Instances of a service.
    InstancesPerService,
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces in an account and Region",
            Self::InstancesPerNamespace => "instances in a namespace",
            Self::InstancesPerService => "instances in a service",
        })
    }
}

/// A quota of AWS, by default. Beyond it a request ends in `ResourceLimitExceeded`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResourceQuota {
    /// What is limited.
    pub quota: Quota,
    /// To how many.
    pub most: usize,
    /// Where this is known from.
    pub source: &'static str,
}

/// How often AWS lets an account ask for an operation in a Region. Beyond it a request ends in `RequestLimitExceeded`.
///
/// A bucket holds `burst` tokens. A request takes one, and every `interval` one comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// The operation.
    pub action: Action,
    /// How many requests can come at once.
    pub burst: u32,
    /// How often another one can come after that.
    pub interval: Duration,
    /// Where this is known from.
    pub source: &'static str,
}

const PUBLISHED: &str = "Developer Guide, AWS Cloud Map service quotas";
const BUCKET: &str = "Developer Guide, AWS Cloud Map API request throttling quota";

/// The quotas on resources of [`Quotas::aws`].
pub const RESOURCES: &[ResourceQuota] = &[
    ResourceQuota { quota: Quota::Namespaces, most: 50, source: PUBLISHED },
    ResourceQuota { quota: Quota::InstancesPerNamespace, most: 2000, source: PUBLISHED },
    ResourceQuota { quota: Quota::InstancesPerService, most: 1000, source: PUBLISHED },
];

/// The rates of [`Quotas::aws`]. Each is of an account and Region. The control plane is throttled as well, at rates that AWS
/// does not publish; it is not limited here.
pub const RATES: &[Rate] = &[
    rate(Action::DiscoverInstances, 2000, Duration::from_millis(1), BUCKET),
    // 3000 a second; of a burst nothing is said.
    rate(Action::DiscoverInstancesRevision, 3000, Duration::from_nanos(333_333), PUBLISHED),
];

const fn rate(action: Action, burst: u32, interval: Duration, source: &'static str) -> Rate {
    Rate { action, burst, interval, source }
}

/// What an account may have and how often it may ask, in a Region.
///
/// How many there are is looked at when a request is planned, and is no fact that its changes rely on: of requests that
/// are made at the same moment a few more than the quota may succeed. What operations under way are going to add counts.
/// Rates follow the clock of the handle, and each handle counts for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    namespaces: Option<usize>,
    instances_per_namespace: Option<usize>,
    instances_per_service: Option<usize>,
    rates: &'static [Rate],
}

impl Quotas {
    /// As much, and as often, as anyone likes. The default.
    #[must_use]
    pub const fn none() -> Self {
        Self { namespaces: None, instances_per_namespace: None, instances_per_service: None, rates: &[] }
    }

    /// The default quotas of an AWS account: [`RESOURCES`] and [`RATES`].
    #[must_use]
    pub fn aws() -> Self {
        let all = Self { rates: RATES, ..Self::none() };
        RESOURCES.iter().fold(all, |quotas, resource| quotas.with(resource.quota, resource.most))
    }

    /// Sets a quota, as AWS does for those who ask.
    #[must_use]
    pub const fn with(mut self, quota: Quota, most: usize) -> Self {
        match quota {
            Quota::Namespaces => self.namespaces = Some(most),
            Quota::InstancesPerNamespace => self.instances_per_namespace = Some(most),
            Quota::InstancesPerService => self.instances_per_service = Some(most),
        }
        self
    }

    /// Without limits on how often an account may ask.
    #[must_use]
    pub const fn without_rates(self) -> Self {
        Self { rates: &[], ..self }
    }

    /// How many there may be, if that is limited.
    #[must_use]
    pub const fn most(&self, quota: Quota) -> Option<usize> {
        match quota {
            Quota::Namespaces => self.namespaces,
            Quota::InstancesPerNamespace => self.instances_per_namespace,
            Quota::InstancesPerService => self.instances_per_service,
        }
    }

    /// How often an operation may be asked for, if that is limited.
    #[must_use]
    pub fn rate(&self, action: Action) -> Option<&'static Rate> {
        self.rates.iter().find(|rate| rate.action == action)
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Self::none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_has_every_quota_and_none_has_none() {
        for quota in [Quota::Namespaces, Quota::InstancesPerNamespace, Quota::InstancesPerService] {
            assert_eq!(RESOURCES.iter().filter(|resource| resource.quota == quota).count(), 1);
            assert!(Quotas::aws().most(quota).is_some());
            assert_eq!(Quotas::none().most(quota), None);
            assert_eq!(Quotas::aws().with(quota, 7).most(quota), Some(7));
        }
        for rate in RATES {
            assert_eq!(Quotas::aws().rate(rate.action), Some(rate), "one for each operation");
            assert_eq!(Quotas::none().rate(rate.action), None);
            assert_eq!(Quotas::aws().without_rates().rate(rate.action), None);
            assert!(rate.burst > 0 && rate.interval > Duration::ZERO);
        }
    }
}
