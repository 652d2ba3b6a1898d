//! The cell under everything at once: several threads write, time passes, observers come and go, others wait, read and fork.
//!
//! What each thread does follows from a seed; how they interleave does not. The promises hold in whichever order.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use common::{custom_check, map};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Change, Clock, Error, ManualClock, Observer, Scope, State, StateCell, SyncCloudMap, Timestamp, Timing,
    model::{Health, Instance, InstanceId, Namespace, OperationId, OperationStatus, Revision, Service},
    request::{
        CreateHttpNamespaceRequest, CreateServiceRequest, DeleteServiceRequest, DeregisterInstanceRequest,
        GetOperationRequest, RegisterInstanceRequest, UpdateInstanceCustomHealthStatusRequest,
    },
    settings::{RandomSource, SeededRandom, SequentialIds},
};

/// A copy of all scopes, made from what an observer is told.
#[derive(Clone, Debug, Default, PartialEq)]
struct Copy {
    namespaces: BTreeMap<(Scope, String), Arc<Namespace>>,
    services: BTreeMap<(Scope, String), Arc<Service>>,
    instances: BTreeMap<(Scope, String, String), (Arc<Instance>, Health)>,
}

impl Copy {
    fn of(state: &State) -> Self {
        let mut copy = Self::default();
        for (scope, here) in state.scopes() {
            for entry in here.namespaces() {
                copy.put(scope, &Change::PutNamespace(Arc::clone(entry.namespace())));
                for service in here.services_of(entry) {
                    copy.put(scope, &Change::PutService(Arc::clone(service.service())));
                    for entry in service.instances().iter() {
                        let (service, instance) =
                            (service.service().id.clone(), Arc::clone(entry.instance()));
                        copy.put(scope, &Change::PutInstance { service, instance, health: entry.health() });
                    }
                }
            }
        }
        copy
    }

    fn put(&mut self, scope: &Scope, change: &Change) {
        let named = |id: &dyn ToString| (scope.clone(), id.to_string());
        let instance = |service: &dyn ToString, id: &InstanceId| {
            (scope.clone(), service.to_string(), id.as_str().to_owned())
        };
        match change {
            Change::PutNamespace(namespace) => {
                drop(self.namespaces.insert(named(&namespace.id), Arc::clone(namespace)));
            }
            Change::DeleteNamespace(id) => drop(self.namespaces.remove(&named(id))),
            Change::PutService(service) => {
                drop(self.services.insert(named(&service.id), Arc::clone(service)));
            }
            Change::DeleteService(id) => drop(self.services.remove(&named(id))),
            Change::PutInstance { service, instance: put, health } => {
                self.instances.insert(instance(service, &put.id), (Arc::clone(put), *health));
            }
            Change::DeleteInstance { service, id } => drop(self.instances.remove(&instance(service, id))),
            Change::PutHealth { service, id, health } => {
                if let Some(found) = self.instances.get_mut(&instance(service, id)) {
                    found.1 = *health;
                }
            }
            Change::BeginOperation(_) | Change::EndOperation(_) => {}
        }
    }

    fn only(&self, scope: &Scope) -> Self {
        let mut copy = self.clone();
        copy.namespaces.retain(|(of, _), _| of == scope);
        copy.services.retain(|(of, _), _| of == scope);
        copy.instances.retain(|(of, ..), _| of == scope);
        copy
    }
}

/// Follows the state, and writes down what it was not promised. A panic would be caught by the cell.
#[derive(Default)]
struct Follower {
    seen: Mutex<Seen>,
    detached: AtomicBool,
    /// Panics at every so manieth change.
    panics: Option<u64>,
}

#[derive(Default)]
struct Seen {
    rebuilt: u64,
    changed: u64,
    panicked: u64,
    /// The states before and after of what it was told last, and the scopes that it was told them for.
    last: Option<(Revision, Revision, BTreeSet<Scope>)>,
    copy: Copy,
    registered_by: Vec<OperationId>,
    broken: Vec<String>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Follower")
    }
}

