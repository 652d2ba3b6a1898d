//! Writers that meet.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::sync::{Arc, Barrier, Mutex};

use common::{
    Engine, code, custom_check, dns, dns_service,
    meeting::{Meeting, Shared},
    registration, route53_check,
};
use sd_core::{
    Change, ChangeSet, CommitError, DesiredInstance, Error, ErrorCode, Mode, Registry, Scope, Timestamp,
    model::{Arn, HealthStatus, OperationStatus, RecordType::A, Service, ServiceName, UniqueKey},
    request::{
        CreatePublicDnsNamespaceRequest, CreateServiceRequest, DeleteNamespaceRequest,
        DeleteServiceAttributesRequest, DeleteServiceRequest, DeregisterInstanceRequest,
        DiscoverInstancesRequest, DnsConfigChange, DnsNamespaceChange, GetNamespaceRequest,
        GetServiceAttributesRequest, ListInstancesRequest, ListTagsForResourceRequest, ServiceChange, Tag,
        TagResourceRequest, UntagResourceRequest, UpdateInstanceCustomHealthStatusRequest,
        UpdatePrivateDnsNamespaceRequest, UpdateServiceAttributesRequest, UpdateServiceRequest,
    },
    state::Precondition,
};

fn deregister(service: &Service) -> DeregisterInstanceRequest {
    DeregisterInstanceRequest::new(&service.id, "i-1")
}

#[test]
fn what_another_writer_did_in_between_decides() {
    let meeting = Meeting::new();
    let id = meeting.namespace.id.clone();
    meeting.in_between(move |rival| {
        rival.api.create_service(CreateServiceRequest::new("raced").with_namespace_id(id.as_str())).unwrap();
    });
    assert_eq!(code(meeting.create_service("raced")), ErrorCode::ServiceAlreadyExists);

    meeting.in_between(|rival| drop(rival.http("raced")));
    let create = meeting.create_http("raced");
    assert_eq!(code(create), ErrorCode::NamespaceAlreadyExists);

    meeting.in_between(|rival| drop(rival.private("raced.local")));
    assert_eq!(meeting.create_private("Raced.local").unwrap().status, OperationStatus::Fail);

    let service = Arc::clone(&meeting.service);
    meeting.in_between(move |rival| drop(rival.api.deregister_instance(deregister(&service)).unwrap()));
    assert_eq!(code(meeting.deregister()), ErrorCode::InstanceNotFound);

    let service = Arc::clone(&meeting.service);
    meeting.in_between(move |rival| rival.register(&service, "i-2", &[]));
    let delete = || meeting.engine.api.delete_service(DeleteServiceRequest::new(&meeting.service.id));
    assert_eq!(code(delete()), ErrorCode::ResourceInUse);

    let empty = meeting.rival.http("empty");
    let parent = Arc::clone(&empty);
    meeting.in_between(move |rival| drop(rival.http_service(&parent, "child")));
    let delete = meeting.engine.api.delete_namespace(DeleteNamespaceRequest::new(&empty.id));
    assert_eq!(code(delete), ErrorCode::ResourceInUse);
}

#[test]
fn a_parent_that_goes_in_between_is_missed() {
    let meeting = Meeting::new();
    let remove = |rival: &Engine, service: &Service| {
        rival.api.deregister_instance(deregister(service)).unwrap();
        rival.api.delete_service(DeleteServiceRequest::new(&service.id)).unwrap();
    };
    // A service that comes back under its id is another one: it is looked at again before it takes the instance.
    let (service, namespace) = (Arc::clone(&meeting.service), Arc::clone(&meeting.namespace));
    meeting.in_between(move |rival| {
        remove(rival, &service);
        let request = CreateServiceRequest::new("web").with_namespace_id(&namespace.id);
        rival.service(request.with_health_check_custom_config(custom_check()));
        rival.register(&service, "i-1", &[]);
    });
    meeting.register("i-2").unwrap();
    let found = meeting.engine.api.discover_instances(DiscoverInstancesRequest::new("app", "web")).unwrap();
    assert!(found.instances.iter().all(|instance| instance.health == HealthStatus::Healthy), "{found:?}");
    meeting
        .engine
        .api
        .deregister_instance(DeregisterInstanceRequest::new(&meeting.service.id, "i-2"))
        .unwrap();

    let service = Arc::clone(&meeting.service);
    meeting.in_between(move |rival| remove(rival, &service));
    assert_eq!(code(meeting.register("i-2")), ErrorCode::ServiceNotFound);
    let namespace = Arc::clone(&meeting.namespace);
    meeting.in_between(move |rival| {
        rival.api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id)).unwrap();
    });
    assert_eq!(code(meeting.create_service("late")), ErrorCode::NamespaceNotFound);
}

