//! The shapes of requests. Every member is optional, as in the core. Unknown members are ignored, `null` is absent.

use std::{collections::BTreeMap, fmt};

use sd_core::{
    model::{CustomHealthStatus, HealthCheckType, RecordType, RoutingPolicy},
    request as core,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};

/// A structure of the core that is read from the wire.
pub(crate) trait FromWire: Sized {
    /// Its shape on the wire.
    type Wire: for<'de> Deserialize<'de>;

    fn from_wire(wire: Self::Wire) -> Self;

    /// Writes it as a client does.
    #[cfg(feature = "fuzzing")]
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// Types whose shape on the wire is the type itself.
macro_rules! plain {
    ($($type:ty),*) => {
        $(impl FromWire for $type {
            type Wire = Self;

            fn from_wire(wire: Self) -> Self {
                wire
            }

            #[cfg(feature = "fuzzing")]
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(self, serializer)
            }
        })*
    };
}

plain!(String, i64, BTreeMap<String, String>);

/// An enumeration is text on the wire. The planner refuses unknown values.
impl<T: core::Enumeration> FromWire for core::OneOf<T> {
    type Wire = String;

    fn from_wire(wire: String) -> Self {
        wire.into()
    }

    #[cfg(feature = "fuzzing")]
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<T: FromWire> FromWire for Vec<T> {
    type Wire = Vec<T::Wire>;

    fn from_wire(wire: Self::Wire) -> Self {
        wire.into_iter().map(T::from_wire).collect()
    }

    #[cfg(feature = "fuzzing")]
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Sent))
    }
}

/// Declares the shape of a structure of the core: for each member its name on the wire, its field and its type.
///
/// The deserializer is not derived, because a derived one also reads a structure from a list, by position.
macro_rules! shape {
    ($wire:ident => $core:ty { $($member:literal $field:ident: $type:ty,)* }) => {
        #[derive(Default)]
        pub(crate) struct $wire {
            $($field: Option<<$type as FromWire>::Wire>,)*
        }

        impl<'de> Deserialize<'de> for $wire {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members;

                impl<'de> Visitor<'de> for Members {
                    type Value = $wire;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a structure ", stringify!($wire)))
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$wire, A::Error> {
                        let mut wire = $wire::default();
                        while let Some(member) = map.next_key_seed(OneOf(&[$($member),*]))? {
                            match member {
                                $(Some($member) => wire.$field = map.next_value()?,)*
                                _ => {
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(wire)
                    }
                }

                deserializer.deserialize_map(Members)
            }
        }

        impl FromWire for $core {
            type Wire = $wire;

            fn from_wire(wire: $wire) -> Self {
                let mut request = Self::default();
                $(request.$field = wire.$field.map(<$type as FromWire>::from_wire);)*
                request
            }

            #[cfg(feature = "fuzzing")]
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(if let Some(value) = &self.$field {
                    serde::ser::SerializeMap::serialize_entry(&mut map, $member, &Sent(value))?;
                })*
                serde::ser::SerializeMap::end(map)
            }
        }
    };
}

/// Serializes a request, as a client does.
#[cfg(feature = "fuzzing")]
pub(crate) struct Sent<'a, T>(pub(crate) &'a T);

#[cfg(feature = "fuzzing")]
impl<T: FromWire> serde::Serialize for Sent<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Reads the name of a member: one of these, or `None` for any other.
struct OneOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for OneOf {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().copied().find(|member| *member == name))
    }
}

