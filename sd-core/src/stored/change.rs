use std::sync::Arc;

use super::{Health, Instance, Namespace, PendingOperation, RestoreError, Service, reading::Reading};
use crate::{
    model::{self, InstanceId, NamespaceId, OperationId, ServiceId},
    state::change,
};

/// A change of a registry.
///
/// The places of entities in it, and the counters of services, are 0: the state that has the change
/// decides them. The records of that state are what a store keeps of a change that has been made; this record is for changes
/// that are to come, as in [`PendingOperation::effect`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "stored", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "stored", serde(rename_all = "camelCase", rename_all_fields = "camelCase"))]
#[allow(clippy::exhaustive_enums, reason = "a backend must treat every kind of change")]
pub enum Change {
    /// The namespace exists, with this value.
    PutNamespace(Box<Namespace>),
    /// The namespace of this id does not exist.
    DeleteNamespace(String),
    /// The service exists, with this value.
    PutService(Box<Service>),
    /// The service of this id does not exist.
    DeleteService(String),
    /// The instance exists, with this value and this health.
    PutInstance(Box<Instance>),
    /// The instance does not exist.
    DeleteInstance {
        /// The service that it was in.
        service_id: String,
        /// Its id.
        id: String,
    },
    /// The operation is under way.
    BeginOperation(Box<PendingOperation>),
    /// The operation of this id is not under way.
    EndOperation(String),
    /// The instance has this health.
    PutHealth {
        /// The service that it is in.
        service_id: String,
        /// Its id.
        id: String,
        /// Its health.
        health: Health,
    },
}

impl Change {
    /// The record of a change in this scope.
    #[must_use]
    pub fn of(scope: &model::Scope, change: &change::Change) -> Self {
        match change {
            change::Change::PutNamespace(namespace) => {
                Self::PutNamespace(Box::new(Namespace::of(namespace, 0)))
            }
            change::Change::DeleteNamespace(id) => Self::DeleteNamespace(id.to_string()),
            change::Change::PutService(service) => Self::PutService(Box::new(Service::of(service, 0, 0))),
            change::Change::DeleteService(id) => Self::DeleteService(id.to_string()),
            change::Change::PutInstance { service, instance, health } => {
                Self::PutInstance(Box::new(Instance::of(scope, service, instance, *health, 0)))
            }
            change::Change::DeleteInstance { service, id } => {
                Self::DeleteInstance { service_id: service.to_string(), id: id.to_string() }
            }
            change::Change::BeginOperation(pending) => {
                Self::BeginOperation(Box::new(PendingOperation::of(pending, 0)))
            }
            change::Change::EndOperation(id) => Self::EndOperation(id.to_string()),
            change::Change::PutHealth { service, id, health } => {
                let (service_id, id) = (service.to_string(), id.to_string());
                Self::PutHealth { service_id, id, health: (*health).into() }
            }
        }
    }

    /// The change of this record.
    ///
    /// # Errors
    /// The entity and the member that cannot be read.
    pub fn restore(self) -> Result<change::Change, RestoreError> {
        let reading = |id| Reading::of("change of", id, super::VERSION);
        Ok(match self {
            Self::PutNamespace(namespace) => change::Change::PutNamespace(Arc::new(namespace.restore()?)),
            Self::DeleteNamespace(id) => {
                change::Change::DeleteNamespace(reading(&id)?.read("id", &id, NamespaceId::parse)?)
            }
            Self::PutService(service) => change::Change::PutService(Arc::new(service.restore()?)),
            Self::DeleteService(id) => {
                change::Change::DeleteService(reading(&id)?.read("id", &id, ServiceId::parse)?)
            }
            Self::PutInstance(instance) => {
                instance.scope()?;
                let (service, instance, health) = instance.restore()?;
                change::Change::PutInstance { service, instance: Arc::new(instance), health }
            }
            Self::DeleteInstance { service_id, id } => change::Change::DeleteInstance {
                service: reading(&id)?.read("service_id", &service_id, ServiceId::parse)?,
                id: reading(&id)?.read("id", &id, InstanceId::parse)?,
            },
            Self::BeginOperation(pending) => change::Change::BeginOperation(Arc::new(pending.restore()?)),
            Self::EndOperation(id) => {
                change::Change::EndOperation(reading(&id)?.read("id", &id, OperationId::parse)?)
            }
            Self::PutHealth { service_id, id, health } => change::Change::PutHealth {
                service: reading(&id)?.read("service_id", &service_id, ServiceId::parse)?,
                id: reading(&id)?.read("id", &id, InstanceId::parse)?,
                health: health.restore(reading(&id)?)?,
            },
        })
    }
}
