//! Quotas on resources, and request rates.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::time::Duration;

use common::{Engine, code, registration};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Error, ErrorCode, Quotas, Scope, Timing,
    model::Service,
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, DeleteNamespaceRequest,
        DeleteServiceRequest, DeregisterInstanceRequest, DiscoverInstancesRequest, GetNamespaceRequest,
        ListNamespacesRequest,
    },
    settings::Quota,
};

/// The quota named in a refusal.
fn exceeded<T: std::fmt::Debug>(result: Result<T, Error>) -> (Quota, usize) {
    match result.unwrap_err() {
        error @ Error::ResourceLimitExceeded { quota, most } => {
            assert_eq!((error.code(), error.is_retryable()), (ErrorCode::ResourceLimitExceeded, false));
            assert_eq!(error.to_string(), format!("the quota of {most} {quota} is reached"));
            (quota, most)
        }
        other => panic!("{other:?}"),
    }
}

fn register(engine: &Engine, service: &Service, id: &str) -> Result<(), Error> {
    engine.api.register_instance(registration(service, id, &[])).map(drop)
}

fn deregister(engine: &Engine, service: &Service, id: &str) {
    let request = DeregisterInstanceRequest::new(&service.id, id);
    engine.api.deregister_instance(request).unwrap();
}

#[test]
fn the_quota_on_namespaces_is_per_account_and_region() {
    let engine = Engine::with_quotas(Quotas::none().with(Quota::Namespaces, 2));
    let first = engine.http("a");
    engine.private("b.local");
    let http = |name: &str| CreateHttpNamespaceRequest::new(name).with_creator_request_id("t");
    let private = CreatePrivateDnsNamespaceRequest::new("c.local", "vpc-1");
    assert_eq!(exceeded(engine.api.create_private_dns_namespace(private)), (Quota::Namespaces, 2));
    assert_eq!(exceeded(engine.api.create_http_namespace(http("c"))), (Quota::Namespaces, 2));
    // Other errors take precedence over the quota.
    assert_eq!(code(engine.api.create_http_namespace(http("a"))), ErrorCode::NamespaceAlreadyExists);
    assert_eq!(code(engine.api.create_http_namespace(http("a b"))), ErrorCode::InvalidInput);
    let elsewhere = engine.cloud_map.at(Scope::parse("123456789012", "eu-west-1").unwrap());
    elsewhere.create_http_namespace(http("c")).unwrap();

    engine.api.delete_namespace(DeleteNamespaceRequest::new(&first.id)).unwrap();
    let started = engine.api.create_http_namespace(http("c")).unwrap();
    assert_eq!(engine.api.create_http_namespace(http("c")).unwrap(), started, "a replay adds nothing");
}

#[test]
fn the_quotas_on_instances_are_per_service_and_per_namespace() {
    let quotas = Quotas::none().with(Quota::InstancesPerService, 2).with(Quota::InstancesPerNamespace, 3);
    let engine = Engine::with_quotas(quotas);
    let namespace = engine.http("app");
    let [one, two] = ["one", "two"].map(|name| engine.http_service(&namespace, name));
    register(&engine, &one, "a").unwrap();
    register(&engine, &one, "b").unwrap();
    assert_eq!(exceeded(register(&engine, &one, "c")), (Quota::InstancesPerService, 2));
    register(&engine, &one, "a").unwrap();
    register(&engine, &two, "a").unwrap();
    assert_eq!(exceeded(register(&engine, &two, "b")), (Quota::InstancesPerNamespace, 3));
    engine.register(&two, "a", &[("registered", "again")]);
    // Another namespace has its own quota.
    let other = engine.http_service(&engine.http("other"), "one");
    register(&engine, &other, "a").unwrap();

    deregister(&engine, &one, "a");
    register(&engine, &two, "b").unwrap();
    assert_eq!(exceeded(register(&engine, &one, "c")), (Quota::InstancesPerNamespace, 3));
    for id in ["a", "b"] {
        deregister(&engine, &two, id);
    }
    engine.api.delete_service(DeleteServiceRequest::new(&two.id)).unwrap();
    register(&engine, &one, "c").unwrap();
}

