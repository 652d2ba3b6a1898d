//! Tasks as real processes.

mod support;

use std::{fs, net::SocketAddr, process::Stdio};

use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use serde_json::{Value, json};
use support::{
    Client, ECS, PROGRAM, is_running, is_stable, marker, network, until, until_ended, until_sleeping,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::Command,
};

fn is(status: &str) -> impl Fn(&Value) -> bool {
    move |task| task["lastStatus"] == status
}

#[tokio::test]
async fn a_task_runs_until_it_is_stopped() {
    let (client, marker) = (Client::fresh(), marker());
    client.define("web", json!({"entryPoint": ["sleep"], "command": [marker]})).await;
    let arn = client.run("web").await;
    client.task_until(&arn, is("RUNNING")).await;
    assert!(is_running(&marker));
    client.ecs("StopTask", json!({"task": arn, "reason": "enough"})).await;
    let task = client.task_until(&arn, is("STOPPED")).await;
    assert!(!is_running(&marker));
    assert_eq!((&task["stopCode"], &task["stoppedReason"]), (&json!("UserInitiated"), &json!("enough")));
    assert_eq!(task["containers"][0]["exitCode"], 143);
    let (running, stopped) = (json!({}), json!({"desiredStatus": "STOPPED"}));
    assert_eq!(client.ecs("ListTasks", running).await, json!({"taskArns": []}));
    assert_eq!(client.ecs("ListTasks", stopped).await, json!({"taskArns": [arn]}));
}

#[tokio::test]
async fn a_container_that_ignores_sigterm_is_killed_after_its_stop_timeout() {
    let (client, marker) = (Client::fresh(), marker());
    let command = format!("trap '' TERM; while :; do sleep {marker}; done");
    client.define("web", json!({"command": ["sh", "-c", command], "stopTimeout": 2})).await;
    let arn = client.run("web").await;
    client.task_until(&arn, is("RUNNING")).await;
    until_sleeping(&marker).await;
    client.ecs("StopTask", json!({"task": arn})).await;
    let task = client.task_until(&arn, is("STOPPED")).await;
    assert_eq!(task["containers"][0]["exitCode"], 137);
    assert!(!is_running(&marker));
}

#[tokio::test]
async fn a_task_ends_with_its_essential_container() {
    let (client, marker) = (Client::fresh(), marker());
    let containers = json!([
        {"name": "app", "command": ["sh", "-c", "exit 3"]},
        {"name": "sidecar", "command": ["sleep", marker], "essential": false},
    ]);
    client.ecs("RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": containers})).await;
    let started = client.ecs("RunTask", json!({"taskDefinition": "web"})).await;
    let task = client.task_until(&started["tasks"][0]["taskArn"], is("STOPPED")).await;
    assert_eq!(task["stopCode"], "EssentialContainerExited");
    assert_eq!(task["stoppedReason"], "Essential container in task exited");
    assert_eq!(task["containers"][0]["exitCode"], 3);
    assert_eq!(task["containers"][1]["exitCode"], 143);
    assert!(!is_running(&marker));
}

#[tokio::test]
async fn a_task_goes_on_without_a_container_that_is_not_essential() {
    let client = Client::fresh();
    let containers = json!([
        {"name": "app", "command": ["sleep", "1000"]},
        {"name": "sidecar", "command": ["/no/such/program"], "essential": false},
    ]);
    client.ecs("RegisterTaskDefinition", json!({"family": "web", "containerDefinitions": containers})).await;
    let started = client.ecs("RunTask", json!({"taskDefinition": "web"})).await;
    let task = client.task_until(&started["tasks"][0]["taskArn"], is("RUNNING")).await;
    assert_eq!(task["containers"][1]["lastStatus"], "STOPPED");
}

#[tokio::test]
async fn what_a_command_leaves_that_a_signal_without_a_name_ends_is_killed() {
    let (client, marker) = (Client::fresh(), marker());
    let command = format!("sleep {marker} & setsid sleep {marker} & kill -34 $$; sleep 1000");
    client.define("web", json!({"command": ["sh", "-c", command]})).await;
    client.task_until(&client.run("web").await, is("STOPPED")).await;
    until_ended(&marker).await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_stops_the_task() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["/no/such/program"]})).await;
    let task = client.task_until(&client.run("web").await, is("STOPPED")).await;
    assert_eq!(task["stopCode"], "TaskFailedToStart");
    let reason = task["stoppedReason"].as_str().unwrap();
    assert!(reason.starts_with("CannotStartContainerError: cannot run \"/no/such/program\""), "{reason}");
}

