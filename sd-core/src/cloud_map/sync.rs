//! For hosts: instances that follow what the host runs, and health that it knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{ScopedCloudMap, SyncScopedCloudMap, blocking::at_once};
use crate::{
    api::{
        error::{Error, rule},
        request::{DeregisterInstanceRequest, RegisterInstanceRequest},
    },
    health_check::Subject,
    model::{CustomHealthStatus, OperationId},
    ops::{find_service, instance_health, instances::Host, sync},
};

/// An instance that a host wants to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DesiredInstance {
    /// Its id, 1–64 characters.
    pub id: String,
    /// What is to be registered, as in RegisterInstance.
    pub attributes: BTreeMap<String, String>,
    /// Its health, if the host knows it, such as that of a task's containers. It counts in services with a custom health
    /// check, at once and instead of reports. With a Route 53 check the results decide, and without a check there is no health.
    pub health: Option<CustomHealthStatus>,
}

impl DesiredInstance {
    /// An instance without attributes, of which the host knows no health.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), attributes: BTreeMap::new(), health: None }
    }

    /// Sets the health.
    #[must_use]
    pub fn with_health(self, health: CustomHealthStatus) -> Self {
        Self { health: Some(health), ..self }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }
}

/// What was done to bring the instances of a service in step.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SyncedInstances {
    /// Those that were registered, anew or again.
    pub registered: Vec<SyncedInstance>,
    /// Those that were deregistered.
    pub deregistered: Vec<SyncedInstance>,
    /// Those that are not as they should be. After [`Error::Unavailable`] and [`Error::ServiceNotFound`] the others that
    /// were left are not tried, and are here with the same error.
    pub refused: Vec<RefusedInstance>,
}

/// An instance that was registered or deregistered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncedInstance {
    /// Its id.
    pub id: String,
    /// The operation that does it.
    pub operation_id: OperationId,
}

/// An instance that could not be brought in step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefusedInstance {
    /// Its id.
    pub id: String,
    /// Why.
    pub error: Error,
}

impl SyncedInstances {
    /// Whether anything was changed.
    fn has_changed(&self) -> bool {
        !self.registered.is_empty() || !self.deregistered.is_empty()
    }
}

impl ScopedCloudMap {
    /// Brings the instances that `owner` has in a service (an id or ARN) in step with what it runs: registers what is
    /// missing, registers again what has other attributes, deregisters what is not desired any more, and sets the health that
    /// it knows.
    ///
    /// It is level-triggered and idempotent: call it with all that there is, as often as you like; what is in step, or
    /// under way to it, changes nothing; the registry only checks that it still is. The owner, any text of 1–255 characters, tells its instances from those that others
    /// registered, which are never touched. Each instance is an operation of its own, as by RegisterInstance and
    /// DeregisterInstance, with the same [`Timing`](crate::Timing). None is a call of the API: [faults](crate::Fault) do not
    /// meet it, and the [journal](crate::Journal) does not have it.
    ///
    /// What is refused since an operation is under way, such as the registration of an instance that is not desired any
    /// more, is brought in step by the next call after that operation.
    ///
    /// ```
    /// # use sd_backend_memory::MemoryRegistry;
    /// # use sd_core::{DesiredInstance, Scope, SyncCloudMap, request::*};
    /// # let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
    /// # let app = cloud_map.create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
    /// # let web = CreateServiceRequest::new("web").with_namespace_id(app.namespace_id);
    /// # let service = cloud_map.create_service(web)?;
    /// let tasks = ["task-1", "task-2"].map(|id| DesiredInstance::new(id).with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1"));
    /// let synced = cloud_map.sync_service_instances(&service.id, "ecs:web", tasks)?;
    /// assert_eq!(synced.registered.len(), 2);
    /// let synced = cloud_map.sync_service_instances(&service.id, "ecs:web", [])?;
    /// assert_eq!(synced.deregistered.len(), 2);
    /// # Ok::<(), sd_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`]; [`Error::InvalidInput`] for an owner without a name, or an id that is
    /// desired twice; [`Error::Unavailable`]. None of them is returned once an operation has been started:
    /// then, as for everything that concerns one instance only, the error is in [`SyncedInstances::refused`].
    /// That is an invalid attribute, an operation of another caller that is under way, an id of another
    /// owner, or [`Error::Contention`]; the others are in step.
    pub async fn sync_service_instances(
        &self,
        service: impl AsRef<str> + Send + Sync,
        owner: &str,
        desired: impl IntoIterator<Item = DesiredInstance> + Send,
    ) -> Result<SyncedInstances, Error> {
        let service = service.as_ref();
        check_owner(owner)?;
        let (owner, mut ids, mut wanted) = (Arc::<str>::from(owner), BTreeSet::new(), Vec::new());
        for instance in desired {
            if !ids.insert(instance.id.clone()) {
                return Err(rule("instanceId", format!("The instance {} is desired twice.", instance.id)));
            }
            wanted.push(instance);
        }
        let mut synced = SyncedInstances::default();
        // What concerns all instances: the rest is not tried.
        let mut stopped = None;
        // Deregistrations first, so that traffic to those instances ends early.
        for id in self.owned(service, &owner)? {
            if !ids.contains(&id) {
                let step = step(&mut stopped, self.remove_instance(service, &id, &owner)).await;
                keep(&mut synced.deregistered, &mut synced.refused, id, step);
            }
        }
        for instance in wanted {
            let id = instance.id.clone();
            let step = step(&mut stopped, self.put_instance(service, &owner, instance)).await;
            keep(&mut synced.registered, &mut synced.refused, id, step);
        }
        match stopped {
            Some(error) if !synced.has_changed() => Err(error),
            _ => Ok(synced),
        }
    }

