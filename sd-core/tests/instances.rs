//! Registering, describing, listing and deregistering instances.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::sync::Arc;

use common::{Engine, code, invalid, map, one_violation, registration};
use sd_core::{
    Clock, ErrorCode,
    model::{CreatorRequestId, OperationStatus, OperationType, Service},
    request::{
        DeregisterInstanceRequest, DiscoverInstancesRequest, GetInstanceRequest, ListInstancesRequest,
        RegisterInstanceRequest,
    },
};

const IPV4: (&str, &str) = ("AWS_INSTANCE_IPV4", "10.0.0.1");
const IPV6: (&str, &str) = ("AWS_INSTANCE_IPV6", "2001:db8::1");
const WELL: (&str, &str) = ("AWS_INIT_HEALTH_STATUS", "HEALTHY");
const CUSTOM: (&str, &str) = ("color", "blue");

/// An engine with a service that takes any attributes.
fn anything() -> (Engine, Arc<Service>) {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http("api"), "web");
    (engine, service)
}

#[test]
fn members_are_checked() {
    let (engine, service) = anything();
    let register = |id: &str| engine.api.register_instance(registration(&service, id, &[]));
    assert!(register(&"i".repeat(64)).is_ok());
    assert!(register("aZ9_/:.@-").is_ok());
    let pattern = "satisfy regular expression pattern: ^[0-9a-zA-Z_/:.@-]+$";
    for (id, must) in [
        ("", pattern),
        (&"i".repeat(65), "have length less than or equal to 64"),
        ("a b", pattern),
        ("a#b", pattern),
        ("é", pattern),
    ] {
        assert_eq!(invalid(register(id)), one_violation("instanceId", Some(id), must));
    }
    assert_eq!(
        invalid(engine.api.register_instance(RegisterInstanceRequest::default())),
        "3 validation errors detected: \
         Value null at 'serviceId' failed to satisfy constraint: Member must not be null; \
         Value null at 'instanceId' failed to satisfy constraint: Member must not be null; \
         Value null at 'attributes' failed to satisfy constraint: Member must not be null"
    );
    let token = registration(&service, "i", &[]).with_creator_request_id("t".repeat(65));
    assert!(invalid(engine.api.register_instance(token)).contains("at 'creatorRequestId' failed"));
    // The other operations have no pattern for instance ids.
    let get = |id: &str| engine.api.get_instance(GetInstanceRequest::new(&service.id, id));
    assert_eq!(code(get("a b")), ErrorCode::InstanceNotFound);
    assert_eq!(code(get(&"i".repeat(65))), ErrorCode::InvalidInput);
}

#[test]
fn an_instance_is_described_as_registered() {
    let (engine, service) = anything();
    let now = engine.clock.now();
    let request = registration(&service, "i-1", &[IPV4, CUSTOM, WELL]).with_creator_request_id("token");
    let started = engine.api.register_instance(request).unwrap();
    let operation = engine.operation(started.operation_id.as_str());
    assert_eq!(
        (operation.kind, operation.status),
        (OperationType::RegisterInstance, OperationStatus::Success)
    );
    let targets = [("INSTANCE", "i-1"), ("SERVICE", service.id.as_str())];
    assert_eq!(operation.targets.iter().collect::<Vec<_>>(), targets);

    let found = engine.api.get_instance(GetInstanceRequest::new(service.arn().as_str(), "i-1")).unwrap();
    let instance = &found.instance;
    assert_eq!(found.resource_owner.as_str(), "123456789012");
    assert_eq!((instance.created_by_account.as_str(), instance.created), ("123456789012", now));
    assert_eq!(instance.creator_request_id.as_ref().map(CreatorRequestId::as_str), Some("token"));
    assert_eq!(
        instance.attributes.iter().collect::<Vec<_>>(),
        [WELL, IPV4, CUSTOM],
        "all of them, sorted by key"
    );
    let listed = engine.api.list_instances(ListInstancesRequest::new(&service.id)).unwrap();
    assert_eq!((listed.resource_owner, listed.items), (found.resource_owner.clone(), vec![instance.clone()]));
}

#[test]
fn registering_again_replaces_the_instance() {
    let (engine, service) = anything();
    let get = || engine.api.get_instance(GetInstanceRequest::new(&service.id, "i-1")).unwrap().instance;
    engine.register(&service, "i-1", &[IPV4, CUSTOM]);
    let before = get();
    engine.register(&service, "i-2", &[]);
    engine.register(&service, "i-1", &[IPV6]);
    let after = get();
    assert_eq!(after.attributes.iter().collect::<Vec<_>>(), [IPV6], "nothing is merged");
    assert_eq!((after.endpoint.ipv4, after.endpoint.ipv6.is_some()), (None, true));
    assert_eq!(after.created, before.created, "it keeps its place in lists");
    assert_ne!(after.registered_by, before.registered_by);
    let listed = engine.api.list_instances(ListInstancesRequest::new(&service.id)).unwrap();
    assert_eq!(listed.items.len(), 2);
    assert_eq!(listed.items[0], after);
}

