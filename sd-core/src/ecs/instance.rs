//! The Cloud Map instance of a task.

use super::{EcsError, NetworkMode, ServiceRegistry, Task, health, registry};
use crate::{
    cloud_map::DesiredInstance,
    model::{HealthCheck, Scope, Service, endpoint::reserved},
    state::State,
};

/// The instance that ECS registers for a task in one of its registries: its id is the task's, its attributes are ECS's, and
/// its health is that of the task's containers if the service has a custom health check. Whether the task is to be registered
/// depends on its [status](super::TaskStatus::is_registered), which this does not look at.
///
/// | attribute | when |
/// |---|---|
/// | `AWS_INSTANCE_IPV4`, `AWS_INSTANCE_IPV6` | the task has the address |
/// | `AWS_INSTANCE_PORT` | the registry names a port. `awsvpc`: the container's. `bridge`, `host`: the container instance's |
/// | `AVAILABILITY_ZONE`, `REGION` | always |
/// | `ECS_CLUSTER_NAME`, `ECS_SERVICE_NAME`, `ECS_TASK_DEFINITION_FAMILY` | always |
/// | `EC2_INSTANCE_ID` | the task runs on an EC2 instance |
/// | `ECS_TASK_SET_EXTERNAL_ID` | its task set has an external id |
/// | `AWS_INIT_HEALTH_STATUS` | the service has a custom health check: `UNHEALTHY` if all essential containers have health checks, else `HEALTHY` |
///
/// Source: Developer Guide, "Service discovery"; the last row was seen on AWS, where all essential
/// containers had health checks or none had. If only some have, a task never becomes HEALTHY, so it begins as if none had.
///
/// # Errors
/// Those of [`validate_service_registries`](super::validate_service_registries) that concern the ARN, such as a service that was
/// deleted. A container of a `bridge` task that has no host port yet.
pub fn instance_of(
    task: &Task,
    registry: &ServiceRegistry,
    (state, scope): (&State, &Scope),
) -> Result<DesiredInstance, EcsError> {
    instance_in(task, registry, registry::service_of(registry, state, scope)?)
}

/// The same in a service that is known.
pub(super) fn instance_in(
    task: &Task,
    registry: &ServiceRegistry,
    service: &Service,
) -> Result<DesiredInstance, EcsError> {
    let mut instance = DesiredInstance::new(task.id.as_str());
    let mut set = |key: &str, value: String| instance.attributes.insert(key.to_owned(), value);
    if let Some(ipv4) = task.ipv4 {
        set(reserved::IPV4, ipv4.to_string());
    }
    if let Some(ipv6) = task.ipv6 {
        set(reserved::IPV6, ipv6.to_string());
    }
    if let Some(port) = port_of(task, registry)? {
        set(reserved::PORT, port.to_string());
    }
    set("AVAILABILITY_ZONE", task.availability_zone.clone());
    set("REGION", service.scope.region().as_str().to_owned());
    set("ECS_CLUSTER_NAME", task.cluster.clone());
    set("ECS_SERVICE_NAME", task.service.clone());
    set("ECS_TASK_DEFINITION_FAMILY", task.definition.family.clone());
    if let Some(ec2_instance_id) = &task.ec2_instance_id {
        set("EC2_INSTANCE_ID", ec2_instance_id.clone());
    }
    if let Some(external_id) = &task.task_set_external_id {
        set("ECS_TASK_SET_EXTERNAL_ID", external_id.clone());
    }
    if service.health_check == HealthCheck::Custom {
        set(reserved::INIT_HEALTH, health::at_registration(&task.definition).as_str().to_owned());
        instance.health = health::reported(task);
    }
    Ok(instance)
}

/// The port of the instance, if the registry names one.
fn port_of(task: &Task, registry: &ServiceRegistry) -> Result<Option<i32>, EcsError> {
    let (Some(name), Some(port)) = (registry.container_name.as_deref(), registry.container_port) else {
        return Ok(registry.port);
    };
    let is = |of: u16| i32::from(of) == port;
    let started = task.containers.iter().find(|container| container.name == name);
    let bound = started.and_then(|container| container.host_ports.iter().find(|(of, _)| is(*of)));
    let mappings = || task.definition.container(name).map_or(&[][..], |container| &container.port_mappings);
    let fixed =
        || mappings().iter().find(|mapping| is(mapping.container_port))?.host_port.filter(|port| *port > 0);
    match task.definition.network_mode {
        NetworkMode::Awsvpc | NetworkMode::Host | NetworkMode::None => Ok(Some(port)),
        NetworkMode::Bridge => match bound.map(|(_, host)| *host).or_else(fixed) {
            Some(host) => Ok(Some(i32::from(host))),
            None => Err(EcsError::invalid_parameter(format!(
                "The container {name} has no host port for its port {port} yet."
            ))),
        },
    }
}
