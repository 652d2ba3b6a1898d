//! The cost of ECS's discovery for 10,000 tasks in 100 services, with the name table of DNS.
//!
//! In each round, a bare RegisterInstance of the typed API and the events of a task take turns in one registry, so that other
//! work of the machine affects both. Figures are medians of the rounds.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    ChangeSet, CloudMap, CommitError, Registry, Scope, ScopedCloudMap, StateCell,
    ecs::{
        Container, ContainerDefinition, EcsDiscovery, NetworkMode, ServiceRegistry, Task, TaskDefinition,
        TaskStatus, instance_of,
    },
    model::{HealthStatus, RecordType},
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DeregisterInstanceRequest, DnsConfigInput,
        HealthCheckCustomConfigInput, RegisterInstanceRequest,
    },
};
use sd_dns::NameTable;

const SERVICES: usize = 100;
const TASKS: usize = 10_000;
/// Tasks that come and go in a round.
const EVENTS: usize = 1000;

/// Memory that counts commits.
#[derive(Debug, Default)]
struct Counted {
    memory: MemoryRegistry,
    commits: AtomicUsize,
}

#[async_trait]
impl Registry for Counted {
    fn cell(&self) -> &StateCell {
        self.memory.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.memory.commit(changes).await
    }
}

struct Bench {
    registry: Arc<Counted>,
    handle: CloudMap,
    cloud_map: ScopedCloudMap,
    discovery: EcsDiscovery,
    registries: Vec<ServiceRegistry>,
    definition: Arc<TaskDefinition>,
    moment: u64,
}

#[derive(Default)]
struct Figures {
    bare: Vec<f64>,
    started: Vec<f64>,
    healthy: Vec<f64>,
    stopped: Vec<f64>,
    doubled: Vec<f64>,
    listing: Vec<f64>,
    listing_copies: Vec<f64>,
    listing_anew: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(9), |rounds| rounds.parse::<usize>())?;
    tokio::runtime::Builder::new_current_thread().build()?.block_on(run(rounds))
}

async fn run(rounds: usize) -> Result<(), Box<dyn Error>> {
    let registry = Arc::new(Counted::default());
    let handle = CloudMap::new(Arc::clone(&registry));
    let _attached = handle.cell().attach(Arc::new(NameTable::new()));
    let mut bench = Bench::new(registry, handle).await?;
    let all: Vec<_> = (0..TASKS).map(|number| Arc::new(bench.task(number, TaskStatus::Running))).collect();
    let moment = bench.next();
    let listed = bench.discovery.listed(moment, all.iter().cloned()).await;
    assert_eq!(listed.changed.len(), TASKS);
    let mut figures = Figures::default();
    for round in 0..rounds {
        bench.round(round, &all, &mut figures).await?;
    }
    figures.print(rounds);
    Ok(())
}