#[test]
fn what_goes_in_between_cannot_be_deleted_again() {
    let meeting = Meeting::new();
    meeting.deregister().unwrap();
    let (service, namespace) = (meeting.service.id.clone(), meeting.namespace.id.clone());
    let delete_service =
        move |engine: &Engine| engine.api.delete_service(DeleteServiceRequest::new(service.as_str()));
    let delete_namespace =
        move |engine: &Engine| engine.api.delete_namespace(DeleteNamespaceRequest::new(namespace.as_str()));
    let rival = delete_service.clone();
    meeting.in_between(move |engine| rival(engine).unwrap());
    assert_eq!(code(delete_service(&meeting.engine)), ErrorCode::ServiceNotFound);
    let rival = delete_namespace.clone();
    meeting.in_between(move |engine| drop(rival(engine).unwrap()));
    assert_eq!(code(delete_namespace(&meeting.engine)), ErrorCode::NamespaceNotFound);
}

#[test]
fn every_write_says_what_it_relies_on() {
    let meeting = Meeting::new();
    let namespace = meeting.rival.http("other").id.clone();
    let service = meeting.service.id.clone();
    let delete_service = || meeting.engine.api.delete_service(DeleteServiceRequest::new(service.as_str()));
    let delete_namespace =
        || meeting.engine.api.delete_namespace(DeleteNamespaceRequest::new(namespace.as_str()));
    let zone = meeting.rival.private("zone.local").id.clone();
    let in_zone = dns_service(&meeting.rival.private("other.local"), "web", dns(&[A]));
    let in_zone = meeting.rival.service(in_zone).id.clone();
    let update_namespace = || {
        let request = UpdatePrivateDnsNamespaceRequest::new(zone.as_str());
        meeting.engine.api.update_private_dns_namespace(request.with_namespace(DnsNamespaceChange::default()))
    };
    let update_service = || {
        let request = UpdateServiceRequest::new(in_zone.as_str()).with_service(ServiceChange::default());
        meeting.engine.api.update_service(request)
    };
    let public =
        || meeting.engine.api.create_public_dns_namespace(CreatePublicDnsNamespaceRequest::new("a.b"));
    let (api, other) = (&meeting.engine.api, meeting.engine.namespace(namespace.as_str()).arn());
    let tag =
        |arn: &Arn| api.tag_resource(TagResourceRequest::new(arn.as_str()).with_tags([Tag::new("a", "b")]));
    let untag = |arn: &Arn| {
        api.untag_resource(UntagResourceRequest::new(arn.as_str()).with_tag_keys(["a".to_owned()]))
    };
    let update = || UpdateServiceAttributesRequest::new(service.as_str()).with_attribute("a", "b");
    let delete = || DeleteServiceAttributesRequest::new(service.as_str()).with_attributes(["a".to_owned()]);
    let web = meeting.service.arn();
    let register_new = || {
        meeting.register("i-2").unwrap();
        let request = DeregisterInstanceRequest::new(&meeting.service.id, "i-2");
        meeting.rival.api.deregister_instance(request).unwrap();
    };
    let writes: [(&dyn Fn(), &[&str]); 17] = [
        (&|| tag(&other).unwrap(), &["At(Namespace"]),
        (&|| tag(&web).unwrap(), &["At(Service"]),
        (&|| untag(&web).unwrap(), &["At(Service"]),
        (&|| api.update_service_attributes(update()).unwrap(), &["At(Service"]),
        (&|| api.delete_service_attributes(delete()).unwrap(), &["At(Service"]),
        (
            &|| drop(meeting.create_http("new").unwrap()),
            &["Free(HttpName", "Free(HttpNamespace", "Free(Id", "Free(NamespaceInCreation"],
        ),
        // Its HttpName has a hash as long as the HTTP namespace has the plain name.
        (
            &|| drop(meeting.create_private("new").unwrap()),
            &["Free(HttpName", "Free(Id", "Free(NamespaceInCreation", "Free(Zone", "Live(Namespace"],
        ),
        // One that is going to fail.
        (&|| drop(meeting.create_private("new").unwrap()), &["Free(NamespaceInCreation", "Live(Namespace"]),
        (&|| drop(public().unwrap()), &["Free(HttpName", "Free(Id", "Free(NamespaceInCreation"]),
        (&|| drop(update_namespace().unwrap()), &["At(Namespace", "Free(Target"]),
        (&|| drop(update_service().unwrap()), &["At(Service", "Free(Target"]),
        (
            &|| drop(meeting.create_service("new").unwrap()),
            &["Free(Id", "Free(ServiceName", "Free(Target", "Live(Namespace"],
        ),
        (&|| drop(meeting.register("i-1").unwrap()), &["At(Instance", "At(Service", "Free(Target"]),
        (&|| register_new(), &["At(Service", "Free(Id", "Free(Target"]),
        (&|| drop(meeting.deregister().unwrap()), &["Free(Target", "Live(Instance"]),
        (&|| delete_service().unwrap(), &["Childless(Service", "Live(Service"]),
        (&|| drop(delete_namespace().unwrap()), &["Childless(Namespace", "Free(Target", "Live(Namespace"]),
    ];
    for (write, expected) in writes {
        let kinds = meeting.relied_on();
        write();
        assert_eq!(*kinds.lock().unwrap(), expected);
    }
}

