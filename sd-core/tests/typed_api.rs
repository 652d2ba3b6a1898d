//! The typed API from an embedder's view: answers that name what was created, ids that are accepted as arguments, one
//! shape for all calls.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::Engine;
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Action, Blueprint, CloudMap, CloudMapBuilder, ErrorCode, Fault, Journal, ManualClock, RandomIds, Request,
    Response, Scope, ScopedCloudMap, State, SyncCloudMap, SyncScopedCloudMap, SystemClock, Timing,
    blueprint::BlueprintError,
    dns::View,
    model::{
        CustomHealthStatus, DnsName, InstanceId, NamespaceId, OperationStatus, OperationTargets, RecordType,
        ServiceId,
    },
    request::*,
    response::OperationStarted,
    settings::ThreadRandom,
};

fn done<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

#[test]
fn an_operation_that_is_started_knows_its_target() {
    for timing in [Timing::instant(), Timing::aws()] {
        let engine = Engine::timed(timing);
        let api = &engine.api;
        // The answer tells what the operation tells, also when the request is repeated, before and after the end.
        let check = |start: &dyn Fn() -> OperationStarted| {
            let started = start();
            let told = engine.operation(started.operation_id.as_str());
            assert_eq!((&started.namespace_id, &started.targets), (&told.namespace, &told.targets));
            engine.clock.advance(timing.operation());
            started
        };
        let replayed = |start: &dyn Fn() -> OperationStarted| {
            let first = start();
            assert_eq!(start(), first);
            assert_eq!(check(start), first);
            assert_eq!(start(), first);
            first
        };
        let namespace = |started: &OperationStarted| {
            assert_eq!(started.targets, OperationTargets::Namespace(started.namespace_id.clone()));
            started.namespace_id.clone()
        };

        let http = CreateHttpNamespaceRequest::new("api").with_creator_request_id("t");
        let http = namespace(&replayed(&|| api.create_http_namespace(&http).unwrap()));
        let private = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc").with_creator_request_id("t");
        let private = namespace(&replayed(&|| api.create_private_dns_namespace(&private).unwrap()));
        let public = CreatePublicDnsNamespaceRequest::new("example.com").with_creator_request_id("t");
        let public = namespace(&replayed(&|| api.create_public_dns_namespace(&public).unwrap()));

        let change = HttpNamespaceChange::new("new");
        let update =
            UpdateHttpNamespaceRequest::new(&http).with_namespace(change).with_updater_request_id("t");
        assert_eq!(namespace(&replayed(&|| api.update_http_namespace(&update).unwrap())), http);
        let change = DnsNamespaceChange::default().with_soa_ttl(1);
        let update = UpdatePrivateDnsNamespaceRequest::new(&private).with_namespace(change.clone());
        assert_eq!(namespace(&check(&|| api.update_private_dns_namespace(&update).unwrap())), private);
        let update = UpdatePublicDnsNamespaceRequest::new(&public).with_namespace(change);
        assert_eq!(namespace(&check(&|| api.update_public_dns_namespace(&update).unwrap())), public);

        let web = CreateServiceRequest::new("web")
            .with_namespace_id(&private)
            .with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]));
        let web: ServiceId = api.create_service(web).unwrap().id.clone();
        let change = ServiceChange::default().with_dns_config(DnsConfigChange::new([(RecordType::A, 5)]));
        let update = UpdateServiceRequest::new(&web).with_service(change);
        let updated = check(&|| api.update_service(&update).unwrap());
        assert_eq!(
            (updated.namespace_id, updated.targets),
            (private.clone(), OperationTargets::Service(web.clone()))
        );

        let instance = RegisterInstanceRequest::new(&web, "web-1")
            .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
            .with_creator_request_id("t");
        let target = OperationTargets::Instance(web.clone(), InstanceId::parse("web-1").unwrap());
        let registered = replayed(&|| api.register_instance(&instance).unwrap());
        assert_eq!((registered.namespace_id, registered.targets), (private, target.clone()));
        let deregister = DeregisterInstanceRequest::new(&web, "web-1");
        assert_eq!(check(&|| api.deregister_instance(&deregister).unwrap()).targets, target);
        assert_eq!(
            namespace(&check(&|| api.delete_namespace(DeleteNamespaceRequest::new(&http)).unwrap())),
            http
        );
    }
}

