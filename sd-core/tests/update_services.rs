//! Updating services, and the effect on their instances and records.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use common::{
    Engine, code, custom_check, dns, dns_service, invalid, one_violation, registration, route53_check, ruled,
    weighted,
};
use sd_core::{
    Action, Error, ErrorCode, Timing,
    dns::{Answer, View},
    model::{
        DnsName, HealthCheck, HealthStatus, OperationStatus, OperationType,
        RecordType::{self, A, Aaaa, Cname, Srv},
        RoutingPolicy, Service, ServiceKind,
    },
    request::{
        CreatePrivateDnsNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest,
        DiscoverInstancesRequest, DiscoverInstancesRevisionRequest, DnsConfigChange,
        GetInstancesHealthStatusRequest, GetServiceRequest, ServiceChange, UpdateServiceRequest as Update,
    },
};

const ADDRESSES: [(&str, &str); 3] =
    [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("AWS_INSTANCE_IPV6", "fd00::1"), ("AWS_INSTANCE_PORT", "80")];

fn change() -> ServiceChange {
    ServiceChange::default()
}

fn records(records: &[(RecordType, u32)]) -> ServiceChange {
    change().with_dns_config(DnsConfigChange::new(records.iter().copied()))
}

fn update(engine: &Engine, service: &Service, change: ServiceChange) -> Result<String, Error> {
    let request = Update::new(service.id.as_str()).with_service(change);
    Ok(engine.api.update_service(request)?.operation_id.to_string())
}

fn found(engine: &Engine, service: &Service) -> Arc<Service> {
    engine.api.get_service(GetServiceRequest::new(&service.id)).unwrap().service
}

fn health(engine: &Engine, service: &Service) -> BTreeMap<String, HealthStatus> {
    let request = GetInstancesHealthStatusRequest::new(&service.id);
    let page = engine.api.get_instances_health_status(&request).unwrap();
    page.items.iter().map(|item| (item.instance.id.to_string(), item.status)).collect()
}

/// The TTL of a name's records of a type, or `None` if there are none.
fn ttl(engine: &Engine, name: &str, kind: RecordType) -> Result<u32, &'static str> {
    let name = DnsName::parse(name).unwrap();
    match engine.cloud_map.cloud_map().resolve(&View::default(), &name, kind) {
        Answer::Records(records) => Ok(records[0].ttl),
        Answer::NoData { .. } => Err("no data"),
        Answer::NxDomain { .. } => Err("no name"),
        Answer::Refused => Err("refused"),
    }
}

/// A service `web` with these records and the instance `i-1`, in the private namespace `app.local`.
fn filled(types: &[RecordType]) -> (Engine, Arc<Service>) {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    let service = engine.dns_service(&namespace, "web", types);
    engine.register(&service, "i-1", &ADDRESSES);
    (engine, service)
}

#[test]
fn an_update_changes_the_ttls_of_records() {
    let (engine, service) = filled(&[Srv, A]);
    let operation = update(&engine, &service, records(&[(A, 5), (Srv, 7)]).with_description("new")).unwrap();
    let operation = engine.operation(&operation);
    assert_eq!((operation.kind, operation.status), (OperationType::UpdateService, OperationStatus::Success));
    assert_eq!(operation.targets.iter().collect::<Vec<_>>(), [("SERVICE", service.id.as_str())]);
    assert_eq!(operation.namespace, service.namespace_id);
    let after = found(&engine, &service);
    let config = after.dns_config().unwrap();
    assert_eq!(config.records.iter().map(|r| (r.kind, r.ttl)).collect::<Vec<_>>(), [(A, 5), (Srv, 7)]);
    assert_eq!(config.routing_policy, RoutingPolicy::Multivalue);
    assert_eq!(after.description.as_deref(), Some("new"));
    let mut same = (*after).clone();
    (same.kind, same.description) = (service.kind.clone(), None);
    assert_eq!(same, *service);
    assert_eq!(ttl(&engine, "web.app.local", A), Ok(5));
    assert_eq!(ttl(&engine, "web.app.local", Srv), Ok(7));
    assert_eq!(ttl(&engine, "i-1.web.app.local", A), Ok(7));
    assert_eq!(engine.discover(&DiscoverInstancesRequest::new("app.local", "web")), ["i-1"]);
}

