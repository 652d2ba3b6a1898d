//! Delayed effects, with a manual clock: operations and reports of health.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use common::{Engine, code, custom_check, invalid, one_violation, registration, woken::Woken};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Action, Change, Clock, Error, ErrorCode, Observer, Scope, State, SyncCloudMap, Timestamp, Timing,
    model::{HealthStatus, Namespace, OperationStatus, Service},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
        DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest, DiscoverInstancesRequest,
        Filter, GetInstanceRequest, GetInstancesHealthStatusRequest, GetNamespaceRequest,
        GetOperationRequest, ListNamespacesRequest, ListOperationsRequest,
        UpdateInstanceCustomHealthStatusRequest,
    },
};

/// An engine with the timing of AWS, a namespace `app` and a service `web` with a custom check.
struct Timed {
    engine: Engine,
    namespace: Arc<Namespace>,
    service: Arc<Service>,
}

impl Timed {
    fn new() -> Self {
        let engine = Engine::timed(Timing::aws());
        engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
        engine.clock.advance(Duration::from_secs(3));
        let listed = engine.api.list_namespaces(ListNamespacesRequest::new()).unwrap();
        let namespace = Arc::clone(&listed.items[0].namespace);
        let request = CreateServiceRequest::new("web").with_namespace_id(&namespace.id);
        let service = engine.service(request.with_health_check_custom_config(custom_check()));
        Self { engine, namespace, service }
    }

    fn wait(&self, millis: u64) {
        self.engine.clock.advance(Duration::from_millis(millis));
    }

    fn register(&self, id: &str, attributes: &[(&str, &str)]) -> Result<String, Error> {
        let started = self.engine.api.register_instance(registration(&self.service, id, attributes))?;
        Ok(started.operation_id.to_string())
    }

    fn deregister(&self, id: &str) -> Result<String, Error> {
        let request = DeregisterInstanceRequest::new(&self.service.id, id);
        Ok(self.engine.api.deregister_instance(request)?.operation_id.to_string())
    }

    fn report(&self, id: &str, status: &str) -> Result<(), Error> {
        let request = UpdateInstanceCustomHealthStatusRequest::new(&self.service.id, id, status);
        self.engine.api.update_instance_custom_health_status(request)
    }

    fn status(&self, operation: &str) -> OperationStatus {
        self.engine.operation(operation).status
    }

    fn found(&self) -> Vec<String> {
        self.engine.discover(&DiscoverInstancesRequest::new("app", "web"))
    }

    fn health(&self, id: &str) -> HealthStatus {
        let request = GetInstancesHealthStatusRequest::new(&self.service.id).with_instances([id.to_owned()]);
        self.engine.api.get_instances_health_status(&request).unwrap().items[0].status
    }

    fn delete_service(&self) -> Result<(), Error> {
        self.engine.api.delete_service(DeleteServiceRequest::new(&self.service.id))
    }

    fn operations(&self, filters: Vec<Filter>) -> Vec<String> {
        let request = ListOperationsRequest::new().with_filters(filters);
        let page = self.engine.api.list_operations(&request).unwrap();
        page.items.iter().map(|operation| operation.id.to_string()).collect()
    }
}

#[test]
fn an_operation_is_submitted_then_pending_then_done() {
    let timed = Timed::new();
    let operation = timed.register("i-1", &[]).unwrap();
    assert_eq!(timed.status(&operation), OperationStatus::Submitted);
    timed.wait(500);
    let pending = timed.engine.operation(&operation);
    assert_eq!(pending.status, OperationStatus::Pending);
    assert_eq!(pending.updated.as_millis() - pending.created.as_millis(), 500);
    timed.wait(2499);
    assert_eq!(timed.status(&operation), OperationStatus::Pending);
    assert!(timed.found().is_empty(), "not before its operation has succeeded");
    let get = GetInstanceRequest::new(&timed.service.id, "i-1");
    assert_eq!(code(timed.engine.api.get_instance(&get)), ErrorCode::InstanceNotFound);
    timed.wait(1);
    let done = timed.engine.operation(&operation);
    assert_eq!(done.status, OperationStatus::Success);
    assert_eq!(done.updated.as_millis() - done.created.as_millis(), 3000);
    assert_eq!(timed.found(), ["i-1"]);
}

