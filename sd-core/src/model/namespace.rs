use std::sync::Arc;

use super::{Tags, derived::Derived};
use crate::model::{
    Arn, CreatorRequestId, DnsName, DnsNameError, Fingerprint, HostedZoneId, Incarnation, NamespaceId,
    NamespaceName, OperationId, Scope, Timestamp, UpdaterRequestId, VpcId, name::zone_text,
};

/// A namespace: the group of services that share a name space, and how they can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Namespace {
    /// Where it lives.
    pub scope: Scope,
    /// Its id.
    pub id: NamespaceId,
    /// Its name; of a DNS namespace, the name of its zone.
    pub name: NamespaceName,
    /// The name that DiscoverInstances knows it by: the name, with a hash where that was taken.
    pub http_name: NamespaceName,
    /// Its type, with what only that type has.
    pub kind: NamespaceKind,
    /// At most 1024 characters.
    pub description: Option<Arc<str>>,
    /// Its tags.
    pub tags: Tags,
    /// When it was created.
    pub created: Timestamp,
    /// The token of the request that created it.
    pub creator_request_id: Option<CreatorRequestId>,
    /// The operation that created it, for replays of that request.
    pub created_by: OperationId,
    /// The token of the request that updated it last.
    pub updater_request_id: Option<UpdaterRequestId>,
    /// The operation that updated it last, for replays of that request.
    pub updated_by: Option<OperationId>,
    /// Tells it from another that gets the same id.
    pub incarnation: Incarnation,
    /// What the request that created it asked for. A replay of that request asks for the same, whatever was changed since.
    pub created_as: Fingerprint,
    pub(crate) zone_name: Derived<Result<DnsName, DnsNameError>>,
}

impl Namespace {
    /// Its ARN.
    #[must_use]
    pub fn arn(&self) -> Arn {
        self.scope.namespace_arn(&self.id)
    }

    /// The hosted zone of a DNS namespace.
    #[must_use]
    pub fn hosted_zone(&self) -> Option<&HostedZone> {
        self.kind.hosted_zone()
    }

    /// The name of the zone. `None` for an HTTP namespace, which has none; an error if DNS cannot carry the name, in
    /// which case it has no records.
    #[must_use]
    pub fn zone_name(&self) -> Option<Result<DnsName, DnsNameError>> {
        self.hosted_zone()?;
        Some(self.zone_name.get(|| DnsName::root().prefixed(zone_text(self.name.as_str()))).clone())
    }

    /// Whether service names are compared without case, which they are where DNS is available.
    #[must_use]
    pub fn folds_case(&self) -> bool {
        self.hosted_zone().is_some()
    }
}

/// The type of a namespace and what only that type has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum NamespaceKind {
    /// Instances are found by DiscoverInstances only.
    Http,
    /// Instances are found by DiscoverInstances and by DNS in a VPC.
    DnsPrivate {
        /// The VPC whose resolver answers for the zone.
        vpc: VpcId,
        /// The zone.
        zone: HostedZone,
    },
    /// Instances are found by DiscoverInstances and by public DNS.
    DnsPublic {
        /// The zone.
        zone: HostedZone,
    },
}

impl NamespaceKind {
    /// The hosted zone of a DNS namespace.
    #[must_use]
    pub fn hosted_zone(&self) -> Option<&HostedZone> {
        match self {
            Self::Http => None,
            Self::DnsPrivate { zone, .. } | Self::DnsPublic { zone } => Some(zone),
        }
    }

    /// The zone of a DNS namespace.
    pub(crate) fn hosted_zone_mut(&mut self) -> Option<&mut HostedZone> {
        match self {
            Self::Http => None,
            Self::DnsPrivate { zone, .. } | Self::DnsPublic { zone } => Some(zone),
        }
    }

    /// The type alone.
    #[must_use]
    pub fn namespace_type(&self) -> NamespaceType {
        match self {
            Self::Http => NamespaceType::Http,
            Self::DnsPrivate { .. } => NamespaceType::DnsPrivate,
            Self::DnsPublic { .. } => NamespaceType::DnsPublic,
        }
    }
}

/// The type of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum NamespaceType {
    /// `HTTP`
    Http,
    /// `DNS_PRIVATE`
    DnsPrivate,
    /// `DNS_PUBLIC`
    DnsPublic,
}

impl NamespaceType {
    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::DnsPrivate => "DNS_PRIVATE",
            Self::DnsPublic => "DNS_PUBLIC",
        }
    }
}

/// The hosted zone of a DNS namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostedZone {
    /// Its id.
    pub id: HostedZoneId,
    /// The TTL of the SOA record in seconds, which also decides how long a negative answer is kept: 0–2147483647.
    pub soa_ttl: u32,
}

impl HostedZone {
    pub(crate) fn new(id: HostedZoneId, soa_ttl: u32) -> Self {
        Self { id, soa_ttl }
    }
}
