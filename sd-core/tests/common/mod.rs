//! Shared by the behavioral tests: a deterministic engine, and short ways to fill it.

#![allow(dead_code, reason = "each test binary uses another part")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

pub(crate) mod meeting;
pub(crate) mod one_service;
pub(crate) mod woken;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    CloudMapBuilder, Error, ErrorCode, ManualClock, Mode, Quotas, Scope, SyncCloudMap, SyncScopedCloudMap,
    Timing,
    error::InvalidInput,
    model::{Namespace, Operation, RecordType, RoutingPolicy, Service},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
        CreateServiceRequest, DiscoverInstancesRequest, DnsConfigInput, GetNamespaceRequest,
        GetOperationRequest, HealthCheckConfigInput, HealthCheckCustomConfigInput, RegisterInstanceRequest,
        ServiceTypeOption,
    },
    response::OperationStarted,
    settings::{SeededRandom, SequentialIds},
    store::Immediate,
};

/// An engine over memory with a manual clock, sequential identifiers and a seeded random source.
pub(crate) struct Engine {
    pub(crate) cloud_map: SyncCloudMap,
    /// The handle on the default scope.
    pub(crate) api: SyncScopedCloudMap,
    pub(crate) clock: Arc<ManualClock>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self::over(MemoryRegistry::new(), Mode::Lenient)
    }

    pub(crate) fn strict() -> Self {
        Self::over(MemoryRegistry::new(), Mode::Strict)
    }

    pub(crate) fn timed(timing: Timing) -> Self {
        Self::configured(MemoryRegistry::new(), |builder| builder.timing(timing))
    }

    pub(crate) fn with_quotas(quotas: Quotas) -> Self {
        Self::configured(MemoryRegistry::new(), |builder| builder.quotas(quotas))
    }

    pub(crate) fn over(registry: impl Immediate, mode: Mode) -> Self {
        Self::configured(registry, |builder| builder.mode(mode))
    }

    pub(crate) fn configured<R: Immediate>(
        registry: R,
        configure: impl FnOnce(CloudMapBuilder<R>) -> CloudMapBuilder<R>,
    ) -> Self {
        let clock = Arc::new(ManualClock::default());
        let builder = SyncCloudMap::builder(registry).clock(Arc::clone(&clock));
        let builder = builder.ids(SequentialIds::default()).random(SeededRandom::new(1));
        let cloud_map = configure(builder).build_sync();
        let api = cloud_map.at(Scope::default());
        Self { cloud_map, api, clock }
    }

    /// Advances the clock by 1 ms, so that the next entity is younger.
    pub(crate) fn tick(&self) {
        self.clock.advance(Duration::from_millis(1));
    }

    pub(crate) fn operation(&self, id: &str) -> Arc<Operation> {
        self.api.get_operation(GetOperationRequest::new(id)).unwrap()
    }

    fn created(&self, started: &OperationStarted) -> Arc<Namespace> {
        self.tick();
        self.namespace(started.namespace_id.as_str())
    }

    pub(crate) fn namespace(&self, id: &str) -> Arc<Namespace> {
        self.api.get_namespace(GetNamespaceRequest::new(id)).unwrap().namespace
    }

    pub(crate) fn http(&self, name: &str) -> Arc<Namespace> {
        let started = self.api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap();
        self.created(&started)
    }

    pub(crate) fn private(&self, name: &str) -> Arc<Namespace> {
        self.private_in(name, "vpc-1")
    }

    pub(crate) fn private_in(&self, name: &str, vpc: &str) -> Arc<Namespace> {
        let request = CreatePrivateDnsNamespaceRequest::new(name, vpc);
        let started = self.api.create_private_dns_namespace(request).unwrap();
        self.created(&started)
    }

    pub(crate) fn public(&self, name: &str) -> Arc<Namespace> {
        let request = CreatePublicDnsNamespaceRequest::new(name);
        let started = self.api.create_public_dns_namespace(request).unwrap();
        self.created(&started)
    }

    pub(crate) fn service(&self, request: CreateServiceRequest) -> Arc<Service> {
        let service = self.api.create_service(request).unwrap().service;
        self.tick();
        service
    }

    /// A service in a DNS namespace with these records, each with a TTL of 60 s.
    pub(crate) fn dns_service(
        &self,
        namespace: &Namespace,
        name: &str,
        records: &[RecordType],
    ) -> Arc<Service> {
        self.service(dns_service(namespace, name, dns(records)))
    }

    pub(crate) fn http_service(&self, namespace: &Namespace, name: &str) -> Arc<Service> {
        self.service(
            CreateServiceRequest::new(name)
                .with_namespace_id(&namespace.id)
                .with_service_type(ServiceTypeOption::Http),
        )
    }

    pub(crate) fn register(&self, service: &Service, id: &str, attributes: &[(&str, &str)]) {
        self.api.register_instance(registration(service, id, attributes)).unwrap();
        self.tick();
    }

    /// The sorted ids of the instances that a discovery finds.
    pub(crate) fn discover(&self, request: &DiscoverInstancesRequest) -> Vec<String> {
        let found = self.api.discover_instances(request).unwrap();
        let mut ids: Vec<_> = found.instances.iter().map(|instance| instance.id.to_string()).collect();
        ids.sort();
        ids
    }
}

pub(crate) fn dns(records: &[RecordType]) -> DnsConfigInput {
    DnsConfigInput::new(records.iter().map(|kind| (*kind, 60)))
}

pub(crate) fn weighted(records: &[RecordType]) -> DnsConfigInput {
    dns(records).with_routing_policy(RoutingPolicy::Weighted)
}

pub(crate) fn dns_service(namespace: &Namespace, name: &str, dns: DnsConfigInput) -> CreateServiceRequest {
    CreateServiceRequest::new(name).with_namespace_id(&namespace.id).with_dns_config(dns)
}

pub(crate) fn custom_check() -> HealthCheckCustomConfigInput {
    HealthCheckCustomConfigInput::default()
}

pub(crate) fn route53_check(
    kind: &str,
    path: Option<&str>,
    threshold: Option<i64>,
) -> HealthCheckConfigInput {
    let mut check = HealthCheckConfigInput::default();
    check.kind = Some(kind.into());
    check.resource_path = path.map(str::to_owned);
    check.failure_threshold = threshold;
    check
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn registration(
    service: &Service,
    id: &str,
    attributes: &[(&str, &str)],
) -> RegisterInstanceRequest {
    RegisterInstanceRequest::new(&service.id, id).with_attributes(map(attributes))
}

/// The code of a refusal.
pub(crate) fn code<T: Debug>(result: Result<T, Error>) -> ErrorCode {
    result.unwrap_err().code()
}

/// The text of an `InvalidInput` error.
pub(crate) fn invalid<T: Debug>(result: Result<T, Error>) -> String {
    match result.unwrap_err() {
        Error::InvalidInput(input) => input.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The member named by an `InvalidInput` error that comes from a rule of Cloud Map, not from a constraint of its model.
pub(crate) fn ruled<T: Debug>(result: Result<T, Error>) -> &'static str {
    match result.unwrap_err() {
        Error::InvalidInput(InvalidInput::Rule { member, .. }) => member,
        other => panic!("{other:?}"),
    }
}

/// The text of AWS for a single member that breaks a constraint of the service model.
pub(crate) fn one_violation(member: &str, value: Option<&str>, must: &str) -> String {
    let value = value.map_or("null".to_owned(), |value| format!("'{value}'"));
    format!(
        "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: Member must {must}"
    )
}