#[test]
fn one_operation_at_a_time_changes_an_instance() {
    let timed = Timed::new();
    let first = timed.register("i-1", &[]).unwrap();
    for second in [timed.register("i-1", &[("a", "b")]), timed.deregister("i-1")] {
        let error = second.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("Another operation of type RegisterInstance and id {first} is in progress")
        );
        assert!(matches!(error, Error::DuplicateRequest { action: Action::RegisterInstance, .. }));
    }
    timed.register("i-2", &[]).unwrap();
    timed.wait(3000);
    let removal = timed.deregister("i-1").unwrap();
    assert_eq!(timed.found(), ["i-1", "i-2"]);
    let error = timed.register("i-1", &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Another operation of type DeregisterInstance and id {removal} is in progress")
    );
    timed.wait(3000);
    assert_eq!(timed.found(), ["i-2"]);
}

#[test]
fn a_request_repeated_while_under_way_gets_the_same_operation() {
    let timed = Timed::new();
    let request = registration(&timed.service, "i-1", &[]).with_creator_request_id("token");
    let first = timed.engine.api.register_instance(request.clone()).unwrap();
    assert_eq!(timed.engine.api.register_instance(request.clone()).unwrap(), first);
    timed.wait(3000);
    assert_eq!(timed.engine.api.register_instance(request).unwrap(), first);
    let create = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1").with_creator_request_id("token");
    let first = timed.engine.api.create_private_dns_namespace(create.clone()).unwrap();
    assert_eq!(timed.engine.api.create_private_dns_namespace(create).unwrap(), first);
}

#[test]
fn only_one_namespace_with_a_name_is_created_at_a_time() {
    let timed = Timed::new();
    let api = &timed.engine.api;
    let first = api
        .create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1"))
        .unwrap();
    let error = api.create_http_namespace(CreateHttpNamespaceRequest::new("App.local")).unwrap_err();
    let expected = format!(
        "Another operation of type CreatePrivateDnsNamespace and id {} is in progress",
        first.operation_id
    );
    assert_eq!(error.to_string(), expected);
    // A final dot makes no difference.
    let rooted = CreatePrivateDnsNamespaceRequest::new("app.local.", "vpc-1");
    assert_eq!(api.create_private_dns_namespace(rooted).unwrap_err().to_string(), expected);
    assert_eq!(api.list_namespaces(ListNamespacesRequest::new()).unwrap().items.len(), 1);
    timed.wait(3000);
    assert_eq!(api.list_namespaces(ListNamespacesRequest::new()).unwrap().items.len(), 2);
    api.create_http_namespace(CreateHttpNamespaceRequest::new("App.local")).unwrap();
}

#[test]
fn a_failed_operation_has_an_error_only_when_it_has_ended() {
    let timed = Timed::new();
    let api = &timed.engine.api;
    let create =
        || api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1"));
    create().unwrap();
    timed.wait(3000);
    let second = create().unwrap().operation_id;
    timed.wait(2999);
    let pending = timed.engine.operation(second.as_str());
    assert_eq!((pending.status, &pending.error), (OperationStatus::Pending, &None));
    timed.wait(1);
    let failed = timed.engine.operation(second.as_str());
    assert_eq!(failed.status, OperationStatus::Fail);
    assert_eq!(failed.error.as_ref().unwrap().code.as_str(), "CANNOT_CREATE_HOSTED_ZONE");
}