#[test]
fn two_who_tag_at_once_are_both_heard() {
    let meeting = Meeting::new();
    for arn in [meeting.namespace.arn(), meeting.service.arn()] {
        let tag = move |engine: &Engine, arn: &Arn, key: &str| {
            let request = TagResourceRequest::new(arn.as_str()).with_tags([Tag::new(key, "v")]);
            engine.api.tag_resource(request).unwrap();
        };
        let rivals = arn.clone();
        meeting.in_between(move |rival| tag(rival, &rivals, "rival"));
        tag(&meeting.engine, &arn, "mine");
        let tags = || {
            let list = ListTagsForResourceRequest::new(arn.as_str());
            let tags = meeting.engine.api.list_tags_for_resource(&list).unwrap();
            tags.iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(tags(), ["mine", "rival"]);
        let rivals = arn.clone();
        meeting.in_between(move |rival| tag(rival, &rivals, "late"));
        let untag = UntagResourceRequest::new(arn.as_str()).with_tag_keys(["mine".to_owned()]);
        meeting.engine.api.untag_resource(untag).unwrap();
        assert_eq!(tags(), ["late", "rival"]);
    }
}

#[test]
fn two_who_change_a_service_at_once_are_both_heard() {
    let meeting = Meeting::new();
    let (id, arn) = (meeting.service.id.to_string(), meeting.service.arn());
    let update = |id: &str, key: &str| UpdateServiceAttributesRequest::new(id).with_attribute(key, "v");
    let rivals = id.clone();
    meeting.in_between(move |rival| {
        rival.api.update_service_attributes(update(&rivals, "rival")).unwrap();
        let tag = TagResourceRequest::new(arn.as_str()).with_tags([Tag::new("rival", "v")]);
        rival.api.tag_resource(tag).unwrap();
    });
    meeting.engine.api.update_service_attributes(update(&id, "mine")).unwrap();
    let get = GetServiceAttributesRequest::new(&id);
    let found = meeting.engine.api.get_service_attributes(&get).unwrap().attributes;
    assert_eq!(found.iter().collect::<Vec<_>>(), [("mine", "v"), ("rival", "v")]);
    let list = ListTagsForResourceRequest::new(meeting.service.arn().as_str());
    assert_eq!(meeting.engine.api.list_tags_for_resource(&list).unwrap().get("rival"), Some("v"));

    // The limit counts what the other has added.
    let rivals = id.clone();
    meeting.in_between(move |rival| {
        let request = UpdateServiceAttributesRequest::new(&rivals);
        let fill = (0..28).fold(request, |request, i| request.with_attribute(format!("k{i}"), "v"));
        rival.api.update_service_attributes(fill).unwrap();
    });
    let late = meeting.engine.api.update_service_attributes(update(&id, "late"));
    assert_eq!(code(late), ErrorCode::ServiceAttributesLimitExceededException);
}

#[test]
fn registrations_do_not_conflict_with_tags_of_their_service() {
    let meeting = Meeting::new();
    let service = Arc::clone(&meeting.service);
    meeting.in_between(move |rival| rival.register(&service, "i-2", &[]));
    let request = TagResourceRequest::new(meeting.service.arn().as_str()).with_tags([Tag::new("a", "b")]);
    meeting.engine.api.tag_resource(request).unwrap();
    assert_eq!(meeting.shared.commits(), 2, "one each");
    assert!(meeting.has("i-2"));
}

#[test]
fn what_is_deleted_in_between_cannot_be_tagged() {
    let meeting = Meeting::new();
    meeting.deregister().unwrap();
    let (service, arn) = (meeting.service.id.clone(), meeting.service.arn());
    meeting.in_between(move |rival| {
        rival.api.delete_service(DeleteServiceRequest::new(service.as_str())).unwrap();
    });
    let request = TagResourceRequest::new(arn.as_str()).with_tags([Tag::new("a", "b")]);
    assert_eq!(code(meeting.engine.api.tag_resource(request)), ErrorCode::ResourceNotFoundException);
}

#[test]
fn two_http_namespaces_of_a_name_never_meet() {
    // The plain HttpName is taken, so that each of the two would get a hash of its own.
    let meeting = Meeting::new();
    meeting.rival.private("taken");
    meeting.in_between(|rival| drop(rival.http("taken")));
    let create = meeting.create_http("taken");
    assert_eq!(code(create), ErrorCode::NamespaceAlreadyExists);
}

#[test]
fn one_token_sent_twice_at_once_creates_one_public_namespace() {
    let meeting = Meeting::new();
    // The plain HttpName is taken, so that each of the two would get a hash of its own.
    meeting.rival.http("taken.example");
    let request = CreatePublicDnsNamespaceRequest::new("taken.example").with_creator_request_id("token");
    let (again, started) = (request.clone(), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&started);
    meeting.in_between(move |rival| {
        *told.lock().unwrap() = Some(rival.api.create_public_dns_namespace(again).unwrap());
    });
    let second = meeting.engine.api.create_public_dns_namespace(request.clone()).unwrap();
    assert_eq!(started.lock().unwrap().take().map(|first| first.operation_id), Some(second.operation_id));
    // The token says nothing about a request with other members, which creates a namespace of its own.
    let other = request.with_description("another");
    meeting.engine.api.create_public_dns_namespace(other.clone()).unwrap();
    let state = meeting.shared.cell().load();
    let names = state.scope(&Scope::default()).namespaces().map(|entry| entry.namespace().name.to_string());
    assert_eq!(names.filter(|name| name == "taken.example").count(), 3);
}

#[test]
fn a_deletion_without_an_answer_spares_the_successor() {
    let meeting = Meeting::new();
    meeting.deregister().unwrap();
    let namespace = meeting.namespace.id.clone();
    let rival = Arc::clone(&meeting.rival);
    // The deletion is stored and its answer lost. Then the service is created again under the same id.
    meeting.shared.then(move |shared, changes| {
        shared.store(changes)?;
        let request = CreateServiceRequest::new("web").with_namespace_id(namespace.as_str());
        rival.service(request);
        Err(CommitError::Ambiguous)
    });
    let request = DeleteServiceRequest::new(&meeting.service.id);
    meeting.engine.api.delete_service(request).unwrap();
    let state = meeting.shared.cell().load();
    let successor = state.scope(&Scope::default()).service(meeting.service.id.as_str()).unwrap();
    assert_ne!(successor.service().incarnation, meeting.service.incarnation);
}

#[test]
fn a_service_that_was_renamed_in_the_store_frees_its_name() {
    let meeting = Meeting::new();
    meeting.deregister().unwrap();
    let mut renamed = Service::clone(&meeting.service);
    renamed.name = ServiceName::parse("renamed").unwrap();
    let mut set = ChangeSet::new(Scope::default(), Timestamp::from_millis(1));
    set.changes = vec![Change::PutService(Arc::new(renamed))];
    meeting.shared.store(set).unwrap();
    let count = || {
        let request = GetNamespaceRequest::new(&meeting.namespace.id);
        meeting.engine.api.get_namespace(&request).unwrap().service_count
    };
    assert_eq!(count(), 1);
    // The id that follows from the old name is still the renamed service's.
    let created = meeting.create_service("web").unwrap().service;
    assert_ne!(created.id, meeting.service.id);
    assert_eq!(code(meeting.create_service("renamed")), ErrorCode::ServiceAlreadyExists);
    for id in [&meeting.service.id, &created.id] {
        meeting.engine.api.delete_service(DeleteServiceRequest::new(id.as_str())).unwrap();
    }
    assert_eq!(count(), 0);
    let delete = DeleteNamespaceRequest::new(&meeting.namespace.id);
    meeting.engine.api.delete_namespace(delete).unwrap();
}

#[test]
fn a_zone_is_relied_on_in_one_form() {
    let shared = Shared::default();
    let engine = Engine::over(shared.clone(), Mode::Lenient);
    shared.then(|shared, changes| {
        let zone = changes.preconditions.iter().find_map(|precondition| match precondition {
            Precondition::Free(UniqueKey::Zone(_, name)) => Some(name.to_string()),
            _ => None,
        });
        assert_eq!(zone.as_deref(), Some("app.local"));
        shared.store(changes)
    });
    assert_eq!(engine.private("App.Local.").name.as_str(), "App.Local.");
}

#[test]
fn registrations_into_one_service_do_not_conflict() {
    let meeting = Meeting::new();
    // Only the registration of the same instance is planned again.
    for (id, commits) in [("other", 2), ("same", 3)] {
        let service = Arc::clone(&meeting.service);
        meeting.in_between(move |rival| rival.register(&service, id, &[]));
        meeting.register("same").unwrap();
        assert_eq!(meeting.shared.commits(), commits, "{id}");
    }
    assert!(meeting.has("other") && meeting.has("same"));
}

#[test]
fn an_instance_keeps_the_owner_that_registered_it_first() {
    for check in [None, Some(custom_check())] {
        let meeting = Meeting::new();
        let mut request = CreateServiceRequest::new("raced").with_namespace_id(&meeting.namespace.id);
        request.health_check_custom_config = check;
        let service = meeting.rival.service(request);
        let sync = |engine: &Engine, service: &Service, owner: &str, version: &str| {
            let desired = DesiredInstance::new("task-1").with_attribute("version", version);
            engine.api.sync_service_instances(service.id.as_str(), owner, [desired]).unwrap()
        };
        let raced = Arc::clone(&service);
        meeting.in_between(move |rival| assert_eq!(sync(rival, &raced, "ecs", "1").registered.len(), 1));
        meeting.engine.api.register_instance(registration(&service, "task-1", &[("version", "2")])).unwrap();
        // The owner brings its instance back to what it wants.
        let synced = sync(&meeting.engine, &service, "ecs", "1");
        assert!(synced.registered.len() == 1 && synced.refused.is_empty(), "{synced:?}");

        // Of two owners that meet, the second is refused.
        let raced = Arc::clone(&service);
        meeting.engine.api.sync_service_instances(service.id.as_str(), "ecs", []).unwrap();
        meeting.in_between(move |rival| drop(sync(rival, &raced, "ecs", "1")));
        let synced = sync(&meeting.engine, &service, "nomad", "1");
        assert!(synced.registered.is_empty() && synced.refused.len() == 1, "{synced:?}");
        assert!(sync(&meeting.engine, &service, "ecs", "1").refused.is_empty());
    }
}

#[test]
fn one_token_sent_twice_at_once_starts_one_registration() {
    let meeting = Meeting::new();
    // The first registration of an id, and one of an instance that exists.
    for version in ["1", "2"] {
        let request = registration(&meeting.service, "i-2", &[("version", version)])
            .with_creator_request_id(format!("token-{version}"));
        let (again, started) = (request.clone(), Arc::new(Mutex::new(None)));
        let told = Arc::clone(&started);
        meeting.in_between(move |rival| {
            *told.lock().unwrap() = Some(rival.api.register_instance(again).unwrap());
        });
        let second = meeting.engine.api.register_instance(request).unwrap();
        assert_eq!(started.lock().unwrap().take().map(|first| first.operation_id), Some(second.operation_id));
    }
}

#[test]
fn a_registration_loses_no_report_of_a_registration_in_between() {
    let meeting = Meeting::new();
    let request = CreateServiceRequest::new("checked")
        .with_namespace_id(&meeting.namespace.id)
        .with_health_check_custom_config(custom_check());
    let service = meeting.rival.service(request);
    // The registration is the first of its id; then it says where health begins, which the one in between says as well.
    for initial in [None, Some(("AWS_INIT_HEALTH_STATUS", "HEALTHY"))] {
        let attributes: Vec<_> = initial.into_iter().collect();
        let (of, given) = (Arc::clone(&service), attributes.clone());
        meeting.in_between(move |rival| {
            rival.register(&of, "i-1", &given);
            let report = UpdateInstanceCustomHealthStatusRequest::new(&of.id, "i-1", "UNHEALTHY");
            rival.api.update_instance_custom_health_status(report).unwrap();
        });
        meeting.engine.api.register_instance(registration(&service, "i-1", &attributes)).unwrap();
        let all = DiscoverInstancesRequest::new("app", "checked").with_health_status("ALL");
        let found = meeting.engine.api.discover_instances(&all).unwrap();
        assert_eq!(found.instances[0].health, HealthStatus::Unhealthy, "{initial:?}");
    }
}

#[test]
fn an_instance_that_goes_in_between_comes_back_as_a_new_one() {
    let meeting = Meeting::new();
    meeting.rival.register(&meeting.service, "i-2", &[]);
    let service = Arc::clone(&meeting.service);
    meeting.in_between(move |rival| drop(rival.api.deregister_instance(deregister(&service)).unwrap()));
    meeting.register("i-1").unwrap();
    let listed = ListInstancesRequest::new(&meeting.service.id);
    let listed = meeting.engine.api.list_instances(&listed).unwrap().items;
    assert_eq!(listed.iter().map(|found| found.id.as_str()).collect::<Vec<_>>(), ["i-2", "i-1"]);
}

#[test]
fn an_update_and_a_registration_that_meet_agree_on_health() {
    let meeting = Meeting::new();
    let namespace = meeting.rival.public("example.com");
    let service = meeting.rival.dns_service(&namespace, "web", &[A]);
    let id = service.id.clone();
    let update = move |engine: &Engine| {
        let change = ServiceChange::default()
            .with_dns_config(DnsConfigChange::new([(A, 60)]))
            .with_health_check_config(route53_check("HTTP", None, None));
        let request = UpdateServiceRequest::new(id.as_str()).with_service(change);
        drop(engine.api.update_service(request).unwrap());
    };
    let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("AWS_INSTANCE_PORT", "80")];
    // Neither of the two is planned again.
    meeting.shared.commits();
    let registered = Arc::clone(&service);
    meeting.in_between(move |rival| rival.register(&registered, "i-1", &attributes));
    update(&meeting.engine);
    assert_eq!(meeting.shared.commits(), 2);
    let plain = meeting.rival.dns_service(&namespace, "plain", &[A]);
    let id = plain.id.clone();
    meeting.in_between(move |rival| {
        let change = ServiceChange::default()
            .with_dns_config(DnsConfigChange::new([(A, 60)]))
            .with_health_check_config(route53_check("TCP", None, None));
        rival.api.update_service(UpdateServiceRequest::new(id.as_str()).with_service(change)).unwrap();
    });
    meeting.engine.register(&plain, "i-1", &attributes);
    for service in ["web", "plain"] {
        let request = DiscoverInstancesRequest::new("example.com", service);
        let found = meeting.engine.api.discover_instances(&request).unwrap();
        assert_eq!(found.instances[0].health, HealthStatus::Healthy, "{service}");
    }
}

