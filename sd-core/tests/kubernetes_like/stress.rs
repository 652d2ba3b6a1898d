//! Random runs of several replicas, from a seed: requests, crashes, lagging watches, faults. At the end, all replicas show the
//! same state, and it agrees with the answers.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use sd_core::{
    Attached, CloudMap, Error, ErrorCode, ManualClock, Scope, ScopedCloudMap, State, Timestamp, Timing,
    conformance::BoxFuture,
    model::{Operation, OperationStatus, OperationTargets, RecordType, Service},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
        DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest, DnsConfigInput,
        GetOperationRequest, HealthCheckCustomConfigInput, RegisterInstanceRequest,
        UpdateInstanceCustomHealthStatusRequest,
    },
    response::OperationStarted,
    settings::SeededRandom,
    state::{InstanceEntry, ServiceEntry},
};

use crate::{
    history::{History, Left},
    mirror::Seen,
    objects::{Kind, Phase},
    replica::KubernetesLike,
    witness::{Witness, illegal},
    world::{SeededIds, Watch, Weather, World},
};

const START: u64 = 1_700_000_000_000;

/// The settings of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) replicas: usize,
    /// The percentage of requests to the store that fail.
    pub(crate) faults: u8,
    /// Whether replicas crash and clients give up.
    pub(crate) crashes: bool,
    /// How long operations and reports of health take, in milliseconds.
    pub(crate) delay: u64,
}

struct Replica {
    registry: Arc<KubernetesLike>,
    cloud_map: CloudMap,
    witness: Arc<Witness>,
    _attached: Attached,
    clients: Vec<BoxFuture<'static, ()>>,
}

struct Run {
    plan: Plan,
    world: Arc<World>,
    clock: Arc<ManualClock>,
    history: Arc<Mutex<History>>,
    dice: fastrand::Rng,
    replicas: Vec<Replica>,
    complaints: Vec<String>,
}

pub(crate) fn poll(future: &mut BoxFuture<'static, ()>) -> bool {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

pub(crate) fn finish<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let result = Arc::new(Mutex::new(None));
    let told = Arc::clone(&result);
    let mut future: BoxFuture<'static, ()> = Box::pin(async move {
        let value = future.await;
        *told.lock().unwrap() = Some(value);
    });
    while !poll(&mut future) {}
    let value = result.lock().unwrap().take();
    value.expect("it is done")
}

impl Run {
    fn new(plan: Plan) -> Self {
        let weather = Weather { faults: plan.faults, in_a_row: 100, watch: Watch::Never };
        let mut run = Self {
            plan,
            world: World::new(plan.seed, weather),
            clock: Arc::new(ManualClock::at(Timestamp::from_millis(START))),
            history: Arc::default(),
            dice: fastrand::Rng::with_seed(plan.seed ^ 0x9e37_79b9),
            replicas: Vec::new(),
            complaints: Vec::new(),
        };
        for _ in 0..plan.replicas {
            let mut replica = run.open();
            replica.clients.extend((0..2).map(|_| run.client(&replica.cloud_map, 12)));
            run.replicas.push(replica);
        }
        run
    }

    fn open(&mut self) -> Replica {
        let registry = KubernetesLike::open(&self.world);
        let timing = Timing::instant()
            .with_operation(Duration::from_millis(self.plan.delay))
            .with_custom_health(Duration::from_millis(self.plan.delay));
        let cloud_map = CloudMap::builder(Arc::clone(&registry))
            .clock(Arc::clone(&self.clock))
            .ids(SeededIds::new(self.dice.u64(..)))
            .random(SeededRandom::new(self.dice.u64(..)))
            .timing(timing)
            .build();
        let (witness, attached) = Witness::of(&registry);
        Replica { registry, cloud_map, witness, _attached: attached, clients: Vec::new() }
    }

