//! Requests about namespaces, and what they are made of.

use super::{Filter, Tag};

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
