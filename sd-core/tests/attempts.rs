//! How a write is tried: what it commits if nothing changes, when it is planned again, and when it is given up.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::sync::{Arc, Mutex};

use common::{
    code, custom_check, dns, dns_service,
    meeting::{Meeting, Shared},
    registration,
};
use sd_core::{
    CommitError, DesiredInstance, Error, ErrorCode, RefusedInstance, Scope, SyncCloudMap, SyncedInstance,
    Timing,
    model::{CustomHealthStatus, EntityKey, InstanceId, OperationId, RecordType::A},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
        DeleteNamespaceRequest, DeleteServiceAttributesRequest, DeleteServiceRequest,
        DeregisterInstanceRequest, DnsNamespaceChange, GetOperationRequest, Tag, TagResourceRequest,
        UntagResourceRequest, UpdatePrivateDnsNamespaceRequest, UpdateServiceAttributesRequest,
    },
    store::Lookup,
};

#[test]
fn endless_conflicts_end_in_an_error_that_says_to_try_again() {
    let meeting = Meeting::new();
    for _ in 0..1000 {
        meeting.shared.then(|_, _| Err(CommitError::Conflict));
    }
    let error = meeting.register("i-2").unwrap_err();
    assert!(matches!(error, Error::Contention) && error.is_retryable(), "{error:?}");
    assert_eq!(error.code(), ErrorCode::ServiceUnavailable);
    let commits = meeting.shared.commits();
    assert!((2..=100).contains(&commits), "{commits}");
    assert!(!meeting.has("i-2"));
}

#[test]
fn what_stops_a_sync_half_way_does_not_hide_what_it_did() {
    let meeting = Meeting::new();
    let tasks =
        |ids: &[&str]| ids.iter().map(|id| DesiredInstance::new(*id).with_attribute("a", "b")).collect();
    let sync = |desired: Vec<DesiredInstance>| {
        meeting.engine.api.sync_service_instances(meeting.service.id.as_str(), "ecs", desired)
    };
    let ids = |steps: &[SyncedInstance]| steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>();
    let store = || meeting.shared.then(Shared::store);
    let fail = || {
        meeting
            .shared
            .then(|_, _| Err(CommitError::Unavailable { retry_after: None, source: "no answer".into() }));
    };
    // Contention concerns one instance.
    store();
    (0..16).for_each(|_| meeting.shared.then(|_, _| Err(CommitError::Conflict)));
    let synced = sync(tasks(&["t-1", "t-2", "t-3"])).unwrap();
    assert_eq!(ids(&synced.registered), ["t-1", "t-3"]);
    assert!(
        matches!(&synced.refused[..], [RefusedInstance { id, error: Error::Contention, .. }] if id == "t-2"),
        "{synced:?}"
    );
    // A backend that is unavailable concerns the others too, which are not tried.
    meeting.shared.commits();
    store();
    fail();
    let synced = sync(tasks(&["t-2", "t-4"])).unwrap();
    assert_eq!(meeting.shared.commits(), 2);
    assert_eq!((ids(&synced.deregistered), synced.registered.len()), (vec!["t-1".to_owned()], 0));
    let refused = synced.refused.iter().map(|refused| (&*refused.id, refused.error.is_retryable()));
    assert_eq!(refused.collect::<Vec<_>>(), [("t-3", true), ("t-2", true), ("t-4", true)]);
    // Nothing was done, so that the error is the answer.
    fail();
    assert_eq!(code(sync(tasks(&["t-2", "t-4"]))), ErrorCode::ServiceUnavailable);
    assert!(sync(tasks(&["t-2", "t-4"])).unwrap().refused.is_empty());
}

#[test]
fn planning_again_keeps_the_identifiers() {
    let meeting = Meeting::new();
    let first = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&first);
    meeting.shared.then(move |_, changes| {
        *kept.lock().unwrap() = changes.operation.map(|operation| operation.id.clone());
        Err(CommitError::Conflict)
    });
    let started = meeting.register("i-2").unwrap();
    assert_eq!(*first.lock().unwrap(), Some(started.operation_id));
}