    fn client(&mut self, cloud_map: &CloudMap, requests: usize) -> BoxFuture<'static, ()> {
        let mut client = Client {
            api: cloud_map.at(Scope::default()),
            cloud_map: cloud_map.clone(),
            history: Arc::clone(&self.history),
            dice: self.dice.fork(),
            is_safe: self.plan.faults == 0,
        };
        Box::pin(async move {
            for _ in 0..requests {
                client.act().await;
            }
        })
    }

    fn step(&mut self) {
        let index = self.dice.usize(..self.replicas.len());
        match self.dice.u16(..1000) {
            0..=599 => {
                let clients = self.replicas[index].clients.len();
                if clients > 0 {
                    let client = self.dice.usize(..clients);
                    if poll(&mut self.replicas[index].clients[client]) {
                        drop(self.replicas[index].clients.swap_remove(client));
                    }
                }
            }
            600..=799 => {
                let kind = Kind::ALL[self.dice.usize(..Kind::ALL.len())];
                let count = self.dice.usize(1..4);
                self.replicas[index].registry.core().follow(kind, count);
            }
            800..=829 => {
                let kind = Kind::ALL[self.dice.usize(..Kind::ALL.len())];
                self.replicas[index].registry.core().relist(kind);
            }
            830..=949 => {
                // A real replica does this in a task of its own.
                self.replicas[index].registry.drive(&mut Context::from_waker(Waker::noop()));
            }
            950..=955 => self.weather(self.plan.faults),
            956..=969 => self.clock.advance(Duration::from_millis(self.dice.u64(1..2000))),
            970..=979 => self.world.store.lock().unwrap().compact(),
            // One collector at a time: otherwise collectors would take all turns.
            980..=989 if self.replicas[index].clients.len() < 3 => {
                let core = Arc::clone(self.replicas[index].registry.core());
                let sweep: BoxFuture<'static, ()> = Box::pin(async move {
                    // The next sweep finds what this one cannot reach.
                    let _ = core.sweep(200).await;
                    let _ = core.settle().await;
                });
                self.replicas[index].clients.push(sweep);
            }
            990..=993 if self.plan.crashes => self.crash(index),
            994..=996 if self.plan.crashes => self.give_up(index),
            // Hardly any request succeeds for a while, so that clients give up.
            997.. if self.plan.faults > 0 => self.weather(95),
            _ => {}
        }
    }

    fn weather(&self, faults: u8) {
        self.world.set_weather(Weather { faults, in_a_row: 100, watch: Watch::Never });
    }

    /// Ends a process at any point, and starts another one in its place.
    fn crash(&mut self, index: usize) {
        let mut replica = self.open();
        let clients = self.replicas[index].clients.len().min(2);
        replica.clients.extend((0..clients).map(|_| self.client(&replica.cloud_map, 4)));
        let crashed = std::mem::replace(&mut self.replicas[index], replica);
        self.complaints.extend(crashed.witness.complaints());
    }

    /// A client drops its request.
    fn give_up(&mut self, index: usize) {
        if self.replicas[index].clients.pop().is_some() {
            let cloud_map = self.replicas[index].cloud_map.clone();
            let client = self.client(&cloud_map, 4);
            self.replicas[index].clients.push(client);
        }
    }

    /// Ends the faults, lets late writes arrive, and brings every replica up to date.
    fn calm(&mut self) {
        self.world.set_weather(Weather { watch: Watch::Never, ..Weather::default() });
        self.world.land_all();
        // Longer than any operation takes.
        self.clock.advance(Duration::from_secs(3600));
        let mut context = Context::from_waker(Waker::noop());
        for round in 0..2 {
            for replica in &self.replicas {
                while replica.registry.drive(&mut context) {}
                let core = Arc::clone(replica.registry.core());
                finish(async move {
                    core.settle().await.unwrap();
                    if round == 0 {
                        core.sweep(0).await.unwrap();
                    }
                });
            }
            for replica in &self.replicas {
                for kind in Kind::ALL {
                    replica.registry.core().follow(kind, usize::MAX);
                }
            }
        }
    }

    fn check(&mut self) -> Vec<String> {
        let mut complaints = std::mem::take(&mut self.complaints);
        let newcomer = self.open();
        let states: Vec<State> = self
            .replicas
            .iter()
            .chain([&newcomer])
            .map(|replica| {
                complaints.extend(replica.witness.complaints());
                replica.cloud_map.state().clone()
            })
            .collect();
        for pair in states.windows(2) {
            for diff in [pair[0].diff(&pair[1]), pair[1].diff(&pair[0])] {
                if !diff.is_empty() {
                    complaints.push(format!("replicas differ by {diff:?}"));
                }
            }
        }
        complaints.extend(states.iter().filter_map(|state| illegal(state, &Scope::default())));
        complaints.extend(self.history.lock().unwrap().impossible(&end(&states[0])));
        self.replicas.push(newcomer);
        complaints.extend(self.start_again().err());
        complaints
    }

    /// Checks that leftover objects block nothing: every entity can be deleted and created again, and nothing else is there then.
    fn start_again(&mut self) -> Result<(), String> {
        let newcomer = self.replicas.last().expect("there is one");
        let (api, cloud_map) = (newcomer.cloud_map.at(Scope::default()), newcomer.cloud_map.clone());
        let (core, clock) = (Arc::clone(newcomer.registry.core()), Arc::clone(&self.clock));
        let again = async move {
            let state = cloud_map.state().clone();
            let here = state.scope(&Scope::default());
            for entry in here.namespaces() {
                for service in here.services_of(entry) {
                    let id = service.service().id.as_str();
                    for instance in service.instances().iter() {
                        let request = DeregisterInstanceRequest::new(id, instance.instance().id.as_str());
                        api.deregister_instance(request).await?;
                    }
                    clock.advance(Duration::from_secs(3600));
                    api.delete_service(DeleteServiceRequest::new(id)).await?;
                }
                api.delete_namespace(DeleteNamespaceRequest::new(entry.namespace().id.as_str())).await?;
            }
            clock.advance(Duration::from_secs(3600));
            for name in NAMES {
                api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).await?;
            }
            api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new(ZONE, "vpc-1")).await?;
            clock.advance(Duration::from_secs(3600));
            for namespace in cloud_map.state().scope(&Scope::default()).namespaces() {
                let request = service_request(
                    "web",
                    namespace.namespace().id.as_str(),
                    namespace.namespace().folds_case(),
                );
                api.create_service(request).await?;
            }
            core.sweep(0).await.expect("the weather is fair");
            Ok::<(), Error>(())
        };
        finish(again).map_err(|error| format!("it cannot be started again: {error:?}"))?;
        let store = self.world.store.lock().unwrap();
        let namespaces = NAMES.len() + 1;
        let expected = [
            (Kind::Namespace, namespaces),
            (Kind::Service, namespaces),
            (Kind::Instance, 0),
            // Each namespace has an `HttpName`, and the name of an HTTP namespace or of a zone.
            (Kind::Claim, 2 * namespaces),
            (Kind::Operation, 0),
            (Kind::Resets, 0),
        ];
        for (kind, count) in expected {
            let found = store.list(kind, "");
            let is_tidy = |object| {
                let spec = Seen::of(object).spec;
                spec.phase == Phase::Active && spec.pending.is_none()
            };
            if found.len() != count || !found.iter().all(is_tidy) {
                return Err(format!("{count} objects of {kind:?} are expected, not {found:#?}"));
            }
        }
        Ok(())
    }
}

