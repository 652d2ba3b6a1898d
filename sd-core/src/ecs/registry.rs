//! The `serviceRegistries` of an ECS service, and what ECS refuses of them.

use super::{ContainerDefinition, LaunchType, NetworkMode, TaskDefinition};
use crate::{
    model::{RecordType, ResourceRef, Scope, Service, ServiceKind},
    settings::mode::{Leniency, Mode},
    state::State,
};

const PORT_OR_CONTAINER: &str =
    "Specify a value for either 'port' or the 'containerName' and 'containerPort' combination, but not both";

/// The service registry of an ECS service, unchecked, with the members of the API's `ServiceRegistry`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceRegistry {
    /// The ARN of a Cloud Map service.
    pub registry_arn: String,
    /// The port of the instances, 1–65535.
    pub port: Option<i32>,
    /// A container of the task definition, whose port is the port of the instances.
    pub container_name: Option<String>,
    /// A port in the container's port mappings, 1–65535.
    pub container_port: Option<i32>,
}

impl ServiceRegistry {
    /// The Cloud Map service with this ARN, for instances without a port.
    #[must_use]
    pub fn new(registry_arn: impl Into<String>) -> Self {
        Self { registry_arn: registry_arn.into(), ..Self::default() }
    }

    /// Sets the port.
    #[must_use]
    pub fn with_port(self, port: i32) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Takes the port from a container.
    #[must_use]
    pub fn with_container(self, name: impl Into<String>, port: i32) -> Self {
        Self { container_name: Some(name.into()), container_port: Some(port), ..self }
    }
}

/// A refusal in ECS's words. The HTTP status of all is 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct EcsError {
    /// The code, such as `InvalidParameterException`.
    pub code: &'static str,
    /// The text.
    pub message: String,
}

impl EcsError {
    pub(super) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self { code: "InvalidParameterException", message: message.into() }
    }

    fn client(message: impl Into<String>) -> Self {
        Self { code: "ClientException", message: message.into() }
    }
}

/// A member of a registry that AWS refuses and [`Mode::Lenient`] accepts. Displays a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "service registry {registry_arn} has no SRV records, so AWS refuses its {member}; lenient mode registers the port"
)]
#[non_exhaustive]
pub struct RegistryWarning {
    /// The ARN of the registry.
    pub registry_arn: String,
    /// The member that AWS refuses: `port`, `containerName` or `containerPort`.
    pub member: &'static str,
}

/// Checks the `serviceRegistries` of CreateService, UpdateService or CreateTaskSet in a scope, as ECS does before it accepts
/// the request. Returns warnings for the user, to be logged.
///
/// # Errors
/// The refusal in ECS's words. `tests/cases/ecs/registries.json` has a row for each, with its source: some texts were seen on
/// AWS, others are our choice.
pub fn validate_service_registries(
    registries: &[ServiceRegistry],
    definition: &TaskDefinition,
    launch_type: LaunchType,
    (state, scope): (&State, &Scope),
    mode: Mode,
) -> Result<Vec<RegistryWarning>, EcsError> {
    let registry = match registries {
        [] => return Ok(Vec::new()),
        [registry] => registry,
        _ => return Err(EcsError::invalid_parameter("service registries can have at most 1 items.")),
    };
    if launch_type == LaunchType::External {
        // Developer Guide, "Amazon ECS clusters for external instances".
        return Err(EcsError::invalid_parameter(
            "Service registries are not supported for the launch type EXTERNAL.",
        ));
    }
    let service = service_of(registry, state, scope)?;
    Validation { registry, definition, service, mode }.check()
}

/// The Cloud Map service of a registry.
pub(super) fn service_of<'s>(
    registry: &ServiceRegistry,
    state: &'s State,
    scope: &Scope,
) -> Result<&'s Service, EcsError> {
    let arn = &registry.registry_arn;
    let reference = ResourceRef::parse(arn, "service").filter(|reference| reference.owner.is_some());
    let reference = reference.ok_or_else(|| {
        EcsError::invalid_parameter(format!(
            "The format of the supplied service registry ARN is invalid: {arn}."
        ))
    })?;
    let entry = reference.is_in(scope).then(|| state.scope(scope).service(reference.id)).flatten();
    entry.map(|entry| &**entry.service()).ok_or_else(|| {
        EcsError::client(r#"The service registry could not be validated. Route 53 error: "ServiceNotFound.""#)
    })
}

struct Validation<'a> {
    registry: &'a ServiceRegistry,
    definition: &'a TaskDefinition,
    service: &'a Service,
    mode: Mode,
}

