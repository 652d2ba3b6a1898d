//! Keeps the instances of an ECS host's tasks in step with the tasks.

mod known;
mod view;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::{
    known::{Known, Survey, Tasks},
    view::{Look, Step, View},
};
use super::{EcsError, Task};
use crate::{
    api::error::Error,
    cloud_map::ScopedCloudMap,
    model::{InstanceId, ServiceId, Timestamp},
    ops::sync,
    state::State,
};

/// The most passes for one state of a task: one registers it, one reports its health, one confirms that nothing is left.
const PASSES: usize = 3;

/// How long a task keeps running after its deregistration, before it gets SIGTERM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drain {
    /// Not at all, as at AWS. Clients that have its address in a cache fail. The default.
    #[default]
    None,
    /// Until the deregistration has ended and then the longest TTL of its records has passed.
    RecordTtl,
    /// Until the deregistration has ended and then this time has passed.
    For(Duration),
}

/// Keeps the instances of a host's tasks in step with the tasks, in one account and Region.
///
/// The host calls [`changed`](Self::changed) when a task changes, and [`listed`](Self::listed) with all tasks when it starts and
/// from time to time. Calls may be repeated, reordered or lost. Each carries a *moment*: a number that grows with every change of
/// any task, such as a counter or the revision of the host's store. For each task, the newest moment wins. After a listing,
/// exactly those listed tasks are registered that are ACTIVATING or RUNNING.
///
/// | status | what happens |
/// |---|---|
/// | ACTIVATING | it is registered. It stays in ACTIVATING until [`is_registered`](TaskDiscovery::is_registered) |
/// | RUNNING | the health of its containers is reported if the service has a custom health check, with the delay of [`Timing`](crate::Timing) |
/// | DEACTIVATING | it is deregistered. It gets SIGTERM at [`may_stop_at`](TaskDiscovery::may_stop_at) |
///
/// If the registry refuses a step, or an operation is under way, the answer says so. [`retry`](Self::retry), the next change of
/// the task and the next listing try again. There is no timer.
///
/// A task is registered again if its instance was deregistered by others, and if its Cloud Map service was deleted and created
/// again under the same id. (AWS leaves tasks unregistered in the second case.) Instances of others are never touched.
///
/// ```
/// # use sd_backend_memory::MemoryRegistry;
/// use std::sync::Arc;
/// use sd_core::{Blueprint, CloudMap, Scope, ecs::*, model::RecordType, request::DiscoverInstancesRequest};
///
/// # at_once(async {
/// let scope = Scope::default();
/// let cloud_map = CloudMap::new(MemoryRegistry::new()).at(scope.clone());
/// let app = Blueprint::new().private_dns_namespace("app.local", "vpc-1").dns_service("web", [(RecordType::A, 60)]);
/// let app = app.apply(&cloud_map).await?;
/// let registry = ServiceRegistry::new(scope.service_arn(app.service_id("web").unwrap()).as_str());
///
/// let discovery = EcsDiscovery::new(cloud_map.clone());
/// let web = TaskDefinition::new("web", NetworkMode::Awsvpc, [ContainerDefinition::new("web")]);
/// let mut task = Task::new("task-1", "default", "web", Arc::new(web));
/// task.registries = vec![registry];
/// task.ipv4 = Some([10, 0, 0, 1].into());
/// task.last_status = TaskStatus::Activating;
/// assert!(discovery.changed(1, task.clone()).await.is_registered);
/// let find = DiscoverInstancesRequest::new("app.local", "web");
/// assert_eq!(cloud_map.discover_instances(&find)?.instances[0].id.as_str(), "task-1");
///
/// task.last_status = TaskStatus::Deactivating;
/// assert!(discovery.changed(2, task).await.may_stop_at.is_some());
/// assert!(cloud_map.discover_instances(&find)?.instances.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # });
/// # fn at_once(future: impl Future<Output = Result<(), Box<dyn std::error::Error>>>) {
/// #     use std::task::{Context, Poll, Waker};
/// #     match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
/// #         Poll::Ready(result) => result.unwrap(),
/// #         Poll::Pending => panic!("memory waits for nothing"),
/// #     }
/// # }
/// ```
#[derive(Debug)]
pub struct EcsDiscovery {
    cloud_map: ScopedCloudMap,
    owner: Arc<str>,
    drain: Drain,
    tasks: Mutex<Tasks>,
}

/// Where a task stands in discovery.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TaskDiscovery {
    /// Whether it is registered in all its registries, so that it can go from ACTIVATING to RUNNING. Without
    /// registries: whether it is ACTIVATING or RUNNING.
    pub is_registered: bool,
    /// Whether clients find it, in DNS too: it is registered, and it is healthy or has no health check. A host that replaces
    /// tasks without a gap ends the old ones only then; AWS does not wait for it.
    pub is_discoverable: bool,
    /// The earliest time for SIGTERM, once the task is DEACTIVATING or later. `None` before.
    pub may_stop_at: Option<Timestamp>,
    /// The steps that were refused, and why.
    pub refusals: Vec<Refusal>,
    /// Whether nothing is left to do. Otherwise see [`EcsDiscovery::retry`].
    pub is_settled: bool,
}

