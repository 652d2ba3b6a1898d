//! What a registry stores: decided changes, the facts that they rely on, and the operation that they belong to.

use std::sync::Arc;

use crate::model::{
    EntityKey, Health, Incarnation, Instance, InstanceId, Namespace, NamespaceId, Operation, OperationId,
    OperationStatus, Revision, Scope, Service, ServiceId, Timestamp, UniqueKey, action::Action,
};

/// One decided change to the state of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a backend and an observer must treat every kind of change")]
pub enum Change {
    /// The namespace exists, with this value.
    PutNamespace(Arc<Namespace>),
    /// The namespace, which has no services, does not exist.
    DeleteNamespace(NamespaceId),
    /// The service exists, with this value. Its namespace exists. If it was checked before and is not now, or the other way
    /// round, the health of its instances is what [`Health::under`] says: one change that a store has to write in many records.
    PutService(Arc<Service>),
    /// The service, which has no instances, does not exist.
    DeleteService(ServiceId),
    /// The instance exists, with this value and this health, if its service's check allows that; otherwise with what
    /// [`Health::under`] says. Its service exists. Grows the instances revision.
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
    /// An operation is under way. From the moment that it is due, every state shows its effect instead.
    ///
    /// It is stored like any other fact. Once it is due, a backend may store its effect instead, because both lead to the
    /// same state.
    BeginOperation(Arc<PendingOperation>),
    /// The operation is not under way, and its effect does not come by itself any more.
    ///
    /// For backends that learn it from their store: the operation ended elsewhere, with the effect that the changes beside
    /// this one have, or it was deleted with everything else. An operation that ends at its moment needs no such change.
    EndOperation(OperationId),
    /// The instance has this health, if its service's check allows that. Does not touch the instances revision.
    PutHealth {
        /// The service that the instance is in.
        service: ServiceId,
        /// The instance.
        id: InstanceId,
        /// Its health.
        health: Health,
    },
}

/// An operation that is under way, and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingOperation {
    /// The request that started it.
    pub action: Action,
    /// The operation, as SUBMITTED. If it has an error, it is going to fail.
    pub operation: Operation,
    /// When it becomes PENDING.
    pub pending_from: Timestamp,
    /// When it ends.
    pub due: Timestamp,
    /// What it changes then; it begins no other operation.
    pub effect: Vec<Change>,
    /// What no other operation may have in the meantime.
    pub claims: Vec<UniqueKey>,
}

impl PendingOperation {
    /// The operation as it is at this moment.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Operation {
        let (status, updated) = if now >= self.due {
            let failed = self.operation.error.is_some();
            (if failed { OperationStatus::Fail } else { OperationStatus::Success }, self.due)
        } else if now >= self.pending_from {
            (OperationStatus::Pending, self.pending_from)
        } else {
            (OperationStatus::Submitted, self.operation.created)
        };
        // The error is visible once the operation has failed.
        let error = self.operation.error.clone().filter(|_| status == OperationStatus::Fail);
        Operation { status, updated, error, ..self.operation.clone() }
    }
}

/// A fact that a planner relied on. If it does not hold when the set is committed, nothing is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "a backend must check every kind of precondition")]
pub enum Precondition {
    /// The entity exists, and is still this one.
    Live(EntityKey, Incarnation),
    /// The entity was not changed since.
    At(EntityKey, Revision),
    /// Nothing has this.
    Free(UniqueKey),
    /// The operation is under way.
    Pending(OperationId),
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
    /// What must hold, before the reset.
    pub preconditions: Vec<Precondition>,
    /// Whether the scope starts over before the changes: everything in it is deleted, its operations under
    /// way come to nothing, and its finished operations are forgotten, those that a store has as well.
    /// Readers see the reset and the changes as one. A backend that has to delete one by one finds the
    /// deletions in [`State::deletions`](crate::State::deletions).
    pub reset: bool,
    /// What is changed.
    pub changes: Vec<Change>,
    /// The operation that the changes finish.
    pub operation: Option<Arc<Operation>>,
}

impl ChangeSet {
    /// A set without changes; they are added to its fields.
    #[must_use]
    pub fn new(scope: Scope, at: Timestamp) -> Self {
        Self { scope, at, preconditions: Vec::new(), reset: false, changes: Vec::new(), operation: None }
    }

    #[must_use]
    pub(crate) fn requiring(mut self, precondition: Precondition) -> Self {
        self.preconditions.push(precondition);
        self
    }

    #[must_use]
    pub(crate) fn requiring_all(mut self, preconditions: impl IntoIterator<Item = Precondition>) -> Self {
        self.preconditions.extend(preconditions);
        self
    }

    #[must_use]
    pub(crate) fn changing(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }
}