#[test]
fn a_refusal_commits_nothing() {
    let meeting = Meeting::new();
    meeting.create_service("a b").unwrap_err();
    let missing = dns_service(&meeting.namespace, "web", dns(&[A])).with_namespace_id("ns-none");
    meeting.engine.api.create_service(missing).unwrap_err();
    meeting.create_service("web").unwrap_err();
    assert_eq!(meeting.shared.commits(), 0);
}

#[test]
fn an_answer_without_changes_says_what_it_relies_on() {
    let meeting = Meeting::new();
    let api = &meeting.engine.api;
    let create =
        || api.create_http_namespace(CreateHttpNamespaceRequest::new("n").with_creator_request_id("t"));
    let zone = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1").with_creator_request_id("t");
    let create_zone = || api.create_private_dns_namespace(zone.clone());
    let request = CreateServiceRequest::new("checked")
        .with_namespace_id(meeting.namespace.id.as_str())
        .with_health_check_custom_config(custom_check())
        .with_creator_request_id("t");
    let create_service = || api.create_service(request.clone());
    let service = create_service().unwrap().service;
    let register = || api.register_instance(registration(&service, "a", &[]).with_creator_request_id("t"));
    let zone_id = meeting.rival.private("zone.local").id.clone();
    let update = || {
        let change = DnsNamespaceChange::default().with_description("new");
        let request = UpdatePrivateDnsNamespaceRequest::new(zone_id.as_str()).with_namespace(change);
        api.update_private_dns_namespace(request.with_updater_request_id("t"))
    };
    let report = || api.set_health(service.id.as_str(), "a", CustomHealthStatus::Unhealthy);
    let sync = |ids: &[&str]| {
        let desired = ids.iter().map(|id| DesiredInstance::new(*id).with_attribute("a", "b"));
        api.sync_service_instances(meeting.service.id.as_str(), "ecs", desired.collect::<Vec<_>>())
    };
    let arn = service.arn();
    let tag = || api.tag_resource(TagResourceRequest::new(arn.as_str()).with_tags([Tag::new("a", "b")]));
    let untag =
        || api.untag_resource(UntagResourceRequest::new(arn.as_str()).with_tag_keys(["none".to_owned()]));
    let put = || {
        let request = UpdateServiceAttributesRequest::new(service.id.as_str()).with_attribute("a", "b");
        api.update_service_attributes(request)
    };
    let delete = || {
        let request = DeleteServiceAttributesRequest::new(service.id.as_str());
        api.delete_service_attributes(request.with_attributes(["none".to_owned()]))
    };
    let writes: [(&dyn Fn(), &[&str]); 11] = [
        (&|| drop(create().unwrap()), &["Live(Namespace"]),
        (&|| drop(create_zone().unwrap()), &["Live(Namespace"]),
        (&|| drop(create_service().unwrap()), &["Live(Service"]),
        (&|| drop(register().unwrap()), &["At(Instance", "Live(Service"]),
        (&|| drop(update().unwrap()), &["At(Namespace"]),
        (&|| report().unwrap(), &["At(Instance", "Live(Service"]),
        (&|| drop(sync(&["a"]).unwrap()), &["At(Instance", "Live(Service"]),
        (&|| tag().unwrap(), &["At(Service"]),
        (&|| untag().unwrap(), &["At(Service"]),
        (&|| put().unwrap(), &["At(Service"]),
        (&|| delete().unwrap(), &["At(Service"]),
    ];
    for (write, expected) in writes {
        write();
        let revision = meeting.shared.revision();
        let operations = meeting.operations();
        let kinds = meeting.relied_on();
        write();
        assert_eq!(*kinds.lock().unwrap(), expected);
        assert_eq!((meeting.shared.revision(), meeting.operations()), (revision, operations));
    }
}