#[test]
fn a_resource_with_operations_under_way_is_in_use() {
    let timed = Timed::new();
    timed.register("i-1", &[]).unwrap();
    assert_eq!(code(timed.delete_service()), ErrorCode::ResourceInUse, "a registration is under way");
    timed.wait(3000);
    timed.deregister("i-1").unwrap();
    assert_eq!(code(timed.delete_service()), ErrorCode::ResourceInUse, "a deregistration is under way");
    timed.wait(3000);
    timed.delete_service().unwrap();

    let delete = || timed.engine.api.delete_namespace(DeleteNamespaceRequest::new(&timed.namespace.id));
    delete().unwrap();
    assert_eq!(code(delete()), ErrorCode::DuplicateRequest);
    let get = GetNamespaceRequest::new(&timed.namespace.id);
    timed.engine.api.get_namespace(&get).unwrap();
    let create = CreateServiceRequest::new("late").with_namespace_id(&timed.namespace.id);
    assert_eq!(code(timed.engine.api.create_service(create)), ErrorCode::NamespaceNotFound);
    timed.wait(3000);
    assert_eq!(code(timed.engine.api.get_namespace(&get)), ErrorCode::NamespaceNotFound);
}

#[test]
fn listed_operations_match_all_filters() {
    let timed = Timed::new();
    let created = timed.operations(vec![]);
    let registered = timed.register("i-1", &[]).unwrap();
    timed.wait(3000);
    let removed = timed.deregister("i-1").unwrap();
    timed.wait(600);
    let late = timed.register("i-2", &[]).unwrap();
    let all = [created[0].clone(), registered.clone(), removed.clone(), late.clone()];
    assert_eq!(timed.operations(vec![]), all, "in the order in which they were started");
    let eq = |name: &str, value: &str| vec![Filter::eq(name, value)];
    assert_eq!(timed.operations(eq("STATUS", "SUCCESS")), all[..2]);
    assert_eq!(timed.operations(eq("STATUS", "SUCCEED")), all[..2]);
    assert_eq!(timed.operations(eq("STATUS", "PENDING")), std::slice::from_ref(&removed));
    assert_eq!(timed.operations(eq("STATUS", "SUBMITTED")), std::slice::from_ref(&late));
    assert_eq!(timed.operations(eq("TYPE", "REGISTER_INSTANCE")), [registered.clone(), late.clone()]);
    assert_eq!(timed.operations(eq("SERVICE_ID", timed.service.id.as_str())), all[1..]);
    assert_eq!(timed.operations(eq("SERVICE_ID", timed.service.arn().as_str())), all[1..]);
    assert_eq!(timed.operations(eq("NAMESPACE_ID", timed.namespace.id.as_str())), all);
    assert!(timed.operations(eq("NAMESPACE_ID", "ns-other")).is_empty());
    let mut several = Filter::eq("STATUS", "PENDING");
    several.values = Some(vec!["PENDING".into(), "SUBMITTED".into()]);
    several.condition = Some("IN".into());
    let type_too = Filter::eq("TYPE", "REGISTER_INSTANCE");
    assert_eq!(timed.operations(vec![several, type_too]), std::slice::from_ref(&late));
    let moment = |id: &str| timed.engine.operation(id).updated.as_millis() as f64 / 1000.0;
    let mut between = Filter::eq("UPDATE_DATE", moment(&registered).to_string());
    between.values = Some(vec![moment(&registered).to_string(), moment(&removed).to_string()]);
    between.condition = Some("BETWEEN".into());
    assert_eq!(timed.operations(vec![between]), [registered, removed]);
}

