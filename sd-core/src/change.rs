//! What a registry stores: decided changes, the facts they rest on, and the operation they belong to.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    health::Health,
    ids::{Incarnation, InstanceId, NamespaceId, Scope, ServiceId, VpcId},
    model::{Instance, Namespace, Operation, Service},
    state::Revision,
};

/// One decided change to the state of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a backend and an observer must treat every kind of change")]
pub enum Change {
    /// The namespace exists, with this value.
    PutNamespace(Arc<Namespace>),
    /// The namespace, which has no services, does not exist.
    DeleteNamespace(NamespaceId),
    /// The service exists, with this value. Its namespace exists.
    PutService(Arc<Service>),
    /// The service, which has no instances, does not exist.
    DeleteService(ServiceId),
    /// The instance exists, with this value and this health. Its service exists. Grows the instances revision.
    PutInstance {
        /// The service that it is in.
        service: ServiceId,
        /// The instance.
        instance: Arc<Instance>,
        /// Its health.
        health: Health,
    },
    /// The instance does not exist. Grows the instances revision.
    DeleteInstance {
        /// The service that it was in.
        service: ServiceId,
        /// The instance.
        id: InstanceId,
    },
    /// The instance has this health. Does not touch the instances revision.
    PutHealth {
        /// The service that the instance is in.
        service: ServiceId,
        /// The instance.
        id: InstanceId,
        /// Its health.
        health: Health,
    },
}

/// Names an entity of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "these are the entities that Cloud Map has")]
pub enum EntityKey {
    /// A namespace.
    Namespace(NamespaceId),
    /// A service.
    Service(ServiceId),
    /// An instance of a service.
    Instance(ServiceId, InstanceId),
}

/// What only one entity of a scope may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a backend must treat every kind of uniqueness")]
pub enum UniqueKey {
    /// An id.
    Id(EntityKey),
    /// The `HttpName` of a namespace.
    HttpName(Arc<str>),
    /// The name of an HTTP namespace, which is not its `HttpName` where a namespace of another type has that.
    HttpNamespace(Arc<str>),
    /// The zone of this lower-case name in a VPC.
    Zone(VpcId, Arc<str>),
    /// The name of a service in a namespace, lower-case where names are compared without case.
    ServiceName(NamespaceId, Arc<str>),
}

/// A fact that a planner relied on. If it does not hold when the changes are stored, nothing is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a backend must check every kind of precondition")]
pub enum Precondition {
    /// The entity exists, and is still this one.
    Live(EntityKey, Incarnation),
    /// The entity was not changed since.
    At(EntityKey, Revision),
    /// Nothing has this.
    Free(UniqueKey),
    /// The entity has no children: a namespace no services, a service no instances.
    Childless(EntityKey),
}

/// Changes of one scope that are stored together, in order, if their preconditions hold.
///
/// Every prefix of the changes leads to a legal state: parents come first on creation and last on deletion.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChangeSet {
    /// The scope that is changed.
    pub scope: Scope,
    /// When it was decided.
    pub at: Timestamp,
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// What is changed.
    pub changes: Vec<Change>,
    /// The operation that the changes finish.
    pub operation: Option<Arc<Operation>>,
}

impl ChangeSet {
    /// A set without changes; they are added to its fields.
    #[must_use]
    pub fn new(scope: Scope, at: Timestamp) -> Self {
        Self { scope, at, preconditions: Vec::new(), changes: Vec::new(), operation: None }
    }

    #[must_use]
    pub(crate) fn requiring(mut self, precondition: Precondition) -> Self {
        self.preconditions.push(precondition);
        self
    }

    #[must_use]
    pub(crate) fn changing(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    #[must_use]
    pub(crate) fn finishing(mut self, operation: Operation) -> Self {
        self.operation = Some(Arc::new(operation));
        self
    }
}
