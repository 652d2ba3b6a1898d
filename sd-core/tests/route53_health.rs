//! Instances with a Route 53 check: where their health starts, what results and hosts make of it.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{num::NonZeroU8, sync::Arc};

use common::{Engine, custom_check, dns, dns_service};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    DesiredInstance, Scope,
    dns::View,
    health_check::{Check, HealthReasons, NotChecked, Subject, Tally},
    model::{
        CustomHealthStatus, DnsName, HealthCheckType, HealthStart, HealthStatus, InstanceId, RecordType,
        RoutingPolicy, Service, ServiceId,
    },
    request::{
        CreateServiceRequest, DiscoverInstancesRequest, DnsConfigChange, DnsConfigInput,
        GetInstancesHealthStatusRequest, HealthCheckConfigInput, HealthStatusFilter, RegisterInstanceRequest,
        ServiceChange, UpdateServiceRequest,
    },
};

const GOOD: CustomHealthStatus = CustomHealthStatus::Healthy;
const BAD: CustomHealthStatus = CustomHealthStatus::Unhealthy;

fn http_check() -> HealthCheckConfigInput {
    HealthCheckConfigInput::new(HealthCheckType::Http)
}

struct Checked {
    engine: Engine,
    service: Arc<Service>,
}

impl Checked {
    fn new() -> Self {
        Self::starting(HealthStart::Healthy)
    }

    fn starting(start: HealthStart) -> Self {
        let engine = Engine::configured(MemoryRegistry::new(), |builder| builder.health_start(start));
        let namespace = engine.private("app.local");
        let request = dns_service(&namespace, "web", dns(&[RecordType::A]));
        let service = engine.service(request.with_health_check_config(http_check()));
        Self { engine, service }
    }

    fn register(&self, id: &str, last: u8) {
        let request = RegisterInstanceRequest::new(&self.service.id, id)
            .with_attribute("AWS_INSTANCE_IPV4", format!("10.0.0.{last}"))
            .with_attribute("AWS_INSTANCE_PORT", "8080");
        self.engine.api.register_instance(request).unwrap();
    }

    fn status(&self, id: &str) -> HealthStatus {
        let request = GetInstancesHealthStatusRequest::new(&self.service.id).with_instances([id.to_owned()]);
        self.engine.api.get_instances_health_status(request).unwrap().items[0].status
    }

    fn subject(&self, id: &str) -> Subject {
        let state = self.engine.cloud_map.cloud_map().state();
        Check::of(&state, &Scope::default(), self.service.id.as_str(), id).unwrap().subject()
    }

    /// The ids that a discovery of healthy instances finds, and the number of addresses in DNS.
    fn found(&self) -> (Vec<String>, usize) {
        let request = DiscoverInstancesRequest::new("app.local", "web");
        let found = self.engine.api.discover_instances(request).unwrap();
        let mut ids: Vec<_> = found.instances.iter().map(|instance| instance.id.to_string()).collect();
        ids.sort_unstable();
        let name = DnsName::parse("web.app.local").unwrap();
        let answer = self.engine.cloud_map.cloud_map().resolve(&View::default(), &name, RecordType::A);
        let sd_core::dns::Answer::Records(records) = answer else { panic!("no records") };
        (ids, records.len())
    }
}

#[test]
fn a_status_that_results_came_to_takes_effect_everywhere_at_once() {
    let checked = Checked::new();
    checked.register("a", 1);
    checked.register("b", 2);
    assert!(checked.engine.api.put_checked_health(&checked.subject("a"), BAD).unwrap());
    assert_eq!(checked.status("a"), HealthStatus::Unhealthy);
    assert_eq!(checked.found(), (vec!["b".to_owned()], 1));
    assert!(checked.engine.api.put_checked_health(&checked.subject("a"), GOOD).unwrap());
    assert_eq!(checked.found(), (vec!["a".to_owned(), "b".to_owned()], 2));
}

#[test]
fn when_all_fail_all_are_answered() {
    let checked = Checked::new();
    for (id, last) in [("a", 1), ("b", 2)] {
        checked.register(id, last);
        checked.engine.api.put_checked_health(&checked.subject(id), BAD).unwrap();
    }
    let request = DiscoverInstancesRequest::new("app.local", "web")
        .with_health_status(HealthStatusFilter::HealthyOrElseAll);
    assert_eq!(checked.engine.api.discover_instances(request).unwrap().instances.len(), 2);
    assert_eq!(checked.found(), (vec![], 2), "DNS answers all; a discovery by default only what is healthy");
}

#[test]
fn a_status_that_is_there_already_changes_nothing() {
    let checked = Checked::new();
    checked.register("a", 1);
    let before = checked.engine.cloud_map.cloud_map().state().revision();
    for _ in 0..100 {
        assert!(checked.engine.api.put_checked_health(&checked.subject("a"), GOOD).unwrap());
    }
    assert_eq!(checked.engine.cloud_map.cloud_map().state().revision(), before);
}

