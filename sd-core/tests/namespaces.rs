//! Creating, describing, listing and deleting namespaces.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{Engine, code, dns_service, invalid, one_violation};
use sd_core::{
    Clock, Error, ErrorCode, Scope,
    model::{CreatorRequestId, HostedZone, NamespaceKind, OperationStatus, OperationType, RecordType},
    request::{
        CreateHttpNamespaceRequest as Http, CreatePrivateDnsNamespaceRequest as Private,
        CreateServiceRequest, DeleteNamespaceRequest, DiscoverInstancesRequest, DnsNamespaceProperties,
        GetNamespaceRequest, ListNamespacesRequest, Tag,
    },
};

/// The text with which a request to create an HTTP namespace is refused; empty if it is accepted.
fn http(request: Http) -> String {
    let result = Engine::new().api.create_http_namespace(request);
    if result.is_ok() { String::new() } else { invalid(result) }
}

/// The text with which a request to create a private namespace is refused; empty if it is accepted.
fn private(request: Private) -> String {
    let result = Engine::new().api.create_private_dns_namespace(request);
    if result.is_ok() { String::new() } else { invalid(result) }
}

fn tags(count: usize) -> Vec<Tag> {
    (0..count).map(|i| Tag::new(format!("key{i}"), "value")).collect()
}

fn listed(engine: &Engine) -> Vec<String> {
    let page = engine.api.list_namespaces(ListNamespacesRequest::new()).unwrap();
    page.items.iter().map(|item| item.namespace.name.to_string()).collect()
}

#[test]
fn a_namespace_exists_when_its_operation_has_ended() {
    let engine = Engine::new();
    let now = engine.clock.now();
    let request = Http::new("app").with_description("all apps").with_creator_request_id("token");
    let started = engine.api.create_http_namespace(request.with_tags(tags(1))).unwrap();
    let operation = engine.operation(started.operation_id.as_str());
    assert_eq!(
        (operation.kind, operation.status),
        (OperationType::CreateNamespace, OperationStatus::Success)
    );
    assert_eq!((operation.created, operation.updated, operation.error.as_ref()), (now, now, None));

    let targets: Vec<_> = operation.targets.iter().collect();
    let [("NAMESPACE", id)] = targets[..] else { panic!("{targets:?}") };
    let found = engine.api.get_namespace(GetNamespaceRequest::new(id)).unwrap();
    let namespace = &found.namespace;
    assert_eq!(
        (namespace.id.as_str(), namespace.name.as_str(), namespace.http_name.as_str()),
        (id, "app", "app")
    );
    assert_eq!((&namespace.kind, namespace.created, found.service_count), (&NamespaceKind::Http, now, 0));
    assert_eq!(namespace.description.as_deref(), Some("all apps"));
    assert_eq!(namespace.creator_request_id.as_ref().map(CreatorRequestId::as_str), Some("token"));
    assert_eq!(namespace.tags.iter().collect::<Vec<_>>(), [("key0", "value")]);
}

#[test]
fn the_soa_ttl_of_a_private_namespace_is_15_by_default() {
    let engine = Engine::new();
    let kind = |namespace: &sd_core::model::Namespace| match namespace.kind.clone() {
        NamespaceKind::DnsPrivate { vpc, zone: HostedZone { id, soa_ttl, .. } } => {
            (vpc.to_string(), id, soa_ttl)
        }
        other => panic!("{other:?}"),
    };
    let default = engine.private_in("app.local", "vpc-9");
    let (vpc, zone, ttl) = kind(&default);
    assert_eq!((vpc.as_str(), zone.as_str().len(), ttl), ("vpc-9", 21, 15));
    let request = Private::new("given.local", "vpc-9").with_properties(DnsNamespaceProperties::soa_ttl(0));
    let started = engine.api.create_private_dns_namespace(request).unwrap();
    let given = engine.namespace(started.namespace_id.as_str());
    assert_eq!(kind(&given).2, 0);
    assert_ne!(kind(&given).1, zone);
}