#[test]
fn operations_under_way_count_towards_quotas() {
    let quotas = Quotas::none()
        .with(Quota::Namespaces, 2)
        .with(Quota::InstancesPerService, 2)
        .with(Quota::InstancesPerNamespace, 2);
    let timing = Timing::aws();
    let engine = Engine::configured(MemoryRegistry::new(), |builder| builder.timing(timing).quotas(quotas));
    let create = |name: &str| engine.api.create_http_namespace(CreateHttpNamespaceRequest::new(name));
    create("app").unwrap();
    create("other").unwrap();
    assert_eq!(exceeded(create("third")).0, Quota::Namespaces);
    engine.clock.advance(timing.operation());
    assert_eq!(exceeded(create("third")).0, Quota::Namespaces);
    let listed = engine.api.list_namespaces(ListNamespacesRequest::new()).unwrap();
    let namespace = &listed.items[0].namespace;

    let [one, two] = ["one", "two"].map(|name| engine.http_service(namespace, name));
    register(&engine, &one, "a").unwrap();
    register(&engine, &one, "b").unwrap();
    assert_eq!(exceeded(register(&engine, &one, "c")).0, Quota::InstancesPerService);
    assert_eq!(exceeded(register(&engine, &two, "a")).0, Quota::InstancesPerNamespace);
    engine.clock.advance(timing.operation());
    assert_eq!(exceeded(register(&engine, &one, "c")).0, Quota::InstancesPerService);
    // Registering again adds nothing. A deregistration under way removes nothing yet.
    register(&engine, &one, "a").unwrap();
    deregister(&engine, &one, "b");
    assert_eq!(exceeded(register(&engine, &two, "a")).0, Quota::InstancesPerNamespace);
    engine.clock.advance(timing.operation());
    register(&engine, &two, "a").unwrap();
}

#[test]
fn aws_allows_1000_instances_in_a_service_and_2000_in_a_namespace() {
    let engine = Engine::with_quotas(Quotas::aws().without_rates());
    let namespace = engine.http("app");
    let services = ["one", "two", "three"].map(|name| engine.http_service(&namespace, name));
    for service in &services[..2] {
        (0..1000).for_each(|i| register(&engine, service, &i.to_string()).unwrap());
        assert_eq!(exceeded(register(&engine, service, "more")), (Quota::InstancesPerService, 1000));
    }
    assert_eq!(exceeded(register(&engine, &services[2], "more")), (Quota::InstancesPerNamespace, 2000));
    (1..50).for_each(|i| drop(engine.http(&format!("n{i}"))));
    let create = engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("more"));
    assert_eq!(exceeded(create), (Quota::Namespaces, 50));
}

#[test]
fn without_quotas_there_is_no_limit() {
    let engine = Engine::new();
    let namespaces: Vec<_> = (0..51).map(|i| engine.http(&format!("n{i}"))).collect();
    let service = engine.http_service(&namespaces[0], "web");
    (0..1001).for_each(|i| register(&engine, &service, &i.to_string()).unwrap());
    for _ in 0..2001 {
        engine.api.discover_instances(DiscoverInstancesRequest::new("n1", "none")).unwrap();
    }
}

#[test]
fn discovery_is_throttled_per_account_and_region() {
    let engine = Engine::with_quotas(Quotas::aws());
    engine.http("app");
    let request = DiscoverInstancesRequest::new("app", "web");
    let discovered = |count: usize| {
        (0..count).map(|_| engine.api.discover_instances(&request)).take_while(Result::is_ok).count()
    };
    assert_eq!(discovered(3000), 2000);
    let error = engine.api.discover_instances(&request).unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (ErrorCode::RequestLimitExceeded, true));
    assert_eq!(
        error.to_string(),
        "too many requests for DiscoverInstances: after 2000 at once there can be one every 1ms"
    );
    // Other operations, Regions and handles have their own buckets.
    engine.api.get_namespace(GetNamespaceRequest::new("ns-none")).unwrap_err();
    let elsewhere = engine.cloud_map.at(Scope::parse("123456789012", "eu-west-1").unwrap());
    assert_eq!(code(elsewhere.discover_instances(&request)), ErrorCode::NamespaceNotFound);
    engine.clock.advance(Duration::from_millis(10));
    assert_eq!(discovered(3000), 10);
    engine.clock.advance(Duration::from_secs(60));
    assert_eq!(discovered(3000), 2000);
}

#[test]
fn an_invalid_request_counts_towards_the_rate() {
    let engine = Engine::with_quotas(Quotas::aws());
    let discover =
        |name: &str| code(engine.api.discover_instances(DiscoverInstancesRequest::new(name, "web")));
    for _ in 0..2000 {
        assert_eq!(discover("a b"), ErrorCode::InvalidInput);
    }
    assert_eq!(discover("a b"), ErrorCode::RequestLimitExceeded);
    engine.clock.advance(Duration::from_millis(1));
    assert_eq!(discover("a b"), ErrorCode::InvalidInput);
    assert_eq!(discover("a b"), ErrorCode::RequestLimitExceeded);
}