const NAMES: [&str; 2] = ["app", "shop"];
const ZONE: &str = "app.local";

pub(crate) fn service_request(name: &str, namespace: &str, has_zone: bool) -> CreateServiceRequest {
    let mut request = CreateServiceRequest::new(name)
        .with_namespace_id(namespace)
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
    request.dns_config = has_zone.then(|| DnsConfigInput::new([(RecordType::A, 60)]));
    request
}

fn service_key(service: &Service) -> String {
    format!("service {} {}", service.namespace_id, service.name)
}

/// The entities of a state, by the keys of the history.
fn end(state: &State) -> BTreeMap<String, String> {
    let here = state.scope(&Scope::default());
    let mut end = BTreeMap::new();
    for entry in here.namespaces() {
        let id = entry.namespace().id.to_string();
        end.insert(format!("namespace {id}"), id);
        for service in here.services_of(entry) {
            let value = service.service();
            end.insert(service_key(value), format!("{:?}", value.incarnation));
            for instance in service.instances().iter().map(InstanceEntry::instance) {
                let version = instance.attributes.get("version").unwrap_or_default().to_owned();
                end.insert(format!("instance {} {}", value.id, instance.id), version);
            }
        }
    }
    end
}

/// Sends requests, one after the other.
struct Client {
    api: ScopedCloudMap,
    cloud_map: CloudMap,
    history: Arc<Mutex<History>>,
    dice: fastrand::Rng,
    /// Whether an error means that nothing was stored.
    is_safe: bool,
}