#[test]
fn members_of_an_http_namespace_are_checked() {
    let name = |n| Http::new("n".repeat(n));
    for accepted in
        [name(1), name(1024), Http::new("!#~"), Http::new("a").with_creator_request_id("t".repeat(64))]
    {
        assert_eq!(http(accepted), "");
    }
    assert_eq!(http(Http::new("a").with_description("é".repeat(1024)).with_tags(tags(50))), "");

    let pattern = "satisfy regular expression pattern: ^(?!arn:)[!-~]{1,1024}$";
    let cases = [
        (Http::default(), one_violation("name", None, "not be null")),
        (Http::new(""), one_violation("name", Some(""), pattern)),
        (Http::new("a b"), one_violation("name", Some("a b"), pattern)),
        (Http::new("arn:x"), one_violation("name", Some("arn:x"), pattern)),
        (Http::new("é"), one_violation("name", Some("é"), pattern)),
    ];
    for (request, expected) in cases {
        assert_eq!(http(request), expected);
    }
    for (request, expected) in [
        (
            name(1025),
            "at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?!arn:)[!-~]{1,1024}$",
        ),
        (
            Http::new("a").with_creator_request_id("t".repeat(65)),
            "at 'creatorRequestId' failed to satisfy constraint: Member must have length less than or equal to 64",
        ),
        (
            Http::new("a").with_description("d".repeat(1025)),
            "at 'description' failed to satisfy constraint: Member must have length less than or equal to 1024",
        ),
    ] {
        assert!(http(request.clone()).ends_with(expected), "{request:?}");
    }
}

