//! All that exists, in memory. Everything is found by its ARN, which contains the account and the Region.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::Ipv4Addr,
    sync::Arc,
};

use sd_core::Scope;
use serde_json::{Value, json};

use super::{
    model::{Cluster, Service, ServiceStatus, Status, Task},
    refusal::Refusal,
    task_definitions::TaskDefinition,
};

/// How many stopped tasks and deleted services are remembered.
const REMEMBERED: usize = 1000;
const DEFAULT_CLUSTER: &str = "default";

#[derive(Debug)]
pub(super) struct State {
    pub(super) clusters: BTreeMap<String, Cluster>,
    /// The revisions of each family, whose key is the ARN without a revision.
    pub(super) families: BTreeMap<String, Vec<Revision>>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) addresses: Addresses,
    /// The ARNs of stopped tasks and of deleted services, the oldest first.
    stopped: VecDeque<String>,
    deleted: VecDeque<String>,
    moment: u64,
    /// The tasks of each service, by ARN.
    by_service: BTreeMap<String, BTreeSet<String>>,
    /// The services that may not be as desired: they, or their tasks, have changed.
    pub(super) touched: BTreeSet<String>,
}

/// A revision of a task definition.
#[derive(Debug)]
pub(super) struct Revision {
    pub(super) definition: Arc<TaskDefinition>,
    pub(super) deregistered_at: Option<f64>,
}

/// The ARN of something in an account and Region.
pub(super) fn arn(scope: &Scope, kind: &str, name: &str) -> String {
    format!("arn:aws:ecs:{}:{}:{kind}/{name}", scope.region(), scope.account())
}

/// The last part of an ARN, or all of a name.
pub(super) fn last_part(name_or_arn: &str) -> &str {
    name_or_arn.rsplit('/').next().unwrap_or_default()
}

/// The ARN that a request means by an ARN or a name. An ARN of another account, Region or cluster means nothing that exists
/// here, so it is an error.
fn meant(prefix: &str, name_or_arn: &str) -> Option<String> {
    if name_or_arn.starts_with("arn:") {
        return name_or_arn.starts_with(prefix).then(|| name_or_arn.to_owned());
    }
    Some(format!("{prefix}{name_or_arn}"))
}

impl State {
    /// Nothing, with so many addresses for tasks.
    pub(super) fn new(addresses: u16) -> Self {
        Self {
            clusters: BTreeMap::new(),
            families: BTreeMap::new(),
            services: BTreeMap::new(),
            tasks: BTreeMap::new(),
            addresses: Addresses::new(addresses),
            stopped: VecDeque::new(),
            deleted: VecDeque::new(),
            moment: 0,
            by_service: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// The cluster of a request, by name or ARN; without either, the default one.
    pub(super) fn cluster(&mut self, scope: &Scope, given: Option<&str>) -> Result<&Cluster, Refusal> {
        self.create_default_cluster(scope);
        let arn = meant(&arn(scope, "cluster", ""), given.unwrap_or(DEFAULT_CLUSTER));
        let cluster = arn.and_then(|arn| self.clusters.get(&arn)).filter(|cluster| cluster.is_active);
        cluster.ok_or_else(|| Refusal::new("ClusterNotFoundException", "Cluster not found."))
    }

    /// The name of the cluster of a request.
    pub(super) fn cluster_name(&mut self, scope: &Scope, given: Option<&str>) -> Result<String, Refusal> {
        Ok(self.cluster(scope, given)?.name.clone())
    }

    /// Creates the cluster that each account has in each Region from the start.
    pub(super) fn create_default_cluster(&mut self, scope: &Scope) {
        let arn = arn(scope, "cluster", DEFAULT_CLUSTER);
        self.clusters.entry(arn).or_insert_with_key(|arn| Cluster {
            arn: arn.clone(),
            name: DEFAULT_CLUSTER.to_owned(),
            is_active: true,
            tags: json!([]),
            settings: Value::Null,
        });
    }

    /// The service of a request, by name or ARN; also a deleted one that is remembered.
    pub(super) fn service(&self, scope: &Scope, cluster: &str, given: &str) -> Result<&Service, Refusal> {
        let arn = meant(&arn(scope, "service", &format!("{cluster}/")), given);
        let service = arn.and_then(|arn| self.services.get(&arn));
        service.ok_or_else(|| Refusal::new("ServiceNotFoundException", "Service not found."))
    }

    /// The task of a request, by id or ARN; also a stopped one that is remembered.
    pub(super) fn task(&self, scope: &Scope, cluster: &str, given: &str) -> Option<&Task> {
        self.tasks.get(&meant(&arn(scope, "task", &format!("{cluster}/")), given)?)
    }

    /// The revision of a request, by ARN, `FAMILY:REVISION` or `FAMILY`, which means the newest active one.
    pub(super) fn revision(&mut self, scope: &Scope, given: &str) -> Option<&mut Revision> {
        let arn = meant(&arn(scope, "task-definition", ""), given)?;
        let numbered = arn.rsplit_once(':').filter(|_| !self.families.contains_key(&arn));
        let revisions = self.families.get_mut(numbered.map_or(arn.as_str(), |(family, _)| family))?;
        revisions.iter_mut().rev().find(|revision| match numbered {
            Some(_) => revision.definition.arn == arn,
            None => revision.deregistered_at.is_none(),
        })
    }

    /// The active revision of a request to run tasks of.
    pub(super) fn definition(&mut self, scope: &Scope, given: &str) -> Result<Arc<TaskDefinition>, Refusal> {
        let revision = self.revision(scope, given);
        let revision = revision.ok_or_else(|| Refusal::client("TaskDefinition not found."))?;
        if revision.deregistered_at.is_some() {
            return Err(Refusal::client("TaskDefinition is inactive"));
        }
        Ok(Arc::clone(&revision.definition))
    }

    /// The tasks of a cluster.
    pub(super) fn tasks_of<'a>(
        &'a self,
        scope: &Scope,
        cluster: &str,
    ) -> impl Iterator<Item = &'a Task> + use<'a> {
        within(&self.tasks, arn(scope, "task", &format!("{cluster}/")))
    }

    /// The tasks of a service, by its ARN.
    pub(super) fn tasks_of_service<'a>(&'a self, arn: &str) -> impl Iterator<Item = &'a Task> + use<'a> {
        let arns = self.by_service.get(arn).into_iter().flatten();
        arns.filter_map(|arn| self.tasks.get(arn))
    }