#[test]
fn filters_of_operations_are_checked() {
    let timed = Timed::new();
    let refused = |filter: Filter| {
        invalid(timed.engine.api.list_operations(ListOperationsRequest::new().with_filters([filter])))
    };
    let with = |name: &str, condition: &str, values: &[&str]| {
        let mut filter = Filter::eq(name, "");
        filter.condition = Some(condition.into());
        filter.values = Some(values.iter().map(|value| (*value).to_owned()).collect());
        filter
    };
    for (filter, expected) in [
        (with("STATUS", "EQ", &["DONE"]), "The filter STATUS has no value \"DONE\"."),
        (with("STATUS", "EQ", &["FAIL", "SUCCESS"]), "The conditions EQ and BEGINS_WITH take one value."),
        (with("STATUS", "BETWEEN", &["FAIL", "SUCCESS"]), "The filter STATUS takes EQ or IN."),
        (with("TYPE", "BEGINS_WITH", &["CREATE"]), "The filter TYPE takes EQ or IN."),
        (with("SERVICE_ID", "IN", &["a"]), "The filter SERVICE_ID takes EQ."),
        (with("UPDATE_DATE", "EQ", &["1"]), "The filter UPDATE_DATE takes BETWEEN."),
        (with("UPDATE_DATE", "BETWEEN", &["1"]), "The condition BETWEEN takes two values."),
        (
            with("UPDATE_DATE", "BETWEEN", &["yesterday", "2"]),
            "The filter UPDATE_DATE takes seconds since the Unix epoch.",
        ),
    ] {
        assert_eq!(refused(filter), expected);
    }
    assert!(refused(with("NAME", "EQ", &["x"])).contains("filters.1.member.name"));
}

#[test]
fn pages_have_every_operation_once_while_operations_end() {
    let timed = Timed::new();
    let mut expected = timed.operations(vec![]);
    expected.extend((0..5).map(|i| timed.register(&format!("i-{i}"), &[]).unwrap()));
    let mut request = ListOperationsRequest::new().with_max_results(1);
    let mut walked = Vec::new();
    loop {
        let page = timed.engine.api.list_operations(&request).unwrap();
        walked.extend(page.items.iter().map(|operation| operation.id.to_string()));
        // All operations end between two pages.
        timed.wait(1000);
        let Some(token) = page.next_token else { break };
        request = request.with_next_token(token);
    }
    assert_eq!(walked, expected);
}

#[test]
fn operations_of_a_deleted_namespace_are_not_listed_but_can_be_read() {
    let timed = Timed::new();
    timed.delete_service().unwrap();
    let request = DeleteNamespaceRequest::new(&timed.namespace.id);
    let deletion = timed.engine.api.delete_namespace(request).unwrap().operation_id;
    assert_eq!(timed.operations(vec![]).len(), 2);
    timed.wait(3000);
    assert!(timed.operations(vec![]).is_empty());
    assert_eq!(timed.status(deletion.as_str()), OperationStatus::Success);
}

#[test]
fn a_report_of_health_takes_effect_after_thirty_seconds() {
    let timed = Timed::new();
    timed.register("i-1", &[]).unwrap();
    timed.wait(3000);
    assert_eq!(timed.health("i-1"), HealthStatus::Healthy);
    timed.report("i-1", "UNHEALTHY").unwrap();
    timed.wait(10_000);
    // The same report again neither restarts nor shortens the wait.
    timed.report("i-1", "UNHEALTHY").unwrap();
    timed.wait(19_999);
    assert_eq!(timed.health("i-1"), HealthStatus::Healthy);
    timed.wait(1);
    assert_eq!(timed.health("i-1"), HealthStatus::Unhealthy);
    assert!(timed.found().is_empty());
    timed.report("i-1", "HEALTHY").unwrap();
    timed.wait(10_000);
    // The opposite report cancels the first one.
    timed.report("i-1", "UNHEALTHY").unwrap();
    timed.wait(60_000);
    assert_eq!(timed.health("i-1"), HealthStatus::Unhealthy);
}

#[test]
fn health_changes_do_not_change_the_instances_revision() {
    let engine = Engine::new();
    let namespace = engine.http("app");
    let request = CreateServiceRequest::new("web").with_namespace_id(&namespace.id);
    let service = engine.service(request.with_health_check_custom_config(custom_check()));
    engine.register(&service, "i-1", &[]);
    let discover = || engine.api.discover_instances(DiscoverInstancesRequest::new("app", "web")).unwrap();
    let before = discover();
    let report = UpdateInstanceCustomHealthStatusRequest::new(&service.id, "i-1", "UNHEALTHY");
    engine.api.update_instance_custom_health_status(report).unwrap();
    let after = discover();
    assert_eq!((before.instances.len(), after.instances.len()), (1, 0));
    assert_eq!(before.instances_revision, after.instances_revision);
}

