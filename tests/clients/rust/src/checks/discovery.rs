//! DiscoverInstances and DiscoverInstancesRevision, whose hosts have the prefix `data-`.

use aws_sdk_servicediscovery::{
    operation::discover_instances::builders::DiscoverInstancesFluentBuilder,
    types::{CustomHealthStatus, HealthStatus, HealthStatusFilter},
};

use crate::world::World;

async fn ids(call: DiscoverInstancesFluentBuilder) -> Vec<String> {
    let found = call.send().await.unwrap().instances.unwrap_or_default();
    let mut ids: Vec<_> = found.into_iter().filter_map(|instance| instance.instance_id).collect();
    ids.sort();
    ids
}

pub(crate) async fn instances(world: World) {
    let (service, namespace_name, service_name) = world.service().await;
    world.register(&service, "i-1", &[("AWS_INSTANCE_IPV4", "10.0.0.1")]).await;
    let call = world.sd.discover_instances().namespace_name(&namespace_name).service_name(&service_name);
    let output = call.send().await.unwrap();
    let [instance] = output.instances() else { panic!("{output:?}") };
    assert_eq!(instance.instance_id(), Some("i-1"));
    assert_eq!(instance.namespace_name(), Some(namespace_name.as_str()));
    assert_eq!(instance.service_name(), Some(service_name.as_str()));
    assert_eq!(instance.attributes().unwrap()["AWS_INSTANCE_IPV4"], "10.0.0.1");
    assert_eq!(instance.health_status(), Some(&HealthStatus::Healthy));
    let call = world.sd.discover_instances_revision().namespace_name(namespace_name);
    let revision = call.service_name(service_name).send().await.unwrap().instances_revision;
    assert!(revision.is_some());
    assert_eq!(output.instances_revision(), revision);
}

pub(crate) async fn parameters(world: World) {
    let (service, namespace_name, service_name) = world.service().await;
    world.register(&service, "a", &[("stage", "blue"), ("zone", "1")]).await;
    world.register(&service, "b", &[("stage", "blue"), ("zone", "2")]).await;
    world.register(&service, "c", &[("stage", "green"), ("zone", "2")]).await;
    let call = || world.sd.discover_instances().namespace_name(&namespace_name).service_name(&service_name);
    assert_eq!(ids(call().query_parameters("stage", "blue")).await, ["a", "b"]);
    let both = call().query_parameters("stage", "blue").optional_parameters("zone", "2");
    assert_eq!(ids(both).await, ["b"]);
    assert_eq!(ids(call().optional_parameters("zone", "3")).await, ["a", "b", "c"]);
}

pub(crate) async fn health(world: World) {
    let (service, namespace_name, service_name) = world.service().await;
    for id in ["ill", "well"] {
        world.register(&service, id, &[("a", "b")]).await;
    }
    let call = world.sd.update_instance_custom_health_status().service_id(&service).instance_id("ill");
    call.status(CustomHealthStatus::Unhealthy).send().await.unwrap();
    let found = async |filter| {
        let call = world.sd.discover_instances().namespace_name(&namespace_name).service_name(&service_name);
        ids(call.health_status(filter)).await
    };
    assert_eq!(found(HealthStatusFilter::Healthy).await, ["well"]);
    assert_eq!(found(HealthStatusFilter::Unhealthy).await, ["ill"]);
    assert_eq!(found(HealthStatusFilter::All).await, ["ill", "well"]);
    assert_eq!(found(HealthStatusFilter::HealthyOrElseAll).await, ["well"]);
}