#[test]
fn results_about_an_earlier_registration_or_check_are_not_stored() {
    let checked = Checked::new();
    checked.register("a", 1);
    let earlier = checked.subject("a");
    checked.register("a", 2);
    assert!(!checked.engine.api.put_checked_health(&earlier, BAD).unwrap());

    let earlier = checked.subject("a");
    let check = HealthCheckConfigInput::new(HealthCheckType::Http).with_failure_threshold(7);
    let change = ServiceChange::default()
        .with_dns_config(DnsConfigChange::new([(RecordType::A, 60)]))
        .with_health_check_config(check);
    checked
        .engine
        .api
        .update_service(UpdateServiceRequest::new(&checked.service.id).with_service(change))
        .unwrap();
    assert!(!checked.engine.api.put_checked_health(&earlier, BAD).unwrap());
    assert_eq!(checked.status("a"), HealthStatus::Healthy);
    assert!(checked.engine.api.put_checked_health(&checked.subject("a"), BAD).unwrap());
}

#[test]
fn an_update_that_leaves_the_check_keeps_status_and_subject() {
    let checked = Checked::new();
    checked.register("a", 1);
    let before = checked.subject("a");
    checked.engine.api.put_checked_health(&before, BAD).unwrap();
    let change = ServiceChange::default()
        .with_description("other")
        .with_dns_config(DnsConfigChange::new([(RecordType::A, 5)]))
        .with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Http));
    checked
        .engine
        .api
        .update_service(UpdateServiceRequest::new(&checked.service.id).with_service(change))
        .unwrap();
    assert_eq!(checked.subject("a"), before);
    assert_eq!(checked.status("a"), HealthStatus::Unhealthy);
}

#[test]
fn registering_again_starts_health_anew() {
    let checked = Checked::new();
    checked.register("a", 1);
    checked.engine.api.put_checked_health(&checked.subject("a"), BAD).unwrap();
    checked.register("a", 2);
    assert_eq!(checked.status("a"), HealthStatus::Healthy);
}

#[test]
fn health_can_start_as_unhealthy_or_unknown() {
    for (start, status) in
        [(HealthStart::Unhealthy, HealthStatus::Unhealthy), (HealthStart::Unknown, HealthStatus::Unknown)]
    {
        let checked = Checked::starting(start);
        checked.register("a", 1);
        checked.register("b", 2);
        assert_eq!(checked.status("a"), status);
        checked.engine.api.put_checked_health(&checked.subject("a"), GOOD).unwrap();
        assert_eq!(checked.found(), (vec!["a".to_owned()], 1), "{start:?}: b has no result yet");
    }
}

#[test]
fn instances_that_are_not_checked_start_as_healthy() {
    let checked = Checked::starting(HealthStart::Unknown);
    let namespace = checked.engine.private("other.local");
    let records = DnsConfigInput::new([(RecordType::A, 60)]).with_routing_policy(RoutingPolicy::Weighted);
    let request = CreateServiceRequest::new("web").with_namespace_id(&namespace.id).with_dns_config(records);
    let service = checked.engine.service(request.with_health_check_config(http_check()));
    let alias = RegisterInstanceRequest::new(&service.id, "alias")
        .with_attribute("AWS_ALIAS_DNS_NAME", "lb.us-east-1.elb.amazonaws.com");
    checked.engine.api.register_instance(alias).unwrap();
    let state = checked.engine.cloud_map.cloud_map().state();
    let check = Check::of(&state, &Scope::default(), service.id.as_str(), "alias").unwrap();
    assert_eq!(check.target(), Err(NotChecked::Alias));
    assert_eq!(check.health().status(), HealthStatus::Healthy);
}

#[test]
fn instances_of_a_service_that_gets_a_check_start_as_set() {
    let checked = Checked::starting(HealthStart::Unhealthy);
    let namespace = checked.engine.private("other.local");
    let service = checked.engine.service(dns_service(&namespace, "web", dns(&[RecordType::A])));
    let request = RegisterInstanceRequest::new(&service.id, "a")
        .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
        .with_attribute("AWS_INSTANCE_PORT", "80");
    checked.engine.api.register_instance(request).unwrap();
    let change = ServiceChange::default()
        .with_dns_config(DnsConfigChange::new([(RecordType::A, 60)]))
        .with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Tcp));
    checked.engine.api.update_service(UpdateServiceRequest::new(&service.id).with_service(change)).unwrap();
    let request = GetInstancesHealthStatusRequest::new(&service.id);
    let health = checked.engine.api.get_instances_health_status(request).unwrap();
    assert_eq!(health.items[0].status, HealthStatus::Unhealthy);
}

