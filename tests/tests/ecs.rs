//! The tables of tests/cases/ecs, played through the functions of `sd_core::ecs`.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Error, Mode, Scope, SyncCloudMap, SyncScopedCloudMap,
    ecs::{
        Container, ContainerDefinition, EcsError, LaunchType, NetworkMode, ServiceRegistry, Task,
        TaskDefinition, health_of, instance_of,
        service_connect::{ClientAlias, ServiceConnect, ServiceConnectService, validate_service_connect},
        validate_service_registries,
    },
    model::{HealthCheckType, HealthStatus, RecordType},
    request::{
        CreatePublicDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput, HealthCheckConfigInput,
        HealthCheckCustomConfigInput,
    },
};
use serde::{Deserialize, de::DeserializeOwned};

fn table<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/ecs").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table<T> {
    #[allow(dead_code, reason = "for readers")]
    title: String,
    #[allow(dead_code, reason = "tests/tests/scenarios.rs reads it")]
    leniency: Option<String>,
    rows: Vec<T>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Services {
    #[allow(dead_code, reason = "for readers")]
    title: String,
    services: BTreeMap<String, ServiceRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceRow {
    records: Vec<String>,
    check: Option<String>,
    #[serde(default)]
    deleted: bool,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegistryRow {
    #[serde(default)]
    registry_arn: String,
    port: Option<i32>,
    container_name: Option<String>,
    container_port: Option<i32>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Refused {
    code: String,
    message: String,
}

impl From<EcsError> for Refused {
    fn from(error: EcsError) -> Self {
        Self { code: error.code.to_owned(), message: error.message }
    }
}

/// A registry with the services of the tables.
struct World {
    cloud_map: SyncCloudMap,
    arns: BTreeMap<String, String>,
}

impl World {
    fn new(mode: Mode) -> Self {
        let cloud_map = SyncCloudMap::builder(MemoryRegistry::new()).mode(mode).build_sync();
        let api = cloud_map.at(Scope::default());
        let namespace =
            api.create_public_dns_namespace(CreatePublicDnsNamespaceRequest::new("example.com")).unwrap();
        let mut arns = BTreeMap::new();
        for (name, row) in table::<Services>("services.json").services {
            let arn = create(&api, namespace.namespace_id.as_str(), &name, &row).unwrap();
            arns.insert(name, arn);
        }
        Self { cloud_map, arns }
    }

    /// The text with the ARNs of services in place of `${name}`.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, arn) in &self.arns {
            text = text.replace(&format!("${{{name}}}"), arn);
        }
        text
    }

    fn registry(&self, row: &RegistryRow) -> ServiceRegistry {
        let mut registry = ServiceRegistry::new(self.filled(&row.registry_arn));
        registry.port = row.port;
        registry.container_name.clone_from(&row.container_name);
        registry.container_port = row.container_port;
        registry
    }

    fn refused(&self, refused: &Refused) -> Refused {
        Refused { code: refused.code.clone(), message: self.filled(&refused.message) }
    }
}

fn create(api: &SyncScopedCloudMap, namespace: &str, name: &str, row: &ServiceRow) -> Result<String, Error> {
    let mut request = CreateServiceRequest::new(name.replace('_', "-")).with_namespace_id(namespace);
    let records = row.records.iter().map(|kind| match kind.as_str() {
        "A" => (RecordType::A, 60),
        "AAAA" => (RecordType::Aaaa, 60),
        "SRV" => (RecordType::Srv, 60),
        other => panic!("{other}"),
    });
    if !row.records.is_empty() {
        request = request.with_dns_config(DnsConfigInput::new(records));
    } else {
        request.service_type = Some("HTTP".to_owned().into());
    }
    request = match row.check.as_deref() {
        None => request,
        Some("CUSTOM") => request.with_health_check_custom_config(HealthCheckCustomConfigInput::default()),
        Some("HTTP") => request.with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Http)),
        Some(other) => panic!("{other}"),
    };
    let service = api.create_service(request)?;
    if row.deleted {
        api.delete_service(sd_core::request::DeleteServiceRequest::new(&service.id))?;
    }
    Ok(service.arn().to_string())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegistriesRow {
    title: String,
    source: String,
    network_mode: String,
    launch_type: Option<String>,
    registries: Vec<RegistryRow>,
    /// In both modes.
    error: Option<Refused>,
    /// In one mode.
    strict: Option<Refused>,
    lenient: Option<Refused>,
    /// The member that lenient mode warns of.
    warning: Option<String>,
}

