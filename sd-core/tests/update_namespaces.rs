//! Updating namespaces.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::sync::Arc;

use common::{Engine, code, dns, dns_service, invalid, one_violation, ruled};
use sd_core::{
    Action, Error, ErrorCode, Timing,
    dns::{Answer, View},
    model::{DnsName, Namespace, OperationStatus, OperationType, RecordType::A},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
        CreateServiceRequest, DeleteNamespaceRequest, DnsNamespaceChange, DnsNamespaceProperties,
        GetNamespaceRequest, HttpNamespaceChange, ListNamespacesRequest, UpdateHttpNamespaceRequest as Http,
        UpdatePrivateDnsNamespaceRequest as Private, UpdatePublicDnsNamespaceRequest as Public,
    },
    response::OperationStarted,
};

fn change() -> DnsNamespaceChange {
    DnsNamespaceChange::default()
}

fn http(id: &str, description: &str) -> Http {
    Http::new(id).with_namespace(HttpNamespaceChange::new(description))
}

fn private(id: &str, description: &str) -> Private {
    Private::new(id).with_namespace(change().with_description(description))
}

fn found(engine: &Engine, namespace: &Namespace) -> Arc<Namespace> {
    engine.api.get_namespace(GetNamespaceRequest::new(&namespace.id)).unwrap().namespace
}

fn description(engine: &Engine, namespace: &Namespace) -> Option<String> {
    found(engine, namespace).description.as_deref().map(str::to_owned)
}

/// Whether two versions of a namespace differ only in the description and the record of the update.
fn is_otherwise_the_same(before: &Namespace, after: &Namespace) -> bool {
    let mut after = after.clone();
    after.updater_request_id.clone_from(&before.updater_request_id);
    after.updated_by.clone_from(&before.updated_by);
    after.description.clone_from(&before.description);
    after == *before
}

#[test]
fn an_update_changes_only_the_given_members() {
    let engine = Engine::new();
    let (api, ok) = (&engine.api, |started: OperationStarted| {
        let operation = engine.operation(started.operation_id.as_str());
        assert_eq!(
            (operation.kind, operation.status),
            (OperationType::UpdateNamespace, OperationStatus::Success)
        );
        operation.targets.iter().map(|(kind, id)| format!("{kind}={id}")).collect::<Vec<_>>()
    });
    let plain = engine.http("app");
    let started = api.update_http_namespace(http(plain.id.as_str(), "new")).unwrap();
    assert_eq!(ok(started), [format!("NAMESPACE={}", plain.id)]);
    let after = found(&engine, &plain);
    assert_eq!(after.description.as_deref(), Some("new"));
    assert!(is_otherwise_the_same(&plain, &after));
    // The ARN names the namespace too, and an empty description clears it.
    ok(api.update_http_namespace(http(plain.arn().as_str(), "")).unwrap());
    assert_eq!(description(&engine, &plain), None);

    let zone = engine.private("app.local");
    let public = engine.public("example.com");
    let id = zone.id.as_str();
    ok(api.update_private_dns_namespace(private(id, "new")).unwrap());
    ok(api.update_private_dns_namespace(Private::new(id).with_namespace(change().with_soa_ttl(7))).unwrap());
    let settings = |namespace: &Namespace| {
        let after = found(&engine, namespace);
        (after.description.as_deref().map(str::to_owned), after.hosted_zone().unwrap().soa_ttl)
    };
    assert_eq!(settings(&zone), (Some("new".into()), 7));
    assert_eq!(found(&engine, &zone).hosted_zone().unwrap().id, zone.hosted_zone().unwrap().id);
    let both = change().with_description("").with_soa_ttl(0);
    ok(api.update_private_dns_namespace(Private::new(id).with_namespace(both)).unwrap());
    assert_eq!(settings(&zone), (None, 0));
    ok(api.update_private_dns_namespace(Private::new(id).with_namespace(change())).unwrap());
    assert_eq!(settings(&zone), (None, 0), "nothing given, nothing changed");
    let both = change().with_description("new").with_soa_ttl(2_147_483_647);
    ok(api.update_public_dns_namespace(Public::new(public.id.as_str()).with_namespace(both)).unwrap());
    assert_eq!(settings(&public), (Some("new".into()), 2_147_483_647));
}

#[test]
fn the_zone_answers_with_the_new_soa_ttl() {
    let engine = Engine::new();
    let zone = engine.private("app.local");
    let name = DnsName::parse("none.app.local").unwrap();
    let ttl = || match engine.cloud_map.cloud_map().resolve(&View::default(), &name, A) {
        Answer::NxDomain { soa_ttl, .. } => soa_ttl,
        other => panic!("{other:?}"),
    };
    assert_eq!(ttl(), 15);
    let request = Private::new(zone.id.as_str()).with_namespace(change().with_soa_ttl(3));
    engine.api.update_private_dns_namespace(request).unwrap();
    assert_eq!(ttl(), 3);
}

