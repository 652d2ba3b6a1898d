//! Blueprints: namespaces, services and instances by name, made through the operations of the API.
//!
//! A test says in a few lines what there is to be found:
//!
//! ```
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{Blueprint, Scope, SyncCloudMap, model::RecordType, request::DiscoverInstancesRequest};
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
//! let app = Blueprint::new()
//!     .private_dns_namespace("app.local", "vpc-1")
//!     .dns_service("web", [(RecordType::A, 60)])
//!     .instance("web-1", [("AWS_INSTANCE_IPV4", "10.0.0.1")])
//!     .instance("web-2", [("AWS_INSTANCE_IPV4", "10.0.0.2")])
//!     .apply_sync(&cloud_map)?;
//! assert!(app.service_id("web").is_some());
//! let found = cloud_map.discover_instances(DiscoverInstancesRequest::new("app.local", "web"))?;
//! assert_eq!(found.instances.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use crate::{
    api::{
        error::Error,
        request::{
            CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
            CreateServiceRequest, DnsConfigInput, RegisterInstanceRequest, ServiceTypeOption,
        },
        response::OperationStarted,
    },
    cloud_map::{ScopedCloudMap, SyncScopedCloudMap, at_once},
    model::{NamespaceId, OperationError, OperationId, RecordType, ServiceId},
};

/// The idempotency token of everything that a blueprint creates, unless a request has its own.
const TOKEN: &str = "blueprint";

