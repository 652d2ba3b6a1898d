//! The shapes of responses. Members without a value are left out.

use std::{collections::BTreeMap, sync::Arc};

use minicbor_serde::tag;
use sd_core::{
    Action, Error, Response, Timestamp,
    model::{self, Attributes, HealthCheck, HealthCheckConfig, NamespaceKind, Operation, Tags},
    response::{
        DiscoveredRevision, InstanceDescription, InstanceHealth, NamespaceDescription, OperationStarted,
        OperationSummary, Page, ServiceAttributesDescription, ServiceDescription,
    },
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::protocol::Protocol;

/// A response of the core that can be encoded as a body.
pub(crate) trait Body {
    /// Encodes the body.
    ///
    /// # Errors
    /// Those of [`Protocol::encode`].
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error>;
}

/// Encodes a structure of one member.
fn member<T: Serialize>(protocol: Protocol, name: &str, value: &T) -> Result<Vec<u8>, Error> {
    protocol.encode(&BTreeMap::from([(name, value)]))
}

/// Seconds since the Unix epoch with three decimals; in CBOR under tag 1.
struct Seconds(Timestamp);

impl Serialize for Seconds {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era need 41 bits of 53")]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.as_millis() as f64 / 1000.0;
        if serializer.is_human_readable() {
            serializer.serialize_f64(seconds)
        } else {
            tag::Required::<1, _>::new(seconds).serialize(serializer)
        }
    }
}

/// Whether an operation has no output in the service model. Other operations without response members have an empty
/// output.
pub(crate) fn is_void(action: Action) -> bool {
    action == Action::UpdateInstanceCustomHealthStatus
}

macro_rules! encode_response {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        impl Body for Response {
            fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
                match self {
                    $(Self::$write(response) => response.encode(protocol),)*
                    $(Self::$read(response) => response.encode(protocol),)*
                }
            }
        }
    };
}

sd_core::for_each_action!(encode_response);

impl Body for () {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        struct Empty {}
        protocol.encode(&Empty {})
    }
}

impl Body for OperationStarted {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        member(protocol, "OperationId", &self.operation_id.as_str())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Namespace<'a> {
    id: &'a str,
    arn: &'a str,
    resource_owner: &'a str,
    name: &'a str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    service_count: usize,
    properties: NamespaceProperties<'a>,
    create_date: Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator_request_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NamespaceProperties<'a> {
    dns_properties: DnsProperties<'a>,
    http_properties: HttpProperties<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DnsProperties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    hosted_zone_id: Option<&'a str>,
    #[serde(rename = "SOA")]
    soa: Soa,
}

#[derive(Serialize)]
struct Soa {
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HttpProperties<'a> {
    http_name: &'a str,
}

/// Builds the shape of a namespace. Summaries, as in ListNamespaces, have no `CreatorRequestId`.
fn with_namespace<T>(
    description: &NamespaceDescription,
    summary: bool,
    use_it: impl FnOnce(&Namespace<'_>) -> T,
) -> T {
    let namespace = &*description.namespace;
    let zone = match &namespace.kind {
        NamespaceKind::Http => None,
        NamespaceKind::DnsPrivate { zone, .. } | NamespaceKind::DnsPublic { zone } => Some(zone),
    };
    let arn = namespace.arn();
    use_it(&Namespace {
        id: namespace.id.as_str(),
        arn: arn.as_str(),
        resource_owner: namespace.scope.account().as_str(),
        name: namespace.name.as_str(),
        r#type: namespace.kind.namespace_type().as_str(),
        description: namespace.description.as_deref(),
        service_count: description.service_count,
        properties: NamespaceProperties {
            dns_properties: DnsProperties {
                hosted_zone_id: zone.map(|zone| zone.id.as_str()),
                soa: Soa { ttl: zone.map(|zone| zone.soa_ttl) },
            },
            http_properties: HttpProperties { http_name: namespace.http_name.as_str() },
        },
        create_date: Seconds(namespace.created),
        creator_request_id: namespace.creator_request_id.as_ref().filter(|_| !summary).map(AsRef::as_ref),
    })
}

impl Body for NamespaceDescription {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        with_namespace(self, false, |namespace| member(protocol, "Namespace", namespace))
    }
}

struct NamespaceSummary<'a>(&'a NamespaceDescription);