#[test]
fn an_update_for_another_type_of_namespace_is_refused() {
    let engine = Engine::new();
    let (plain, zone, public) = (engine.http("app"), engine.private("app.local"), engine.public("a.b"));
    for other in [&zone, &public] {
        let refused = engine.api.update_http_namespace(http(other.id.as_str(), "new"));
        assert_eq!(ruled(refused), "id");
    }
    for other in [&plain, &public] {
        assert_eq!(ruled(engine.api.update_private_dns_namespace(private(other.id.as_str(), "new"))), "id");
    }
    let request = Public::new(zone.id.as_str()).with_namespace(change());
    assert_eq!(
        invalid(engine.api.update_public_dns_namespace(request)),
        format!(
            "UpdatePublicDnsNamespace updates namespaces of type DNS_PUBLIC, and {} is one of type DNS_PRIVATE.",
            zone.id
        )
    );
    for namespace in [&plain, &zone, &public] {
        assert_eq!(found(&engine, namespace), *namespace);
    }
    let gone = engine.api.update_http_namespace(http("ns-none", "new"));
    assert_eq!(code(gone), ErrorCode::NamespaceNotFound);
    let elsewhere = plain.arn().to_string().replace("us-east-1", "eu-west-1");
    assert_eq!(code(engine.api.update_http_namespace(http(&elsewhere, "new"))), ErrorCode::NamespaceNotFound);
}

#[test]
fn members_of_an_update_are_checked() {
    let engine = Engine::new();
    let id = engine.http("app").id.clone();
    let http = |request: Http| invalid(engine.api.update_http_namespace(request));
    let null = |member| one_violation(member, None, "not be null");
    assert_eq!(http(Http::new(id.as_str())), null("namespace"));
    let empty = HttpNamespaceChange::default();
    assert_eq!(http(Http::new(id.as_str()).with_namespace(empty.clone())), null("namespace.description"));
    let mut nothing = Http::default().with_namespace(empty).with_updater_request_id("t".repeat(65));
    let text = http(nothing.clone());
    for (member, must) in [
        ("id", "Member must not be null"),
        ("updaterRequestId", "Member must have length less than or equal to 64"),
        ("namespace.description", "Member must not be null"),
    ] {
        assert!(text.contains(&format!("at '{member}' failed to satisfy constraint: {must}")), "{text}");
    }
    nothing = Http::new("n".repeat(256)).with_namespace(HttpNamespaceChange::new("d".repeat(1025)));
    let text = http(nothing);
    assert!(text.starts_with("2 validation errors") && text.contains("at 'namespace.description'"), "{text}");

    let zone = engine.private("app.local").id.clone();
    let refused = |properties: Option<DnsNamespaceProperties>, description: Option<String>| {
        let mut change = change();
        (change.properties, change.description) = (properties, description);
        let request = Private::new(zone.as_str()).with_namespace(change.clone());
        let private = invalid(engine.api.update_private_dns_namespace(request));
        let request = Public::new(zone.as_str()).with_namespace(change);
        assert_eq!(invalid(engine.api.update_public_dns_namespace(request)), private);
        private
    };
    let ttl = |ttl: Option<i64>| {
        let mut properties = DnsNamespaceProperties::soa_ttl(1);
        properties.dns_properties.as_mut().unwrap().soa.as_mut().unwrap().ttl = ttl;
        Some(properties)
    };
    let mut no_soa = DnsNamespaceProperties::soa_ttl(1);
    no_soa.dns_properties.as_mut().unwrap().soa = None;
    const DNS: &str = "namespace.properties.dnsProperties";
    const TTL: &str = "namespace.properties.dnsProperties.sOA.tTL";
    assert_eq!(refused(Some(DnsNamespaceProperties::default()), None), null(DNS));
    assert_eq!(refused(Some(no_soa), None), null("namespace.properties.dnsProperties.sOA"));
    assert_eq!(refused(ttl(None), None), null(TTL));
    let least = one_violation(TTL, Some("-1"), "have value greater than or equal to 0");
    assert_eq!(refused(ttl(Some(-1)), None), least);
    let most = one_violation(TTL, Some("2147483648"), "have value less than or equal to 2147483647");
    assert_eq!(refused(ttl(Some(2_147_483_648)), None), most);
    let long = refused(None, Some("d".repeat(1025)));
    assert!(long.ends_with("Member must have length less than or equal to 1024"), "{long}");
    let missing = engine.api.update_private_dns_namespace(Private::new(zone.as_str()));
    assert_eq!(invalid(missing), null("namespace"));
}