impl Observer for Follower {
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]) {
        let mut guard = self.seen.lock().unwrap();
        let seen = &mut *guard;
        let (from, to) = (old.revision(), new.revision());
        if self.detached.load(Ordering::SeqCst) {
            seen.broken.push(format!("told {to:?} after it was detached"));
        }
        match &mut seen.last {
            // Time passes for several scopes at once, and each is told by itself.
            Some((last_from, last_to, scopes)) if (*last_from, *last_to) == (from, to) => {
                if !scopes.insert(scope.clone()) {
                    seen.broken.push(format!("told {to:?} of {scope} twice"));
                }
            }
            Some((_, last, _)) if *last == from && to > from => {
                seen.last = Some((from, to, [scope.clone()].into()));
            }
            last => seen.broken.push(format!("told {from:?} to {to:?} after {last:?}")),
        }
        for change in changes {
            if let Change::PutInstance { instance, .. } = change {
                seen.registered_by.push(instance.registered_by.clone());
            }
            seen.copy.put(scope, change);
        }
        if seen.copy.only(scope) != Copy::of(new).only(scope) {
            seen.broken.push(format!("what it was told does not lead to {to:?}: {changes:?}"));
        }
        seen.changed += 1;
        let panics = self.panics.is_some_and(|n| seen.changed.is_multiple_of(n));
        seen.panicked += u64::from(panics);
        drop(guard);
        assert!(!panics, "as asked");
    }

    fn rebuild(&self, new: &State) {
        let mut seen = self.seen.lock().unwrap();
        let (before, now) = (seen.last.as_ref().map(|(_, last, _)| *last), new.revision());
        if before.is_some_and(|before| before != now) {
            seen.broken.push(format!("rebuilt at {now:?} after {before:?}"));
        }
        if before.is_none() {
            seen.last = Some((now, now, BTreeSet::new()));
        }
        seen.copy = Copy::of(new);
        seen.rebuilt += 1;
    }
}

impl Follower {
    fn last(&self) -> Revision {
        self.seen.lock().unwrap().last.as_ref().unwrap().1
    }

    fn assert_unbroken(&self) {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.broken, Vec::<String>::new());
        assert_eq!(seen.rebuilt, 1 + seen.panicked, "once when attached, and after each panic");
    }
}

/// Wakes a thread.
struct Alarm(Thread);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What all threads of a run share.
struct Stage {
    cloud_map: SyncCloudMap,
    clock: Arc<ManualClock>,
    scopes: [Scope; 2],
    /// The operations whose ids somebody was told.
    started: Mutex<Vec<(Scope, OperationId)>>,
    done: AtomicBool,
}

const ROUNDS: u64 = 600;
const SERVICES: u64 = 3;
const INSTANCES: u64 = 4;

