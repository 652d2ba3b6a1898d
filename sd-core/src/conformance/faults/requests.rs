//! What a fault leaves of a request.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
};

use super::{
    super::{
        Bench, BoxFuture, StoreFault,
        entities::here,
        witness::{assert_legal, state},
    },
    trials::{Trial, Trials, engine},
};
use crate::{
    api::{
        error::Error,
        request::{
            CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
            DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest, GetOperationRequest,
            HealthCheckCustomConfigInput, RegisterInstanceRequest,
        },
    },
    cloud_map::ScopedCloudMap,
    model::{CustomHealthStatus, EntityKey, InstanceId, OperationId, OperationStatus, Scope, ServiceId},
    store::registry::{Lookup, Registry},
};

/// A namespace `app` with a service `web`, in which `a` is registered, and one `empty`; a namespace `bare`.
#[derive(Clone)]
struct Stage {
    app: String,
    bare: String,
    web: ServiceId,
    empty: ServiceId,
}

async fn create_service(api: &ScopedCloudMap, namespace: &str, name: &str) -> Result<ServiceId, Error> {
    let request = CreateServiceRequest::new(name)
        .with_namespace_id(namespace)
        .with_creator_request_id(name)
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
    Ok(api.create_service(request).await?.service.id.clone())
}

async fn create_namespace(api: &ScopedCloudMap, name: &str) -> Result<(String, OperationId), Error> {
    let request = CreateHttpNamespaceRequest::new(name).with_creator_request_id(name);
    let started = api.create_http_namespace(request).await?;
    Ok((started.namespace_id.to_string(), started.operation_id))
}

async fn register(api: &ScopedCloudMap, service: &ServiceId, id: &str) -> Result<OperationId, Error> {
    let request =
        RegisterInstanceRequest::new(service, id).with_attribute("version", "1").with_creator_request_id(id);
    Ok(api.register_instance(request).await?.operation_id)
}

impl Stage {
    async fn set(api: &ScopedCloudMap) -> Self {
        let (app, _) = create_namespace(api, "app").await.unwrap();
        let (bare, _) = create_namespace(api, "bare").await.unwrap();
        let web = create_service(api, &app, "web").await.unwrap();
        let empty = create_service(api, &app, "empty").await.unwrap();
        register(api, &web, "a").await.unwrap();
        Self { app, bare, web, empty }
    }
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    CreateNamespace,
    CreateZone,
    CreateService,
    CreateServiceInBare,
    Register,
    RegisterInEmpty,
    Deregister,
    Report,
    DeleteService,
    DeleteNamespace,
    Reset,
}

impl Act {
    /// Those that have a token, and are answered again with the same answer.
    const WITH_TOKEN: [Self; 4] =
        [Self::CreateNamespace, Self::CreateZone, Self::CreateService, Self::Register];

    const ALL: [Self; 9] = [
        Self::CreateNamespace,
        Self::CreateZone,
        Self::CreateService,
        Self::Register,
        Self::Deregister,
        Self::Report,
        Self::DeleteService,
        Self::DeleteNamespace,
        Self::Reset,
    ];

