//! Blueprints: what they make, again and again, and how they fail.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::Engine;
use sd_core::{
    Blueprint, Error, Timing,
    blueprint::BlueprintError,
    model::{OperationErrorCode, OperationTargets, RecordType},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
        DiscoverInstancesRequest, ListOperationsRequest, ListTagsForResourceRequest, Tag,
    },
};

const IPV4: &str = "AWS_INSTANCE_IPV4";

/// Two namespaces, three services, three instances.
fn app() -> Blueprint {
    Blueprint::new()
        .private_dns_namespace("app.local", "vpc-1")
        .dns_service("web", [(RecordType::A, 60)])
        .instance("web-1", [(IPV4, "10.0.0.1")])
        .instance("web-2", [(IPV4, "10.0.0.2")])
        .http_service("jobs")
        .http_namespace("api")
        .http_service("web")
        .instance("other-1", [])
}

fn web(namespace: &str) -> DiscoverInstancesRequest {
    DiscoverInstancesRequest::new(namespace, "web")
}

#[test]
fn a_blueprint_makes_what_it_names() {
    let engine = Engine::new();
    let applied = app().apply_sync(&engine.api).unwrap();
    assert_eq!(engine.discover(&web("app.local")), ["web-1", "web-2"]);
    assert_eq!(engine.discover(&web("api")), ["other-1"]);

    let [first, second] = &applied.namespaces[..] else { panic!("{applied:?}") };
    let names = |services: &[sd_core::blueprint::AppliedService]| {
        services.iter().map(|service| service.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (names(&first.services), names(&second.services)),
        (vec!["web".into(), "jobs".into()], vec!["web".into()])
    );
    assert_eq!(applied.namespace_id("api"), Some(&second.id));
    assert_eq!(applied.service_id("web"), Some(&first.services[0].id));
    assert_eq!(applied.service_id("nothing"), None);
    let started = &first.services[0].instances[1];
    let web_2 = OperationTargets::Instance(first.services[0].id.clone(), "web-2".parse().unwrap());
    assert_eq!((&started.namespace_id, &started.targets), (&first.id, &web_2));
}

#[test]
fn applying_a_blueprint_again_starts_no_operation() {
    let engine = Engine::new();
    let applied = app().apply_sync(&engine.api).unwrap();
    let operations = || engine.api.list_operations(ListOperationsRequest::new()).unwrap().items.len();
    let before = operations();
    assert_eq!(app().apply_sync(&engine.api).unwrap(), applied);
    assert_eq!(operations(), before);
    // What has come to the blueprint since is made.
    let grown = app().instance("other-2", []).apply_sync(&engine.api).unwrap();
    assert_eq!(operations(), before + 1);
    assert_eq!(grown.namespaces[1].id, applied.namespaces[1].id);
    assert_eq!(engine.discover(&web("api")), ["other-1", "other-2"]);
}

#[test]
fn a_request_says_what_the_short_forms_do_not() {
    let engine = Engine::new();
    let tagged = CreateHttpNamespaceRequest::new("api").with_tags([Tag::new("team", "blue")]);
    let described = CreateServiceRequest::new("web").with_description("the front");
    let applied = Blueprint::new().namespace(tagged).service(described).apply_sync(&engine.api).unwrap();
    let namespace = engine.namespace(applied.namespace_id("api").unwrap().as_str());
    let tags = engine.api.list_tags_for_resource(ListTagsForResourceRequest::new(namespace.arn())).unwrap();
    assert_eq!(tags.iter().collect::<Vec<_>>(), [("team", "blue")]);
    let get = sd_core::request::GetServiceRequest::new(applied.service_id("web").unwrap());
    assert_eq!(engine.api.get_service(get).unwrap().description.as_deref(), Some("the front"));
}

#[test]
fn an_error_names_the_entity() {
    let engine = Engine::new();
    let fails = |blueprint: Blueprint| blueprint.apply_sync(&engine.api).unwrap_err();

    let bad = fails(app().instance("no id", []));
    let text = r#"instance "no id" of service "web" of namespace "api": "#;
    assert!(bad.to_string().starts_with(text), "{bad}");
    assert!(matches!(bad, BlueprintError::Refused { error: Error::InvalidInput(_), .. }), "{bad:?}");
    // What comes before it is there.
    assert_eq!(engine.discover(&web("api")), ["other-1"]);

    let bad = fails(Blueprint::new().http_namespace("api").dns_service("db", [(RecordType::A, 60)]));
    assert!(bad.to_string().starts_with(r#"service "db" of namespace "api": "#), "{bad}");

    let bad = fails(Blueprint::new().http_namespace(""));
    assert!(bad.to_string().starts_with(r#"namespace "": "#), "{bad}");

    let misplaced = [
        (Blueprint::new().http_service("web").instance("web-1", []), r#"service "web": "#),
        (Blueprint::new().http_namespace("new").instance("web-1", []), r#"instance "web-1": "#),
    ];
    for (blueprint, text) in misplaced {
        let bad = fails(blueprint);
        assert!(
            matches!(bad, BlueprintError::Misplaced { .. }) && bad.to_string().starts_with(text),
            "{bad}"
        );
    }
    // Nothing of a misplaced blueprint is made.
    let namespaces = sd_core::request::ListNamespacesRequest::new();
    assert_eq!(engine.api.list_namespaces(namespaces).unwrap().items.len(), 2);
}

#[test]
fn a_namespace_that_cannot_be_created_fails_the_blueprint() {
    let engine = Engine::new();
    engine.private("app.local");
    let failed = app().apply_sync(&engine.api).unwrap_err();
    let BlueprintError::Failed { error, .. } = &failed else { panic!("{failed:?}") };
    assert_eq!(error.code, OperationErrorCode::CannotCreateHostedZone);
    assert!(
        failed.to_string().starts_with(r#"namespace "app.local": CANNOT_CREATE_HOSTED_ZONE: "#),
        "{failed}"
    );
    // Without services nothing waits for it.
    let alone = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    assert!(Blueprint::new().namespace(alone).apply_sync(&engine.api).is_ok());
}

#[test]
fn a_blueprint_goes_on_when_a_namespace_is_there() {
    let timing = Timing::aws();
    let engine = Engine::timed(timing);
    let apply = || app().apply_sync(&engine.api);
    for name in ["app.local", "api"] {
        let pending = apply().unwrap_err();
        let BlueprintError::Pending { entity, operation_id } = &pending else { panic!("{pending:?}") };
        assert_eq!(*entity, format!("namespace {name:?}"));
        // It waits for the same operation until that has ended.
        let again = apply().unwrap_err();
        assert!(
            matches!(&again, BlueprintError::Pending { operation_id: id, .. } if id == operation_id),
            "{again:?}"
        );
        engine.clock.advance(timing.operation());
    }
    apply().unwrap();
    engine.clock.advance(timing.operation());
    assert_eq!(engine.discover(&web("app.local")), ["web-1", "web-2"]);
}
