//! Histories in which the engine and the world once differed.

use std::collections::BTreeMap;

use sd_core::Timing;

use crate::{
    act::{Act, Check, Dns, NamespaceRef, ServiceRef, Step},
    side_by_side::SideBySide,
};

fn holds(timing: Timing, steps: &[Step]) {
    SideBySide::new(timing).steps(steps).unwrap();
}

fn once(act: Act) -> Step {
    Step::Do(act, Vec::new())
}

fn private(name: &'static str) -> Act {
    Act::CreatePrivate { name, vpc: "vpc-1", token: None, soa_ttl: None }
}

fn service(name: &'static str, dns: Dns, check: Check) -> Act {
    Act::CreateService { namespace: NamespaceRef::Pick(0), name, dns, check, token: None }
}

fn register(id: &'static str, pairs: &[(&str, &str)]) -> Act {
    let attributes: BTreeMap<_, _> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Act::Register { service: ServiceRef::Pick(0), id, attributes, token: None }
}

fn report(id: &'static str, status: &'static str) -> Act {
    Act::Report { service: ServiceRef::Pick(0), id, status }
}

#[test]
fn operations_that_fail_at_once_keep_their_place_in_lists() {
    let create = || once(private("app.local"));
    holds(Timing::instant(), &[create(), create(), create(), create(), create(), once(private("other"))]);
}

#[test]
fn two_spellings_of_a_zone_are_not_created_concurrently() {
    for names in [["app.local", "app.local."], ["App.Local.", "app.local"]] {
        holds(Timing::aws(), &[once(private(names[0])), once(private(names[1])), Step::Wait(3000)]);
    }
}

#[test]
fn reported_health_survives_a_concurrent_registration_of_a_new_instance() {
    let steps = [
        once(private("app.local")),
        once(service("web", Dns::HttpType, Check::Custom)),
        Step::Race(register("i-1", &[]), vec![register("i-1", &[]), report("i-1", "UNHEALTHY")]),
    ];
    holds(Timing::instant(), &steps);
}

#[test]
fn reported_health_survives_a_registration_planned_with_another_initial_status() {
    let healthy = [("AWS_INIT_HEALTH_STATUS", "HEALTHY")];
    let unhealthy = [("AWS_INIT_HEALTH_STATUS", "UNHEALTHY")];
    let steps = [
        once(private("app.local")),
        once(service("web", Dns::HttpType, Check::Custom)),
        once(register("i-1", &healthy)),
        Step::Race(register("i-1", &unhealthy), vec![register("i-1", &unhealthy), report("i-1", "HEALTHY")]),
    ];
    holds(Timing::instant(), &steps);
}

#[test]
fn an_instance_deregistered_during_its_registration_is_listed_as_new() {
    let steps = [
        once(private("app.local")),
        once(service("web", Dns::HttpType, Check::Absent)),
        once(register("i-1", &[])),
        Step::Wait(1),
        once(register("i-2", &[])),
        Step::Wait(1),
        Step::Race(
            register("i-1", &[("again", "yes")]),
            vec![Act::Deregister { service: ServiceRef::Pick(0), id: "i-1" }],
        ),
    ];
    holds(Timing::instant(), &steps);
}

#[test]
fn a_registration_is_checked_against_the_records_at_its_commit() {
    let steps = [
        once(private("app.local")),
        once(service("web", Dns::Records(None, &["A", "AAAA"]), Check::Absent)),
        Step::Race(
            register("i-1", &[("AWS_INSTANCE_IPV6", "fd00::1")]),
            vec![Act::UpdateService {
                service: ServiceRef::Pick(0),
                description: None,
                types: Some(&["A"]),
                longer: 0,
                check: None,
            }],
        ),
    ];
    holds(Timing::instant(), &steps);
}

#[test]
fn a_token_is_compared_with_the_original_request_even_after_an_update() {
    let create =
        |soa_ttl| Act::CreatePrivate { name: "app.local", vpc: "vpc-1", token: Some("one"), soa_ttl };
    let update = Act::UpdateNamespace {
        namespace: NamespaceRef::Pick(0),
        kind: "DNS_PRIVATE",
        description: None,
        soa_ttl: Some(30),
        token: None,
    };
    holds(Timing::instant(), &[once(create(None)), once(update), once(create(Some(30))), once(create(None))]);
}

#[test]
fn a_creation_fails_only_while_a_conflicting_zone_exists() {
    let other = Act::CreatePrivate { name: "app.local", vpc: "vpc-2", token: None, soa_ttl: None };
    let steps = [
        once(private("app.local")),
        Step::Race(private("app.local"), vec![Act::DeleteNamespace(NamespaceRef::Pick(0)), other]),
    ];
    holds(Timing::instant(), &steps);
}

#[test]
fn a_hashed_http_name_relies_on_the_namespace_that_has_the_plain_name() {
    let other = Act::CreatePrivate { name: "app.local", vpc: "vpc-2", token: None, soa_ttl: None };
    let steps = [
        once(private("app.local")),
        Step::Race(other, vec![Act::DeleteNamespace(NamespaceRef::Pick(0)), private("app")]),
    ];
    holds(Timing::instant(), &steps);
}
