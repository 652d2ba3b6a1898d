//! Hosts: instances in step with their tasks, and health that they set.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Engine, code, custom_check, dns, dns_service, route53_check, ruled};
use sd_core::{
    Action, DesiredInstance, ErrorCode, Fault, SyncedInstance, Timing,
    model::{
        CustomHealthStatus, HealthStatus, Instance, OperationStatus, OperationType, RecordType, Service,
    },
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DeleteServiceRequest,
        DeregisterInstanceRequest, GetInstancesHealthStatusRequest, ListInstancesRequest,
        ListOperationsRequest, UpdateInstanceCustomHealthStatusRequest,
    },
};

const OWNER: &str = "ecs:web";

struct Host {
    engine: Engine,
    service: Arc<Service>,
}

impl Host {
    fn new(timing: Timing) -> Self {
        let engine = Engine::timed(timing);
        let request = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        let started = engine.api.create_private_dns_namespace(request).unwrap();
        engine.clock.advance(timing.operation());
        let namespace = engine.namespace(started.namespace_id.as_str());
        let service = engine.service(dns_service(&namespace, "web", dns(&[RecordType::A])));
        Self { engine, service }
    }

    fn id(&self) -> &str {
        self.service.id.as_str()
    }

    fn sync(&self, tasks: &[(&str, &str)]) -> [Vec<String>; 3] {
        let desired: Vec<_> = tasks.iter().map(|(id, address)| task(id, address)).collect();
        let synced = self.engine.api.sync_service_instances(self.id(), OWNER, desired).unwrap();
        let ids = |steps: Vec<SyncedInstance>| steps.into_iter().map(|step| step.id).collect();
        let refused =
            synced.refused.into_iter().map(|refused| format!("{}: {}", refused.id, refused.error.code()));
        [ids(synced.registered), ids(synced.deregistered), refused.collect()]
    }

    fn listed(&self) -> Vec<(String, String)> {
        let page = self.engine.api.list_instances(ListInstancesRequest::new(self.id())).unwrap();
        let address = |instance: &Instance| instance.endpoint.ipv4.unwrap().to_string();
        page.items.iter().map(|instance| (instance.id.as_str().to_owned(), address(instance))).collect()
    }
}

fn task(id: &str, address: &str) -> DesiredInstance {
    DesiredInstance::new(id).with_attribute("AWS_INSTANCE_IPV4", address)
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_sync_registers_updates_and_deregisters_and_is_idempotent() {
    let host = Host::new(Timing::instant());
    let tasks = [("t-1", "10.0.0.1"), ("t-2", "10.0.0.2")];
    assert_eq!(host.sync(&tasks), [vec!["t-1".to_owned(), "t-2".to_owned()], none(), none()]);
    let revision = host.engine.cloud_map.cloud_map().state().revision();
    assert_eq!(host.sync(&tasks), [none(), none(), none()]);
    assert_eq!(host.engine.cloud_map.cloud_map().state().revision(), revision);

    let tasks = [("t-2", "10.0.0.22"), ("t-3", "10.0.0.3")];
    assert_eq!(host.sync(&tasks), [vec!["t-2".to_owned(), "t-3".to_owned()], vec!["t-1".to_owned()], none()]);
    let listed = host.listed();
    assert_eq!(listed.iter().map(|(id, at)| (&**id, &**at)).collect::<Vec<_>>(), tasks);
    assert_eq!(host.sync(&[])[1].len(), 2);
    assert!(host.listed().is_empty());
}

#[test]
fn a_sync_starts_ordinary_operations() {
    let host = Host::new(Timing::instant());
    let sync = |desired: Vec<DesiredInstance>| {
        host.engine.api.sync_service_instances(host.id(), OWNER, desired).unwrap()
    };
    let registered = sync(vec![task("t-1", "10.0.0.1")]).registered;
    let deregistered = sync(vec![]).deregistered;
    for (steps, kind) in
        [(registered, OperationType::RegisterInstance), (deregistered, OperationType::DeregisterInstance)]
    {
        let operation = host.engine.operation(steps[0].operation_id.as_str());
        assert_eq!((operation.kind, operation.status), (kind, OperationStatus::Success));
    }
}

#[test]
fn a_sync_does_not_change_instances_of_others() {
    let host = Host::new(Timing::instant());
    let api = &host.engine.api;
    host.engine.register(&host.service, "by-hand", &[("AWS_INSTANCE_IPV4", "10.0.0.9")]);
    api.sync_service_instances(host.id(), "another", [task("t-9", "10.0.0.9")]).unwrap();
    let [registered, deregistered, refused] =
        host.sync(&[("t-1", "10.0.0.1"), ("by-hand", "10.0.0.1"), ("t-9", "10.0.0.1")]);
    assert_eq!((registered.len(), deregistered.len()), (1, 0));
    assert_eq!(refused, ["by-hand: InvalidInput", "t-9: InvalidInput"]);
    host.sync(&[]);
    let left: Vec<_> = host.listed().into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, ["by-hand", "t-9"]);
}

