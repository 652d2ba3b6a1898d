use std::{collections::BTreeMap, num::NonZeroU8};

use super::{
    VERSION,
    reading::{Reading, RestoreError},
    record,
};
use crate::{
    model::{
        self, CreatorRequestId, Fingerprint, HealthCheckConfig, HealthCheckType, Incarnation, NamespaceId,
        RecordType, RoutingPolicy, ServiceAttributes, ServiceId, ServiceKind, ServiceName, Timestamp,
        constraint,
    },
    state::ServiceEntry,
};

record! {
    /// A service.
    pub struct Service {
        /// The version of this form.
        pub version: u16,
        /// The account: 12 digits.
        pub account: String,
        /// The Region.
        pub region: String,
        /// Its id.
        pub id: String,
        /// The namespace that it is in.
        pub namespace_id: String,
        /// Its name.
        pub name: String,
        /// Its records; absent if it is discovered by the API only.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub dns_config: Option<DnsConfig>,
        /// How the health of its instances is determined.
        pub health_check: HealthCheck,
        /// At most 1024 characters.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub description: Option<String>,
        /// Its tags.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
        pub tags: BTreeMap<String, String>,
        /// Its own attributes.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
        pub attributes: BTreeMap<String, String>,
        /// When it was created, in milliseconds.
        pub created: u64,
        /// The token of the request that created it.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        pub creator_request_id: Option<String>,
        /// What the request that created it asked for.
        #[cfg_attr(feature = "stored", serde(with = "super::hex128"))]
        pub created_as: u128,
        /// Tells it from another that gets the same id.
        #[cfg_attr(feature = "stored", serde(with = "super::hex"))]
        pub incarnation: u64,
        /// Its counter of registrations and deregistrations.
        pub instances_revision: u64,
        /// Its place in lists.
        pub place: u64,
    }
}

record! {
    /// The DNS settings of a service.
    pub struct DnsConfig {
        /// `MULTIVALUE` or `WEIGHTED`.
        pub routing_policy: String,
        /// The records of an instance, one for each type.
        pub records: Vec<DnsRecord>,
    }
}

record! {
    /// A record that each instance of a service gets.
    pub struct DnsRecord {
        /// `A`, `AAAA`, `CNAME` or `SRV`.
        #[cfg_attr(feature = "stored", serde(rename = "type"))]
        pub kind: String,
        /// In seconds: 0–2147483647.
        pub ttl: u32,
    }
}

/// How the health of a service's instances is determined.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "stored", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "stored", serde(tag = "by", rename_all = "camelCase", rename_all_fields = "camelCase"))]
#[allow(clippy::exhaustive_enums, reason = "the API has these three cases")]
pub enum HealthCheck {
    /// Instances are not checked.
    None,
    /// By reports of the caller.
    Custom,
    /// By a Route 53 health check.
    Route53 {
        /// `HTTP`, `HTTPS` or `TCP`.
        #[cfg_attr(feature = "stored", serde(rename = "type"))]
        kind: String,
        /// The path of an HTTP or HTTPS check.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Option::is_none"))]
        resource_path: Option<String>,
        /// How many results in a row change the status: 1–10.
        failure_threshold: u8,
    },
}

