//! Public DNS namespaces.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{Engine, code, dns, dns_service, invalid, one_violation, registration, route53_check};
use sd_core::{
    ErrorCode, Mode, Timing,
    dns::{Answer, RecordData, View},
    model::{
        DnsName, Namespace, NamespaceKind, NamespaceType, OperationStatus, OperationType, RecordType::A,
        VpcId,
    },
    request::{
        CreateHttpNamespaceRequest as Http, CreatePublicDnsNamespaceRequest as Public,
        DeleteNamespaceRequest, DiscoverInstancesRequest, DnsNamespaceProperties, ListNamespacesRequest, Tag,
    },
};

const PATTERN: &str = "satisfy regular expression pattern: \
    ^([a-zA-Z0-9]([a-zA-Z0-9\\-]{0,61}[a-zA-Z0-9])?\\.)+[a-zA-Z0-9]([a-zA-Z0-9\\-]{0,61}[a-zA-Z0-9])?$";

/// The text with which a request is refused; empty if it is accepted.
fn refusal(request: Public) -> String {
    let result = Engine::new().api.create_public_dns_namespace(request);
    if result.is_ok() { String::new() } else { invalid(result) }
}

fn soa_ttl(namespace: &Namespace) -> u32 {
    match &namespace.kind {
        NamespaceKind::DnsPublic { zone } => zone.soa_ttl,
        other => panic!("{other:?}"),
    }
}

fn listed(engine: &Engine) -> Vec<String> {
    let page = engine.api.list_namespaces(ListNamespacesRequest::new()).unwrap();
    page.items.iter().map(|item| item.namespace.http_name.to_string()).collect()
}

#[test]
fn the_soa_ttl_of_a_public_namespace_is_60_by_default() {
    let engine = Engine::new();
    let default = engine.public("example.com");
    assert_eq!((soa_ttl(&default), default.http_name.as_str()), (60, "example.com"));
    assert_eq!(default.kind.namespace_type(), NamespaceType::DnsPublic);
    assert_eq!(default.hosted_zone().unwrap().id.as_str().len(), 21);
    let request = Public::new("given.example.com")
        .with_description("d")
        .with_tags([Tag::new("k", "v")])
        .with_properties(DnsNamespaceProperties::soa_ttl(5));
    let started = engine.api.create_public_dns_namespace(request).unwrap();
    let operation = engine.operation(started.operation_id.as_str());
    assert_eq!(
        (operation.kind, operation.status),
        (OperationType::CreateNamespace, OperationStatus::Success)
    );
    let page = engine.api.list_namespaces(ListNamespacesRequest::new()).unwrap();
    let given = &page.items[1].namespace;
    assert_eq!((soa_ttl(given), given.description.as_deref(), given.tags.iter().count()), (5, Some("d"), 1));
}

#[test]
fn members_of_a_public_namespace_are_checked() {
    let long = format!("{}.{}", ["a".repeat(63), "b".repeat(63), "c".repeat(63)].join("."), "d".repeat(61));
    for accepted in ["a.b", "test.ns-1a2b", "A-1.example", &long] {
        assert_eq!(refusal(Public::new(accepted)), "", "{accepted}");
    }
    for name in ["invalid_name", "local", "a b.c", "a..b", "-a.b", "a-.b", ".a", "a.b.", "_a.b", "arn:a.b"] {
        assert_eq!(refusal(Public::new(name)), one_violation("name", Some(name), PATTERN), "{name}");
    }
    let over = format!("{long}dd");
    let too_long = one_violation("name", Some(&over), "have length less than or equal to 253");
    assert_eq!(refusal(Public::new(&over)), too_long);
    assert_eq!(refusal(Public::default()), one_violation("name", None, "not be null"));
    let ttl = Public::new("a.b").with_properties(DnsNamespaceProperties::soa_ttl(2_147_483_648));
    let member = "properties.dnsProperties.sOA.tTL";
    let expected = one_violation(member, Some("2147483648"), "have value less than or equal to 2147483647");
    assert_eq!(refusal(ttl), expected);
    let mut all = Public::new("a").with_tags([Tag::new("", "y")]).with_description("d".repeat(1025));
    all.properties = Some(DnsNamespaceProperties::default());
    all.creator_request_id = Some("t".repeat(65));
    let text = refusal(all);
    for member in ["name", "creatorRequestId", "description", "properties.dnsProperties", "tags.1.member.key"]
    {
        assert!(text.contains(&format!("at '{member}' failed")), "{text}");
    }
    let tags: Vec<_> = (0..51).map(|i| Tag::new(format!("k{i}"), "v")).collect();
    let many = Engine::new().api.create_public_dns_namespace(Public::new("a.b").with_tags(tags));
    assert_eq!(code(many), ErrorCode::TooManyTagsException);
}