impl TaskDiscovery {
    fn of(known: &Known, look: &Look) -> Self {
        let is_wanted = known.is_wanted();
        let is_registered = is_wanted && look.in_step.len() == known.task.registries.len();
        Self {
            is_registered,
            is_discoverable: is_registered && look.in_step.iter().all(|found| found.health.is_routable()),
            may_stop_at: known.may_stop_at.filter(|_| !is_wanted),
            refusals: known.refusals.clone(),
            is_settled: look.steps.is_empty() && look.refusals.is_empty() && !look.is_waiting,
        }
    }
}

/// Why a task could not be brought in step in a registry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The ARN or the id of the Cloud Map service.
    pub service: String,
    /// Why.
    pub reason: RefusalReason,
}

impl Refusal {
    fn of(service: &ServiceId, error: Error) -> Self {
        Self { service: service.as_str().to_owned(), reason: error.into() }
    }
}

/// The reason of a [`Refusal`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// ECS would refuse it.
    #[error(transparent)]
    Ecs(#[from] EcsError),
    /// Cloud Map refuses it.
    #[error(transparent)]
    CloudMap(#[from] Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.service, self.reason)
    }
}

/// The result of a listing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Listed {
    /// The tasks that were not known to be in step, by id, and where they stand now.
    pub changed: Vec<(String, TaskDiscovery)>,
    /// How many instances of tasks that do not exist were deregistered.
    pub orphans: usize,
    /// The instances of such tasks that could not be deregistered, and why.
    pub refusals: Vec<Refusal>,
}

impl EcsDiscovery {
    /// Keeps instances of the owner `ecs` in step, in the scope of the handle.
    #[must_use]
    pub fn new(cloud_map: ScopedCloudMap) -> Self {
        Self { cloud_map, owner: "ecs".into(), drain: Drain::None, tasks: Mutex::default() }
    }

    /// Sets the owner of the instances, 1–255 characters. Two hosts in one registry need different ones: each takes instances
    /// of its owner without a task for orphans.
    #[must_use]
    pub fn with_owner(self, owner: &str) -> Self {
        Self { owner: owner.into(), ..self }
    }

    /// Sets how long a task goes on after it was deregistered.
    #[must_use]
    pub fn with_drain(self, drain: Drain) -> Self {
        Self { drain, ..self }
    }

    /// Reports the current state of a task, and brings its instances in step. Costs a commit for each registry where something
    /// changes; a task that is healthy when it is first reported costs a second one for its health.
    pub async fn changed(&self, moment: u64, task: impl Into<Arc<Task>>) -> TaskDiscovery {
        let task = task.into();
        if self.lock().can_be_current(moment, &task.id) {
            self.note(moment, Arc::clone(&task), None);
        }
        self.bring_in_step(&task.id).await
    }

    /// Reports all tasks of the host, as of the moment when they were listed, and brings their instances in step. Deregisters
    /// the instances of tasks that are not listed. A listing without a change costs no commit, but a look at each instance of
    /// the account and Region. A listing that is older than another one does nothing.
    pub async fn listed(&self, moment: u64, tasks: impl IntoIterator<Item = impl Into<Arc<Task>>>) -> Listed {
        let Some(listing) = self.lock().begin_listing(moment) else { return Listed::default() };
        for task in tasks {
            let task = task.into();
            self.note(moment, task, Some(listing));
        }
        self.lock().leave_out(moment, listing);
        let mut result = Listed::default();
        let Survey { out_of_step, strangers } = self.survey();
        for id in out_of_step {
            let discovery = self.bring_in_step(&id).await;
            result.changed.push((id, discovery));
        }
        for (service, id) in self.orphans(strangers) {
            match self.take(id.as_str(), &service, Step::Deregister).await {
                Ok(()) => result.orphans += 1,
                Err(error) => result.refusals.push(Refusal::of(&service, error)),
            }
        }
        self.lock().forget(moment);
        result
    }

    /// Tries again what was refused or had to wait. Costs a look at each task that is not settled. Call it about once a second
    /// while there are such tasks.
    pub async fn retry(&self) -> Vec<(String, TaskDiscovery)> {
        let unsettled: Vec<_> = self.lock().unsettled.iter().cloned().collect();
        let mut tried = Vec::with_capacity(unsettled.len());
        for id in unsettled {
            let discovery = self.bring_in_step(&id).await;
            tried.push((id, discovery));
        }
        tried
    }

    /// Where a task stands now. `None` for an unknown one, or one that has ended.
    #[must_use]
    pub fn status(&self, id: &str) -> Option<TaskDiscovery> {
        let known = self.lock().known.get(id).cloned()?;
        Some(TaskDiscovery::of(&known, &self.look(&known)))
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, moment: u64, task: Arc<Task>, listing: Option<u64>) {
        let mut tasks = self.lock();
        let Some(stopping) = tasks.note(moment, task, listing) else { return };
        // Under the same lock, so that nobody sees a task that stops without the time.
        let may_stop_at = self.may_stop_at(&stopping);
        if let Some(known) = tasks.known.get_mut(&stopping.task.id) {
            known.may_stop_at.get_or_insert(may_stop_at);
        }
    }