    /// Sends the request. The operation, if it is answered with one, has succeeded.
    async fn send(self, api: &ScopedCloudMap, stage: &Stage) -> Result<Option<OperationId>, Error> {
        let operation = match self {
            Self::CreateNamespace => Some(create_namespace(api, "new").await?.1),
            Self::CreateZone => {
                let request = CreatePrivateDnsNamespaceRequest::new("new.local", "vpc-1")
                    .with_creator_request_id("new.local");
                Some(api.create_private_dns_namespace(request).await?.operation_id)
            }
            Self::CreateService => create_service(api, &stage.app, "new").await.map(|_| None)?,
            Self::CreateServiceInBare => create_service(api, &stage.bare, "new").await.map(|_| None)?,
            Self::Register => Some(register(api, &stage.web, "b").await?),
            Self::RegisterInEmpty => Some(register(api, &stage.empty, "b").await?),
            Self::Deregister => {
                let request = DeregisterInstanceRequest::new(&stage.web, "a");
                Some(api.deregister_instance(request).await?.operation_id)
            }
            Self::Report => {
                api.set_health(&stage.web, "a", CustomHealthStatus::Unhealthy).await.map(|_| None)?
            }
            Self::DeleteService => {
                api.delete_service(DeleteServiceRequest::new(&stage.empty)).await.map(|()| None)?
            }
            Self::DeleteNamespace => {
                let request = DeleteNamespaceRequest::new(stage.bare.as_str());
                Some(api.delete_namespace(request).await?.operation_id)
            }
            Self::Reset => api.cloud_map().reset().await.map(|()| None)?,
        };
        if let Some(id) = &operation {
            let found = api.get_operation(GetOperationRequest::new(id))?;
            assert_eq!(found.status, OperationStatus::Success, "{self:?}");
        }
        Ok(operation)
    }

    /// What the request is about, so that a handle can look for it.
    fn facts(self, stage: &Stage) -> Vec<Lookup> {
        let instance =
            |service: &ServiceId, id| EntityKey::Instance(service.clone(), InstanceId::of_checked(id));
        let namespace = |id: &str| EntityKey::Namespace(crate::model::NamespaceId::parse(id).unwrap());
        match self {
            Self::Register => vec![Lookup::Entity(instance(&stage.web, "b"))],
            Self::RegisterInEmpty => {
                let service = EntityKey::Service(stage.empty.clone());
                vec![Lookup::Entity(service), Lookup::Entity(instance(&stage.empty, "b"))]
            }
            Self::Deregister | Self::Report => vec![Lookup::Entity(instance(&stage.web, "a"))],
            Self::DeleteService => vec![Lookup::Entity(EntityKey::Service(stage.empty.clone()))],
            Self::CreateService => vec![Lookup::Children(namespace(&stage.app))],
            Self::CreateServiceInBare => vec![Lookup::Children(namespace(&stage.bare))],
            Self::DeleteNamespace => vec![Lookup::Entity(namespace(&stage.bare))],
            Self::CreateNamespace | Self::CreateZone | Self::Reset => vec![],
        }
    }

    /// Whether the handle shows what the request leads to.
    async fn is_done(self, handle: &Arc<dyn Registry>, stage: &Stage) -> bool {
        handle.refresh(&Scope::default(), &self.facts(stage)).await.unwrap();
        let state = state(handle);
        assert_legal(&state);
        let here = here(&state);
        let service = |id: &ServiceId| here.service(id.as_str());
        let instance =
            |id: &ServiceId, instance| service(id).and_then(|found| found.instances().get(instance));
        let has_service = |namespace: &str, name| {
            here.namespace(namespace).is_some_and(|found| here.service_by_name(found, name).is_some())
        };
        match self {
            Self::CreateNamespace => here.namespace_by_http_name("new").is_some(),
            Self::CreateZone => here.namespace_by_http_name("new.local").is_some(),
            Self::CreateService => has_service(&stage.app, "new"),
            Self::CreateServiceInBare => has_service(&stage.bare, "new"),
            Self::Register => instance(&stage.web, "b").is_some(),
            Self::RegisterInEmpty => instance(&stage.empty, "b").is_some(),
            Self::Deregister => instance(&stage.web, "a").is_none(),
            Self::Report => instance(&stage.web, "a").is_some_and(|found| !found.health().is_routable()),
            Self::DeleteService => service(&stage.empty).is_none(),
            Self::DeleteNamespace => here.namespace(&stage.bare).is_none(),
            Self::Reset => here.namespaces().next().is_none(),
        }
    }
}

/// Whether the handle finds the operation as a success.
async fn finds(handle: &Arc<dyn Registry>, id: &OperationId) -> bool {
    handle.refresh(&Scope::default(), &[Lookup::Operation(id.clone())]).await.unwrap();
    let found = handle.cell().operations().get(id.as_str());
    found.is_some_and(|operation| operation.status == OperationStatus::Success)
}

