//! Requests that ECS refuses, and programs that misbehave.

mod support;

use std::sync::Arc;

use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, ManualClock, Timing};
use serde_json::{Value, json};
use support::{CLOUD_MAP, Client, is_stable, marker, network, until, until_ended, until_sleeping};

const NOT_FOUND: &str = "The service registry could not be validated. Route 53 error: \"ServiceNotFound.\"";
const PORT_OR_CONTAINER: &str =
    "Specify a value for either 'port' or the 'containerName' and 'containerPort' combination, but not both";

fn is(status: &str) -> impl Fn(&Value) -> bool {
    move |task| task["lastStatus"] == status
}

/// Creates a Cloud Map service in `app.local` with records of this type, and returns its ARN.
async fn create_registry(client: &Client, name: &str, record_type: &str) -> String {
    let namespaces = client.call(CLOUD_MAP, "ListNamespaces", json!({})).await;
    let service = json!({
        "Name": name,
        "NamespaceId": namespaces["Namespaces"][0]["Id"],
        "DnsConfig": {"DnsRecords": [{"Type": record_type, "TTL": 60}]},
    });
    let created = client.call(CLOUD_MAP, "CreateService", service).await;
    created["Service"]["Arn"].as_str().unwrap().to_owned()
}

async fn delete_registry(client: &Client, arn: &str) {
    client.call(CLOUD_MAP, "DeleteService", json!({"Id": arn.rsplit('/').next()})).await;
}

