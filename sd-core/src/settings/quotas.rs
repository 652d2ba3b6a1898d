//! Quotas of an account and Region: resources and request rates.
//!
//! Limits of the API itself are not quotas and always apply: 50 tags of a resource, 30 attributes of a service, 30 custom
//! attributes of an instance.

use std::{fmt, time::Duration};

use crate::model::action::Action;

/// A resource limited per account and Region.
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

/// A default quota of AWS on a resource. Requests beyond it are refused with `ResourceLimitExceeded`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ResourceQuota {
    /// The resource.
    pub quota: Quota,
    /// The limit.
    pub most: usize,
    /// The source of the number.
    pub source: &'static str,
}

/// The rate at which an account may call an operation in a Region. Requests beyond it are refused with
/// `RequestLimitExceeded`.
///
/// The rate is that of a token bucket: it holds `burst` tokens, each request takes one, and each `interval` adds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// The operation.
    pub action: Action,
    /// The most requests at once.
    pub burst: u32,
    /// The time until the bucket gets another token.
    pub interval: Duration,
    /// The source of the number.
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

/// The rates of [`Quotas::aws`], per account and Region. AWS throttles the other operations too, but does not publish the
/// rates; they are not limited here.
pub const RATES: &[Rate] = &[
    rate(Action::DiscoverInstances, 2000, Duration::from_millis(1), BUCKET),
    // 3000 per second. The burst is not documented.
    rate(Action::DiscoverInstancesRevision, 3000, Duration::from_nanos(333_333), PUBLISHED),
];

const fn rate(action: Action, burst: u32, interval: Duration, source: &'static str) -> Rate {
    Rate { action, burst, interval, source }
}

/// The quotas and rates of each account and Region.
///
/// Quotas are checked at planning time but are not preconditions of the commit, so concurrent requests may slightly exceed
/// them. Resources that operations under way will create count. Rates follow the clock of the handle, and each handle has
/// its own buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    namespaces: Option<usize>,
    instances_per_namespace: Option<usize>,
    instances_per_service: Option<usize>,
    rates: &'static [Rate],
}

impl Quotas {
    /// No quotas and no rates. The default.
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

    /// Sets a quota, like an increase that AWS grants.
    #[must_use]
    pub const fn with(mut self, quota: Quota, most: usize) -> Self {
        match quota {
            Quota::Namespaces => self.namespaces = Some(most),
            Quota::InstancesPerNamespace => self.instances_per_namespace = Some(most),
            Quota::InstancesPerService => self.instances_per_service = Some(most),
        }
        self
    }

    /// Removes the rates.
    #[must_use]
    pub const fn without_rates(self) -> Self {
        Self { rates: &[], ..self }
    }

    /// The quota on a resource; `None` if it is not limited.
    #[must_use]
    pub const fn most(&self, quota: Quota) -> Option<usize> {
        match quota {
            Quota::Namespaces => self.namespaces,
            Quota::InstancesPerNamespace => self.instances_per_namespace,
            Quota::InstancesPerService => self.instances_per_service,
        }
    }

    /// The rate of an operation; `None` if it is not limited.
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
    fn aws_sets_every_quota_and_none_sets_no_quota() {
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
