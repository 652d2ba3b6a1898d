//! The keys of entities, and the keys that only one entity of a scope may have.

use std::{fmt, sync::Arc};

use super::{CreatorRequestId, InstanceId, NamespaceId, NamespaceName, ServiceId, VpcId, name::zone_text};

/// The key of an entity in a scope.
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

/// A key that only one entity of a scope may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a backend must treat every kind of uniqueness")]
pub enum UniqueKey {
    /// An id.
    Id(EntityKey),
    /// The `HttpName` of a namespace.
    HttpName(Arc<str>),
    /// The name of an HTTP namespace. It differs from the `HttpName` if another namespace has that.
    HttpNamespace(Arc<str>),
    /// The private zone with this name in a VPC. The name is in lower case, without a final dot: use [`UniqueKey::zone`].
    Zone(VpcId, Arc<str>),
    /// The public namespace with this name that the request with this token creates. Several public namespaces may have
    /// one name, but one request creates only one. The name is in lower case, without a final dot.
    PublicNamespace(Arc<str>, CreatorRequestId),
    /// The entity that an operation under way changes.
    Target(EntityKey),
    /// The namespace with this name, of any type, whose creation is under way. The name is in lower case, without a final
    /// dot.
    NamespaceInCreation(Arc<str>),
    /// The name of a service in a namespace; in lower case if the namespace compares names without case.
    ServiceName(NamespaceId, Arc<str>),
}

impl UniqueKey {
    /// The key of the private zone with this name in a VPC. Names that DNS does not distinguish have one key.
    #[must_use]
    pub fn zone(vpc: &VpcId, name: &NamespaceName) -> Self {
        Self::Zone(vpc.clone(), canonical(name))
    }

    /// The key of the public namespace with this name that the request with this token creates.
    #[must_use]
    pub fn public_namespace(name: &NamespaceName, token: &CreatorRequestId) -> Self {
        Self::PublicNamespace(canonical(name), token.clone())
    }

    /// The key of a namespace with this name whose creation is under way.
    #[must_use]
    pub fn namespace_in_creation(name: &NamespaceName) -> Self {
        Self::NamespaceInCreation(canonical(name))
    }
}

/// The form that all spellings of a zone's name share.
fn canonical(name: &NamespaceName) -> Arc<str> {
    zone_text(name.as_str()).to_ascii_lowercase().into()
}
