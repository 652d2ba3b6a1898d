//! Two engines on one registry, whose commits follow a script.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    ChangeSet, CommitError, Error, Immediate, Mode, Registry, Scope, StateCell, SyncCloudMap,
    model::{Namespace, Operation, Revision, Service},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
        DeregisterInstanceRequest, GetInstanceRequest,
    },
    response::{OperationStarted, ServiceDescription},
    state::Precondition,
    store::Lookup,
};

use super::{Engine, registration};

/// What a commit does instead of storing the changes.
pub(crate) type Step = Box<dyn FnOnce(&Shared, ChangeSet) -> Result<(), CommitError> + Send>;

/// A registry that several engines share. Its next commits follow a script.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    memory: Arc<MemoryRegistry>,
    script: Arc<Mutex<VecDeque<Step>>>,
    commits: Arc<AtomicUsize>,
    /// After how many attempts it was asked to wait.
    pauses: Arc<Mutex<Vec<u32>>>,
    lookups: Arc<Mutex<Vec<Lookup>>>,
    found: Arc<Mutex<VecDeque<Found>>>,
}

/// What a look in the store comes to.
type Found = Box<dyn FnOnce() -> Result<(), CommitError> + Send>;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

#[async_trait]
impl Registry for Shared {
    fn cell(&self) -> &StateCell {
        self.memory.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let step = self.script.lock().unwrap().pop_front();
        match step {
            Some(step) => step(self, changes),
            None => self.store(changes),
        }
    }

    async fn refresh(&self, _: &Scope, facts: &[Lookup]) -> Result<(), CommitError> {
        self.lookups.lock().unwrap().extend(facts.iter().cloned());
        let found = self.found.lock().unwrap().pop_front();
        found.map_or(Ok(()), |found| found())
    }

    async fn pause(&self, attempts: u32) {
        self.pauses.lock().unwrap().push(attempts);
    }
}

impl Immediate for Shared {}

impl Shared {
    pub(crate) fn store(&self, changes: ChangeSet) -> Result<(), CommitError> {
        match pin!(self.memory.commit(changes)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("memory waits for nothing"),
        }
    }

    /// Adds a step to the script: it handles the next commit without a step.
    pub(crate) fn then(
        &self,
        step: impl FnOnce(&Self, ChangeSet) -> Result<(), CommitError> + Send + 'static,
    ) {
        self.script.lock().unwrap().push_back(Box::new(step));
    }

    /// The next look in the store does this.
    pub(crate) fn finding(&self, found: impl FnOnce() -> Result<(), CommitError> + Send + 'static) {
        self.found.lock().unwrap().push_back(Box::new(found));
    }

    /// What was looked for since it was asked last.
    pub(crate) fn lookups(&self) -> Vec<Lookup> {
        std::mem::take(&mut self.lookups.lock().unwrap())
    }

    /// The attempts after which it was asked to wait, since it was asked last.
    pub(crate) fn pauses(&self) -> Vec<u32> {
        std::mem::take(&mut self.pauses.lock().unwrap())
    }

    pub(crate) fn revision(&self) -> Revision {
        self.cell().load().revision()
    }

    /// Commits since it was asked last.
    pub(crate) fn commits(&self) -> usize {
        self.commits.swap(0, Ordering::SeqCst)
    }
}

/// Two engines on one registry, with a service `web` and its instance `i-1` in the namespace `app`.
pub(crate) struct Meeting {
    pub(crate) shared: Shared,
    pub(crate) engine: Engine,
    pub(crate) rival: Arc<Engine>,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) service: Arc<Service>,
}

impl Meeting {
    pub(crate) fn new() -> Self {
        let shared = Shared::default();
        let rival = Engine::over(shared.clone(), Mode::Lenient);
        let namespace = rival.http("app");
        let service = rival.http_service(&namespace, "web");
        rival.register(&service, "i-1", &[]);
        // This engine has random identifiers, which differ from those of its rival.
        let cloud_map = SyncCloudMap::new(shared.clone());
        let api = cloud_map.at(Scope::default());
        let engine = Engine { cloud_map, api, clock: Arc::clone(&rival.clock) };
        shared.commits();
        Self { shared, engine, rival: Arc::new(rival), namespace, service }
    }

    /// Lets the rival act between the plan and the commit of the next request.
    pub(crate) fn in_between(&self, act: impl FnOnce(&Engine) + Send + 'static) {
        let rival = Arc::clone(&self.rival);
        self.shared.then(move |shared, changes| {
            act(&rival);
            shared.store(changes)
        });
    }

    /// The kinds of what the next commit relies on, sorted, such as `Live(Service`.
    pub(crate) fn relied_on(&self) -> Arc<Mutex<Vec<String>>> {
        let kinds = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&kinds);
        self.shared.then(move |shared, changes| {
            let kind = |fact: &Precondition| {
                format!("{fact:?}").splitn(3, '(').take(2).collect::<Vec<_>>().join("(")
            };
            let mut kinds: Vec<_> = changes.preconditions.iter().map(kind).collect();
            kinds.sort();
            *told.lock().unwrap() = kinds;
            shared.store(changes)
        });
        kinds
    }

    pub(crate) fn register(&self, id: &str) -> Result<OperationStarted, Error> {
        self.engine.api.register_instance(registration(&self.service, id, &[]))
    }

    pub(crate) fn create_service(&self, name: &str) -> Result<ServiceDescription, Error> {
        self.engine.api.create_service(CreateServiceRequest::new(name).with_namespace_id(&self.namespace.id))
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.engine.api.get_instance(GetInstanceRequest::new(&self.service.id, id)).is_ok()
    }

    pub(crate) fn operations(&self) -> usize {
        self.shared.cell().operations().len()
    }

    pub(crate) fn deregister(&self) -> Result<OperationStarted, Error> {
        let request = DeregisterInstanceRequest::new(&self.service.id, "i-1");
        self.engine.api.deregister_instance(request)
    }

    pub(crate) fn create_http(&self, name: &str) -> Result<OperationStarted, Error> {
        self.engine.api.create_http_namespace(CreateHttpNamespaceRequest::new(name))
    }

    pub(crate) fn create_private(&self, name: &str) -> Result<Arc<Operation>, Error> {
        let request = CreatePrivateDnsNamespaceRequest::new(name, "vpc-1");
        let started = self.engine.api.create_private_dns_namespace(request)?;
        Ok(self.engine.operation(started.operation_id.as_str()))
    }
}
