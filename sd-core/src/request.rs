//! The requests of the API, as a caller sends them: unchecked, every member optional.
//!
//! A door fills in what it has decoded; the planners check it. So each rule, and the wording of what breaks it, is in
//! one place, and a missing member is reported like any other. Callers in Rust start from `new`, which takes what is
//! required, and add the rest with the `with_…` methods.

use std::collections::BTreeMap;

use crate::{
    health::HealthCheckType,
    model::{RecordType, RoutingPolicy},
};

/// Declares a request: required members become arguments of `new`, the others get a `with_…` method.
macro_rules! request {
    (
        $(#[$doc:meta])* $name:ident {
            required { $($(#[$rdoc:meta])* $rfield:ident,)* }
            optional { $($(#[$odoc:meta])* $ofield:ident: $otype:ty => $with:ident,)* }
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$rdoc])* pub $rfield: Option<String>,)*
            $($(#[$odoc])* pub $ofield: Option<$otype>,)*
        }

        impl $name {
            /// A request with the members that are required.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "Default is derived; requests without required members have both")]
            pub fn new($($rfield: impl Into<String>),*) -> Self {
                Self { $($rfield: Some($rfield.into()),)* ..Self::default() }
            }

            $(
                #[doc = concat!("Sets [`", stringify!($ofield), "`](Self::", stringify!($ofield), ").")]
                #[must_use]
                pub fn $with(mut self, $ofield: impl Into<$otype>) -> Self {
                    self.$ofield = Some($ofield.into());
                    self
                }
            )*
        }
    };
}

request! {
    /// Creates a namespace whose instances are found by DiscoverInstances only.
    CreateHttpNamespaceRequest {
        required {
            /// The name: 1–1024 printable characters.
            name,
        }
        optional {
            /// An idempotency token of at most 64 characters.
            creator_request_id: String => with_creator_request_id,
            /// At most 1024 characters.
            description: String => with_description,
            /// At most 50 tags.
            tags: Vec<Tag> => with_tags,
        }
    }
}

request! {
    /// Creates a namespace whose instances are also found by DNS, in a VPC.
    CreatePrivateDnsNamespaceRequest {
        required {
            /// The name of the namespace and of its zone: 1–253 printable characters.
            name,
            /// The VPC, at most 64 characters.
            vpc,
        }
        optional {
            /// An idempotency token of at most 64 characters.
            creator_request_id: String => with_creator_request_id,
            /// At most 1024 characters.
            description: String => with_description,
            /// At most 50 tags.
            tags: Vec<Tag> => with_tags,
            /// The zone's settings; an SOA TTL of 15 s without them.
            properties: DnsNamespaceProperties => with_properties,
        }
    }
}

request! {
    /// Creates a namespace whose instances are also found by public DNS.
    CreatePublicDnsNamespaceRequest {
        required {
            /// The name of the namespace and of its zone: a domain name with at least one dot, at most 253 characters.
            name,
        }
        optional {
            /// An idempotency token of at most 64 characters.
            creator_request_id: String => with_creator_request_id,
            /// At most 1024 characters.
            description: String => with_description,
            /// At most 50 tags.
            tags: Vec<Tag> => with_tags,
            /// The zone's settings; an SOA TTL of 60 s without them.
            properties: DnsNamespaceProperties => with_properties,
        }
    }
}

request! {
    /// Changes the description of an HTTP namespace.
    UpdateHttpNamespaceRequest {
        required {
            /// The id or the ARN.
            id,
        }
        optional {
            /// An idempotency token of at most 64 characters.
            updater_request_id: String => with_updater_request_id,
            /// What changes. Required.
            namespace: HttpNamespaceChange => with_namespace,
        }
    }
}

request! {
    /// Changes a namespace of private DNS; what is not given stays.
    UpdatePrivateDnsNamespaceRequest {
        required {
            /// The id or the ARN.
            id,
        }
        optional {
            /// An idempotency token of at most 64 characters.
            updater_request_id: String => with_updater_request_id,
            /// What changes. Required.
            namespace: DnsNamespaceChange => with_namespace,
        }
    }
}

request! {
    /// Changes a namespace of public DNS; what is not given stays.
    UpdatePublicDnsNamespaceRequest {
        required {
            /// The id or the ARN.
            id,
        }
        optional {
            /// An idempotency token of at most 64 characters.
            updater_request_id: String => with_updater_request_id,
            /// What changes. Required.
            namespace: DnsNamespaceChange => with_namespace,
        }
    }
}

request! {
    /// Deletes a namespace that has no services.
    DeleteNamespaceRequest {
        required {
            /// The id or the ARN.
            id,
        }
        optional {}
    }
}

request! {
    /// Describes a namespace.
    GetNamespaceRequest {
        required {
            /// The id or the ARN.
            id,
        }
        optional {}
    }
}

request! {
    /// Lists the namespaces of the account and Region in order of creation.
    ListNamespacesRequest {
        required {}
        optional {
            /// Where the last page ended.
            next_token: String => with_next_token,
            /// The most entries of a page: 1–100, by default 100.
            max_results: i64 => with_max_results,
            /// Conditions that must all hold: TYPE, NAME, HTTP_NAME, RESOURCE_OWNER.
            filters: Vec<Filter> => with_filters,
        }
    }
}

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
            service_type: String => with_service_type,
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
    /// Registers an instance, or replaces what was registered under its id.
    RegisterInstanceRequest {
        required {
            /// The id or ARN of the service.
            service_id,
            /// The id of the instance: 1–64 characters of `[0-9a-zA-Z_/:.@-]`.
            instance_id,
        }
        optional {
            /// An idempotency token of at most 64 characters.
            creator_request_id: String => with_creator_request_id,
            /// The attributes; which `AWS_…` ones are required depends on the service. Required, may be empty.
            attributes: BTreeMap<String, String> => with_attributes,
        }
    }
}

impl RegisterInstanceRequest {
    /// Adds an attribute.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.get_or_insert_default().insert(key.into(), value.into());
        self
    }
}

request! {
    /// Removes an instance.
    DeregisterInstanceRequest {
        required {
            /// The id or ARN of the service.
            service_id,
            /// The id of the instance.
            instance_id,
        }
        optional {}
    }
}

request! {
    /// Describes an instance.
    GetInstanceRequest {
        required {
            /// The id or ARN of the service.
            service_id,
            /// The id of the instance.
            instance_id,
        }
        optional {}
    }
}

request! {
    /// Lists the instances of a service in order of registration.
    ListInstancesRequest {
        required {
            /// The id or ARN of the service.
            service_id,
        }
        optional {
            /// Where the last page ended.
            next_token: String => with_next_token,
            /// The most entries of a page: 1–100, by default 100.
            max_results: i64 => with_max_results,
        }
    }
}

request! {
    /// Finds instances by the names of their namespace and service.
    DiscoverInstancesRequest {
        required {
            /// The `HttpName` of the namespace, or its ARN.
            namespace_name,
            /// The name of the service.
            service_name,
        }
        optional {
            /// The most instances: 1–1000, by default 100. Of more, some at random.
            max_results: i64 => with_max_results,
            /// Attributes that an instance must have.
            query_parameters: BTreeMap<String, String> => with_query_parameters,
            /// Attributes that decide if any instance has them all.
            optional_parameters: BTreeMap<String, String> => with_optional_parameters,
            /// HEALTHY, UNHEALTHY, ALL or HEALTHY_OR_ELSE_ALL; by default HEALTHY.
            health_status: String => with_health_status,
            /// The account that owns the namespace, 12 digits.
            owner_account: String => with_owner_account,
        }
    }
}

request! {
    /// Tells whether the registrations of a service have changed, without finding them.
    DiscoverInstancesRevisionRequest {
        required {
            /// The `HttpName` of the namespace, or its ARN.
            namespace_name,
            /// The name of the service.
            service_name,
        }
        optional {
            /// The account that owns the namespace, 12 digits.
            owner_account: String => with_owner_account,
        }
    }
}

request! {
    /// Tells how far an operation is.
    GetOperationRequest {
        required {
            /// The id.
            operation_id,
        }
        optional {
            /// The account that owns the operation's namespace, 12 digits.
            owner_account: String => with_owner_account,
        }
    }
}

request! {
    /// Lists operations in the order in which they were started.
    ListOperationsRequest {
        required {}
        optional {
            /// Where the last page ended.
            next_token: String => with_next_token,
            /// The most entries of a page: 1–100, by default 100.
            max_results: i64 => with_max_results,
            /// Conditions that must all hold: NAMESPACE_ID, SERVICE_ID, STATUS, TYPE, UPDATE_DATE.
            filters: Vec<Filter> => with_filters,
        }
    }
}

request! {
    /// Tells the health of instances.
    GetInstancesHealthStatusRequest {
        required {
            /// The id or ARN of the service.
            service_id,
        }
        optional {
            /// Only these instances; all without them.
            instances: Vec<String> => with_instances,
            /// The most entries of a page: 1–100, by default 100.
            max_results: i64 => with_max_results,
            /// Where the last page ended.
            next_token: String => with_next_token,
        }
    }
}

request! {
    /// Reports the health of an instance of a service with a custom health check.
    UpdateInstanceCustomHealthStatusRequest {
        required {
            /// The id or ARN of the service.
            service_id,
            /// The id of the instance.
            instance_id,
            /// HEALTHY or UNHEALTHY.
            status,
        }
        optional {}
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

request! {
    /// Adds tags to a namespace or service, or replaces those of the same keys.
    TagResourceRequest {
        required {
            /// The ARN of the namespace or service.
            resource_arn,
        }
        optional {
            /// At most 200 tags; of one key, the last counts. Required, may be empty.
            tags: Vec<Tag> => with_tags,
        }
    }
}

request! {
    /// Removes tags from a namespace or service.
    UntagResourceRequest {
        required {
            /// The ARN of the namespace or service.
            resource_arn,
        }
        optional {
            /// At most 200 keys; one that the resource does not have is ignored. Required, may be empty.
            tag_keys: Vec<String> => with_tag_keys,
        }
    }
}

request! {
    /// Lists the tags of a namespace or service.
    ListTagsForResourceRequest {
        required {
            /// The ARN of the namespace or service.
            resource_arn,
        }
        optional {}
    }
}

/// A tag of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tag {
    /// 1–128 characters.
    pub key: Option<String>,
    /// 0–256 characters.
    pub value: Option<String>,
}

impl Tag {
    /// A tag.
    #[must_use]
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: Some(key.into()), value: Some(value.into()) }
    }
}

/// A condition on what is listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// What is compared.
    pub name: Option<String>,
    /// With what.
    pub values: Option<Vec<String>>,
    /// EQ (if absent), IN, BETWEEN or BEGINS_WITH.
    pub condition: Option<String>,
}

impl Filter {
    /// The condition that `name` equals `value`.
    #[must_use]
    pub fn eq(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: Some(name.into()), values: Some(vec![value.into()]), condition: None }
    }

    /// The condition that `name` begins with `prefix`.
    #[must_use]
    pub fn begins_with(name: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self { condition: Some("BEGINS_WITH".to_owned()), ..Self::eq(name, prefix) }
    }
}

