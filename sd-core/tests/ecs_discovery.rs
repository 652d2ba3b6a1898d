//! ECS tasks that are instances while they run: `EcsDiscovery`.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use TaskStatus::{Activating, Deactivating, Provisioning, Running, Stopped};
use common::{Engine, custom_check, dns, dns_service, meeting::Shared, registration};
use proptest::prelude::*;
use sd_core::{
    CommitError, Scope, Timing,
    ecs::{
        Container, ContainerDefinition, Drain, EcsDiscovery, NetworkMode, ServiceRegistry, Task,
        TaskDefinition, TaskDiscovery, TaskStatus,
    },
    model::{HealthStatus, RecordType, Service},
    request::{
        DeleteServiceRequest, DeregisterInstanceRequest, DiscoverInstancesRequest, ListInstancesRequest,
        UpdateInstanceCustomHealthStatusRequest,
    },
};

/// The result of a future that waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory waits for nothing"),
    }
}

/// An ECS host with two Cloud Map services: `web` without a health check, `api` with a custom one. Both have A records.
struct Host {
    engine: Engine,
    shared: Shared,
    web: Arc<Service>,
    api: Arc<Service>,
    discovery: Arc<EcsDiscovery>,
}

impl Host {
    fn new(timing: Timing) -> Self {
        let shared = Shared::default();
        let setting_up = Engine::over(shared.clone(), sd_core::Mode::Lenient);
        let app = setting_up.private("app.local");
        let web = setting_up.dns_service(&app, "web", &[RecordType::A]);
        let api = dns_service(&app, "api", dns(&[RecordType::A]));
        let api = setting_up.service(api.with_health_check_custom_config(custom_check()));
        let mut engine = Engine::configured(shared.clone(), |builder| {
            builder.timing(timing).ids(sd_core::RandomIds).clock(Arc::clone(&setting_up.clock))
        });
        engine.clock = setting_up.clock;
        let discovery = Arc::new(discovery(&engine));
        shared.commits();
        Self { engine, shared, web, api, discovery }
    }

    fn draining(timing: Timing, drain: Drain) -> Self {
        let mut host = Self::new(timing);
        host.discovery = Arc::new(discovery(&host.engine).with_drain(drain));
        host
    }

    /// Ends the host and starts it anew: it has forgotten everything, and Cloud Map nothing.
    fn restart(&mut self) {
        self.discovery = Arc::new(discovery(&self.engine));
    }

    fn changed(&self, moment: u64, task: &Task) -> TaskDiscovery {
        now(self.discovery.changed(moment, task.clone()))
    }

    /// The ids in a service, sorted.
    fn listed(&self, service: &Service) -> Vec<String> {
        let page = self.engine.api.list_instances(ListInstancesRequest::new(&service.id)).unwrap();
        let mut ids: Vec<_> = page.items.iter().map(|instance| instance.id.to_string()).collect();
        ids.sort();
        ids
    }

    /// The ids that a discovery of healthy instances finds.
    fn healthy(&self, service: &Service) -> Vec<String> {
        let mut request = DiscoverInstancesRequest::new("app.local", service.name.as_str());
        request.health_status = Some("HEALTHY".to_owned().into());
        self.engine.discover(&request)
    }

    fn advance(&self, seconds: u64) {
        self.engine.clock.advance(Duration::from_secs(seconds));
    }
}

fn discovery(engine: &Engine) -> EcsDiscovery {
    EcsDiscovery::new(engine.cloud_map.cloud_map().at(Scope::default()))
}

fn task(id: &str, service: &Service, status: TaskStatus) -> Task {
    let web = ContainerDefinition::new("web").with_health_check();
    let definition = TaskDefinition::new("web", NetworkMode::Awsvpc, [web]);
    let mut task = Task::new(id, "default", "web", Arc::new(definition));
    task.registries = vec![ServiceRegistry::new(service.arn().as_str())];
    let last = id.bytes().last().unwrap();
    task.ipv4 = Some([10, 0, 0, last].into());
    task.last_status = status;
    task
}

fn with_health(mut task: Task, health: HealthStatus) -> Task {
    task.containers = vec![Container::new("web", health)];
    task
}

#[test]
fn a_task_is_registered_from_activating_until_deactivating() {
    let host = Host::new(Timing::instant());
    for (moment, (status, is_there)) in
        [(Provisioning, false), (Activating, true), (Running, true), (Deactivating, false), (Stopped, false)]
            .into_iter()
            .enumerate()
    {
        let answer = host.changed(moment as u64, &task("t-1", &host.web, status));
        assert_eq!(answer.is_registered, is_there, "{status:?}");
        assert_eq!(answer.may_stop_at.is_some(), !is_there && status != Provisioning, "{status:?}");
        assert!(answer.is_settled && answer.refusals.is_empty(), "{answer:?}");
        assert_eq!(host.listed(&host.web) == ["t-1"], is_there, "{status:?}");
    }
    // To register and to deregister.
    assert_eq!(host.shared.commits(), 2);
}

