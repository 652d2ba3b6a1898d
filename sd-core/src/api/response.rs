//! The responses of the API, as values of the model. Doors encode them.
//!
//! A description derefs to the entity that it describes:
//!
//! ```
//! # use sd_backend_memory::MemoryRegistry;
//! # use sd_core::{Scope, SyncCloudMap, request::*};
//! # let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
//! let app = cloud_map.create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
//! cloud_map.create_service(CreateServiceRequest::new("web").with_namespace_id(&app.namespace_id))?;
//!
//! let namespace = cloud_map.get_namespace(GetNamespaceRequest::new(app.namespace_id))?;
//! assert_eq!((namespace.name.as_str(), namespace.service_count), ("app", 1));
//! # Ok::<(), sd_core::Error>(())
//! ```

use std::{ops::Deref, sync::Arc};

use crate::{
    model::{
        AccountId, Arn, HealthStatus, Instance, InstancesRevision, Namespace, NamespaceId, NamespaceName,
        Operation, OperationId, OperationStatus, OperationTargets, Service, ServiceAttributes, ServiceName,
    },
    state::InstanceEntry,
};

/// A description derefs to the entity that it describes, so that `created.id` is its id.
macro_rules! describes {
    ($($description:ident: $field:ident $entity:ident,)*) => {
        $(impl Deref for $description {
            type Target = $entity;

            fn deref(&self) -> &$entity {
                &self.$field
            }
        })*
    };
}

describes! {
    NamespaceDescription: namespace Namespace,
    ServiceDescription: service Service,
    InstanceDescription: instance Instance,
    InstanceHealth: instance Instance,
    DiscoveredInstance: instance Instance,
}

/// An operation was started. [GetOperation](crate::ScopedCloudMap::get_operation) tells its status.
///
/// ```
/// # use sd_backend_memory::MemoryRegistry;
/// # use sd_core::{Scope, SyncCloudMap, request::*};
/// # let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
/// let app = cloud_map.create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
/// let web = cloud_map.create_service(CreateServiceRequest::new("web").with_namespace_id(app.namespace_id))?;
/// # assert_eq!(web.name.as_str(), "web");
/// # Ok::<(), sd_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationStarted {
    /// The id of the operation.
    pub operation_id: OperationId,
    /// The namespace that is created, changed or deleted, or that holds the target. A namespace whose creation fails never
    /// exists.
    pub namespace_id: NamespaceId,
    /// What is created, changed or deleted.
    pub targets: OperationTargets,
}

impl OperationStarted {
    pub(crate) fn new(
        operation_id: OperationId,
        namespace_id: NamespaceId,
        targets: OperationTargets,
    ) -> Self {
        Self { operation_id, namespace_id, targets }
    }

    pub(crate) fn of(operation: &Operation) -> Self {
        Self::new(operation.id.clone(), operation.namespace.clone(), operation.targets.clone())
    }
}

/// A namespace and the number of its services. Derefs to the [`Namespace`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamespaceDescription {
    /// The namespace.
    pub namespace: Arc<Namespace>,
    /// How many services it has.
    pub service_count: usize,
}

impl NamespaceDescription {
    pub(crate) fn new(namespace: Arc<Namespace>, service_count: usize) -> Self {
        Self { namespace, service_count }
    }
}

/// A service and the number of its instances. Derefs to the [`Service`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceDescription {
    /// The service.
    pub service: Arc<Service>,
    /// How many instances it has.
    pub instance_count: usize,
}

impl ServiceDescription {
    pub(crate) fn new(service: Arc<Service>, instance_count: usize) -> Self {
        Self { service, instance_count }
    }
}

/// The attributes of a service, and who owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceAttributesDescription {
    /// The ARN of the service.
    pub service_arn: Arn,
    /// The account that owns the namespace.
    pub resource_owner: AccountId,
    /// The attributes.
    pub attributes: ServiceAttributes,
}

impl ServiceAttributesDescription {
    pub(crate) fn of(service: &Service) -> Self {
        Self {
            service_arn: service.arn(),
            resource_owner: service.scope.account().clone(),
            attributes: service.attributes.clone(),
        }
    }
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    pub next_token: Option<String>,
}

impl<T> Page<T> {
    pub(crate) fn new(items: Vec<T>, next_token: Option<String>) -> Self {
        Self { items, next_token }
    }

    pub(crate) fn map<U>(self, describe: impl Fn(T) -> U) -> Page<U> {
        Page::new(self.items.into_iter().map(describe).collect(), self.next_token)
    }
}

/// One page of the instances of a service, and who owns them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstancePage {
    /// The account that owns the namespace.
    pub resource_owner: AccountId,
    /// The instances.
    pub items: Vec<Arc<Instance>>,
    /// Where the next page begins; absent on the last one.
    pub next_token: Option<String>,
}

impl InstancePage {
    pub(crate) fn new(resource_owner: AccountId, page: Page<Arc<Instance>>) -> Self {
        Self { resource_owner, items: page.items, next_token: page.next_token }
    }
}

impl From<InstancePage> for Page<Arc<Instance>> {
    fn from(page: InstancePage) -> Self {
        Self::new(page.items, page.next_token)
    }
}

/// An instance, and who owns it. Derefs to the [`Instance`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceDescription {
    /// The account that owns the namespace.
    pub resource_owner: AccountId,
    /// The instance.
    pub instance: Arc<Instance>,
}

impl InstanceDescription {
    pub(crate) fn new(resource_owner: AccountId, instance: Arc<Instance>) -> Self {
        Self { resource_owner, instance }
    }
}

/// An operation in a list: how far it is, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationSummary {
    /// The id.
    pub id: OperationId,
    /// How far it is.
    pub status: OperationStatus,
}

impl OperationSummary {
    pub(crate) fn of(operation: &Operation) -> Self {
        Self { id: operation.id.clone(), status: operation.status }
    }
}

/// The health of an instance. Derefs to the [`Instance`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstanceHealth {
    /// The instance.
    pub instance: Arc<Instance>,
    /// The status in effect.
    pub status: HealthStatus,
}

impl InstanceHealth {
    pub(crate) fn of(entry: &InstanceEntry) -> Self {
        Self { instance: Arc::clone(entry.instance()), status: entry.health().status() }
    }
}

/// The instances that were found, in random order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoveredInstances {
    /// The `HttpName` of the namespace.
    pub namespace_name: NamespaceName,
    /// The name of the service.
    pub service_name: ServiceName,
    /// The instances.
    pub instances: Vec<DiscoveredInstance>,
    /// Grows with every register and deregister of the service.
    pub instances_revision: InstancesRevision,
}

/// An instance that was found. Derefs to the [`Instance`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoveredInstance {
    /// The instance.
    pub instance: Arc<Instance>,
    /// The status in effect.
    pub health: HealthStatus,
}

impl DiscoveredInstance {
    pub(crate) fn of(entry: &InstanceEntry) -> Self {
        Self { instance: Arc::clone(entry.instance()), health: entry.health().status() }
    }
}

/// What tells whether a service's registrations have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoveredRevision {
    /// Grows with every register and deregister of the service.
    pub instances_revision: InstancesRevision,
}

impl DiscoveredRevision {
    pub(crate) fn new(instances_revision: InstancesRevision) -> Self {
        Self { instances_revision }
    }
}