/// Namespaces, services and instances that are to exist.
///
/// A service belongs to the namespace before it, an instance to the service before it. Applying creates what is missing and
/// can be repeated: creations carry an idempotency token, so that the second time they are answered like the first. What
/// exists otherwise, by another request, is refused as the API refuses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a blueprint does nothing until it is applied"]
pub struct Blueprint {
    namespaces: Vec<NamespacePlan>,
    /// The first service without a namespace, or instance without a service.
    misplaced: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NamespacePlan {
    request: NamespaceRequest,
    services: Vec<ServicePlan>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ServicePlan {
    request: CreateServiceRequest,
    instances: Vec<InstancePlan>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct InstancePlan {
    id: String,
    attributes: BTreeMap<String, String>,
}

/// The request that creates a namespace, by the type of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum NamespaceRequest {
    /// Found by DiscoverInstances only.
    Http(CreateHttpNamespaceRequest),
    /// Also found by DNS, in a VPC.
    PrivateDns(CreatePrivateDnsNamespaceRequest),
    /// Also found by public DNS.
    PublicDns(CreatePublicDnsNamespaceRequest),
}

impl NamespaceRequest {
    fn name(&self) -> &str {
        let name = match self {
            Self::Http(request) => &request.name,
            Self::PrivateDns(request) => &request.name,
            Self::PublicDns(request) => &request.name,
        };
        name.as_deref().unwrap_or_default()
    }

    async fn create(&self, cloud_map: &ScopedCloudMap) -> Result<OperationStarted, Error> {
        let token = || Some(TOKEN.to_owned());
        match self.clone() {
            Self::Http(mut request) => {
                request.creator_request_id = request.creator_request_id.or_else(token);
                cloud_map.create_http_namespace(request).await
            }
            Self::PrivateDns(mut request) => {
                request.creator_request_id = request.creator_request_id.or_else(token);
                cloud_map.create_private_dns_namespace(request).await
            }
            Self::PublicDns(mut request) => {
                request.creator_request_id = request.creator_request_id.or_else(token);
                cloud_map.create_public_dns_namespace(request).await
            }
        }
    }
}

impl From<CreateHttpNamespaceRequest> for NamespaceRequest {
    fn from(request: CreateHttpNamespaceRequest) -> Self {
        Self::Http(request)
    }
}

impl From<CreatePrivateDnsNamespaceRequest> for NamespaceRequest {
    fn from(request: CreatePrivateDnsNamespaceRequest) -> Self {
        Self::PrivateDns(request)
    }
}

impl From<CreatePublicDnsNamespaceRequest> for NamespaceRequest {
    fn from(request: CreatePublicDnsNamespaceRequest) -> Self {
        Self::PublicDns(request)
    }
}

impl Blueprint {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a namespace whose instances are found by DiscoverInstances only.
    pub fn http_namespace(self, name: impl Into<String>) -> Self {
        self.namespace(CreateHttpNamespaceRequest::new(name))
    }

    /// Adds a namespace whose instances are also found by DNS, in a VPC.
    pub fn private_dns_namespace(self, name: impl Into<String>, vpc: impl Into<String>) -> Self {
        self.namespace(CreatePrivateDnsNamespaceRequest::new(name, vpc))
    }

    /// Adds a namespace whose instances are also found by public DNS.
    pub fn public_dns_namespace(self, name: impl Into<String>) -> Self {
        self.namespace(CreatePublicDnsNamespaceRequest::new(name))
    }

    /// Adds a namespace with everything that a request can say of it.
    pub fn namespace(mut self, request: impl Into<NamespaceRequest>) -> Self {
        self.namespaces.push(NamespacePlan { request: request.into(), services: Vec::new() });
        self
    }

    /// Adds a service whose instances get these records, each with its TTL in seconds.
    pub fn dns_service(
        self,
        name: impl Into<String>,
        records: impl IntoIterator<Item = (RecordType, u32)>,
    ) -> Self {
        self.service(CreateServiceRequest::new(name).with_dns_config(DnsConfigInput::new(records)))
    }

    /// Adds a service that is found by DiscoverInstances only, in a namespace of any type.
    pub fn http_service(self, name: impl Into<String>) -> Self {
        self.service(CreateServiceRequest::new(name).with_service_type(ServiceTypeOption::Http))
    }

    /// Adds a service with everything that a request can say of it, but for its namespace.
    pub fn service(mut self, request: CreateServiceRequest) -> Self {
        match self.namespaces.last_mut() {
            Some(namespace) => namespace.services.push(ServicePlan { request, instances: Vec::new() }),
            None => self.misplace(format!("service {:?}", name_of(&request))),
        }
        self
    }

    /// Adds an instance with these attributes.
    pub fn instance<'a>(
        mut self,
        id: impl Into<String>,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let attributes = attributes.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let instance = InstancePlan { id: id.into(), attributes: attributes.collect() };
        match self.namespaces.last_mut().and_then(|namespace| namespace.services.last_mut()) {
            Some(service) => service.instances.push(instance),
            None => self.misplace(format!("instance {:?}", instance.id)),
        }
        self
    }

    fn misplace(&mut self, entity: String) {
        self.misplaced.get_or_insert(entity);
    }

    /// Creates what is missing, in the order of the blueprint.
    ///
    /// # Errors
    /// The first error, with the name of the entity that it concerns. What comes before that entity has been created.
    pub async fn apply(&self, cloud_map: &ScopedCloudMap) -> Result<Applied, BlueprintError> {
        if let Some(entity) = &self.misplaced {
            return Err(BlueprintError::Misplaced { entity: entity.clone() });
        }
        let mut applied = Applied::default();
        for namespace in &self.namespaces {
            applied.namespaces.push(namespace.apply(cloud_map).await?);
        }
        Ok(applied)
    }

    /// As [`apply`](Self::apply).
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply).
    pub fn apply_sync(&self, cloud_map: &SyncScopedCloudMap) -> Result<Applied, BlueprintError> {
        let refused = |error| BlueprintError::Refused { entity: "blueprint".to_owned(), error };
        at_once(async { Ok(self.apply(cloud_map.scoped()).await) }).map_err(refused)?
    }
}

impl NamespacePlan {
    async fn apply(&self, cloud_map: &ScopedCloudMap) -> Result<AppliedNamespace, BlueprintError> {
        let name = self.request.name();
        let entity = || format!("namespace {name:?}");
        let started = self.request.create(cloud_map).await;
        let started = started.map_err(|error| BlueprintError::Refused { entity: entity(), error })?;
        if !self.services.is_empty() {
            exists(cloud_map, &started, entity)?;
        }
        let id = started.namespace_id;
        let mut services = Vec::new();
        for service in &self.services {
            services.push(service.apply(cloud_map, &id, name).await?);
        }
        Ok(AppliedNamespace { name: name.to_owned(), id, services })
    }
}

