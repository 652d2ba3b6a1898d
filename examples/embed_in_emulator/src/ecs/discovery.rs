//! Tasks of services with `serviceRegistries` as instances of Cloud Map. The rules are those of [`sd_core::ecs`]; this file says
//! what tasks there are, in its words.

use std::{
    collections::BTreeMap,
    io::{Write, stderr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use sd_core::{
    CloudMap, Scope,
    ecs::{
        self, Drain, EcsDiscovery, LaunchType, NetworkMode, RegistryWarning, TaskStatus,
        validate_service_registries,
    },
    model::RecordType,
};

use super::{
    listeners::{Answer, Listener},
    model::{ServiceRegistry, Status, Task},
    refusal::Refusal,
    state::last_part,
    task_definitions::{ContainerDefinition, TaskDefinition},
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

    /// Checks the registries of a service. Returns what AWS would refuse.
    ///
    /// # Errors
    /// ECS's, and for records that need addresses which tasks do not have here.
    pub(super) fn validate(
        &self,
        scope: &Scope,
        registries: &[ServiceRegistry],
        definition: &TaskDefinition,
        launch_type: &str,
    ) -> Result<Vec<RegistryWarning>, Refusal> {
        let registries: Vec<_> = registries.iter().map(registry).collect();
        let launch_type = LaunchType::parse(launch_type).unwrap_or(LaunchType::Ec2);
        let state = self.cloud_map.state();
        let validated = validate_service_registries(
            &registries,
            &definition.reported,
            launch_type,
            (&state, scope),
            self.cloud_map.mode(),
        );
        let warnings = validated.map_err(|error| Refusal::new(error.code, error.message))?;
        for registry in &registries {
            let service = state.scope(scope).service(last_part(&registry.registry_arn));
            let config = service.and_then(|entry| entry.service().dns_config().cloned());
            let mut records = config.iter().flat_map(|config| &config.records);
            if records.any(|record| record.kind == RecordType::Aaaa) {
                return Err(Refusal::unsupported("AAAA records, because tasks have no IPv6 addresses"));
            }
        }
        Ok(warnings)
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
        if task.service().is_none() {
            return Answer::GoOn;
        }
        let found = self.of(&task.scope).changed(task.moment, reported(task)).await;
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
            let here = here.filter(|task| task.service().is_some());
            let here: Vec<_> = here.map(reported).collect();
            for refusal in self.of(&scope).listed(moment, here).await.refusals {
                let _ = writeln!(stderr(), "cannot deregister an instance without a task: {refusal}");
            }
        }
    }
}

/// The task as `sd_core::ecs` has it. Only those of services are registered.
pub(super) fn reported(task: &Task) -> ecs::Task {
    let definition = Arc::clone(&task.definition.reported);
    let mut reported = ecs::Task::new(
        task.id.as_str(),
        task.cluster.as_str(),
        task.service().unwrap_or_default(),
        definition,
    );
    reported.launch_type = LaunchType::parse(&task.launch_type).unwrap_or(LaunchType::Ec2);
    reported.availability_zone = task.zone();
    reported.registries = task.registries.iter().map(registry).collect();
    reported.last_status = TaskStatus::parse(task.status.as_str()).unwrap_or(TaskStatus::Stopped);
    reported.ipv4 = Some(task.address);
    let started = task.definition.containers.iter().zip(&task.containers);
    let started = started.filter(|(_, container)| container.status != Status::Pending);
    reported.containers = started
        .map(|(definition, container)| {
            let ports = definition.port_mappings.iter();
            ports.fold(ecs::Container::new(container.name.as_str(), container.health), |container, port| {
                container.with_host_port(port.container_port, port.container_port)
            })
        })
        .collect();
    reported
}

/// The task definition as `sd_core::ecs` has it.
pub(super) fn reported_definition(
    family: &str,
    network_mode: &str,
    containers: &[ContainerDefinition],
) -> ecs::TaskDefinition {
    let mode = NetworkMode::parse(network_mode).unwrap_or(NetworkMode::Bridge);
    let containers = containers.iter().map(|container| {
        let reported =
            ecs::ContainerDefinition::new(container.name.as_str()).with_essential(container.essential);
        let reported = if container.is_checked() { reported.with_health_check() } else { reported };
        let ports = container.port_mappings.iter();
        ports.fold(reported, |reported, port| {
            reported.with_port(port.container_port, Some(port.container_port))
        })
    });
    ecs::TaskDefinition::new(family, mode, containers)
}

fn registry(registry: &ServiceRegistry) -> ecs::ServiceRegistry {
    let mut reported = ecs::ServiceRegistry::new(registry.registry_arn.as_str());
    reported.port = registry.port;
    reported.container_name = registry.container_name.clone();
    reported.container_port = registry.container_port;
    reported
}
