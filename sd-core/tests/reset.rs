//! Reset.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use common::{Engine, code, dns, dns_service, registration};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Change, ChangeSet, CommitError, ErrorCode, Immediate, Mode, Observer, Quotas, Registry, Scope, State,
    StateCell, SyncCloudMap, Timing,
    model::RecordType,
    request::{
        CreateHttpNamespaceRequest, CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceRequest,
        DiscoverInstancesRequest, GetOperationRequest, ListNamespacesRequest, ListOperationsRequest,
        ListServicesRequest,
    },
};

/// The numbers of namespaces, services and finished operations.
fn counts(cloud_map: &SyncCloudMap, scope: &Scope) -> [usize; 3] {
    let api = cloud_map.at(scope.clone());
    [
        api.list_namespaces(ListNamespacesRequest::new()).unwrap().items.len(),
        api.list_services(ListServicesRequest::new()).unwrap().items.len(),
        api.list_operations(ListOperationsRequest::new()).unwrap().items.len(),
    ]
}

fn elsewhere() -> Scope {
    Scope::parse("210987654321", "eu-west-1").unwrap()
}

/// Creates namespaces in two scopes, and in one of them a service with two instances.
fn fill(engine: &Engine) {
    let service = engine.service(dns_service(&engine.private("app.local"), "web", dns(&[RecordType::A])));
    for id in ["i-1", "i-2"] {
        engine.register(&service, id, &[("AWS_INSTANCE_IPV4", "10.0.0.1")]);
    }
    let other = engine.cloud_map.at(elsewhere());
    other.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
}

/// Collects the changes that it is told, and the numbers of namespaces in the state.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<(Scope, usize, usize)>>);

impl Observer for Told {
    fn changed(&self, _: &State, new: &State, scope: &Scope, changes: &[Change]) {
        let left = new.scope(scope).namespaces().count();
        self.0.lock().unwrap().push((scope.clone(), changes.len(), left));
    }

    fn rebuild(&self, _: &State) {}
}

#[test]
fn a_reset_empties_every_scope() {
    let engine = Engine::new();
    fill(&engine);
    let started = engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("other")).unwrap();
    assert_eq!(counts(&engine.cloud_map, &Scope::default()), [2, 1, 4]);
    assert_eq!(counts(&engine.cloud_map, &elsewhere()), [1, 0, 1]);
    let told = Arc::new(Told::default());
    let _attached = engine.cloud_map.cloud_map().cell().attach(told.clone());
    let before = engine.cloud_map.cloud_map().state().revision();

    engine.cloud_map.reset().unwrap();
    for scope in [Scope::default(), elsewhere()] {
        assert_eq!(counts(&engine.cloud_map, &scope), [0, 0, 0]);
    }
    let operation = engine.api.get_operation(GetOperationRequest::new(&started.operation_id));
    assert_eq!(code(operation), ErrorCode::OperationNotFound);
    let discovery = DiscoverInstancesRequest::new("app.local", "web");
    assert_eq!(code(engine.api.discover_instances(&discovery)), ErrorCode::NamespaceNotFound);
    // Each scope is one change set: first two instances, a service and two namespaces, then one namespace.
    let all = [(Scope::default(), 5, 0), (elsewhere(), 1, 0)];
    assert_eq!(*told.0.lock().unwrap(), all);
    let revision = engine.cloud_map.cloud_map().state().revision();
    assert!(revision > before);
    assert_eq!(engine.cloud_map.cloud_map().state().scopes().count(), 0);

    engine.cloud_map.reset().unwrap();
    assert_eq!(engine.cloud_map.cloud_map().state().revision(), revision, "the second time changes nothing");
    assert_eq!(told.0.lock().unwrap().len(), 2);
}

