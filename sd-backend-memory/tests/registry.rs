//! The promises of a registry in memory: it waits for nothing, and what was not asked for is not stored.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    CloudMap, Registry, Scope, SyncCloudMap,
    request::{CreateHttpNamespaceRequest, GetOperationRequest},
};

#[test]
fn a_write_is_done_when_it_is_first_polled() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let api = cloud_map.at(Scope::default());
    let write = pin!(api.create_http_namespace(CreateHttpNamespaceRequest::new("app")));
    let Poll::Ready(result) = write.poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
    result.unwrap();
    assert_eq!(cloud_map.state().scope(&Scope::default()).namespaces().count(), 1);
}

#[test]
fn a_write_that_is_dropped_before_it_is_polled_stores_nothing() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    drop(cloud_map.at(Scope::default()).create_http_namespace(CreateHttpNamespaceRequest::new("app")));
    assert_eq!(cloud_map.state().revision().as_u64(), 0);
    assert!(cloud_map.cell().operations().is_empty());
}

#[test]
fn a_new_registry_is_empty() {
    let registry = MemoryRegistry::default();
    assert_eq!(registry.cell().load().scopes().count(), 0);
    assert!(registry.cell().operations().is_empty());
}

#[test]
fn a_registry_keeps_as_many_operations_as_it_is_told_to() {
    let cloud_map = SyncCloudMap::new(MemoryRegistry::keeping(2));
    let api = cloud_map.at(Scope::default());
    let started = ["a", "b", "c"].map(|name| {
        api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap().operation_id.to_string()
    });
    assert_eq!(cloud_map.cloud_map().cell().operations().len(), 2);
    api.get_operation(&GetOperationRequest::new(&started[0])).unwrap_err();
    for id in &started[1..] {
        api.get_operation(&GetOperationRequest::new(id)).unwrap();
    }
}
