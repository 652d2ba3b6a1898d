//! Explanations of answers. The model of `sd-tests` asserts that they agree with the answers.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{Engine, code, custom_check, dns, dns_service, map};
use sd_core::{
    ErrorCode,
    dns::{Explanation, LeftOut, Outcome, View},
    model::{CustomHealthStatus, DnsName, DnsNameError, RecordType},
    request::DiscoverInstancesRequest,
};

fn explain(engine: &Engine, name: &str, kind: RecordType) -> Explanation {
    engine.cloud_map.cloud_map().explain(&View::default(), &DnsName::parse(name).unwrap(), kind)
}

/// Why each instance is left out.
fn left_out(explanation: &Explanation) -> Vec<(&str, Option<LeftOut>)> {
    let told = explanation.candidates.iter();
    told.map(|candidate| (candidate.instance.as_str(), candidate.left_out)).collect()
}

#[test]
fn an_explanation_lists_eligible_instances_and_why_others_are_left_out() {
    let engine = Engine::new();
    let zone = engine.private("app.local");
    let request = dns_service(&zone, "web", dns(&[RecordType::A, RecordType::Aaaa]));
    let web = engine.service(request.with_health_check_custom_config(custom_check()));
    engine.register(&web, "both", &[("AWS_INSTANCE_IPV4", "10.0.0.1"), ("AWS_INSTANCE_IPV6", "fd00::1")]);
    engine.register(&web, "ill", &[("AWS_INSTANCE_IPV4", "10.0.0.2"), ("AWS_INSTANCE_IPV6", "fd00::2")]);
    engine.api.set_health(web.id.as_str(), "ill", CustomHealthStatus::Unhealthy).unwrap();

    let explanation = explain(&engine, "web.app.local", RecordType::A);
    assert_eq!((explanation.outcome, explanation.limit), (Outcome::Answered, 8));
    assert_eq!(left_out(&explanation), [("both", None), ("ill", Some(LeftOut::Health))]);
    let id = &web.id;
    assert_eq!(
        explanation.to_string(),
        format!(
            "app.local ({}) answers of at most 8 out of 1 of 2 instances\n\
             both in {id}, HEALTHY: eligible\n\
             ill in {id}, UNHEALTHY: left out, because of its health",
            zone.id
        )
    );
    // If none is healthy, all are eligible.
    engine.api.set_health(web.id.as_str(), "both", CustomHealthStatus::Unhealthy).unwrap();
    let explanation = explain(&engine, "web.app.local", RecordType::A);
    assert_eq!(left_out(&explanation), [("both", None), ("ill", None)]);

    let explanation = explain(&engine, "web.app.local", RecordType::Srv);
    let reason = Some(LeftOut::NotConfigured(RecordType::Srv));
    assert_eq!(left_out(&explanation), [("both", reason), ("ill", reason)]);
    assert_eq!(explanation.outcome, Outcome::NoType);
}

#[test]
fn an_explanation_names_the_attribute_that_a_record_lacks() {
    let engine = Engine::new();
    let zone = engine.private("app.local");
    let web = engine.dns_service(&zone, "web", &[RecordType::Srv]);
    let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("AWS_INSTANCE_PORT", "80")];
    engine.register(&web, "good", &attributes);
    // A label has at most 63 octets, but an id may have 64.
    engine.register(&web, &"i".repeat(64), &attributes);
    let explanation = explain(&engine, "web.app.local", RecordType::Srv);
    let reason = LeftOut::NoDnsName(DnsNameError::LongLabel);
    let long = "i".repeat(64);
    assert_eq!(left_out(&explanation), [("good", None), (long.as_str(), Some(reason))]);
    assert!(
        explanation.to_string().ends_with("its id is not valid in DNS: a label is longer than 63 octets")
    );

    // An instance's own name has only that instance.
    let explanation = explain(&engine, "good.web.app.local", RecordType::A);
    assert_eq!(left_out(&explanation), [("good", None)]);
    let explanation = explain(&engine, "good.web.app.local", RecordType::Aaaa);
    assert_eq!(left_out(&explanation), [("good", Some(LeftOut::NoAttribute("AWS_INSTANCE_IPV6")))]);
    assert_eq!(explanation.outcome, Outcome::NoType);
    let explanation = explain(&engine, "good.web.app.local", RecordType::Srv);
    assert_eq!(left_out(&explanation), [("good", Some(LeftOut::NotConfigured(RecordType::Srv)))]);
    let explanation = explain(&engine, "other.web.app.local", RecordType::A);
    assert_eq!((explanation.outcome, left_out(&explanation)), (Outcome::NoName, vec![]));
}