impl Stage {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let timing = Timing::instant()
            .with_operation(Duration::from_millis(5))
            .with_custom_health(Duration::from_millis(9));
        let cloud_map = SyncCloudMap::builder(MemoryRegistry::new())
            .clock(Arc::clone(&clock))
            .ids(SequentialIds::default())
            .timing(timing)
            .build_sync();
        let scopes = ["us-east-1", "eu-west-1"].map(|region| Scope::parse("123456789012", region).unwrap());
        let stage =
            Self { cloud_map, clock, scopes, started: Mutex::default(), done: AtomicBool::new(false) };
        for scope in &stage.scopes {
            let request = CreateHttpNamespaceRequest::new("app");
            let created = stage.cloud_map.at(scope.clone()).create_http_namespace(request).unwrap();
            stage.note(scope, created.operation_id);
        }
        stage.pass(5);
        stage
    }

    fn cell(&self) -> &StateCell {
        self.cloud_map.cloud_map().cell()
    }

    fn note(&self, scope: &Scope, id: OperationId) {
        self.started.lock().unwrap().push((scope.clone(), id));
    }

    fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
        self.cell().advance(self.clock.now());
    }

    /// Creates, fills, reports, empties and deletes few services. That others were faster is no fault.
    fn write(&self, random: &SeededRandom) {
        for _ in 0..ROUNDS {
            let n = random.next_u64();
            if (n >> 40).is_multiple_of(4) {
                self.pass(2);
            }
            let scope = &self.scopes[(n % 2) as usize];
            let api = self.cloud_map.at(scope.clone());
            let state = self.cell().load();
            let here = state.scope(scope);
            let namespace = here.namespaces().next().unwrap();
            let name = format!("s{}", (n >> 8) % SERVICES);
            let Some(service) = here.service_by_name(namespace, &name) else {
                let request = CreateServiceRequest::new(name)
                    .with_namespace_id(namespace.namespace().id.as_str())
                    .with_health_check_custom_config(custom_check());
                expected(api.create_service(request));
                continue;
            };
            let (service, id) = (service.service().id.as_str(), format!("i{}", (n >> 16) % INSTANCES));
            let started = match (n >> 24) % 8 {
                0..4 => {
                    let attributes = map(&[("n", &n.to_string())]);
                    let request = RegisterInstanceRequest::new(service, id).with_attributes(attributes);
                    expected(api.register_instance(request))
                }
                4..6 => expected(api.deregister_instance(DeregisterInstanceRequest::new(service, id))),
                6 => {
                    let status = if n >> 32 & 1 == 0 { "HEALTHY" } else { "UNHEALTHY" };
                    let request = UpdateInstanceCustomHealthStatusRequest::new(service, id, status);
                    expected(api.update_instance_custom_health_status(request));
                    None
                }
                _ => {
                    expected(api.delete_service(DeleteServiceRequest::new(service)));
                    None
                }
            };
            if let Some(started) = started {
                self.note(scope, started.operation_id);
            }
        }
    }

    /// Attaches observers for a while each.
    fn follow(&self, random: &SeededRandom) {
        while !self.done.load(Ordering::SeqCst) {
            let n = random.next_u64();
            let follower =
                Arc::new(Follower { panics: n.is_multiple_of(4).then_some(3), ..Follower::default() });
            let before = self.cell().load().revision();
            let attached = self.cell().attach(follower.clone());
            assert!(follower.last() >= before, "it starts from the state at least as new");
            for _ in 0..(n >> 8) % 20 {
                thread::yield_now();
            }
            let before = self.cell().load().revision();
            drop(attached);
            follower.detached.store(true, Ordering::SeqCst);
            assert!(follower.last() >= before, "it was told all there was before it went");
            assert_eq!(Arc::strong_count(&follower), 1, "and is let go of");
            follower.assert_unbroken();
        }
    }

    /// Waits until it has seen the last state, now and then by a subscription of its own.
    fn wait(&self, random: &SeededRandom, last: &str) {
        let waker = Waker::from(Arc::new(Alarm(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut subscription = self.cell().subscribe();
        let mut seen = self.cell().load().revision();
        let is_last = |state: &State| {
            state.scope(&self.scopes[0]).namespaces().any(|found| found.namespace().name.as_str() == last)
        };
        loop {
            if random.next_u64().is_multiple_of(8) {
                subscription = self.cell().subscribe();
                let state = self.cell().load();
                if is_last(&state) {
                    return;
                }
                seen = state.revision();
            }
            match subscription.poll_changed(&mut context) {
                Poll::Ready(state) if is_last(&state) => return,
                Poll::Ready(state) => {
                    assert!(state.revision() >= seen, "it never goes back");
                    seen = state.revision();
                }
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Reads what there is, and asks for operations by their ids.
    fn read(&self, random: &SeededRandom) {
        let mut last = self.cell().load().revision();
        while !self.done.load(Ordering::SeqCst) {
            let state = self.cell().load();
            assert!(state.revision() >= last, "a reader never goes back");
            last = state.revision();
            let started = self.started.lock().unwrap();
            let (scope, id) = started[random.next_u64() as usize % started.len()].clone();
            drop(started);
            let found = self.cloud_map.at(scope).get_operation(GetOperationRequest::new(id.as_str()));
            assert!(found.is_ok(), "an operation is under way or in the log: {found:?}");
        }
    }

    /// Forks, and brings the fork to the end of what is under way.
    fn fork(&self) {
        while !self.done.load(Ordering::SeqCst) {
            let started = self.started.lock().unwrap().clone();
            let before = self.cell().load().revision();
            let registry = MemoryRegistry::fork(self.cell());
            let clock = Arc::new(ManualClock::at(Timestamp::default()));
            let fork = SyncCloudMap::builder(registry).clock(Arc::clone(&clock)).build_sync();
            let cell = fork.cloud_map().cell();
            assert!(cell.load().revision() >= before);
            let status = |scope: &Scope, id: &OperationId| {
                fork.at(scope.clone()).get_operation(GetOperationRequest::new(id.as_str())).unwrap().status
            };
            // Those of late are the ones that may be under way.
            let late: Vec<_> = started.iter().rev().take(40).collect();
            for (scope, id) in &late {
                // Its state and its log are of one moment.
                let ended = status(scope, id) == OperationStatus::Success;
                assert_eq!(cell.operations().get(id.as_str()).is_some(), ended, "{id}");
            }
            clock.advance(Duration::from_millis(self.clock.now().as_millis() + 1000));
            for (scope, id) in late {
                assert_eq!(status(scope, id), OperationStatus::Success, "{id}");
            }
            assert_eq!(cell.next_deadline(), None);
            thread::yield_now();
        }
    }
}

/// Refusals that come of what others did meanwhile.
fn expected<T: std::fmt::Debug>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(
            Error::DuplicateRequest { .. }
            | Error::ServiceAlreadyExists { .. }
            | Error::ServiceNotFound(_)
            | Error::InstanceNotFound { .. }
            | Error::ResourceInUse(_)
            | Error::Contention,
        ) => None,
        Err(other) => panic!("{other:?}"),
    }
}

fn run(seed: u64) {
    let stage = Stage::new();
    let witness = Arc::new(Follower::default());
    let attached = stage.cell().attach(witness.clone());
    let seeded = |n: u64| SeededRandom::new(seed * 100 + n);
    thread::scope(|threads| {
        let stage = &stage;
        let writers: Vec<_> =
            (0..3).map(|n| threads.spawn(move || stage.write(&SeededRandom::new(seed * 100 + n)))).collect();
        let others = [
            threads.spawn(move || stage.follow(&SeededRandom::new(seed * 100 + 10))),
            threads.spawn(move || stage.read(&SeededRandom::new(seed * 100 + 11))),
            threads.spawn(move || stage.fork()),
            threads.spawn(move || {
                while !stage.done.load(Ordering::SeqCst) {
                    stage.pass(1);
                    thread::yield_now();
                }
            }),
        ];
        let waiters = (20..22).map(|n| {
            let random = seeded(n);
            threads.spawn(move || stage.wait(&random, "last"))
        });
        let waiters: Vec<_> = waiters.collect();
        let joined: Vec<_> = writers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stage.done.store(true, Ordering::SeqCst);
        let joined: Vec<_> = joined.into_iter().chain(others.map(thread::ScopedJoinHandle::join)).collect();
        let api = stage.cloud_map.at(stage.scopes[0].clone());
        let last = api.create_http_namespace(CreateHttpNamespaceRequest::new("last")).unwrap();
        stage.note(&stage.scopes[0], last.operation_id);
        stage.pass(1000);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        joined.into_iter().for_each(|joined| joined.unwrap());
    });

    assert_eq!(stage.cell().next_deadline(), None, "all that was due has happened");
    let state = stage.cell().load();
    assert_eq!(witness.last(), state.revision());
    witness.assert_unbroken();
    let seen = witness.seen.lock().unwrap();
    assert_eq!(seen.copy, Copy::of(&state));
    drop(attached);

    // Each operation is in the log once, and each registration was told once.
    let started = stage.started.lock().unwrap();
    let ids: BTreeSet<_> = started.iter().map(|(_, id)| id.clone()).collect();
    assert_eq!((ids.len(), stage.cell().operations().len()), (started.len(), started.len()));
    let mut registered = Vec::new();
    for id in &ids {
        let operation = stage.cell().operations().get(id.as_str()).unwrap();
        assert_eq!(operation.status, OperationStatus::Success, "{operation:?}");
        if operation.kind.as_str() == "REGISTER_INSTANCE" {
            registered.push(id.clone());
        }
    }
    let mut told = seen.registered_by.clone();
    told.sort();
    assert_eq!(told, registered);
    assert!(registered.len() > 200, "something has happened: {}", registered.len());
}

#[test]
fn the_promises_of_the_cell_hold_among_threads() {
    (0..3).for_each(run);
}