#[test]
fn a_report_during_a_registration_is_not_lost() {
    let timed = Timed::new();
    timed.register("i-1", &[]).unwrap();
    timed.wait(3000);
    timed.register("i-1", &[("again", "yes")]).unwrap();
    timed.report("i-1", "UNHEALTHY").unwrap();
    timed.wait(3000);
    assert_eq!(timed.health("i-1"), HealthStatus::Healthy);
    timed.wait(27_000);
    assert_eq!(timed.health("i-1"), HealthStatus::Unhealthy);
}

#[test]
fn the_members_of_health_requests_are_checked() {
    let timed = Timed::new();
    assert_eq!(code(timed.report("i-1", "HEALTHY")), ErrorCode::InstanceNotFound);
    let expected = one_violation("status", Some("UNKNOWN"), "satisfy enum value set: [HEALTHY, UNHEALTHY]");
    assert_eq!(invalid(timed.report("i-1", "UNKNOWN")), expected);
    let unchecked = timed.engine.http_service(&timed.namespace, "unchecked");
    let report = UpdateInstanceCustomHealthStatusRequest::new(&unchecked.id, "i-1", "HEALTHY");
    assert_eq!(
        code(timed.engine.api.update_instance_custom_health_status(report)),
        ErrorCode::CustomHealthNotFound
    );
    let ask =
        |request: GetInstancesHealthStatusRequest| timed.engine.api.get_instances_health_status(&request);
    let of_web = || GetInstancesHealthStatusRequest::new(&timed.service.id);
    assert_eq!(code(ask(of_web().with_instances(["i-9".to_owned()]))), ErrorCode::InstanceNotFound);
    assert_eq!(code(ask(GetInstancesHealthStatusRequest::new("srv-none"))), ErrorCode::ServiceNotFound);
    assert!(invalid(ask(of_web().with_instances([]))).contains("'instances'"));
    assert!(ask(of_web()).unwrap().items.is_empty());
}

#[test]
fn health_statuses_are_paged() {
    let timed = Timed::new();
    for id in ["c", "a", "b"] {
        timed.register(id, &[]).unwrap();
    }
    timed.wait(3000);
    let mut request = GetInstancesHealthStatusRequest::new(&timed.service.id).with_max_results(2);
    let page = timed.engine.api.get_instances_health_status(&request).unwrap();
    let ids = |items: &[sd_core::response::InstanceHealth]| {
        items.iter().map(|item| item.instance.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&page.items), ["c", "a"]);
    timed.deregister("a").unwrap();
    timed.wait(3000);
    request = request.with_next_token(page.next_token.unwrap());
    let page = timed.engine.api.get_instances_health_status(&request).unwrap();
    assert_eq!((ids(&page.items), page.next_token), (vec!["b".to_owned()], None));
}

/// An observer that notes the kinds of changes.
#[derive(Debug, Default)]
struct Noted(Mutex<Vec<String>>);

impl Observer for Noted {
    fn changed(&self, _: &State, new: &State, scope: &Scope, changes: &[Change]) {
        assert!(new.scopes().any(|(found, _)| found == scope));
        let kinds =
            changes.iter().map(|change| format!("{change:?}").split(['(', ' ']).next().unwrap().to_owned());
        self.0.lock().unwrap().extend(kinds);
    }

    fn rebuild(&self, _: &State) {}
}

