//! The emulator as its users see it: both services together. Most tests need no socket; one uses two.

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::http::StatusCode;
use sd_backend_memory::MemoryRegistry;
use sd_core::{Action, CloudMap, Fault, ManualClock, Timing};
use sd_dns::{Answerer, DnsServer, NameTable, Reply, Transport};
use serde_json::{Value, json};
use support::{CLOUD_MAP, Client, ECS, is_stable};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(10);

/// The query `web.app.local. IN A` of a stub resolver.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x03app\x05local\x00\x00\x01\x00\x01";

/// Creates `web.app.local`, and a service with so many tasks that are registered there.
async fn serve(client: &Client, count: u32) {
    let arn = client.create_web().await;
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.serve("web", count, json!({"serviceRegistries": [{"registryArn": arn}]})).await;
    client.service_until("web", is_stable).await;
}

#[tokio::test]
async fn tasks_are_instances_while_they_run() {
    let client = Client::fresh();
    serve(&client, 2).await;
    assert_eq!(client.addresses().await, ["127.42.0.1", "127.42.0.2"]);
    client.ecs("UpdateService", json!({"service": "web", "desiredCount": 0})).await;
    client.until_addresses(&[]).await;
}

#[tokio::test]
async fn an_instance_is_what_ecs_registers() {
    let client = Client::fresh();
    serve(&client, 1).await;
    let task = client.tasks_of("web").await[0].as_str().unwrap().to_owned();
    let question = json!({"NamespaceName": "app.local", "ServiceName": "web"});
    let found = client.call(CLOUD_MAP, "DiscoverInstances", question).await;
    assert_eq!(found["Instances"][0]["InstanceId"], task.rsplit('/').next().unwrap());
    let attributes = &found["Instances"][0]["Attributes"];
    for (attribute, value) in [
        ("AWS_INSTANCE_IPV4", "127.42.0.1"),
        ("AVAILABILITY_ZONE", "eu-west-1a"),
        ("REGION", "eu-west-1"),
        ("ECS_CLUSTER_NAME", "default"),
        ("ECS_SERVICE_NAME", "web"),
        ("ECS_TASK_DEFINITION_FAMILY", "web"),
    ] {
        assert_eq!(attributes[attribute], value, "{attributes}");
    }
}

#[tokio::test]
async fn stopping_tasks_keeps_instances_of_others() {
    let client = Client::fresh();
    serve(&client, 1).await;
    let services = client.call(CLOUD_MAP, "ListServices", json!({})).await;
    let by_hand = json!({
        "ServiceId": services["Services"][0]["Id"],
        "InstanceId": "by-hand",
        "Attributes": {"AWS_INSTANCE_IPV4": "10.9.9.9"},
    });
    client.call(CLOUD_MAP, "RegisterInstance", by_hand).await;
    client.ecs("DeleteService", json!({"service": "web", "force": true})).await;
    client.service_until("web", |service| service["status"] == "INACTIVE").await;
    assert_eq!(client.addresses().await, ["10.9.9.9"]);
}

#[tokio::test]
async fn unhealthy_tasks_are_not_discovered() {
    let client = Client::fresh();
    let arn = client.create_web().await;
    let file = std::env::temp_dir().join(format!("discovered-{}", support::marker()));
    let check = json!({"command": ["CMD", "test", "-e", file], "interval": 5, "retries": 10});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    client.serve("web", 1, json!({"serviceRegistries": [{"registryArn": arn}]})).await;
    client.service_until("web", |service| service["runningCount"] == 1).await;
    assert!(client.addresses().await.is_empty());
    std::fs::write(&file, "").unwrap();
    client.until_addresses(&["127.42.0.1"]).await;
    std::fs::remove_file(&file).unwrap();
    client.until_addresses(&[]).await;
}