/// Sends the request while the fault strikes, and then mends the store. If it fails, the client sends it again. `None` if
/// the second one is refused because the first one was done.
async fn send_through(trial: &Trial, stage: &Stage, act: Act) -> Option<OperationId> {
    let api = trial.api();
    trial.arm();
    let first = act.send(&api, stage).await;
    trial.mend();
    match first {
        Ok(operation) => operation,
        Err(error) => {
            assert!(trial.has_struck(), "{act:?} fails without a fault: {error}");
            assert!(error.is_retryable(), "{act:?} fails for good: {error:?} after {:?}", trial.strike);
            match act.send(&api, stage).await {
                Ok(operation) => operation,
                Err(error) => {
                    let has_token = Act::WITH_TOKEN.contains(&act);
                    assert!(!has_token, "{act:?} is refused: {error:?} after {:?}", trial.strike);
                    None
                }
            }
        }
    }
}

pub(in super::super) async fn a_request_without_an_answer_is_done_once(bench: &Bench) {
    for act in Act::ALL {
        let mut trials = Trials::without_answer(bench);
        while let Some(trial) = trials.next().await {
            let stage = Stage::set(&trial.api()).await;
            let before = trial.registry().cell().operations().len();
            let operation = send_through(&trial, &stage, act).await;
            let case = format!("{act:?}, {:?}", trial.strike);
            let logged = trial.registry().cell().operations().len();
            assert!(logged <= before + 1, "one request, {} operations: {case}", logged - before);
            for handle in [trial.registry(), &trial.rival().await] {
                assert!(act.is_done(handle, &stage).await, "acknowledged, and not shown: {case}");
                if let Some(operation) = &operation {
                    assert!(finds(handle, operation).await, "{operation} is not found: {case}");
                }
            }
        }
    }
}

pub(in super::super) async fn a_repeated_request_is_answered_as_before_after_a_crash(bench: &Bench) {
    for act in Act::WITH_TOKEN {
        let mut trials = Trials::of(bench, &[StoreFault::Crash]);
        while let Some(mut trial) = trials.next().await {
            let stage = Stage::set(&trial.api()).await;
            trial.arm();
            let first = act.send(&trial.api(), &stage).await;
            let case = format!("{act:?}, {:?}", trial.strike);
            let [one, two] = trial.restart().await;
            let stored = stored_by(act, &one, &stage).await;
            let again =
                act.send(&engine(&one), &stage).await.unwrap_or_else(|error| panic!("{error:?}: {case}"));
            if let Ok(first) = first {
                assert_eq!(again, first, "an answer has changed: {case}");
            }
            assert!(
                stored.is_none() || again == stored,
                "{stored:?} is stored, {again:?} is answered: {case}"
            );
            let third =
                act.send(&engine(&two), &stage).await.unwrap_or_else(|error| panic!("{error:?}: {case}"));
            assert_eq!(third, again, "{case}");
            for handle in [&one, &two] {
                assert!(act.is_done(handle, &stage).await, "{case}");
            }
        }
    }
}

/// The operation by which the handle shows the instance that the request registers, or the namespace that it creates.
async fn stored_by(act: Act, handle: &Arc<dyn Registry>, stage: &Stage) -> Option<OperationId> {
    act.is_done(handle, stage).await;
    let state = state(handle);
    match act {
        Act::Register => {
            let found = here(&state).service(stage.web.as_str())?.instances().get("b")?;
            Some(found.instance().registered_by.clone())
        }
        Act::CreateNamespace | Act::CreateZone => {
            let name = if act == Act::CreateZone { "new.local" } else { "new" };
            Some(here(&state).namespace_by_http_name(name)?.namespace().created_by.clone())
        }
        _ => None,
    }
}

