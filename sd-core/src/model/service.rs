use std::sync::Arc;

use super::{ServiceAttributes, Tags, derived::Derived};
use crate::model::{
    Arn, CreatorRequestId, DnsName, DnsNameError, Fingerprint, HealthCheck, Incarnation, NamespaceId, Scope,
    ServiceId, ServiceName, Timestamp,
};

/// A service: the template for registering, finding and checking its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// The account and Region.
    pub scope: Scope,
    /// The id.
    pub id: ServiceId,
    /// The namespace of the service.
    pub namespace_id: NamespaceId,
    /// The name, unique in the namespace.
    pub name: ServiceName,
    /// How instances can be found.
    pub kind: ServiceKind,
    /// How the health of instances is determined.
    pub health_check: HealthCheck,
    /// At most 1024 characters.
    pub description: Option<Arc<str>>,
    /// At most 50 tags.
    pub tags: Tags,
    /// The service's own attributes.
    pub attributes: ServiceAttributes,
    /// When it was created.
    pub created: Timestamp,
    /// The token of the request that created it.
    pub creator_request_id: Option<CreatorRequestId>,
    /// Distinguishes it from a later service with the same id.
    pub incarnation: Incarnation,
    /// What the request that created it asked for. A replay of that request asks for the same, whatever was changed since.
    pub created_as: Fingerprint,
    /// The zone of its namespace, and its DNS name in that zone.
    pub(crate) dns_name: Derived<(DnsName, Result<DnsName, DnsNameError>)>,
}

impl Service {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> Arn {
        self.scope.service_arn(&self.id)
    }

    /// The DNS settings; `None` if DNS does not find its instances.
    #[must_use]
    pub fn dns_config(&self) -> Option<&DnsConfig> {
        match &self.kind {
            ServiceKind::Http => None,
            ServiceKind::DnsHttp(config) => Some(config),
        }
    }
}

/// How the instances of a service can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration; its third value, DNS, is reserved")]
pub enum ServiceKind {
    /// Only DiscoverInstances finds them.
    Http,
    /// DiscoverInstances and DNS find them.
    DnsHttp(DnsConfig),
}

impl ServiceKind {
    /// The API's spelling.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::DnsHttp(_) => "DNS_HTTP",
        }
    }
}

/// The DNS settings of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsConfig {
    /// How DNS answers are chosen.
    pub routing_policy: RoutingPolicy,
    /// The records that each instance gets, at most one of a type, in the order of the request.
    pub records: Vec<DnsRecord>,
}

impl DnsConfig {
    pub(crate) fn new(routing_policy: RoutingPolicy, records: Vec<DnsRecord>) -> Self {
        Self { routing_policy, records }
    }

    /// The TTL in seconds of the records of this type; `None` if instances do not get them.
    #[must_use]
    pub fn ttl(&self, kind: RecordType) -> Option<u32> {
        self.records.iter().find(|record| record.kind == kind).map(|record| record.ttl)
    }
}

/// A record that each instance gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsRecord {
    /// Its type.
    pub kind: RecordType,
    /// Its TTL in seconds: 0–2147483647.
    pub ttl: u32,
}

impl DnsRecord {
    pub(crate) fn new(kind: RecordType, ttl: u32) -> Self {
        Self { kind, ttl }
    }
}

/// Why records do not go together in a service. Displays AWS's own text where one is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnfitRecords {
    #[error("A DnsConfig element needs at least one record.")]
    NoRecord,
    // The service leaves out the blank.
    #[error("Duplicate resource record type{}in DNS config is not expected", .0.as_str())]
    Twice(RecordType),
    #[error("DnsRecord Type CNAME cannot be combined with other types")]
    CnameBesideOthers,
}

/// Whether the records of a service go together (API Reference, DnsRecord).
pub(crate) fn check_records(records: &[DnsRecord]) -> Result<(), UnfitRecords> {
    let count = |kind| records.iter().filter(|record| record.kind == kind).count();
    if records.is_empty() {
        return Err(UnfitRecords::NoRecord);
    }
    if let Some(twice) = RecordType::ALL.into_iter().find(|kind| count(*kind) > 1) {
        return Err(UnfitRecords::Twice(twice));
    }
    if count(RecordType::Cname) > 0 && records.len() > 1 {
        return Err(UnfitRecords::CnameBesideOthers);
    }
    Ok(())
}

/// Defines the record types with their spelling, so that `ALL` cannot lack one. CONTRIBUTING.md has the other places.
macro_rules! record_types {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// A DNS record type of Cloud Map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
        pub enum RecordType {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl RecordType {
            /// All types.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// The spelling in the API and in DNS.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

impl RecordType {
    /// Whether its records are addresses.
    pub(crate) fn is_address(self) -> bool {
        match self {
            Self::A | Self::Aaaa => true,
            Self::Cname | Self::Srv => false,
        }
    }
}

record_types! {
    /// An IPv4 address (RFC 1035).
    A = "A",
    /// An IPv6 address (RFC 3596).
    Aaaa = "AAAA",
    /// Another name (RFC 1035).
    Cname = "CNAME",
    /// A host and a port (RFC 2782).
    Srv = "SRV",
}

/// How DNS answers are chosen among the instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum RoutingPolicy {
    /// Up to eight healthy instances.
    Multivalue,
    /// One healthy instance; all have the same weight.
    Weighted,
}

impl RoutingPolicy {
    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Multivalue => "MULTIVALUE",
            Self::Weighted => "WEIGHTED",
        }
    }
}
