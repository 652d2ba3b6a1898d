//! The health of a task, from that of its containers.

use super::{Task, TaskDefinition};
use crate::model::{CustomHealthStatus, HealthStatus};

/// The health of a task: UNHEALTHY if an essential container is, else UNKNOWN if one is or has no health check, else HEALTHY
/// (API Reference, Task, `healthStatus`). Containers that are not essential do not count.
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use sd_core::{ecs::{Container, ContainerDefinition, NetworkMode, Task, TaskDefinition, health_of}, model::HealthStatus};
///
/// let web = ContainerDefinition::new("web").with_health_check();
/// let definition = TaskDefinition::new("web", NetworkMode::Awsvpc, [web]);
/// let mut task = Task::new("task-1", "default", "web", Arc::new(definition));
/// assert_eq!(health_of(&task), HealthStatus::Unknown);
/// task.containers = vec![Container::new("web", HealthStatus::Healthy)];
/// assert_eq!(health_of(&task), HealthStatus::Healthy);
/// ```
#[must_use]
pub fn health_of(task: &Task) -> HealthStatus {
    let mut health = HealthStatus::Healthy;
    let mut essential = task.definition.containers.iter().filter(|container| container.essential).peekable();
    if essential.peek().is_none() {
        return HealthStatus::Unknown;
    }
    for defined in essential {
        let found = task.containers.iter().find(|container| container.name == defined.name);
        match found.filter(|_| defined.has_health_check).map(|container| container.health) {
            Some(HealthStatus::Unhealthy) => return HealthStatus::Unhealthy,
            Some(HealthStatus::Healthy) => {}
            Some(HealthStatus::Unknown) | None => health = HealthStatus::Unknown,
        }
    }
    health
}

/// What ECS reports of the task's instance in a service with a custom health check. `None`: nothing, and what was reported
/// before stays.
pub(super) fn reported(task: &Task) -> Option<CustomHealthStatus> {
    match health_of(task) {
        HealthStatus::Healthy => Some(CustomHealthStatus::Healthy),
        HealthStatus::Unhealthy => Some(CustomHealthStatus::Unhealthy),
        HealthStatus::Unknown => None,
    }
}

/// The health that an instance is registered with: UNHEALTHY until the first result, if there will be one that says otherwise.
pub(super) fn at_registration(definition: &TaskDefinition) -> CustomHealthStatus {
    if definition.can_be_healthy() { CustomHealthStatus::Unhealthy } else { CustomHealthStatus::Healthy }
}
