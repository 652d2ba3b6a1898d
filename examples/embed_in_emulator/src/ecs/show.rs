//! Tasks and services as the API shows them, with the members of botocore's model.

use serde_json::{Value, json};

use super::{
    model::{Deployment, Owner, Rollout, Service, ServiceStatus, Status, Stop, Task},
    state::{State, arn},
};

pub(super) fn show_task(task: &Task) -> Value {
    let (scope, id) = (&task.scope, &task.id);
    let interface = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    let is_awsvpc = task.definition.network_mode == "awsvpc";
    let definitions = task.definition.containers.iter().zip(&task.containers);
    let containers = definitions.map(|(definition, container)| {
        let bindings = definition.port_mappings.iter().filter(|_| !is_awsvpc).map(|port| {
            json!({
                "bindIP": task.address,
                "containerPort": port.container_port,
                "hostPort": port.container_port,
                "protocol": "tcp",
            })
        });
        let interfaces = is_awsvpc
            .then(|| json!({"attachmentId": interface, "privateIpv4Address": task.address}))
            .into_iter();
        let mut shown = json!({
            "containerArn": arn(scope, "container", &format!("{}/{id}/{}", task.cluster, container.name)),
            "taskArn": task.arn,
            "name": container.name,
            "lastStatus": container.status.as_str(),
            "healthStatus": container.health.as_str(),
            "networkBindings": bindings.collect::<Value>(),
            "networkInterfaces": interfaces.collect::<Value>(),
        });
        add(&mut shown, "image", definition.image().cloned());
        add(&mut shown, "exitCode", container.exit_code.map(Value::from));
        add(&mut shown, "reason", container.reason.clone().map(Value::from));
        shown
    });
    let group = match &task.owner {
        Owner::Service { name, .. } => format!("service:{name}"),
        Owner::Caller { group, .. } => group.clone(),
    };
    let mut shown = json!({
        "taskArn": task.arn,
        "clusterArn": arn(scope, "cluster", &task.cluster),
        "taskDefinitionArn": task.definition.arn,
        "group": group,
        "launchType": task.launch_type,
        "availabilityZone": task.zone(),
        "lastStatus": task.status.as_str(),
        "desiredStatus": if task.stop.is_none() { "RUNNING" } else { "STOPPED" },
        "healthStatus": task.health().as_str(),
        "containers": containers.collect::<Value>(),
        "attachments": [],
        "overrides": {"containerOverrides": []},
        "tags": task.tags,
        "version": task.moment,
    });
    if is_awsvpc {
        shown["attachments"] = json!([{
            "id": interface,
            "type": "ElasticNetworkInterface",
            "status": if task.status < Status::Deprovisioning { "ATTACHED" } else { "DELETED" },
            "details": [{"name": "privateIPv4Address", "value": task.address}],
        }]);
    }
    add(&mut shown, "startedBy", task.started_by().map(Value::from));
    if let Some(Stop { code, reason, .. }) = &task.stop {
        shown["stopCode"] = json!(code);
        shown["stoppedReason"] = json!(reason);
    }
    if let Value::Object(times) = json!(task.times) {
        times.into_iter().for_each(|(member, time)| shown[member] = time);
    }
    shown
}

pub(super) fn show_service(state: &State, scope: &sd_core::Scope, service: &Service) -> Value {
    let tasks: Vec<_> = state.tasks_of_service(&service.arn).collect();
    let counts = |is_counted: &dyn Fn(&Task) -> bool| {
        let running = tasks.iter().filter(|task| is_counted(task) && task.status == Status::Running).count();
        let pending = |task: &&&Task| task.status < Status::Running;
        (running, tasks.iter().filter(|task| is_counted(task)).filter(pending).count())
    };
    let (running, pending) = counts(&|_| true);
    let primary = service.primary();
    let deployments = service.deployments.iter().enumerate().map(|(place, deployment)| {
        let counts = counts(&|task| task.is_of(&deployment.id));
        show_deployment(service, deployment, place == 0, counts)
    });
    let events = service.events.iter();
    let events = events.map(|event| json!({"id": event.id, "createdAt": event.at, "message": event.message}));
    let status = match service.status {
        ServiceStatus::Active => "ACTIVE",
        ServiceStatus::Draining => "DRAINING",
        ServiceStatus::Inactive => "INACTIVE",
    };
    let mut shown = json!({
        "serviceArn": service.arn,
        "serviceName": service.name,
        "clusterArn": arn(scope, "cluster", &service.cluster),
        "status": status,
        "desiredCount": service.desired_count,
        "runningCount": running,
        "pendingCount": pending,
        "launchType": primary.spec.launch_type,
        "taskDefinition": primary.spec.definition.arn,
        "loadBalancers": primary.spec.load_balancers,
        "serviceRegistries": primary.spec.registries,
        "deploymentConfiguration": {
            "deploymentCircuitBreaker": service.circuit_breaker,
            "minimumHealthyPercent": service.percents.minimum_healthy,
            "maximumPercent": service.percents.maximum,
            "strategy": "ROLLING",
        },
        "deploymentController": {"type": "ECS"},
        "healthCheckGracePeriodSeconds": service.health_check_grace_period,
        "schedulingStrategy": "REPLICA",
        "deployments": deployments.collect::<Value>(),
        "events": events.collect::<Value>(),
        "createdAt": service.created_at,
        "placementConstraints": [],
        "placementStrategy": [],
        "enableECSManagedTags": false,
        "enableExecuteCommand": false,
        "propagateTags": "NONE",
        "tags": service.tags,
    });
    add(&mut shown, "networkConfiguration", Some(primary.spec.network.clone()));
    shown
}

fn show_deployment(
    service: &Service,
    deployment: &Deployment,
    is_primary: bool,
    (running, pending): (usize, usize),
) -> Value {
    let rollout = match deployment.rollout {
        Rollout::InProgress => "IN_PROGRESS",
        Rollout::Completed => "COMPLETED",
        Rollout::Failed => "FAILED",
    };
    let mut shown = json!({
        "id": deployment.id,
        "status": if is_primary { "PRIMARY" } else { "ACTIVE" },
        "taskDefinition": deployment.spec.definition.arn,
        "desiredCount": if is_primary { service.desired_count } else { 0 },
        "runningCount": running,
        "pendingCount": pending,
        "failedTasks": deployment.failed_tasks,
        "createdAt": deployment.created_at,
        "updatedAt": deployment.updated_at,
        "launchType": deployment.spec.launch_type,
        "rolloutState": rollout,
        "rolloutStateReason": deployment.reason,
    });
    add(&mut shown, "networkConfiguration", Some(deployment.spec.network.clone()));
    shown
}

/// Adds a member that has a value.
fn add(shown: &mut Value, member: &str, value: Option<Value>) {
    if let Some(value) = value.filter(|value| !value.is_null()) {
        shown[member] = value;
    }
}