#[test]
fn records_that_are_left_out_are_deleted() {
    let (engine, service) = filled(&[A, Aaaa]);
    update(&engine, &service, records(&[(A, 60)])).unwrap();
    assert_eq!(ttl(&engine, "web.app.local", A), Ok(60));
    assert_eq!(ttl(&engine, "web.app.local", Aaaa), Err("no data"));
    // Deleted records cannot be added again.
    assert_eq!(
        invalid(update(&engine, &service, records(&[(A, 60), (Aaaa, 60)]))),
        "The record types in the request must be the same as those present in the existing service. Records in the existing \
         service are [A], but the records in the request are [A, AAAA]. The record types of a service cannot be changed."
    );
    // Without a DnsConfig all records are deleted, and only the API finds instances.
    update(&engine, &service, change().with_description("api only")).unwrap();
    assert_eq!(found(&engine, &service).kind, ServiceKind::Http);
    assert_eq!(ttl(&engine, "web.app.local", A), Err("no name"));
    assert_eq!(engine.discover(&DiscoverInstancesRequest::new("app.local", "web")), ["i-1"]);
    engine.register(&service, "i-2", &[]);
    assert_eq!(
        invalid(update(&engine, &service, records(&[(A, 60)]))),
        "When you specify an HTTP service, you can't include a DnsConfig element."
    );
}

#[test]
fn an_update_keeps_changes_or_clears_the_description() {
    let (engine, service) = filled(&[A]);
    let describe = |change: ServiceChange| {
        update(&engine, &service, change).unwrap();
        found(&engine, &service).description.as_deref().map(str::to_owned)
    };
    assert_eq!(describe(records(&[(A, 1)]).with_description("d")), Some("d".into()));
    assert_eq!(describe(records(&[(A, 2)])), Some("d".into()));
    assert_eq!(describe(records(&[(A, 2)]).with_description("")), None);
    let request = Update::new(service.arn().as_str()).with_service(records(&[(A, 3)]));
    engine.api.update_service(request).unwrap();
    assert_eq!(ttl(&engine, "web.app.local", A), Ok(3), "by its ARN");
}

#[test]
fn the_remaining_records_must_follow_the_rules() {
    let (engine, service) = filled(&[A, Aaaa]);
    const RECORDS: &str = "service.dnsConfig.dnsRecords";
    assert_eq!(ruled(update(&engine, &service, records(&[]))), RECORDS);
    assert_eq!(ruled(update(&engine, &service, records(&[(A, 1), (A, 2)]))), RECORDS);
    for kind in [Srv, Cname] {
        assert_eq!(ruled(update(&engine, &service, records(&[(kind, 1)]))), RECORDS);
    }
    assert_eq!(found(&engine, &service), service);
    let namespace = engine.private("other.local");
    let alias = engine.service(dns_service(&namespace, "alias", weighted(&[Cname])));
    update(&engine, &alias, records(&[(Cname, 9)])).unwrap();
    assert_eq!(found(&engine, &alias).dns_config().unwrap().routing_policy, RoutingPolicy::Weighted);
    let check = records(&[(Cname, 9)]).with_health_check_config(route53_check("TCP", None, None));
    assert_eq!(ruled(update(&engine, &alias, check)), "service.healthCheckConfig");
}

#[test]
fn services_of_http_namespaces_cannot_be_updated() {
    let engine = Engine::new();
    let namespace = engine.http("app");
    let service = engine.http_service(&namespace, "web");
    let refused = update(&engine, &service, change().with_description("new"));
    assert_eq!(invalid(refused), "A service in an HTTP namespace can't be updated.");
    assert_eq!(ruled(update(&engine, &service, records(&[(A, 1)]))), "id");
    assert_eq!(found(&engine, &service), service);
    // A service of type HTTP in a DNS namespace can be updated.
    let zone = engine.private("app.local");
    let service = engine.http_service(&zone, "web");
    update(&engine, &service, change().with_description("new")).unwrap();
    assert_eq!(found(&engine, &service).description.as_deref(), Some("new"));
    let gone = engine.api.update_service(Update::new("srv-none").with_service(change()));
    assert_eq!(code(gone), ErrorCode::ServiceNotFound);
}