#[test]
fn a_sync_reverts_changes_by_others() {
    let host = Host::new(Timing::instant());
    let tasks = [("t-1", "10.0.0.1"), ("t-2", "10.0.0.2")];
    host.sync(&tasks);
    host.engine.register(&host.service, "t-1", &[("AWS_INSTANCE_IPV4", "10.9.9.9")]);
    host.engine.api.deregister_instance(DeregisterInstanceRequest::new(host.id(), "t-2")).unwrap();
    assert_eq!(host.sync(&tasks)[0], ["t-1", "t-2"]);
    assert_eq!(host.listed()[0].1, "10.0.0.1");
    // The owner did not change.
    assert_eq!(host.sync(&[])[1].len(), 2);
}

#[test]
fn one_refused_instance_does_not_stop_a_sync() {
    let host = Host::new(Timing::instant());
    let refused = |error: &str| format!("t-1: {error}");
    assert_eq!(
        host.sync(&[("t-1", "not an address"), ("t-2", "10.0.0.2")]),
        [vec!["t-2".to_owned()], none(), vec![refused("InvalidInput")]]
    );
    let twice = [task("t-1", "10.0.0.1"), task("t-1", "10.0.0.2")];
    assert_eq!(ruled(host.engine.api.sync_service_instances(host.id(), OWNER, twice)), "instanceId");
    assert_eq!(ruled(host.engine.api.sync_service_instances(host.id(), "", [])), "owner");
    let long = "o".repeat(256);
    assert_eq!(ruled(host.engine.api.sync_service_instances(host.id(), &long, [])), "owner");
    let nowhere = host.engine.api.sync_service_instances("srv-none", OWNER, [task("t-1", "10.0.0.1")]);
    assert_eq!(code(nowhere), ErrorCode::ServiceNotFound);
    assert_eq!(host.listed().len(), 1);
}

#[test]
fn a_sync_counts_operations_under_way_as_done() {
    let host = Host::new(Timing::instant().with_operation(Duration::from_secs(3)));
    let tasks = [("t-1", "10.0.0.1")];
    assert_eq!(host.sync(&tasks)[0], ["t-1"]);
    assert_eq!(host.sync(&tasks), [none(), none(), none()]);
    // The host changes or removes the instance before its registration has ended.
    assert_eq!(host.sync(&[("t-1", "10.0.0.2")])[2], ["t-1: DuplicateRequest"]);
    assert_eq!(host.sync(&[]), [none(), none(), vec!["t-1: DuplicateRequest".to_owned()]]);
    let others = host.engine.api.sync_service_instances(host.id(), "ecs:other", []).unwrap();
    assert!(others.refused.is_empty());
    host.engine.clock.advance(Duration::from_secs(3));
    assert_eq!(host.sync(&[("t-1", "10.0.0.2")])[0], ["t-1"]);
    assert_eq!(host.sync(&[])[2], ["t-1: DuplicateRequest"]);
    host.engine.clock.advance(Duration::from_secs(3));
    assert_eq!(host.sync(&[])[1], ["t-1"]);
    assert_eq!(host.sync(&[]), [none(), none(), none()]);
    host.engine.clock.advance(Duration::from_secs(3));
    assert!(host.listed().is_empty());
}