impl Client {
    async fn act(&mut self) {
        match self.dice.u8(..16) {
            0 | 1 => self.create_namespace().await,
            2 => self.delete_namespace().await,
            3 | 4 => self.create_service().await,
            5 | 6 => self.delete_service().await,
            7..=11 => self.register().await,
            12..=14 => self.deregister().await,
            _ => self.report().await,
        }
    }

    fn choose<T>(&mut self, from: &[T]) -> Option<T>
    where
        T: Clone,
    {
        self.dice.choice(from).cloned()
    }

    fn tick(&self) -> u64 {
        self.history.lock().unwrap().tick()
    }

    /// Called before the answer, which may never come.
    fn open(&self, key: &str, left: Left) -> u64 {
        let from = self.tick();
        self.history.lock().unwrap().opened(key, from, left);
        from
    }

    /// What a write has stored, according to its answer.
    fn close<T>(&self, key: &str, from: u64, left: Left, answer: &Result<T, Error>) {
        let mut history = self.history.lock().unwrap();
        if answer.is_ok() {
            history.done(key, from, left);
        } else if let Err(error) = answer {
            assert_ne!(error.code(), ErrorCode::InternalFailure, "{error:?}");
            assert!(!self.is_safe || error.code() != ErrorCode::ServiceUnavailable, "{error:?}");
        }
    }

    async fn create_namespace(&mut self) {
        let from = self.tick();
        let started = match self.dice.usize(..3) {
            2 => {
                let name = self.choose(&[ZONE, "App.Local"]).unwrap_or(ZONE);
                self.api
                    .create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new(name, "vpc-1"))
                    .await
            }
            name => self.api.create_http_namespace(CreateHttpNamespaceRequest::new(NAMES[name])).await,
        };
        let Ok(started) = started else { return };
        let operation = self.operation(&started);
        if let OperationTargets::Namespace(id) = &operation.targets
            && operation.status == OperationStatus::Success
        {
            let mut history = self.history.lock().unwrap();
            history.done(&format!("namespace {id}"), from, Left::This(id.to_string()));
        }
    }

    /// An operation is found by the id of the answer.
    fn operation(&self, started: &OperationStarted) -> Arc<Operation> {
        let request = GetOperationRequest::new(&started.operation_id);
        self.api.get_operation(&request).expect("an operation that was started")
    }

    fn namespaces(&self) -> Vec<(String, bool)> {
        let state = self.cloud_map.state();
        let namespaces = state.scope(&Scope::default()).namespaces();
        namespaces.map(|entry| (entry.namespace().id.to_string(), entry.namespace().folds_case())).collect()
    }

    /// Their ids, keys and incarnations.
    fn services(&self) -> Vec<(String, String, String)> {
        let state = self.cloud_map.state();
        let here = state.scope(&Scope::default());
        let services = here.namespaces().flat_map(|entry| here.services_of(entry)).map(ServiceEntry::service);
        services
            .map(|service| {
                (service.id.to_string(), service_key(service), format!("{:?}", service.incarnation))
            })
            .collect()
    }

    async fn delete_namespace(&mut self) {
        let Some((id, _)) = self.choose(&self.namespaces()) else { return };
        let key = format!("namespace {id}");
        let from = self.tick();
        self.history.lock().unwrap().seen(&key, from, &id);
        let from = self.open(&key, Left::Nothing);
        let answer = self.api.delete_namespace(DeleteNamespaceRequest::new(id)).await;
        self.close(&key, from, Left::Nothing, &answer);
    }

    async fn create_service(&mut self) {
        let Some((namespace, has_zone)) = self.choose(&self.namespaces()) else { return };
        let name = self.choose(&["web", "api"]).unwrap_or("web");
        let key = format!("service {namespace} {name}");
        let from = self.open(&key, Left::Something);
        let answer = self.api.create_service(service_request(name, &namespace, has_zone)).await;
        let created = answer.as_ref().map(|created| format!("{:?}", created.service.incarnation));
        self.close(&key, from, created.map_or(Left::Something, Left::This), &answer);
    }

    async fn delete_service(&mut self) {
        let Some((id, key, incarnation)) = self.choose(&self.services()) else { return };
        let from = self.tick();
        self.history.lock().unwrap().seen(&key, from, &incarnation);
        let from = self.open(&key, Left::Nothing);
        let answer = self.api.delete_service(DeleteServiceRequest::new(id)).await;
        self.close(&key, from, Left::Nothing, &answer);
    }

    async fn register(&mut self) {
        let Some((service, ..)) = self.choose(&self.services()) else { return };
        let id = self.choose(&["i-1", "i-2", "i-3"]).unwrap_or("i-1");
        let key = format!("instance {service} {id}");
        let version = format!("{}", self.tick());
        let left = Left::This(version.clone());
        let from = self.open(&key, left.clone());
        let request = RegisterInstanceRequest::new(service, id)
            .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
            .with_attribute("version", version);
        let answer = self.api.register_instance(request).await;
        if let Ok(started) = &answer {
            self.operation(started);
        }
        self.close(&key, from, left, &answer);
    }

    fn instances(&self) -> Vec<(String, String)> {
        let state = self.cloud_map.state();
        let here = state.scope(&Scope::default());
        let services = here.namespaces().flat_map(|entry| here.services_of(entry));
        let instances = services.flat_map(|entry| {
            let instances = entry.instances().iter();
            instances.map(|found| (entry.service().id.to_string(), found.instance().id.to_string()))
        });
        instances.collect()
    }

    async fn deregister(&mut self) {
        let Some((service, id)) = self.choose(&self.instances()) else { return };
        let key = format!("instance {service} {id}");
        let from = self.open(&key, Left::Nothing);
        let answer = self.api.deregister_instance(DeregisterInstanceRequest::new(service, id)).await;
        if let Ok(started) = &answer {
            self.operation(started);
        }
        self.close(&key, from, Left::Nothing, &answer);
    }

    async fn report(&mut self) {
        let Some((service, id)) = self.choose(&self.instances()) else { return };
        let status = self.choose(&["HEALTHY", "UNHEALTHY"]).unwrap_or("HEALTHY");
        let request = UpdateInstanceCustomHealthStatusRequest::new(service, id, status);
        // The only requirement: all replicas agree at the end.
        let _ = self.api.update_instance_custom_health_status(request).await;
    }
}