#[test]
fn an_older_change_and_an_older_listing_do_nothing() {
    let host = Host::new(Timing::instant());
    host.changed(5, &task("t-1", &host.web, Stopped));
    assert!(!host.changed(3, &task("t-1", &host.web, Running)).is_registered);
    assert!(host.listed(&host.web).is_empty());
    now(host.discovery.listed(10, [task("t-2", &host.web, Running)]));
    // The listing did not have it, so it had ended.
    let late = host.changed(9, &task("t-3", &host.web, Running));
    assert!(late.is_settled && !late.is_registered && late.may_stop_at.is_some());
    // Nor does an older listing.
    now(host.discovery.listed(8, [task("t-4", &host.web, Running)]));
    assert_eq!(host.listed(&host.web), ["t-2"]);
    host.changed(11, &task("t-3", &host.web, Running));
    assert_eq!(host.listed(&host.web), ["t-2", "t-3"]);
}

#[test]
fn a_listing_after_a_crash_finds_orphans_and_missing_tasks_and_touches_no_others() {
    let mut host = Host::new(Timing::instant());
    for (moment, id) in ["t-1", "t-2", "t-3"].into_iter().enumerate() {
        host.changed(moment as u64, &task(id, &host.web, Running));
    }
    host.engine.register(&host.web, "other", &[("AWS_INSTANCE_IPV4", "10.9.9.9")]);
    host.restart();
    host.shared.commits();
    let listing = ["t-2", "t-3", "t-4"].map(|id| task(id, &host.web, Running));
    let listed = now(host.discovery.listed(10, listing.clone()));
    assert_eq!(listed.orphans, 1);
    assert_eq!(host.listed(&host.web), ["other", "t-2", "t-3", "t-4"]);
    // One was deregistered and one registered.
    assert_eq!(host.shared.commits(), 2);
    let listed = now(host.discovery.listed(11, listing));
    assert!(listed.changed.is_empty() && listed.orphans == 0 && listed.refusals.is_empty());
    assert_eq!(host.shared.commits(), 0);
}

#[test]
fn the_health_of_containers_is_reported_with_the_delay_of_reports() {
    let host = Host::new(Timing::aws());
    let running = |health| with_health(task("t-1", &host.api, Running), health);
    host.changed(1, &task("t-1", &host.api, Activating));
    host.advance(3);
    // The registration has ended, and the container has no result yet.
    assert!(host.discovery.status("t-1").unwrap().is_registered);
    assert!(host.healthy(&host.api).is_empty());
    assert!(!host.changed(2, &running(HealthStatus::Healthy)).is_discoverable);
    host.advance(29);
    assert!(host.healthy(&host.api).is_empty());
    host.advance(1);
    assert_eq!(host.healthy(&host.api), ["t-1"]);
    assert!(host.discovery.status("t-1").unwrap().is_discoverable);
    // UNKNOWN keeps what was reported before.
    host.changed(3, &running(HealthStatus::Unknown));
    host.advance(60);
    assert_eq!(host.healthy(&host.api), ["t-1"]);
    host.changed(4, &running(HealthStatus::Unhealthy));
    host.advance(30);
    assert!(host.healthy(&host.api).is_empty());
}

#[test]
fn a_health_that_comes_before_the_registration_has_ended_is_reported_later() {
    let host = Host::new(Timing::aws());
    let healthy = with_health(task("t-1", &host.api, Running), HealthStatus::Healthy);
    let answer = host.changed(1, &healthy);
    assert!(!answer.is_registered && !answer.is_settled && answer.refusals.is_empty(), "{answer:?}");
    host.advance(3);
    assert!(now(host.discovery.retry())[0].1.is_settled);
    host.advance(30);
    assert_eq!(host.healthy(&host.api), ["t-1"]);
    assert!(now(host.discovery.retry()).is_empty());
}

#[test]
fn a_report_by_others_is_overruled_by_the_next_listing() {
    let host = Host::new(Timing::instant());
    let healthy = with_health(task("t-1", &host.api, Running), HealthStatus::Healthy);
    assert!(host.changed(1, &healthy).is_discoverable);
    let report = UpdateInstanceCustomHealthStatusRequest::new(&host.api.id, "t-1", "UNHEALTHY");
    host.engine.api.update_instance_custom_health_status(report).unwrap();
    assert!(host.healthy(&host.api).is_empty());
    now(host.discovery.listed(2, [healthy]));
    assert_eq!(host.healthy(&host.api), ["t-1"]);
}

