//! A task for unit tests.

use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, Scope, model::HealthStatus};
use serde_json::{Value, json};

use super::{
    Ecs, Settings, input,
    model::{DeploymentSpec, Owner, Status, Task},
    tasks::NewTask,
};

/// A target group in the account and Region of [`task`].
pub(super) fn target_group(name: &str) -> String {
    let scope = Scope::default();
    format!(
        "arn:aws:elasticloadbalancing:{}:{}:targetgroup/{name}/0123456789abcdef",
        scope.region(),
        scope.account()
    )
}

/// A task of the service `web` with this registry, if any, and with port 80 of its container `web` in the target group `web`.
/// Its program does not exist.
pub(super) fn task(registry: Option<&str>) -> Task {
    task_of(registry, &Value::Null)
}

/// The same without a registry, and with a health check that has this result.
pub(super) fn checked_task(health: HealthStatus) -> Task {
    let mut task = task_of(None, &json!({"command": ["CMD", "true"]}));
    task.containers[0].status = Status::Running;
    task.containers[0].health = health;
    task
}

fn task_of(registry: Option<&str>, health_check: &Value) -> Task {
    let (scope, ecs) =
        (Scope::default(), Ecs::start(CloudMap::new(MemoryRegistry::new()), Settings::new("/none")));
    let container = json!({"name": "web", "command": ["web"], "portMappings": [{"containerPort": 80}], "healthCheck": health_check});
    let definition = json!({"family": "web", "networkMode": "awsvpc", "containerDefinitions": [container]});
    ecs.register_task_definition(&scope, &definition).unwrap();
    let registries: Vec<Value> = registry.iter().map(|arn| json!({"registryArn": arn})).collect();
    let balancers =
        json!([{"targetGroupArn": target_group("web"), "containerName": "web", "containerPort": 80}]);
    let mut state = ecs.lock();
    let spec = DeploymentSpec {
        definition: state.definition(&scope, "web").unwrap(),
        launch_type: "FARGATE".to_owned(),
        network: Value::Null,
        registries: input(&json!(registries)).unwrap(),
        load_balancers: input(&balancers).unwrap(),
    };
    let owner = Owner::Service { name: "web".to_owned(), deployment: "1".to_owned() };
    let new = NewTask { scope: &scope, cluster: "default", spec: &spec, owner, tags: json!([]) };
    ecs.start_task(&mut state, new).unwrap()
}

/// A later change of a task, to this status.
pub(super) fn entered(task: &Task, status: Status) -> Task {
    Task { status, moment: task.moment + 1, ..task.clone() }
}
