//! Requests about services, and what they are made of.

use std::collections::BTreeMap;

use super::{Filter, OneOf, ServiceTypeOption, Tag};
use crate::model::{HealthCheckType, RecordType, RoutingPolicy};

request! {
    /// Creates a service.
    CreateServiceRequest {
        required {
            /// The name: labels of 1–63 letters, digits, `_` and `-`, at most 127 characters.
            name,
        }
        optional {
            /// The id or ARN of the namespace. Required, here or in `dns_config`.
            namespace_id: String => with_namespace_id,
            /// An idempotency token of at most 64 characters.
            creator_request_id: String => with_creator_request_id,
            /// At most 1024 characters.
            description: String => with_description,
            /// The records that each instance gets. Required in a DNS namespace, unless `service_type` is HTTP.
            dns_config: DnsConfigInput => with_dns_config,
            /// A Route 53 health check.
            health_check_config: HealthCheckConfigInput => with_health_check_config,
            /// Health that the caller reports.
            health_check_custom_config: HealthCheckCustomConfigInput => with_health_check_custom_config,
            /// At most 50 tags.
            tags: Vec<Tag> => with_tags,
            /// `HTTP`: found by DiscoverInstances only, also in a DNS namespace.
            service_type: OneOf<ServiceTypeOption> => with_service_type,
        }
    }
}

request! {
    /// Changes a service in a DNS namespace.
    UpdateServiceRequest {
        required {
            /// The id or the ARN.
            id,
        }
        optional {
            /// The new settings. Required.
            service: ServiceChange => with_service,
        }
    }
}

request! {
    /// Deletes a service that has no instances.
    DeleteServiceRequest {
        required {
            /// The id or the ARN.
            id,
        }
        optional {}
    }
}

request! {
    /// Describes a service.
    GetServiceRequest {
        required {
            /// The id or the ARN.
            id,
        }
        optional {}
    }
}

request! {
    /// Lists the services of the account and Region in order of creation.
    ListServicesRequest {
        required {}
        optional {
            /// Where the last page ended.
            next_token: String => with_next_token,
            /// The most entries of a page: 1–100, by default 100.
            max_results: i64 => with_max_results,
            /// Conditions that must all hold: NAMESPACE_ID, RESOURCE_OWNER.
            filters: Vec<Filter> => with_filters,
        }
    }
}

request! {
    /// Reads the attributes of a service.
    GetServiceAttributesRequest {
        required {
            /// The id or ARN of the service.
            service_id,
        }
        optional {}
    }
}

request! {
    /// Adds attributes to a service, or replaces those of the same keys.
    UpdateServiceAttributesRequest {
        required {
            /// The id or ARN of the service.
            service_id,
        }
        optional {
            /// 1–30 attributes, keys of at most 255 and values of at most 1024 characters. Required.
            attributes: BTreeMap<String, String> => with_attributes,
        }
    }
}

impl UpdateServiceAttributesRequest {
    /// Adds an attribute.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.get_or_insert_default().insert(key.into(), value.into());
        self
    }
}

request! {
    /// Removes attributes from a service.
    DeleteServiceAttributesRequest {
        required {
            /// The id or ARN of the service.
            service_id,
        }
        optional {
            /// 1–30 keys of at most 255 characters; one that the service does not have is ignored. Required.
            attributes: Vec<String> => with_attributes,
        }
    }
}

/// The new settings of a service. A `dns_config` or `health_check_config` that is left out is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceChange {
    /// At most 1024 characters; the empty text clears the description. It stays if it is not given.
    pub description: Option<String>,
    /// The records that remain, with their TTLs.
    pub dns_config: Option<DnsConfigChange>,
    /// The Route 53 health check. Its type cannot change.
    pub health_check_config: Option<HealthCheckConfigInput>,
}

impl ServiceChange {
    /// Sets the description.
    #[must_use]
    pub fn with_description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// Sets the records that remain.
    #[must_use]
    pub fn with_dns_config(self, dns_config: DnsConfigChange) -> Self {
        Self { dns_config: Some(dns_config), ..self }
    }

    /// Sets the Route 53 health check.
    #[must_use]
    pub fn with_health_check_config(self, config: HealthCheckConfigInput) -> Self {
        Self { health_check_config: Some(config), ..self }
    }
}

/// The records of a service that remain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsConfigChange {
    /// Of the types that the service has. Required.
    pub dns_records: Option<Vec<DnsRecordInput>>,
}

impl DnsConfigChange {
    /// These records.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = (RecordType, u32)>) -> Self {
        Self { dns_records: DnsConfigInput::new(records).dns_records }
    }
}

/// The records that each instance of a service gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsConfigInput {
    /// The namespace's id; deprecated, but Terraform and CDK send it.
    pub namespace_id: Option<String>,
    /// [`RoutingPolicy::Multivalue`] if absent.
    pub routing_policy: Option<OneOf<RoutingPolicy>>,
    /// The records. Required.
    pub dns_records: Option<Vec<DnsRecordInput>>,
}

impl DnsConfigInput {
    /// These records with the default policy, MULTIVALUE.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = (RecordType, u32)>) -> Self {
        let record = |(kind, ttl): (RecordType, u32)| DnsRecordInput {
            kind: Some(kind.into()),
            ttl: Some(ttl.into()),
        };
        Self { dns_records: Some(records.into_iter().map(record).collect()), ..Self::default() }
    }

    /// Sets the policy.
    #[must_use]
    pub fn with_routing_policy(mut self, policy: RoutingPolicy) -> Self {
        self.routing_policy = Some(policy.into());
        self
    }
}

/// A record that each instance gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsRecordInput {
    /// The type. Required.
    pub kind: Option<OneOf<RecordType>>,
    /// In seconds: 0–2147483647. Required.
    pub ttl: Option<i64>,
}

/// A Route 53 health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheckConfigInput {
    /// The type. Required.
    pub kind: Option<OneOf<HealthCheckType>>,
    /// At most 255 characters; `/` if absent, not allowed for TCP.
    pub resource_path: Option<String>,
    /// 1–10; 1 if absent.
    pub failure_threshold: Option<i64>,
}

impl HealthCheckConfigInput {
    /// A check of this type, with the default path and threshold.
    #[must_use]
    pub fn new(kind: HealthCheckType) -> Self {
        Self { kind: Some(kind.into()), ..Self::default() }
    }

    /// Sets the path: at most 255 characters, not allowed for TCP.
    #[must_use]
    pub fn with_resource_path(self, path: impl Into<String>) -> Self {
        Self { resource_path: Some(path.into()), ..self }
    }

    /// Sets the number of results in a row that change the status: 1–10.
    #[must_use]
    pub fn with_failure_threshold(self, threshold: u8) -> Self {
        Self { failure_threshold: Some(threshold.into()), ..self }
    }
}

/// Health that the caller reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheckCustomConfigInput {
    /// 1–10; deprecated, always 1.
    pub failure_threshold: Option<i64>,
}
