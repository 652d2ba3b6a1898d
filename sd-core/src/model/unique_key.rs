//! The keys of entities, and the keys that only one entity of a scope may have.

use std::{fmt, sync::Arc};

use super::{
    CreatorRequestId, InstanceId, Namespace, NamespaceId, NamespaceKind, NamespaceName, Service, ServiceId,
    ServiceName, VpcId, name::zone_text,
};

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

    /// The name of a service in this namespace.
    #[must_use]
    pub fn service_name(namespace: &Namespace, name: &ServiceName) -> Self {
        Self::ServiceName(namespace.id.clone(), namespace.unique_name(name))
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

impl Namespace {
    /// What no other namespace of its scope may have.
    #[must_use]
    pub fn unique_keys(&self) -> Vec<UniqueKey> {
        let mut keys = vec![
            UniqueKey::Id(EntityKey::Namespace(self.id.clone())),
            UniqueKey::HttpName(self.http_name.as_str().into()),
        ];
        keys.extend(match &self.kind {
            NamespaceKind::Http => Some(UniqueKey::HttpNamespace(self.name.as_str().into())),
            NamespaceKind::DnsPrivate { vpc, .. } => Some(UniqueKey::zone(vpc, &self.name)),
            NamespaceKind::DnsPublic { .. } => {
                self.creator_request_id.as_ref().map(|token| UniqueKey::public_namespace(&self.name, token))
            }
        });
        keys
    }

    /// The form of a service's name that is unique in this namespace: lower-case where DNS is available.
    pub(crate) fn unique_name(&self, name: &ServiceName) -> Arc<str> {
        if self.folds_case() { name.as_str().to_ascii_lowercase().into() } else { name.as_str().into() }
    }
}

impl Service {
    /// What no other service of its scope may have. `namespace` is the one that it is in.
    #[must_use]
    pub fn unique_keys(&self, namespace: &Namespace) -> Vec<UniqueKey> {
        vec![
            UniqueKey::Id(EntityKey::Service(self.id.clone())),
            UniqueKey::service_name(namespace, &self.name),
        ]
    }
}

/// One text for each key, the same in every version, for stores that claim keys by name: parts with colons between them,
/// `%` and `:` inside a part as `%25` and `%3A`.
impl fmt::Display for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entity = |key: &EntityKey| match key {
            EntityKey::Namespace(id) => vec!["namespace".to_owned(), id.to_string()],
            EntityKey::Service(id) => vec!["service".to_owned(), id.to_string()],
            EntityKey::Instance(service, id) => {
                vec!["instance".to_owned(), service.to_string(), id.to_string()]
            }
        };
        let (kind, parts) = match self {
            Self::Id(key) => ("id", entity(key)),
            Self::HttpName(name) => ("http-name", vec![name.to_string()]),
            Self::HttpNamespace(name) => ("http-namespace", vec![name.to_string()]),
            Self::Zone(vpc, name) => ("zone", vec![vpc.to_string(), name.to_string()]),
            Self::PublicNamespace(name, token) => {
                ("public-namespace", vec![name.to_string(), token.to_string()])
            }
            Self::Target(key) => ("target", entity(key)),
            Self::NamespaceInCreation(name) => ("namespace-in-creation", vec![name.to_string()]),
            Self::ServiceName(namespace, name) => {
                ("service-name", vec![namespace.to_string(), name.to_string()])
            }
        };
        f.write_str(kind)?;
        parts.iter().try_for_each(|part| write!(f, ":{}", part.replace('%', "%25").replace(':', "%3A")))
    }
}

/// A text is not one that a [`UniqueKey`] displays as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a unique key")]
#[non_exhaustive]
pub struct ParseUniqueKeyError;

impl std::str::FromStr for UniqueKey {
    type Err = ParseUniqueKeyError;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn part<T, E>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, ParseUniqueKeyError> {
            parse(text).map_err(|_| ParseUniqueKeyError)
        }
        fn entity(parts: &[&str]) -> Result<EntityKey, ParseUniqueKeyError> {
            match parts {
                ["namespace", id] => Ok(EntityKey::Namespace(part(id, NamespaceId::parse)?)),
                ["service", id] => Ok(EntityKey::Service(part(id, ServiceId::parse)?)),
                ["instance", service, id] => {
                    Ok(EntityKey::Instance(part(service, ServiceId::parse)?, part(id, InstanceId::parse)?))
                }
                _ => Err(ParseUniqueKeyError),
            }
        }
        let parts: Vec<_> =
            text.split(':').map(|part| part.replace("%3A", ":").replace("%25", "%")).collect();
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let key = match parts[..] {
            ["id", ref key @ ..] => Self::Id(entity(key)?),
            ["http-name", name] => Self::HttpName(name.into()),
            ["http-namespace", name] => Self::HttpNamespace(name.into()),
            ["zone", vpc, name] => Self::Zone(part(vpc, VpcId::parse)?, name.into()),
            ["public-namespace", name, token] => {
                Self::PublicNamespace(name.into(), part(token, CreatorRequestId::parse)?)
            }
            ["target", ref key @ ..] => Self::Target(entity(key)?),
            ["namespace-in-creation", name] => Self::NamespaceInCreation(name.into()),
            ["service-name", namespace, name] => {
                Self::ServiceName(part(namespace, NamespaceId::parse)?, name.into())
            }
            _ => return Err(ParseUniqueKeyError),
        };
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores name objects after these texts: they may never change.
    #[test]
    fn every_key_has_one_text_that_is_read_again() {
        let namespace = NamespaceId::parse("ns-1").unwrap();
        let service = ServiceId::parse("srv-1").unwrap();
        let instance = EntityKey::Instance(service.clone(), InstanceId::parse("a:b/c").unwrap());
        let token = CreatorRequestId::parse("50%:x").unwrap();
        let name = |text| NamespaceName::parse(text).unwrap();
        let keys = [
            (UniqueKey::Id(EntityKey::Namespace(namespace.clone())), "id:namespace:ns-1"),
            (UniqueKey::Id(EntityKey::Service(service)), "id:service:srv-1"),
            (UniqueKey::Target(instance), "target:instance:srv-1:a%3Ab/c"),
            (UniqueKey::HttpName("app%3A".into()), "http-name:app%253A"),
            (UniqueKey::HttpNamespace("App".into()), "http-namespace:App"),
            (UniqueKey::zone(&VpcId::parse("vpc-1").unwrap(), &name("App.Local.")), "zone:vpc-1:app.local"),
            (
                UniqueKey::public_namespace(&name("App.example"), &token),
                "public-namespace:app.example:50%25%3Ax",
            ),
            (UniqueKey::namespace_in_creation(&name("App.")), "namespace-in-creation:app"),
            (UniqueKey::ServiceName(namespace, "web".into()), "service-name:ns-1:web"),
        ];
        for (key, text) in keys {
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse(), Ok(key));
        }
        for text in ["", "id", "id:namespace", "zone:vpc-1", "zone:vpc-1:a:b", "target:namespace:", "other:a"]
        {
            assert_eq!(text.parse::<UniqueKey>(), Err(ParseUniqueKeyError), "{text}");
        }
    }
}
