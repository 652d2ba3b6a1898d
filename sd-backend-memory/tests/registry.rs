//! The memory registry never waits, and stores only what is committed.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    CloudMap, ManualClock, Registry, Scope, SyncCloudMap,
    model::OperationTargets,
    request::{CreateHttpNamespaceRequest, GetNamespaceRequest, GetOperationRequest},
    settings::SequentialIds,
};

#[test]
fn a_write_finishes_at_its_first_poll() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let api = cloud_map.at(Scope::default());
    let write = pin!(api.create_http_namespace(CreateHttpNamespaceRequest::new("app")));
    let Poll::Ready(result) = write.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the write is pending")
    };
    result.unwrap();
    assert_eq!(cloud_map.state().scope(&Scope::default()).namespaces().count(), 1);
}

#[test]
fn a_write_dropped_before_its_first_poll_stores_nothing() {
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
fn a_registry_keeps_as_many_operations_as_configured() {
    let cloud_map = SyncCloudMap::new(MemoryRegistry::keeping(2));
    let api = cloud_map.at(Scope::default());
    let started = ["a", "b", "c"].map(|name| {
        api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap().operation_id.to_string()
    });
    assert_eq!(cloud_map.cloud_map().cell().operations().len(), 2);
    api.get_operation(GetOperationRequest::new(&started[0])).unwrap_err();
    for id in &started[1..] {
        api.get_operation(GetOperationRequest::new(id)).unwrap();
    }
}

#[test]
fn sequential_ids_continue_in_each_fork() {
    let (clock, ids) = (Arc::new(ManualClock::default()), Arc::new(SequentialIds::default()));
    let handle = |registry, ids: Arc<SequentialIds>| {
        SyncCloudMap::builder(registry).clock(Arc::clone(&clock)).ids(ids).build_sync().at(Scope::default())
    };
    let registry = Arc::new(MemoryRegistry::new());
    let prepared = handle(Arc::clone(&registry), Arc::clone(&ids));
    prepared.create_http_namespace(CreateHttpNamespaceRequest::new("prepared")).unwrap();
    let made = ["one", "other"].map(|name| {
        let fork = Arc::new(MemoryRegistry::fork(registry.cell()));
        let fork = handle(fork, Arc::new(SequentialIds::clone(&ids)));
        let started = fork.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap();
        let operation = fork.get_operation(GetOperationRequest::new(&started.operation_id)).unwrap();
        let OperationTargets::Namespace(id) = &operation.targets else { panic!("{operation:?}") };
        let found = fork.get_namespace(GetNamespaceRequest::new(id.as_str())).unwrap();
        assert_eq!(found.namespace.name.as_str(), name);
        (id.clone(), started.operation_id)
    });
    // Both forks continue from the same id.
    assert_eq!(made[0], made[1]);
}
