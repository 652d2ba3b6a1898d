//! Health checks of services, and the health of their instances.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::sync::Arc;

use common::{
    Engine, custom_check,
    meeting::Shared,
    one_service::{HTTP, PRIVATE, create, create_in, web, web_a},
    route53_check, ruled, weighted,
};
use sd_core::{
    Change, ChangeSet, Clock, Mode, Scope,
    model::{
        CustomHealthStatus, HealthCheck, HealthCheckConfig, HealthEvent, HealthStatus, RecordType::Cname,
        Service,
    },
    request::{CreateServiceRequest, DiscoverInstancesRequest},
};

#[test]
fn health_checks_follow_the_table() {
    let effective = |request, namespace| create(namespace, request).unwrap().service.health_check.clone();
    let checked = |check| effective(web().with_health_check_config(check), HTTP);
    assert_eq!(effective(web(), HTTP), HealthCheck::None);
    assert_eq!(effective(web().with_health_check_custom_config(custom_check()), HTTP), HealthCheck::Custom);
    for (check, path, threshold) in [
        (route53_check("HTTP", None, None), Some("/"), 1),
        (route53_check("HTTPS", Some("/ready"), Some(10)), Some("/ready"), 10),
        (route53_check("TCP", None, Some(1)), None, 1),
    ] {
        let HealthCheck::Route53(HealthCheckConfig { kind, resource_path, failure_threshold, .. }) =
            checked(check.clone())
        else {
            panic!("{check:?}")
        };
        assert_eq!(Some(kind.as_str()), check.kind.as_deref());
        assert_eq!((resource_path.as_deref(), failure_threshold.get()), (path, threshold));
    }
    let both = web()
        .with_health_check_config(route53_check("TCP", None, None))
        .with_health_check_custom_config(custom_check());
    assert_eq!(ruled(create(HTTP, both)), "healthCheckConfig");
    let path = web().with_health_check_config(route53_check("TCP", Some("/"), None));
    assert_eq!(ruled(create(HTTP, path)), "healthCheckConfig.resourcePath");
    let cname = || web().with_dns_config(weighted(&[Cname]));
    let checked = cname().with_health_check_config(route53_check("HTTP", None, None));
    assert_eq!(ruled(create(PRIVATE, checked)), "healthCheckConfig");
    assert_eq!(
        effective(cname().with_health_check_custom_config(custom_check()), PRIVATE),
        HealthCheck::Custom
    );
}

#[test]
fn only_lenient_mode_allows_a_route_53_check_in_a_private_namespace() {
    let request = || web_a().with_health_check_config(route53_check("HTTP", None, None));
    let stored = create_in(Mode::Lenient, PRIVATE, request()).unwrap();
    assert!(matches!(stored.service.health_check, HealthCheck::Route53(_)));
    assert_eq!(ruled(create_in(Mode::Strict, PRIVATE, request())), "healthCheckConfig");
    let custom = web_a().with_health_check_custom_config(custom_check());
    create_in(Mode::Strict, PRIVATE, custom).unwrap();
    let http = web().with_health_check_config(route53_check("HTTP", None, None));
    create_in(Mode::Strict, HTTP, http).unwrap();
}

/// The status of the instance `i-1` of the service `web` in the namespace `api`.
fn status(engine: &Engine) -> HealthStatus {
    let request = DiscoverInstancesRequest::new(HTTP, "web").with_health_status("ALL");
    engine.api.discover_instances(&request).unwrap().instances[0].health
}

/// Changes the status of the instance `i-1` like a health checker, outside the API.
fn set_status(shared: &Shared, engine: &Engine, service: &Service, status: CustomHealthStatus) {
    let state = engine.cloud_map.cloud_map().state();
    let entry = state.scope(&Scope::default()).service(service.id.as_str()).unwrap();
    let instance = entry.instances().get("i-1").unwrap();
    let health = instance.health().on(HealthEvent::Set(status), engine.clock.now());
    let (service, id) = (service.id.clone(), instance.instance().id.clone());
    let mut set = ChangeSet::new(Scope::default(), engine.clock.now());
    set.changes = vec![Change::PutHealth { service, id, health }];
    shared.store(set).unwrap();
}

/// A service `web` with this check in the namespace `api`, with the instance `i-1` set to UNHEALTHY.
fn ill(request: CreateServiceRequest) -> (Shared, Engine, Arc<Service>) {
    let shared = Shared::default();
    let engine = Engine::over(shared.clone(), Mode::Lenient);
    let namespace = engine.http(HTTP);
    let service = engine.service(request.with_namespace_id(&namespace.id));
    engine.register(&service, "i-1", &[("AWS_INSTANCE_PORT", "80")]);
    set_status(&shared, &engine, &service, CustomHealthStatus::Unhealthy);
    (shared, engine, service)
}

#[test]
fn registering_again_keeps_a_custom_status() {
    let (_, engine, service) = ill(web().with_health_check_custom_config(custom_check()));
    assert_eq!(status(&engine), HealthStatus::Unhealthy);
    engine.register(&service, "i-1", &[("color", "blue")]);
    assert_eq!(status(&engine), HealthStatus::Unhealthy);
    engine.register(&service, "i-1", &[("AWS_INIT_HEALTH_STATUS", "HEALTHY")]);
    assert_eq!(status(&engine), HealthStatus::Healthy);
}

#[test]
fn registering_again_restarts_a_route_53_check() {
    let (_, engine, service) = ill(web().with_health_check_config(route53_check("TCP", None, None)));
    assert_eq!(status(&engine), HealthStatus::Unhealthy);
    engine.register(&service, "i-1", &[("AWS_INSTANCE_PORT", "81")]);
    assert_eq!(status(&engine), HealthStatus::Healthy);
}

#[test]
fn a_change_of_health_does_not_change_the_instances_revision() {
    let (shared, engine, service) = ill(web().with_health_check_custom_config(custom_check()));
    let found = |status: &str| {
        let request = DiscoverInstancesRequest::new(HTTP, "web").with_health_status(status);
        engine.api.discover_instances(&request).unwrap()
    };
    let before = found("ALL").instances_revision;
    assert_eq!((found("HEALTHY").instances.len(), found("UNHEALTHY").instances.len()), (0, 1));
    set_status(&shared, &engine, &service, CustomHealthStatus::Healthy);
    assert_eq!((found("HEALTHY").instances.len(), found("UNHEALTHY").instances.len()), (1, 0));
    assert_eq!(found("ALL").instances_revision, before);
}

#[test]
fn without_a_check_the_status_stays_unknown() {
    let (_, engine, _) = ill(web());
    assert_eq!(status(&engine), HealthStatus::Unknown);
}
