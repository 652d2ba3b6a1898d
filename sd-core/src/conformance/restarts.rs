//! Stores that are opened again after every handle on them is dropped.

use std::{sync::Arc, time::Duration};

use super::{
    Bench, Subject,
    entities::{
        DELAY, NOW, Tree, delete_instance, elsewhere, entry, free, here, namespace, put_health,
        put_namespace, put_service, reborn, relying, set,
    },
    witness::{commit, refused, state},
};
use crate::{
    api::request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
        DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest, GetOperationRequest,
        HealthCheckCustomConfigInput, ListInstancesRequest, ListNamespacesRequest, ListOperationsRequest,
        ListServicesRequest, RegisterInstanceRequest, Tag, TagResourceRequest,
        UpdateInstanceCustomHealthStatusRequest,
    },
    cloud_map::{CloudMap, ScopedCloudMap},
    model::{CustomHealthStatus, HealthCheck, OperationStatus, Scope, Service, ServiceId, Timestamp},
    settings::{
        clock::{Clock, ManualClock},
        mode::Mode,
        timing::Timing,
    },
    state::change::Change,
    stored::{Facts, Operation},
};

/// A registry under test, its clock, and how long operations and reports take.
struct Stage {
    subject: Subject,
    clock: Arc<ManualClock>,
    timing: Timing,
    mode: Mode,
}

impl Stage {
    /// Operations and reports take no time.
    async fn fresh(bench: &Bench) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOW)));
        Self { subject: bench.fresh().await, clock, timing: Timing::instant(), mode: Mode::default() }
    }

    /// Operations and reports take [`DELAY`].
    async fn slow(bench: &Bench) -> Self {
        let delay = Duration::from_millis(DELAY);
        let timing = Timing::instant().with_operation(delay).with_custom_health(delay);
        Self { timing, ..Self::fresh(bench).await }
    }

    fn at(&self, scope: Scope) -> ScopedCloudMap {
        let builder = CloudMap::builder(Arc::clone(self.subject.registry()));
        builder.clock(Arc::clone(&self.clock)).timing(self.timing).mode(self.mode).build().at(scope)
    }

    fn api(&self) -> ScopedCloudMap {
        self.at(Scope::default())
    }

    /// Lets time pass for the cell as well.
    fn pass(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
        let now = self.clock.now();
        self.subject.registry().cell().advance(now);
    }

    async fn restarted(self) -> Self {
        Self { subject: self.subject.restarted().await, ..self }
    }

    async fn commit(&self, changes: Vec<Change>) {
        commit(self.subject.registry(), set(changes)).await;
    }

    /// What is stored of it. Places and the revision are left out: each state has its own.
    fn stored(&self) -> (Facts, Vec<Operation>) {
        let registry = self.subject.registry();
        let mut facts = Facts { revision: 0, ..Facts::of(&state(registry)) };
        facts.scopes.retain(|scope| scope.last_instances_revision > 0 || !scope.former_names.is_empty());
        facts.namespaces.iter_mut().for_each(|namespace| namespace.place = 0);
        facts.services.iter_mut().for_each(|service| service.place = 0);
        facts.instances.iter_mut().for_each(|instance| instance.place = 0);
        facts.pending.iter_mut().for_each(|pending| pending.operation.place = 0);
        let mut finished = registry.cell().operations().stored();
        finished.iter_mut().for_each(|operation| operation.place = 0);
        finished.sort_by(|one, other| one.id.cmp(&other.id));
        (facts, finished)
    }
}

async fn create_service(api: &ScopedCloudMap, namespace: &str, name: &str) -> ServiceId {
    let request = CreateServiceRequest::new(name)
        .with_namespace_id(namespace)
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
    api.create_service(request).await.unwrap().service.id.clone()
}

fn register(service: &ServiceId, id: &str) -> RegisterInstanceRequest {
    RegisterInstanceRequest::new(service, id).with_attribute("version", "1")
}

/// Reports the health of an instance, as its owner does.
async fn report(api: &ScopedCloudMap, service: &ServiceId, id: &str, status: CustomHealthStatus) {
    let request = UpdateInstanceCustomHealthStatusRequest::new(service, id, status);
    api.update_instance_custom_health_status(request).await.unwrap();
}

