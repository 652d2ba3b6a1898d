//! Tasks, as callers start, stop and see them.

use std::sync::Arc;

use sd_core::{Scope, model::HealthStatus};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    Ecs,
    model::{Container, DeploymentSpec, Owner, Status, Stop, StopCode, Task, Times},
    refusal::{Refusal, page},
    services::check_placement,
    show::show_task,
    state::{State, arn},
    task_driver,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunTask {
    cluster: Option<String>,
    task_definition: String,
    count: Option<usize>,
    group: Option<String>,
    launch_type: Option<String>,
    started_by: Option<String>,
    #[serde(default)]
    network_configuration: Value,
    #[serde(default)]
    tags: Value,
}

/// What a task is made of.
pub(super) struct NewTask<'a> {
    pub(super) scope: &'a Scope,
    pub(super) cluster: &'a str,
    pub(super) spec: &'a DeploymentSpec,
    pub(super) owner: Owner,
    pub(super) tags: Value,
}

impl Ecs {
    pub(super) fn run_task(self: &Arc<Self>, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let request: RunTask = super::input(input)?;
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, request.cluster.as_deref())?;
        let count = request.count.unwrap_or(1);
        if !(1..=10).contains(&count) {
            return Err(Refusal::parameter("Count must be between 1 and 10.")); // Our text.
        }
        let definition = state.definition(scope, &request.task_definition)?;
        let group = request.group.unwrap_or_else(|| format!("family:{}", definition.family));
        if group.starts_with("service:") {
            return Err(Refusal::parameter("Invalid group: service: is reserved for tasks of services.")); // Our text.
        }
        let spec = DeploymentSpec {
            definition,
            launch_type: request.launch_type.unwrap_or_else(|| "EC2".to_owned()),
            network: request.network_configuration,
            registries: Vec::new(),
            load_balancers: Vec::new(),
        };
        check_placement(&spec)?;
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let owner = Owner::Caller { group: group.clone(), started_by: request.started_by.clone() };
            let new =
                NewTask { scope, cluster: &cluster, spec: &spec, owner, tags: super::list(&request.tags) };
            match self.start_task(&mut state, new) {
                Some(task) => tasks.push(show_task(&task)),
                None => failures.push(json!({"reason": "RESOURCE:ENI"})),
            }
        }
        Ok(json!({"tasks": tasks, "failures": failures}))
    }

    /// Creates a task and starts its driver. `None` if there is no address left.
    pub(super) fn start_task(self: &Arc<Self>, state: &mut State, new: NewTask<'_>) -> Option<Task> {
        let id = format!("{:032x}", fastrand::u128(..));
        let containers = new.spec.definition.containers.iter().map(|container| Container {
            name: container.name.clone(),
            status: Status::Pending,
            health: HealthStatus::Unknown,
            exit_code: None,
            reason: None,
        });
        let task = Task {
            scope: new.scope.clone(),
            arn: arn(new.scope, "task", &format!("{}/{id}", new.cluster)),
            id,
            cluster: new.cluster.to_owned(),
            containers: containers.collect(),
            definition: Arc::clone(&new.spec.definition),
            launch_type: new.spec.launch_type.clone(),
            owner: new.owner,
            registries: new.spec.registries.clone(),
            load_balancers: new.spec.load_balancers.clone(),
            address: state.addresses.take()?,
            status: Status::Provisioning,
            stop: None,
            times: Times { created_at: self.clock.now(), ..Times::default() },
            tags: new.tags,
            moment: 0,
            is_counted: false,
            wake: Arc::new(Notify::new()),
        };
        state.add_task(task.clone());
        tokio::spawn(task_driver::run(Arc::clone(self), task.clone()));
        Some(task)
    }

    pub(super) fn stop_task(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let given = super::text(input, "task")?;
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, input["cluster"].as_str())?;
        let task = state.task(scope, &cluster, given);
        let task = task.ok_or_else(|| Refusal::parameter("The referenced task was not found."))?;
        let arn = task.arn.clone();
        let reason = input["reason"].as_str().unwrap_or("Task stopped by user").to_owned();
        stop(&mut state, &arn, Stop { code: StopCode::UserInitiated, reason, is_failure: false });
        Ok(json!({"task": state.tasks.get(&arn).map(show_task)}))
    }

    pub(super) fn describe_tasks(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let given = super::texts(input, "tasks", 100)?;
        if given.is_empty() {
            return Err(Refusal::parameter("Tasks cannot be empty."));
        }
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, input["cluster"].as_str())?;
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for given in given {
            match state.task(scope, &cluster, &given) {
                Some(task) => tasks.push(show_task(task)),
                None => {
                    failures.push(super::missing(&given, &arn(scope, "task", &format!("{cluster}/{given}"))))
                }
            }
        }
        Ok(json!({"tasks": tasks, "failures": failures}))
    }

    pub(super) fn list_tasks(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, input["cluster"].as_str())?;
        let service = match input["serviceName"].as_str() {
            Some(given) => Some(state.service(scope, &cluster, given)?.name.clone()),
            None => None,
        };
        if super::refusal::is_set(&input["containerInstance"]) {
            return Err(Refusal::unsupported("container instances"));
        }
        let is_stopped = input["desiredStatus"] == "STOPPED";
        // As at AWS: no task is desired to be PENDING.
        let is_none = input["desiredStatus"] == "PENDING";
        let is = |member: &str, value: &str| input[member].as_str().is_none_or(|wanted| wanted == value);
        let tasks = state.tasks_of(scope, &cluster).filter(|task| {
            !is_none
                && task.stop.is_some() == is_stopped
                && service.as_deref().is_none_or(|name| task.service() == Some(name))
                && is("family", &task.definition.family)
                && is("launchType", &task.launch_type)
                && is("startedBy", task.started_by().unwrap_or_default())
        });
        page("taskArns", tasks.map(|task| task.arn.clone()), input)
    }
}

/// Says that a task is to stop, unless it is said already.
pub(super) fn stop(state: &mut State, arn: &str, stop: Stop) {
    if state.tasks.get(arn).is_some_and(|task| task.stop.is_none()) {
        state.change_task(arn, |task| {
            task.stop = Some(stop);
            task.wake.notify_one();
        });
    }
}
