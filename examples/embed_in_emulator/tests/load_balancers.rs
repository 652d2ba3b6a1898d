//! Services with load balancers: their tasks are targets of target groups, beside discovery.

mod support;

use std::{sync::Arc, time::Duration};

use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use sd_dns::{Answerer, NameTable, Reply, Transport};
use serde_json::{Value, json};
use support::{CLOUD_MAP, Client, is_stable};
use tokio::time::timeout;

/// A failed test must end.
const DEADLINE: Duration = Duration::from_secs(60);

/// The target group with this name, of the client.
fn target_group(name: &str) -> String {
    format!("arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/{name}/0123456789abcdef")
}

fn targets(client: &Client, name: &str) -> Vec<String> {
    client.emulator.targets(&target_group(name)).iter().map(ToString::to_string).collect()
}

async fn until_stable(client: &Client, name: &str) -> Value {
    timeout(DEADLINE, client.service_until(name, is_stable)).await.expect("the service is stable")
}

async fn until_deleted(client: &Client, name: &str) {
    client.ecs("DeleteService", json!({"service": name, "force": true})).await;
    let is_deleted = |service: &Value| service["status"] == "INACTIVE";
    timeout(DEADLINE, client.service_until(name, is_deleted)).await.expect("the service is deleted");
}

/// Registers a task definition whose container `web` has port 80.
async fn define(client: &Client, family: &str, network_mode: &str) {
    let container =
        json!({"name": "web", "command": ["sleep", "1000"], "portMappings": [{"containerPort": 80}]});
    let definition =
        json!({"family": family, "networkMode": network_mode, "containerDefinitions": [container]});
    client.ecs("RegisterTaskDefinition", definition).await;
}

fn load_balancers(target_group_name: &str) -> Value {
    json!([{"targetGroupArn": target_group(target_group_name), "containerName": "web", "containerPort": 80}])
}

/// Creates the Cloud Map service `NAME.app.local`, and returns it.
async fn create_service(client: &Client, name: &str, kind: &str) -> Value {
    client.create_web().await;
    let namespaces = client.call(CLOUD_MAP, "ListNamespaces", json!({})).await;
    let service = json!({
        "Name": name,
        "NamespaceId": namespaces["Namespaces"][0]["Id"],
        "DnsConfig": {"RoutingPolicy": "WEIGHTED", "DnsRecords": [{"Type": kind, "TTL": 60}]},
    });
    client.call(CLOUD_MAP, "CreateService", service).await["Service"].clone()
}