#[test]
fn an_update_adds_changes_and_deletes_a_route_53_check() {
    let engine = Engine::strict();
    let namespace = engine.public("example.com");
    let service = engine.dns_service(&namespace, "web", &[A]);
    engine.register(&service, "i-1", &ADDRESSES);
    let revision = || {
        let request = DiscoverInstancesRevisionRequest::new("example.com", "web");
        engine.api.discover_instances_revision(&request).unwrap()
    };
    let with = |kind: &str, path: Option<&str>, threshold: Option<i64>| {
        records(&[(A, 60)]).with_health_check_config(route53_check(kind, path, threshold))
    };
    let (before, all) = (revision(), DiscoverInstancesRequest::new("example.com", "web"));
    assert_eq!(health(&engine, &service)["i-1"], HealthStatus::Unknown);
    update(&engine, &service, with("HTTP", None, None)).unwrap();
    let HealthCheck::Route53(check) = &found(&engine, &service).health_check else { panic!() };
    assert_eq!((check.resource_path.as_deref(), check.failure_threshold.get()), (Some("/"), 1));
    assert_eq!(health(&engine, &service)["i-1"], HealthStatus::Healthy);
    assert_eq!(engine.discover(&all), ["i-1"]);
    assert!(engine.discover(&all.clone().with_health_status("UNHEALTHY")).is_empty());

    update(&engine, &service, with("HTTP", Some("/ready"), Some(10))).unwrap();
    let HealthCheck::Route53(check) = &found(&engine, &service).health_check else { panic!() };
    assert_eq!((check.resource_path.as_deref(), check.failure_threshold.get()), (Some("/ready"), 10));
    assert_eq!(ruled(update(&engine, &service, with("TCP", None, None))), "service.healthCheckConfig.type");
    assert_eq!(ruled(update(&engine, &service, with("HTTPS", None, None))), "service.healthCheckConfig.type");

    update(&engine, &service, records(&[(A, 60)])).unwrap();
    assert_eq!(found(&engine, &service).health_check, HealthCheck::None);
    assert_eq!(health(&engine, &service)["i-1"], HealthStatus::Unknown);
    assert_eq!(engine.discover(&all.with_health_status("UNHEALTHY")), ["i-1"], "the filter says nothing");
    assert_eq!(
        ruled(update(&engine, &service, with("TCP", Some("/"), None))),
        "service.healthCheckConfig.resourcePath"
    );
    update(&engine, &service, with("TCP", None, None)).unwrap();
    assert_eq!(revision(), before, "health is no registration");
}

#[test]
fn an_update_keeps_a_custom_check_and_refuses_another() {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    let request = dns_service(&namespace, "web", dns(&[A])).with_health_check_custom_config(custom_check());
    let service = engine.service(request);
    let ill = [ADDRESSES[0], ("AWS_INIT_HEALTH_STATUS", "UNHEALTHY")];
    engine.register(&service, "i-1", &ill);
    update(&engine, &service, records(&[(A, 1)])).unwrap();
    assert_eq!(found(&engine, &service).health_check, HealthCheck::Custom);
    assert_eq!(health(&engine, &service)["i-1"], HealthStatus::Unhealthy);
    let both = records(&[(A, 1)]).with_health_check_config(route53_check("HTTP", None, None));
    assert_eq!(ruled(update(&engine, &service, both)), "service.healthCheckConfig");
}

#[test]
fn only_lenient_mode_allows_a_route_53_check_in_a_private_namespace() {
    let check = || records(&[(A, 60)]).with_health_check_config(route53_check("HTTP", None, None));
    for (engine, accepted) in [(Engine::new(), true), (Engine::strict(), false)] {
        let namespace = engine.private("app.local");
        let service = engine.dns_service(&namespace, "web", &[A]);
        let result = update(&engine, &service, check());
        if accepted { drop(result.unwrap()) } else { assert_eq!(ruled(result), "service.healthCheckConfig") }
    }
}