#[test]
fn a_sync_takes_an_arn_and_an_empty_one_lets_the_service_be_deleted() {
    let host = Host::new(Timing::instant());
    let arn = host.service.arn();
    let sync = |desired: Vec<DesiredInstance>| {
        host.engine.api.sync_service_instances(arn.as_str(), OWNER, desired).unwrap()
    };
    sync(vec![task("t-1", "10.0.0.1")]);
    sync(vec![]);
    host.engine.api.delete_service(DeleteServiceRequest::new(host.id())).unwrap();
}

#[test]
fn faults_do_not_apply_to_a_sync() {
    let host = Host::new(Timing::instant());
    let faults = host.engine.cloud_map.cloud_map().faults();
    faults.inject(Fault::throttle(Action::RegisterInstance));
    assert_eq!(host.sync(&[("t-1", "10.0.0.1")])[0], ["t-1"]);
    assert_eq!(faults.open().len(), 1);
}

#[test]
fn health_set_by_a_host_takes_effect_at_once() {
    let engine = Engine::timed(Timing::instant().with_custom_health(Duration::from_secs(30)));
    let namespace = engine.http("app");
    let checked = [
        CreateServiceRequest::new("custom").with_health_check_custom_config(custom_check()),
        CreateServiceRequest::new("none"),
    ];
    let [custom, none] = checked.map(|request| engine.service(request.with_namespace_id(&namespace.id)));
    let zone = engine.public("app.example");
    let request = dns_service(&zone, "web", dns(&[RecordType::A]));
    let route53 = engine.service(request.with_health_check_config(route53_check("TCP", None, None)));
    for service in [custom, route53] {
        let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("AWS_INSTANCE_PORT", "80")];
        engine.register(&service, "i-1", &attributes);
        let set = |id, status| engine.api.set_health(service.id.as_str(), id, status);
        let status = || {
            let request = GetInstancesHealthStatusRequest::new(&service.id);
            engine.api.get_instances_health_status(&request).unwrap().items[0].status
        };
        assert_eq!(status(), HealthStatus::Healthy);
        // The second call changes nothing.
        (0..2).for_each(|_| set("i-1", CustomHealthStatus::Unhealthy).unwrap());
        assert_eq!(status(), HealthStatus::Unhealthy);
        set("i-1", CustomHealthStatus::Healthy).unwrap();
        assert_eq!(status(), HealthStatus::Healthy);
        assert_eq!(code(set("i-2", CustomHealthStatus::Healthy)), ErrorCode::InstanceNotFound);
        if service.name.as_str() == "custom" {
            // A pending report is cancelled.
            let request = UpdateInstanceCustomHealthStatusRequest::new(&service.id, "i-1", "UNHEALTHY");
            engine.api.update_instance_custom_health_status(request).unwrap();
            set("i-1", CustomHealthStatus::Healthy).unwrap();
            engine.clock.advance(Duration::from_secs(60));
            assert_eq!(status(), HealthStatus::Healthy);
        }
    }
    engine.register(&none, "i-1", &[("a", "b")]);
    let unchecked = engine.api.set_health(none.id.as_str(), "i-1", CustomHealthStatus::Unhealthy);
    assert_eq!(code(unchecked), ErrorCode::CustomHealthNotFound);
    let nowhere = engine.api.set_health("srv-none", "i-1", CustomHealthStatus::Unhealthy);
    assert_eq!(code(nowhere), ErrorCode::ServiceNotFound);
}

#[test]
fn strict_mode_refuses_to_sync_a_shared_address_without_an_operation() {
    let engine = Engine::strict();
    let service = engine.dns_service(&engine.private("app.local"), "web", &[RecordType::A]);
    let operations = || {
        let page = engine.api.list_operations(ListOperationsRequest::new()).unwrap();
        page.items.len()
    };
    let sync = || {
        let tasks = [task("t-1", "10.0.0.1"), task("t-2", "10.0.0.1")];
        engine.api.sync_service_instances(service.id.as_str(), OWNER, tasks).unwrap()
    };
    let first = sync();
    assert_eq!((first.registered.len(), first.refused.len()), (1, 1));
    let started = operations();
    assert_eq!((sync().registered.len(), operations()), (0, started));
}