#[test]
fn a_task_that_dies_while_it_is_being_registered_leaves_nothing() {
    let host = Host::new(Timing::aws());
    host.changed(1, &task("t-1", &host.web, Activating));
    let answer = host.changed(2, &task("t-1", &host.web, Stopped));
    assert!(!answer.is_settled && answer.refusals.len() == 1, "{answer:?}");
    assert!(answer.refusals[0].to_string().contains(host.web.id.as_str()));
    host.advance(3);
    assert_eq!(host.listed(&host.web), ["t-1"]);
    assert!(now(host.discovery.retry())[0].1.is_settled);
    host.advance(3);
    assert!(host.listed(&host.web).is_empty());
}

#[test]
fn a_refused_task_stays_out_and_says_why_until_it_can_be_registered() {
    let host = Host::new(Timing::instant());
    host.engine.api.delete_service(DeleteServiceRequest::new(&host.web.id)).unwrap();
    let answer = host.changed(1, &task("t-1", &host.web, Activating));
    assert!(!answer.is_registered && !answer.is_settled);
    assert!(answer.refusals[0].to_string().contains("ServiceNotFound"), "{}", answer.refusals[0]);
    assert!(!now(host.discovery.retry())[0].1.is_registered);
    // The service has the same id again.
    let app = host.engine.namespace(host.web.namespace_id.as_str());
    let again = host.engine.dns_service(&app, "web", &[RecordType::A]);
    assert_eq!(again.id, host.web.id);
    assert!(now(host.discovery.retry())[0].1.is_registered);
    assert_eq!(host.listed(&again), ["t-1"]);
}

#[test]
fn a_service_that_was_deleted_and_created_again_gets_its_tasks_back() {
    let host = Host::new(Timing::instant());
    let running = task("t-1", &host.web, Running);
    host.changed(1, &running);
    host.engine.api.deregister_instance(DeregisterInstanceRequest::new(&host.web.id, "t-1")).unwrap();
    host.engine.api.delete_service(DeleteServiceRequest::new(&host.web.id)).unwrap();
    let app = host.engine.namespace(host.web.namespace_id.as_str());
    host.engine.dns_service(&app, "web", &[RecordType::A]);
    assert!(host.listed(&host.web).is_empty());
    assert_eq!(now(host.discovery.listed(2, [running])).changed.len(), 1);
    assert_eq!(host.listed(&host.web), ["t-1"]);
}

#[test]
fn a_task_that_changes_its_registry_moves() {
    let host = Host::new(Timing::instant());
    host.changed(1, &task("t-1", &host.web, Running));
    assert!(host.changed(2, &task("t-1", &host.api, Running)).is_settled);
    assert!(host.listed(&host.web).is_empty());
    assert_eq!(host.listed(&host.api), ["t-1"]);
    let mut without = task("t-1", &host.api, Running);
    without.registries.clear();
    assert!(host.changed(3, &without).is_registered);
    assert!(host.listed(&host.api).is_empty());
}

#[test]
fn an_instance_of_others_is_not_touched() {
    let host = Host::new(Timing::instant());
    host.engine
        .api
        .register_instance(registration(&host.web, "t-1", &[("AWS_INSTANCE_IPV4", "10.9.9.9")]))
        .unwrap();
    let answer = host.changed(1, &task("t-1", &host.web, Activating));
    assert!(!answer.is_registered && answer.refusals.len() == 1, "{answer:?}");
    host.changed(2, &task("t-1", &host.web, Stopped));
    now(host.discovery.listed(3, Vec::<Task>::new()));
    assert_eq!(host.listed(&host.web), ["t-1"]);
}

#[test]
fn an_owner_without_a_name_is_refused() {
    let host = Host::new(Timing::instant());
    let nameless = discovery(&host.engine).with_owner("");
    let answer = now(nameless.changed(1, task("t-1", &host.web, Activating)));
    assert!(!answer.is_registered && answer.refusals[0].to_string().contains("owner"), "{answer:?}");
    assert!(host.listed(&host.web).is_empty());
}

