//! [`CloudMap`] over a registry: how requests treat its answers.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use super::{Bench, BoxFuture, Subject, entities::here, witness::state};
use crate::{
    api::{
        error::{Error, ErrorCode},
        request::{
            CreateHttpNamespaceRequest, CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceRequest,
            DeregisterInstanceRequest, DiscoverInstancesRequest, GetOperationRequest,
            RegisterInstanceRequest,
        },
    },
    cloud_map::{CloudMap, ScopedCloudMap},
    model::{OperationStatus, Scope, Service},
    state::change::ChangeSet,
    store::{
        cell::StateCell,
        registry::{CommitError, Lookup, Registry},
    },
};

/// What happens to a commit on its way to the registry.
type Step =
    Box<dyn FnOnce(Arc<dyn Registry>, ChangeSet) -> BoxFuture<'static, Result<(), CommitError>> + Send>;

/// The registry under test, with a script for the next commits.
struct Scripted {
    registry: Arc<dyn Registry>,
    steps: Mutex<VecDeque<Step>>,
    /// How many commits it has seen.
    commits: Mutex<usize>,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

#[async_trait]
impl Registry for Scripted {
    fn cell(&self) -> &StateCell {
        self.registry.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        *self.commits.lock().unwrap() += 1;
        let step = self.steps.lock().unwrap().pop_front();
        match step {
            Some(step) => step(Arc::clone(&self.registry), changes).await,
            None => self.registry.commit(changes).await,
        }
    }

    async fn refresh(&self, scope: &Scope, facts: &[Lookup]) -> Result<(), CommitError> {
        self.registry.refresh(scope, facts).await
    }

    async fn pause(&self, attempts: u32) {
        self.registry.pause(attempts).await;
    }
}

/// An engine whose commits follow a script, a rival on the same registry, and a service `web` in a namespace `app`.
struct Stage {
    subject: Subject,
    scripted: Arc<Scripted>,
    api: ScopedCloudMap,
    rival: ScopedCloudMap,
    service: Arc<Service>,
}

impl Stage {
    async fn new(bench: &Bench) -> Self {
        let subject = bench.fresh().await;
        let registry = Arc::clone(subject.registry());
        let rival = CloudMap::new(Arc::clone(&registry)).at(Scope::default());
        let scripted = Scripted { registry, steps: Mutex::default(), commits: Mutex::default() };
        let scripted = Arc::new(scripted);
        let api = CloudMap::new(Arc::clone(&scripted)).at(Scope::default());
        api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
        let namespace = here(&state(subject.registry())).namespaces().next().unwrap().namespace().clone();
        let request = CreateServiceRequest::new("web").with_namespace_id(&namespace.id);
        let service = api.create_service(request).await.unwrap().service;
        let stage = Self { subject, scripted, api, rival, service };
        stage.commits();
        stage
    }

    fn then<F>(&self, step: impl FnOnce(Arc<dyn Registry>, ChangeSet) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), CommitError>> + Send + 'static,
    {
        let step: Step = Box::new(|registry, changes| Box::pin(step(registry, changes)));
        self.scripted.steps.lock().unwrap().push_back(step);
    }

    /// Lets the rival act between the plan and the commit of the next request.
    fn in_between<F>(&self, act: impl FnOnce(ScopedCloudMap) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let rival = self.rival.clone();
        self.then(|registry, changes| async move {
            act(rival).await;
            registry.commit(changes).await
        });
    }

    /// The number of commits since the last call.
    fn commits(&self) -> usize {
        std::mem::take(&mut *self.scripted.commits.lock().unwrap())
    }

    fn operations(&self) -> usize {
        self.subject.registry().cell().operations().len()
    }

    async fn register(&self, id: &str) -> Result<(), Error> {
        let request = RegisterInstanceRequest::new(&self.service.id, id);
        let started = self.api.register_instance(request.with_attribute("version", "1")).await?;
        let operation = self.api.get_operation(GetOperationRequest::new(&started.operation_id))?;
        assert_eq!(operation.status, OperationStatus::Success);
        Ok(())
    }

