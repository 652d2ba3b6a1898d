//! The emulator as its users see it. Most tests need no socket; one uses two.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use embed_in_emulator::{Emulator, router};
use http_body_util::BodyExt;
use sd_backend_memory::MemoryRegistry;
use sd_core::{Action, CloudMap, Fault};
use sd_dns::{Answerer, DnsServer, NameTable, Reply, Transport};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};
use tower::ServiceExt;

const CLOUD_MAP: &str = "Route53AutoNaming_v20170314";
const ECS: &str = "AmazonEC2ContainerServiceV20141113";
const DEADLINE: Duration = Duration::from_secs(10);

/// A client that signs with this access key, in eu-west-1.
struct Client {
    app: Router,
    access_key: &'static str,
}

impl Client {
    fn new(cloud_map: &CloudMap, access_key: &'static str) -> Self {
        Self { app: router(Emulator::new(cloud_map.clone())), access_key }
    }

    fn with_key(&self, access_key: &'static str) -> Self {
        Self { app: self.app.clone(), access_key }
    }

    async fn send(&self, service: &str, operation: &str, input: Value) -> (StatusCode, Value) {
        let credential = format!("{}/20260101/eu-west-1/any/aws4_request", self.access_key);
        let request = Request::post("/")
            .header("X-Amz-Target", format!("{service}.{operation}"))
            .header("Authorization", format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host"))
            .body(Body::from(input.to_string()))
            .unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn call(&self, service: &str, operation: &str, input: Value) -> Value {
        let (status, output) = self.send(service, operation, input).await;
        assert_eq!(status, StatusCode::OK, "{operation}: {output}");
        output
    }

    /// Creates the service `web.app.local`.
    async fn create_web(&self) {
        let namespace = json!({"Name": "app.local", "Vpc": "vpc-1", "CreatorRequestId": "1"});
        self.call(CLOUD_MAP, "CreatePrivateDnsNamespace", namespace).await;
        let namespaces = self.call(CLOUD_MAP, "ListNamespaces", json!({})).await;
        let service = json!({
            "Name": "web",
            "NamespaceId": namespaces["Namespaces"][0]["Id"],
            "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 60}]},
        });
        self.call(CLOUD_MAP, "CreateService", service).await;
    }

    async fn run(&self, count: u16) -> Value {
        self.call(ECS, "RunTask", json!({"taskDefinition": "web", "group": "service:web", "count": count}))
            .await
    }

    async fn addresses(&self) -> Vec<String> {
        let question = json!({"NamespaceName": "app.local", "ServiceName": "web"});
        let found = self.call(CLOUD_MAP, "DiscoverInstances", question).await;
        let instances = found["Instances"].as_array().unwrap().iter();
        let mut addresses: Vec<_> = instances
            .map(|instance| instance["Attributes"]["AWS_INSTANCE_IPV4"].as_str().unwrap().to_owned())
            .collect();
        addresses.sort();
        addresses
    }
}

/// The query `web.app.local. IN A` of a stub resolver.
const QUESTION: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x03app\x05local\x00\x00\x01\x00\x01";

#[tokio::test]
async fn tasks_are_instances_while_they_run() {
    let client = Client::new(&CloudMap::new(MemoryRegistry::new()), "web");
    client.create_web().await;
    let started = client.run(2).await;
    assert_eq!(client.addresses().await, ["10.0.0.1", "10.0.0.2"]);

    client.call(ECS, "StopTask", json!({"task": started["tasks"][0]["taskArn"]})).await;
    assert_eq!(client.addresses().await, ["10.0.0.2"]);
    let running = client.call(ECS, "ListTasks", json!({})).await;
    assert_eq!(running["taskArns"], json!([started["tasks"][1]["taskArn"]]));
}

#[tokio::test]
async fn stopping_tasks_keeps_instances_of_others() {
    let client = Client::new(&CloudMap::new(MemoryRegistry::new()), "web");
    client.create_web().await;
    let services = client.call(CLOUD_MAP, "ListServices", json!({})).await;
    let by_hand = json!({
        "ServiceId": services["Services"][0]["Id"],
        "InstanceId": "by-hand",
        "Attributes": {"AWS_INSTANCE_IPV4": "10.9.9.9"},
    });
    client.call(CLOUD_MAP, "RegisterInstance", by_hand).await;
    let started = client.run(1).await;
    client.call(ECS, "StopTask", json!({"task": started["tasks"][0]["taskArn"]})).await;
    assert_eq!(client.addresses().await, ["10.9.9.9"]);
}

#[tokio::test]
async fn the_emulator_decides_the_account() {
    let web = Client::new(&CloudMap::new(MemoryRegistry::new()), "web");
    let billing = web.with_key("billing");
    web.create_web().await;
    web.run(1).await;
    let namespaces = web.call(CLOUD_MAP, "ListNamespaces", json!({})).await;
    let arn = namespaces["Namespaces"][0]["Arn"].as_str().unwrap();
    assert!(arn.starts_with("arn:aws:servicediscovery:eu-west-1:111122223333:namespace/"), "{arn}");
    assert_eq!(billing.call(CLOUD_MAP, "ListNamespaces", json!({})).await, json!({"Namespaces": []}));
    assert_eq!(billing.call(ECS, "ListTasks", json!({})).await, json!({"taskArns": []}));
}

#[tokio::test]
async fn each_service_has_its_own_errors() {
    let client = Client::new(&CloudMap::new(MemoryRegistry::new()), "web");
    for (service, operation, code) in [
        (CLOUD_MAP, "Nonsense", "UnknownOperationException"),
        (CLOUD_MAP, "GetService", "InvalidInput"),
        (ECS, "StopTask", "InvalidParameterException"),
        (ECS, "DescribeTasks", "UnknownOperationException"),
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
    let (status, error) = client.send(CLOUD_MAP, "DiscoverInstances", question).await;
    assert_eq!((status, &error["__type"]), (StatusCode::BAD_REQUEST, &json!("RequestLimitExceeded")));
    client.run(1).await;
    assert_eq!(client.addresses().await, ["10.0.0.1"]);
    assert_eq!(cloud_map.journal().requests(Action::DiscoverInstances).len(), 2);
}

#[tokio::test]
async fn a_started_task_is_in_dns() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let names = NameTable::new();
    let _attached = cloud_map.cell().attach(Arc::new(names.clone()));
    let client = Client::new(&cloud_map, "web");
    client.create_web().await;
    client.run(1).await;
    let mut answer = Vec::new();
    assert_eq!(Answerer::new(names).answer(QUESTION, Transport::Udp, &mut answer), Reply::Written);
    assert!(answer.ends_with(&[10, 0, 0, 1]));
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
    client.create_web().await;
    let server = tokio::spawn(axum::serve(listener, client.app.clone()).into_future());

    let body = json!({"taskDefinition": "web", "group": "service:web"}).to_string();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {api}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=any/20260101/eu-west-1/ecs/\
         aws4_request\r\nX-Amz-Target: {ECS}.RunTask\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len(),
    );
    let mut stream = TcpStream::connect(api).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut response)).await.unwrap().unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");

    let socket = UdpSocket::bind(any).await.unwrap();
    socket.send_to(QUESTION, dns.local_addrs()[0]).await.unwrap();
    let mut answer = [0; 512];
    let (length, _) = timeout(DEADLINE, socket.recv_from(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..length].ends_with(&[10, 0, 0, 1]));
    server.abort();
}
