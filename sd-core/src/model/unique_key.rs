//! What names an entity, and what only one entity of a scope may have.

use std::{fmt, sync::Arc};

use super::{CreatorRequestId, InstanceId, NamespaceId, NamespaceName, ServiceId, VpcId, name::zone_text};

/// Names an entity of a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "these are the entities that Cloud Map has")]
pub enum EntityKey {
    /// A namespace.
    Namespace(NamespaceId),
    /// A service.
    Service(ServiceId),
    /// An instance of a service.
    Instance(ServiceId, InstanceId),
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(id) => write!(f, "namespace {id}"),
            Self::Service(id) => write!(f, "service {id}"),
            Self::Instance(service, id) => write!(f, "instance {id} of service {service}"),
        }
    }
}

/// What only one entity of a scope may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a backend must treat every kind of uniqueness")]
pub enum UniqueKey {
    /// An id.
    Id(EntityKey),
    /// The `HttpName` of a namespace.
    HttpName(Arc<str>),
    /// The name of an HTTP namespace, which is not its `HttpName` where a namespace of another type has that.
    HttpNamespace(Arc<str>),
    /// The private zone of this name in a VPC. In lower case, without the root's dot: [`UniqueKey::zone`]
    /// makes it.
    Zone(VpcId, Arc<str>),
    /// The public namespace that the request with this token creates under this name. Several public
    /// namespaces may have one name; one request creates one of them. In lower case, without the root's dot.
    PublicNamespace(Arc<str>, CreatorRequestId),
    /// To be what an operation that is under way changes.
    Target(EntityKey),
    /// To be a namespace of this name, of whatever type, whose creation is under way. In lower case, without the root's dot.
    NamespaceInCreation(Arc<str>),
    /// The name of a service in a namespace, lower-case where names are compared without case.
    ServiceName(NamespaceId, Arc<str>),
}

impl UniqueKey {
    /// The private zone of a namespace of this name in a VPC. Names that DNS does not distinguish give one
    /// key.
    #[must_use]
    pub fn zone(vpc: &VpcId, name: &NamespaceName) -> Self {
        Self::Zone(vpc.clone(), canonical(name))
    }

    /// The public namespace that the request with this token creates under this name.
    #[must_use]
    pub fn public_namespace(name: &NamespaceName, token: &CreatorRequestId) -> Self {
        Self::PublicNamespace(canonical(name), token.clone())
    }

    /// To be a namespace of this name whose creation is under way.
    #[must_use]
    pub fn namespace_in_creation(name: &NamespaceName) -> Self {
        Self::NamespaceInCreation(canonical(name))
    }
}

/// The form that all names of one zone have in common.
fn canonical(name: &NamespaceName) -> Arc<str> {
    zone_text(name.as_str()).to_ascii_lowercase().into()
}
