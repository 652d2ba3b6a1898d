//! Service Connect: the Cloud Map services that ECS creates by itself for the named ports of a service.
//!
//! | when | the host calls |
//! |---|---|
//! | CreateService and UpdateService ask for it | [`validate_service_connect`] |
//! | a deployment begins | [`connect`], again until it is [`Connected::Ready`]. The tasks get the registries besides their own |
//! | an ECS service was deleted some minutes ago, or has another configuration | [`remove_unused_services`] |
//!
//! Clients find each other by a proxy that asks Cloud Map, and not by DNS, so the namespaces that ECS creates have none.
//!
//! Sources: "Service Connect" in the ECS Developer Guide; ServiceConnectConfiguration in the ECS API Reference.

use super::{EcsError, NetworkMode, RefusalReason, ServiceRegistry, TaskDefinition};
use crate::{
    api::{
        error::Error,
        request::{
            CreateHttpNamespaceRequest, CreateServiceRequest, DeleteServiceRequest, ServiceTypeOption, Tag,
        },
    },
    cloud_map::ScopedCloudMap,
    model::{Namespace, NamespaceKind, OperationId, Service, ServiceId},
    ops,
    state::NamespaceEntry,
};

/// The tag of what ECS creates by itself. Its value is `true`.
const MANAGED: &str = "AmazonECSManaged";

/// A `serviceConnectConfiguration` that is enabled, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceConnect {
    /// The name or ARN of a Cloud Map namespace. `None`: the cluster's default.
    pub namespace: Option<String>,
    /// The ports that clients can find. A service that is only a client has none.
    pub services: Vec<ServiceConnectService>,
}

/// A port that clients can find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceConnectService {
    /// The name of a port mapping of the task definition.
    pub port_name: String,
    /// The name of the Cloud Map service, 1–64 characters. `None`: the name of the port.
    pub discovery_name: Option<String>,
    /// The names and ports that clients use: one.
    pub client_aliases: Vec<ClientAlias>,
}

impl ServiceConnectService {
    /// A port, with the port that clients use.
    #[must_use]
    pub fn new(port_name: impl Into<String>, client_port: i32) -> Self {
        let client_aliases = vec![ClientAlias { port: client_port, dns_name: None }];
        Self { port_name: port_name.into(), discovery_name: None, client_aliases }
    }
}

/// What clients call a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientAlias {
    /// The port that clients connect to, 1–65535.
    pub port: i32,
    /// The name that clients connect to. `None`: `discoveryName.namespace`.
    pub dns_name: Option<String>,
}

/// A configuration that ECS accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectPlan {
    /// The name or ARN of the namespace.
    pub namespace: String,
    /// The ports that clients can find.
    pub services: Vec<PlannedService>,
}

/// A port that clients can find, with its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedService {
    /// The name of the Cloud Map service.
    pub discovery_name: String,
    /// The container.
    pub container_name: String,
    /// Its port.
    pub container_port: u16,
}

/// Checks the `serviceConnectConfiguration` of CreateService or UpdateService, as ECS does before it accepts the request.
/// `default_namespace` is that of the cluster (`serviceConnectDefaults`).
///
/// # Errors
/// The refusal in ECS's words. `tests/cases/ecs/service-connect.json` has a row for each, with its source.
pub fn validate_service_connect(
    config: &ServiceConnect,
    default_namespace: Option<&str>,
    definition: &TaskDefinition,
) -> Result<ConnectPlan, EcsError> {
    let namespace = config.namespace.as_deref().or(default_namespace).filter(|name| !name.is_empty());
    let namespace = namespace.ok_or_else(|| EcsError::invalid_parameter("Namespace is missing"))?;
    if matches!(definition.network_mode, NetworkMode::Host | NetworkMode::None) {
        // Developer Guide: "Tasks that use the host network mode and Service Connect aren't supported."
        let mode = definition.network_mode.as_str();
        return Err(EcsError::invalid_parameter(format!(
            "Service Connect does not support networkMode '{mode}'."
        )));
    }
    let mut services: Vec<PlannedService> = Vec::new();
    for service in &config.services {
        let planned = planned(service, definition)?;
        if services.iter().any(|other| other.discovery_name == planned.discovery_name) {
            let name = planned.discovery_name;
            return Err(EcsError::invalid_parameter(format!(
                "The discoveryName {name} is used more than once."
            )));
        }
        services.push(planned);
    }
    Ok(ConnectPlan { namespace: namespace.to_owned(), services })
}

