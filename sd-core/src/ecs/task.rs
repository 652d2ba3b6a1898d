//! What ECS knows of a task: its definition, where it runs, its containers.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::ServiceRegistry;
use crate::model::HealthStatus;

/// The network mode of a task definition (`networkMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworkMode {
    /// The task has an address of its own.
    Awsvpc,
    /// The task has ports of its container instance, which are mapped to ports of its containers.
    Bridge,
    /// The task has the ports of its container instance.
    Host,
    /// The task has no network.
    None,
}

impl NetworkMode {
    /// Parses the API's spelling, such as `awsvpc`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Awsvpc, Self::Bridge, Self::Host, Self::None].into_iter().find(|mode| mode.as_str() == text)
    }

    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Awsvpc => "awsvpc",
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }
}

/// Where a task runs (`launchType`). Tasks of a capacity provider have the launch type of its infrastructure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LaunchType {
    /// On Fargate.
    Fargate,
    /// On an EC2 instance.
    Ec2,
    /// On a machine of the user (ECS Anywhere).
    External,
}

impl LaunchType {
    /// Parses the API's spelling, such as `FARGATE`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Fargate, Self::Ec2, Self::External]
            .into_iter()
            .find(|launch_type| launch_type.as_str() == text)
    }

    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fargate => "FARGATE",
            Self::Ec2 => "EC2",
            Self::External => "EXTERNAL",
        }
    }
}

/// The part of a task definition that concerns discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskDefinition {
    /// The family.
    pub family: String,
    /// The network mode.
    pub network_mode: NetworkMode,
    /// The containers.
    pub containers: Vec<ContainerDefinition>,
}

impl TaskDefinition {
    /// A task definition.
    #[must_use]
    pub fn new(
        family: impl Into<String>,
        network_mode: NetworkMode,
        containers: impl IntoIterator<Item = ContainerDefinition>,
    ) -> Self {
        Self { family: family.into(), network_mode, containers: containers.into_iter().collect() }
    }

    pub(super) fn container(&self, name: &str) -> Option<&ContainerDefinition> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// Whether a task can become HEALTHY: it has essential containers, and the health of all of them is checked.
    pub(super) fn can_be_healthy(&self) -> bool {
        let mut essential = self.containers.iter().filter(|container| container.essential).peekable();
        essential.peek().is_some() && essential.all(|container| container.has_health_check)
    }
}

/// The part of a container definition that concerns discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerDefinition {
    /// The name, unique in the task definition.
    pub name: String,
    /// Whether the task ends with this container: `true` unless the definition says otherwise.
    pub essential: bool,
    /// Whether it has a `healthCheck`. The HEALTHCHECK of an image does not count, and neither does the command `NONE`.
    pub has_health_check: bool,
    /// The ports that it is reached at.
    pub port_mappings: Vec<PortMapping>,
}

impl ContainerDefinition {
    /// An essential container without ports and without a health check.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), essential: true, has_health_check: false, port_mappings: Vec::new() }
    }

    /// Sets whether the task ends with this container.
    #[must_use]
    pub fn with_essential(self, essential: bool) -> Self {
        Self { essential, ..self }
    }

    /// Says that the container's health is checked.
    #[must_use]
    pub fn with_health_check(self) -> Self {
        Self { has_health_check: true, ..self }
    }

    /// Adds a port.
    #[must_use]
    pub fn with_port(mut self, container_port: u16, host_port: Option<u16>) -> Self {
        self.port_mappings.push(PortMapping { name: None, container_port, host_port });
        self
    }

    /// Adds a port with a name, for [Service Connect](super::service_connect).
    #[must_use]
    pub fn with_named_port(mut self, name: impl Into<String>, container_port: u16) -> Self {
        self.port_mappings.push(PortMapping { name: Some(name.into()), container_port, host_port: None });
        self
    }
}

/// A port of a container (`portMappings`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortMapping {
    /// Its name, unique in the task definition, for [Service Connect](super::service_connect).
    pub name: Option<String>,
    /// The port that the container listens on, 1–65535.
    pub container_port: u16,
    /// The port of the container instance. `None` or 0: one that is chosen when the task starts.
    pub host_port: Option<u16>,
}