#[tokio::test]
async fn registries_that_ecs_refuses_create_and_change_nothing() {
    let client = Client::fresh();
    let a = client.create_web().await.as_str().unwrap().to_owned();
    let srv = create_registry(&client, "srv", "SRV").await;
    let aaaa = create_registry(&client, "aaaa", "AAAA").await;
    let deleted = create_registry(&client, "deleted", "A").await;
    delete_registry(&client, &deleted).await;
    let namespaces = client.call(CLOUD_MAP, "ListNamespaces", json!({})).await;
    let namespace = namespaces["Namespaces"][0]["Arn"].as_str().unwrap();
    client
        .define("web", json!({"command": ["sleep", "1000"], "portMappings": [{"containerPort": 80}]}))
        .await;
    client.serve("old", 0, json!({"taskDefinition": "web", "serviceRegistries": [{"registryArn": a}]})).await;

    let invalid = |arn: &str| format!("The format of the supplied service registry ARN is invalid: {arn}.");
    let of = |text: &str, arn: &str| format!("{text} Registry: {arn}");
    for (registries, message) in [
        (json!([{"registryArn": "web"}]), invalid("web")),
        (json!([{"registryArn": ""}]), invalid("")),
        (json!([{"registryArn": namespace}]), invalid(namespace)),
        (json!([{"registryArn": a.replace("eu-west-1", "us-east-1")}]), NOT_FOUND.to_owned()),
        (json!([{"registryArn": a.replace("111122223333", "444455556666")}]), NOT_FOUND.to_owned()),
        (json!([{"registryArn": deleted}]), NOT_FOUND.to_owned()),
        (
            json!([{"registryArn": a}, {"registryArn": srv}]),
            "service registries can have at most 1 items.".to_owned(),
        ),
        (
            json!([{"registryArn": srv, "containerName": "none", "containerPort": 80}]),
            of(
                "The container none is not valid. The value for 'containerName' must already be specified in the task \
                 definition.",
                &srv,
            ),
        ),
        (
            json!([{"registryArn": srv, "containerName": "app", "containerPort": 81}]),
            of("The container app did not have a container port 81 defined.", &srv),
        ),
        (json!([{"registryArn": srv}]), PORT_OR_CONTAINER.to_owned()),
        (
            json!([{"registryArn": aaaa}]),
            "This emulator does not support AAAA records, because tasks have no IPv6 addresses.".to_owned(),
        ),
        (
            json!([{"registryArn": srv, "port": 80, "containerName": "app", "containerPort": 80}]),
            PORT_OR_CONTAINER.to_owned(),
        ),
        (
            json!([{"registryArn": srv, "port": 65536}]),
            of("The port 65536 is not valid. Specify a port from 1 to 65535.", &srv),
        ),
    ] {
        let create = json!({
            "serviceName": "new",
            "taskDefinition": "web",
            "desiredCount": 1,
            "networkConfiguration": network(),
            "serviceRegistries": registries,
        });
        let (_, refusal) = client.refused("CreateService", create).await;
        assert_eq!(refusal, message, "{registries}");
        let update = json!({"service": "old", "desiredCount": 1, "serviceRegistries": registries});
        let (_, refusal) = client.refused("UpdateService", update).await;
        assert_eq!(refusal, message, "{registries}");
    }
    let listed = client.ecs("ListServices", json!({})).await;
    assert_eq!(listed["serviceArns"].as_array().unwrap().len(), 1);
    let old = client.service_until("old", |_| true).await;
    assert_eq!((&old["desiredCount"], &old["serviceRegistries"]), (&json!(0), &json!([{"registryArn": a}])));
    assert_eq!(old["deployments"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_task_that_dies_while_its_registration_is_under_way_is_deregistered() {
    let clock = Arc::new(ManualClock::default());
    let timing = Timing::aws();
    let cloud_map = CloudMap::builder(MemoryRegistry::new()).clock(clock.clone()).timing(timing).build();
    let client = Client::new(&cloud_map, "web");
    let namespace = json!({"Name": "app.local", "Vpc": "vpc-1", "CreatorRequestId": "1"});
    client.call(CLOUD_MAP, "CreatePrivateDnsNamespace", namespace).await;
    clock.advance(timing.operation());
    let arn = client.create_web_again().await;
    let file = std::env::temp_dir().join(format!("alive-{}", marker()));
    std::fs::write(&file, "").unwrap();
    let command = format!("while test -e {}; do sleep 0.01; done", file.display());
    client.define("web", json!({"command": ["sh", "-c", command]})).await;
    client.serve("web", 1, json!({"serviceRegistries": [{"registryArn": arn}]})).await;
    let operations = async |status: &str| {
        let filters = json!([
            {"Name": "TYPE", "Values": ["REGISTER_INSTANCE"]},
            {"Name": "STATUS", "Values": [status]},
        ]);
        let listed = client.call(CLOUD_MAP, "ListOperations", json!({"Filters": filters})).await;
        listed["Operations"].as_array().unwrap().len()
    };
    until("no registration is under way", async || operations("SUBMITTED").await == 1).await;
    let task = client.tasks_of("web").await[0].clone();
    std::fs::remove_file(&file).unwrap();
    let task = client.task_until(&task, is("STOPPED")).await;
    assert_eq!(task["stopCode"], "EssentialContainerExited");
    client.ecs("DeleteService", json!({"service": "web", "force": true})).await;
    client.service_until("web", |service| service["status"] == "INACTIVE").await;

    let question = json!({"NamespaceName": "app.local", "ServiceName": "web", "HealthStatus": "ALL"});
    let pending =
        json!({"Filters": [{"Name": "STATUS", "Values": ["SUBMITTED", "PENDING"], "Condition": "IN"}]});
    let is_gone = async || {
        clock.advance(timing.operation());
        let found = client.call(CLOUD_MAP, "DiscoverInstances", question.clone()).await;
        let pending = client.call(CLOUD_MAP, "ListOperations", pending.clone()).await;
        found["Instances"] == json!([]) && pending["Operations"] == json!([])
    };
    until("the instance stays", is_gone).await;
    assert!(operations("SUCCESS").await + operations("FAIL").await >= 1);
    delete_registry(&client, arn.as_str().unwrap()).await;
}

#[tokio::test]
async fn a_program_that_prints_much_runs_on() {
    let (client, marker) = (Client::fresh(), marker());
    let command = format!("head -c 100000000 /dev/zero; head -c 1000 /dev/zero >&2; exec sleep {marker}");
    client.define("web", json!({"command": ["sh", "-c", command]})).await;
    let task = client.run("web").await;
    until_sleeping(&marker).await;
    client.ecs("StopTask", json!({"task": task})).await;
    client.task_until(&task, is("STOPPED")).await;
}

#[tokio::test]
async fn a_task_can_be_stopped_while_its_health_command_hangs() {
    let (client, marker) = (Client::fresh(), marker());
    let command = format!("trap '' TERM; setsid sleep {marker} & sleep {marker}; sleep {marker}");
    let check = json!({"command": ["CMD-SHELL", command], "interval": 5, "timeout": 60});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    let task = client.run("web").await;
    until_sleeping(&marker).await;
    client.ecs("StopTask", json!({"task": task})).await;
    client.task_until(&task, is("STOPPED")).await;
    until_ended(&marker).await;
}

#[tokio::test]
async fn a_health_command_that_does_not_exist_is_unhealthy() {
    let client = Client::fresh();
    let check = json!({"command": ["CMD", "/no/such/program"], "interval": 5, "retries": 1});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    client.task_until(&client.run("web").await, |task| task["healthStatus"] == "UNHEALTHY").await;
}

#[tokio::test]
async fn tasks_without_an_address_are_started_when_one_is_free() {
    let mut settings = Client::settings();
    settings.addresses = 2;
    let client = Client::with(&CloudMap::new(MemoryRegistry::new()), settings, "web");
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    let first = client.run("web").await;
    client.serve("web", 2, json!({})).await;
    let has_no_place = |service: &Value| service["events"].to_string().contains("RESOURCE:ENI");
    client.service_until("web", |service| service["runningCount"] == 1).await;
    let input = json!({"taskDefinition": "web", "networkConfiguration": network()});
    assert_eq!(
        client.ecs("RunTask", input).await,
        json!({"tasks": [], "failures": [{"reason": "RESOURCE:ENI"}]})
    );
    client.service_until("web", has_no_place).await;
    client.ecs("StopTask", json!({"task": first})).await;
    client.service_until("web", is_stable).await;
}