#[test]
fn a_registry_that_fails_is_tried_again() {
    let host = Host::new(Timing::instant());
    let unavailable = |_: &Shared, _| {
        Err(CommitError::Unavailable { retry_after: None, source: "the store is away".into() })
    };
    host.shared.then(unavailable);
    let running = task("t-1", &host.web, Running);
    assert!(!host.changed(1, &running).is_settled);
    assert!(now(host.discovery.retry())[0].1.is_registered);
    host.shared.then(unavailable);
    let stopped = host.changed(2, &task("t-1", &host.web, Stopped));
    // A task is not kept from stopping.
    assert!(!stopped.is_settled && stopped.may_stop_at.is_some());
    let listed = now(host.discovery.listed(3, Vec::<Task>::new()));
    assert!(listed.changed.iter().all(|(_, answer)| answer.is_settled), "{listed:?}");
    assert!(host.listed(&host.web).is_empty());
    assert!(host.discovery.status("t-1").is_none());
}

#[test]
fn a_task_that_stops_while_its_registration_is_stored_leaves_nothing() {
    let host = Host::new(Timing::instant());
    let (discovery, stopped) = (Arc::clone(&host.discovery), task("t-1", &host.web, Stopped));
    host.shared.then(move |shared, changes| {
        assert!(now(discovery.changed(2, stopped)).is_settled);
        shared.store(changes)
    });
    let answer = host.changed(1, &task("t-1", &host.web, Activating));
    assert!(!answer.is_registered && answer.is_settled, "{answer:?}");
    assert!(host.listed(&host.web).is_empty());
}

#[test]
fn a_refusal_does_not_count_for_a_task_that_has_changed_meanwhile() {
    let host = Host::new(Timing::instant());
    let (discovery, stopped) = (Arc::clone(&host.discovery), task("t-1", &host.web, Stopped));
    host.shared.then(move |_, _| {
        now(discovery.changed(2, stopped));
        Err(CommitError::Unavailable { retry_after: None, source: "the store is away".into() })
    });
    let answer = host.changed(1, &task("t-1", &host.web, Activating));
    assert!(answer.is_settled && answer.refusals.is_empty(), "{answer:?}");
}

#[test]
fn nothing_is_left_to_do_in_a_service_that_is_deleted_meanwhile() {
    let host = Host::new(Timing::instant());
    host.changed(1, &task("t-1", &host.web, Running));
    let (api, id) = (host.engine.api.clone(), host.web.id.clone());
    host.shared.then(move |_, _| {
        api.deregister_instance(DeregisterInstanceRequest::new(&id, "t-1")).unwrap();
        api.delete_service(DeleteServiceRequest::new(&id)).unwrap();
        Err(CommitError::Conflict)
    });
    let answer = host.changed(2, &task("t-1", &host.web, Stopped));
    assert!(answer.is_settled && answer.refusals.is_empty(), "{answer:?}");
}

#[test]
fn draining_waits_for_the_deregistration_and_the_ttl() {
    for (drain, seconds) in
        [(Drain::None, 0), (Drain::RecordTtl, 63), (Drain::For(Duration::from_secs(5)), 8)]
    {
        let host = Host::draining(Timing::aws(), drain);
        host.changed(1, &task("t-1", &host.web, Running));
        host.advance(3);
        now(host.discovery.retry());
        let since = host.engine.cloud_map.cloud_map().now();
        let answer = host.changed(2, &task("t-1", &host.web, Deactivating));
        assert_eq!(answer.may_stop_at, Some(since.after(Duration::from_secs(seconds))), "{drain:?}");
        host.advance(3);
        assert!(host.listed(&host.web).is_empty());
        // A later change does not restart the wait.
        let again = host.changed(3, &task("t-1", &host.web, TaskStatus::Stopping));
        assert_eq!(again.may_stop_at, answer.may_stop_at, "{drain:?}");
    }
    // A task without a registry has nothing to wait for.
    let host = Host::draining(Timing::aws(), Drain::RecordTtl);
    let mut task = task("t-1", &host.web, Running);
    task.registries.clear();
    assert!(host.changed(1, &task).is_registered);
    task.last_status = Deactivating;
    assert_eq!(host.changed(2, &task).may_stop_at, Some(host.engine.cloud_map.cloud_map().now()));
}

#[test]
fn two_registries_of_a_task_in_one_service_are_refused() {
    let host = Host::new(Timing::instant());
    let mut task = task("a", &host.web, Activating);
    let mut second = task.registries[0].clone();
    second.port = Some(80);
    task.registries.push(second);
    let found = host.changed(1, &task);
    assert!(!found.is_registered);
    assert_eq!(
        found.refusals[0].reason.to_string(),
        "InvalidParameterException: Two registries of the task are one service."
    );
    assert_eq!(host.listed(&host.web), ["a"]);
    // Not one instead of the other again and again.
    host.shared.commits();
    now(host.discovery.retry());
    assert_eq!(host.shared.commits(), 0);
}

