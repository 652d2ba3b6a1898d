//! An ECS with three operations. A task in the group `service:NAME` is an instance of the Cloud Map service NAME while it
//! runs, like a task of an ECS service with a service registry.

use std::net::Ipv4Addr;

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    response::Response,
};
use sd_core::{CloudMap, DesiredInstance, Scope};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

const TARGET: &str = "AmazonEC2ContainerServiceV20141113.";
const BODY_LIMIT: usize = 1024 * 1024;

/// The ECS of the emulator: its running tasks.
#[derive(Debug)]
pub(crate) struct Ecs {
    cloud_map: CloudMap,
    /// Stays locked during updates of Cloud Map, so that these arrive in order.
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    started: u16,
    running: Vec<Task>,
}

#[derive(Debug)]
struct Task {
    scope: Scope,
    arn: String,
    family: String,
    address: Ipv4Addr,
    /// The id of the Cloud Map service that the task is registered in.
    registry: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunTask {
    task_definition: String,
    group: Option<String>,
    count: Option<u16>,
}

#[derive(Deserialize)]
struct StopTask {
    task: String,
}

/// The code and the message of an error.
type Refusal = (&'static str, String);

impl Ecs {
    pub(crate) fn new(cloud_map: CloudMap) -> Self {
        Self { cloud_map, tasks: Mutex::default() }
    }

    pub(crate) async fn answer(&self, scope: &Scope, request: Request) -> Response {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.strip_prefix(TARGET)).unwrap_or_default().to_owned();
        let answer = match to_bytes(request.into_body(), BODY_LIMIT).await {
            Ok(body) => self.call(scope, &operation, &body).await,
            Err(error) => Err(("InvalidParameterException", error.to_string())),
        };
        let (status, body) = match answer {
            Ok(body) => (StatusCode::OK, body),
            Err((code, message)) => (StatusCode::BAD_REQUEST, json!({"__type": code, "message": message})),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        response
    }

    async fn call(&self, scope: &Scope, operation: &str, body: &[u8]) -> Result<Value, Refusal> {
        match operation {
            "RunTask" => self.run_task(scope, input(body)?).await,
            "StopTask" => self.stop_task(scope, &input(body)?).await,
            "ListTasks" => Ok(self.list_tasks(scope).await),
            _ => Err(("UnknownOperationException", format!("This emulator has no operation {operation:?}."))),
        }
    }

    async fn run_task(&self, scope: &Scope, input: RunTask) -> Result<Value, Refusal> {
        let group = input.group.as_deref().and_then(|group| group.strip_prefix("service:"));
        let registry = group.and_then(|name| self.registry(scope, name));
        let mut tasks = self.tasks.lock().await;
        let before = tasks.running.len();
        for _ in 0..input.count.unwrap_or(1) {
            tasks.start(scope, &input.task_definition, registry.as_deref());
        }
        self.sync(&tasks, scope, registry.as_deref()).await?;
        let started = tasks.running[before..].iter();
        let started = started.map(|task| json!({"taskArn": task.arn, "lastStatus": "RUNNING"}));
        Ok(json!({"tasks": started.collect::<Value>(), "failures": []}))
    }

    async fn stop_task(&self, scope: &Scope, input: &StopTask) -> Result<Value, Refusal> {
        let mut tasks = self.tasks.lock().await;
        let place = tasks.running.iter().position(|task| task.scope == *scope && task.arn == input.task);
        let place = place
            .ok_or_else(|| ("InvalidParameterException", "The referenced task was not found.".to_owned()))?;
        let stopped = tasks.running.remove(place);
        self.sync(&tasks, scope, stopped.registry.as_deref()).await?;
        Ok(json!({"task": {"taskArn": stopped.arn, "lastStatus": "STOPPED"}}))
    }

    async fn list_tasks(&self, scope: &Scope) -> Value {
        let tasks = self.tasks.lock().await;
        let arns = tasks.running.iter().filter(|task| task.scope == *scope).map(|task| json!(task.arn));
        json!({"taskArns": arns.collect::<Value>()})
    }

    /// The id of the first Cloud Map service with this name, in any namespace. Reads the state directly.
    fn registry(&self, scope: &Scope, name: &str) -> Option<String> {
        let state = self.cloud_map.state();
        let here = state.scope(scope);
        let found = here.namespaces().find_map(|namespace| here.service_by_name(namespace, name))?;
        Some(found.service().id.to_string())
    }

    /// Makes the running tasks the instances of their Cloud Map service. Passes all tasks each time.
    async fn sync(&self, tasks: &Tasks, scope: &Scope, registry: Option<&str>) -> Result<(), Refusal> {
        let Some(registry) = registry else { return Ok(()) };
        let desired = tasks.running.iter().filter(|task| task.registry.as_deref() == Some(registry));
        let desired: Vec<_> = desired.map(Task::instance).collect();
        let synced = self.cloud_map.at(scope.clone()).sync_service_instances(registry, "ecs", desired).await;
        let error = match synced {
            Ok(synced) => synced.refused.into_iter().next().map(|instance| instance.error),
            Err(error) => Some(error),
        };
        error.map_or(Ok(()), |error| Err(("ServerException", format!("Cloud Map: {error}"))))
    }
}

impl Tasks {
    fn start(&mut self, scope: &Scope, family: &str, registry: Option<&str>) {
        self.started += 1;
        let [high, low] = self.started.to_be_bytes();
        let (account, region) = (scope.account(), scope.region());
        self.running.push(Task {
            scope: scope.clone(),
            arn: format!("arn:aws:ecs:{region}:{account}:task/default/{:032x}", self.started),
            family: family.to_owned(),
            address: Ipv4Addr::new(10, 0, high, low),
            registry: registry.map(str::to_owned),
        });
    }
}

impl Task {
    fn instance(&self) -> DesiredInstance {
        let id = self.arn.rsplit('/').next().unwrap_or_default();
        DesiredInstance::new(id)
            .with_attribute("AWS_INSTANCE_IPV4", self.address.to_string())
            .with_attribute("ECS_TASK_DEFINITION_FAMILY", self.family.as_str())
            .with_attribute("REGION", self.scope.region().to_string())
    }
}

fn input<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| ("InvalidParameterException", error.to_string()))
}
