//! The responses of the API, as values of the model. What they have on the wire is the doors' business.

use std::{borrow::Cow, sync::Arc};

use crate::{
    model::{
        AccountId, Arn, HealthStatus, Instance, InstancesRevision, Namespace, NamespaceName, Operation,
        OperationId, OperationStatus, Service, ServiceAttributes, ServiceName,
    },
    state::InstanceEntry,
};

/// An operation was started; [GetOperation](crate::ScopedCloudMap::get_operation) tells how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationStarted {
    /// The id of the operation.
    pub operation_id: OperationId,
}

impl OperationStarted {
    pub(crate) fn new(operation_id: OperationId) -> Self {
        Self { operation_id }
    }
}

/// A namespace and what is counted of it.
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

/// A service and what is counted of it.
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

/// Instances of a service, and who owns them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InstancePage {
    /// The account that owns the namespace.
    pub resource_owner: AccountId,
    /// The instances.
    pub page: Page<Arc<Instance>>,
}

impl InstancePage {
    pub(crate) fn new(resource_owner: AccountId, page: Page<Arc<Instance>>) -> Self {
        Self { resource_owner, page }
    }
}

/// An instance, and who owns it.
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

/// The health of an instance.
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
    /// The instances, each with the health status in effect.
    pub instances: Vec<(Arc<Instance>, HealthStatus)>,
    /// Grows with every register and deregister of the service.
    pub instances_revision: InstancesRevision,
}

impl From<FoundInstances<'_>> for DiscoveredInstances {
    fn from(found: FoundInstances<'_>) -> Self {
        Self {
            namespace_name: found.namespace_name.clone(),
            instances: found.instances().map(|(instance, health)| (Arc::clone(instance), health)).collect(),
            service_name: found.service_name.into_owned(),
            instances_revision: found.instances_revision,
        }
    }
}

/// [`DiscoveredInstances`] where they stand in the state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundInstances<'a> {
    /// The `HttpName` of the namespace.
    pub namespace_name: &'a NamespaceName,
    /// The name of the service.
    pub service_name: Cow<'a, ServiceName>,
    /// Grows with every register and deregister of the service.
    pub instances_revision: InstancesRevision,
    pub(crate) instances: Vec<&'a InstanceEntry>,
}

impl<'a> FoundInstances<'a> {
    /// The instances, each with the health status in effect.
    pub fn instances(&self) -> impl ExactSizeIterator<Item = (&'a Arc<Instance>, HealthStatus)> + Clone {
        self.instances.iter().map(|entry| (entry.instance(), entry.health().status()))
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
