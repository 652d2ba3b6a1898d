use std::sync::Arc;

use super::{ServiceAttributes, Tags, derived::Derived};
use crate::model::{
    Arn, CreatorRequestId, DnsName, DnsNameError, HealthCheck, Incarnation, NamespaceId, Scope, ServiceId,
    ServiceName, Timestamp,
};

/// A service: the template by which its instances are registered, found and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Service {
    /// Where it lives.
    pub scope: Scope,
    /// Its id.
    pub id: ServiceId,
    /// The namespace that it is in.
    pub namespace_id: NamespaceId,
    /// Its name, unique in the namespace.
    pub name: ServiceName,
    /// How its instances can be found.
    pub kind: ServiceKind,
    /// What its instances are checked by.
    pub health_check: HealthCheck,
    /// At most 1024 characters.
    pub description: Option<Arc<str>>,
    /// Its tags.
    pub tags: Tags,
    /// Its own attributes.
    pub attributes: ServiceAttributes,
    /// When it was created.
    pub created: Timestamp,
    /// The token of the request that created it.
    pub creator_request_id: Option<CreatorRequestId>,
    /// Tells it from another that gets the same id.
    pub incarnation: Incarnation,
    /// What it was created as, if it was changed since. A replay of the request that created it asks for this.
    pub created_as: Option<Arc<Self>>,
    /// Its name in the DNS below a zone, that of its namespace.
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

    /// The DNS settings of a service that can be found by DNS.
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
    /// By DiscoverInstances only.
    Http,
    /// By DiscoverInstances and by DNS.
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
    /// How answers are chosen.
    pub routing_policy: RoutingPolicy,
    /// The records that an instance gets, in the order of the request; one per type.
    pub records: Vec<DnsRecord>,
}

impl DnsConfig {
    pub(crate) fn new(routing_policy: RoutingPolicy, records: Vec<DnsRecord>) -> Self {
        Self { routing_policy, records }
    }

    /// The TTL in seconds of the records of this type, if instances get them.
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

/// Defines the record types with their spelling, so that `ALL` cannot lack one. CONTRIBUTING.md has the other places.
macro_rules! record_types {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// The type of a DNS record that Cloud Map keeps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
        pub enum RecordType {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl RecordType {
            /// All of them.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// The spelling of the API and of the DNS.
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
    /// One healthy instance; all weigh the same.
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