/// Leaves a fact of every kind in a scope. Returns a service in which `a` and `b` are registered.
async fn fill(stage: &Stage, scope: Scope) -> ServiceId {
    let api = stage.at(scope);
    let mut ids = Vec::new();
    for name in ["app", "bare"] {
        let request = CreateHttpNamespaceRequest::new(name).with_creator_request_id(name);
        ids.push(api.create_http_namespace(request).await.unwrap().namespace_id.to_string());
    }
    let zone = || CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    api.create_private_dns_namespace(zone()).await.unwrap();
    // An operation that fails, without an entity, unless the backend's host refuses it at once.
    let _operation = api.create_private_dns_namespace(zone()).await;
    let arn = here_of(stage, &api).namespace(&ids[0]).unwrap().namespace().arn().to_string();
    api.tag_resource(TagResourceRequest::new(arn).with_tags([Tag::new("key", "value")])).await.unwrap();
    let web = create_service(&api, &ids[0], "web").await;
    let gone = create_service(&api, &ids[0], "gone").await;
    for id in ["a", "b", "c"] {
        api.register_instance(register(&web, id).with_creator_request_id(id)).await.unwrap();
    }
    api.register_instance(register(&web, "a").with_attribute("more", "2")).await.unwrap();
    api.deregister_instance(DeregisterInstanceRequest::new(&web, "c")).await.unwrap();
    report(&api, &web, "b", CustomHealthStatus::Unhealthy).await;
    api.delete_service(DeleteServiceRequest::new(&gone)).await.unwrap();
    api.delete_namespace(DeleteNamespaceRequest::new(ids[1].as_str())).await.unwrap();
    web
}

fn here_of(stage: &Stage, api: &ScopedCloudMap) -> crate::state::ScopeState {
    state(stage.subject.registry()).scope(api.scope()).clone()
}

pub(super) async fn facts_and_operations_are_the_same_after_a_restart(bench: &Bench) {
    let mut stage = Stage::fresh(bench).await;
    let web = fill(&stage, Scope::default()).await;
    fill(&stage, elsewhere()).await;
    // A service that is not checked for a while forgets the health of its instances.
    let (tree, other) = (Tree::new(), namespace("other"));
    let service = Service { namespace_id: other.id.clone(), ..tree.service.clone() };
    let unchecked = Service { health_check: HealthCheck::None, ..service.clone() };
    stage.commit(vec![put_namespace(&other), put_service(&service), tree.put("a")]).await;
    stage.commit(vec![put_health(&service, "a", CustomHealthStatus::Unhealthy)]).await;
    stage.commit(vec![put_service(&unchecked)]).await;
    stage.commit(vec![put_service(&service)]).await;
    for number in 0..3 {
        // What is under way at the restart, and has ended at the next one.
        let slow = Stage { timing: Timing::aws(), ..stage };
        slow.pass(1_000_000);
        let api = slow.api();
        let id = format!("late-{number}");
        api.register_instance(register(&web, &id)).await.unwrap();
        api.create_http_namespace(CreateHttpNamespaceRequest::new(id)).await.unwrap();
        let status = [CustomHealthStatus::Healthy, CustomHealthStatus::Unhealthy][number % 2];
        report(&api, &web, "b", status).await;
        drop(api);
        let refusal = relying(vec![free(&other)], vec![tree.put("refused")]);
        refused(slow.subject.registry(), refusal).await;
        let before = slow.stored();
        stage = Stage { timing: Timing::instant(), ..slow }.restarted().await;
        stage.pass(0);
        assert_eq!(stage.stored(), before, "restart {number}");
    }
}

pub(super) async fn a_page_token_goes_on_after_a_restart(bench: &Bench) {
    let stage = Stage::fresh(bench).await;
    let api = stage.api();
    let mut first = None;
    // All of them in one millisecond.
    for number in 0..5 {
        let request = CreateHttpNamespaceRequest::new(format!("n-{number}"));
        let created = api.create_http_namespace(request).await.unwrap();
        first.get_or_insert(created.namespace_id);
    }
    let app = first.unwrap().to_string();
    let mut service = None;
    for number in 0..5 {
        let created = create_service(&api, &app, &format!("s-{number}")).await;
        service.get_or_insert(created);
    }
    let service = service.unwrap();
    for number in 0..5 {
        api.register_instance(register(&service, &format!("i-{number}"))).await.unwrap();
    }
    drop(api);
    let pages = |api: ScopedCloudMap, tokens: Option<[String; 4]>| {
        let (namespaces, services, instances, operations) = (
            ListNamespacesRequest::new(),
            ListServicesRequest::new(),
            ListInstancesRequest::new(&service),
            ListOperationsRequest::new(),
        );
        let (namespaces, services, instances, operations) = match tokens {
            None => (
                namespaces.with_max_results(2),
                services.with_max_results(2),
                instances.with_max_results(2),
                operations.with_max_results(2),
            ),
            Some([a, b, c, d]) => (
                namespaces.with_next_token(a),
                services.with_next_token(b),
                instances.with_next_token(c),
                operations.with_next_token(d),
            ),
        };
        let namespaces = api.list_namespaces(namespaces).unwrap();
        let services = api.list_services(services).unwrap();
        let instances = api.list_instances(instances).unwrap();
        let operations = api.list_operations(operations).unwrap();
        let ids: [Vec<String>; 4] = [
            namespaces.items.iter().map(|found| found.namespace.id.to_string()).collect(),
            services.items.iter().map(|found| found.service.id.to_string()).collect(),
            instances.items.iter().map(|found| found.id.to_string()).collect(),
            operations.items.iter().map(|found| found.id.to_string()).collect(),
        ];
        let tokens =
            [namespaces.next_token, services.next_token, instances.next_token, operations.next_token];
        (ids, tokens)
    };
    let (_, tokens) = pages(stage.api(), None);
    let tokens = tokens.map(|token| token.expect("there is more"));
    let (rest, _) = pages(stage.api(), Some(tokens.clone()));
    assert_eq!(rest.each_ref().map(Vec::len), [3, 3, 3, 8]);
    let stage = stage.restarted().await;
    assert_eq!(pages(stage.api(), Some(tokens)).0, rest);
}