#[tokio::test]
async fn an_image_is_a_program_of_the_directory_of_images() {
    let (images, marker) = (std::env::temp_dir().join(marker()), marker());
    fs::create_dir(&images).unwrap();
    std::os::unix::fs::symlink("/bin/sleep", images.join("sleeper")).unwrap();
    let mut settings = Client::settings();
    settings.images = Some(images.clone());
    let client = Client::with(&CloudMap::new(MemoryRegistry::new()), settings, "web");
    client.define("web", json!({"image": "registry.example:5000/a/sleeper:1.0", "command": [marker]})).await;
    client.task_until(&client.run("web").await, is("RUNNING")).await;
    assert!(is_running(&format!("{}/sleeper\0{marker}", images.display())));

    client.define("none", json!({"image": "absent"})).await;
    let task = client.task_until(&client.run("none").await, is("STOPPED")).await;
    let reason = task["stoppedReason"].as_str().unwrap();
    let path = images.join("absent");
    assert_eq!(reason, format!("CannotStartContainerError: no program {path:?} for the image"));
    // It needs no image.
    client.define("command", json!({"image": "absent", "command": ["sleep", "1000"]})).await;
    client.task_until(&client.run("command").await, is("RUNNING")).await;
    fs::remove_dir_all(images).unwrap();
}

#[tokio::test]
async fn localhost_of_a_health_check_is_the_address_of_the_task() {
    let client = Client::fresh();
    let check = json!({"command": ["CMD-SHELL", "test localhost:127.0.0.1 = $ECS_TASK_ADDRESS:$ECS_TASK_ADDRESS && test my-localhost/127.0.0.10 = my-lo''calhost/127.0.0''.10"], "interval": 5});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    client.task_until(&client.run("web").await, |task| task["healthStatus"] == "HEALTHY").await;
}

#[tokio::test]
async fn each_task_has_an_address_of_its_own() {
    let client = Client::fresh();
    let command = "exec python3 -m http.server --bind $ECS_TASK_ADDRESS 8000";
    client.define("web", json!({"command": ["sh", "-c", command]})).await;
    for address in ["127.42.0.1:8000", "127.42.0.2:8000"] {
        let task = client.task_until(&client.run("web").await, is("RUNNING")).await;
        let address: SocketAddr = address.parse().unwrap();
        assert_eq!(
            task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"],
            address.ip().to_string()
        );
        until(&format!("{address} refuses"), async || TcpStream::connect(address).await.is_ok()).await;
    }
}

#[tokio::test]
async fn processes_that_leave_the_group_end_with_the_task() {
    let (client, marker) = (Client::fresh(), marker());
    let command = format!("setsid sleep {marker} & (setsid sleep {marker} &) ; exec sleep {marker}");
    client.define("web", json!({"command": ["sh", "-c", command]})).await;
    let arn = client.run("web").await;
    client.task_until(&arn, is("RUNNING")).await;
    until_sleeping(&marker).await;
    client.ecs("StopTask", json!({"task": arn})).await;
    client.task_until(&arn, is("STOPPED")).await;
    assert!(!is_running(&marker));
}

#[tokio::test]
async fn health_follows_the_command() {
    let client = Client::fresh();
    let file = std::env::temp_dir().join(format!("health-{}", marker()));
    let check =
        json!({"command": ["CMD-SHELL", format!("test -e {}", file.display())], "interval": 5, "retries": 2});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    let arn = client.run("web").await;
    client.task_until(&arn, |task| task["healthStatus"] == "UNHEALTHY").await;
    fs::write(&file, "").unwrap();
    client.task_until(&arn, |task| task["healthStatus"] == "HEALTHY").await;
    fs::remove_file(&file).unwrap();
    // A task that belongs to no service runs on.
    let task = client.task_until(&arn, |task| task["healthStatus"] == "UNHEALTHY").await;
    assert_eq!(task["lastStatus"], "RUNNING");
}