/// Whether the namespace of a creation exists: services of it can be created. The state tells, so that no call is counted.
fn exists(
    cloud_map: &ScopedCloudMap,
    started: &OperationStarted,
    entity: impl Fn() -> String,
) -> Result<(), BlueprintError> {
    let cloud_map_of_all = cloud_map.cloud_map();
    let state = cloud_map_of_all.state();
    let here = state.scope(cloud_map.scope());
    if here.namespace(started.namespace_id.as_str()).is_some() {
        return Ok(());
    }
    let operation_id = started.operation_id.clone();
    let ended = cloud_map_of_all.cell().operations().get(operation_id.as_str());
    Err(match ended.and_then(|operation| operation.error.clone()) {
        Some(error) => BlueprintError::Failed { entity: entity(), error },
        None => BlueprintError::Pending { entity: entity(), operation_id },
    })
}

impl ServicePlan {
    async fn apply(
        &self,
        cloud_map: &ScopedCloudMap,
        namespace: &NamespaceId,
        namespace_name: &str,
    ) -> Result<AppliedService, BlueprintError> {
        let name = name_of(&self.request);
        let mut request = self.request.clone().with_namespace_id(namespace);
        request.creator_request_id.get_or_insert_with(|| TOKEN.to_owned());
        let service = cloud_map.create_service(request).await.map_err(|error| {
            let entity = format!("service {name:?} of namespace {namespace_name:?}");
            BlueprintError::Refused { entity, error }
        })?;
        let mut instances = Vec::new();
        for InstancePlan { id, attributes } in &self.instances {
            let request = RegisterInstanceRequest::new(&service.id, id)
                .with_creator_request_id(TOKEN)
                .with_attributes(attributes.clone());
            let started = cloud_map.register_instance(request).await.map_err(|error| {
                let entity = format!("instance {id:?} of service {name:?} of namespace {namespace_name:?}");
                BlueprintError::Refused { entity, error }
            })?;
            instances.push(started);
        }
        Ok(AppliedService { name: name.to_owned(), id: service.id.clone(), instances })
    }
}

fn name_of(request: &CreateServiceRequest) -> &str {
    request.name.as_deref().unwrap_or_default()
}

/// What exists after a [`Blueprint`] was applied, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Applied {
    /// The namespaces.
    pub namespaces: Vec<AppliedNamespace>,
}

impl Applied {
    /// The id of the first namespace of this name.
    #[must_use]
    pub fn namespace_id(&self, name: &str) -> Option<&NamespaceId> {
        self.namespaces.iter().find(|namespace| namespace.name == name).map(|namespace| &namespace.id)
    }

    /// The id of the first service of this name, in whichever namespace.
    #[must_use]
    pub fn service_id(&self, name: &str) -> Option<&ServiceId> {
        let mut services = self.namespaces.iter().flat_map(|namespace| &namespace.services);
        services.find(|service| service.name == name).map(|service| &service.id)
    }
}

/// A namespace of a [`Blueprint`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedNamespace {
    /// The name in the blueprint.
    pub name: String,
    /// The id.
    pub id: NamespaceId,
    /// Its services.
    pub services: Vec<AppliedService>,
}

/// A service of a [`Blueprint`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppliedService {
    /// The name in the blueprint.
    pub name: String,
    /// The id.
    pub id: ServiceId,
    /// The registrations of its instances. With a [`Timing`](crate::Timing) other than instant they are under way.
    pub instances: Vec<OperationStarted>,
}

/// Why a [`Blueprint`] was not applied in full.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlueprintError {
    /// An operation of the API was refused.
    #[error("{entity}: {error}")]
    Refused {
        /// The entity, by type and name.
        entity: String,
        /// Why.
        error: Error,
    },
    /// A namespace was not created: its operation has failed.
    #[error("{entity}: {}: {}", .error.code, .error.message)]
    Failed {
        /// The entity, by type and name.
        entity: String,
        /// Why.
        error: Box<OperationError>,
    },
    /// A namespace is being created, and its services must wait. Apply the blueprint again after the operation.
    #[error(
        "{entity}: operation {operation_id} is still under way, apply the blueprint again when it has ended"
    )]
    Pending {
        /// The entity, by type and name.
        entity: String,
        /// The creation.
        operation_id: OperationId,
    },
    /// A service comes before any namespace, or an instance before any service of its namespace.
    #[error("{entity}: put it after the namespace or service that it belongs to")]
    Misplaced {
        /// The entity, by type and name.
        entity: String,
    },
}