impl Validation<'_> {
    fn check(&self) -> Result<Vec<RegistryWarning>, EcsError> {
        let warnings = match self.definition.network_mode {
            NetworkMode::Awsvpc => self.check_awsvpc()?,
            NetworkMode::Bridge | NetworkMode::Host => {
                self.check_shared_address()?;
                Vec::new()
            }
            NetworkMode::None => {
                return Err(self.refusal("Service registries are not supported for networkMode 'none'."));
            }
        };
        if let Some(name) = self.registry.container_name.as_deref() {
            let container = self.container(name)?;
            self.check_mapped(container)?;
        }
        self.check_range()?;
        Ok(warnings)
    }

    fn check_awsvpc(&self) -> Result<Vec<RegistryWarning>, EcsError> {
        let (needs_port, takes_port) = match &self.service.kind {
            ServiceKind::DnsHttp(config) => {
                let has_srv = config.ttl(RecordType::Srv).is_some();
                (has_srv, has_srv)
            }
            // DiscoverInstances finds instances with a port and without one.
            ServiceKind::Http => (false, true),
        };
        let ServiceRegistry { registry_arn, port, container_name, container_port } = self.registry;
        let given = [
            (container_port.is_some(), "containerPort"),
            (container_name.is_some(), "containerName"),
            (port.is_some(), "port"),
        ];
        let unneeded = given.into_iter().find(|(is_given, _)| *is_given && !takes_port);
        if let Some((_, member)) = unneeded
            && !self.mode.allows(Leniency::RegistryPortWithoutSrv)
        {
            return Err(self.not_needed(member));
        }
        match (port, container_name, container_port) {
            (None, None, None) if !needs_port => {}
            (Some(_), None, None) | (None, Some(_), Some(_)) => {}
            _ => return Err(EcsError::invalid_parameter(PORT_OR_CONTAINER)),
        }
        let warning =
            unneeded.map(|(_, member)| RegistryWarning { registry_arn: registry_arn.clone(), member });
        Ok(warning.into_iter().collect())
    }

    fn not_needed(&self, member: &str) -> EcsError {
        if member == "port" {
            return EcsError::invalid_parameter(
                "A port was provided but is not required by the specified service registry",
            );
        }
        self.refusal(&format!(
            "The values specified for serviceRegistries do not require a value for '{member}'. Remove the value and retry."
        ))
    }

    /// Tasks that share an address with others are found by a port, which only SRV records have.
    fn check_shared_address(&self) -> Result<(), EcsError> {
        let ServiceRegistry { port, container_name, container_port, .. } = self.registry;
        if container_name.is_none() || container_port.is_none() {
            return Err(self.refusal(
                "When specifying 'host' or 'bridge' for networkMode, values for 'containerName' and 'containerPort' must \
                 be specified from the task definition.",
            ));
        }
        if port.is_some() {
            return Err(EcsError::invalid_parameter(PORT_OR_CONTAINER));
        }
        let records = self.service.dns_config().map_or(&[][..], |config| &config.records);
        if records.iter().any(|record| record.kind != RecordType::Srv) {
            return Err(self.refusal(
                "When specifying 'host' or 'bridge' for networkMode, the service registry must have only SRV records.",
            ));
        }
        Ok(())
    }

    fn container(&self, name: &str) -> Result<&ContainerDefinition, EcsError> {
        self.definition.container(name).ok_or_else(|| {
            self.refusal(&format!(
                "The container {name} is not valid. The value for 'containerName' must already be specified in the task \
                 definition."
            ))
        })
    }

    fn check_mapped(&self, container: &ContainerDefinition) -> Result<(), EcsError> {
        let Some(port) = self.registry.container_port else { return Ok(()) };
        let mut mapped = container.port_mappings.iter().map(|mapping| i32::from(mapping.container_port));
        if mapped.any(|mapped| mapped == port) {
            return Ok(());
        }
        let name = &container.name;
        Err(self.refusal(&format!("The container {name} did not have a container port {port} defined.")))
    }

    fn check_range(&self) -> Result<(), EcsError> {
        match self.registry.port {
            Some(port) if !(1..=65535).contains(&port) => {
                Err(self.refusal(&format!("The port {port} is not valid. Specify a port from 1 to 65535.")))
            }
            _ => Ok(()),
        }
    }

    fn refusal(&self, text: &str) -> EcsError {
        EcsError::invalid_parameter(format!("{text} Registry: {}", self.registry.registry_arn))
    }
}