#[test]
fn members_of_an_update_are_checked() {
    let (engine, service) = filled(&[A]);
    let refused = |change: ServiceChange| invalid(update(&engine, &service, change));
    let null = |member| one_violation(member, None, "not be null");
    assert_eq!(
        invalid(engine.api.update_service(Update::default())),
        "2 validation errors detected: \
         Value null at 'id' failed to satisfy constraint: Member must not be null; \
         Value null at 'service' failed to satisfy constraint: Member must not be null"
    );
    let none = change().with_dns_config(DnsConfigChange::default());
    assert_eq!(refused(none), null("service.dnsConfig.dnsRecords"));
    let mut config = DnsConfigChange::new([(A, 60)]);
    let record = &mut config.dns_records.as_mut().unwrap()[0];
    (record.kind, record.ttl) = (Some("MX".into()), Some(-1));
    let text = refused(change().with_dns_config(config.clone()));
    assert!(text.contains("Value 'MX' at 'service.dnsConfig.dnsRecords.1.member.type'"), "{text}");
    assert!(text.contains("Value '-1' at 'service.dnsConfig.dnsRecords.1.member.tTL'"), "{text}");
    let record = &mut config.dns_records.as_mut().unwrap()[0];
    (record.kind, record.ttl) = (None, None);
    let text = refused(change().with_dns_config(config));
    assert!(text.starts_with("2 validation errors detected: Value null"), "{text}");
    let over = records(&[(A, 2_147_483_648)]);
    assert!(refused(over).ends_with("Member must have value less than or equal to 2147483647"));
    let check = |kind: Option<&str>, path: usize, threshold: i64| {
        let mut check = route53_check("HTTP", Some(&"/".repeat(path)), Some(threshold));
        check.kind = kind.map(Into::into);
        refused(records(&[(A, 60)]).with_health_check_config(check))
    };
    assert_eq!(check(None, 1, 1), null("service.healthCheckConfig.type"));
    let text = check(Some("ICMP"), 256, 11);
    for member in ["type", "resourcePath", "failureThreshold"] {
        assert!(text.contains(&format!("at 'service.healthCheckConfig.{member}'")), "{text}");
    }
    assert!(check(Some("HTTP"), 1, 0).contains("greater than or equal to 1"));
    assert!(refused(change().with_description("d".repeat(1025))).contains("at 'service.description'"));
    assert_eq!(found(&engine, &service), service);
}

/// As [`filled`], with the timing of AWS.
fn timed() -> (Engine, Arc<Service>) {
    let engine = Engine::timed(Timing::aws());
    let create = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    let started = engine.api.create_private_dns_namespace(create).unwrap();
    pass(&engine);
    let namespace = engine.namespace(started.namespace_id.as_str());
    let service = engine.dns_service(&namespace, "web", &[A]);
    engine.register(&service, "i-1", &ADDRESSES);
    pass(&engine);
    (engine, service)
}

fn pass(engine: &Engine) {
    engine.clock.advance(Timing::aws().operation());
}

fn checked() -> ServiceChange {
    records(&[(A, 5)]).with_health_check_config(route53_check("HTTP", None, None))
}

#[test]
fn one_update_at_a_time_changes_a_service() {
    let (engine, service) = timed();
    let first = update(&engine, &service, checked()).unwrap();
    assert_eq!(engine.operation(&first).status, OperationStatus::Submitted);
    assert_eq!(found(&engine, &service), service, "not before its operation has succeeded");
    assert_eq!(ttl(&engine, "web.app.local", A), Ok(60));
    let error = update(&engine, &service, checked()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("Another operation of type UpdateService and id {first} is in progress")
    );
    assert!(matches!(error, Error::DuplicateRequest { action: Action::UpdateService, .. }));
    pass(&engine);
    assert_eq!(engine.operation(&first).status, OperationStatus::Success);
    assert_eq!(ttl(&engine, "web.app.local", A), Ok(5));
    assert_eq!(health(&engine, &service)["i-1"], HealthStatus::Healthy);
    update(&engine, &service, checked()).unwrap();
}

#[test]
fn a_service_under_update_is_in_use() {
    let (engine, service) = timed();
    let deregister = DeregisterInstanceRequest::new(&service.id, "i-1");
    engine.api.deregister_instance(deregister).unwrap();
    pass(&engine);
    update(&engine, &service, checked()).unwrap();
    let delete = || engine.api.delete_service(DeleteServiceRequest::new(&service.id));
    assert_eq!(code(delete()), ErrorCode::ResourceInUse);
    pass(&engine);
    delete().unwrap();
}

#[test]
fn instances_registered_during_an_update_get_its_health_check() {
    let (engine, service) = timed();
    let register = |id: &str| engine.api.register_instance(registration(&service, id, &ADDRESSES)).unwrap();
    // One registration ends after the update, and one ends before it.
    update(&engine, &service, checked()).unwrap();
    engine.clock.advance(std::time::Duration::from_millis(1));
    register("i-2");
    pass(&engine);
    let all = health(&engine, &service);
    assert_eq!(all.len(), 2);
    assert!(all.values().all(|status| *status == HealthStatus::Healthy), "{all:?}");
    register("i-3");
    update(&engine, &service, records(&[(A, 5)])).unwrap();
    pass(&engine);
    let all = health(&engine, &service);
    assert_eq!(all.len(), 3);
    assert!(all.values().all(|status| *status == HealthStatus::Unknown), "{all:?}");
}