#[tokio::test]
async fn a_health_command_that_hangs_and_forks_is_killed() {
    let (client, marker) = (Client::fresh(), marker());
    let command = format!("sleep {marker} & setsid sleep {marker} & sleep {marker}");
    let check = json!({"command": ["CMD-SHELL", command], "interval": 5, "timeout": 2, "retries": 1});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    let arn = client.run("web").await;
    client.task_until(&arn, |task| task["healthStatus"] == "UNHEALTHY").await;
    client.ecs("StopTask", json!({"task": arn})).await;
    client.task_until(&arn, is("STOPPED")).await;
    until_ended(&marker).await;
}

#[tokio::test]
async fn a_health_command_that_prints_much_is_healthy() {
    let client = Client::fresh();
    let check =
        json!({"command": ["CMD", "head", "-c", "100000000", "/dev/zero"], "interval": 5, "timeout": 60});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    client.task_until(&client.run("web").await, |task| task["healthStatus"] == "HEALTHY").await;
}

#[tokio::test]
async fn a_service_replaces_tasks_that_end() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.serve("web", 2, json!({})).await;
    client.service_until("web", is_stable).await;
    let before = client.tasks_of("web").await;
    client.ecs("StopTask", json!({"task": before[0]})).await;
    client.task_until(&before[0], is("STOPPED")).await;
    let is_steady = |service: &Value| {
        is_stable(service) && service["events"][0]["message"] == "(service web) has reached a steady state."
    };
    client.service_until("web", is_steady).await;
    assert_ne!(client.tasks_of("web").await, before);

    client.ecs("UpdateService", json!({"service": "web", "desiredCount": 0})).await;
    client.service_until("web", is_stable).await;
    assert!(client.tasks_of("web").await.is_empty());
}

#[tokio::test]
async fn a_service_replaces_unhealthy_tasks() {
    let client = Client::fresh();
    let check = json!({"command": ["CMD", "false"], "interval": 5, "retries": 1});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    client.serve("web", 1, json!({})).await;
    let stopped = json!({"desiredStatus": "STOPPED"});
    let is_any = |listed: &Value| !listed["taskArns"].as_array().unwrap().is_empty();
    let stopped = client.until("ListTasks", stopped, is_any).await["taskArns"][0].clone();
    let task = client.task_until(&stopped, is("STOPPED")).await;
    assert_eq!(task["stopCode"], "ServiceSchedulerInitiated");
    assert_eq!(task["stoppedReason"], "Task failed container health checks");
    client.service_until("web", |service| service["runningCount"] == 1).await;
}

#[tokio::test]
async fn a_rolling_update_keeps_the_minimum_and_the_maximum() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.serve("web", 4, json!({"deploymentConfiguration": {"maximumPercent": 150}})).await;
    client.service_until("web", is_stable).await;
    let old = client.tasks_of("web").await;
    client.define("web", json!({"command": ["sleep", "1001"]})).await;
    client.ecs("UpdateService", json!({"service": "web", "taskDefinition": "web"})).await;
    let service = client.service_until("web", |service| {
        let (running, pending) = (service["runningCount"].as_u64(), service["pendingCount"].as_u64());
        assert!(running >= Some(4), "{service}");
        assert!(running.zip(pending).is_some_and(|(running, pending)| running + pending <= 6), "{service}");
        is_stable(service)
    });
    assert!(service.await["taskDefinition"].as_str().unwrap().ends_with("/web:2"));
    let new = client.tasks_of("web").await;
    assert!(new.len() == 4 && new.iter().all(|arn| !old.contains(arn)));

    client.ecs("UpdateService", json!({"service": "web", "forceNewDeployment": true})).await;
    client.service_until("web", is_stable).await;
    assert!(client.tasks_of("web").await.iter().all(|arn| !new.contains(arn)));
}

