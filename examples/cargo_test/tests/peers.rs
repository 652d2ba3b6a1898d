//! The app's tests. Each has its own Cloud Map in this process: no port, no AWS account, no waiting.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};

use aws_sdk_servicediscovery::{
    Client, Config, Error,
    config::{BehaviorVersion, Credentials, Region},
};
use cargo_test::{JoinError, Peers};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Action, Blueprint, CloudMap, Fault, ManualClock, Scope, SyncCloudMap, Timing,
    dns::{Answer, RecordData, View},
    model::{CustomHealthStatus, DnsName, OperationErrorCode, RecordType},
    request::{
        CreateServiceRequest, DnsConfigInput, HealthCheckCustomConfigInput,
        UpdateInstanceCustomHealthStatusRequest,
    },
};
use sd_http::aws_sdk::InProcess;

/// A Cloud Map with the service `web.app.local`, created once, and the service's id.
static PREPARED: LazyLock<(SyncCloudMap, String)> = LazyLock::new(|| {
    // The clock starts where those of the forks start.
    let cloud_map = SyncCloudMap::builder(MemoryRegistry::new()).clock(ManualClock::default()).build_sync();
    let web = CreateServiceRequest::new("web")
        .with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]))
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
    let app = Blueprint::new().private_dns_namespace("app.local", "vpc-1").service(web);
    let app = app.apply_sync(&cloud_map.at(Scope::default())).unwrap();
    let web = app.service_id("web").unwrap().to_string();
    (cloud_map, web)
});

/// The Cloud Map of one test: a fork of the prepared one, which costs as little as a pointer.
struct Fixture {
    cloud_map: CloudMap,
    clock: Arc<ManualClock>,
    web: &'static str,
}

impl Fixture {
    fn new() -> Self {
        let (prepared, web) = &*PREPARED;
        let clock = Arc::new(ManualClock::default());
        let cloud_map = CloudMap::builder(MemoryRegistry::fork(prepared.cell()))
            .clock(Arc::clone(&clock))
            .timing(Timing::aws().with_operation(Duration::ZERO))
            .journal(100)
            .build();
        Self { cloud_map, clock, web }
    }

    fn peers(&self) -> Peers {
        Peers::new(sdk(self.cloud_map.clone()), "app.local", "web")
    }
}

fn sdk(cloud_map: CloudMap) -> Client {
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("123456789012", "any", None, None, "test"))
            .http_client(InProcess::new(cloud_map))
            .build(),
    )
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 8080))
}

#[tokio::test]
async fn peers_that_join_are_found() {
    let fixture = Fixture::new();
    let peers = fixture.peers();
    assert!(peers.addresses().await.unwrap().is_empty());
    peers.join(fixture.web, "web-1", address(1)).await.unwrap();
    peers.join(fixture.web, "web-2", address(2)).await.unwrap();
    let mut found = peers.addresses().await.unwrap();
    found.sort();
    assert_eq!(found, [address(1), address(2)]);
}

#[tokio::test]
async fn forks_do_not_see_each_other() {
    let (one, other) = (Fixture::new(), Fixture::new());
    one.peers().join(one.web, "web-1", address(1)).await.unwrap();
    assert!(other.peers().addresses().await.unwrap().is_empty());
}

#[tokio::test]
async fn unhealthy_peers_disappear_after_thirty_seconds() {
    let fixture = Fixture::new();
    let peers = fixture.peers();
    peers.join(fixture.web, "web-1", address(1)).await.unwrap();
    // Unlike the app, the test may use the typed API.
    let report =
        UpdateInstanceCustomHealthStatusRequest::new(fixture.web, "web-1", CustomHealthStatus::Unhealthy);
    fixture.cloud_map.at(Scope::default()).update_instance_custom_health_status(report).await.unwrap();
    assert_eq!(peers.addresses().await.unwrap(), [address(1)]);
    fixture.clock.advance(Duration::from_secs(30));
    assert!(peers.addresses().await.unwrap().is_empty());
}

// tokio's clock is paused, so the SDK's pauses between attempts take no time.
#[tokio::test(start_paused = true)]
async fn throttled_calls_are_retried() {
    let fixture = Fixture::new();
    fixture.cloud_map.faults().inject(Fault::throttle(Action::DiscoverInstances).times(2));
    assert!(fixture.peers().addresses().await.unwrap().is_empty());
    assert_eq!(fixture.cloud_map.journal().requests(Action::DiscoverInstances).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn endless_throttling_is_an_error() {
    let fixture = Fixture::new();
    fixture.cloud_map.faults().inject(Fault::throttle(Action::DiscoverInstances).always());
    let error = fixture.peers().addresses().await.unwrap_err();
    assert!(matches!(error, Error::RequestLimitExceeded(_)), "{error:?}");
}

#[tokio::test]
async fn a_failed_operation_is_an_error() {
    let fixture = Fixture::new();
    fixture.cloud_map.faults().inject(Fault::fail_operation(
        Action::RegisterInstance,
        OperationErrorCode::InternalFailure,
        "the zone was deleted",
    ));
    let error = fixture.peers().join(fixture.web, "web-1", address(1)).await.unwrap_err();
    assert!(matches!(error, JoinError::Failed(reason) if reason == "the zone was deleted"));
    assert!(fixture.peers().addresses().await.unwrap().is_empty());
}

#[tokio::test]
async fn dns_answers_without_a_socket() {
    let fixture = Fixture::new();
    fixture.peers().join(fixture.web, "web-1", address(1)).await.unwrap();
    let name = DnsName::parse("web.app.local").unwrap();
    let answer = fixture.cloud_map.resolve(&View::default(), &name, RecordType::A);
    let Answer::Records(records) = answer else { panic!("{answer:?}") };
    let data: Vec<_> = records.iter().map(|record| &record.data).collect();
    assert_eq!(data, [&RecordData::A(Ipv4Addr::new(10, 0, 0, 1))]);
}