#[test]
fn members_of_a_private_namespace_are_checked() {
    let ttl = |ttl: Option<i64>| {
        let mut properties = DnsNamespaceProperties::soa_ttl(1);
        properties.dns_properties.as_mut().unwrap().soa.as_mut().unwrap().ttl = ttl;
        Private::new("a", "v").with_properties(properties)
    };
    let mut no_soa = DnsNamespaceProperties::soa_ttl(1);
    no_soa.dns_properties.as_mut().unwrap().soa = None;
    let no_dns = DnsNamespaceProperties::default();
    for accepted in [Private::new("n".repeat(253), "v".repeat(64)), ttl(Some(0)), ttl(Some(2_147_483_647))] {
        assert_eq!(private(accepted), "");
    }

    const TTL: &str = "properties.dnsProperties.sOA.tTL";
    let mut no_vpc = Private::new("a", "");
    no_vpc.vpc = None;
    let cases = [
        (no_vpc, one_violation("vpc", None, "not be null")),
        (
            Private::new("a b", "v"),
            one_violation("name", Some("a b"), "satisfy regular expression pattern: ^(?!arn:)[!-~]{1,253}$"),
        ),
        (
            Private::new("a", "v".repeat(65)),
            one_violation("vpc", Some(&"v".repeat(65)), "have length less than or equal to 64"),
        ),
        (ttl(None), one_violation(TTL, None, "not be null")),
        (ttl(Some(-1)), one_violation(TTL, Some("-1"), "have value greater than or equal to 0")),
        (
            ttl(Some(2_147_483_648)),
            one_violation(TTL, Some("2147483648"), "have value less than or equal to 2147483647"),
        ),
        (
            Private::new("a", "v").with_properties(no_soa),
            one_violation("properties.dnsProperties.sOA", None, "not be null"),
        ),
        (
            Private::new("a", "v").with_properties(no_dns),
            one_violation("properties.dnsProperties", None, "not be null"),
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(private(request), expected);
    }
    let long = private(Private::new("n".repeat(254), "v"));
    assert!(
        long.starts_with("2 validation errors detected: ") && long.contains("equal to 253; Value"),
        "{long}"
    );
}

#[test]
fn all_violations_are_reported_at_once() {
    let mut request = Private::new("a b", "v").with_tags([Tag::new("k", "v"), Tag::new("", "y")]);
    request.vpc = None;
    assert_eq!(
        private(request),
        "3 validation errors detected: \
         Value 'a b' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: ^(?!arn:)[!-~]{1,253}$; \
         Value null at 'vpc' failed to satisfy constraint: Member must not be null; \
         Value '' at 'tags.2.member.key' failed to satisfy constraint: Member must have length greater than or equal to 1"
    );
    // Rules between members are checked only if each member is valid.
    let reserved = Private::new("a", "v").with_tags([Tag::new("AWS:x", "y")]);
    assert_eq!(private(reserved), "Tag keys that begin with aws: are reserved: AWS:x");
}

#[test]
fn tags_have_their_own_limits() {
    let engine = Engine::new();
    match engine.api.create_http_namespace(Http::new("a").with_tags(tags(51))).unwrap_err() {
        Error::TooManyTags { count: 51, .. } => {}
        other => panic!("{other:?}"),
    }
    assert!(listed(&engine).is_empty());
    let bounds = [("k".repeat(128), "v".repeat(256), true), ("k".repeat(129), "v".into(), false)];
    let more = [
        ("k".into(), "v".repeat(257), false),
        (String::new(), "v".into(), false),
        ("k".into(), String::new(), true),
    ];
    for (key, value, accepted) in bounds.into_iter().chain(more) {
        assert_eq!(
            http(Http::new("a").with_tags([Tag::new(&key, &value)])).is_empty(),
            accepted,
            "{key} {value}"
        );
    }
    assert!(http(Http::new("a").with_tags(tags(201))).contains("at 'tags' failed"));
}

#[test]
fn a_replayed_creation_gets_the_first_operation() {
    let engine = Engine::new();
    let request = Http::new("app").with_creator_request_id("token").with_description("d");
    let first = engine.api.create_http_namespace(request.clone()).unwrap();
    engine.tick();
    assert_eq!(engine.api.create_http_namespace(request.clone()).unwrap(), first);

    let private = Private::new("app", "vpc-1").with_creator_request_id("token");
    let started = engine.api.create_private_dns_namespace(private.clone()).unwrap();
    assert_ne!(started, first);
    assert_eq!(engine.api.create_private_dns_namespace(private).unwrap(), started);
    assert_eq!(listed(&engine).len(), 2);
}

#[test]
fn a_second_http_namespace_with_the_same_name_is_refused() {
    let engine = Engine::new();
    let request = Http::new("app").with_creator_request_id("token");
    let first = engine.api.create_http_namespace(&request).unwrap().namespace_id;
    let others = [
        Http::new("app"),
        Http::new("app").with_creator_request_id("other"),
        request.clone().with_description("same token, other members"),
        request.with_tags(tags(1)),
    ];
    for other in others {
        match engine.api.create_http_namespace(other).unwrap_err() {
            Error::NamespaceAlreadyExists { namespace_id, creator_request_id } => {
                assert_eq!(namespace_id, first);
                assert_eq!(creator_request_id.unwrap().as_str(), "token");
            }
            other => panic!("{other:?}"),
        }
    }
    // HTTP namespaces are distinguished by case.
    engine.http("App");
}

#[test]
fn namespaces_with_one_name_have_different_http_names() {
    let engine = Engine::new();
    let first = engine.private("app");
    let second = engine.http("app");
    let third = engine.private_in("app", "vpc-2");
    assert_eq!(first.http_name.as_str(), "app");
    for other in [&second, &third] {
        assert_eq!(other.name.as_str(), "app");
        let hash = other.http_name.as_str().strip_prefix("app-").unwrap();
        assert_eq!(hash.len(), 8);
        let service = engine.http_service(other, "web");
        engine.register(&service, other.id.as_str(), &[]);
        let request = DiscoverInstancesRequest::new(other.http_name.as_str(), "web");
        assert_eq!(engine.discover(&request), [other.id.as_str()]);
    }
    assert_ne!(second.http_name, third.http_name);

    engine.api.delete_namespace(DeleteNamespaceRequest::new(&first.id)).unwrap();
    assert_eq!(engine.private("app").http_name.as_str(), "app", "the plain name is free again");
}

#[test]
fn creating_a_second_zone_with_the_same_name_in_a_vpc_fails() {
    for name in ["app.local", "APP.Local"] {
        let engine = Engine::new();
        let first = engine.private("app.local");
        let started = engine.api.create_private_dns_namespace(Private::new(name, "vpc-1")).unwrap();
        let operation = engine.operation(started.operation_id.as_str());
        assert_eq!(
            (operation.kind, operation.status),
            (OperationType::CreateNamespace, OperationStatus::Fail)
        );
        let error = operation.error.as_ref().unwrap();
        assert_eq!(error.code.as_str(), "CANNOT_CREATE_HOSTED_ZONE");
        let expected = format!(
            "The VPC vpc-1 in region us-east-1 has already been associated with the hosted zone {} with the same \
             domain name. (Service: AmazonRoute53; Status Code: 400; ",
            first.hosted_zone().unwrap().id
        );
        assert!(error.message.starts_with(&expected), "{}", error.message);
        let (_, target) = operation.targets.iter().next().unwrap();
        assert_eq!(
            code(engine.api.get_namespace(GetNamespaceRequest::new(target))),
            ErrorCode::NamespaceNotFound
        );
        // The first namespace is still there, and the name is free in another VPC.
        assert_eq!(engine.api.get_namespace(GetNamespaceRequest::new(&first.id)).unwrap().namespace, first);
        engine.private_in(name, "vpc-2");
    }
}

#[test]
fn a_namespace_with_services_is_in_use() {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    let request = dns_service(&namespace, "web", common::dns(&[RecordType::A]));
    engine.service(request);
    let found = engine.api.get_namespace(GetNamespaceRequest::new(&namespace.id)).unwrap();
    assert_eq!(found.service_count, 1);
    let error = engine.api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceInUse);
    assert_eq!(
        error.to_string(),
        "Namespace has associated services; delete the services before deleting the namespace"
    );
}