#[tokio::test]
async fn the_circuit_breaker_rolls_back() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    let breaker = json!({"deploymentCircuitBreaker": {"enable": true, "rollback": true}});
    client.serve("web", 1, json!({"deploymentConfiguration": breaker})).await;
    let first = client.service_until("web", is_stable).await["deployments"][0]["id"].clone();
    let old = client.tasks_of("web").await;
    client.define("web", json!({"command": ["/no/such/program"]})).await;
    client.ecs("UpdateService", json!({"service": "web", "taskDefinition": "web"})).await;
    let rolls_back = |service: &Value| service["events"].to_string().contains("rolling back");
    client.service_until("web", rolls_back).await;
    let service = client.service_until("web", is_stable).await;
    assert_eq!(service["deployments"][0]["id"], first);
    assert!(service["events"].to_string().contains("deployment failed: tasks failed to start."));
    assert_eq!(client.tasks_of("web").await, old);
}

#[tokio::test]
async fn a_deployment_that_fails_starts_no_more_tasks() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["/no/such/program"]})).await;
    let breaker = json!({"deploymentCircuitBreaker": {"enable": true, "rollback": false}});
    client.serve("web", 1, json!({"deploymentConfiguration": breaker})).await;
    let failed = |service: &Value| service["deployments"][0]["rolloutState"] == "FAILED";
    let service = client.service_until("web", failed).await;
    assert_eq!(service["deployments"][0]["failedTasks"], 3);
    assert_eq!(
        service["deployments"][0]["rolloutStateReason"],
        "ECS deployment circuit breaker: tasks failed to start."
    );
    assert!(client.tasks_of("web").await.is_empty());
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.ecs("UpdateService", json!({"service": "web", "taskDefinition": "web"})).await;
    client.service_until("web", is_stable).await;
}

#[tokio::test]
async fn a_deleted_service_is_inactive_after_its_tasks() {
    let (client, marker) = (Client::fresh(), marker());
    client.define("web", json!({"command": ["sleep", marker]})).await;
    client.serve("web", 2, json!({})).await;
    client.service_until("web", is_stable).await;
    let (_, message) = client.refused("DeleteService", json!({"service": "web"})).await;
    assert_eq!(message, "The service cannot be stopped while it is scaled above 0.");
    let deleted = client.ecs("DeleteService", json!({"service": "web", "force": true})).await;
    assert_eq!(deleted["service"]["status"], "DRAINING");
    client.service_until("web", |service| service["status"] == "INACTIVE").await;
    assert!(!is_running(&marker));
    let (code, _) = client.refused("UpdateService", json!({"service": "web"})).await;
    assert_eq!(code, "ServiceNotActiveException");
    client.ecs("DeleteCluster", json!({"cluster": "default"})).await;
}

/// The program, with its API.
async fn start_program() -> (tokio::process::Child, SocketAddr) {
    let mut program = Command::new(PROGRAM)
        .args(["--second", "20", "--http", "127.0.0.1:0", "--dns", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let api = line.strip_prefix("API ").and_then(|line| line.split(',').next()).unwrap().parse().unwrap();
    (program, api)
}

async fn post(api: SocketAddr, operation: &str, body: Value) -> String {
    let body = body.to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {api}\r\nX-Amz-Target: {ECS}.{operation}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len(),
    );
    let mut stream = TcpStream::connect(api).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    response
}

#[tokio::test]
async fn a_killed_emulator_leaves_no_process() {
    let (mut program, api) = start_program().await;
    let marker = marker();
    let command = format!("trap '' TERM; setsid sleep {marker} & while :; do sleep {marker}; done");
    let check = json!({"command": ["CMD", "sleep", marker], "interval": 5, "timeout": 60});
    let container = json!({"name": "app", "command": ["sh", "-c", command], "healthCheck": check});
    let definition = json!({"family": "web", "networkMode": "awsvpc", "containerDefinitions": [container]});
    post(api, "RegisterTaskDefinition", definition).await;
    let service = json!({
        "serviceName": "web",
        "taskDefinition": "web",
        "desiredCount": 3,
        "networkConfiguration": network(),
    });
    post(api, "CreateService", service).await;
    let services = json!({"services": ["web"]});
    let runs = async || post(api, "DescribeServices", services.clone()).await.contains("\"runningCount\":3");
    until("no three tasks run", runs).await;
    until_sleeping(&marker).await;
    program.kill().await.unwrap();
    until_ended(&marker).await;
}