#[test]
fn of_two_updates_that_meet_none_is_lost() {
    let meeting = Meeting::new();
    let zone = meeting.rival.private("app.local");
    let id = zone.id.clone();
    let update = move |engine: &Engine, change: DnsNamespaceChange| {
        let request = UpdatePrivateDnsNamespaceRequest::new(id.as_str()).with_namespace(change);
        drop(engine.api.update_private_dns_namespace(request).unwrap());
    };
    let other = update.clone();
    meeting.in_between(move |rival| other(rival, DnsNamespaceChange::default().with_soa_ttl(1)));
    update(&meeting.engine, DnsNamespaceChange::default().with_description("new"));
    let found = meeting.engine.api.get_namespace(GetNamespaceRequest::new(&zone.id)).unwrap().namespace;
    assert_eq!((found.hosted_zone().unwrap().soa_ttl, found.description.as_deref()), (1, Some("new")));
}

#[test]
fn threads_that_register_into_one_service_never_plan_twice() {
    let meeting = Meeting::new();
    std::thread::scope(|threads| {
        for thread in 0..2 {
            let meeting = &meeting;
            threads.spawn(move || {
                (0..200).for_each(|i| drop(meeting.register(&format!("{thread}-{i}")).unwrap()));
            });
        }
    });
    assert_eq!(meeting.shared.commits(), 400);
    assert_eq!(meeting.operations(), 402);
    let state = meeting.shared.cell().load();
    let entry = state.scope(&Scope::default()).service(meeting.service.id.as_str()).unwrap();
    assert_eq!((entry.instances().len(), entry.instances().healthy_len()), (401, 401));
}

#[test]
fn of_racing_creates_one_succeeds_and_the_other_learns_of_it() {
    let meeting = Meeting::new();
    for round in 0..50 {
        let name = format!("web-{round}");
        let start = Barrier::new(2);
        let create = || {
            start.wait();
            meeting.create_service(&name)
        };
        let results = std::thread::scope(|threads| {
            let threads = [threads.spawn(create), threads.spawn(create)];
            threads.map(|thread| thread.join().unwrap())
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        let (winner, loser) =
            (won.into_iter().next().unwrap().unwrap(), lost.into_iter().next().unwrap().unwrap_err());
        let Error::ServiceAlreadyExists { service_id, .. } = loser else { panic!("{loser:?}") };
        assert_eq!(service_id, winner.service.id);
    }
}
