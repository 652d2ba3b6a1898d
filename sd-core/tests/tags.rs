//! Tags of namespaces and services.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::sync::Arc;

use common::{Engine, code, invalid, one_violation};
use sd_core::{
    Error, ErrorCode, Scope,
    model::Namespace,
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
        DeleteNamespaceRequest, DeleteServiceRequest, DnsNamespaceProperties, GetServiceRequest,
        ListTagsForResourceRequest, Tag, TagResourceRequest, UntagResourceRequest,
    },
};

/// An engine with a namespace `app` and a service `web` in it.
struct Tagged {
    engine: Engine,
    namespace: Arc<Namespace>,
    /// The ARNs of both.
    arns: [String; 2],
}

impl Tagged {
    fn new() -> Self {
        let engine = Engine::new();
        let namespace = engine.http("app");
        let service = engine.http_service(&namespace, "web");
        let arns = [namespace.arn().to_string(), service.arn().to_string()];
        Self { engine, namespace, arns }
    }

    fn tag(&self, arn: &str, tags: &[(&str, &str)]) -> Result<(), Error> {
        let tags: Vec<_> = tags.iter().map(|(key, value)| Tag::new(*key, *value)).collect();
        self.engine.api.tag_resource(TagResourceRequest::new(arn).with_tags(tags))
    }

    fn untag(&self, arn: &str, keys: &[&str]) -> Result<(), Error> {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.engine.api.untag_resource(UntagResourceRequest::new(arn).with_tag_keys(keys))
    }

    fn list(&self, arn: &str) -> Result<Vec<(String, String)>, Error> {
        let tags = self.engine.api.list_tags_for_resource(ListTagsForResourceRequest::new(arn))?;
        Ok(tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn assert_tags(&self, arn: &str, expected: &[(&str, &str)]) {
        let tags = self.list(arn).unwrap();
        let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(tags, expected, "{arn}");
    }
}

#[test]
fn tags_are_added_replaced_and_removed() {
    let tagged = Tagged::new();
    for arn in &tagged.arns {
        tagged.assert_tags(arn, &[]);
        tagged.tag(arn, &[("b", "1"), ("a", "")]).unwrap();
        tagged.tag(arn, &[("b", "2"), ("B", "3")]).unwrap();
        tagged.assert_tags(arn, &[("B", "3"), ("a", ""), ("b", "2")]);
        tagged.tag(arn, &[]).unwrap();
        tagged.untag(arn, &[]).unwrap();
        tagged.untag(arn, &["a", "none", "a"]).unwrap();
        tagged.assert_tags(arn, &[("B", "3"), ("b", "2")]);
        tagged.tag(arn, &[("twice", "first"), ("twice", "last")]).unwrap();
        tagged.assert_tags(arn, &[("B", "3"), ("b", "2"), ("twice", "last")]);
        tagged.untag(arn, &["B", "b", "twice"]).unwrap();
        tagged.assert_tags(arn, &[]);
    }
}

#[test]
fn a_request_that_changes_nothing_writes_nothing() {
    let tagged = Tagged::new();
    for arn in &tagged.arns {
        tagged.tag(arn, &[("a", "b")]).unwrap();
        let revision = || tagged.engine.cloud_map.cloud_map().state().revision();
        let before = revision();
        tagged.tag(arn, &[("a", "b")]).unwrap();
        tagged.untag(arn, &["b"]).unwrap();
        assert_eq!(revision(), before);
        assert_eq!(
            tagged.engine.cloud_map.cloud_map().cell().operations().len(),
            1,
            "no operation of their own"
        );
    }
}

#[test]
fn tags_given_at_creation_are_deleted_with_the_resource() {
    let tagged = Tagged::new();
    let create = || {
        let request = CreateServiceRequest::new("db").with_namespace_id(&tagged.namespace.id);
        tagged.engine.service(request.with_tags([Tag::new("a", "b")]))
    };
    let service = create();
    let arn = service.arn().to_string();
    tagged.assert_tags(&arn, &[("a", "b")]);
    tagged.assert_tags(&tagged.arns[0], &[]);
    tagged.tag(&arn, &[("c", "d")]).unwrap();
    let delete = || DeleteServiceRequest::new(&service.id);
    tagged.engine.api.delete_service(delete()).unwrap();
    assert_eq!(code(tagged.list(&arn)), ErrorCode::ResourceNotFoundException);
    // The service is created again with the same ARN and its original tags.
    assert_eq!(create().arn(), service.arn());
    tagged.assert_tags(&arn, &[("a", "b")]);

    let request = CreateHttpNamespaceRequest::new("short").with_tags([Tag::new("a", "b")]);
    let started = tagged.engine.api.create_http_namespace(request).unwrap();
    let operation = tagged.engine.operation(started.operation_id.as_str());
    let namespace = tagged.engine.namespace(operation.targets.iter().next().unwrap().1);
    tagged.assert_tags(namespace.arn().as_str(), &[("a", "b")]);
    tagged.engine.api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id)).unwrap();
    assert_eq!(code(tagged.tag(namespace.arn().as_str(), &[])), ErrorCode::ResourceNotFoundException);
}