#[test]
fn everything_can_be_created_again_after_a_reset() {
    let engine = Engine::new();
    fill(&engine);
    let discovery = DiscoverInstancesRequest::new("app.local", "web");
    let before = engine.api.discover_instances(&discovery).unwrap();
    engine.cloud_map.reset().unwrap();
    fill(&engine);
    let after = engine.api.discover_instances(&discovery).unwrap();
    assert_eq!(after.instances.len(), 2);
    assert!(after.instances_revision > before.instances_revision, "who has cached it sees that it is new");
    assert_eq!(counts(&engine.cloud_map, &Scope::default()), [1, 1, 3]);
}

#[test]
fn a_scope_with_only_finished_operations_is_reset_too() {
    let engine = Engine::new();
    fill(&engine);
    let state = engine.cloud_map.cloud_map().state();
    let id = state.scope(&elsewhere()).namespaces().next().unwrap().namespace().id.clone();
    engine.cloud_map.at(elsewhere()).delete_namespace(DeleteNamespaceRequest::new(id.as_str())).unwrap();
    assert_eq!(engine.cloud_map.cloud_map().cell().operations().len(), 5);
    engine.cloud_map.reset().unwrap();
    assert_eq!(engine.cloud_map.cloud_map().cell().operations().len(), 0);
}

#[test]
fn an_empty_scope_is_not_kept() {
    let engine = Engine::timed(Timing::instant().with_operation(Duration::from_secs(5)));
    let scopes = || engine.cloud_map.cloud_map().state().scopes().count();
    let mut last = 0;
    // Like a test suite that uses one account for each test.
    for account in 0..20 {
        let scope = Scope::parse(&format!("{account:012}"), "us-east-1").unwrap();
        let api = engine.cloud_map.at(scope.clone());
        api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
        assert_eq!(scopes(), 1, "an operation is under way in it");
        engine.clock.advance(Duration::from_secs(5));
        let state = engine.cloud_map.cloud_map().state();
        let namespace = state.scope(&scope).namespaces().next().unwrap().namespace().id.clone();
        let request = CreateServiceRequest::new("web").with_namespace_id(namespace.as_str());
        let service = api.create_service(request.clone()).unwrap().service;
        let state = engine.cloud_map.cloud_map().state();
        let entry = state.scope(&scope).service(service.id.as_str()).unwrap();
        assert!(entry.instances_revision().as_u64() >= last);
        last = entry.instances_revision().as_u64();
        api.delete_service(DeleteServiceRequest::new(&service.id)).unwrap();
        api.delete_namespace(DeleteNamespaceRequest::new(namespace.as_str())).unwrap();
        engine.clock.advance(Duration::from_secs(5));
        assert_eq!(scopes(), 0, "{account}");
        assert_eq!(counts(&engine.cloud_map, &scope)[..2], [0, 0]);
    }
}

#[test]
fn operations_under_way_at_a_reset_never_take_effect() {
    let engine = Engine::timed(Timing::aws());
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
    engine.clock.advance(Duration::from_secs(60));
    let listed = engine.api.list_namespaces(ListNamespacesRequest::new()).unwrap();
    let namespace = listed.items[0].namespace.id.as_str();
    let service = engine.service(CreateServiceRequest::new("web").with_namespace_id(namespace));
    let under_way = engine.api.register_instance(registration(&service, "i-1", &[])).unwrap();
    let request = CreateHttpNamespaceRequest::new("other");
    let started = engine.api.create_http_namespace(request.clone()).unwrap();
    engine.cloud_map.reset().unwrap();
    for operation in [under_way, started] {
        let request = GetOperationRequest::new(&operation.operation_id);
        assert_eq!(code(engine.api.get_operation(&request)), ErrorCode::OperationNotFound);
    }
    engine.clock.advance(Duration::from_secs(60));
    assert_eq!(counts(&engine.cloud_map, &Scope::default()), [0, 0, 0]);
    assert_eq!(engine.cloud_map.cloud_map().cell().next_deadline(), None);
    // Their claims are gone too.
    engine.api.create_http_namespace(request).unwrap();
    engine.clock.advance(Duration::from_secs(60));
    assert_eq!(counts(&engine.cloud_map, &Scope::default()), [1, 0, 1]);
}