#[test]
fn a_replayed_update_gets_the_first_operation() {
    for timing in [Timing::instant(), Timing::aws()] {
        let engine = Engine::timed(timing);
        let pass = || engine.clock.advance(timing.operation());
        let created = engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
        pass();
        let namespace = &engine.namespace(created.namespace_id.as_str());
        let request = || http(namespace.id.as_str(), "new").with_updater_request_id("token");
        let update = |request: Http| engine.api.update_http_namespace(request).unwrap();
        let first = update(request());
        assert_eq!(update(request()), first);
        pass();
        assert_eq!(update(request()), first);
        assert_eq!(description(&engine, namespace).as_deref(), Some("new"));
        // The same token with other members is another request, and so is a request without a token.
        let other = http(namespace.id.as_str(), "other").with_updater_request_id("token");
        assert_ne!(update(other), first);
        pass();
        assert_eq!(description(&engine, namespace).as_deref(), Some("other"));
        let without = update(http(namespace.id.as_str(), "other"));
        pass();
        assert_ne!(update(http(namespace.id.as_str(), "other")), without);
    }
}

#[test]
fn a_creation_replayed_after_an_update_creates_nothing() {
    let engine = Engine::new();
    let api = &engine.api;
    let request = CreatePublicDnsNamespaceRequest::new("example.com").with_creator_request_id("token");
    let first = api.create_public_dns_namespace(request.clone()).unwrap();
    let namespaces = || api.list_namespaces(ListNamespacesRequest::new()).unwrap().items;
    let both = change().with_description("new").with_soa_ttl(1);
    let id = namespaces()[0].namespace.id.clone();
    api.update_public_dns_namespace(Public::new(id.as_str()).with_namespace(both)).unwrap();
    assert_eq!(api.create_public_dns_namespace(request).unwrap(), first);
    assert_eq!(namespaces().len(), 1);
}

#[test]
fn one_operation_at_a_time_changes_a_namespace() {
    let engine = Engine::timed(Timing::aws());
    let pass = || engine.clock.advance(Timing::aws().operation());
    let create = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    let created = engine.api.create_private_dns_namespace(create).unwrap().operation_id;
    let operation = engine.operation(created.as_str());
    let id = operation.targets.iter().next().unwrap().1;
    // The namespace does not exist before its creation has ended.
    let early = engine.api.update_private_dns_namespace(private(id, "early"));
    assert_eq!(code(early), ErrorCode::NamespaceNotFound);
    pass();
    let before = engine.api.get_namespace(GetNamespaceRequest::new(id)).unwrap().namespace;
    let first = engine.api.update_private_dns_namespace(private(id, "new")).unwrap().operation_id;
    let pending = engine.operation(first.as_str());
    assert_eq!((pending.kind, pending.status), (OperationType::UpdateNamespace, OperationStatus::Submitted));
    assert_eq!(found(&engine, &before), before, "not before its operation has succeeded");
    let expected =
        format!("Another operation of type UpdatePrivateDnsNamespace and id {first} is in progress");
    let delete = || engine.api.delete_namespace(DeleteNamespaceRequest::new(id));
    for second in [engine.api.update_private_dns_namespace(private(id, "other")), delete()] {
        let error = second.unwrap_err();
        assert_eq!(error.to_string(), expected);
        let Error::DuplicateRequest { action, duplicate_operation_id } = error else { panic!("{error:?}") };
        assert_eq!((action, duplicate_operation_id), (Action::UpdatePrivateDnsNamespace, first.clone()));
    }
    pass();
    assert_eq!(engine.operation(first.as_str()).status, OperationStatus::Success);
    assert_eq!(description(&engine, &before).as_deref(), Some("new"));
    delete().unwrap();
    let late = engine.api.update_private_dns_namespace(private(id, "late")).unwrap_err();
    assert!(matches!(late, Error::DuplicateRequest { action: Action::DeleteNamespace, .. }), "{late:?}");
}

#[test]
fn services_can_be_created_and_deleted_while_a_namespace_is_updated() {
    let engine = Engine::timed(Timing::aws());
    let pass = || engine.clock.advance(Timing::aws().operation());
    let create = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    let created = engine.api.create_private_dns_namespace(create).unwrap();
    pass();
    let namespace = engine.namespace(created.namespace_id.as_str());
    engine.api.update_private_dns_namespace(private(namespace.id.as_str(), "new")).unwrap();
    engine.api.create_service(dns_service(&namespace, "web", dns(&[A]))).unwrap();
    pass();
    let after = engine.api.get_namespace(GetNamespaceRequest::new(&namespace.id)).unwrap();
    assert_eq!((after.service_count, after.namespace.description.as_deref()), (1, Some("new")));
    // A namespace that is being deleted accepts no new services.
    let empty = CreateHttpNamespaceRequest::new("empty");
    let operation = engine.api.create_http_namespace(empty).unwrap().operation_id;
    pass();
    let operation = engine.operation(operation.as_str());
    let id = operation.targets.iter().next().unwrap().1;
    engine.api.delete_namespace(DeleteNamespaceRequest::new(id)).unwrap();
    let late = engine.api.create_service(CreateServiceRequest::new("late").with_namespace_id(id));
    assert_eq!(code(late), ErrorCode::NamespaceNotFound);
}
