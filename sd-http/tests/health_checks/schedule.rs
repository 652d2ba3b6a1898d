//! When targets are asked, and when statuses change.

use std::time::Duration;

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    CloudMap, Scope,
    dns::{Answer, View},
    model::{CustomHealthStatus, DnsName, HealthCheckType::Http, HealthStart, RecordType},
    request::{
        DeregisterInstanceRequest, DiscoverInstancesRequest, DnsConfigChange, HealthCheckConfigInput,
        RegisterInstanceRequest, ServiceChange, UpdateServiceRequest,
    },
};
use sd_http::health_checks::{Failure, Prober, SpawnError};
use tokio::sync::watch;

use crate::{
    setting::{INTERVAL, Setting},
    target::{Behaviour, Target},
};

const OK: &str = "HTTP/1.1 200 OK";
const DOWN: &str = "HTTP/1.1 503 Service Unavailable";

/// The number of results of `a` until its status is this one, probe by probe.
async fn results_until(setting: &Setting, service: &str, status: &str) -> usize {
    let made = || {
        let counters = setting.prober().counters();
        counters.healthy + counters.failed.iter().map(|(_, count)| count).sum::<u64>()
    };
    for count in 1.. {
        let before = made();
        setting.advance(INTERVAL).await;
        setting.probes(before + 1).await;
        // A status is stored after the probe has ended.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        if setting.status(service, "a") == status {
            return count;
        }
    }
    0
}

#[tokio::test]
async fn as_many_results_in_a_row_as_the_threshold_change_a_status() {
    for threshold in [1, 3, 10] {
        let setting = Setting::new();
        let check = HealthCheckConfigInput::new(Http).with_failure_threshold(threshold);
        let service = setting.service_with(check).await;
        let down = Target::new(Behaviour::status(DOWN)).await;
        setting.register(&service, "a", down.address).await;
        setting.until(|| setting.prober().counters().instances == 1).await;
        let expected = usize::from(threshold);
        assert_eq!(results_until(&setting, &service, "UNHEALTHY").await, expected);
        let address = down.end().await;
        let _up = Target::at(&address.to_string(), Behaviour::status(OK)).await;
        assert_eq!(results_until(&setting, &service, "HEALTHY").await, expected);
    }
}

#[tokio::test]
async fn equal_results_change_no_revision() {
    let setting = Setting::new();
    let service = setting.service(Http).await;
    let target = Target::new(Behaviour::status(OK)).await;
    setting.register(&service, "a", target.address).await;
    let before = setting.cloud_map.state().revision();
    setting.until(|| setting.prober().counters().instances == 1).await;
    for count in 1..=200 {
        setting.advance(INTERVAL).await;
        setting.probes(count).await;
    }
    assert_eq!(setting.cloud_map.state().revision(), before);
    assert_eq!(target.connections(), 200, "one connection for each probe");
}

#[tokio::test]
async fn dns_and_discovery_change_in_the_same_state() {
    let setting = Setting::new();
    let service = setting.service(Http).await;
    let (up, down) = (Target::new(Behaviour::status(OK)).await, Target::new(Behaviour::status(DOWN)).await);
    setting.register(&service, "up", up.address).await;
    let other: std::net::SocketAddr = (std::net::Ipv4Addr::new(127, 0, 0, 2), down.address.port()).into();
    let down = Target::at(&other.to_string(), Behaviour::status(DOWN)).await;
    setting.register(&service, "down", down.address).await;
    let mut subscription = setting.cloud_map.cell().subscribe();
    setting.until(|| setting.prober().counters().instances == 2).await;
    setting.advance(INTERVAL).await;
    // The first state after the registrations is the one with the new status.
    let state = subscription.changed().await;
    let name = DnsName::parse("web.app.local").unwrap();
    let random = sd_core::settings::SeededRandom::new(1);
    let answer = sd_core::dns::resolve(&state, &View::default(), &name, RecordType::A, &random);
    let Answer::Records(records) = answer else { panic!("no records") };
    assert_eq!(records.len(), 1);
    let found = setting.api().discover_instances(DiscoverInstancesRequest::new("app.local", "web")).unwrap();
    assert_eq!(found.instances.iter().map(|instance| instance.id.as_str()).collect::<Vec<_>>(), ["up"]);
    let explained = setting.cloud_map.explain(&View::default(), &name, RecordType::A).to_string();
    let reason = format!("status_503 at {}, failures in a row: 1", down.address);
    assert!(explained.contains(&reason), "{explained}");
}