#[test]
fn ecs_accepts_and_refuses_the_registries_of_the_table() {
    let Table { rows, .. } = table::<Table<RegistriesRow>>("registries.json");
    let web = ContainerDefinition::new("web").with_port(8080, None);
    for mode in [Mode::Strict, Mode::Lenient] {
        let world = World::new(mode);
        let state = world.cloud_map.cloud_map().state();
        for row in &rows {
            assert!(!row.source.is_empty());
            let network_mode = NetworkMode::parse(&row.network_mode).unwrap();
            let launch_type = LaunchType::parse(row.launch_type.as_deref().unwrap_or("FARGATE")).unwrap();
            let definition = TaskDefinition::new("web", network_mode, [web.clone()]);
            let registries: Vec<_> = row.registries.iter().map(|registry| world.registry(registry)).collect();
            let place = (&*state, &Scope::default());
            let answer = validate_service_registries(&registries, &definition, launch_type, place, mode);
            let of_mode = if mode == Mode::Strict { &row.strict } else { &row.lenient };
            let wanted = match row.error.as_ref().or(of_mode.as_ref()) {
                Some(refused) => Err(world.refused(refused)),
                None => Ok(row.warning.clone().filter(|_| mode == Mode::Lenient)),
            };
            let answer = answer.map_err(Refused::from).map(|warnings| {
                assert!(warnings.len() <= 1);
                warnings.first().map(|warning| warning.member.to_owned())
            });
            assert_eq!(answer, wanted, "{mode:?}: {}", row.title);
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InstanceRow {
    title: String,
    source: String,
    service: String,
    task: TaskRow,
    registry: RegistryRow,
    attributes: Option<BTreeMap<String, String>>,
    health: Option<String>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TaskRow {
    network_mode: Option<String>,
    launch_type: Option<String>,
    ec2_instance_id: Option<String>,
    task_set_external_id: Option<String>,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
    containers: Vec<ContainerRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ContainerRow {
    name: Option<String>,
    #[serde(default = "is_essential")]
    essential: bool,
    #[serde(default)]
    health_check: bool,
    #[serde(default)]
    ports: Vec<(u16, Option<u16>)>,
    #[serde(default)]
    host_ports: Vec<(u16, u16)>,
    health: Option<String>,
}

fn is_essential() -> bool {
    true
}

/// A task with these containers. Those with a health or host ports have started.
fn task(network_mode: NetworkMode, rows: &[ContainerRow]) -> Task {
    let name = |number: usize, row: &ContainerRow| row.name.clone().unwrap_or(format!("container-{number}"));
    let defined = rows.iter().enumerate().map(|(number, row)| {
        let mut defined = ContainerDefinition::new(name(number, row)).with_essential(row.essential);
        defined.has_health_check = row.health_check;
        row.ports.iter().fold(defined, |defined, (port, host)| defined.with_port(*port, *host))
    });
    let started =
        rows.iter().enumerate().filter(|(_, row)| row.health.is_some() || !row.host_ports.is_empty());
    let started = started.map(|(number, row)| {
        let health = match row.health.as_deref() {
            Some("HEALTHY") => HealthStatus::Healthy,
            Some("UNHEALTHY") => HealthStatus::Unhealthy,
            Some("UNKNOWN") | None => HealthStatus::Unknown,
            Some(other) => panic!("{other}"),
        };
        let container = Container::new(name(number, row), health);
        row.host_ports
            .iter()
            .fold(container, |container, (port, host)| container.with_host_port(*port, *host))
    });
    let definition = Arc::new(TaskDefinition::new("web", network_mode, defined));
    let mut task = Task::new("task-1", "default", "web-service", definition);
    task.containers = started.collect();
    task
}

#[test]
fn ecs_registers_the_attributes_of_the_table() {
    let Table { rows, .. } = table::<Table<InstanceRow>>("instances.json");
    let world = World::new(Mode::Lenient);
    let state = world.cloud_map.cloud_map().state();
    for row in &rows {
        assert!(!row.source.is_empty());
        let mode = row.task.network_mode.as_deref().unwrap_or("awsvpc");
        let mut task = task(NetworkMode::parse(mode).unwrap(), &row.task.containers);
        task.launch_type = LaunchType::parse(row.task.launch_type.as_deref().unwrap_or("FARGATE")).unwrap();
        task.ec2_instance_id.clone_from(&row.task.ec2_instance_id);
        task.task_set_external_id.clone_from(&row.task.task_set_external_id);
        (task.ipv4, task.ipv6) = (row.task.ipv4, row.task.ipv6);
        let mut registry = row.registry.clone();
        registry.registry_arn = format!("${{{}}}", row.service);
        let registry = world.registry(&registry);
        let instance = instance_of(&task, &registry, (&state, &Scope::default()));
        let instance = instance.map_err(Refused::from);
        let wanted = row.error.as_ref().map(|refused| world.refused(refused));
        assert_eq!(instance.as_ref().err(), wanted.as_ref(), "{}", row.title);
        let Ok(instance) = instance else { continue };
        assert_eq!(instance.id, "task-1");
        assert_eq!(Some(&instance.attributes), row.attributes.as_ref(), "{}", row.title);
        let health = instance.health.map(|health| health.as_str().to_owned());
        assert_eq!(health, row.health, "{}", row.title);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthRow {
    title: String,
    source: String,
    containers: Vec<ContainerRow>,
    health: String,
}

#[test]
fn a_task_has_the_health_of_the_table() {
    let Table { rows, .. } = table::<Table<HealthRow>>("health.json");
    for row in &rows {
        assert!(!row.source.is_empty());
        let task = task(NetworkMode::Awsvpc, &row.containers);
        assert_eq!(health_of(&task).as_str(), row.health, "{}", row.title);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConnectRow {
    title: String,
    source: String,
    network_mode: Option<String>,
    /// `app` if the row does not say, and none if it says null.
    #[serde(default = "app")]
    namespace: Option<String>,
    services: Vec<ConnectServiceRow>,
    plan: Option<Vec<PlannedRow>>,
    error: Option<Refused>,
}

fn app() -> Option<String> {
    Some("app".to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConnectServiceRow {
    port_name: String,
    discovery_name: Option<String>,
    client_aliases: Vec<AliasRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AliasRow {
    port: i32,
    dns_name: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlannedRow {
    discovery_name: String,
    container_name: String,
    container_port: u16,
}

#[test]
fn ecs_accepts_and_refuses_the_service_connect_of_the_table() {
    let Table { rows, .. } = table::<Table<ConnectRow>>("service-connect.json");
    let web = ContainerDefinition::new("web").with_named_port("http", 8080).with_named_port("metrics", 9090);
    let sidecar = ContainerDefinition::new("sidecar").with_port(70, None).with_named_port("proxy", 80);
    for row in &rows {
        assert!(!row.source.is_empty());
        let network_mode = NetworkMode::parse(row.network_mode.as_deref().unwrap_or("awsvpc")).unwrap();
        let definition = TaskDefinition::new("web", network_mode, [web.clone(), sidecar.clone()]);
        let services = row.services.iter().map(|service| {
            let mut connect = ServiceConnectService::new(service.port_name.as_str(), 80);
            connect.discovery_name.clone_from(&service.discovery_name);
            let alias = |row: &AliasRow| {
                let mut alias = ClientAlias::default();
                alias.port = row.port;
                alias.dns_name.clone_from(&row.dns_name);
                alias
            };
            connect.client_aliases = service.client_aliases.iter().map(alias).collect();
            connect
        });
        let mut config = ServiceConnect::default();
        config.services = services.collect();
        // The cluster's default and the service's own are alike.
        for own in [false, true] {
            let namespace = row.namespace.as_deref();
            config.namespace = namespace.filter(|_| own).map(str::to_owned);
            let default = namespace.filter(|_| !own);
            let plan = validate_service_connect(&config, default, &definition).map_err(Refused::from);
            assert_eq!(plan.as_ref().err(), row.error.as_ref(), "{}", row.title);
            let Ok(plan) = plan else { continue };
            assert_eq!(Some(plan.namespace.as_str()), namespace);
            let planned = plan.services.into_iter().map(|planned| PlannedRow {
                discovery_name: planned.discovery_name,
                container_name: planned.container_name,
                container_port: planned.container_port,
            });
            assert_eq!(Some(planned.collect()), row.plan, "{}", row.title);
        }
    }
}

#[test]
fn no_row_says_the_same_as_another() {
    let titles = [
        table::<Table<RegistriesRow>>("registries.json")
            .rows
            .into_iter()
            .map(|row| row.title)
            .collect::<Vec<_>>(),
        table::<Table<InstanceRow>>("instances.json").rows.into_iter().map(|row| row.title).collect(),
        table::<Table<HealthRow>>("health.json").rows.into_iter().map(|row| row.title).collect(),
        table::<Table<ConnectRow>>("service-connect.json").rows.into_iter().map(|row| row.title).collect(),
    ];
    for titles in titles {
        assert_eq!(titles.iter().collect::<BTreeSet<_>>().len(), titles.len());
    }
}
