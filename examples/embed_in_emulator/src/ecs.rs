//! A small ECS, whose tasks are local processes. Its operations change what is desired; the scheduler and the drivers of tasks
//! bring it about.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{StatusCode, header::CONTENT_TYPE},
    response::Response,
};
use sd_core::{CloudMap, Scope};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::sleep};

mod clusters;
mod container;
mod discovery;
mod listeners;
mod model;
mod process;
mod refusal;
mod scheduler;
mod services;
mod settings;
mod show;
mod state;
mod target_groups;
mod task_definitions;
mod task_driver;
mod tasks;
#[cfg(test)]
mod testing;

pub use settings::Settings;

use discovery::Discovery;
use listeners::{Listener, Listeners};
use refusal::Refusal;
use settings::Clock;
use state::State;
use target_groups::TargetGroups;

const TARGET: &str = "AmazonEC2ContainerServiceV20141113.";
const BODY_LIMIT: usize = 1024 * 1024;
/// How often listeners get a listing of all tasks, in seconds.
const LISTING: u32 = 5;

/// The ECS of the emulator.
#[derive(Debug)]
pub(crate) struct Ecs {
    state: Mutex<State>,
    /// Wakes the scheduler.
    changed: Notify,
    discovery: Arc<Discovery>,
    pub(crate) target_groups: Arc<TargetGroups>,
    listeners: Listeners,
    settings: Settings,
    clock: Clock,
}

impl Ecs {
    /// Starts an ECS without tasks.
    pub(crate) fn start(cloud_map: CloudMap, settings: Settings) -> Arc<Self> {
        let discovery = Arc::new(Discovery::new(cloud_map, settings.drain));
        let clock = Clock::new(settings.second);
        let target_groups = Arc::<TargetGroups>::default();
        let listeners: Vec<Arc<dyn Listener>> = vec![discovery.clone(), target_groups.clone()];
        let listeners = Listeners::new(listeners, &clock);
        let (state, changed) = (Mutex::new(State::new(settings.addresses)), Notify::new());
        let ecs = Arc::new(Self { state, changed, discovery, target_groups, listeners, settings, clock });
        tokio::spawn(scheduler::run(Arc::clone(&ecs)));
        tokio::spawn(Arc::clone(&ecs).report_all());
        ecs
    }

    /// The state. It is never locked across an `await`.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports all tasks to the listeners, from time to time.
    async fn report_all(self: Arc<Self>) {
        loop {
            let (moment, tasks) = {
                let state = self.lock();
                (state.moment(), state.tasks.values().cloned().collect())
            };
            self.listeners.all(moment, &tasks).await;
            sleep(self.clock.seconds(LISTING)).await;
        }
    }

    pub(crate) async fn answer(self: &Arc<Self>, scope: &Scope, request: Request) -> Response {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.strip_prefix(TARGET)).unwrap_or_default().to_owned();
        let answer = match to_bytes(request.into_body(), BODY_LIMIT).await {
            Ok(body) => self.call(scope, &operation, &body),
            Err(error) => Err(Refusal::parameter(error.to_string())),
        };
        let (status, body) = match answer {
            Ok(body) => (StatusCode::OK, body),
            Err(Refusal { code, message }) => {
                (StatusCode::BAD_REQUEST, json!({"__type": code, "message": message}))
            }
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let json = axum::http::HeaderValue::from_static("application/x-amz-json-1.1");
        response.headers_mut().insert(CONTENT_TYPE, json);
        let id = format!("{:032x}", fastrand::u128(..));
        if let Ok(id) = id.parse() {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response
    }

    fn call(self: &Arc<Self>, scope: &Scope, operation: &str, body: &[u8]) -> Result<Value, Refusal> {
        let parsed = if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(body) };
        let value: Value =
            parsed.map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
        if !value.is_object() {
            return Err(Refusal::new("SerializationException", "expected an object"));
        }
        refusal::refuse_unsupported(operation, &value)?;
        match operation {
            "CreateCluster" => self.create_cluster(scope, &value),
            "DeleteCluster" => self.delete_cluster(scope, &value),
            "DescribeClusters" => self.describe_clusters(scope, &value),
            "ListClusters" => self.list_clusters(scope, &value),
            "RegisterTaskDefinition" => self.register_task_definition(scope, &value),
            "DeregisterTaskDefinition" => self.deregister_task_definition(scope, &value),
            "DescribeTaskDefinition" => self.describe_task_definition(scope, &value),
            "ListTaskDefinitions" => self.list_task_definitions(scope, &value),
            "CreateService" => self.create_service(scope, &value),
            "UpdateService" => self.update_service(scope, &value),
            "DeleteService" => self.delete_service(scope, &value),
            "DescribeServices" => self.describe_services(scope, &value),
            "ListServices" => self.list_services(scope, &value),
            "RunTask" => self.run_task(scope, &value),
            "StopTask" => self.stop_task(scope, &value),
            "DescribeTasks" => self.describe_tasks(scope, &value),
            "ListTasks" => self.list_tasks(scope, &value),
            _ => {
                let text = format!("This emulator has no operation {operation:?}.");
                Err(Refusal::new("UnknownOperationException", text))
            }
        }
    }
}

/// The members of a request.
fn input<T: for<'a> Deserialize<'a>>(input: &Value) -> Result<T, Refusal> {
    T::deserialize(input).map_err(|error| Refusal::new("SerializationException", error.to_string()))
}

/// A member that a request needs.
fn text<'a>(input: &'a Value, member: &str) -> Result<&'a str, Refusal> {
    // Our text.
    input[member].as_str().ok_or_else(|| Refusal::parameter(format!("The request must contain '{member}'.")))
}

/// A list of texts, which may be missing.
fn texts(input: &Value, member: &str, most: usize) -> Result<Vec<String>, Refusal> {
    let texts: Option<Vec<String>> = self::input(&input[member])?;
    let texts = texts.unwrap_or_default();
    if texts.len() > most {
        return Err(Refusal::parameter(format!("'{member}' can have at most {most} items."))); // Our text.
    }
    Ok(texts)
}

/// A list, or an empty one.
fn list(value: &Value) -> Value {
    if value.is_array() { value.clone() } else { json!([]) }
}

fn includes_tags(input: &Value) -> bool {
    input["include"].as_array().is_some_and(|members| members.contains(&json!("TAGS")))
}

/// Says that what a request asked for does not exist.
fn missing(given: &str, arn: &str) -> Value {
    json!({"arn": if given.starts_with("arn:") { given } else { arn }, "reason": "MISSING"})
}
