//! GetOperation, and the requests that leave an operation.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{Engine, code, dns, dns_service, invalid, one_violation, registration};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Clock, ErrorCode, Scope, SyncCloudMap,
    model::{Operation, OperationStatus, RecordType::A},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, DeleteNamespaceRequest,
        DeleteServiceRequest, DeregisterInstanceRequest, GetOperationRequest,
    },
};

const IPV4: (&str, &str) = ("AWS_INSTANCE_IPV4", "10.0.0.1");

/// The type, status and targets of an operation, as the API writes them.
fn written(operation: &Operation) -> String {
    let targets: Vec<_> = operation.targets.iter().map(|(kind, id)| format!("{kind}={id}")).collect();
    format!("{} {} {}", operation.kind.as_str(), operation.status.as_str(), targets.join(" "))
}

#[test]
fn every_asynchronous_request_ends_in_success_with_its_targets() {
    let engine = Engine::new();
    let api = &engine.api;
    let told = |started: sd_core::response::OperationStarted| {
        written(&engine.operation(started.operation_id.as_str()))
    };
    let namespace = engine.private("app.local");
    let service = engine.dns_service(&namespace, "web", &[A]);
    let created = api.create_http_namespace(CreateHttpNamespaceRequest::new("api")).unwrap();
    assert!(told(created).starts_with("CREATE_NAMESPACE SUCCESS NAMESPACE=ns-"));
    let instance = format!("SUCCESS INSTANCE=i-1 SERVICE={}", service.id);
    let registered = api.register_instance(registration(&service, "i-1", &[IPV4])).unwrap();
    assert_eq!(told(registered), format!("REGISTER_INSTANCE {instance}"));
    let gone = api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "i-1")).unwrap();
    assert_eq!(told(gone), format!("DEREGISTER_INSTANCE {instance}"));
    api.delete_service(DeleteServiceRequest::new(&service.id)).unwrap();
    let deleted = api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id)).unwrap();
    assert_eq!(told(deleted), format!("DELETE_NAMESPACE SUCCESS NAMESPACE={}", namespace.id));
}

#[test]
fn only_accepted_asynchronous_requests_leave_an_operation() {
    let engine = Engine::new();
    let count = || engine.cloud_map.cloud_map().cell().operations().len();
    let namespace = engine.private("app.local");
    assert_eq!(count(), 1);
    let service = engine.service(dns_service(&namespace, "web", dns(&[A])));
    engine.api.delete_service(DeleteServiceRequest::new(&service.id)).unwrap();
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("a b")).unwrap_err();
    engine.api.register_instance(registration(&service, "i-1", &[IPV4])).unwrap_err();
    assert_eq!(count(), 1, "services are made at once, and refusals leave nothing");
    let conflict = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    let started = engine.api.create_private_dns_namespace(conflict).unwrap();
    assert_eq!(engine.operation(started.operation_id.as_str()).status, OperationStatus::Fail);
    assert_eq!(count(), 2, "what fails later leaves one");
    let replayed = CreateHttpNamespaceRequest::new("api").with_creator_request_id("token");
    engine.api.create_http_namespace(replayed.clone()).unwrap();
    engine.api.create_http_namespace(replayed).unwrap();
    assert_eq!(count(), 3);
}

#[test]
fn an_operation_id_ends_in_its_creation_time_in_base_36() {
    let engine = Engine::new();
    let started = engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("api")).unwrap();
    let operation = engine.operation(started.operation_id.as_str());
    let (random, time) = started.operation_id.as_str().split_once('-').unwrap();
    assert_eq!(random.len(), 32);
    assert_eq!(u64::from_str_radix(time, 36).unwrap(), operation.created.as_millis());
    assert_eq!((operation.created, operation.updated), (engine.clock.now(), engine.clock.now()));
}

#[test]
fn an_operation_outlives_its_target() {
    let engine = Engine::new();
    let started = engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("api")).unwrap();
    let before = engine.operation(started.operation_id.as_str());
    let id = before.targets.iter().next().unwrap().1;
    engine.api.delete_namespace(DeleteNamespaceRequest::new(id)).unwrap();
    assert_eq!(engine.operation(started.operation_id.as_str()), before);
}

#[test]
fn an_operation_is_found_by_its_id_in_its_scope() {
    let engine = Engine::new();
    let started = engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("api")).unwrap();
    let request = GetOperationRequest::new(&started.operation_id);
    assert!(engine.api.get_operation(request.clone().with_owner_account("123456789012")).is_ok());
    for (account, region) in [("210987654321", "us-east-1"), ("123456789012", "eu-west-1")] {
        let other = engine.cloud_map.at(Scope::parse(account, region).unwrap());
        assert_eq!(code(other.get_operation(&request)), ErrorCode::OperationNotFound);
    }
    let get = |id: &str| engine.api.get_operation(GetOperationRequest::new(id));
    for unknown in ["", "unknown", &started.operation_id.as_str().to_uppercase(), &"o".repeat(255)] {
        assert_eq!(code(get(unknown)), ErrorCode::OperationNotFound, "{unknown}");
    }
    let null = one_violation("operationId", None, "not be null");
    assert_eq!(invalid(engine.api.get_operation(GetOperationRequest::default())), null);
    assert_eq!(code(get(&"o".repeat(256))), ErrorCode::InvalidInput);
    let owner = |text: &str| engine.api.get_operation(request.clone().with_owner_account(text));
    let text = invalid(owner("12345678901"));
    assert!(text.contains("at 'ownerAccount' failed"), "{text}");
    // The service model has no pattern for accounts.
    assert_eq!(code(owner("12345678901x")), ErrorCode::OperationNotFound);
}

#[test]
fn a_fork_has_the_operations_before_it() {
    let engine = Engine::new();
    let create = |name: &str| {
        let started = engine.api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap();
        GetOperationRequest::new(&started.operation_id)
    };
    let before = create("before");
    let fork =
        SyncCloudMap::new(MemoryRegistry::fork(engine.cloud_map.cloud_map().cell())).at(Scope::default());
    let after = create("after");
    assert_eq!(fork.get_operation(&before).unwrap(), engine.api.get_operation(&before).unwrap());
    assert_eq!(code(fork.get_operation(&after)), ErrorCode::OperationNotFound);
}