/// Deletes everything. What a request has left half-way may be completed now, and is deleted then.
async fn delete_all(handle: &Arc<dyn Registry>, stage: &Stage) -> Result<(), Error> {
    let mut result = Ok(());
    for _ in 0..3 {
        result = delete_shown(handle, stage).await;
        if !matches!(result, Err(Error::ResourceInUse(_))) {
            break;
        }
    }
    result
}

/// Deletes everything that the handle shows.
async fn delete_shown(handle: &Arc<dyn Registry>, stage: &Stage) -> Result<(), Error> {
    let api = engine(handle);
    let acts = [Act::Register, Act::Deregister, Act::CreateService, Act::DeleteService, Act::DeleteNamespace];
    let facts: Vec<_> = acts.iter().flat_map(|act| act.facts(stage)).collect();
    handle.refresh(&Scope::default(), &facts).await.unwrap();
    let shown = state(handle);
    assert_legal(&shown);
    for namespace in here(&shown).namespaces() {
        for service in here(&shown).services_of(namespace) {
            let id = &service.service().id;
            for instance in service.instances().iter() {
                let request = DeregisterInstanceRequest::new(id, &instance.instance().id);
                api.deregister_instance(request).await?;
            }
            api.delete_service(DeleteServiceRequest::new(id)).await?;
        }
        let id = namespace.namespace().id.as_str();
        let deleted = api.delete_namespace(DeleteNamespaceRequest::new(id)).await?;
        assert_success(&api, &deleted.operation_id);
    }
    Ok(())
}

fn assert_success(api: &ScopedCloudMap, id: &OperationId) {
    let found = api.get_operation(GetOperationRequest::new(id)).unwrap();
    assert_eq!(found.status, OperationStatus::Success, "{found:?}");
}

/// Deletes everything, creates it again, and deletes that. The requests have the tokens of those that may have crashed:
/// what these left half-way may be completed now.
async fn start_over(handle: &Arc<dyn Registry>, stage: &Stage) -> Result<(), Error> {
    delete_all(handle, stage).await?;
    let api = engine(handle);
    for name in ["app", "bare", "new"] {
        let (id, operation) = create_namespace(&api, name).await?;
        assert_success(&api, &operation);
        let service = create_service(&api, &id, "new").await?;
        register(&api, &service, "a").await?;
    }
    let zone =
        CreatePrivateDnsNamespaceRequest::new("new.local", "vpc-1").with_creator_request_id("new.local");
    let created = api.create_private_dns_namespace(zone).await?;
    assert_success(&api, &created.operation_id);
    delete_all(handle, stage).await
}

pub(in super::super) async fn after_a_crash_everything_can_be_deleted_and_created(bench: &Bench) {
    for act in Act::ALL {
        let mut trials = Trials::of(bench, &[StoreFault::Crash]);
        while let Some(mut trial) = trials.next().await {
            let stage = Stage::set(&trial.api()).await;
            trial.arm();
            drop(act.send(&trial.api(), &stage).await);
            let case = format!("{act:?}, {:?}", trial.strike);
            for _ in 0..2 {
                let [_, handle] = trial.restart().await;
                let result = start_over(&handle, &stage).await;
                assert!(result.is_ok(), "{result:?}: {case}");
            }
        }
    }
}

pub(in super::super) async fn a_late_write_does_not_undo_later_requests(bench: &Bench) {
    for (act, undone_by) in [
        (Act::Register, "deregister"),
        (Act::Deregister, "register"),
        (Act::CreateService, "delete"),
        (Act::DeleteService, "create"),
        (Act::CreateNamespace, "delete"),
        (Act::Report, "report"),
    ] {
        let mut trials = Trials::of(bench, &[StoreFault::ArrivesLate]);
        while let Some(mut trial) = trials.next().await {
            let stage = Stage::set(&trial.api()).await;
            trial.arm();
            let case = format!("{act:?}, then {undone_by}, {:?}", trial.strike);
            let sent = act.send(&trial.api(), &stage).await;
            assert!(sent.is_ok(), "one write without an answer: {sent:?}, {case}");
            undo(act, &trial.rival().await, &stage).await.unwrap_or_else(|error| panic!("{error:?}: {case}"));
            trial.mend();
            for handle in trial.restart().await {
                assert!(!act.is_done(&handle, &stage).await, "{case}");
            }
        }
    }
}