pub(super) async fn a_request_token_is_replayed_after_a_restart(bench: &Bench) {
    let stage = Stage::fresh(bench).await;
    let request = || CreateHttpNamespaceRequest::new("app").with_creator_request_id("token");
    let created = stage.api().create_http_namespace(request()).await.unwrap();
    let service = create_service(&stage.api(), created.namespace_id.as_str(), "web").await;
    let registration = || register(&service, "a").with_creator_request_id("token");
    let registered = stage.api().register_instance(registration()).await.unwrap();
    let stage = stage.restarted().await;
    let api = stage.api();
    let again = api.create_http_namespace(request()).await.unwrap();
    assert_eq!((&again.operation_id, &again.namespace_id), (&created.operation_id, &created.namespace_id));
    assert_eq!(api.register_instance(registration()).await.unwrap().operation_id, registered.operation_id);
    for id in [created.operation_id, registered.operation_id] {
        let found = api.get_operation(GetOperationRequest::new(id)).unwrap();
        assert_eq!(found.status, OperationStatus::Success);
    }
}

/// A service in which the registration of `late` has begun, and its operation.
async fn begun(stage: &mut Stage) -> (ServiceId, String) {
    let slow = std::mem::take(&mut stage.timing);
    let app = stage.api().create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
    let service = create_service(&stage.api(), app.namespace_id.as_str(), "web").await;
    stage.api().register_instance(register(&service, "there")).await.unwrap();
    stage.timing = slow;
    let operation = stage.api().register_instance(register(&service, "late")).await.unwrap().operation_id;
    (service, operation.to_string())
}

fn is_registered(stage: &Stage, service: &ServiceId, id: &str) -> bool {
    let state = state(stage.subject.registry());
    here(&state).service(service.as_str()).is_some_and(|entry| entry.instances().get(id).is_some())
}

pub(super) async fn an_operation_ends_at_its_moment_after_a_restart(bench: &Bench) {
    for ended in [false, true] {
        let mut stage = Stage::slow(bench).await;
        let (service, operation) = begun(&mut stage).await;
        if ended {
            // The cell shows the end, which nothing has stored yet.
            stage.pass(DELAY);
            stage = stage.restarted().await;
            stage.pass(0);
        } else {
            stage.pass(DELAY - 1);
            stage = stage.restarted().await;
            stage.pass(0);
            let found = stage.api().get_operation(GetOperationRequest::new(&operation)).unwrap();
            assert_ne!(found.status, OperationStatus::Success);
            assert!(!is_registered(&stage, &service, "late"));
            stage.pass(1);
        }
        assert!(is_registered(&stage, &service, "late"), "has ended before the restart: {ended}");
        let found = stage.api().get_operation(GetOperationRequest::new(&operation)).unwrap();
        let due = Timestamp::from_millis(NOW + DELAY);
        assert_eq!((found.status, found.updated), (OperationStatus::Success, due));
        assert!(is_registered(&stage.restarted().await, &service, "there"));
    }
}

pub(super) async fn an_operation_ends_once_over_a_restart(bench: &Bench) {
    let mut stage = Stage::slow(bench).await;
    let (service, operation) = begun(&mut stage).await;
    stage.pass(DELAY);
    stage.timing = Timing::instant();
    stage.api().deregister_instance(DeregisterInstanceRequest::new(&service, "late")).await.unwrap();
    let stage = stage.restarted().await;
    stage.pass(DELAY);
    assert!(!is_registered(&stage, &service, "late"), "the end of the operation was repeated");
    let found = stage.api().get_operation(GetOperationRequest::new(&operation)).unwrap();
    assert_eq!(found.status, OperationStatus::Success);
}