#[test]
fn an_answer_reads_like_what_it_describes() {
    let engine = Engine::new();
    let checked = CreateServiceRequest::new("web")
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
    let blueprint =
        Blueprint::new().http_namespace("api").service(checked).instance("web-1", [("color", "blue")]);
    let app = blueprint.apply_sync(&engine.api).unwrap();
    let service_id = app.service_id("web").unwrap();
    let found = engine.api.discover_instances(DiscoverInstancesRequest::new("api", "web")).unwrap();
    assert_eq!(
        (found.instances[0].id.as_str(), found.instances[0].attributes.get("color")),
        ("web-1", Some("blue"))
    );
    let service = engine.api.get_service(GetServiceRequest::new(service_id)).unwrap();
    assert_eq!((service.name.as_str(), service.instance_count), ("web", 1));
    let namespace = engine.api.get_namespace(GetNamespaceRequest::new(&service.namespace_id)).unwrap();
    assert_eq!((namespace.name.as_str(), namespace.service_count), ("api", 1));
    let instance =
        engine.api.get_instance(GetInstanceRequest::new(&service.id, &found.instances[0].id)).unwrap();
    assert_eq!(instance.instance, found.instances[0].instance);
    let list = ListInstancesRequest::new(&service.id);
    assert_eq!(engine.api.list_instances(list).unwrap().items, [instance.instance]);
    let health = GetInstancesHealthStatusRequest::new(&service.id);
    assert_eq!(engine.api.get_instances_health_status(health).unwrap().items[0].id.as_str(), "web-1");
}

#[test]
fn ids_and_enumerations_are_given_as_they_are() {
    let id = NamespaceId::parse("ns-1").unwrap();
    let by_reference = GetNamespaceRequest::new(&id);
    assert_eq!(by_reference, GetNamespaceRequest::new(id));
    assert_eq!(by_reference.id.as_deref(), Some("ns-1"));

    let find = || DiscoverInstancesRequest::new("api", "web");
    assert_eq!(find().with_health_status(HealthStatusFilter::All), find().with_health_status("ALL"));
    assert_eq!(OneOf::<HealthStatusFilter>::from("ALL".to_owned()), OneOf::from(HealthStatusFilter::All));
    let unknown = OneOf::<HealthStatusFilter>::from("all");
    assert_eq!((unknown.known(), unknown.as_str()), (None, "all"));
    let report = UpdateInstanceCustomHealthStatusRequest::new("srv-1", "i-1", CustomHealthStatus::Unhealthy);
    assert_eq!(report.status.as_deref(), Some("UNHEALTHY"));
    let running = Filter::eq(FilterName::Status, OperationStatus::Pending);
    assert_eq!(running, Filter::eq("STATUS", "PENDING"));
}

#[test]
fn filters_are_made_of_values() {
    let engine = Engine::new();
    let start = sd_core::Clock::now(&*engine.clock);
    engine.http("one");
    engine.http("other");
    let end = sd_core::Clock::now(&*engine.clock);
    let count = |filter: Filter| {
        let request = ListOperationsRequest::new().with_filters([filter]);
        engine.api.list_operations(request).unwrap().items.len()
    };
    assert_eq!(count(Filter::updated_between(start, end)), 2);
    assert_eq!(count(Filter::updated_between(start, start)), 1, "both ends are included");
    assert_eq!(count(Filter::updated_between(end, end)), 0);
    assert_eq!(
        count(Filter::one_of(FilterName::Status, [OperationStatus::Success, OperationStatus::Fail])),
        2
    );
    assert_eq!(count(Filter::one_of(FilterName::Status, [OperationStatus::Fail])), 0);
}