impl Serialize for NamespaceSummary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        with_namespace(self.0, true, |namespace| namespace.serialize(serializer))
    }
}

impl Body for Page<NamespaceDescription> {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct ListNamespaces<'a> {
            namespaces: Vec<NamespaceSummary<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_token: Option<&'a str>,
        }
        protocol.encode(&ListNamespaces {
            namespaces: self.items.iter().map(NamespaceSummary).collect(),
            next_token: self.next_token.as_deref(),
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Service<'a> {
    id: &'a str,
    arn: &'a str,
    resource_owner: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    instance_count: usize,
    dns_config: DnsConfig<'a>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check_config: Option<Route53Check<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check_custom_config: Option<CustomCheck>,
    create_date: Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator_request_id: Option<&'a str>,
    created_by_account: &'a str,
}

/// Empty for a service without DNS.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DnsConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routing_policy: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_records: Option<Vec<DnsRecord>>,
}

#[derive(Serialize)]
struct DnsRecord {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "TTL")]
    ttl: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Route53Check<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_path: Option<&'a str>,
    failure_threshold: u8,
}

/// The threshold is always 1, whatever the request had (API Reference, HealthCheckCustomConfig).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CustomCheck {
    failure_threshold: u8,
}

impl<'a> From<&'a HealthCheckConfig> for Route53Check<'a> {
    fn from(config: &'a HealthCheckConfig) -> Self {
        Self {
            r#type: config.kind.as_str(),
            resource_path: config.resource_path.as_deref(),
            failure_threshold: config.failure_threshold.get(),
        }
    }
}

/// Builds the shape of a service. Summaries, as in ListServices, have neither `NamespaceId` nor `CreatorRequestId`.
fn with_service<T>(
    description: &ServiceDescription,
    summary: bool,
    use_it: impl FnOnce(&Service<'_>) -> T,
) -> T {
    let service = &*description.service;
    let arn = service.arn();
    let namespace_id = (!summary).then_some(service.namespace_id.as_str());
    let dns_config = service.dns_config().map_or_else(DnsConfig::default, |config| DnsConfig {
        namespace_id,
        routing_policy: Some(config.routing_policy.as_str()),
        dns_records: Some(config.records.iter().map(dns_record).collect()),
    });
    let (route53, custom) = match &service.health_check {
        HealthCheck::None => (None, None),
        HealthCheck::Custom => (None, Some(CustomCheck { failure_threshold: 1 })),
        HealthCheck::Route53(config) => (Some(config.into()), None),
    };
    use_it(&Service {
        id: service.id.as_str(),
        arn: arn.as_str(),
        resource_owner: service.scope.account().as_str(),
        name: service.name.as_str(),
        namespace_id,
        description: service.description.as_deref(),
        instance_count: description.instance_count,
        dns_config,
        r#type: service.kind.as_str(),
        health_check_config: route53,
        health_check_custom_config: custom,
        create_date: Seconds(service.created),
        creator_request_id: service.creator_request_id.as_ref().filter(|_| !summary).map(AsRef::as_ref),
        created_by_account: service.scope.account().as_str(),
    })
}

fn dns_record(record: &model::DnsRecord) -> DnsRecord {
    DnsRecord { kind: record.kind.as_str(), ttl: record.ttl }
}

impl Body for ServiceDescription {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        with_service(self, false, |service| member(protocol, "Service", service))
    }
}

struct ServiceSummary<'a>(&'a ServiceDescription);

impl Serialize for ServiceSummary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        with_service(self.0, true, |service| service.serialize(serializer))
    }
}

impl Body for Page<ServiceDescription> {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct ListServices<'a> {
            services: Vec<ServiceSummary<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_token: Option<&'a str>,
        }
        protocol.encode(&ListServices {
            services: self.items.iter().map(ServiceSummary).collect(),
            next_token: self.next_token.as_deref(),
        })
    }
}

impl Body for ServiceAttributesDescription {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct ServiceAttributes<'a> {
            service_arn: &'a str,
            resource_owner: &'a str,
            attributes: BTreeMap<&'a str, &'a str>,
        }
        member(
            protocol,
            "ServiceAttributes",
            &ServiceAttributes {
                service_arn: self.service_arn.as_str(),
                resource_owner: self.resource_owner.as_str(),
                attributes: self.attributes.iter().collect(),
            },
        )
    }
}