#[test]
fn an_explanation_has_an_outcome() {
    let engine = Engine::new();
    let zone = engine.private("app.local");
    let outcome = |name, kind| explain(&engine, name, kind).outcome;
    assert_eq!(outcome("example.com", RecordType::A), Outcome::NoZone);
    assert_eq!(outcome("app.local", RecordType::A), Outcome::NoType);
    assert_eq!(outcome("web.app.local", RecordType::A), Outcome::NoName);
    let elsewhere = dns_service(&zone, "elsewhere", common::weighted(&[RecordType::Cname]));
    let elsewhere = engine.service(elsewhere);
    engine.register(&elsewhere, "i-1", &[("AWS_INSTANCE_CNAME", "example.com")]);
    assert_eq!(outcome("elsewhere.app.local", RecordType::Cname), Outcome::Answered);
    assert_eq!(outcome("elsewhere.app.local", RecordType::A), Outcome::AnsweredByCname);
    assert_eq!(explain(&engine, "elsewhere.app.local", RecordType::A).limit, 1);
    let text = explain(&engine, "example.com", RecordType::A).to_string();
    assert_eq!(text, "no zone has this name (REFUSED)");
}

#[test]
fn an_explanation_lists_services_without_a_dns_name() {
    let engine = Engine::new();
    // The API accepts each name, but together they have more than 255 octets.
    let label = "n".repeat(63);
    let zone_name = format!("{label}.{label}.{label}");
    let zone = engine.private(&zone_name);
    let long = format!("{label}.{label}");
    let nameless = engine.dns_service(&zone, &long, &[RecordType::A]);
    engine.register(&nameless, "i-1", &[("AWS_INSTANCE_IPV4", "10.0.0.1")]);
    let explanation = explain(&engine, &format!("web.{zone_name}"), RecordType::A);
    assert_eq!(explanation.nameless, [(nameless.id.clone(), DnsNameError::LongName)]);
    assert!(explanation.to_string().contains("has no name in DNS"));
    assert_eq!(engine.discover(&DiscoverInstancesRequest::new(zone_name.as_str(), long.as_str())), ["i-1"]);
}

#[test]
fn an_explanation_says_which_kind_of_parameters_an_instance_lacks() {
    let engine = Engine::new();
    let namespace = engine.http("app");
    let web = engine.http_service(&namespace, "web");
    engine.register(&web, "blue", &[("stage", "blue"), ("zone", "a")]);
    engine.register(&web, "blue-b", &[("stage", "blue"), ("zone", "b")]);
    engine.register(&web, "green", &[("stage", "green")]);
    let request =
        || DiscoverInstancesRequest::new("app", "web").with_query_parameters(map(&[("stage", "blue")]));
    let explanation = |request| engine.api.explain_discovery(&request).unwrap();
    let optional = request().with_optional_parameters(map(&[("zone", "b")]));
    let lacks = Some(LeftOut::QueryParameters);
    assert_eq!(
        left_out(&explanation(optional)),
        [("blue", Some(LeftOut::OptionalParameters)), ("blue-b", None), ("green", lacks)]
    );
    // Optional parameters that no instance has do not count.
    let optional = request().with_optional_parameters(map(&[("zone", "c")]));
    assert_eq!(left_out(&explanation(optional)), [("blue", None), ("blue-b", None), ("green", lacks)]);

    let nobody = explanation(DiscoverInstancesRequest::new("app", "nobody"));
    assert_eq!(nobody.outcome, Outcome::NoService);
    let nowhere = engine.api.explain_discovery(DiscoverInstancesRequest::new("nowhere", "web"));
    assert_eq!(code(nowhere), ErrorCode::NamespaceNotFound);
}