#[test]
fn a_call_of_any_operation_is_its_method() {
    let engine = Engine::new();
    let asynchronous = engine.cloud_map.cloud_map().at(Scope::default());
    let created = engine.api.call(Request::from(CreateHttpNamespaceRequest::new("api"))).unwrap();
    let Response::CreateHttpNamespace(started) = &created else { panic!("{created:?}") };
    let get = Request::from(GetNamespaceRequest::new(&started.namespace_id));
    let described = engine.api.get_namespace(GetNamespaceRequest::new(&started.namespace_id)).unwrap();
    let answers = [engine.api.call(&get).unwrap(), done(asynchronous.call(&get)).unwrap().unwrap()];
    for answer in answers {
        assert_eq!((answer.action(), get.action()), (Action::GetNamespace, Action::GetNamespace));
        assert_eq!(answer, Response::GetNamespace(described.clone()));
    }
    let delete = Request::from(DeleteNamespaceRequest::new(&started.namespace_id));
    assert!(done(asynchronous.call(&delete)).unwrap().is_ok());
    assert_eq!(engine.api.call(&delete).unwrap_err().code(), ErrorCode::NamespaceNotFound);
}

#[test]
fn a_delay_holds_back_a_call_that_reads_but_nothing_of_the_handle_that_cannot_wait() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = SyncCloudMap::builder(MemoryRegistry::new()).clock(Arc::clone(&clock)).build_sync();
    let delay = || Fault::delay(Action::ListNamespaces, &clock, Duration::from_secs(1)).always();
    cloud_map.faults().inject(delay());
    let list = Request::from(ListNamespacesRequest::new());
    assert!(cloud_map.at(Scope::default()).call(&list).is_ok());
    let scoped = cloud_map.cloud_map().at(Scope::default());
    let mut held = pin!(scoped.call(&list));
    let mut poll = || held.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    clock.advance(Duration::from_secs(1));
    assert!(matches!(poll(), Poll::Ready(Ok(Response::ListNamespaces(_)))));
}

#[test]
fn the_handle_without_asynchrony_has_what_the_other_has() {
    // The defaults can be written.
    let cloud_map: SyncCloudMap = CloudMap::builder(MemoryRegistry::new())
        .clock(SystemClock)
        .random(ThreadRandom)
        .ids(RandomIds)
        .timing(Timing::aws())
        .journal(1)
        .build_sync();
    let api = cloud_map.at(Scope::default());
    api.create_http_namespace(CreateHttpNamespaceRequest::new("api")).unwrap();
    let twin = cloud_map.cloud_map();
    assert_eq!(cloud_map.state().revision(), twin.state().revision());
    assert_eq!(cloud_map.cell().load().revision(), twin.cell().load().revision());
    assert_eq!(cloud_map.journal().calls().len(), 1);
    assert_eq!(cloud_map.advance(), twin.advance());
    assert!(cloud_map.advance().is_some(), "the operation is under way");
    let (view, name) = (View::default(), DnsName::parse("web.api").unwrap());
    let explained = cloud_map.explain(&view, &name, RecordType::A);
    assert_eq!(explained.to_string(), twin.explain(&view, &name, RecordType::A).to_string());
    assert_eq!(cloud_map.resolve(&view, &name, RecordType::A), twin.resolve(&view, &name, RecordType::A));
    cloud_map.reset().unwrap();
    assert_eq!(cloud_map.advance(), None);
}

#[test]
fn handles_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    fn sends<T: Send>(_: T) {}

    crosses::<CloudMap>();
    crosses::<ScopedCloudMap>();
    crosses::<SyncCloudMap>();
    crosses::<SyncScopedCloudMap>();
    crosses::<CloudMapBuilder<MemoryRegistry>>();
    crosses::<Blueprint>();
    crosses::<BlueprintError>();
    crosses::<sd_core::Error>();
    crosses::<Fault>();
    crosses::<Journal>();
    crosses::<Request>();
    crosses::<Response>();
    crosses::<State>();
    crosses::<sd_core::StateCell>();
    crosses::<sd_core::StateWriter>();
    crosses::<sd_core::Subscription>();
    crosses::<sd_core::Attached>();
    let cloud_map = CloudMap::new(MemoryRegistry::new()).at(Scope::default());
    sends(cloud_map.call(Request::from(ListNamespacesRequest::new())));
    sends(cloud_map.create_http_namespace(CreateHttpNamespaceRequest::new("api")));
    sends(cloud_map.set_health("srv-1", "i-1", CustomHealthStatus::Healthy));
    sends(Blueprint::new().apply(&cloud_map));
}