#[test]
fn a_replayed_creation_gets_the_first_operation() {
    for timing in [Timing::instant(), Timing::aws()] {
        let engine = Engine::timed(timing);
        let request = Public::new("example.com").with_creator_request_id("token");
        let first = engine.api.create_public_dns_namespace(request.clone()).unwrap();
        assert_eq!(engine.api.create_public_dns_namespace(request.clone()).unwrap(), first);
        engine.clock.advance(timing.operation());
        assert_eq!(engine.api.create_public_dns_namespace(request.clone()).unwrap(), first);
        assert_eq!(listed(&engine), ["example.com"]);
        // A second zone with the name is another namespace, with its own `HttpName`.
        let other = request.with_properties(DnsNamespaceProperties::soa_ttl(1));
        assert_ne!(engine.api.create_public_dns_namespace(other).unwrap(), first);
        engine.clock.advance(timing.operation());
        let names = listed(&engine);
        assert_eq!((names.len(), &names[1][..12]), (2, "example.com-"));
    }
}

#[test]
fn only_one_namespace_with_a_name_is_created_at_a_time() {
    let engine = Engine::timed(Timing::aws());
    let first = engine.api.create_public_dns_namespace(Public::new("example.com")).unwrap();
    let expected = format!(
        "Another operation of type CreatePublicDnsNamespace and id {} is in progress",
        first.operation_id
    );
    let second = engine.api.create_public_dns_namespace(Public::new("Example.com")).unwrap_err();
    assert_eq!((second.code(), second.to_string()), (ErrorCode::DuplicateRequest, expected.clone()));
    let http = engine.api.create_http_namespace(Http::new("example.com")).unwrap_err();
    assert_eq!(http.to_string(), expected);
    assert!(listed(&engine).is_empty());
}

#[test]
fn instances_are_found_by_the_api_and_by_public_dns() {
    let engine = Engine::over(sd_backend_memory::MemoryRegistry::new(), Mode::Strict);
    let namespace = engine.public("example.com");
    let check = route53_check("HTTP", None, None);
    let request = dns_service(&namespace, "web", dns(&[A])).with_health_check_config(check);
    let service = engine.service(request);
    let attributes = [("AWS_INSTANCE_IPV4", "1.2.3.4"), ("AWS_INSTANCE_PORT", "80")];
    engine.api.register_instance(registration(&service, "i-1", &attributes)).unwrap();
    assert_eq!(engine.discover(&DiscoverInstancesRequest::new("example.com", "WEB")), ["i-1"]);
    let name = DnsName::parse("web.example.com").unwrap();
    let answer = |view: &View| match engine.cloud_map.cloud_map().resolve(view, &name, A) {
        Answer::Records(records) => records.into_iter().map(|record| record.data).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let mut in_vpc = View::default();
    in_vpc.vpc = Some(VpcId::parse("vpc-1").unwrap());
    for view in [View::default(), in_vpc.clone()] {
        assert_eq!(answer(&view), [RecordData::A([1, 2, 3, 4].into())]);
    }
    // A private zone with the same name answers first in the views that include it.
    let private = engine.private("example.com");
    let hidden = engine.dns_service(&private, "web", &[A]);
    engine.register(&hidden, "i-2", &[("AWS_INSTANCE_IPV4", "10.0.0.2")]);
    assert_eq!(answer(&in_vpc), [RecordData::A([10, 0, 0, 2].into())]);
    in_vpc.vpc = Some(VpcId::parse("vpc-2").unwrap());
    assert_eq!(answer(&in_vpc), [RecordData::A([1, 2, 3, 4].into())]);
    let in_use = engine.api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id));
    assert_eq!(code(in_use), ErrorCode::ResourceInUse);
}
