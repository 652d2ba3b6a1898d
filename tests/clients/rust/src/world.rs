//! The clients of the checks, and shared helpers.

use std::{
    env,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_servicediscovery::{
    Client, Config, Error,
    config::{
        self, BehaviorVersion, ConfigBag, Credentials, HttpClient, Intercept, Region, RuntimeComponents,
        interceptors::BeforeSerializationInterceptorContextMut, retry::RetryConfig,
    },
    error::BoxError,
    types::{Operation, OperationStatus},
};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::client::endpoint::EndpointPrefix;
use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, Quotas, Timing};
use sd_http::aws_sdk::InProcess;

const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// The clients. Clones share them.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) sd: Client,
    /// A client of a Cloud Map whose operations take as long as AWS's.
    pub(crate) timed: Client,
    /// A client of a Cloud Map with AWS's quotas.
    pub(crate) quotas: Client,
    pub(crate) has_sockets: bool,
    names: Arc<AtomicU32>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let names = Arc::default();
        if env::var("SD_DOOR").is_ok_and(|door| door == "in-process") {
            let client = |timing, quotas| {
                let cloud_map = CloudMap::builder(MemoryRegistry::new()).timing(timing).quotas(quotas);
                Client::from_conf(settings().http_client(InProcess::new(cloud_map.build())).build())
            };
            let sd = client(Timing::instant(), Quotas::none());
            let timed = client(Timing::aws(), Quotas::none());
            let quotas = client(Timing::instant(), Quotas::aws());
            return Self { sd, timed, quotas, has_sockets: false, names };
        }
        let client = |name| Client::from_conf(over_a_socket(&variable(name)).build());
        let (sd, timed) = (client("SD_ENDPOINT"), client("SD_ENDPOINT_TIMED"));
        Self { sd, timed, quotas: client("SD_ENDPOINT_QUOTAS"), has_sockets: true, names }
    }

    pub(crate) fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Creates an HTTP namespace. Returns its id and name.
    pub(crate) async fn namespace(&self) -> (String, String) {
        let name = self.name("http");
        let started = self.sd.create_http_namespace().name(&name).send().await.unwrap();
        (namespace_of(&self.sd, started.operation_id()).await, name)
    }

    /// Creates a service with custom health in a new HTTP namespace. Returns its id, and the names of both.
    pub(crate) async fn service(&self) -> (String, String, String) {
        let (namespace, namespace_name) = self.namespace().await;
        let name = self.name("service");
        let health = aws_sdk_servicediscovery::types::HealthCheckCustomConfig::builder().build();
        let call = self.sd.create_service().name(&name).namespace_id(namespace);
        let service = call.health_check_custom_config(health).send().await.unwrap().service.unwrap();
        (service.id.unwrap(), namespace_name, name)
    }

    pub(crate) async fn register(&self, service: &str, instance: &str, attributes: &[(&str, &str)]) {
        let mut call = self.sd.register_instance().service_id(service).instance_id(instance);
        for (key, value) in attributes {
            call = call.attributes(*key, *value);
        }
        polled(&self.sd, call.send().await.unwrap().operation_id()).await;
    }

    /// Creates a service with the instances `i-0` to `i-4`. Returns its id.
    pub(crate) async fn five_instances(&self) -> String {
        let (service, ..) = self.service().await;
        for number in 0..5 {
            self.register(&service, &format!("i-{number}"), &[("a", "b")]).await;
        }
        service
    }
}

/// Waits for an operation to end, and returns it.
pub(crate) async fn polled(client: &Client, id: Option<&str>) -> Operation {
    let started = Instant::now();
    loop {
        let output = client.get_operation().operation_id(id.unwrap()).send().await.unwrap();
        let operation = output.operation.unwrap();
        match operation.status().unwrap() {
            OperationStatus::Submitted | OperationStatus::Pending => {
                assert!(started.elapsed() < DEADLINE, "{operation:?}");
                tokio::time::sleep(PAUSE).await;
            }
            status => {
                assert_eq!(status, &OperationStatus::Success, "{operation:?}");
                return operation;
            }
        }
    }
}

pub(crate) async fn namespace_of(client: &Client, operation: Option<&str>) -> String {
    polled(client, operation).await.targets().unwrap()[&"NAMESPACE".into()].clone()
}

/// The error of a refused call of any operation.
pub(crate) fn refused<T: Debug, E: Into<Error>>(result: Result<T, E>) -> Error {
    result.expect_err("the call was not refused").into()
}

pub(crate) fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// Settings for every endpoint. One attempt, so that a check sees each answer.
fn settings() -> config::Builder {
    let account = env::var("AWS_ACCESS_KEY_ID").unwrap_or_else(|_| "123456789012".to_owned());
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(account, "none", None, None, "test"))
        .retry_config(RetryConfig::disabled())
}

pub(crate) fn over_a_socket(endpoint: &str) -> config::Builder {
    let settings = settings().http_client(aws_smithy_http_client::Builder::new().build_http());
    settings.endpoint_url(endpoint).interceptor(NoHostPrefix)
}

/// A client that reaches AWS's own host names through a proxy, in plain HTTP.
pub(crate) fn by_proxy(url: &str) -> config::Builder {
    let proxy = ProxyConfig::http(url).unwrap();
    settings().endpoint_url("http://servicediscovery.us-east-1.amazonaws.com").http_client(proxied(proxy))
}

fn proxied(proxy: ProxyConfig) -> impl HttpClient + 'static {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(move |_, components| {
        let mut connector = Connector::builder().proxy_config(proxy.clone());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build_http()
    })
}

/// Removes the prefix `data-`, which the SDK puts before the host of DiscoverInstances.
#[derive(Debug)]
struct NoHostPrefix;

impl Intercept for NoHostPrefix {
    fn name(&self) -> &'static str {
        "NoHostPrefix"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().unset::<EndpointPrefix>();
        Ok(())
    }
}