#[test]
fn only_arns_of_this_scope_name_a_resource() {
    let tagged = Tagged::new();
    let elsewhere = tagged.engine.cloud_map.at(Scope::parse("210987654321", "us-east-1").unwrap());
    for arn in &tagged.arns {
        tagged.tag(arn, &[("a", "b")]).unwrap();
        let id = arn.rsplit('/').next().unwrap();
        let others = [
            id.to_owned(),
            arn.replace("123456789012", "210987654321"),
            arn.replace("us-east-1", "eu-west-1"),
            arn.replace(":servicediscovery:", ":ecs:"),
            arn.replace(":namespace/", ":instance/").replace(":service/", ":namespace/"),
            format!("{arn}x"),
            format!("{arn}/x"),
            "arn:aws:servicediscovery:us-east-1:123456789012:namespace".to_owned(),
            "x".repeat(1011),
        ];
        for other in &others {
            assert_eq!(
                code(tagged.tag(other, &[("a", "c")])),
                ErrorCode::ResourceNotFoundException,
                "{other}"
            );
            assert_eq!(code(tagged.untag(other, &["a"])), ErrorCode::ResourceNotFoundException, "{other}");
            assert_eq!(code(tagged.list(other)), ErrorCode::ResourceNotFoundException, "{other}");
        }
        let foreign = elsewhere.list_tags_for_resource(ListTagsForResourceRequest::new(arn));
        assert_eq!(code(foreign), ErrorCode::ResourceNotFoundException);
        tagged.assert_tags(arn, &[("a", "b")]);
    }
}

#[test]
fn members_are_checked() {
    let tagged = Tagged::new();
    let arn = tagged.arns[0].as_str();
    let api = &tagged.engine.api;
    let null = |member| one_violation(member, None, "not be null");
    assert_eq!(invalid(api.tag_resource(TagResourceRequest::new(arn))), null("tags"));
    assert_eq!(invalid(api.untag_resource(UntagResourceRequest::new(arn))), null("tagKeys"));
    let empty = one_violation("resourceARN", Some(""), "have length greater than or equal to 1");
    let missing = ListTagsForResourceRequest::default();
    assert_eq!(invalid(api.list_tags_for_resource(&missing)), null("resourceARN"));
    assert_eq!(invalid(tagged.list("")), empty);
    assert_eq!(invalid(tagged.tag("", &[])), empty);
    assert_eq!(invalid(tagged.untag("", &[])), empty);
    assert!(invalid(tagged.list(&"x".repeat(1012))).ends_with("less than or equal to 1011"));

    let none = |key: Option<&str>, value: Option<&str>| {
        let mut tag = Tag::default();
        tag.key = key.map(str::to_owned);
        tag.value = value.map(str::to_owned);
        invalid(api.tag_resource(TagResourceRequest::new(arn).with_tags([tag])))
    };
    assert_eq!(none(None, Some("v")), null("tags.1.member.key"));
    assert_eq!(none(Some("k"), None), null("tags.1.member.value"));
    assert_eq!(none(Some("Aws:k"), Some("v")), "Tag keys that begin with aws: are reserved: Aws:k");

    let (key, value) = ("é".repeat(128), "é".repeat(256));
    tagged.tag(arn, &[(&key, &value)]).unwrap();
    tagged.untag(arn, &[&key]).unwrap();
    let long = |text: &str| format!("{text}x");
    assert!(invalid(tagged.tag(arn, &[(&long(&key), "v")])).ends_with("less than or equal to 128"));
    assert!(invalid(tagged.tag(arn, &[("k", &long(&value))])).ends_with("less than or equal to 256"));
    assert!(invalid(tagged.untag(arn, &[&long(&key)])).contains("less than or equal to 128"));
    let each = "satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than \
                or equal to 1, Member must not be null]";
    assert_eq!(invalid(tagged.untag(arn, &[""])), one_violation("tagKeys", Some("[]"), each));
    let many: Vec<String> = (0..201).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    tagged.untag(arn, &many[..200]).unwrap();
    // A list that is too long is quoted in part, and its entries are not checked.
    let at_most = "failed to satisfy constraint: Member must have length less than or equal to 200";
    let keys = invalid(tagged.untag(arn, &many));
    assert!(keys.starts_with("1 validation error detected: Value '[0, 1, 2, "), "{keys}");
    assert!(keys.ends_with(&format!(", 200]' at 'tagKeys' {at_most}")), "{keys}");
    let pairs: Vec<_> = many.iter().map(|_| ("", "v")).collect();
    let tags = invalid(tagged.tag(arn, &pairs));
    assert!(tags.starts_with("1 validation error detected: Value '[Tag(key=, value=v), Tag(key="), "{tags}");
    assert!(tags.ends_with(&format!("…' at 'tags' {at_most}")), "{tags}");
    // All violations are reported, before other errors.
    let both = invalid(tagged.tag("", &[("aws:", "v"), ("", "v")]));
    assert!(both.starts_with("2 validation errors detected: "), "{both}");
    tagged.assert_tags(arn, &[]);
}