#[tokio::test]
async fn with_the_start_unhealthy_nothing_is_healthy_before_its_first_success() {
    for (start, before) in [(HealthStart::Unhealthy, "UNHEALTHY"), (HealthStart::Unknown, "UNKNOWN")] {
        let setting =
            Setting::with(MemoryRegistry::new(), |builder| builder.health_start(start), |prober| prober);
        let service = setting.service_with(HealthCheckConfigInput::new(Http)).await;
        let target = Target::new(Behaviour::status(OK)).await;
        setting.register(&service, "a", target.address).await;
        assert_eq!(setting.status(&service, "a"), before);
        setting.until(|| setting.prober().counters().instances == 1).await;
        assert_eq!(results_until(&setting, &service, "HEALTHY").await, 1, "{start:?}");
    }
}

#[tokio::test]
async fn the_address_that_is_asked_follows_the_records_of_the_service() {
    let setting = Setting::new();
    let check = || HealthCheckConfigInput::new(Http).with_failure_threshold(3);
    let service = setting.service_with(check()).await;
    let ipv4 = Target::new(Behaviour::status(OK)).await;
    let request = RegisterInstanceRequest::new(&service, "a")
        .with_attribute("AWS_INSTANCE_IPV4", "127.0.0.1")
        .with_attribute("AWS_INSTANCE_IPV6", "::1")
        .with_attribute("AWS_INSTANCE_PORT", ipv4.address.port().to_string());
    setting.api().register_instance(request).await.unwrap();
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL).await;
    setting.probes(1).await;
    // With AAAA records only, the IPv6 address decides. Nothing listens there.
    let only_ipv6 = ServiceChange::default()
        .with_dns_config(DnsConfigChange::new([(RecordType::Aaaa, 60)]))
        .with_health_check_config(check());
    setting.api().update_service(UpdateServiceRequest::new(&service).with_service(only_ipv6)).await.unwrap();
    setting.advance(INTERVAL).await;
    setting.probes(2).await;
    let checks = setting.checks(&service, "a").unwrap();
    assert_eq!(checks.target.map(|target| target.is_ipv6()), Some(true));
    assert_eq!(checks.results.len(), 2, "the count goes on");
    assert_eq!(ipv4.connections(), 1);
}

#[tokio::test]
async fn only_a_new_registration_and_a_changed_check_begin_anew() {
    let setting = Setting::new();
    let service = setting.service_with(HealthCheckConfigInput::new(Http).with_failure_threshold(3)).await;
    let target = Target::new(Behaviour::status(DOWN)).await;
    setting.register(&service, "a", target.address).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    for count in 1..=2 {
        setting.advance(INTERVAL).await;
        setting.probes(count).await;
    }
    let contrary = || setting.checks(&service, "a").unwrap().contrary;
    assert_eq!(contrary(), 2);

    // Another registration, and an update that leaves the check.
    let other = Target::new(Behaviour::status(OK)).await;
    setting.register(&service, "b", other.address).await;
    setting.until(|| setting.prober().counters().instances == 2).await;
    let update = |threshold| {
        let change = ServiceChange::default()
            .with_description("other")
            .with_dns_config(DnsConfigChange::new([(RecordType::A, 5), (RecordType::Aaaa, 5)]))
            .with_health_check_config(HealthCheckConfigInput::new(Http).with_failure_threshold(threshold));
        UpdateServiceRequest::new(&service).with_service(change)
    };
    setting.api().update_service(update(3)).await.unwrap();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(contrary(), 2, "nothing begins anew");

    setting.api().update_service(update(5)).await.unwrap();
    setting.until(|| contrary() == 0).await;
    setting.advance(INTERVAL / 10).await;
    setting.results(&service, "a", 1).await;
    assert_eq!(contrary(), 1);

    setting.register(&service, "a", target.address).await;
    setting.until(|| contrary() == 0).await;
    setting.advance(INTERVAL / 10).await;
    setting.results(&service, "a", 1).await;
    assert_eq!(contrary(), 1, "registered again");

    setting.api().deregister_instance(DeregisterInstanceRequest::new(&service, "a")).await.unwrap();
    setting.until(|| setting.prober().counters().instances == 1).await;
    let connections = target.connections();
    setting.advance(INTERVAL * 3).await;
    setting.until(|| setting.prober().counters().in_flight == 0).await;
    assert_eq!(target.connections(), connections, "what is deregistered is not asked");
}