impl Service {
    /// The record of a service that has this counter and this place in lists.
    #[must_use]
    pub fn of(service: &model::Service, instances_revision: u64, place: u64) -> Self {
        let pairs = |pairs: &mut dyn Iterator<Item = (&str, &str)>| {
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        Self {
            version: VERSION,
            account: service.scope.account().to_string(),
            region: service.scope.region().to_string(),
            id: service.id.to_string(),
            namespace_id: service.namespace_id.to_string(),
            name: service.name.to_string(),
            dns_config: service.dns_config().map(DnsConfig::from),
            health_check: HealthCheck::from(&service.health_check),
            description: service.description.as_deref().map(str::to_owned),
            tags: pairs(&mut service.tags.iter()),
            attributes: pairs(&mut service.attributes.iter()),
            created: service.created.as_millis(),
            creator_request_id: service.creator_request_id.as_ref().map(ToString::to_string),
            created_as: service.created_as.as_u128(),
            incarnation: service.incarnation.0,
            instances_revision,
            place,
        }
    }

    /// The record of a service.
    #[must_use]
    pub fn of_entry(entry: &ServiceEntry) -> Self {
        Self::of(entry.service(), entry.instances_revision().as_u64(), entry.place())
    }

    /// The service of this record.
    ///
    /// # Errors
    /// The member that cannot be read.
    pub fn restore(self) -> Result<model::Service, RestoreError> {
        let reading = Reading::of("service", &self.id, self.version)?;
        let attributes = (constraint::SERVICE_ATTRIBUTE_KEY, constraint::SERVICE_ATTRIBUTE_VALUE);
        reading.pairs("attributes", &self.attributes, attributes)?;
        Ok(model::Service {
            scope: reading.scope(&self.account, &self.region)?,
            id: reading.read("id", &self.id, ServiceId::parse)?,
            namespace_id: reading.read("namespace_id", &self.namespace_id, NamespaceId::parse)?,
            name: reading.read("name", &self.name, ServiceName::parse)?,
            kind: match &self.dns_config {
                None => ServiceKind::Http,
                Some(config) => ServiceKind::DnsHttp(config.restore(reading)?),
            },
            health_check: self.health_check.restore(reading)?,
            description: reading.description(self.description.as_deref())?,
            created: Timestamp::from_millis(self.created),
            creator_request_id: reading.read_optional(
                "creator_request_id",
                self.creator_request_id.as_deref(),
                CreatorRequestId::parse,
            )?,
            created_as: Fingerprint::from_u128(self.created_as),
            incarnation: Incarnation(self.incarnation),
            tags: reading.tags(self.tags)?,
            attributes: ServiceAttributes::new(self.attributes),
            dns_name: Default::default(),
        })
    }
}

impl DnsConfig {
    fn restore(&self, reading: Reading<'_>) -> Result<model::DnsConfig, RestoreError> {
        let policy = reading.one_of(
            "routing_policy",
            &self.routing_policy,
            &[RoutingPolicy::Multivalue, RoutingPolicy::Weighted],
            RoutingPolicy::as_str,
        )?;
        let records = self.records.iter().map(|record| {
            let kind = reading.one_of("records", &record.kind, &RecordType::ALL, RecordType::as_str)?;
            if i32::try_from(record.ttl).is_err() {
                return Err(reading.wrong("ttl", format_args!("{} is above 2147483647", record.ttl)));
            }
            Ok(model::DnsRecord::new(kind, record.ttl))
        });
        let records: Vec<_> = records.collect::<Result<_, _>>()?;
        model::check_records(&records).map_err(|unfit| reading.wrong("records", unfit))?;
        Ok(model::DnsConfig::new(policy, records))
    }
}

impl From<&model::DnsConfig> for DnsConfig {
    fn from(config: &model::DnsConfig) -> Self {
        let record =
            |record: &model::DnsRecord| DnsRecord { kind: record.kind.as_str().to_owned(), ttl: record.ttl };
        Self {
            routing_policy: config.routing_policy.as_str().to_owned(),
            records: config.records.iter().map(record).collect(),
        }
    }
}

impl HealthCheck {
    fn restore(&self, reading: Reading<'_>) -> Result<model::HealthCheck, RestoreError> {
        let Self::Route53 { kind, resource_path, failure_threshold } = self else {
            return Ok(if *self == Self::Custom {
                model::HealthCheck::Custom
            } else {
                model::HealthCheck::None
            });
        };
        let types = [HealthCheckType::Http, HealthCheckType::Https, HealthCheckType::Tcp];
        let kind = reading.one_of("health_check", kind, &types, HealthCheckType::as_str)?;
        let resource_path = reading.read_optional("resource_path", resource_path.as_deref(), |path| {
            constraint::RESOURCE_PATH.check(path).map(|()| Box::from(path))
        })?;
        let threshold = NonZeroU8::new(*failure_threshold).filter(|threshold| threshold.get() <= 10);
        let failure_threshold = threshold.ok_or_else(|| {
            reading.wrong("failure_threshold", format_args!("{failure_threshold} is not one of 1-10"))
        })?;
        HealthCheckConfig::new(kind, resource_path, failure_threshold)
            .map(model::HealthCheck::Route53)
            .ok_or_else(|| reading.wrong("resource_path", "TCP checks have none"))
    }
}

impl From<&model::HealthCheck> for HealthCheck {
    fn from(check: &model::HealthCheck) -> Self {
        match check {
            model::HealthCheck::None => Self::None,
            model::HealthCheck::Custom => Self::Custom,
            model::HealthCheck::Route53(config) => Self::Route53 {
                kind: config.kind.as_str().to_owned(),
                resource_path: config.resource_path.as_deref().map(str::to_owned),
                failure_threshold: config.failure_threshold.get(),
            },
        }
    }
}
