//! The clock at the last representable time.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::time::Duration;

use common::{Engine, custom_check, dns, dns_service, registration};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Quotas, Timing,
    model::{OperationStatus, RecordType},
    request::{
        CreatePrivateDnsNamespaceRequest, DeregisterInstanceRequest, DiscoverInstancesRequest,
        ListOperationsRequest, UpdateInstanceCustomHealthStatusRequest,
    },
};

#[test]
fn everything_works_at_the_last_representable_time() {
    for timing in [Timing::instant(), Timing::aws()] {
        let engine = Engine::configured(MemoryRegistry::new(), |builder| {
            builder.timing(timing).quotas(Quotas::aws()).journal(10)
        });
        engine.clock.advance(Duration::MAX);
        // Operations end at once: their end cannot be later.
        let request = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        let started = engine.api.create_private_dns_namespace(request).unwrap();
        let operation = engine.operation(started.operation_id.as_str());
        assert_eq!(operation.status, OperationStatus::Success);
        let namespace = engine.namespace(operation.namespace.as_str());
        let request = dns_service(&namespace, "web", dns(&[RecordType::A]))
            .with_health_check_custom_config(custom_check());
        let service = engine.service(request);
        for (id, address) in [("i-1", "10.0.0.1"), ("i-2", "10.0.0.2"), ("i-1", "10.0.0.3")] {
            let attributes = [("AWS_INSTANCE_IPV4", address)];
            engine.api.register_instance(registration(&service, id, &attributes)).unwrap();
        }
        let report = UpdateInstanceCustomHealthStatusRequest::new(&service.id, "i-1", "UNHEALTHY");
        engine.api.update_instance_custom_health_status(report).unwrap();
        assert_eq!(engine.discover(&DiscoverInstancesRequest::new("app.local", "web")), ["i-2"]);
        let request = DeregisterInstanceRequest::new(&service.id, "i-2");
        engine.api.deregister_instance(request).unwrap();
        assert_eq!(engine.api.list_operations(ListOperationsRequest::new()).unwrap().items.len(), 5);
        engine.cloud_map.reset().unwrap();
        assert_eq!(engine.api.list_operations(ListOperationsRequest::new()).unwrap().items.len(), 0);
    }
}