#[test]
fn a_replayed_registration_gets_the_first_operation() {
    let (engine, service) = anything();
    let discover = || engine.api.discover_instances(DiscoverInstancesRequest::new("api", "web")).unwrap();
    let register = |token: Option<&str>, attributes: &[(&str, &str)]| {
        let mut request = registration(&service, "i-1", attributes);
        request.creator_request_id = token.map(str::to_owned);
        engine.tick();
        engine.api.register_instance(request).unwrap()
    };
    let first = register(Some("t"), &[IPV4]);
    let revision = discover().instances_revision;
    assert_eq!(register(Some("t"), &[IPV4]), first);
    assert_eq!(discover().instances_revision, revision, "a replay changes nothing");
    // With other attributes, another token or no token, each request starts a new operation.
    let mut seen = vec![first];
    for (token, attributes) in
        [(Some("t"), [IPV6]), (Some("t"), [IPV4]), (Some("u"), [IPV4]), (None, [IPV4]), (None, [IPV4])]
    {
        let started = register(token, &attributes);
        assert!(!seen.contains(&started), "{token:?}");
        seen.push(started);
        assert_eq!(discover().instances[0].attributes.iter().collect::<Vec<_>>(), attributes);
    }
    assert!(discover().instances_revision > revision);
}

#[test]
fn deregistering_deletes_the_instance_and_its_token() {
    let (engine, service) = anything();
    let request = registration(&service, "i-1", &[]).with_creator_request_id("token");
    let first = engine.api.register_instance(request.clone()).unwrap();
    let deregister =
        |service: &str| engine.api.deregister_instance(DeregisterInstanceRequest::new(service, "i-1"));
    let started = deregister(service.arn().as_str()).unwrap();
    let operation = engine.operation(started.operation_id.as_str());
    assert_eq!(
        (operation.kind, operation.status),
        (OperationType::DeregisterInstance, OperationStatus::Success)
    );
    let targets = [("INSTANCE", "i-1"), ("SERVICE", service.id.as_str())];
    assert_eq!(operation.targets.iter().collect::<Vec<_>>(), targets);
    assert_eq!(code(deregister(service.id.as_str())), ErrorCode::InstanceNotFound);
    let get = engine.api.get_instance(GetInstanceRequest::new(&service.id, "i-1"));
    assert_eq!(code(get), ErrorCode::InstanceNotFound);
    assert_ne!(engine.api.register_instance(request).unwrap(), first);
}

#[test]
fn a_service_of_another_scope_is_not_found() {
    let (engine, service) = anything();
    engine.register(&service, "i-1", &[]);
    let arn = service.arn().to_string();
    for stranger in
        [arn.replace("us-east-1", "eu-west-1"), arn.replace(":service/", ":namespace/"), "x".into()]
    {
        let service = stranger.as_str();
        let codes =
            [
                code(engine.api.register_instance(
                    RegisterInstanceRequest::new(service, "i-1").with_attributes(map(&[])),
                )),
                code(engine.api.deregister_instance(DeregisterInstanceRequest::new(service, "i-1"))),
                code(engine.api.get_instance(GetInstanceRequest::new(service, "i-1"))),
                code(engine.api.list_instances(ListInstancesRequest::new(service))),
            ];
        let expected = ErrorCode::ServiceNotFound;
        // Like AWS, GetInstance does not say that the service is missing.
        assert_eq!(codes, [expected, expected, ErrorCode::InstanceNotFound, expected], "{service}");
    }
    let null = "Value null at 'serviceId' failed to satisfy constraint: Member must not be null";
    for text in [
        invalid(engine.api.deregister_instance(DeregisterInstanceRequest::default())),
        invalid(engine.api.get_instance(GetInstanceRequest::default())),
        invalid(engine.api.list_instances(ListInstancesRequest::default())),
    ] {
        assert!(text.contains(null), "{text}");
    }
}

#[test]
fn a_service_created_again_continues_its_instances_revision() {
    let engine = Engine::new();
    let namespace = engine.http("app");
    let revision = || {
        let request = DiscoverInstancesRequest::new("app", "web");
        engine.api.discover_instances(&request).unwrap().instances_revision
    };
    let service = engine.http_service(&namespace, "web");
    for _ in 0..50 {
        engine.api.register_instance(registration(&service, "i-1", &[])).unwrap();
    }
    engine.api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "i-1")).unwrap();
    let before = revision();
    engine.api.delete_service(sd_core::request::DeleteServiceRequest::new(&service.id)).unwrap();
    engine.http_service(&namespace, "web");
    assert!(revision() > before);
}
