//! Task definitions: what is registered, checked and shown.

use std::sync::Arc;

use sd_core::Scope;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Ecs, discovery,
    refusal::{Refusal, is_set, paged},
    settings::Settings,
    state::{Revision, arn},
};

/// The most containers of a task definition, and its most bytes.
const MOST_CONTAINERS: usize = 10;
const MOST_BYTES: usize = 64 * 1024;

/// A revision of a task definition.
#[derive(Debug)]
pub(super) struct TaskDefinition {
    pub(super) arn: String,
    pub(super) family: String,
    pub(super) network_mode: String,
    pub(super) containers: Vec<ContainerDefinition>,
    /// As `sd_core::ecs` has it.
    pub(super) reported: Arc<sd_core::ecs::TaskDefinition>,
    /// As the API shows it, without its status.
    shown: Map<String, Value>,
    tags: Value,
}

/// A container definition. What means nothing without a container engine is only shown.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ContainerDefinition {
    pub(super) name: String,
    pub(super) essential: bool,
    pub(super) entry_point: Vec<String>,
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<Variable>,
    pub(super) port_mappings: Vec<PortMapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop_timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_check: Option<HealthCheck>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Default for ContainerDefinition {
    fn default() -> Self {
        Self {
            name: String::new(),
            essential: true,
            entry_point: Vec::new(),
            command: Vec::new(),
            environment: Vec::new(),
            port_mappings: Vec::new(),
            stop_timeout: None,
            health_check: None,
            others: Map::new(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Variable {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PortMapping {
    /// Also the port at the address of the task, because nothing is between.
    #[serde(default)]
    pub(super) container_port: u16,
    /// Only shown.
    #[serde(default)]
    host_port: Option<u16>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// How a container's health is checked. Times are in seconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthCheck {
    pub(super) command: Vec<String>,
    #[serde(default = "HealthCheck::interval")]
    pub(super) interval: u32,
    #[serde(default = "HealthCheck::timeout")]
    pub(super) timeout: u32,
    #[serde(default = "HealthCheck::retries")]
    pub(super) retries: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) start_period: Option<u32>,
}

impl HealthCheck {
    fn interval() -> u32 {
        30
    }

    fn timeout() -> u32 {
        5
    }

    fn retries() -> u32 {
        3
    }

    /// The program and its arguments; `None` for `NONE`. The local host of a container is the task's, so `localhost` and
    /// 127.0.0.1 become the address of the task.
    pub(super) fn argv(&self, address: &str) -> Option<Vec<String>> {
        let (kind, command) = self.command.split_first()?;
        let local =
            |part: &String| replace_host(&replace_host(part, "localhost", address), "127.0.0.1", address);
        let mut command: Vec<_> = command.iter().map(local).collect();
        match kind.as_str() {
            "CMD" => Some(command),
            "CMD-SHELL" => {
                command.splice(0..0, ["/bin/sh".to_owned(), "-c".to_owned()]);
                Some(command)
            }
            _ => None,
        }
    }

    fn is_off(&self) -> bool {
        self.command.first().is_some_and(|kind| kind == "NONE")
    }
}

/// Replaces a host, but not a part of a longer name or address.
fn replace_host(text: &str, host: &str, with: &str) -> String {
    let is_of_name = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    let (mut replaced, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(host) {
        let is_whole = !before.ends_with(is_of_name) && !after.starts_with(is_of_name);
        replaced.push_str(before);
        replaced.push_str(if is_whole { with } else { host });
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

impl ContainerDefinition {
    /// The image, which is only shown.
    pub(super) fn image(&self) -> Option<&Value> {
        self.others.get("image")
    }

    /// Whether its health is checked.
    pub(super) fn is_checked(&self) -> bool {
        self.health_check.as_ref().is_some_and(|check| !check.is_off())
    }

    /// The program and its arguments. A program that stands for the image is its entry point.
    ///
    /// # Errors
    /// There is no program.
    pub(super) fn argv(&self, settings: &Settings) -> Result<Vec<String>, String> {
        let argv = [&self.entry_point[..], &self.command].concat();
        let (Some(images), Some(name)) = (&settings.images, self.image_name()) else { return Ok(argv) };
        let program = images.join(name);
        let of_image = program.to_string_lossy().into_owned();
        match (self.entry_point.is_empty() && program.is_file(), argv.is_empty()) {
            (true, _) => Ok([&[of_image], &self.command[..]].concat()),
            (false, true) => Err(format!("no program {of_image:?} for the image")),
            (false, false) => Ok(argv),
        }
    }

    /// The last part of the name of the image, without its tag and digest.
    fn image_name(&self) -> Option<&str> {
        let image = self.image()?.as_str()?;
        let name = image.rsplit('/').next()?.split([':', '@']).next()?;
        (!name.is_empty() && name != "..").then_some(name)
    }

    fn check(&self, settings: &Settings) -> Result<(), Refusal> {
        let name = &self.name;
        let is_valid = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        if name.is_empty() {
            return Err(Refusal::client("Container.name should not be null or empty."));
        }
        if !name.chars().all(is_valid) || name.len() > 255 {
            return Err(Refusal::client(format!("Invalid container name '{name}'."))); // Our text.
        }
        for member in
            ["dependsOn", "secrets", "environmentFiles", "restartPolicy", "mountPoints", "volumesFrom"]
        {
            if self.others.get(member).is_some_and(is_set) {
                return Err(Refusal::unsupported(&format!("{member}, as in container '{name}'")));
            }
        }
        let has_program = !self.entry_point.is_empty() || !self.command.is_empty();
        if !has_program && (settings.images.is_none() || self.image_name().is_none()) {
            let what = format!("images: container '{name}' needs an entryPoint or a command");
            return Err(Refusal::unsupported(&what));
        }
        for port in &self.port_mappings {
            if port.others.contains_key("containerPortRange") {
                return Err(Refusal::unsupported("containerPortRange"));
            }
            if port.container_port == 0 {
                let text =
                    format!("Container '{name}' has a port mapping without a containerPort of 1 to 65535.");
                return Err(Refusal::client(text)); // Our text.
            }
        }
        self.in_range("Stop timeout", self.stop_timeout, 0, 120)?;
        let Some(check) = &self.health_check else { return Ok(()) };
        self.in_range("Health check interval", Some(check.interval), 5, 300)?;
        self.in_range("Health check timeout", Some(check.timeout), 2, 60)?;
        self.in_range("Health check retries", Some(check.retries), 1, 10)?;
        self.in_range("Health check start period", check.start_period, 0, 300)?;
        let is_empty = !check.is_off() && check.command.iter().skip(1).all(String::is_empty);
        let is_known =
            matches!(check.command.first().map(String::as_str), Some("CMD" | "CMD-SHELL" | "NONE"));
        if !is_known || is_empty {
            // Our text.
            let rule = "Health check command must be NONE, or CMD or CMD-SHELL and a command";
            return Err(Refusal::client(format!("Create TaskDefinition: {rule} for container '{name}'")));
        }
        Ok(())
    }

    /// The text for too much was seen at AWS for the interval. The others are like it.
    fn in_range(&self, what: &str, value: Option<u32>, min: u32, max: u32) -> Result<(), Refusal> {
        let rule = match value {
            Some(value) if value > max => format!("less than or equal to the maximum allowed value {max}"),
            Some(value) if value < min => format!("greater than or equal to the minimum allowed value {min}"),
            _ => return Ok(()),
        };
        let name = &self.name;
        Err(Refusal::client(format!("Create TaskDefinition: {what} must be {rule} for container '{name}'")))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegisterTaskDefinition {
    #[serde(default)]
    family: String,
    #[serde(default)]
    container_definitions: Vec<ContainerDefinition>,
    network_mode: Option<String>,
    #[serde(default)]
    requires_compatibilities: Vec<String>,
}

impl Ecs {
    pub(super) fn register_task_definition(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let mut request: RegisterTaskDefinition = super::input(input)?;
        check(&request, input, &self.settings)?;
        let network_mode = request.network_mode.unwrap_or_else(|| "bridge".to_owned());
        let is_bridge = network_mode == "bridge";
        for container in &mut request.container_definitions {
            for (member, default) in
                [("cpu", json!(0)), ("mountPoints", json!([])), ("volumesFrom", json!([]))]
            {
                container.others.entry(member).or_insert(default);
            }
            for port in &mut container.port_mappings {
                port.host_port =
                    if is_bridge { port.host_port.or(Some(0)) } else { Some(port.container_port) };
                port.others.entry("protocol").or_insert(json!("tcp"));
            }
        }
        let reported =
            discovery::reported_definition(&request.family, &network_mode, &request.container_definitions);
        let mut state = self.lock();
        let family = arn(scope, "task-definition", &request.family);
        let revisions = state.families.entry(family.clone()).or_default();
        let number = revisions.len() + 1;
        let arn = format!("{family}:{number}");

        let mut shown = Map::new();
        for member in
            ["taskRoleArn", "executionRoleArn", "cpu", "memory", "runtimePlatform", "ephemeralStorage"]
        {
            if let Some(value) = input.get(member) {
                shown.insert(member.to_owned(), value.clone());
            }
        }
        let more = json!({
            "taskDefinitionArn": arn,
            "family": request.family,
            "revision": number,
            "networkMode": network_mode,
            "containerDefinitions": request.container_definitions,
            "volumes": [],
            "placementConstraints": [],
            "compatibilities": if network_mode == "awsvpc" { json!(["EC2", "FARGATE"]) } else { json!(["EC2"]) },
            "requiresCompatibilities": request.requires_compatibilities,
            "registeredAt": self.clock.now(),
        });
        shown.extend(more.as_object().cloned().unwrap_or_default());
        let definition = TaskDefinition {
            arn,
            family: request.family,
            network_mode,
            containers: request.container_definitions,
            reported: Arc::new(reported),
            shown,
            tags: super::list(&input["tags"]),
        };
        let revision = Revision { definition: Arc::new(definition), deregistered_at: None };
        let output = json!({"taskDefinition": show(&revision), "tags": revision.definition.tags});
        revisions.push(revision);
        Ok(output)
    }

    pub(super) fn deregister_task_definition(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let given = super::text(input, "taskDefinition")?;
        if !super::state::last_part(given).contains(':') {
            return Err(Refusal::client("The specified revision is invalid. Specify a revision.")); // Our text.
        }
        let mut state = self.lock();
        let revision = state.revision(scope, given);
        let revision =
            revision.ok_or_else(|| Refusal::client("The specified task definition does not exist."))?;
        revision.deregistered_at.get_or_insert(self.clock.now());
        Ok(json!({"taskDefinition": show(revision)}))
    }

    pub(super) fn describe_task_definition(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let given = super::text(input, "taskDefinition")?;
        let mut state = self.lock();
        let revision = state.revision(scope, given);
        let revision = revision.ok_or_else(|| Refusal::client("Unable to describe task definition."))?;
        let mut output = json!({"taskDefinition": show(revision)});
        if super::includes_tags(input) {
            output["tags"] = revision.definition.tags.clone();
        }
        Ok(output)
    }

    pub(super) fn list_task_definitions(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let is_active = input["status"] != "INACTIVE";
        let family = input["familyPrefix"].as_str();
        let prefix = arn(scope, "task-definition", "");
        let state = self.lock();
        let families = state.families.iter().filter(|(arn, _)| arn.starts_with(&prefix));
        let revisions = families.flat_map(|(_, revisions)| revisions);
        let wanted = revisions
            .filter(|revision| revision.deregistered_at.is_none() == is_active)
            .filter(|revision| family.is_none_or(|family| revision.definition.family == family));
        // In the order of their numbers, not of these as texts.
        let key = |arn: &str| match arn.rsplit_once(':') {
            Some((family, number)) => format!("{family}:{number:0>10}"),
            None => arn.to_owned(),
        };
        let mut arns: Vec<_> =
            wanted.map(|revision| revision.definition.arn.clone()).map(|arn| (key(&arn), arn)).collect();
        if input["sort"] == "DESC" {
            arns.reverse();
        }
        paged("taskDefinitionArns", arns, input)
    }
}

fn check(request: &RegisterTaskDefinition, input: &Value, settings: &Settings) -> Result<(), Refusal> {
    let is_valid = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
    if request.family.is_empty() {
        return Err(Refusal::client("Family should not be null or empty."));
    }
    if !request.family.chars().all(is_valid) || request.family.len() > 255 {
        return Err(Refusal::client(
            "Family contains invalid characters when it should only contain a-z, A-Z, 0-9, -, _.",
        ));
    }
    if request.container_definitions.is_empty() {
        return Err(Refusal::client("Container list cannot be empty."));
    }
    // AWS's quotas. Our texts.
    if request.container_definitions.len() > MOST_CONTAINERS {
        return Err(Refusal::client(format!("A task definition has at most {MOST_CONTAINERS} containers.")));
    }
    if input.to_string().len() > MOST_BYTES {
        return Err(Refusal::client(format!("A task definition has at most {MOST_BYTES} bytes.")));
    }
    for (place, container) in request.container_definitions.iter().enumerate() {
        container.check(settings)?;
        if request.container_definitions[..place].iter().any(|other| other.name == container.name) {
            return Err(Refusal::client("Container names should be unique.")); // Our text.
        }
    }
    if !request.container_definitions.iter().any(|container| container.essential) {
        return Err(Refusal::client("At least one container must be essential.")); // Our text.
    }
    let mode = request.network_mode.as_deref().unwrap_or("bridge");
    if !["awsvpc", "bridge", "host"].contains(&mode) {
        return Err(Refusal::unsupported(&format!("the network mode {mode:?}")));
    }
    if request.requires_compatibilities.iter().any(|launch_type| launch_type == "FARGATE") && mode != "awsvpc"
    {
        return Err(Refusal::client("Fargate only supports network mode ‘awsvpc’."));
    }
    match ["volumes", "proxyConfiguration", "pidMode", "ipcMode"]
        .iter()
        .find(|member| is_set(&input[**member]))
    {
        Some(member) => Err(Refusal::unsupported(member)),
        None => Ok(()),
    }
}

fn show(revision: &Revision) -> Value {
    let mut shown = revision.definition.shown.clone();
    let status = if revision.deregistered_at.is_none() { "ACTIVE" } else { "INACTIVE" };
    shown.insert("status".to_owned(), json!(status));
    if let Some(at) = revision.deregistered_at {
        shown.insert("deregisteredAt".to_owned(), json!(at));
    }
    Value::Object(shown)
}
