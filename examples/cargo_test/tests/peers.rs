//! The app's tests. Each has a Cloud Map of its own, in this process: no port, no account of AWS, no waiting.

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
    health::CustomHealthStatus,
    model::{OperationErrorCode, RecordType},
    name::DnsName,
    records::{Answer, RecordData, View},
    request::{
        CreateServiceRequest, DnsConfigInput, HealthCheckCustomConfigInput,
        UpdateInstanceCustomHealthStatusRequest,
    },
};
use sd_http::aws_sdk::InProcess;

/// The service `web.app.local`, made once, and its id.
static PREPARED: LazyLock<(SyncCloudMap, String)> = LazyLock::new(|| {
    // No test begins before it was made.
    let cloud_map = SyncCloudMap::builder(MemoryRegistry::new()).clock(ManualClock::default()).build_sync();
    let web = CreateServiceRequest::new("web")
        .with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]))
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
    let app = Blueprint::new().private_dns_namespace("app.local", "vpc-1").service(web);
    let app = app.apply_sync(&cloud_map.at(Scope::default())).unwrap();
    let web = app.service_id("web").unwrap().to_string();
    (cloud_map, web)
});

/// A Cloud Map for one test: what is prepared, as a fork, which costs no more than a pointer.
struct House {
    cloud_map: CloudMap,
    clock: Arc<ManualClock>,
    web: &'static str,
}

impl House {
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
async fn who_joins_is_found() {
    let house = House::new();
    let peers = house.peers();
    assert!(peers.addresses().await.unwrap().is_empty());
    peers.join(house.web, "web-1", address(1)).await.unwrap();
    peers.join(house.web, "web-2", address(2)).await.unwrap();
    let mut found = peers.addresses().await.unwrap();
    found.sort();
    assert_eq!(found, [address(1), address(2)]);
}

#[tokio::test]
async fn nobody_sees_what_another_fork_registers() {
    let (one, other) = (House::new(), House::new());
    one.peers().join(one.web, "web-1", address(1)).await.unwrap();
    assert!(other.peers().addresses().await.unwrap().is_empty());
}

#[tokio::test]
async fn who_is_reported_unhealthy_is_gone_after_half_a_minute() {
    let house = House::new();
    let peers = house.peers();
    peers.join(house.web, "web-1", address(1)).await.unwrap();
    // The test is not the app: it may use the typed API.
    let report =
        UpdateInstanceCustomHealthStatusRequest::new(house.web, "web-1", CustomHealthStatus::Unhealthy);
    house.cloud_map.at(Scope::default()).update_instance_custom_health_status(report).await.unwrap();
    assert_eq!(peers.addresses().await.unwrap(), [address(1)]);
    house.clock.advance(Duration::from_secs(30));
    assert!(peers.addresses().await.unwrap().is_empty());
}

// The clock of tokio is paused: the SDK's pauses between attempts take no time.
#[tokio::test(start_paused = true)]
async fn throttling_is_waited_out() {
    let house = House::new();
    house.cloud_map.faults().inject(Fault::throttle(Action::DiscoverInstances).times(2));
    assert!(house.peers().addresses().await.unwrap().is_empty());
    assert_eq!(house.cloud_map.journal().requests(Action::DiscoverInstances).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn throttling_that_does_not_end_is_told() {
    let house = House::new();
    house.cloud_map.faults().inject(Fault::throttle(Action::DiscoverInstances).always());
    let error = house.peers().addresses().await.unwrap_err();
    assert!(matches!(error, Error::RequestLimitExceeded(_)), "{error:?}");
}

#[tokio::test]
async fn a_registration_that_fails_later_is_told() {
    let house = House::new();
    house.cloud_map.faults().inject(Fault::fail_operation(
        Action::RegisterInstance,
        OperationErrorCode::InternalFailure,
        "the zone is gone",
    ));
    let error = house.peers().join(house.web, "web-1", address(1)).await.unwrap_err();
    assert!(matches!(error, JoinError::Failed(reason) if reason == "the zone is gone"));
    assert!(house.peers().addresses().await.unwrap().is_empty());
}

#[tokio::test]
async fn dns_answers_without_a_socket() {
    let house = House::new();
    house.peers().join(house.web, "web-1", address(1)).await.unwrap();
    let name = DnsName::parse("web.app.local").unwrap();
    let answer = house.cloud_map.resolve(&View::default(), &name, RecordType::A);
    let Answer::Records(records) = answer else { panic!("{answer:?}") };
    let data: Vec<_> = records.iter().map(|record| &record.data).collect();
    assert_eq!(data, [&RecordData::A(Ipv4Addr::new(10, 0, 0, 1))]);
}