    /// The earliest time for SIGTERM to a task that is deregistered now.
    fn may_stop_at(&self, known: &Known) -> Timestamp {
        let (map, state) = (self.cloud_map.cloud_map(), self.cloud_map.cloud_map().state());
        let view = self.view(&state);
        let places = view.places(known);
        let longest_ttl = || {
            let here = state.scope(self.cloud_map.scope());
            let configs = places.iter().filter_map(|id| here.service(id.as_str())?.service().dns_config());
            let ttls = configs.flat_map(|config| &config.records).map(|record| record.ttl);
            Duration::from_secs(ttls.max().unwrap_or(0).into())
        };
        let drain = match self.drain {
            Drain::None => return view.now,
            _ if places.is_empty() => return view.now,
            Drain::For(time) => time,
            Drain::RecordTtl => longest_ttl(),
        };
        view.now.after(map.timing().operation()).after(drain)
    }

    fn survey(&self) -> Survey {
        let state = self.cloud_map.cloud_map().state();
        let here = state.scope(self.cloud_map.scope());
        // Collected without the lock: others choose how many instances there are.
        let registered: Vec<_> = sync::registered_by(here, &self.owner).collect();
        let arriving =
            sync::arriving_for(here, &self.owner).map(|(service, id)| (service.clone(), id.clone()));
        let arriving = arriving.collect();
        self.lock().survey(&registered, arriving)
    }

    /// Does what is left to do for a task.
    async fn bring_in_step(&self, id: &str) -> TaskDiscovery {
        let mut passes = 0;
        loop {
            let Some(known) = self.lock().begin(id) else { return self.ended() };
            let mut look = self.look(&known);
            let is_done = look.steps.is_empty() || passes == PASSES;
            let mut is_refused = false;
            if !is_done {
                self.lock().expect_in(id, look.steps.iter().map(|(service, _)| service));
                for (service, step) in std::mem::take(&mut look.steps) {
                    if let Err(error) = self.take(id, &service, step).await {
                        is_refused = true;
                        look.refusals.push(Refusal::of(&service, error));
                    }
                }
            }
            passes += 1;
            let mut tasks = self.lock();
            match tasks.known.get(id).map(|known| known.generation) {
                // The task has changed meanwhile, so the steps may be wrong by now.
                Some(generation) if generation != known.generation => passes = 0,
                Some(_) if is_done || is_refused => {
                    let is_settled =
                        look.steps.is_empty() && is_done && look.refusals.is_empty() && !look.is_waiting;
                    tasks.end(id, is_settled, &look);
                    drop(tasks);
                    // The steps have changed the state.
                    let refusals = std::mem::take(&mut look.refusals);
                    let look = if is_done { look } else { self.look(&known) };
                    return TaskDiscovery { refusals, is_settled, ..TaskDiscovery::of(&known, &look) };
                }
                Some(_) => {}
                None => return self.ended(),
            }
        }
    }

    /// The answer for an unknown task.
    fn ended(&self) -> TaskDiscovery {
        let now = self.cloud_map.cloud_map().now();
        TaskDiscovery { may_stop_at: Some(now), is_settled: true, ..TaskDiscovery::default() }
    }

    async fn take(&self, id: &str, service: &ServiceId, step: Step) -> Result<(), Error> {
        let (cloud_map, service) = (&self.cloud_map, service.as_str());
        match step {
            Step::Register(instance) => {
                cloud_map.put_instance(service, &self.owner, instance).await.map(drop)
            }
            Step::Report(status) => cloud_map.report_health(service, id, status).await,
            Step::Deregister => match cloud_map.remove_instance(service, id, &self.owner).await {
                Err(Error::ServiceNotFound(_)) => Ok(()),
                removed => removed.map(drop),
            },
        }
    }

    fn look(&self, known: &Known) -> Look {
        self.view(&self.cloud_map.cloud_map().state()).look(known)
    }

    fn view<'a>(&'a self, state: &'a State) -> View<'a> {
        let map = self.cloud_map.cloud_map();
        View {
            state,
            scope: self.cloud_map.scope(),
            owner: &self.owner,
            now: map.now(),
            timing: map.timing(),
        }
    }

    /// The strangers that still belong to no task and are not being deregistered.
    fn orphans(&self, mut strangers: Vec<(ServiceId, InstanceId)>) -> Vec<(ServiceId, InstanceId)> {
        let state = self.cloud_map.cloud_map().state();
        let here = state.scope(self.cloud_map.scope());
        let tasks = self.lock();
        strangers.retain(|(service, id)| {
            let mut entry = here.service(service.as_str()).into_iter();
            !tasks.expects(service, id) && entry.any(|entry| sync::has(here, entry, id.as_str(), &self.owner))
        });
        strangers
    }
}