/// The settings of a DNS namespace: `DnsProperties.SOA.TTL`, every level required once its parent is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsNamespaceProperties {
    /// The zone's settings.
    pub dns_properties: Option<DnsPropertiesInput>,
}

impl DnsNamespaceProperties {
    /// The TTL of the SOA record in seconds: 0–2147483647.
    #[must_use]
    pub fn soa_ttl(ttl: u32) -> Self {
        Self { dns_properties: Some(DnsPropertiesInput { soa: Some(SoaInput { ttl: Some(ttl.into()) }) }) }
    }
}

/// The settings of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsPropertiesInput {
    /// The settings of the SOA record.
    pub soa: Option<SoaInput>,
}

/// The settings of an SOA record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SoaInput {
    /// In seconds: 0–2147483647.
    pub ttl: Option<i64>,
}

/// What changes of an HTTP namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpNamespaceChange {
    /// At most 1024 characters; the empty text clears the description. Required.
    pub description: Option<String>,
}

impl HttpNamespaceChange {
    /// The change of the description to this one.
    #[must_use]
    pub fn new(description: impl Into<String>) -> Self {
        Self { description: Some(description.into()) }
    }
}

/// What changes of a DNS namespace; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsNamespaceChange {
    /// At most 1024 characters; the empty text clears the description.
    pub description: Option<String>,
    /// The zone's settings.
    pub properties: Option<DnsNamespaceProperties>,
}