#[tokio::test]
async fn a_task_stays_in_activating_while_discovery_refuses() {
    let client = Client::fresh();
    let arn = client.create_web().await;
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.serve("web", 0, json!({"serviceRegistries": [{"registryArn": arn}]})).await;
    client.call(CLOUD_MAP, "DeleteService", json!({"Id": arn.as_str().unwrap().rsplit('/').next()})).await;
    client.ecs("UpdateService", json!({"service": "web", "desiredCount": 1})).await;
    let is_refused = |service: &Value| service["events"].to_string().contains("was refused");
    client.service_until("web", is_refused).await;
    let task = client.tasks_of("web").await[0].clone();
    let task = client.task_until(&task, |_| true).await;
    assert_eq!(task["lastStatus"], "ACTIVATING");
    // The service gets the same ARN again.
    assert_eq!(client.create_web_again().await, arn);
    client.service_until("web", is_stable).await;
    assert_eq!(client.addresses().await, ["127.42.0.1"]);
}

#[tokio::test]
async fn a_task_stays_in_activating_while_its_registration_is_under_way() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map =
        CloudMap::builder(MemoryRegistry::new()).clock(clock.clone()).timing(Timing::aws()).build();
    let client = Client::new(&cloud_map, "web");
    let namespace = json!({"Name": "app.local", "Vpc": "vpc-1", "CreatorRequestId": "1"});
    client.call(CLOUD_MAP, "CreatePrivateDnsNamespace", namespace).await;
    clock.advance(Timing::aws().operation());
    let arn = client.create_web_again().await;
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.serve("web", 1, json!({"serviceRegistries": [{"registryArn": arn}]})).await;
    let is_any = |listed: &Value| listed["taskArns"] != json!([]);
    let listed = client.until("ListTasks", json!({"serviceName": "web"}), is_any).await;
    let task = listed["taskArns"][0].clone();
    client.task_until(&task, |task| task["lastStatus"] == "ACTIVATING").await;
    let registrations = json!({"Filters": [{"Name": "TYPE", "Values": ["REGISTER_INSTANCE"]}]});
    let is_under_way = async {
        while client.call(CLOUD_MAP, "ListOperations", registrations.clone()).await["Operations"] == json!([])
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_under_way).await.unwrap();
    assert_eq!(client.task_until(&task, |_| true).await["lastStatus"], "ACTIVATING");
    clock.advance(Timing::aws().operation());
    let service = client.service_until("web", is_stable).await;
    assert!(!service["events"].to_string().contains("refused"), "{service}");
}

#[tokio::test]
async fn a_task_that_cannot_be_registered_can_be_stopped() {
    let client = Client::fresh();
    let arn = client.create_web().await;
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.serve("web", 0, json!({"serviceRegistries": [{"registryArn": arn}]})).await;
    client.call(CLOUD_MAP, "DeleteService", json!({"Id": arn.as_str().unwrap().rsplit('/').next()})).await;
    client.ecs("UpdateService", json!({"service": "web", "desiredCount": 1})).await;
    client.service_until("web", |service| service["events"].to_string().contains("was refused")).await;
    client.ecs("DeleteService", json!({"service": "web", "force": true})).await;
    client.service_until("web", |service| service["status"] == "INACTIVE").await;
}

#[tokio::test]
async fn a_task_that_dies_while_it_is_registered_leaves_nothing() {
    let client = Client::fresh();
    let arn = client.create_web().await;
    client.define("web", json!({"command": ["true"]})).await;
    let breaker = json!({"deploymentCircuitBreaker": {"enable": true, "rollback": false}});
    let registries = json!([{"registryArn": arn}]);
    client
        .serve("web", 5, json!({"serviceRegistries": registries, "deploymentConfiguration": breaker}))
        .await;
    let failed = |service: &Value| service["deployments"][0]["rolloutState"] == "FAILED";
    client.service_until("web", failed).await;
    client.ecs("DeleteService", json!({"service": "web", "force": true})).await;
    client.service_until("web", |service| service["status"] == "INACTIVE").await;
    client.call(CLOUD_MAP, "DeleteService", json!({"Id": arn.as_str().unwrap().rsplit('/').next()})).await;
}

#[tokio::test]
async fn registries_are_checked() {
    let client = Client::fresh();
    let arn = client.create_web().await;
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    let missing = arn.as_str().unwrap().replace("srv-", "srv-0");
    for (registries, message) in [
        (json!([{"registryArn": arn}, {"registryArn": arn}]), "service registries can have at most 1 items."),
        (json!([{"registryArn": "web"}]), "The format of the supplied service registry ARN is invalid: web."),
        (
            json!([{"registryArn": missing}]),
            "The service registry could not be validated. Route 53 error: \"ServiceNotFound.\"",
        ),
    ] {
        let input = json!({
            "serviceName": "web",
            "taskDefinition": "web",
            "desiredCount": 1,
            "networkConfiguration": support::network(),
            "serviceRegistries": registries,
        });
        let (_, refusal) = client.refused("CreateService", input).await;
        assert_eq!(refusal, message);
    }
}

