//! Tasks of services with `serviceRegistries` as instances of Cloud Map. The rules are those of [`sd_core::ecs`]; this file says
//! what tasks there are, in its words.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use sd_core::{
    CloudMap, Scope,
    ecs::{self, Drain, EcsDiscovery, LaunchType, NetworkMode, TaskStatus, validate_service_registries},
    model::HealthStatus,
};

use super::{
    listeners::{Answer, Listener},
    model::{Health, ServiceRegistry, Status, Task},
    refusal::Refusal,
    task_definitions::TaskDefinition,
};

/// How often to ask whether a registration has ended.
const RETRY: Duration = Duration::from_millis(100);

/// Keeps instances in step with tasks.
#[derive(Debug)]
pub(super) struct Discovery {
    cloud_map: CloudMap,
    drain: Drain,
    /// That of each account and Region.
    scopes: Mutex<BTreeMap<Scope, Arc<EcsDiscovery>>>,
}

impl Discovery {
    pub(super) fn new(cloud_map: CloudMap, drain: Drain) -> Self {
        Self { cloud_map, drain, scopes: Mutex::default() }
    }

    /// Checks the registries of a service.
    ///
    /// # Errors
    /// ECS's.
    pub(super) fn validate(
        &self,
        scope: &Scope,
        registries: &[ServiceRegistry],
        definition: &TaskDefinition,
        launch_type: &str,
    ) -> Result<(), Refusal> {
        let registries: Vec<_> = registries.iter().map(registry).collect();
        let launch_type = LaunchType::parse(launch_type).unwrap_or(LaunchType::Ec2);
        let (definition, state) = (of_definition(definition), self.cloud_map.state());
        let validated = validate_service_registries(
            &registries,
            &definition,
            launch_type,
            (&state, scope),
            self.cloud_map.mode(),
        );
        for warning in validated.map_err(|error| Refusal::new(error.code, error.message))? {
            eprintln!("warning: {warning}");
        }
        Ok(())
    }

    fn of(&self, scope: &Scope) -> Arc<EcsDiscovery> {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(EcsDiscovery::new(self.cloud_map.at(scope.clone())).with_drain(self.drain));
        Arc::clone(scopes.entry(scope.clone()).or_insert_with(new))
    }
}

#[async_trait]
impl Listener for Discovery {
    async fn changed(&self, task: &Task) -> Answer {
        let Some(told) = of_task(task) else { return Answer::GoOn };
        let found = self.of(&task.scope).changed(task.moment, told).await;
        match task.status {
            // Its operation is under way.
            Status::Activating if !found.is_registered && found.refusals.is_empty() => Answer::Wait(RETRY),
            Status::Activating if !found.is_registered => {
                let refusals: Vec<_> = found.refusals.iter().map(ToString::to_string).collect();
                Answer::Refused(refusals.join("; "))
            }
            Status::Deactivating => found.may_stop_at.map_or(Answer::GoOn, |time| {
                let left = time.as_millis().saturating_sub(self.cloud_map.now().as_millis());
                let left = Duration::from_millis(left);
                if left.is_zero() { Answer::GoOn } else { Answer::Wait(left) }
            }),
            _ => Answer::GoOn,
        }
    }

    async fn all(&self, moment: u64, tasks: &[Task]) {
        // Also those without tasks, where instances may be left from before a restart.
        let state = self.cloud_map.state();
        let scopes: Vec<_> = state.scopes().map(|(scope, _)| scope.clone()).collect();
        for scope in scopes {
            let here = tasks.iter().filter(|task| task.scope == scope && task.status != Status::Stopped);
            let here: Vec<_> = here.filter_map(of_task).collect();
            for refusal in self.of(&scope).listed(moment, here).await.refusals {
                eprintln!("discovery: cannot deregister an instance without a task: {refusal}");
            }
        }
    }
}

/// A task of a service; `None` for others, which are not registered.
fn of_task(task: &Task) -> Option<ecs::Task> {
    let definition = Arc::new(of_definition(&task.definition));
    let mut told = ecs::Task::new(task.id.as_str(), task.cluster.as_str(), task.service()?, definition);
    told.launch_type = LaunchType::parse(&task.launch_type).unwrap_or(LaunchType::Ec2);
    told.availability_zone = task.zone();
    told.registries = task.registries.iter().map(registry).collect();
    told.last_status = TaskStatus::parse(task.status.as_str())?;
    told.ipv4 = Some(task.address);
    let started = task.definition.containers.iter().zip(&task.containers);
    let started = started.filter(|(_, container)| container.status != Status::Pending);
    told.containers = started
        .map(|(definition, container)| {
            let health = match container.health {
                Health::Healthy => HealthStatus::Healthy,
                Health::Unhealthy => HealthStatus::Unhealthy,
                Health::Unknown => HealthStatus::Unknown,
            };
            let ports = definition.port_mappings.iter();
            ports.fold(ecs::Container::new(container.name.as_str(), health), |container, port| {
                container.with_host_port(port.container_port, port.host_port)
            })
        })
        .collect();
    Some(told)
}

fn of_definition(definition: &TaskDefinition) -> ecs::TaskDefinition {
    let mode = NetworkMode::parse(&definition.network_mode).unwrap_or(NetworkMode::Bridge);
    let containers = definition.containers.iter().map(|container| {
        let told = ecs::ContainerDefinition::new(container.name.as_str()).with_essential(container.essential);
        let told = if container.is_checked() { told.with_health_check() } else { told };
        let ports = container.port_mappings.iter();
        ports.fold(told, |told, port| told.with_port(port.container_port, Some(port.host_port)))
    });
    ecs::TaskDefinition::new(definition.family.as_str(), mode, containers)
}

fn registry(registry: &ServiceRegistry) -> ecs::ServiceRegistry {
    let mut told = ecs::ServiceRegistry::new(registry.registry_arn.as_str());
    told.port = registry.port;
    told.container_name = registry.container_name.clone();
    told.container_port = registry.container_port;
    told
}