/// How far a task is (`lastStatus`), in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TaskStatus {
    /// Its network interface is made.
    Provisioning,
    /// It is waiting for resources.
    Pending,
    /// Its containers run. It is registered with discovery and load balancers.
    Activating,
    /// It runs.
    Running,
    /// It is deregistered from discovery and load balancers. Its containers run.
    Deactivating,
    /// Its containers are being stopped.
    Stopping,
    /// Its network interface is deleted.
    Deprovisioning,
    /// It has ended.
    Stopped,
}

impl TaskStatus {
    const ALL: [Self; 8] = [
        Self::Provisioning,
        Self::Pending,
        Self::Activating,
        Self::Running,
        Self::Deactivating,
        Self::Stopping,
        Self::Deprovisioning,
        Self::Stopped,
    ];

    /// Parses the API's spelling, such as `RUNNING`. `DELETED`, which tasks have after they are stopped, is [`Self::Stopped`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = if text == "DELETED" { "STOPPED" } else { text };
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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

    /// Whether a task with this status is registered, from ACTIVATING until DEACTIVATING.
    #[must_use]
    pub fn is_registered(self) -> bool {
        matches!(self, Self::Activating | Self::Running)
    }
}

/// A task at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// The task id: the last part of its ARN. It is the id of its instances.
    pub id: String,
    /// The name of its cluster.
    pub cluster: String,
    /// The name of its ECS service.
    pub service: String,
    /// The external id of its task set, if it has one.
    pub task_set_external_id: Option<String>,
    /// Its definition.
    pub definition: Arc<TaskDefinition>,
    /// Where it runs.
    pub launch_type: LaunchType,
    /// The id of the EC2 instance that it runs on, if it does.
    pub ec2_instance_id: Option<String>,
    /// Its Availability Zone.
    pub availability_zone: String,
    /// The `serviceRegistries` of the deployment that it belongs to. ECS allows one.
    pub registries: Vec<ServiceRegistry>,
    /// How far it is.
    pub last_status: TaskStatus,
    /// The IPv4 address that it is reached at: of its network interface (`awsvpc`), or the private one of its container
    /// instance (`bridge`, `host`).
    pub ipv4: Option<Ipv4Addr>,
    /// The IPv6 address that it is reached at, likewise.
    pub ipv6: Option<Ipv6Addr>,
    /// Its containers that have started. Others count as UNKNOWN.
    pub containers: Vec<Container>,
}

impl Task {
    /// A task of an ECS service in the Availability Zone `us-east-1a`, PROVISIONING on Fargate, without registries, addresses
    /// and containers: set the fields that are to differ.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        cluster: impl Into<String>,
        service: impl Into<String>,
        definition: Arc<TaskDefinition>,
    ) -> Self {
        Self {
            id: id.into(),
            cluster: cluster.into(),
            service: service.into(),
            task_set_external_id: None,
            definition,
            launch_type: LaunchType::Fargate,
            ec2_instance_id: None,
            availability_zone: "us-east-1a".to_owned(),
            registries: Vec::new(),
            last_status: TaskStatus::Provisioning,
            ipv4: None,
            ipv6: None,
            containers: Vec::new(),
        }
    }
}

/// A container of a task at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Container {
    /// Its name in the task definition.
    pub name: String,
    /// The result of its health checks so far. UNKNOWN without a health check, or until the first result.
    pub health: HealthStatus,
    /// The ports of the container instance that it got (`networkBindings`): container port, host port.
    pub host_ports: Vec<(u16, u16)>,
}

impl Container {
    /// A container without host ports.
    #[must_use]
    pub fn new(name: impl Into<String>, health: HealthStatus) -> Self {
        Self { name: name.into(), health, host_ports: Vec::new() }
    }

    /// Adds a port of the container instance.
    #[must_use]
    pub fn with_host_port(mut self, container_port: u16, host_port: u16) -> Self {
        self.host_ports.push((container_port, host_port));
        self
    }
}
