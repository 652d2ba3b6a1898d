//! Service Connect: the Cloud Map namespaces and services that ECS creates and removes by itself.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use common::Engine;
use sd_core::{
    Scope, ScopedCloudMap, Timing,
    ecs::{
        ContainerDefinition, EcsDiscovery, NetworkMode, Task, TaskDefinition, TaskStatus,
        service_connect::{
            ConnectPlan, Connected, ServiceConnect, ServiceConnectResource, ServiceConnectService, connect,
            remove_unused_services, validate_service_connect,
        },
    },
    model::Namespace,
    request::{
        DiscoverInstancesRequest, ListNamespacesRequest, ListServicesRequest, ListTagsForResourceRequest,
    },
};

/// The result of a future that waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory waits for nothing"),
    }
}

fn definition() -> TaskDefinition {
    let web = ContainerDefinition::new("web").with_named_port("http", 8080);
    TaskDefinition::new("web", NetworkMode::Awsvpc, [web])
}

fn plan(namespace: &str) -> ConnectPlan {
    let mut config = ServiceConnect::default();
    config.services = vec![ServiceConnectService::new("http", 80)];
    validate_service_connect(&config, Some(namespace), &definition()).unwrap()
}

fn cloud_map(engine: &Engine) -> ScopedCloudMap {
    engine.cloud_map.cloud_map().at(Scope::default())
}

fn ready(engine: &Engine, namespace: &str) -> Vec<ServiceConnectResource> {
    match now(connect(&cloud_map(engine), &plan(namespace))).unwrap() {
        Connected::Ready(resources) => resources,
        other => panic!("{other:?}"),
    }
}

fn namespaces(engine: &Engine) -> Vec<Arc<Namespace>> {
    let page = engine.api.list_namespaces(ListNamespacesRequest::default()).unwrap();
    page.items.iter().map(|item| Arc::clone(&item.namespace)).collect()
}

fn services(engine: &Engine) -> usize {
    engine.api.list_services(ListServicesRequest::default()).unwrap().items.len()
}

#[test]
fn a_namespace_and_services_are_created_tagged_and_found_again() {
    let engine = Engine::new();
    let resources = ready(&engine, "app");
    assert_eq!(resources[0].discovery_name, "http");
    assert_eq!(ready(&engine, "app"), resources);
    let [namespace] = &namespaces(&engine)[..] else { panic!("one namespace") };
    assert_eq!(namespace.kind, sd_core::model::NamespaceKind::Http);
    for arn in [namespace.arn().as_str(), &resources[0].registry.registry_arn] {
        let tags = engine.api.list_tags_for_resource(ListTagsForResourceRequest::new(arn)).unwrap();
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("AmazonECSManaged", "true")]);
    }
    assert_eq!(services(&engine), 1);
}

#[test]
fn a_namespace_that_exists_is_used_by_name_or_by_arn() {
    let engine = Engine::new();
    let http = engine.http("app");
    let by_name = ready(&engine, "app");
    assert_eq!(ready(&engine, http.arn().as_str()), by_name);
    let private = engine.private("app.local");
    assert_ne!(ready(&engine, private.arn().as_str()), by_name);
    assert_eq!(namespaces(&engine).len(), 2);
    // By its name, an HTTP namespace is created beside the DNS namespace.
    ready(&engine, "app.local");
    assert_eq!(namespaces(&engine).len(), 3);
    let absent = Scope::default().namespace_arn(&http.id).as_str().replace(http.id.as_str(), "ns-absent");
    assert!(now(connect(&cloud_map(&engine), &plan(&absent))).is_err());
}

#[test]
fn a_deployment_waits_for_its_namespace() {
    let engine = Engine::timed(Timing::aws());
    let cloud_map = cloud_map(&engine);
    let Connected::Waiting(operation) = now(connect(&cloud_map, &plan("app"))).unwrap() else { panic!() };
    // Another service of the cluster waits for the same operation.
    assert!(
        matches!(now(connect(&cloud_map, &plan("app"))).unwrap(), Connected::Waiting(other) if other == operation)
    );
    engine.clock.advance(Timing::aws().operation());
    assert!(matches!(now(connect(&cloud_map, &plan("app"))).unwrap(), Connected::Ready(_)));
}

#[test]
fn a_service_that_ecs_did_not_create_is_refused() {
    let engine = Engine::new();
    let app = engine.http("app");
    engine.http_service(&app, "http");
    let error = now(connect(&cloud_map(&engine), &plan("app"))).unwrap_err();
    assert!(error.to_string().contains("http is used by another service"), "{error}");
}

#[test]
fn tasks_are_registered_and_unused_services_are_removed_afterwards() {
    let engine = Engine::new();
    let own = engine.http_service(&engine.http("other"), "own");
    let resources = ready(&engine, "app");
    let cloud_map = cloud_map(&engine);
    let discovery = EcsDiscovery::new(cloud_map.clone());
    let mut task = Task::new("task-1", "default", "web", Arc::new(definition()));
    task.registries = resources.iter().map(|resource| resource.registry.clone()).collect();
    task.ipv4 = Some([10, 0, 0, 1].into());
    task.last_status = TaskStatus::Running;
    assert!(now(discovery.changed(1, task.clone())).is_registered);
    let found = engine.api.discover_instances(DiscoverInstancesRequest::new("app", "http")).unwrap();
    assert_eq!(found.instances[0].attributes.get("AWS_INSTANCE_PORT"), Some("8080"));

    let removed =
        |in_use: &[ServiceConnectResource]| now(remove_unused_services(&cloud_map, in_use)).unwrap().len();
    // It has an instance.
    assert_eq!(removed(&[]), 0);
    task.last_status = TaskStatus::Stopped;
    now(discovery.changed(2, task));
    assert_eq!(removed(&resources), 0);
    assert_eq!(removed(&[]), 1);
    assert_eq!(services(&engine), 1);
    assert!(engine.api.get_service(sd_core::request::GetServiceRequest::new(&own.id)).is_ok());
    // The namespace is left to the user.
    assert_eq!(namespaces(&engine).len(), 2);
}