#[test]
fn an_answer_about_an_operation_under_way_relies_on_it() {
    let meeting = Meeting::new();
    let timing = Timing::instant().with_operation(std::time::Duration::from_secs(3600));
    let engine = SyncCloudMap::builder(meeting.shared.clone()).timing(timing).build_sync();
    let api = engine.at(Scope::default());
    let create = || {
        let request = CreateHttpNamespaceRequest::new("late").with_creator_request_id("t");
        drop(api.create_http_namespace(request).unwrap());
    };
    let register = || {
        let request = registration(&meeting.service, "late", &[]).with_creator_request_id("t");
        drop(api.register_instance(request).unwrap());
    };
    let sync = |ids: &[&str]| {
        let desired = ids.iter().map(|id| DesiredInstance::new(*id).with_attribute("a", "b"));
        let desired = desired.collect::<Vec<_>>();
        drop(api.sync_service_instances(meeting.service.id.as_str(), "ecs", desired).unwrap());
    };
    let writes: [(&dyn Fn(), &[&str]); 3] = [
        (&create, &["Pending(OperationId"]),
        (&register, &["Live(Service", "Pending(OperationId"]),
        (&|| sync(&["task"]), &["Live(Service", "Pending(OperationId"]),
    ];
    for (write, expected) in writes {
        write();
        let kinds = meeting.relied_on();
        write();
        assert_eq!(*kinds.lock().unwrap(), expected);
    }
}

#[test]
fn an_answer_without_changes_is_decided_anew_after_a_conflict() {
    let meeting = Meeting::new();
    let request = registration(&meeting.service, "a", &[]).with_creator_request_id("token");
    let first = meeting.engine.api.register_instance(request.clone()).unwrap();
    let service = Arc::clone(&meeting.service);
    meeting.in_between(move |rival| {
        let request = DeregisterInstanceRequest::new(service.id.as_str(), "a");
        rival.api.deregister_instance(request).unwrap();
    });
    let second = meeting.engine.api.register_instance(request).unwrap();
    assert_ne!(first.operation_id, second.operation_id);
    assert!(meeting.has("a"));
}

#[test]
fn the_registry_waits_between_attempts() {
    let meeting = Meeting::new();
    for error in [CommitError::Conflict, CommitError::Ambiguous, CommitError::Conflict] {
        meeting.shared.then(|_, _| Err(error));
    }
    meeting.register("i-2").unwrap();
    assert_eq!(meeting.shared.pauses(), [1, 2, 3]);
    (0..16).for_each(|_| meeting.shared.then(|_, _| Err(CommitError::Conflict)));
    meeting.register("i-3").unwrap_err();
    assert_eq!(meeting.shared.pauses(), (1..16).collect::<Vec<_>>(), "and not after the last one");
    (0..2).for_each(|_| meeting.shared.then(|_, _| Err(CommitError::Conflict)));
    meeting.engine.cloud_map.reset().unwrap();
    assert_eq!(meeting.shared.pauses(), [1, 2]);
}

