//! Histories in which the engine and the world differed once.

use std::collections::BTreeMap;

use sd_core::Timing;

use crate::{
    act::{Act, Check, Dns, NamespaceRef, ServiceRef, Step},
    house::House,
};

fn holds(timing: Timing, steps: &[Step]) {
    House::new(timing).steps(steps).unwrap();
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
fn operations_that_fail_at_once_are_listed_where_they_were_started() {
    let create = || once(private("app.local"));
    holds(Timing::instant(), &[create(), create(), create(), create(), create(), once(private("other"))]);
}

#[test]
fn two_spellings_of_a_zone_are_not_created_at_a_time() {
    for names in [["app.local", "app.local."], ["App.Local.", "app.local"]] {
        holds(Timing::aws(), &[once(private(names[0])), once(private(names[1])), Step::Wait(3000)]);
    }
}

#[test]
fn health_that_is_reported_of_an_instance_outlives_a_registration_that_did_not_know_it() {
    let steps = [
        once(private("app.local")),
        once(service("web", Dns::HttpType, Check::Custom)),
        Step::Race(register("i-1", &[]), vec![register("i-1", &[]), report("i-1", "UNHEALTHY")]),
    ];
    holds(Timing::instant(), &steps);
}

#[test]
fn health_that_is_reported_outlives_a_registration_that_knew_another_beginning() {
    let well = [("AWS_INIT_HEALTH_STATUS", "HEALTHY")];
    let ill = [("AWS_INIT_HEALTH_STATUS", "UNHEALTHY")];
    let steps = [
        once(private("app.local")),
        once(service("web", Dns::HttpType, Check::Custom)),
        once(register("i-1", &well)),
        Step::Race(register("i-1", &ill), vec![register("i-1", &ill), report("i-1", "HEALTHY")]),
    ];
    holds(Timing::instant(), &steps);
}

#[test]
fn an_instance_that_is_deregistered_in_between_is_listed_as_a_new_one() {
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
fn a_registration_fits_the_records_that_its_service_has_by_then() {
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
fn a_creation_is_replayed_by_what_it_wanted_whatever_an_update_has_changed() {
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
fn a_creation_that_fails_does_so_while_the_other_zone_is_there() {
    let other = Act::CreatePrivate { name: "app.local", vpc: "vpc-2", token: None, soa_ttl: None };
    let steps = [
        once(private("app.local")),
        Step::Race(private("app.local"), vec![Act::DeleteNamespace(NamespaceRef::Pick(0)), other]),
    ];
    holds(Timing::instant(), &steps);
}