fn planned(service: &ServiceConnectService, definition: &TaskDefinition) -> Result<PlannedService, EcsError> {
    check_aliases(&service.client_aliases)?;
    let name = &service.port_name;
    let mappings = definition
        .containers
        .iter()
        .flat_map(|container| container.port_mappings.iter().map(move |mapping| (&container.name, mapping)));
    let found = mappings.into_iter().find(|(_, mapping)| mapping.name.as_deref() == Some(name));
    let (container_name, mapping) = found.ok_or_else(|| {
        EcsError::invalid_parameter(format!("The task definition has no port mapping with the name {name}."))
    })?;
    let discovery_name = service.discovery_name.as_ref().unwrap_or(name).clone();
    let is_short = (1..=64).contains(&discovery_name.len());
    if !is_short || !has_only_name_characters(&discovery_name, "_-") {
        return Err(EcsError::invalid_parameter(
            "The discoveryName that you provided is invalid. Up to 64 characters are allowed: lowercase letters, numbers, \
             underscores (_) and hyphens (-). A hyphen can't be the first character.",
        ));
    }
    Ok(PlannedService {
        discovery_name,
        container_name: container_name.clone(),
        container_port: mapping.container_port,
    })
}

fn check_aliases(aliases: &[ClientAlias]) -> Result<(), EcsError> {
    let alias = match aliases {
        [] => return Err(EcsError::invalid_parameter("clientAliases must have 1 element.")),
        [alias] => alias,
        _ => {
            let count = aliases.len();
            return Err(EcsError::invalid_parameter(format!(
                "{count} clientAliases exceeds the max limit of 1"
            )));
        }
    };
    if !(1..=65535).contains(&alias.port) {
        return Err(EcsError::invalid_parameter("The port of a client alias is from 1 to 65535."));
    }
    let is_valid = |name: &String| (1..=127).contains(&name.len()) && has_only_name_characters(name, "_-.");
    if alias.dns_name.as_ref().is_none_or(is_valid) {
        return Ok(());
    }
    Err(EcsError::invalid_parameter(
        "The DNS name that you provided is invalid. The name must be a valid DNS name but doesn't need to be \
         fully-qualified. Up to 127 characters are allowed. The characters can include lowercase letters, numbers, \
         underscores (_), hyphens (-), and periods (.). A hyphen can't be the first character.",
    ))
}

fn has_only_name_characters(name: &str, others: &str) -> bool {
    !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(c))
}

/// What a plan has come to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Connected {
    /// The namespace is being created: call [`connect`] again after the operation. Meanwhile the deployment waits, and the
    /// cluster whose default it is is PROVISIONING.
    Waiting(OperationId),
    /// Each port has a Cloud Map service.
    Ready(Vec<ServiceConnectResource>),
}

/// The Cloud Map service of a port (`serviceConnectResources`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServiceConnectResource {
    /// Its name.
    pub discovery_name: String,
    /// What its tasks are registered in. Its ARN is the `discoveryArn`.
    pub registry: ServiceRegistry,
}

/// Creates what a plan lacks: the namespace, as an HTTP namespace, if it is given by a name that no HTTP namespace has, and a
/// service for each port. What it creates is tagged `AmazonECSManaged`. Can be repeated.
///
/// # Errors
/// [`Error::NamespaceNotFound`] for an ARN. A service of the name that ECS did not create, and whatever else Cloud Map refuses.
pub async fn connect(cloud_map: &ScopedCloudMap, plan: &ConnectPlan) -> Result<Connected, RefusalReason> {
    let namespace = match find_namespace(cloud_map, &plan.namespace)? {
        Some(id) => id,
        None => {
            let request = CreateHttpNamespaceRequest::new(plan.namespace.as_str()).with_tags(managed());
            let started = cloud_map.create_http_namespace(request).await;
            let operation = match started {
                // Another request creates it at this moment.
                Err(Error::DuplicateRequest { duplicate_operation_id, .. }) => duplicate_operation_id,
                started => started?.operation_id,
            };
            match find_namespace(cloud_map, &plan.namespace)? {
                Some(id) => id,
                None => return Ok(Connected::Waiting(operation)),
            }
        }
    };
    let mut resources = Vec::with_capacity(plan.services.len());
    for planned in &plan.services {
        let service = service_named(cloud_map, &namespace, &planned.discovery_name).await?;
        let registry = ServiceRegistry::new(cloud_map.scope().service_arn(&service).as_str())
            .with_container(planned.container_name.as_str(), planned.container_port.into());
        resources.push(ServiceConnectResource { discovery_name: planned.discovery_name.clone(), registry });
    }
    Ok(Connected::Ready(resources))
}