#[test]
fn a_resource_has_at_most_50_tags() {
    let tagged = Tagged::new();
    let keys: Vec<String> = (0..51).map(|i| format!("key{i:02}")).collect();
    let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    for arn in &tagged.arns {
        let too_many = |tags: &[(&str, &str)]| match tagged.tag(arn, tags).unwrap_err() {
            Error::TooManyTags { resource_name, count } => {
                assert_eq!(resource_name, *arn);
                count
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(too_many(&pairs), 51);
        tagged.assert_tags(arn, &[]);
        tagged.tag(arn, &pairs[..50]).unwrap();
        assert_eq!(too_many(&[("key00", "w"), ("more", "v")]), 51);
        tagged.tag(arn, &[("key00", "w")]).unwrap();
        tagged.untag(arn, &["key01"]).unwrap();
        tagged.tag(arn, &[("more", "v")]).unwrap();
        assert_eq!(tagged.list(arn).unwrap().len(), 50);
    }
}

#[test]
fn later_tags_do_not_affect_the_replay_of_a_creation() {
    let engine = Engine::new();
    let tags = || [Tag::new("a", "b")];
    let retag = |arn: &str| {
        engine.api.untag_resource(UntagResourceRequest::new(arn).with_tag_keys(["a".to_owned()])).unwrap();
        let request = TagResourceRequest::new(arn).with_tags([Tag::new("c", "d")]);
        engine.api.tag_resource(request).unwrap();
    };
    let http = || CreateHttpNamespaceRequest::new("app").with_creator_request_id("t").with_tags(tags());
    let private = || {
        let request = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1").with_tags(tags());
        request.with_creator_request_id("t").with_properties(DnsNamespaceProperties::soa_ttl(7))
    };
    let first = engine.api.create_http_namespace(http()).unwrap();
    let second = engine.api.create_private_dns_namespace(private()).unwrap();
    let arn = |operation: &str| {
        engine.namespace(engine.operation(operation).targets.iter().next().unwrap().1).arn().to_string()
    };
    retag(&arn(first.operation_id.as_str()));
    retag(&arn(second.operation_id.as_str()));
    assert_eq!(engine.api.create_http_namespace(http()).unwrap(), first);
    assert_eq!(engine.api.create_private_dns_namespace(private()).unwrap(), second);
    // A creation with the current tags is another request.
    let now = http().with_tags([Tag::new("c", "d")]);
    assert_eq!(code(engine.api.create_http_namespace(now)), ErrorCode::NamespaceAlreadyExists);

    let namespace = engine.http("services");
    let service = || {
        let request = CreateServiceRequest::new("web").with_namespace_id(&namespace.id);
        request.with_creator_request_id("t").with_tags(tags())
    };
    let created = engine.service(service());
    retag(created.arn().as_str());
    let replayed = engine.api.create_service(service()).unwrap();
    assert_eq!(replayed, engine.api.get_service(GetServiceRequest::new(&created.id)).unwrap());
    assert_eq!(replayed.service.tags.get("c"), Some("d"), "as it is now");
    let other = service().with_tags([Tag::new("c", "d")]);
    assert_eq!(code(engine.api.create_service(other)), ErrorCode::ServiceAlreadyExists);
}
