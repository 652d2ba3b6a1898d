//! A Cloud Map with a manual clock, and a prober that goes by it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    CloudMap, CloudMapBuilder, ManualClock, Scope,
    model::{HealthCheckType, RecordType},
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput,
        GetInstancesHealthStatusRequest, HealthCheckConfigInput, RegisterInstanceRequest,
    },
};
use sd_http::health_checks::{InstanceChecks, Prober, ProberHandle};

pub(crate) const INTERVAL: Duration = Duration::from_secs(10);

pub(crate) struct Setting {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) cloud_map: CloudMap,
    pub(crate) prober: Option<ProberHandle>,
}

impl Setting {
    pub(crate) fn new() -> Self {
        Self::with(MemoryRegistry::new(), |builder| builder, |prober| prober)
    }

    pub(crate) fn with(
        registry: MemoryRegistry,
        build: impl FnOnce(CloudMapBuilder<MemoryRegistry>) -> CloudMapBuilder<MemoryRegistry>,
        configure: impl FnOnce(Prober) -> Prober,
    ) -> Self {
        let clock = Arc::new(ManualClock::default());
        let cloud_map = build(CloudMap::builder(registry).clock(Arc::clone(&clock))).build();
        let prober = Prober::new(cloud_map.clone()).with_interval(INTERVAL).with_timer(Arc::clone(&clock));
        let prober = configure(prober).spawn().unwrap();
        Self { clock, cloud_map, prober: Some(prober) }
    }

    pub(crate) fn prober(&self) -> &ProberHandle {
        self.prober.as_ref().unwrap()
    }

    pub(crate) fn api(&self) -> sd_core::ScopedCloudMap {
        self.cloud_map.at(Scope::default())
    }

    /// A service `web` in `app.local` with this check, whose status changes after one result.
    pub(crate) async fn service(&self, kind: HealthCheckType) -> String {
        self.service_with(HealthCheckConfigInput::new(kind).with_failure_threshold(1)).await
    }

    pub(crate) async fn service_with(&self, check: HealthCheckConfigInput) -> String {
        let request = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        let namespace = self.api().create_private_dns_namespace(request).await.unwrap().namespace_id;
        let request = CreateServiceRequest::new("web")
            .with_namespace_id(namespace)
            .with_dns_config(DnsConfigInput::new([(RecordType::A, 60), (RecordType::Aaaa, 60)]))
            .with_health_check_config(check);
        self.api().create_service(request).await.unwrap().id.to_string()
    }

    pub(crate) async fn register(&self, service: &str, instance: &str, address: SocketAddr) {
        let key = if address.is_ipv4() { "AWS_INSTANCE_IPV4" } else { "AWS_INSTANCE_IPV6" };
        let request = RegisterInstanceRequest::new(service, instance)
            .with_attribute(key, address.ip().to_string())
            .with_attribute("AWS_INSTANCE_PORT", address.port().to_string());
        self.api().register_instance(request).await.unwrap();
    }

    /// The status that the API tells.
    pub(crate) fn status(&self, service: &str, instance: &str) -> String {
        let request = GetInstancesHealthStatusRequest::new(service).with_instances([instance.to_owned()]);
        self.api().get_instances_health_status(request).unwrap().items[0].status.to_string()
    }

    pub(crate) fn checks(&self, service: &str, instance: &str) -> Option<InstanceChecks> {
        let report = self.prober().report(&Scope::default(), service, Some(instance), 1).ok()?;
        report.instances.into_iter().next()
    }

    /// Lets other tasks run until this is so.
    pub(crate) async fn until(&self, what: impl Fn() -> bool) {
        while !what() {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until an instance has this many results.
    pub(crate) async fn results(&self, service: &str, instance: &str, count: usize) -> InstanceChecks {
        loop {
            match self.checks(service, instance) {
                Some(checks) if checks.results.len() >= count => return checks,
                _ => tokio::task::yield_now().await,
            }
        }
    }

    /// Lets a probe begin: the first one, and each later one.
    pub(crate) async fn advance(&self, time: Duration) {
        // The prober must know of what was registered before.
        tokio::task::yield_now().await;
        self.clock.advance(time);
    }

    /// Waits until this many probes have been made in all, those that are under way not counted.
    pub(crate) async fn probes(&self, count: u64) {
        self.until(|| {
            let counters = self.prober().counters();
            let failed: u64 = counters.failed.iter().map(|(_, count)| count).sum();
            counters.healthy + failed >= count && counters.in_flight == 0
        })
        .await;
    }
}