/// Sends the request that undoes the effect of the other one.
async fn undo(act: Act, handle: &Arc<dyn Registry>, stage: &Stage) -> Result<(), Error> {
    assert!(act.is_done(handle, stage).await || act == Act::CreateNamespace);
    let api = engine(handle);
    let found = state(handle);
    let here = here(&found);
    match act {
        Act::Register => {
            api.deregister_instance(DeregisterInstanceRequest::new(&stage.web, "b")).await.map(drop)
        }
        Act::Deregister => register(&api, &stage.web, "a").await.map(drop),
        Act::CreateService => {
            let namespace = here.namespace(&stage.app).unwrap();
            let id = &here.service_by_name(namespace, "new").unwrap().service().id;
            api.delete_service(DeleteServiceRequest::new(id)).await
        }
        Act::DeleteService => create_service(&api, &stage.app, "empty").await.map(drop),
        Act::CreateNamespace => {
            let id = create_namespace(&api, "new").await?.0;
            api.delete_namespace(DeleteNamespaceRequest::new(id)).await.map(drop)
        }
        Act::Report => api.set_health(&stage.web, "a", CustomHealthStatus::Healthy).await.map(drop),
        _ => unreachable!("it has no counterpart"),
    }
}

/// Runs the request until it is answered or the fault has struck. The answer, or the request that waits for it.
async fn until_struck(trial: &Trial, mut request: BoxFuture<'static, ()>) -> Option<BoxFuture<'static, ()>> {
    let is_done = poll_fn(|context| {
        if request.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        if trial.has_struck() {
            return Poll::Ready(false);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    let is_done = is_done.await;
    (!is_done).then_some(request)
}

pub(in super::super) async fn requests_that_exclude_each_other_do_not_both_succeed(bench: &Bench) {
    for (late, beside) in [
        (Act::RegisterInEmpty, Act::DeleteService),
        (Act::DeleteService, Act::RegisterInEmpty),
        (Act::CreateServiceInBare, Act::DeleteNamespace),
        (Act::DeleteNamespace, Act::CreateServiceInBare),
    ] {
        let mut trials = Trials::of(bench, &[StoreFault::AnsweredLate]);
        while let Some(mut trial) = trials.next().await {
            let stage = Stage::set(&trial.api()).await;
            let rival = trial.rival().await;
            let case = format!("{late:?} with {:?}, beside it {beside:?}", trial.strike);
            let answer: Arc<Mutex<Option<Result<_, Error>>>> = Arc::default();
            let (told, api, staged) = (Arc::clone(&answer), trial.api(), stage.clone());
            trial.arm();
            let request = async move {
                let result = late.send(&api, &staged).await;
                *told.lock().unwrap() = Some(result);
            };
            let waiting = until_struck(&trial, Box::pin(request)).await;
            if !trial.has_rival() {
                // A handle of its own stores one set after the other.
                trial.mend();
            }
            let second = beside.send(&engine(&rival), &stage).await;
            trial.mend();
            if let Some(waiting) = waiting {
                waiting.await;
            }
            let first = answer.lock().unwrap().take().expect("it is answered");
            let case = format!("{first:?}, {second:?}: {case}");
            assert_ne!(first.is_ok(), second.is_ok(), "{case}");
            for handle in trial.restart().await {
                assert_eq!(late.is_done(&handle, &stage).await, first.is_ok(), "{case}");
                assert_eq!(beside.is_done(&handle, &stage).await, second.is_ok(), "{case}");
            }
        }
    }
}