shape!(Tag => core::Tag { "Key" key: String, "Value" value: String, });
shape!(Filter => core::Filter {
    "Name" name: core::OneOf<core::FilterName>,
    "Values" values: Vec<String>,
    "Condition" condition: core::OneOf<core::FilterCondition>,
});
shape!(Soa => core::SoaInput { "TTL" ttl: i64, });
shape!(DnsProperties => core::DnsPropertiesInput { "SOA" soa: core::SoaInput, });
shape!(Properties => core::DnsNamespaceProperties { "DnsProperties" dns_properties: core::DnsPropertiesInput, });
shape!(DnsRecord => core::DnsRecordInput { "Type" kind: core::OneOf<RecordType>, "TTL" ttl: i64, });
shape!(DnsConfig => core::DnsConfigInput {
    "NamespaceId" namespace_id: String,
    "RoutingPolicy" routing_policy: core::OneOf<RoutingPolicy>,
    "DnsRecords" dns_records: Vec<core::DnsRecordInput>,
});
shape!(HealthCheckConfig => core::HealthCheckConfigInput {
    "Type" kind: core::OneOf<HealthCheckType>,
    "ResourcePath" resource_path: String,
    "FailureThreshold" failure_threshold: i64,
});
shape!(HealthCheckCustomConfig => core::HealthCheckCustomConfigInput {
    "FailureThreshold" failure_threshold: i64,
});
shape!(HttpNamespaceChange => core::HttpNamespaceChange { "Description" description: String, });
shape!(DnsNamespaceChange => core::DnsNamespaceChange {
    "Description" description: String,
    "Properties" properties: core::DnsNamespaceProperties,
});
shape!(DnsConfigChange => core::DnsConfigChange { "DnsRecords" dns_records: Vec<core::DnsRecordInput>, });
shape!(ServiceChange => core::ServiceChange {
    "Description" description: String,
    "DnsConfig" dns_config: core::DnsConfigChange,
    "HealthCheckConfig" health_check_config: core::HealthCheckConfigInput,
});