#[test]
fn the_registry_looks_for_what_a_refusal_rests_on() {
    let meeting = Meeting::new();
    let api = &meeting.engine.api;
    let entity = |key: EntityKey| vec![Lookup::Entity(key)];
    let (namespace, service) = (meeting.namespace.id.clone(), meeting.service.id.clone());
    let instance = |id: &str| EntityKey::Instance(service.clone(), InstanceId::parse(id).unwrap());
    let asked = |request: &dyn Fn() -> Option<ErrorCode>| (request(), meeting.shared.lookups());

    let taken = || meeting.create_service("web").err().map(|error| error.code());
    let service_key = EntityKey::Service(service.clone());
    assert_eq!(asked(&taken), (Some(ErrorCode::ServiceAlreadyExists), entity(service_key.clone())));
    let taken = || meeting.create_http("app").err().map(|error| error.code());
    let namespace_key = EntityKey::Namespace(namespace.clone());
    assert_eq!(asked(&taken), (Some(ErrorCode::NamespaceAlreadyExists), entity(namespace_key.clone())));
    let missing = || {
        let request = DeregisterInstanceRequest::new(meeting.service.arn().as_str(), "none");
        api.deregister_instance(request).err().map(|error| error.code())
    };
    let mut facts = entity(service_key.clone());
    facts.extend(entity(instance("none")));
    assert_eq!(asked(&missing), (Some(ErrorCode::InstanceNotFound), facts));
    let in_use = || {
        let request = DeleteServiceRequest::new(meeting.service.arn().as_str());
        api.delete_service(request).err().map(|error| error.code())
    };
    let children = vec![Lookup::Children(service_key)];
    assert_eq!(asked(&in_use), (Some(ErrorCode::ResourceInUse), children));
    let in_use = || {
        let request = DeleteNamespaceRequest::new(namespace.as_str());
        api.delete_namespace(request).err().map(|error| error.code())
    };
    let children = vec![Lookup::Children(namespace_key)];
    assert_eq!(asked(&in_use), (Some(ErrorCode::ResourceInUse), children));
    let missing = || {
        let arn = "arn:aws:servicediscovery:eu-west-1:123456789012:service/srv-none";
        let request = TagResourceRequest::new(arn).with_tags([Tag::new("a", "b")]);
        api.tag_resource(request).err().map(|error| error.code())
    };
    // It is of another Region, so there is nothing to look for.
    assert_eq!(asked(&missing), (Some(ErrorCode::ResourceNotFoundException), vec![]));
    let invalid = || meeting.create_service("a b").err().map(|error| error.code());
    assert_eq!(asked(&invalid), (Some(ErrorCode::InvalidInput), vec![]));
    meeting.register("i-2").unwrap();
    assert_eq!(meeting.shared.lookups(), []);
}

#[test]
fn what_a_look_has_found_is_planned_with() {
    let meeting = Meeting::new();
    let service = Arc::clone(&meeting.service);
    let rival = Arc::clone(&meeting.rival);
    // The instance, and then what is missing once it is there.
    meeting.shared.finding(move || {
        rival.register(&service, "late", &[]);
        Ok(())
    });
    let request = DeregisterInstanceRequest::new(meeting.service.id.as_str(), "late");
    meeting.engine.api.deregister_instance(request.clone()).unwrap();
    // It changes nothing for the request, which is refused after one look.
    meeting.shared.lookups();
    let rival = Arc::clone(&meeting.rival);
    meeting.shared.finding(move || {
        rival.http("other");
        Ok(())
    });
    assert_eq!(code(meeting.engine.api.deregister_instance(request.clone())), ErrorCode::InstanceNotFound);
    assert_eq!(meeting.shared.lookups().len(), 2);
    // A store that does not answer cannot say that something is missing.
    meeting
        .shared
        .finding(|| Err(CommitError::Unavailable { retry_after: None, source: "no answer".into() }));
    assert_eq!(code(meeting.engine.api.deregister_instance(request)), ErrorCode::ServiceUnavailable);
}

#[test]
fn doors_look_for_what_they_read_by_id() {
    let meeting = Meeting::new();
    let api = meeting.engine.cloud_map.cloud_map().at(Scope::default());
    let get = |id: &str| {
        let request = GetOperationRequest::new(id);
        let action = sd_core::Action::GetOperation;
        let read = sd_core::door::hold_back(&api, action, &request, |api| api.get_operation(&request));
        match std::pin::pin!(read).poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(result) => result.map(drop).map_err(|error| error.code()),
            std::task::Poll::Pending => panic!("it waits for nothing"),
        }
    };
    let known = meeting.register("i-2").unwrap().operation_id;
    assert_eq!(get(known.as_str()), Ok(()));
    assert_eq!(meeting.shared.lookups(), []);
    assert_eq!(get("none-k9302yzd"), Err(ErrorCode::OperationNotFound));
    let unknown = OperationId::parse("none-k9302yzd").unwrap();
    assert_eq!(meeting.shared.lookups(), [Lookup::Operation(unknown.clone())]);
    // A store that does not answer leaves it unknown.
    meeting.shared.finding(|| Err(CommitError::Unavailable { retry_after: None, source: "away".into() }));
    assert_eq!(get("none-k9302yzd"), Err(ErrorCode::OperationNotFound));
}