pub(super) async fn a_report_takes_effect_at_its_moment_after_a_restart(bench: &Bench) {
    let mut stage = Stage::slow(bench).await;
    let (service, _) = begun(&mut stage).await;
    report(&stage.api(), &service, "there", CustomHealthStatus::Unhealthy).await;
    let is_routable = |stage: &Stage| {
        let state = state(stage.subject.registry());
        let entry = here(&state).service(service.as_str()).unwrap();
        entry.instances().get("there").unwrap().health().is_routable()
    };
    stage.pass(DELAY - 1);
    let stage = stage.restarted().await;
    stage.pass(0);
    assert!(is_routable(&stage));
    stage.pass(1);
    assert!(!is_routable(&stage));
    let stage = stage.restarted().await;
    stage.pass(0);
    assert!(!is_routable(&stage));
}

pub(super) async fn the_instances_revision_grows_over_a_restart(bench: &Bench) {
    let mut stage = Stage::fresh(bench).await;
    let mut tree = Tree::new();
    stage.commit(tree.changes()).await;
    // As many within a millisecond that the revision is ahead of the time.
    for number in 0..5 {
        stage.commit(vec![tree.put(&format!("i-{number}"))]).await;
    }
    stage.commit((0..5).map(|number| delete_instance(&tree.service, &format!("i-{number}"))).collect()).await;
    let revision = |stage: &Stage, tree: &Tree| {
        let state = state(stage.subject.registry());
        entry(&state, &tree.service).unwrap().instances_revision()
    };
    let mut last = revision(&stage, &tree);
    for emptied in [None, Some(false), Some(true)] {
        if let Some(is_scope_emptied) = emptied {
            let mut changes = vec![Change::DeleteService(tree.service.id.clone())];
            changes.extend(is_scope_emptied.then(|| Change::DeleteNamespace(tree.namespace.id.clone())));
            stage.commit(vec![delete_instance(&tree.service, "next")]).await;
            last = revision(&stage, &tree);
            stage.commit(changes).await;
        }
        stage = stage.restarted().await;
        if let Some(is_scope_emptied) = emptied {
            tree.service.incarnation = reborn(tree.service.incarnation);
            let mut changes = tree.changes();
            if !is_scope_emptied {
                changes.remove(0);
            }
            stage.commit(changes).await;
            assert!(revision(&stage, &tree) > last, "with the scope emptied: {is_scope_emptied}");
        }
        stage.commit(vec![tree.put("next")]).await;
        assert!(revision(&stage, &tree) > last);
        last = revision(&stage, &tree);
    }
}

pub(super) async fn a_reset_stays_after_a_restart(bench: &Bench) {
    let stage = Stage::fresh(bench).await;
    fill(&stage, Scope::default()).await;
    fill(&stage, elsewhere()).await;
    let slow = Stage { timing: Timing::aws(), ..stage };
    slow.api().create_http_namespace(CreateHttpNamespaceRequest::new("late")).await.unwrap();
    slow.api().cloud_map().reset().await.unwrap();
    let stage = Stage { timing: Timing::instant(), ..slow }.restarted().await;
    stage.pass(1_000_000);
    assert_eq!(state(stage.subject.registry()).scopes().count(), 0);
    assert!(stage.subject.registry().cell().operations().is_empty(), "it remembers operations");
    // The name, the token and the zone are free again.
    fill(&stage, Scope::default()).await;
    let before = stage.stored();
    assert_eq!(stage.restarted().await.stored(), before);
}

pub(super) async fn former_http_names_stay_after_a_restart(bench: &Bench) {
    let mut stage = Stage { mode: Mode::Strict, ..Stage::fresh(bench).await };
    for is_deleted_last in [false, true] {
        let name = if is_deleted_last { "last" } else { "first" };
        let created = stage.api().create_http_namespace(CreateHttpNamespaceRequest::new(name)).await.unwrap();
        let request = DeleteNamespaceRequest::new(created.namespace_id.as_str());
        stage.api().delete_namespace(request).await.unwrap();
        if !is_deleted_last {
            stage.api().create_http_namespace(CreateHttpNamespaceRequest::new("other")).await.unwrap();
        }
        stage = stage.restarted().await;
        let again = stage.api().create_http_namespace(CreateHttpNamespaceRequest::new(name)).await.unwrap();
        let state = state(stage.subject.registry());
        let found = here(&state).namespace(again.namespace_id.as_str()).unwrap().namespace().clone();
        assert_ne!(found.http_name.as_str(), name);
    }
}

pub(super) async fn a_backend_without_a_restart_offers_none(bench: &Bench) {
    let subject = bench.fresh().await;
    assert!(
        subject.reopen.is_none(),
        "the factory offers a restart: the test says `restart`, not `no_restart`"
    );
}