#[tokio::test]
async fn the_emulator_decides_the_account() {
    let web = Client::fresh();
    let billing = web.with_key("billing");
    serve(&web, 1).await;
    let namespaces = web.call(CLOUD_MAP, "ListNamespaces", json!({})).await;
    let arn = namespaces["Namespaces"][0]["Arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:servicediscovery:eu-west-1:111122223333:namespace/"), "{arn}");
    assert_eq!(billing.call(CLOUD_MAP, "ListNamespaces", json!({})).await, json!({"Namespaces": []}));
    assert_eq!(billing.ecs("ListTasks", json!({})).await, json!({"taskArns": []}));
    let task = web.tasks_of("web").await;
    let described = billing.ecs("DescribeTasks", json!({"tasks": task})).await;
    assert_eq!(described["failures"], json!([{"arn": task[0], "reason": "MISSING"}]));
}

#[tokio::test]
async fn each_service_has_its_own_errors() {
    let client = Client::fresh();
    for (service, operation, code) in [
        (CLOUD_MAP, "Nonsense", "UnknownOperationException"),
        (CLOUD_MAP, "GetService", "InvalidInput"),
        (ECS, "StopTask", "InvalidParameterException"),
        (ECS, "DescribeCapacityProviders", "UnknownOperationException"),
        ("AmazonSSM", "GetParameter", "UnknownOperationException"),
    ] {
        let (status, error) = client.send(service, operation, json!({})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{service} {operation}");
        assert_eq!(error["__type"], code, "{service} {operation}");
    }
}

#[tokio::test]
async fn a_test_can_inject_faults_and_read_the_journal() {
    let cloud_map = CloudMap::builder(MemoryRegistry::new()).journal(100).build();
    let client = Client::new(&cloud_map, "web");
    client.create_web().await;
    cloud_map.faults().inject(Fault::throttle(Action::DiscoverInstances));
    let question = json!({"NamespaceName": "app.local", "ServiceName": "web"});
    let (status, error) = client.send(CLOUD_MAP, "DiscoverInstances", question.clone()).await;
    assert_eq!((status, &error["__type"]), (StatusCode::BAD_REQUEST, &json!("RequestLimitExceeded")));
    client.call(CLOUD_MAP, "DiscoverInstances", question).await;
    assert_eq!(cloud_map.journal().requests(Action::DiscoverInstances).len(), 2);
}

#[tokio::test]
async fn a_started_task_is_in_dns() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let names = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(names.clone()));
    serve(&Client::new(&cloud_map, "web"), 1).await;
    let mut answer = Vec::new();
    assert_eq!(Answerer::new(names).answer(QUESTION, Transport::Udp, &mut answer), Reply::Written);
    assert!(answer.ends_with(&[127, 42, 0, 1]));
}

#[tokio::test]
async fn the_emulator_serves_sockets() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let names = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(names.clone()));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let dns = DnsServer::bind(names, [any]).await.unwrap();
    let listener = TcpListener::bind(any).await.unwrap();
    let api = listener.local_addr().unwrap();
    let client = Client::new(&cloud_map, "any");
    serve(&client, 1).await;
    let server = tokio::spawn(axum::serve(listener, client.app.clone()).into_future());

    let request = format!(
        "POST / HTTP/1.1\r\nHost: {api}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=any/20260101/eu-west-1/ecs/\
         aws4_request\r\nX-Amz-Target: {ECS}.ListTasks\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}",
    );
    let mut stream = TcpStream::connect(api).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.contains(":task/default/"), "{response}");

    let socket = UdpSocket::bind(any).await.unwrap();
    socket.send_to(QUESTION, dns.local_addrs()[0]).await.unwrap();
    let mut answer = [0; 512];
    let (length, _) = timeout(DEADLINE, socket.recv_from(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..length].ends_with(&[127, 42, 0, 1]));
    server.abort();
}