/// The id of the namespace with this ARN, or of the HTTP namespace with this name. Not of a DNS namespace with the name: ECS
/// creates an HTTP namespace beside it (aws-cdk issue 25616).
fn find_namespace(cloud_map: &ScopedCloudMap, text: &str) -> Result<Option<String>, Error> {
    let (state, scope) = (cloud_map.cloud_map().state(), cloud_map.scope());
    let here = state.scope(scope);
    if text.starts_with("arn:") {
        let id = ops::own_id(scope, text, "namespace").and_then(|id| here.namespace(id));
        let found = id.ok_or_else(|| Error::NamespaceNotFound(text.to_owned()))?;
        return Ok(Some(found.namespace().id.as_str().to_owned()));
    }
    let has_name = |namespace: &Namespace| {
        namespace.name.as_str() == text && matches!(namespace.kind, NamespaceKind::Http)
    };
    let mut namespaces = here.namespaces().map(NamespaceEntry::namespace);
    Ok(namespaces.find(|namespace| has_name(namespace)).map(|namespace| namespace.id.as_str().to_owned()))
}

/// The id of ECS's service with this name, which is created if there is none.
async fn service_named(
    cloud_map: &ScopedCloudMap,
    namespace: &str,
    name: &str,
) -> Result<ServiceId, RefusalReason> {
    if let Some(found) = find_service(cloud_map, namespace, name) {
        return found;
    }
    let request = CreateServiceRequest::new(name)
        .with_namespace_id(namespace)
        .with_service_type(ServiceTypeOption::Http)
        .with_tags(managed());
    match cloud_map.create_service(request).await {
        Ok(created) => Ok(created.id.clone()),
        // Another request has created it at this moment.
        Err(error @ Error::ServiceAlreadyExists { .. }) => {
            find_service(cloud_map, namespace, name).unwrap_or_else(|| Err(error.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The id of ECS's service with this name, if there is a service with it.
fn find_service(
    cloud_map: &ScopedCloudMap,
    namespace: &str,
    name: &str,
) -> Option<Result<ServiceId, RefusalReason>> {
    let state = cloud_map.cloud_map().state();
    let here = state.scope(cloud_map.scope());
    let found = here.namespace(namespace).and_then(|namespace| here.service_by_name(namespace, name))?;
    if is_managed(found.service()) {
        return Some(Ok(found.service().id.clone()));
    }
    let text = format!("The discoveryName {name} is used by another service of the namespace.");
    Some(Err(EcsError::invalid_parameter(text).into()))
}

/// Deletes the services that [`connect`] created, that have no instances and are not among those in use. Returns their ids.
///
/// ECS does this some minutes after a service is gone. Namespaces are left to the user.
///
/// # Errors
/// Those of DeleteService, apart from what is deleted or used at the same moment.
pub async fn remove_unused_services(
    cloud_map: &ScopedCloudMap,
    in_use: &[ServiceConnectResource],
) -> Result<Vec<ServiceId>, Error> {
    let unused: Vec<_> = {
        let (state, scope) = (cloud_map.cloud_map().state(), cloud_map.scope());
        let is_used = |service: &Service| {
            let arn = scope.service_arn(&service.id);
            in_use.iter().any(|resource| resource.registry.registry_arn == arn.as_str())
        };
        let managed = state.scope(scope).services().filter(|entry| is_managed(entry.service()));
        let unused = managed.filter(|entry| !entry.is_in_use() && !is_used(entry.service()));
        unused.map(|entry| entry.service().id.clone()).collect()
    };
    let mut removed = Vec::with_capacity(unused.len());
    for id in unused {
        match cloud_map.delete_service(DeleteServiceRequest::new(&id)).await {
            Ok(()) => removed.push(id),
            Err(Error::ServiceNotFound(_) | Error::ResourceInUse { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

fn managed() -> Vec<Tag> {
    vec![Tag::new(MANAGED, "true")]
}

fn is_managed(service: &Service) -> bool {
    service.tags.get(MANAGED) == Some("true")
}