#[test]
fn observers_are_told_of_delayed_effects() {
    let timed = Timed::new();
    let noted = Arc::new(Noted::default());
    let cell = timed.engine.cloud_map.cloud_map().cell();
    let _attached = cell.attach(Arc::clone(&noted) as Arc<dyn Observer>);
    let mut changes = cell.subscribe();
    timed.register("i-1", &[]).unwrap();
    timed.wait(3000);
    timed.found();
    timed.report("i-1", "UNHEALTHY").unwrap();
    timed.wait(30_000);
    // No request advances the cell, so this does, like a timer.
    assert_eq!(cell.next_deadline(), Some(Clock::now(&timed.engine.clock)));
    cell.advance(Clock::now(&timed.engine.clock));
    assert_eq!(*noted.0.lock().unwrap(), ["BeginOperation", "PutInstance", "PutHealth", "PutHealth"]);
    assert_eq!(cell.next_deadline(), None);
    let mut context = Context::from_waker(Waker::noop());
    assert!(changes.poll_changed(&mut context).is_ready());
}

/// A clock that advances by 1 ms at every reading.
#[derive(Debug, Default)]
struct Ticking(AtomicU64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

#[test]
fn the_effect_of_a_successful_operation_is_published() {
    for millis in 1..8 {
        let timing = Timing::instant().with_operation(Duration::from_millis(millis));
        let cloud_map = SyncCloudMap::builder(MemoryRegistry::new())
            .clock(Ticking::default())
            .timing(timing)
            .build_sync();
        let api = cloud_map.at(Scope::default());
        let started = api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
        let get = GetOperationRequest::new(&started.operation_id);
        while api.get_operation(&get).unwrap().status != OperationStatus::Success {}
        // Load the published state, as an observer sees it, without advancing it.
        let state = cloud_map.cloud_map().cell().load();
        assert!(state.scope(&Scope::default()).namespace_by_http_name("app").is_some(), "{millis} ms");
    }
}

#[test]
fn keep_time_publishes_delayed_effects_without_requests() {
    let timed = Timed::new();
    let cell = timed.engine.cloud_map.cloud_map().cell();
    let instances = || {
        let state = cell.load();
        let service = state.scope(&Scope::default()).service(timed.service.id.as_str()).unwrap();
        (service.instances().len(), service.instances().healthy_len())
    };
    let sleeps = Mutex::new(Vec::new());
    let sleep = |wait: Duration| {
        sleeps.lock().unwrap().push(wait.as_secs());
        let (clock, moment) = (Arc::clone(&timed.engine.clock), timed.engine.clock.now().after(wait));
        async move { clock.reached(moment).await }
    };
    let (woken, waker) = Woken::new();
    let mut timer = pin!(timed.engine.cloud_map.cloud_map().clone().keep_time(sleep));
    let mut turn = |times| {
        assert_eq!(woken.times(), times);
        assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        std::mem::take(&mut *sleeps.lock().unwrap())
    };
    assert_eq!(turn(0), [0; 0], "nothing is due");
    let another = CreateServiceRequest::new("another").with_namespace_id(&timed.namespace.id);
    timed.engine.service(another);
    assert_eq!(turn(0), [0; 0], "still nothing is due");
    timed.register("i-1", &[]).unwrap();
    assert_eq!(turn(1), [3]);
    timed.wait(1000);
    assert_eq!(turn(2), [0; 0]);
    timed.register("i-2", &[]).unwrap();
    assert_eq!(turn(2), [0; 0], "a later effect does not change the next deadline");
    assert_eq!(instances(), (0, 0));
    timed.wait(2000);
    assert_eq!(turn(3), [1]);
    assert_eq!(instances(), (1, 1));
    timed.report("i-1", "UNHEALTHY").unwrap();
    timed.wait(1000);
    assert_eq!(turn(4), [29]);
    assert_eq!(instances(), (2, 2));
    timed.register("i-3", &[]).unwrap();
    assert_eq!(turn(5), [3], "the next deadline is earlier");
    timed.wait(29_000);
    assert_eq!(turn(6), [0; 0]);
    assert_eq!(instances(), (3, 2));
}