    /// Brings one instance of the owner in step.
    pub(crate) async fn put_instance(
        &self,
        service: &str,
        owner: &Arc<str>,
        DesiredInstance { id, attributes, health }: DesiredInstance,
    ) -> Result<Option<OperationId>, Error> {
        check_owner(owner)?;
        let mut request = RegisterInstanceRequest::new(service, id);
        request.attributes = Some(attributes);
        let host = Host { owner, health };
        self.planned(|context| sync::put(&request, host, context)).await
    }

    /// Deregisters an instance of the owner, if there is one.
    pub(crate) async fn remove_instance(
        &self,
        service: &str,
        id: &str,
        owner: &str,
    ) -> Result<Option<OperationId>, Error> {
        let request = DeregisterInstanceRequest::new(service, id);
        self.planned(|context| sync::remove(&request, owner, context)).await
    }

    /// Reports the health of an instance, as by UpdateInstanceCustomHealthStatus. Does nothing without a custom check.
    pub(crate) async fn report_health(
        &self,
        service: &str,
        id: &str,
        status: CustomHealthStatus,
    ) -> Result<(), Error> {
        self.planned(|context| instance_health::report((service, id), status, context)).await
    }

    fn owned(&self, service: &str, owner: &str) -> Result<Vec<String>, Error> {
        let state = self.cloud_map.state();
        let here = state.scope(&self.scope);
        let entry = find_service(here, &self.scope, service)?;
        Ok(sync::owned(here, entry, owner).into_iter().map(|id| id.as_str().to_owned()).collect())
    }

    /// Sets the health of an instance, at once, for hosts that know it: also where AWS asks by a health check of Route 53.
    /// A report that waits is dropped. The service is given by id or ARN.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::InstanceNotFound`]; [`Error::CustomHealthNotFound`] if the service has no health
    /// check, where the health is always UNKNOWN; [`Error::Unavailable`] and [`Error::Contention`].
    pub async fn set_health(
        &self,
        service: impl AsRef<str> + Send + Sync,
        instance: impl AsRef<str> + Send + Sync,
        status: CustomHealthStatus,
    ) -> Result<(), Error> {
        let of = (service.as_ref(), instance.as_ref());
        self.planned(|context| instance_health::set(of, status, context)).await
    }

    /// For health checkers: stores the status that the results of a check [came to](crate::health_check::Tally). It takes
    /// effect at once. Returns whether the subject still exists; if not, nothing is stored.
    ///
    /// # Errors
    /// [`Error::Unavailable`] and [`Error::Contention`].
    pub async fn put_checked_health(
        &self,
        subject: &Subject,
        status: CustomHealthStatus,
    ) -> Result<bool, Error> {
        self.planned(|context| instance_health::put_checked(subject, status, context)).await
    }
}

impl SyncScopedCloudMap {
    /// As [`ScopedCloudMap::sync_service_instances`].
    ///
    /// # Errors
    /// Those of [`ScopedCloudMap::sync_service_instances`].
    pub fn sync_service_instances(
        &self,
        service: impl AsRef<str>,
        owner: &str,
        desired: impl IntoIterator<Item = DesiredInstance> + Send,
    ) -> Result<SyncedInstances, Error> {
        at_once(self.scoped.sync_service_instances(service.as_ref(), owner, desired))
    }

    /// As [`ScopedCloudMap::set_health`].
    ///
    /// # Errors
    /// Those of [`ScopedCloudMap::set_health`].
    pub fn set_health(
        &self,
        service: impl AsRef<str>,
        instance: impl AsRef<str>,
        status: CustomHealthStatus,
    ) -> Result<(), Error> {
        at_once(self.scoped.set_health(service.as_ref(), instance.as_ref(), status))
    }

    /// As [`ScopedCloudMap::put_checked_health`].
    ///
    /// # Errors
    /// Those of [`ScopedCloudMap::put_checked_health`].
    pub fn put_checked_health(&self, subject: &Subject, status: CustomHealthStatus) -> Result<bool, Error> {
        at_once(self.scoped.put_checked_health(subject, status))
    }
}

fn check_owner(owner: &str) -> Result<(), Error> {
    if (1..=255).contains(&owner.chars().count()) {
        return Ok(());
    }
    Err(rule("owner", "An owner has a name of 1-255 characters."))
}

/// Brings one instance in step, unless an error before concerns it as well.
async fn step(
    stopped: &mut Option<Error>,
    doing: impl Future<Output = Result<Option<OperationId>, Error>> + Send,
) -> Result<Option<OperationId>, Error> {
    if let Some(error) = stopped {
        return Err(error.clone());
    }
    let step = doing.await;
    if let Err(error @ (Error::ServiceNotFound(_) | Error::Unavailable { .. })) = &step {
        *stopped = Some(error.clone());
    }
    step
}

/// Notes what became of an instance.
fn keep(
    done: &mut Vec<SyncedInstance>,
    refused: &mut Vec<RefusedInstance>,
    id: String,
    step: Result<Option<OperationId>, Error>,
) {
    match step {
        Ok(operation) => done.extend(operation.map(|operation_id| SyncedInstance { id, operation_id })),
        Err(error) => refused.push(RefusedInstance { id, error }),
    }
}