impl Body for Tags {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Tag<'a> {
            key: &'a str,
            value: &'a str,
        }
        member(protocol, "Tags", &self.iter().map(|(key, value)| Tag { key, value }).collect::<Vec<_>>())
    }
}

pub(super) struct AttributeMap<'a>(pub(super) &'a Attributes);

impl Serialize for AttributeMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl Body for InstanceDescription {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct GetInstance<'a> {
            resource_owner: &'a str,
            instance: Full<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Full<'a> {
            id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            creator_request_id: Option<&'a str>,
            attributes: AttributeMap<'a>,
            created_by_account: &'a str,
        }
        let instance = &*self.instance;
        protocol.encode(&GetInstance {
            resource_owner: self.resource_owner.as_str(),
            instance: Full {
                id: instance.id.as_str(),
                creator_request_id: instance.creator_request_id.as_ref().map(AsRef::as_ref),
                attributes: AttributeMap(&instance.attributes),
                created_by_account: instance.created_by_account.as_str(),
            },
        })
    }
}

impl Body for DiscoveredRevision {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        member(protocol, "InstancesRevision", &self.instances_revision.as_u64())
    }
}

impl Body for Page<OperationSummary> {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct ListOperations<'a> {
            operations: Vec<Summary<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_token: Option<&'a str>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Summary<'a> {
            id: &'a str,
            status: &'static str,
        }
        protocol.encode(&ListOperations {
            operations: self
                .items
                .iter()
                .map(|operation| Summary { id: operation.id.as_str(), status: operation.status.as_str() })
                .collect(),
            next_token: self.next_token.as_deref(),
        })
    }
}

impl Body for Page<InstanceHealth> {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct GetInstancesHealthStatus<'a> {
            status: Statuses<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_token: Option<&'a str>,
        }
        /// A map of instance ids to statuses, in the order of the page.
        struct Statuses<'a>(&'a [InstanceHealth]);
        impl Serialize for Statuses<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer
                    .collect_map(self.0.iter().map(|item| (item.instance.id.as_str(), item.status.as_str())))
            }
        }
        protocol.encode(&GetInstancesHealthStatus {
            status: Statuses(&self.items),
            next_token: self.next_token.as_deref(),
        })
    }
}

impl Body for Arc<Operation> {
    fn encode(&self, protocol: Protocol) -> Result<Vec<u8>, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Wire<'a> {
            id: &'a str,
            owner_account: &'a str,
            r#type: &'static str,
            status: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            error_message: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error_code: Option<&'static str>,
            create_date: Seconds,
            update_date: Seconds,
            targets: BTreeMap<&'static str, &'a str>,
        }
        let error = self.error.as_ref();
        member(
            protocol,
            "Operation",
            &Wire {
                id: self.id.as_str(),
                owner_account: self.scope.account().as_str(),
                r#type: self.kind.as_str(),
                status: self.status.as_str(),
                error_message: error.map(|error| error.message.as_str()),
                error_code: error.map(|error| error.code.as_str()),
                create_date: Seconds(self.created),
                update_date: Seconds(self.updated),
                targets: self.targets.iter().collect(),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! empty {
        (
            write { $($write:ident $wm:ident $wq:ident => $wr:tt: $wp:path,)* }
            read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
        ) => {
            /// The operations whose response has no members.
            fn empty() -> Vec<Action> {
                let operations = [$((Action::$write, stringify!($wr)),)*];
                let empty = operations.into_iter().filter(|(_, response)| *response == "()");
                empty.map(|(action, _)| action).collect()
            }
        };
    }

    sd_core::for_each_action!(empty);

    #[test]
    fn each_empty_response_has_an_output_shape_in_the_service_model_or_is_void() {
        let with_shape: Vec<_> = empty().into_iter().filter(|action| !is_void(*action)).collect();
        // A new one belongs here if the service model has an output shape for it, and into `is_void` otherwise.
        let known = [
            Action::DeleteService,
            Action::DeleteServiceAttributes,
            Action::TagResource,
            Action::UntagResource,
            Action::UpdateServiceAttributes,
        ];
        assert_eq!(with_shape, known);
    }
}