/// The order of precedence that `sd_core::health_check` documents.
#[test]
fn a_status_that_a_host_sets_stays_until_enough_results_contradict_it() {
    let checked = Checked::new();
    checked.register("a", 1);
    let three = NonZeroU8::new(3).unwrap();
    let health = || {
        let state = checked.engine.cloud_map.cloud_map().state();
        Check::of(&state, &Scope::default(), checked.service.id.as_str(), "a").unwrap().health()
    };
    let mut tally = Tally::new(health());
    assert_eq!(tally.count(health(), BAD, three), None);
    assert_eq!(tally.count(health(), BAD, three), None);
    checked.engine.api.set_health(&checked.service.id, "a", BAD).unwrap();
    checked.engine.api.set_health(&checked.service.id, "a", GOOD).unwrap();
    // The host's word counts from now on, and the failures before it do not.
    checked.engine.api.set_health(&checked.service.id, "a", BAD).unwrap();
    for expected in [None, None, Some(GOOD)] {
        assert_eq!(tally.count(health(), GOOD, three), expected);
    }
}

#[test]
fn a_host_brings_the_health_of_its_instances() {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    let service = engine.service(
        dns_service(&namespace, "web", dns(&[RecordType::A])).with_health_check_custom_config(custom_check()),
    );
    let sync = |health: Option<CustomHealthStatus>| {
        let mut task = DesiredInstance::new("a").with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1");
        task.health = health;
        let synced = engine.api.sync_service_instances(&service.id, "ecs:web", [task]).unwrap();
        assert!(synced.refused.is_empty(), "{synced:?}");
        let request = GetInstancesHealthStatusRequest::new(&service.id);
        let status = engine.api.get_instances_health_status(request).unwrap().items[0].status;
        (synced.registered.len(), status)
    };
    assert_eq!(sync(Some(BAD)), (1, HealthStatus::Unhealthy), "from the registration on");
    assert_eq!(sync(Some(GOOD)), (0, HealthStatus::Healthy), "without registering again");
    assert_eq!(sync(Some(BAD)), (0, HealthStatus::Unhealthy));
    assert_eq!(sync(None), (0, HealthStatus::Unhealthy), "the host says nothing");
    let before = engine.cloud_map.cloud_map().state().revision();
    sync(Some(BAD));
    assert_eq!(engine.cloud_map.cloud_map().state().revision(), before, "nothing has changed");
}

#[test]
fn the_health_that_a_host_brings_does_not_disturb_a_route53_check() {
    let checked = Checked::new();
    let sync = |health| {
        let task = DesiredInstance::new("a")
            .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
            .with_attribute("AWS_INSTANCE_PORT", "80")
            .with_health(health);
        checked.engine.api.sync_service_instances(&checked.service.id, "ecs:web", [task]).unwrap();
        checked.status("a")
    };
    assert_eq!(sync(BAD), HealthStatus::Healthy);
    checked.engine.api.put_checked_health(&checked.subject("a"), BAD).unwrap();
    assert_eq!(sync(GOOD), HealthStatus::Unhealthy);
}

#[test]
fn an_explanation_says_why_an_instance_has_its_health() {
    #[derive(Debug)]
    struct Reasons;

    impl HealthReasons for Reasons {
        fn reason(&self, scope: &Scope, _: &ServiceId, instance: &InstanceId) -> Option<String> {
            assert_eq!(*scope, Scope::default());
            (instance.as_str() == "a").then(|| "refused at 10.0.0.1:8080, failures in a row: 3".to_owned())
        }
    }

    let checked = Checked::new();
    checked.register("a", 1);
    checked.register("b", 2);
    checked.engine.api.put_checked_health(&checked.subject("a"), BAD).unwrap();
    let reasons: Arc<dyn HealthReasons> = Arc::new(Reasons);
    let cloud_map = checked.engine.cloud_map.cloud_map();
    cloud_map.explain_health_by(Arc::downgrade(&reasons));
    let name = DnsName::parse("web.app.local").unwrap();
    let expected =
        "UNHEALTHY (refused at 10.0.0.1:8080, failures in a row: 3): left out, because of its health";
    let of_dns = cloud_map.explain(&View::default(), &name, RecordType::A).to_string();
    assert!(of_dns.contains(expected), "{of_dns}");
    let request = DiscoverInstancesRequest::new("app.local", "web");
    let of_discovery = checked.engine.api.explain_discovery(request).unwrap().to_string();
    assert!(of_discovery.contains(expected), "{of_discovery}");
    // The prober is gone.
    drop(reasons);
    assert!(!cloud_map.explain(&View::default(), &name, RecordType::A).to_string().contains("refused"));
}