/// Prints the plan if a run panics.
struct Named(Plan);

impl Drop for Named {
    #[allow(clippy::print_stderr, reason = "whoever reads the panic needs the seed")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {:?}", self.0);
        }
    }
}

/// Runs a plan. Returns the complaints, and the number of acknowledged writes.
pub(crate) fn run(plan: Plan) -> usize {
    let _named = Named(plan);
    let mut run = Run::new(plan);
    let mut steps = 0;
    while steps < 200_000 && run.replicas.iter().any(|replica| !replica.clients.is_empty()) {
        run.step();
        steps += 1;
    }
    assert!(run.replicas.iter().all(|replica| replica.clients.is_empty()), "it does not come to an end");
    run.calm();
    let complaints = run.check();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let history = run.history.lock().unwrap();
    history.acknowledged
}

/// `SD_SEEDS` sets the number of seeds. The default takes a few seconds.
fn seeds() -> u64 {
    std::env::var("SD_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(30)
}

fn run_all(plan: impl Fn(u64) -> Plan) {
    let acknowledged: usize = (0..seeds()).map(|seed| run(plan(seed))).sum();
    assert!(acknowledged as u64 > 5 * seeds(), "hardly anything was done: {acknowledged}");
}

fn fair(seed: u64) -> Plan {
    Plan { seed, replicas: 2 + (seed % 3) as usize, faults: 0, crashes: false, delay: 0 }
}

#[test]
fn replicas_whose_watches_lag_agree() {
    run_all(fair);
}

#[test]
fn replicas_that_crash_leave_nothing_behind() {
    run_all(|seed| Plan { crashes: true, ..fair(seed) });
}

#[test]
fn requests_without_an_answer_are_done_or_not() {
    run_all(|seed| Plan { faults: 20, ..fair(seed) });
}

#[test]
fn everything_at_once() {
    run_all(|seed| Plan { faults: 15, crashes: true, ..fair(seed) });
}

#[test]
fn everything_at_once_and_operations_that_take_their_time() {
    run_all(|seed| Plan { faults: 15, crashes: true, delay: 300, ..fair(seed) });
}
