//! The attributes of services, not of their instances.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{Engine, code, dns, dns_service, invalid, one_violation};
use sd_core::{
    Error, ErrorCode, Scope,
    model::{RecordType::A, Service},
    request::{
        CreateServiceRequest, DeleteServiceAttributesRequest, DeleteServiceRequest,
        GetServiceAttributesRequest, GetServiceRequest, ListServicesRequest, UpdateServiceAttributesRequest,
    },
};

fn get(engine: &Engine, id: &str) -> Result<Vec<(String, String)>, Error> {
    let found = engine.api.get_service_attributes(GetServiceAttributesRequest::new(id))?;
    Ok(found.attributes.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

fn update(engine: &Engine, id: &str, attributes: &[(&str, &str)]) -> Result<(), Error> {
    let request = UpdateServiceAttributesRequest::new(id).with_attributes(common::map(attributes));
    engine.api.update_service_attributes(request)
}

fn delete(engine: &Engine, id: &str, keys: &[&str]) -> Result<(), Error> {
    let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    engine.api.delete_service_attributes(DeleteServiceAttributesRequest::new(id).with_attributes(keys))
}

fn assert_attributes(engine: &Engine, service: &Service, expected: &[(&str, &str)]) {
    let found = get(engine, service.id.as_str()).unwrap();
    let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn attributes_are_added_replaced_and_removed() {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    for service in [engine.dns_service(&namespace, "web", &[A]), engine.http_service(&namespace, "api")] {
        let (id, arn) = (service.id.as_str(), service.arn());
        let found = engine.api.get_service_attributes(GetServiceAttributesRequest::new(id)).unwrap();
        assert_eq!((&found.service_arn, found.resource_owner.as_str()), (&arn, "123456789012"));
        assert!(found.attributes.is_empty());
        update(&engine, id, &[("b", "1"), ("a", "")]).unwrap();
        update(&engine, arn.as_str(), &[("b", "2"), ("B", "3")]).unwrap();
        assert_attributes(&engine, &service, &[("B", "3"), ("a", ""), ("b", "2")]);
        assert_eq!(get(&engine, arn.as_str()).unwrap().len(), 3);
        delete(&engine, id, &["none"]).unwrap();
        delete(&engine, arn.as_str(), &["a", "none", "b"]).unwrap();
        assert_attributes(&engine, &service, &[("B", "3")]);
    }
}

#[test]
fn a_request_that_changes_nothing_writes_nothing() {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http("app"), "web");
    update(&engine, service.id.as_str(), &[("a", "b")]).unwrap();
    let revision = || engine.cloud_map.cloud_map().state().revision();
    let before = revision();
    update(&engine, service.id.as_str(), &[("a", "b")]).unwrap();
    delete(&engine, service.id.as_str(), &["b"]).unwrap();
    assert_eq!(revision(), before);
}

#[test]
fn attributes_change_nothing_else_and_are_deleted_with_the_service() {
    let engine = Engine::new();
    let namespace = engine.http("app");
    let request = || {
        let request = CreateServiceRequest::new("web").with_namespace_id(&namespace.id);
        request.with_creator_request_id("t").with_description("d")
    };
    let service = engine.service(request());
    engine.register(&service, "i-1", &[("color", "blue")]);
    let found = || engine.api.get_service(GetServiceRequest::new(&service.id)).unwrap();
    update(&engine, service.id.as_str(), &[("a", "b")]).unwrap();
    let after = found();
    assert_eq!((after.instance_count, after.service.description.as_deref()), (1, Some("d")));
    assert_eq!((after.service.created, after.service.incarnation), (service.created, service.incarnation));
    assert_eq!(engine.api.list_services(ListServicesRequest::new()).unwrap().items, [after]);
    // A replay of the creation is recognized.
    assert_eq!(engine.api.create_service(request()).unwrap(), found());

    let instance = sd_core::request::DeregisterInstanceRequest::new(&service.id, "i-1");
    engine.api.deregister_instance(instance).unwrap();
    engine.api.delete_service(DeleteServiceRequest::new(&service.id)).unwrap();
    assert_eq!(code(get(&engine, service.id.as_str())), ErrorCode::ServiceNotFound);
    assert_eq!(engine.service(request()).id, service.id);
    assert_attributes(&engine, &service, &[]);
}

#[test]
fn a_service_has_at_most_30_attributes() {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http("app"), "web");
    let id = service.id.as_str();
    let keys: Vec<String> = (0..31).map(|i| format!("k{i:02}")).collect();
    let pairs: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    let all: Vec<_> = keys.iter().map(|key| format!("{key}=v")).collect();
    let all = format!("{{{}}}", all.join(", "));
    assert_eq!(
        invalid(update(&engine, id, &pairs)),
        one_violation("attributes", Some(&all), "have length less than or equal to 30")
    );
    update(&engine, id, &pairs[..30]).unwrap();
    match update(&engine, id, &[("k00", "w"), ("more", "v")]).unwrap_err() {
        error @ Error::ServiceAttributesLimitExceeded { count: 31, .. } => {
            assert!(error.to_string().contains(id), "{error}");
        }
        other => panic!("{other:?}"),
    }
    update(&engine, id, &[("k00", "w")]).unwrap();
    delete(&engine, id, &["k01"]).unwrap();
    update(&engine, id, &[("more", "v")]).unwrap();
    assert_eq!(get(&engine, id).unwrap().len(), 30);
}

#[test]
fn members_are_checked() {
    let engine = Engine::new();
    let service = engine.service(dns_service(&engine.private("app.local"), "web", dns(&[A])));
    let id = service.id.as_str();
    let null = |member| one_violation(member, None, "not be null");
    let api = &engine.api;
    assert_eq!(
        invalid(api.get_service_attributes(GetServiceAttributesRequest::default())),
        null("serviceId")
    );
    let no_attributes = UpdateServiceAttributesRequest::new(id);
    assert_eq!(invalid(api.update_service_attributes(no_attributes)), null("attributes"));
    let no_keys = DeleteServiceAttributesRequest::new(id);
    assert_eq!(invalid(api.delete_service_attributes(no_keys)), null("attributes"));
    let nothing = api.update_service_attributes(UpdateServiceAttributesRequest::default());
    assert!(invalid(nothing).starts_with("2 validation errors detected: "));
    let nothing = api.delete_service_attributes(DeleteServiceAttributesRequest::default());
    assert!(invalid(nothing).starts_with("2 validation errors detected: "));

    let at_least_one = "have length greater than or equal to 1";
    let empty = one_violation("attributes", Some("{}"), at_least_one);
    assert_eq!(invalid(update(&engine, id, &[])), empty);
    assert_eq!(invalid(delete(&engine, id, &[])), one_violation("attributes", Some("[]"), at_least_one));
    let (key, value) = ("é".repeat(255), "é".repeat(1024));
    update(&engine, id, &[(&key, &value), ("", "any text\n")]).unwrap();
    delete(&engine, id, &[&key, ""]).unwrap();
    let long = |text: &str| format!("{text}x");
    let bad_key = invalid(update(&engine, id, &[(&long(&key), "v")]));
    assert!(bad_key.contains("at 'attributes' failed to satisfy constraint: Map keys must"), "{bad_key}");
    let bad_value = invalid(update(&engine, id, &[("k", &long(&value))]));
    assert!(
        bad_value.contains("at 'attributes' failed to satisfy constraint: Map value must"),
        "{bad_value}"
    );
    let bad_key = invalid(delete(&engine, id, &[&long(&key)]));
    assert!(
        bad_key.contains("at 'attributes' failed to satisfy constraint: Member must satisfy constraint: ["),
        "{bad_key}"
    );
    let many: Vec<String> = (0..31).map(|i| i.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    delete(&engine, id, &many[..30]).unwrap();
    assert!(invalid(delete(&engine, id, &many)).ends_with("less than or equal to 30"));
    assert_attributes(&engine, &service, &[]);
    let reference = invalid(get(&engine, &"x".repeat(256)));
    assert!(reference.ends_with("less than or equal to 255"), "{reference}");
}

#[test]
fn an_unknown_service_is_not_found() {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http("app"), "web");
    let arn = service.arn().to_string();
    for id in [
        "srv-none".to_owned(),
        "no id".to_owned(),
        arn.replace("us-east-1", "eu-west-1"),
        arn.replace("123456789012", "210987654321"),
        arn.replace(":service/", ":namespace/"),
    ] {
        assert_eq!(code(get(&engine, &id)), ErrorCode::ServiceNotFound, "{id}");
        assert_eq!(code(update(&engine, &id, &[("a", "b")])), ErrorCode::ServiceNotFound, "{id}");
        assert_eq!(code(delete(&engine, &id, &["a"])), ErrorCode::ServiceNotFound, "{id}");
    }
    let elsewhere = engine.cloud_map.at(Scope::parse("123456789012", "eu-west-1").unwrap());
    let get = GetServiceAttributesRequest::new(&service.id);
    assert_eq!(code(elsewhere.get_service_attributes(&get)), ErrorCode::ServiceNotFound);
}