impl Bench {
    async fn new(registry: Arc<Counted>, handle: CloudMap) -> Result<Self, Box<dyn Error>> {
        let cloud_map = handle.at(Scope::default());
        let app = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        let app = cloud_map.create_private_dns_namespace(app).await?;
        let mut registries = Vec::new();
        for number in 0..SERVICES {
            let service = CreateServiceRequest::new(format!("web-{number}"))
                .with_namespace_id(&app.namespace_id)
                .with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]))
                .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
            let service = cloud_map.create_service(service).await?;
            registries.push(ServiceRegistry::new(service.service.arn().as_str()));
        }
        let web = ContainerDefinition::new("web").with_health_check();
        let definition = Arc::new(TaskDefinition::new("web", NetworkMode::Awsvpc, [web]));
        let discovery = EcsDiscovery::new(cloud_map.clone());
        Ok(Self { registry, handle, cloud_map, discovery, registries, definition, moment: 0 })
    }

    fn next(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    fn task(&self, number: usize, status: TaskStatus) -> Task {
        let mut task = Task::new(format!("{number:032x}"), "default", "web", Arc::clone(&self.definition));
        task.registries = vec![self.registries[number % SERVICES].clone()];
        let [high, middle, low] = [16, 8, 0].map(|shift| u8::try_from(number >> shift & 0xff).unwrap_or(0));
        task.ipv4 = Some([10, high, middle, low].into());
        task.last_status = status;
        task
    }

    fn commits(&self) -> usize {
        self.registry.commits.swap(0, Ordering::Relaxed)
    }

    async fn round(
        &mut self,
        round: usize,
        all: &[Arc<Task>],
        figures: &mut Figures,
    ) -> Result<(), Box<dyn Error>> {
        // Each round has new tasks, beyond those that run all the time.
        let first = TASKS + round * 2 * EVENTS;
        let healthy = |mut task: Task| {
            task.containers = vec![Container::new("web", HealthStatus::Healthy)];
            task
        };
        self.commits();

        // The same attributes as those of a task.
        let (mut requests, mut registered) = (Vec::new(), Vec::new());
        for number in first..first + EVENTS {
            let task = self.task(number, TaskStatus::Activating);
            let state = self.handle.state();
            let instance = instance_of(&task, &task.registries[0], (&state, self.cloud_map.scope()))?;
            let service = task.registries[0].registry_arn.clone();
            registered.push(DeregisterInstanceRequest::new(service.as_str(), instance.id.as_str()));
            requests.push(
                RegisterInstanceRequest::new(service, instance.id).with_attributes(instance.attributes),
            );
        }
        let begun = Instant::now();
        for request in requests {
            self.cloud_map.register_instance(request).await?;
        }
        figures.bare.push(micros(begun.elapsed(), EVENTS));
        assert_eq!(self.commits(), EVENTS);
        // Only the tasks that run all the time are left when they are listed.
        for request in registered {
            self.cloud_map.deregister_instance(request).await?;
        }
        self.commits();

        let numbers = first + EVENTS..first + 2 * EVENTS;
        let events = |status| numbers.clone().map(|number| self.task(number, status)).collect::<Vec<_>>();
        let (started, running, stopped) =
            (events(TaskStatus::Activating), events(TaskStatus::Running), events(TaskStatus::Deactivating));
        figures.started.push(self.told(started, EVENTS).await);
        let running: Vec<_> = running.into_iter().map(healthy).collect();
        figures.healthy.push(self.told(running.clone(), EVENTS).await);
        figures.doubled.push(self.told(running, 0).await);
        figures.stopped.push(self.told(stopped, EVENTS).await);

        // A host that keeps its tasks shared, and one that makes them anew.
        let moment = self.next();
        figures.listing.push(self.listed(moment, all.iter().cloned()).await);
        let copies: Vec<Task> = all.iter().map(|task| (**task).clone()).collect();
        let moment = self.next();
        figures.listing_copies.push(self.listed(moment, copies).await);

        // As after a crash of the host: nothing is known but what is registered.
        let anew = EcsDiscovery::new(self.cloud_map.clone());
        let begun = Instant::now();
        let listed = anew.listed(moment, all.iter().cloned()).await;
        figures.listing_anew.push(micros(begun.elapsed(), 1) / 1000.0);
        assert_eq!((listed.changed.len(), listed.orphans), (TASKS, 0));
        assert_eq!(self.commits(), 0);
        Ok(())
    }

    /// Lists tasks that have not changed. Returns the time in milliseconds.
    async fn listed(&self, moment: u64, tasks: impl IntoIterator<Item = impl Into<Arc<Task>>>) -> f64 {
        let begun = Instant::now();
        let listed = self.discovery.listed(moment, tasks).await;
        let time = begun.elapsed();
        assert!(listed.changed.is_empty(), "{}", listed.changed.len());
        assert_eq!(self.commits(), 0);
        micros(time, 1) / 1000.0
    }

    /// Reports changes, each of which is to cost a commit or none. Returns the time of one in microseconds.
    async fn told(&mut self, tasks: Vec<Task>, commits: usize) -> f64 {
        let (first, count) = (self.moment, tasks.len());
        self.moment += count as u64;
        let begun = Instant::now();
        for (moment, task) in (first + 1..).zip(tasks) {
            self.discovery.changed(moment, task).await;
        }
        let time = begun.elapsed();
        assert_eq!(self.commits(), commits);
        micros(time, count)
    }
}

impl Figures {
    fn print(mut self, rounds: usize) {
        println!("{rounds} rounds; {TASKS} tasks in {SERVICES} services; medians");
        let bare = median(&mut self.bare);
        println!("bare RegisterInstance           {bare:8.2} µs");
        for (name, figures) in [
            ("a task starts", &mut self.started),
            ("a container becomes healthy", &mut self.healthy),
            ("the same change again", &mut self.doubled),
            ("a task stops", &mut self.stopped),
        ] {
            let time = median(figures);
            println!("{name:31} {time:8.2} µs   {:.2} times the bare one", time / bare);
        }
        println!("a listing without a change      {:8.2} ms   0 commits", median(&mut self.listing));
        println!("the same of copies              {:8.2} ms   0 commits", median(&mut self.listing_copies));
        println!("the same after a restart        {:8.2} ms   0 commits", median(&mut self.listing_anew));
    }
}

fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
