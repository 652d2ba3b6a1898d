//! What exists: clusters, services, deployments and tasks.

use std::{collections::VecDeque, net::Ipv4Addr, sync::Arc};

use sd_core::{Scope, ecs::health_of, model::HealthStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use super::{state::arn, task_definitions::TaskDefinition};

/// A cluster. It exists for good once it was created, as INACTIVE after its deletion.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) is_active: bool,
    pub(super) tags: Value,
    pub(super) settings: Value,
}

/// The status of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceStatus {
    Active,
    /// Deleted, with tasks.
    Draining,
    /// Deleted.
    Inactive,
}

/// A service: how many tasks there are to be, and of what.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) status: ServiceStatus,
    pub(super) desired_count: u32,
    pub(super) percents: Percents,
    pub(super) circuit_breaker: CircuitBreaker,
    pub(super) health_check_grace_period: u32,
    /// The newest (PRIMARY) first, then those whose tasks have not all ended. Never empty.
    pub(super) deployments: Vec<Deployment>,
    /// What the circuit breaker rolls back to.
    pub(super) last_completed: Option<Deployment>,
    /// The newest first.
    pub(super) events: VecDeque<Event>,
    /// Whether there was an event about this steady state.
    pub(super) is_steady: bool,
    /// When the scheduler looks again, even if nothing changes.
    pub(super) look_at: Option<tokio::time::Instant>,
    pub(super) created_at: f64,
    pub(super) tags: Value,
}

/// How many tasks there may be during a deployment, in percent of the desired count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percents {
    pub(super) minimum_healthy: u32,
    pub(super) maximum: u32,
}

/// Whether a deployment whose tasks fail is given up.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(super) struct CircuitBreaker {
    pub(super) enable: bool,
    pub(super) rollback: bool,
}

/// The state of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rollout {
    InProgress,
    Completed,
    Failed,
}

/// A version of a service. Its tasks name it.
#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) spec: DeploymentSpec,
    pub(super) rollout: Rollout,
    pub(super) reason: String,
    /// Tasks that failed during the deployment.
    pub(super) failed_tasks: u32,
    /// Tasks that failed after one another, also after the deployment. They delay the next start.
    pub(super) failures: u32,
    pub(super) next_start: Option<tokio::time::Instant>,
    pub(super) created_at: f64,
    pub(super) updated_at: f64,
}

/// What a deployment's tasks are made of. A change is a new deployment.
#[derive(Clone, Debug)]
pub(super) struct DeploymentSpec {
    pub(super) definition: Arc<TaskDefinition>,
    pub(super) launch_type: String,
    pub(super) network: Value,
    pub(super) registries: Vec<ServiceRegistry>,
    pub(super) load_balancers: Vec<LoadBalancer>,
}

/// A service registry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceRegistry {
    pub(super) registry_arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_port: Option<i32>,
}

/// A load balancer. A missing member is empty, until it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LoadBalancer {
    pub(super) target_group_arn: String,
    pub(super) container_name: String,
    pub(super) container_port: i32,
    #[serde(skip_serializing)]
    pub(super) load_balancer_name: Value,
    #[serde(skip_serializing)]
    pub(super) advanced_configuration: Value,
}

/// An event of a service.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) at: f64,
    pub(super) message: String,
}

/// The status of a task or a container, in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Provisioning,
    Pending,
    Activating,
    Running,
    Deactivating,
    Stopping,
    Deprovisioning,
    Stopped,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Provisioning => "PROVISIONING",
            Self::Pending => "PENDING",
            Self::Activating => "ACTIVATING",
            Self::Running => "RUNNING",
            Self::Deactivating => "DEACTIVATING",
            Self::Stopping => "STOPPING",
            Self::Deprovisioning => "DEPROVISIONING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// Why a task stops (`stopCode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum StopCode {
    TaskFailedToStart,
    EssentialContainerExited,
    UserInitiated,
    ServiceSchedulerInitiated,
}

/// That a task is to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) code: StopCode,
    pub(super) reason: String,
    /// Whether the task failed, instead of being stopped by somebody.
    pub(super) is_failure: bool,
}

/// A task. Its driver changes it, and others set `stop`.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) scope: Scope,
    pub(super) arn: String,
    pub(super) id: String,
    pub(super) cluster: String,
    pub(super) definition: Arc<TaskDefinition>,
    pub(super) launch_type: String,
    pub(super) owner: Owner,
    pub(super) registries: Vec<ServiceRegistry>,
    pub(super) load_balancers: Vec<LoadBalancer>,
    pub(super) address: Ipv4Addr,
    /// The status that it has.
    pub(super) status: Status,
    /// Set if the status that it is to have is STOPPED.
    pub(super) stop: Option<Stop>,
    pub(super) containers: Vec<Container>,
    pub(super) times: Times,
    pub(super) tags: Value,
    /// The number of its newest change. Each change of any task has a greater one.
    pub(super) moment: u64,
    /// Whether its service has taken notice of its end.
    pub(super) is_counted: bool,
    /// Wakes its driver.
    pub(super) wake: Arc<Notify>,
}

/// What a task belongs to.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// The caller of RunTask.
    Caller { group: String, started_by: Option<String> },
    /// The service with this name, by the deployment with this id.
    Service { name: String, deployment: String },
}

/// When a task changed, in seconds since 1970.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Times {
    pub(super) created_at: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopping_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) execution_stopped_at: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopped_at: Option<f64>,
}

/// A container of a task.
#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) name: String,
    /// PENDING, RUNNING or STOPPED.
    pub(super) status: Status,
    pub(super) health: HealthStatus,
    pub(super) exit_code: Option<i32>,
    /// Why it could not be started.
    pub(super) reason: Option<String>,
}

impl Task {
    /// The name of its service, if it belongs to one.
    pub(super) fn service(&self) -> Option<&str> {
        match &self.owner {
            Owner::Service { name, .. } => Some(name),
            Owner::Caller { .. } => None,
        }
    }

    /// The ARN of its service, if it belongs to one.
    pub(super) fn service_arn(&self) -> Option<String> {
        let name = self.service()?;
        Some(arn(&self.scope, "service", &format!("{}/{name}", self.cluster)))
    }

    /// The Availability Zone: a Region has one here.
    pub(super) fn zone(&self) -> String {
        format!("{}a", self.scope.region())
    }

    /// Its `startedBy`: for tasks of a service, the id of the deployment.
    pub(super) fn started_by(&self) -> Option<&str> {
        match &self.owner {
            Owner::Service { deployment, .. } => Some(deployment),
            Owner::Caller { started_by, .. } => started_by.as_deref(),
        }
    }

    /// Whether it belongs to this deployment.
    pub(super) fn is_of(&self, id: &str) -> bool {
        matches!(&self.owner, Owner::Service { deployment, .. } if deployment == id)
    }

    /// The health of its essential containers.
    pub(super) fn health(&self) -> HealthStatus {
        health_of(&super::discovery::reported(self))
    }

    /// Whether it counts for the minimum of a deployment: it runs, and is healthy if its health is checked.
    pub(super) fn is_healthy(&self) -> bool {
        let checked = self.definition.containers.iter().zip(&self.containers);
        let mut checked = checked.filter(|(definition, _)| definition.essential && definition.is_checked());
        self.is_running() && checked.all(|(_, container)| container.health == HealthStatus::Healthy)
    }

    /// Whether it is RUNNING, and is to be.
    pub(super) fn is_running(&self) -> bool {
        self.status == Status::Running && self.stop.is_none()
    }
}

impl Service {
    pub(super) fn primary(&self) -> &Deployment {
        &self.deployments[0]
    }
}
