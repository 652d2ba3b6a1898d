use std::sync::Arc;

use super::{ServiceAttributes, Tags, derived::Derived};
use crate::model::{
    Arn, CreatorRequestId, DnsName, DnsNameError, HealthCheck, Incarnation, NamespaceId, Scope, ServiceId,
    ServiceName, Timestamp,
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
    /// What it was created as, if it was changed since. A replay of the request that created it asks for this.
    pub created_as: Option<Arc<Self>>,
    /// The zone of its namespace, and its DNS name in that zone.
    pub(crate) dns_name: Derived<(DnsName, Result<DnsName, DnsNameError>)>,
}

impl Service {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> Arn {
        self.scope.service_arn(&self.id)
    }

    /// As the request that created it wanted it.
    pub(crate) fn as_created(&self) -> &Self {
        self.created_as.as_deref().unwrap_or(self)
    }

    /// A copy that is changed, and knows what it was created as.
    pub(crate) fn changed(self: &Arc<Self>, change: impl FnOnce(&mut Self)) -> Arc<Self> {
        let created_as = self.created_as.clone().or_else(|| Some(Arc::clone(self)));
        let mut changed = Self { created_as, ..Self::clone(self) };
        change(&mut changed);
        changed.into()
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

/// A DNS record type of Cloud Map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum RecordType {
    /// An IPv4 address (RFC 1035).
    A,
    /// An IPv6 address (RFC 3596).
    Aaaa,
    /// A canonical name (RFC 1035).
    Cname,
    /// A host and a port (RFC 2782).
    Srv,
}

impl RecordType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::A, Self::Aaaa, Self::Cname, Self::Srv];

    /// The spelling in the API and in DNS.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Srv => "SRV",
        }
    }
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