#[test]
fn stopped_tasks_are_remembered_for_a_bounded_number() {
    let host = Host::new(Timing::instant());
    for number in 0..10_001 {
        host.changed(number, &task(&format!("t-{number}"), &host.web, Stopped));
    }
    // The oldest is forgotten, and a late change of it is still ignored.
    assert!(host.discovery.status("t-0").is_none() && host.discovery.status("t-1").is_some());
    host.changed(0, &task("t-0", &host.web, Running));
    assert!(host.listed(&host.web).is_empty());
}

/// What a host does.
#[derive(Clone, Debug)]
enum Act {
    /// A task enters its next status. A stopped task is replaced by another one.
    Progress(usize),
    /// An earlier change is delivered, perhaps again.
    Tell(usize),
    /// All tasks are listed, as they were some changes ago.
    List(usize),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_usize).prop_map(Act::Progress),
        6 => (0..64_usize).prop_map(Act::Tell),
        2 => (0..3_usize).prop_map(Act::List),
        1 => Just(Act::Restart),
    ]
}

/// The tasks of a host at one moment, by id.
type Truth = BTreeMap<String, Task>;

fn progress(host: &Host, before: &Truth, number: usize) -> (Truth, String) {
    let mut truth = before.clone();
    let prefix = format!("t{number}-");
    let current = truth.keys().rfind(|id| id.starts_with(&prefix)).cloned();
    let id = current.unwrap_or_else(|| format!("{prefix}1"));
    let service = if number.is_multiple_of(2) { &host.web } else { &host.api };
    let next = match truth.get(&id).map(|task| task.last_status) {
        None => Some(Activating),
        Some(Activating) => Some(Running),
        Some(Running) => Some(Deactivating),
        Some(Deactivating) => Some(Stopped),
        Some(_) => None,
    };
    match next {
        Some(status) => {
            truth.insert(id.clone(), task(&id, service, status));
            (truth, id)
        }
        None => {
            // It is deleted, and its successor starts.
            let count: u32 = id[prefix.len()..].parse().unwrap();
            truth.remove(&id);
            let successor = format!("{prefix}{}", count + 1);
            truth.insert(successor.clone(), task(&successor, service, Activating));
            (truth, successor)
        }
    }
}

proptest! {
    /// Changes are repeated, late or lost, listings are late, and the host restarts. The naive model: for each task the newest
    /// moment wins, and a listing is about all tasks.
    #[test]
    fn the_newest_moment_of_each_task_wins(acts in prop::collection::vec(act(), 1..80)) {
        let mut host = Host::new(Timing::instant());
        // The truth at each moment, and the task that changed then.
        let mut history: Vec<(Truth, String)> = vec![(Truth::new(), String::new())];
        let mut told: BTreeMap<String, u64> = BTreeMap::new();
        let mut listed = None;
        let mut expected: BTreeSet<String> = BTreeSet::new();
        let is_registered = |truth: &Truth, id: &str| truth.get(id).is_some_and(|task| task.last_status.is_registered());
        for act in acts {
            match act {
                Act::Progress(number) => {
                    let next = progress(&host, &history.last().unwrap().0, number);
                    history.push(next);
                }
                Act::Tell(place) => {
                    let moment = place % history.len();
                    let (truth, id) = &history[moment];
                    let Some(task) = truth.get(id) else { continue };
                    host.changed(moment as u64, task);
                    if told.get(id).copied().max(listed).is_none_or(|newest| newest < moment as u64) {
                        told.insert(id.clone(), moment as u64);
                        if is_registered(truth, id) {
                            expected.insert(id.clone());
                        } else {
                            expected.remove(id);
                        }
                    }
                }
                Act::List(back) => {
                    let moment = history.len() - 1 - back.min(history.len() - 1);
                    let truth = &history[moment].0;
                    now(host.discovery.listed(moment as u64, truth.values().cloned()));
                    if listed.is_some_and(|newest| newest > moment as u64) {
                        continue;
                    }
                    listed = Some(moment as u64);
                    let newer = |id: &String| told.get(id).is_some_and(|newest| *newest > moment as u64);
                    expected.retain(&newer);
                    let is_news = |id: &&String| is_registered(truth, id) && !newer(id);
                    expected.extend(truth.keys().filter(is_news).cloned());
                }
                Act::Restart => {
                    host.restart();
                    told.clear();
                    listed = None;
                }
            }
            let found: BTreeSet<_> = [host.listed(&host.web), host.listed(&host.api)].concat().into_iter().collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}