    async fn deregister(&self, id: &str) -> Result<(), Error> {
        let request = DeregisterInstanceRequest::new(&self.service.id, id);
        self.api.deregister_instance(request).await.map(drop)
    }

    fn discovered(&self) -> Vec<String> {
        let found = self.api.discover_instances(DiscoverInstancesRequest::new("app", "web")).unwrap();
        let mut ids: Vec<_> = found.instances.iter().map(|instance| instance.id.to_string()).collect();
        ids.sort();
        ids
    }
}

pub(super) async fn a_conflict_is_planned_again(bench: &Bench) {
    let stage = Stage::new(bench).await;
    let namespace = stage.service.namespace_id.clone();
    let request = CreateServiceRequest::new("raced").with_namespace_id(namespace.as_str());
    let rivals = request.clone();
    stage.in_between(|rival| async move { drop(rival.create_service(rivals).await.unwrap()) });
    let error = stage.api.create_service(request).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ServiceAlreadyExists);
    assert_eq!(stage.commits(), 1);

    stage.register("a").await.unwrap();
    let id = stage.service.id.clone();
    let request = DeregisterInstanceRequest::new(id.as_str(), "a");
    stage.in_between(|rival| async move { drop(rival.deregister_instance(request).await.unwrap()) });
    assert_eq!(stage.deregister("a").await.unwrap_err().code(), ErrorCode::InstanceNotFound);

    let request = RegisterInstanceRequest::new(id.as_str(), "b").with_attribute("version", "1");
    stage.in_between(|rival| async move { drop(rival.register_instance(request).await.unwrap()) });
    let error = stage.api.delete_service(DeleteServiceRequest::new(id.as_str())).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceInUse);

    // The caller does not see a conflict that is resolved at the second plan.
    stage.commits();
    stage.then(|_, _| async { Err(CommitError::Conflict) });
    stage.register("c").await.unwrap();
    assert_eq!(stage.commits(), 2);
    assert_eq!(stage.discovered(), ["b", "c"]);
}

pub(super) async fn a_commit_without_an_answer_is_found(bench: &Bench) {
    let stage = Stage::new(bench).await;
    let silently = || {
        stage.then(|registry, changes| async move {
            registry.commit(changes).await?;
            Err(CommitError::Ambiguous)
        });
    };
    let before = stage.operations();
    silently();
    stage.register("a").await.unwrap();
    silently();
    stage.register("b").await.unwrap();
    silently();
    stage.deregister("a").await.unwrap();
    silently();
    let request = CreateServiceRequest::new("other").with_namespace_id(stage.service.namespace_id.as_str());
    stage.api.create_service(request).await.unwrap();
    assert_eq!(stage.commits(), 4, "none is sent again");
    assert_eq!(stage.operations(), before + 3);
    assert_eq!(stage.discovered(), ["b"]);
}

pub(super) async fn a_lost_commit_is_repeated(bench: &Bench) {
    let stage = Stage::new(bench).await;
    let lost = || stage.then(|_, _| async { Err(CommitError::Ambiguous) });
    let before = stage.operations();
    lost();
    stage.register("a").await.unwrap();
    lost();
    lost();
    stage.register("b").await.unwrap();
    lost();
    stage.deregister("a").await.unwrap();
    assert_eq!(stage.commits(), 2 + 3 + 2);
    assert_eq!(stage.operations(), before + 3, "one request, one operation");
    assert_eq!(stage.discovered(), ["b"]);
}

pub(super) async fn a_write_is_read_at_once(bench: &Bench) {
    let stage = Stage::new(bench).await;
    for id in ["a", "b", "c"] {
        stage.register(id).await.unwrap();
        assert!(stage.discovered().contains(&id.to_owned()), "{id}");
    }
    for id in ["a", "b", "c"] {
        stage.deregister(id).await.unwrap();
        assert!(!stage.discovered().contains(&id.to_owned()), "{id}");
    }
    stage.api.delete_service(DeleteServiceRequest::new(&stage.service.id)).await.unwrap();
    let namespace = stage.service.namespace_id.as_str();
    stage.api.delete_namespace(DeleteNamespaceRequest::new(namespace)).await.unwrap();
    assert_eq!(here(&state(stage.subject.registry())).namespaces().count(), 0);
}