#[test]
fn a_reset_refills_the_buckets_of_all_rates() {
    let engine = Engine::with_quotas(Quotas::aws());
    let request = |number: usize| CreateHttpNamespaceRequest::new(format!("app-{number}"));
    let mut allowed = 0;
    let refused = loop {
        match engine.api.create_http_namespace(request(allowed)) {
            Ok(_) => allowed += 1,
            Err(error) => break error,
        }
    };
    assert!(allowed > 0 && allowed < 1000, "{refused}");
    engine.cloud_map.reset().unwrap();
    for number in 0..allowed {
        engine.api.create_http_namespace(request(number)).unwrap();
    }
}

/// A registry in which something happens before the first resets.
#[derive(Debug)]
struct Interrupted {
    inner: Arc<MemoryRegistry>,
    interruptions: AtomicUsize,
}

impl Interrupted {
    fn interrupt(&self) {
        let left =
            self.interruptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        let Ok(number) = left else { return };
        // Another handle registers an instance in the service before it is deleted.
        let other = SyncCloudMap::new(Arc::clone(&self.inner)).at(Scope::default());
        let services = other.list_services(ListServicesRequest::new()).unwrap();
        let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.9")];
        other
            .register_instance(registration(
                &services.items[0].service,
                &format!("late-{number}"),
                &attributes,
            ))
            .unwrap();
    }
}

#[async_trait]
impl Registry for Interrupted {
    fn cell(&self) -> &StateCell {
        self.inner.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        if changes.reset {
            self.interrupt();
        }
        self.inner.commit(changes).await
    }
}

impl Immediate for Interrupted {}

#[test]
fn an_instance_registered_during_a_reset_is_deleted_too() {
    let inner = Arc::new(MemoryRegistry::new());
    let registry = Interrupted { inner, interruptions: AtomicUsize::new(1) };
    let engine = Engine::over(registry, Mode::Lenient);
    fill(&engine);
    engine.cloud_map.reset().unwrap();
    assert_eq!(counts(&engine.cloud_map, &Scope::default()), [0, 0, 0]);
}

/// A registry that rejects resets.
#[derive(Debug, Default)]
struct Keeping(MemoryRegistry);

#[async_trait]
impl Registry for Keeping {
    fn cell(&self) -> &StateCell {
        self.0.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        if changes.reset {
            let (key, reason) = (changes.scope.to_string(), "it is kept".to_owned());
            return Err(CommitError::Rejected { key, reason });
        }
        self.0.commit(changes).await
    }
}

impl Immediate for Keeping {}

#[test]
fn a_reset_reports_the_error_of_the_backend() {
    let engine = Engine::over(Keeping::default(), Mode::Lenient);
    fill(&engine);
    let error = engine.cloud_map.reset().unwrap_err();
    assert!(error.to_string().contains("it is kept"), "{error}");
    assert_eq!(counts(&engine.cloud_map, &Scope::default()), [1, 1, 3]);
}

#[test]
fn concurrent_resets_and_requests_leave_a_consistent_registry() {
    let sync = SyncCloudMap::new(MemoryRegistry::new());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let api = sync.at(Scope::default());
            scope.spawn(move || {
                for number in 0..200 {
                    let request = CreateHttpNamespaceRequest::new(format!("app-{thread}-{number}"));
                    api.create_http_namespace(request).unwrap();
                }
            });
        }
        for _ in 0..50 {
            sync.reset().unwrap();
        }
    });
    sync.reset().unwrap();
    assert_eq!(counts(&sync, &Scope::default()), [0, 0, 0]);
}

#[test]
fn a_reset_forgets_the_names_of_deleted_namespaces() {
    let engine = Engine::strict();
    for _ in 0..2 {
        let namespace = engine.http("app");
        assert_eq!(namespace.http_name.as_str(), "app");
        engine.api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id)).unwrap();
        // Only the former name is left in the scope.
        engine.cloud_map.reset().unwrap();
    }
    let namespace = engine.http("app");
    engine.api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id)).unwrap();
    assert_ne!(engine.http("app").http_name.as_str(), "app");
}
