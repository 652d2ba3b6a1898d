use std::sync::Arc;

use super::{Tags, derived::Derived};
use crate::model::{
    Arn, CreatorRequestId, DnsName, DnsNameError, Fingerprint, HostedZoneId, Incarnation, NamespaceId,
    NamespaceName, OperationId, Scope, Timestamp, UpdaterRequestId, VpcId, name::zone_text,
};

/// A namespace: a group of services, and how their instances can be found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Namespace {
    /// The account and Region.
    pub scope: Scope,
    /// The id.
    pub id: NamespaceId,
    /// The name; for a DNS namespace also the name of its zone.
    pub name: NamespaceName,
    /// The name that DiscoverInstances takes: `name`, with a hash if that name is taken.
    pub http_name: NamespaceName,
    /// The type, with the settings of that type.
    pub kind: NamespaceKind,
    /// At most 1024 characters.
    pub description: Option<Arc<str>>,
    /// At most 50 tags.
    pub tags: Tags,
    /// When it was created.
    pub created: Timestamp,
    /// The token of the request that created it.
    pub creator_request_id: Option<CreatorRequestId>,
    /// The operation that created it, which answers a replay of its request.
    pub created_by: OperationId,
    /// The token of the last request that updated it.
    pub updater_request_id: Option<UpdaterRequestId>,
    /// The last operation that updated it, which answers a replay of its request.
    pub updated_by: Option<OperationId>,
    /// Distinguishes it from a later namespace with the same id.
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

    /// The hosted zone of a DNS namespace; `None` for an HTTP namespace.
    #[must_use]
    pub fn hosted_zone(&self) -> Option<&HostedZone> {
        self.kind.hosted_zone()
    }

    /// The name of the zone; `None` for an HTTP namespace. An error if the name is not a valid DNS name: then the namespace
    /// has no records.
    #[must_use]
    pub fn zone_name(&self) -> Option<Result<DnsName, DnsNameError>> {
        self.hosted_zone()?;
        Some(self.zone_name.get(|| DnsName::root().prefixed(zone_text(self.name.as_str()))).clone())
    }

    /// Whether service names are compared without case, as in DNS namespaces.
    #[must_use]
    pub fn folds_case(&self) -> bool {
        self.hosted_zone().is_some()
    }
}

/// The type of a namespace, with the settings of that type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum NamespaceKind {
    /// DiscoverInstances finds instances.
    Http,
    /// DiscoverInstances and DNS in a VPC find instances.
    DnsPrivate {
        /// The VPC whose resolver answers for the zone.
        vpc: VpcId,
        /// The zone.
        zone: HostedZone,
    },
    /// DiscoverInstances and public DNS find instances.
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
    /// The id.
    pub id: HostedZoneId,
    /// The TTL of the SOA record in seconds, 0–2147483647. Resolvers cache negative answers for as long.
    pub soa_ttl: u32,
}

impl HostedZone {
    pub(crate) fn new(id: HostedZoneId, soa_ttl: u32) -> Self {
        Self { id, soa_ttl }
    }
}