#[tokio::test]
async fn a_result_about_an_earlier_registration_does_not_count() {
    let setting = Setting::new();
    let service = setting.service(Http).await;
    let silent = Target::new(Behaviour::AnswerAndStall(Vec::new())).await;
    setting.register(&service, "a", silent.address).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL / 10).await;
    setting.until(|| silent.stalled() == 1).await;
    let target = Target::new(Behaviour::status(OK)).await;
    setting.register(&service, "a", target.address).await;
    // The probe of the silent target fails now.
    setting.advance(Duration::from_secs(2)).await;
    setting.until(|| setting.prober().counters().outdated == 1).await;
    // The new target is asked soon, and not after an interval.
    setting.advance(INTERVAL / 10).await;
    let checks = setting.results(&service, "a", 1).await;
    assert_eq!((checks.target, checks.results[0].status), (Some(target.address), Some(200)));
    assert_eq!((checks.failures.len(), setting.prober().counters().to_unhealthy), (0, 0));
}

#[tokio::test]
async fn a_restart_over_a_store_keeps_statuses() {
    let setting = Setting::new();
    let service = setting.service(Http).await;
    let target = Target::new(Behaviour::status(DOWN)).await;
    setting.register(&service, "a", target.address).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    assert_eq!(results_until(&setting, &service, "UNHEALTHY").await, 1);

    let again =
        Setting::with(MemoryRegistry::fork(setting.cloud_map.cell()), |builder| builder, |prober| prober);
    drop(setting);
    assert_eq!(again.status(&service, "a"), "UNHEALTHY");
    let before = again.cloud_map.state().revision();
    again.until(|| again.prober().counters().instances == 1).await;
    let connections = target.connections();
    for count in 1..=3 {
        again.advance(INTERVAL).await;
        again.probes(count).await;
    }
    assert_eq!(target.connections() - connections, 3);
    assert_eq!(again.cloud_map.state().revision(), before, "nothing is stored again");
}

#[tokio::test]
async fn a_host_and_the_prober_do_not_fight() {
    let setting = Setting::new();
    let service = setting.service_with(HealthCheckConfigInput::new(Http).with_failure_threshold(3)).await;
    let target = Target::new(Behaviour::status(OK)).await;
    setting.register(&service, "a", target.address).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL).await;
    setting.probes(1).await;
    setting.api().set_health(&service, "a", CustomHealthStatus::Unhealthy).await.unwrap();
    assert_eq!(results_until(&setting, &service, "HEALTHY").await, 3, "as many as the threshold");
}

