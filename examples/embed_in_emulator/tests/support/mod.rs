//! A client of an emulator in the same process, whose seconds are short.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{fs, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use embed_in_emulator::{Emulator, Settings, router};
use http_body_util::BodyExt;
use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_embed_in_emulator");
pub const CLOUD_MAP: &str = "Route53AutoNaming_v20170314";
pub const ECS: &str = "AmazonEC2ContainerServiceV20141113";
const SECOND: Duration = Duration::from_millis(20);
/// Far longer than anything here takes, so that what never happens is a failure instead of a hang.
const LIMIT: Duration = Duration::from_secs(60);

/// A client that signs with this access key, in eu-west-1.
pub struct Client {
    pub app: Router,
    pub emulator: Emulator,
    access_key: &'static str,
}

impl Client {
    pub fn new(cloud_map: &CloudMap, access_key: &'static str) -> Self {
        Self::with(cloud_map, Self::settings(), access_key)
    }

    pub fn settings() -> Settings {
        Settings::new(PROGRAM).with_second(SECOND)
    }

    pub fn with(cloud_map: &CloudMap, settings: Settings, access_key: &'static str) -> Self {
        let emulator = Emulator::new(cloud_map.clone(), settings);
        Self { app: router(emulator.clone()), emulator, access_key }
    }

    pub fn fresh() -> Self {
        Self::new(&CloudMap::new(MemoryRegistry::new()), "web")
    }

    pub fn with_key(&self, access_key: &'static str) -> Self {
        Self { app: self.app.clone(), emulator: self.emulator.clone(), access_key }
    }

    pub async fn send(&self, service: &str, operation: &str, input: Value) -> (StatusCode, Value) {
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

    pub async fn call(&self, service: &str, operation: &str, input: Value) -> Value {
        let (status, output) = self.send(service, operation, input).await;
        assert_eq!(status, StatusCode::OK, "{operation}: {output}");
        output
    }

    pub async fn ecs(&self, operation: &str, input: Value) -> Value {
        self.call(ECS, operation, input).await
    }

    /// The code and the message of the error.
    pub async fn refused(&self, operation: &str, input: Value) -> (String, String) {
        let (status, error) = self.send(ECS, operation, input).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{operation}: {error}");
        (error["__type"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, operation: &str, input: Value, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let output = self.ecs(operation, input.clone()).await;
            if is_wanted(&output) {
                return output;
            }
            wait(started, || format!("{operation} {input} answers {output}")).await;
        }
    }

    pub async fn task_until(&self, arn: &Value, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let output =
            self.until("DescribeTasks", json!({"tasks": [arn]}), |output| is_wanted(&output["tasks"][0]));
        output.await["tasks"][0].clone()
    }

    pub async fn service_until(&self, name: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let input = json!({"services": [name]});
        let output = self.until("DescribeServices", input, |output| is_wanted(&output["services"][0]));
        output.await["services"][0].clone()
    }

    /// Registers a task definition with one container, which has these members besides its name.
    pub async fn define(&self, family: &str, mut container: Value) {
        container["name"] = json!("app");
        let input = json!({"family": family, "networkMode": "awsvpc", "containerDefinitions": [container]});
        self.ecs("RegisterTaskDefinition", input).await;
    }

    /// Runs one task, and returns its ARN.
    pub async fn run(&self, family: &str) -> Value {
        // The AWS CLI and boto3 always send a token.
        let input = json!({"taskDefinition": family, "networkConfiguration": network(), "clientToken": "1"});
        self.ecs("RunTask", input).await["tasks"][0]["taskArn"].clone()
    }

    /// Creates a service of a family, which has these members besides its name.
    pub async fn serve(&self, family: &str, count: u32, members: Value) {
        let mut input = json!({
            "serviceName": family,
            "taskDefinition": family,
            "desiredCount": count,
            "networkConfiguration": network(),
        });
        input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.ecs("CreateService", input).await;
    }

    /// The ARNs of tasks of a service that are to run.
    pub async fn tasks_of(&self, service: &str) -> Vec<Value> {
        let listed = self.ecs("ListTasks", json!({"serviceName": service})).await;
        listed["taskArns"].as_array().unwrap().clone()
    }

    /// Creates the Cloud Map service `web.app.local`, and returns its ARN.
    pub async fn create_web(&self) -> Value {
        let namespace = json!({"Name": "app.local", "Vpc": "vpc-1", "CreatorRequestId": "1"});
        self.call(CLOUD_MAP, "CreatePrivateDnsNamespace", namespace).await;
        self.create_web_again().await
    }

    pub async fn create_web_again(&self) -> Value {
        let namespaces = self.call(CLOUD_MAP, "ListNamespaces", json!({})).await;
        let service = json!({
            "Name": "web",
            "NamespaceId": namespaces["Namespaces"][0]["Id"],
            "DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 60}]},
            "HealthCheckCustomConfig": {"FailureThreshold": 1},
        });
        self.call(CLOUD_MAP, "CreateService", service).await["Service"]["Arn"].clone()
    }

    /// The addresses of the healthy instances of `web.app.local`.
    pub async fn addresses(&self) -> Vec<String> {
        let question = json!({"NamespaceName": "app.local", "ServiceName": "web", "HealthStatus": "HEALTHY"});
        let found = self.call(CLOUD_MAP, "DiscoverInstances", question).await;
        let instances = found["Instances"].as_array().unwrap().iter();
        let mut addresses: Vec<_> = instances
            .map(|instance| instance["Attributes"]["AWS_INSTANCE_IPV4"].as_str().unwrap().to_owned())
            .collect();
        addresses.sort();
        addresses
    }

    /// Asks Cloud Map until the healthy instances have these addresses.
    pub async fn until_addresses(&self, wanted: &[&str]) {
        let started = Instant::now();
        loop {
            let addresses = self.addresses().await;
            if addresses == wanted {
                return;
            }
            wait(started, || format!("the healthy instances have {addresses:?}, not {wanted:?}")).await;
        }
    }
}

pub fn network() -> Value {
    json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}})
}

pub fn is_stable(service: &Value) -> bool {
    service["deployments"].as_array().unwrap().len() == 1
        && service["runningCount"] == service["desiredCount"]
        && service["deployments"][0]["rolloutState"] == "COMPLETED"
}

/// A number that no other command has: `sleep` with it is found by [`is_running`].
pub fn marker() -> String {
    format!("{}", fastrand::u64(1_000_000_000..9_999_999_999))
}

/// Whether a process has this in its command.
pub fn is_running(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut commands = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| {
        let command = String::from_utf8_lossy(&command);
        // The supervisor of a command has it in its own.
        command.contains(marker) && !command.contains("\0supervise\0")
    })
}

pub async fn until_ended(marker: &str) {
    until(&format!("{marker} runs"), async || !is_running(marker)).await;
}

/// Waits until `sleep` runs with this marker, besides the shell that starts it.
pub async fn until_sleeping(marker: &str) {
    let command = format!("sleep\0{marker}");
    until(&format!("{command:?} does not run"), async || is_running(&command)).await;
}

/// Waits until it is so. Otherwise the test fails with the complaint.
pub async fn until(complaint: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        wait(started, || complaint.to_owned()).await;
    }
}

/// Lets others go on.
async fn wait(started: Instant, complaint: impl FnOnce() -> String) {
    if started.elapsed() > LIMIT {
        panic!("after {LIMIT:?}: {}", complaint());
    }
    tokio::task::yield_now().await;
}
