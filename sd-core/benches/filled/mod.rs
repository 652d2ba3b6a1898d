//! Shared by the benches.

#![allow(dead_code, reason = "each bench uses another part")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Attached, Scope, SyncCloudMap, SyncScopedCloudMap,
    model::RecordType,
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DnsConfigInput, RegisterInstanceRequest,
    },
};
use sd_dns::NameTable;

/// A service `web.app.local` with a number of instances of four attributes each.
pub(crate) struct Filled {
    pub(crate) cloud_map: SyncCloudMap,
    pub(crate) api: SyncScopedCloudMap,
    pub(crate) service: String,
    next: AtomicUsize,
    _attached: Attached,
}

impl Filled {
    pub(crate) fn with(instances: usize) -> Self {
        Self::in_registry(MemoryRegistry::new(), instances)
    }

    pub(crate) fn in_registry(registry: MemoryRegistry, instances: usize) -> Self {
        let cloud_map = SyncCloudMap::new(registry);
        let attached = cloud_map.cell().attach(Arc::new(NameTable::new()));
        let api = cloud_map.at(Scope::default());
        let app = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        let app = api.create_private_dns_namespace(app).unwrap();
        let request = CreateServiceRequest::new("web")
            .with_namespace_id(app.namespace_id)
            .with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]));
        let service = api.create_service(request).unwrap().id.to_string();
        let filled = Self { cloud_map, api, service, next: AtomicUsize::new(0), _attached: attached };
        for _ in 0..instances {
            filled.register(filled.request());
        }
        filled
    }

    /// A request that registers a new instance.
    pub(crate) fn request(&self) -> RegisterInstanceRequest {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let [_, a, b, c] = u32::try_from(n).unwrap().to_be_bytes();
        RegisterInstanceRequest::new(&self.service, format!("task-{n:08}"))
            .with_attribute("AWS_INSTANCE_IPV4", format!("10.{a}.{b}.{c}"))
            .with_attribute("AWS_INSTANCE_PORT", "8080")
            .with_attribute("AVAILABILITY_ZONE", "us-east-1a")
            .with_attribute("ECS_CLUSTER_NAME", if n.is_multiple_of(100) { "blue" } else { "green" })
    }

    pub(crate) fn register(&self, request: RegisterInstanceRequest) {
        self.api.register_instance(request).unwrap();
    }
}