    /// The services of a cluster.
    pub(super) fn services_of<'a>(
        &'a self,
        scope: &Scope,
        cluster: &str,
    ) -> impl Iterator<Item = &'a Service> + use<'a> {
        within(&self.services, arn(scope, "service", &format!("{cluster}/")))
    }

    /// Changes a task, if it exists. A stopped one gives its address back, and is forgotten when enough others have stopped.
    pub(super) fn change_task(&mut self, arn: &str, change: impl FnOnce(&mut Task)) {
        let Some(task) = self.tasks.get_mut(arn) else { return };
        self.moment += 1;
        task.moment = self.moment;
        let before = task.status;
        change(task);
        self.touched.extend(task.service_arn());
        if before != Status::Stopped && task.status == Status::Stopped {
            self.addresses.free(task.address);
            if let Some(oldest) = remember(&mut self.stopped, arn) {
                self.forget_task(&oldest);
            }
        }
    }

    /// The number of the newest change of a task.
    pub(super) fn moment(&self) -> u64 {
        self.moment
    }

    /// Adds a task, as a change.
    pub(super) fn add_task(&mut self, mut task: Task) {
        self.moment += 1;
        task.moment = self.moment;
        if let Some(service) = task.service_arn() {
            self.by_service.entry(service).or_default().insert(task.arn.clone());
        }
        self.tasks.insert(task.arn.clone(), task);
    }

    fn forget_task(&mut self, arn: &str) {
        let Some(service) = self.tasks.remove(arn).and_then(|task| task.service_arn()) else { return };
        if let Some(tasks) = self.by_service.get_mut(&service) {
            tasks.remove(arn);
            if tasks.is_empty() {
                self.by_service.remove(&service);
            }
        }
    }

    /// Notes that the last task of a deleted service has ended.
    pub(super) fn service_ended(&mut self, arn: &str) {
        let Some(service) = self.services.get_mut(arn) else { return };
        service.status = ServiceStatus::Inactive;
        self.deleted.retain(|other| other != arn);
        if let Some(oldest) = remember(&mut self.deleted, arn)
            && self.services.get(&oldest).is_some_and(|service| service.status == ServiceStatus::Inactive)
        {
            self.services.remove(&oldest);
        }
    }
}

/// The values whose keys begin with this.
fn within<T>(map: &BTreeMap<String, T>, prefix: String) -> impl Iterator<Item = &T> {
    map.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix)).map(|(_, value)| value)
}

/// Adds an ARN, and returns the oldest one if there are too many.
fn remember(remembered: &mut VecDeque<String>, arn: &str) -> Option<String> {
    remembered.push_back(arn.to_owned());
    if remembered.len() > REMEMBERED { remembered.pop_front() } else { None }
}

/// The addresses of tasks, from 127.42.0.1 on: each is the address of this machine.
#[derive(Debug)]
pub(super) struct Addresses {
    taken: BTreeSet<u16>,
    /// The one that was taken last.
    last: u16,
    greatest: u16,
}

impl Addresses {
    const FIRST: u16 = 1;

    fn new(count: u16) -> Self {
        Self { taken: BTreeSet::new(), last: 0, greatest: count }
    }

    /// An address that no task has. It goes round, so that the address of a stopped task is not soon that of another.
    pub(super) fn take(&mut self) -> Option<Ipv4Addr> {
        let later = self.last.saturating_add(1)..=self.greatest;
        let host = later.chain(Self::FIRST..=self.last).find(|host| !self.taken.contains(host))?;
        self.taken.insert(host);
        self.last = host;
        let [high, low] = host.to_be_bytes();
        Some(Ipv4Addr::new(127, 42, high, low))
    }

    fn free(&mut self, address: Ipv4Addr) {
        let [_, _, high, low] = address.octets();
        self.taken.remove(&u16::from_be_bytes([high, low]));
    }
}