#[test]
fn deleting_a_namespace_ends_in_a_successful_operation() {
    let engine = Engine::new();
    let namespace = engine.http("app");
    let started = engine.api.delete_namespace(DeleteNamespaceRequest::new(namespace.arn().as_str())).unwrap();
    let operation = engine.operation(started.operation_id.as_str());
    assert_eq!(
        (operation.kind, operation.status),
        (OperationType::DeleteNamespace, OperationStatus::Success)
    );
    assert_eq!(operation.targets.iter().collect::<Vec<_>>(), [("NAMESPACE", namespace.id.as_str())]);
    assert!(listed(&engine).is_empty());
    let again = engine.api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id));
    assert_eq!(code(again), ErrorCode::NamespaceNotFound);
    assert_ne!(engine.http("app").id, namespace.id);
}

#[test]
fn requests_name_a_namespace_by_id_or_arn() {
    let engine = Engine::new();
    let namespace = engine.http("app");
    let get = |id: &str| engine.api.get_namespace(GetNamespaceRequest::new(id)).map(|found| found.namespace);
    assert_eq!(get(namespace.id.as_str()).unwrap(), namespace);
    let arn = namespace.arn().to_string();
    assert_eq!(get(&arn).unwrap(), namespace);
    let strangers = [
        arn.replace("us-east-1", "eu-west-1"),
        arn.replace("123456789012", "210987654321"),
        arn.replace(":namespace/", ":service/"),
        arn.replace("servicediscovery", "s3"),
        "ns-aaaaaaaaaaaaaaaa".into(),
        "not even formed like one".into(),
        String::new(),
    ];
    for stranger in strangers {
        assert_eq!(code(get(&stranger)), ErrorCode::NamespaceNotFound, "{stranger}");
        let delete = engine.api.delete_namespace(DeleteNamespaceRequest::new(&stranger));
        assert_eq!(code(delete), ErrorCode::NamespaceNotFound, "{stranger}");
    }
    let null = one_violation("id", None, "not be null");
    assert_eq!(invalid(engine.api.get_namespace(GetNamespaceRequest::default())), null);
    assert_eq!(invalid(engine.api.delete_namespace(DeleteNamespaceRequest::default())), null);
    assert!(invalid(get(&"n".repeat(256))).contains("at 'id' failed"));
    assert_eq!(code(get(&"n".repeat(255))), ErrorCode::NamespaceNotFound);
}

#[test]
fn scopes_share_nothing() {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    for (account, region) in [("123456789012", "eu-west-1"), ("210987654321", "us-east-1")] {
        let other = engine.cloud_map.at(Scope::parse(account, region).unwrap());
        for id in [namespace.id.to_string(), namespace.arn().to_string()] {
            assert_eq!(
                code(other.get_namespace(GetNamespaceRequest::new(&id))),
                ErrorCode::NamespaceNotFound
            );
            let request = CreateServiceRequest::new("web").with_namespace_id(id);
            assert_eq!(code(other.create_service(request)), ErrorCode::NamespaceNotFound);
        }
        assert!(other.list_namespaces(ListNamespacesRequest::new()).unwrap().items.is_empty());
        let started = other.create_private_dns_namespace(Private::new("app.local", "vpc-1")).unwrap();
        let request = sd_core::request::GetOperationRequest::new(&started.operation_id);
        assert_eq!(other.get_operation(&request).unwrap().status, OperationStatus::Success);
        assert_eq!(code(engine.api.get_operation(&request)), ErrorCode::OperationNotFound);
    }
}