/// What discovery has of `web-app.app.local`, as targets are written.
async fn discovered(client: &Client) -> Vec<String> {
    let question = json!({"NamespaceName": "app.local", "ServiceName": "web-app"});
    let found = client.call(CLOUD_MAP, "DiscoverInstances", question).await;
    let attributes = found["Instances"].as_array().unwrap().iter().map(|instance| &instance["Attributes"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found: Vec<_> = attributes
        .map(|found| format!("{}:{}", text(&found["AWS_INSTANCE_IPV4"]), text(&found["AWS_INSTANCE_PORT"])))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_service_can_have_load_balancers_and_registries() {
    let client = Client::fresh();
    // Without a network configuration the tasks are in the network mode bridge, so the registry needs SRV records.
    define(&client, "webapp", "bridge").await;
    let registry = create_service(&client, "web-app", "SRV").await;
    let input = json!({
        "serviceName": "web-app",
        "taskDefinition": "webapp:1",
        "desiredCount": 3,
        "loadBalancers": [
            {"targetGroupArn": target_group("web-app"), "containerName": "web", "containerPort": 80}
        ],
        "serviceRegistries": [
            {"registryArn": registry["Arn"], "containerName": "web", "containerPort": 80}
        ],
    });
    client.ecs("CreateService", input.clone()).await;
    let service = until_stable(&client, "web-app").await;
    assert_eq!(service["loadBalancers"], input["loadBalancers"]);
    assert_eq!(service["serviceRegistries"], input["serviceRegistries"]);
    let all = ["127.42.0.1:80", "127.42.0.2:80", "127.42.0.3:80"];
    assert_eq!(targets(&client, "web-app"), all);
    assert_eq!(discovered(&client).await, all);

    client.ecs("UpdateService", json!({"service": "web-app", "desiredCount": 1})).await;
    let is_left_alone = async {
        while targets(&client, "web-app").len() != 1
            || discovered(&client).await != targets(&client, "web-app")
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_left_alone).await.expect("one task is left in both");

    until_deleted(&client, "web-app").await;
    assert!(targets(&client, "web-app").is_empty());
    assert!(discovered(&client).await.is_empty());
}

#[tokio::test]
async fn a_change_of_load_balancers_is_a_deployment() {
    let client = Client::fresh();
    define(&client, "web", "awsvpc").await;
    client.serve("web", 1, json!({"loadBalancers": load_balancers("old")})).await;
    until_stable(&client, "web").await;
    assert_eq!(targets(&client, "old"), ["127.42.0.1:80"]);
    // The same ones change nothing.
    client.ecs("UpdateService", json!({"service": "web", "loadBalancers": load_balancers("old")})).await;
    until_stable(&client, "web").await;
    assert_eq!(targets(&client, "old"), ["127.42.0.1:80"]);
    client.ecs("UpdateService", json!({"service": "web", "loadBalancers": load_balancers("new")})).await;
    until_stable(&client, "web").await;
    assert!(targets(&client, "old").is_empty());
    assert_eq!(targets(&client, "new"), ["127.42.0.2:80"]);
    client.ecs("UpdateService", json!({"service": "web", "loadBalancers": []})).await;
    until_stable(&client, "web").await;
    assert!(targets(&client, "new").is_empty());
}

#[tokio::test]
async fn load_balancers_must_fit_the_task_definition() {
    let client = Client::fresh();
    define(&client, "web", "awsvpc").await;
    client.define("other", json!({"command": ["sleep", "1000"]})).await;
    let input = json!({
        "serviceName": "web",
        "taskDefinition": "other",
        "desiredCount": 0,
        "networkConfiguration": support::network(),
        "loadBalancers": load_balancers("web"),
    });
    let message = "The container web does not exist in the task definition.";
    let refusal = ("InvalidParameterException".to_owned(), message.to_owned());
    assert_eq!(client.refused("CreateService", input).await, refusal);
    client.serve("web", 0, json!({"loadBalancers": load_balancers("web")})).await;
    // Also those that the request does not name.
    let update = json!({"service": "web", "taskDefinition": "other"});
    assert_eq!(client.refused("UpdateService", update).await, refusal);
}

#[tokio::test]
async fn an_alias_instance_resolves_to_the_tasks_behind_the_load_balancer() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let names = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(names.clone()));
    let client = Client::new(&cloud_map, "web");
    let answerer = Answerer::new(names).with_alias_resolver(client.emulator.aliases());
    define(&client, "web", "awsvpc").await;
    client.serve("web", 2, json!({"loadBalancers": load_balancers("my-web")})).await;
    until_stable(&client, "web").await;

    let service = create_service(&client, "lb", "A").await;
    let alias = |name: &str| {
        json!({
            "ServiceId": service["Id"],
            "InstanceId": "lb",
            "Attributes": {"AWS_ALIAS_DNS_NAME": format!("{name}.eu-west-1.elb.amazonaws.com")},
        })
    };
    client.call(CLOUD_MAP, "RegisterInstance", alias("my-web-1234567890")).await;
    assert_eq!(resolve(&answerer), (0, vec![[127, 42, 0, 1], [127, 42, 0, 2]]));
    until_deleted(&client, "web").await;
    // SERVFAIL.
    assert_eq!(resolve(&answerer), (2, vec![]));
    client.call(CLOUD_MAP, "RegisterInstance", alias("unknown-1")).await;
    assert_eq!(resolve(&answerer), (2, vec![]));
}

/// The response code, and the sorted addresses, for `lb.app.local. IN A`.
fn resolve(answerer: &Answerer) -> (u8, Vec<[u8; 4]>) {
    let question =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02lb\x03app\x05local\x00\x00\x01\x00\x01";
    let mut response = Vec::new();
    assert_eq!(answerer.answer(question, Transport::Udp, &mut response), Reply::Written);
    let answers = usize::from(response[7]);
    // Each record has a pointer to the name, and 14 octets from its type to its address.
    let records = response[question.len()..].chunks_exact(16).take(answers);
    let mut addresses: Vec<_> = records.map(|record| <[u8; 4]>::try_from(&record[12..]).unwrap()).collect();
    addresses.sort_unstable();
    (response[3] & 0xf, addresses)
}