shape!(CreateHttpNamespace => core::CreateHttpNamespaceRequest {
    "Name" name: String,
    "CreatorRequestId" creator_request_id: String,
    "Description" description: String,
    "Tags" tags: Vec<core::Tag>,
});
shape!(CreatePrivateDnsNamespace => core::CreatePrivateDnsNamespaceRequest {
    "Name" name: String,
    "CreatorRequestId" creator_request_id: String,
    "Description" description: String,
    "Vpc" vpc: String,
    "Tags" tags: Vec<core::Tag>,
    "Properties" properties: core::DnsNamespaceProperties,
});
shape!(CreatePublicDnsNamespace => core::CreatePublicDnsNamespaceRequest {
    "Name" name: String,
    "CreatorRequestId" creator_request_id: String,
    "Description" description: String,
    "Tags" tags: Vec<core::Tag>,
    "Properties" properties: core::DnsNamespaceProperties,
});
shape!(CreateService => core::CreateServiceRequest {
    "Name" name: String,
    "NamespaceId" namespace_id: String,
    "CreatorRequestId" creator_request_id: String,
    "Description" description: String,
    "DnsConfig" dns_config: core::DnsConfigInput,
    "HealthCheckConfig" health_check_config: core::HealthCheckConfigInput,
    "HealthCheckCustomConfig" health_check_custom_config: core::HealthCheckCustomConfigInput,
    "Tags" tags: Vec<core::Tag>,
    "Type" service_type: core::OneOf<core::ServiceTypeOption>,
});
shape!(DeleteNamespace => core::DeleteNamespaceRequest { "Id" id: String, });
shape!(DeleteService => core::DeleteServiceRequest { "Id" id: String, });
shape!(DeregisterInstance => core::DeregisterInstanceRequest {
    "ServiceId" service_id: String,
    "InstanceId" instance_id: String,
});
shape!(DiscoverInstances => core::DiscoverInstancesRequest {
    "NamespaceName" namespace_name: String,
    "ServiceName" service_name: String,
    "MaxResults" max_results: i64,
    "QueryParameters" query_parameters: BTreeMap<String, String>,
    "OptionalParameters" optional_parameters: BTreeMap<String, String>,
    "HealthStatus" health_status: core::OneOf<core::HealthStatusFilter>,
    "OwnerAccount" owner_account: String,
});
shape!(DiscoverInstancesRevision => core::DiscoverInstancesRevisionRequest {
    "NamespaceName" namespace_name: String,
    "ServiceName" service_name: String,
    "OwnerAccount" owner_account: String,
});
shape!(GetInstance => core::GetInstanceRequest {
    "ServiceId" service_id: String,
    "InstanceId" instance_id: String,
});
shape!(GetNamespace => core::GetNamespaceRequest { "Id" id: String, });
shape!(GetOperation => core::GetOperationRequest {
    "OperationId" operation_id: String,
    "OwnerAccount" owner_account: String,
});
shape!(GetService => core::GetServiceRequest { "Id" id: String, });
shape!(ListInstances => core::ListInstancesRequest {
    "ServiceId" service_id: String,
    "NextToken" next_token: String,
    "MaxResults" max_results: i64,
});
shape!(ListNamespaces => core::ListNamespacesRequest {
    "NextToken" next_token: String,
    "MaxResults" max_results: i64,
    "Filters" filters: Vec<core::Filter>,
});
shape!(ListOperations => core::ListOperationsRequest {
    "NextToken" next_token: String,
    "MaxResults" max_results: i64,
    "Filters" filters: Vec<core::Filter>,
});
shape!(GetInstancesHealthStatus => core::GetInstancesHealthStatusRequest {
    "ServiceId" service_id: String,
    "Instances" instances: Vec<String>,
    "MaxResults" max_results: i64,
    "NextToken" next_token: String,
});
shape!(UpdateInstanceCustomHealthStatus => core::UpdateInstanceCustomHealthStatusRequest {
    "ServiceId" service_id: String,
    "InstanceId" instance_id: String,
    "Status" status: core::OneOf<CustomHealthStatus>,
});
shape!(GetServiceAttributes => core::GetServiceAttributesRequest { "ServiceId" service_id: String, });
shape!(UpdateServiceAttributes => core::UpdateServiceAttributesRequest {
    "ServiceId" service_id: String,
    "Attributes" attributes: BTreeMap<String, String>,
});
shape!(DeleteServiceAttributes => core::DeleteServiceAttributesRequest {
    "ServiceId" service_id: String,
    "Attributes" attributes: Vec<String>,
});
shape!(TagResource => core::TagResourceRequest {
    "ResourceARN" resource_arn: String,
    "Tags" tags: Vec<core::Tag>,
});
shape!(UntagResource => core::UntagResourceRequest {
    "ResourceARN" resource_arn: String,
    "TagKeys" tag_keys: Vec<String>,
});
shape!(ListTagsForResource => core::ListTagsForResourceRequest { "ResourceARN" resource_arn: String, });
shape!(ListServices => core::ListServicesRequest {
    "NextToken" next_token: String,
    "MaxResults" max_results: i64,
    "Filters" filters: Vec<core::Filter>,
});
shape!(RegisterInstance => core::RegisterInstanceRequest {
    "ServiceId" service_id: String,
    "InstanceId" instance_id: String,
    "CreatorRequestId" creator_request_id: String,
    "Attributes" attributes: BTreeMap<String, String>,
});
shape!(UpdateHttpNamespace => core::UpdateHttpNamespaceRequest {
    "Id" id: String,
    "UpdaterRequestId" updater_request_id: String,
    "Namespace" namespace: core::HttpNamespaceChange,
});
shape!(UpdatePrivateDnsNamespace => core::UpdatePrivateDnsNamespaceRequest {
    "Id" id: String,
    "UpdaterRequestId" updater_request_id: String,
    "Namespace" namespace: core::DnsNamespaceChange,
});
shape!(UpdatePublicDnsNamespace => core::UpdatePublicDnsNamespaceRequest {
    "Id" id: String,
    "UpdaterRequestId" updater_request_id: String,
    "Namespace" namespace: core::DnsNamespaceChange,
});
shape!(UpdateService => core::UpdateServiceRequest {
    "Id" id: String,
    "Service" service: core::ServiceChange,
});