#[tokio::test]
async fn one_of_several_probers_has_the_turn() {
    let (turn, has_turn) = watch::channel(false);
    let setting =
        Setting::with(MemoryRegistry::new(), |builder| builder, |prober| prober.with_turn(has_turn));
    let service = setting.service(Http).await;
    let target = Target::new(Behaviour::status(OK)).await;
    setting.register(&service, "a", target.address).await;
    setting.advance(INTERVAL).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!((setting.prober().counters().instances, target.connections()), (0, 0));

    turn.send(true).unwrap();
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL).await;
    setting.probes(1).await;

    turn.send(false).unwrap();
    setting.until(|| !setting.prober().counters().probing).await;
    assert_eq!(setting.prober().counters().instances, 0);
    setting.advance(INTERVAL * 2).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn targets_that_stall_do_not_delay_others() {
    let setting =
        Setting::with(MemoryRegistry::new(), |builder| builder, |prober| prober.with_max_in_flight(4));
    let service = setting.service(Http).await;
    let silent = Target::new(Behaviour::AnswerAndStall(Vec::new())).await;
    for number in 0..20 {
        setting.register(&service, &format!("silent-{number}"), silent.address).await;
    }
    setting.until(|| setting.prober().counters().instances == 20).await;
    // The silent ones are due, and leave the quick places after 250 ms, three at a time.
    setting.advance(INTERVAL / 10).await;
    let target = Target::new(Behaviour::status(OK)).await;
    setting.register(&service, "a", target.address).await;
    setting.until(|| setting.prober().counters().instances == 21).await;
    setting.advance(INTERVAL / 10).await;
    while target.connections() == 0 {
        setting.advance(Duration::from_millis(250)).await;
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        assert!(setting.prober().counters().in_flight <= 4);
    }
    // In the quick places the silent ones would take 2 s each, three at a time.
    let passed = sd_core::Clock::now(&*setting.clock).as_millis() - 1_600_000_000_000;
    assert!(passed <= 4_000, "{passed} ms");
}

#[tokio::test]
async fn a_dropped_prober_leaves_nothing_behind() {
    let mut setting = Setting::new();
    let service = setting.service(Http).await;
    let target = Target::new(Behaviour::AnswerAndStall(Vec::new())).await;
    setting.register(&service, "a", target.address).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL / 10).await;
    setting.until(|| target.stalled() == 1).await;
    setting.prober = None;
    setting.advance(INTERVAL * 10).await;
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(target.connections(), 1);
    assert_eq!(setting.status(&service, "a"), "HEALTHY");
}

#[tokio::test]
async fn an_interval_below_100_ms_is_refused() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let prober = Prober::new(cloud_map).with_interval(Duration::from_millis(99));
    assert!(matches!(prober.spawn(), Err(SpawnError::Interval(_))));
}

#[tokio::test]
async fn probes_on_request_wait_for_silent_targets_at_the_same_time() {
    let setting = Setting::new();
    let service = setting.service(Http).await;
    let silent = Target::new(Behaviour::AnswerAndStall(Vec::new())).await;
    for number in 10..30 {
        setting.register(&service, &format!("a-{number}"), silent.address).await;
    }
    let prober = setting.prober().clone();
    let probes = tokio::spawn(async move { prober.probe(&Scope::default(), "web", None, 15).await });
    setting.until(|| silent.stalled() == 15).await;
    setting.advance(Duration::from_secs(2)).await;
    let probes = probes.await.unwrap().unwrap();
    let ids: Vec<_> = probes.iter().map(|probe| probe.instance.clone()).collect();
    assert_eq!(ids, (10..25).map(|number| format!("a-{number}")).collect::<Vec<_>>());
    assert!(probes.iter().all(|probe| probe.failure == Some(Failure::StatusTimeout)));
}

#[tokio::test]
async fn a_probe_on_request_counts_nothing() {
    let setting = Setting::new();
    let service = setting.service(Http).await;
    let target = Target::new(Behaviour::status(DOWN)).await;
    setting.register(&service, "a", target.address).await;
    let scope = Scope::default();
    for name in [service.as_str(), "web", "WEB.app.local", "web.app.local."] {
        let probes = setting.prober().probe(&scope, name, None, 10).await.unwrap();
        let text = probes[0].to_string();
        assert!(
            text.starts_with(&format!("a in {service}: unhealthy, status_503\n  HTTP {}", target.address)),
            "{text}"
        );
    }
    assert_eq!(target.connections(), 4);
    assert_eq!(setting.status(&service, "a"), "HEALTHY");
    let refused = [(("nope", None), "no service \"nope\""), (("web", Some("b")), "has no instance \"b\"")];
    for ((name, instance), text) in refused {
        let error = setting.prober().probe(&scope, name, instance, 10).await.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}