impl DnsNamespaceChange {
    /// Sets the description.
    #[must_use]
    pub fn with_description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// Sets the TTL of the SOA record in seconds: 0–2147483647.
    #[must_use]
    pub fn with_soa_ttl(self, ttl: u32) -> Self {
        Self { properties: Some(DnsNamespaceProperties::soa_ttl(ttl)), ..self }
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
    /// MULTIVALUE (if absent) or WEIGHTED.
    pub routing_policy: Option<String>,
    /// The records. Required.
    pub dns_records: Option<Vec<DnsRecordInput>>,
}

impl DnsConfigInput {
    /// These records with the default policy, MULTIVALUE.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = (RecordType, u32)>) -> Self {
        let record = |(kind, ttl): (RecordType, u32)| DnsRecordInput {
            kind: Some(kind.as_str().to_owned()),
            ttl: Some(ttl.into()),
        };
        Self { dns_records: Some(records.into_iter().map(record).collect()), ..Self::default() }
    }

    /// Sets the policy.
    #[must_use]
    pub fn with_routing_policy(mut self, policy: RoutingPolicy) -> Self {
        self.routing_policy = Some(policy.as_str().to_owned());
        self
    }
}

/// A record that each instance gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsRecordInput {
    /// SRV, A, AAAA or CNAME. Required.
    pub kind: Option<String>,
    /// In seconds: 0–2147483647. Required.
    pub ttl: Option<i64>,
}

/// A Route 53 health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheckConfigInput {
    /// HTTP, HTTPS or TCP. Required.
    pub kind: Option<String>,
    /// At most 255 characters; `/` if absent, not allowed for TCP.
    pub resource_path: Option<String>,
    /// 1–10; 1 if absent.
    pub failure_threshold: Option<i64>,
}

impl HealthCheckConfigInput {
    /// A check of this type, with the default path and threshold.
    #[must_use]
    pub fn new(kind: HealthCheckType) -> Self {
        Self { kind: Some(kind.as_str().to_owned()), ..Self::default() }
    }
}

/// Health that the caller reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthCheckCustomConfigInput {
    /// 1–10; deprecated, always 1.
    pub failure_threshold: Option<i64>,
}
