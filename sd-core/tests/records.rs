//! DNS answers.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use common::{Engine, custom_check, dns, dns_service, registration, weighted};
use sd_core::{
    Scope, Timestamp, dns,
    dns::{Answer, Record, RecordData, View},
    door,
    model::{
        CustomHealthStatus, DnsName, HealthCheckType, Namespace, NamespaceKind,
        RecordType::{self, A, Aaaa, Cname, Srv},
        Service, VpcId,
    },
    request::{DeregisterInstanceRequest, DnsConfigInput, DnsNamespaceProperties, HealthCheckConfigInput},
    settings::SeededRandom,
};

const ILL: (&str, &str) = ("AWS_INIT_HEALTH_STATUS", "UNHEALTHY");

/// Attributes: keys and values.
type Pairs<'a> = &'a [(&'a str, &'a str)];

fn ipv4(value: &'static str) -> (&'static str, &'static str) {
    ("AWS_INSTANCE_IPV4", value)
}

fn ipv6(value: &'static str) -> (&'static str, &'static str) {
    ("AWS_INSTANCE_IPV6", value)
}

fn port(value: &'static str) -> (&'static str, &'static str) {
    ("AWS_INSTANCE_PORT", value)
}

fn line(record: &Record) -> String {
    let data = match &record.data {
        RecordData::A(address) => address.to_string(),
        RecordData::Aaaa(address) => address.to_string(),
        RecordData::Cname(target) => target.to_string(),
        RecordData::Srv { port, target } => format!("{port} {target}"),
        RecordData::Alias { target, .. } => format!("alias of {target}"),
    };
    format!("{} {} {} {data}", record.owner, record.ttl, record.data.record_type().as_str())
}

/// The answer in lines: CNAME records in order, then other records sorted, or the outcome with the zone and its SOA TTL.
fn told(answer: Answer) -> Vec<String> {
    let negative = |chain: Vec<Record>, code: &str, zone: &DnsName, soa_ttl: u32| {
        let outcome = format!("{code} {zone} {soa_ttl}");
        chain.iter().map(line).chain([outcome]).collect()
    };
    match answer {
        Answer::Records(records) => {
            let mut lines: Vec<_> = records.iter().map(line).collect();
            let chain = lines.iter().take_while(|line| line.contains(" CNAME ")).count();
            lines[chain..].sort();
            lines
        }
        Answer::NoData { chain, zone, soa_ttl } => negative(chain, "NODATA", &zone, soa_ttl),
        Answer::NxDomain { chain, zone, soa_ttl } => negative(chain, "NXDOMAIN", &zone, soa_ttl),
        Answer::Refused => vec!["REFUSED".into()],
    }
}

fn ask_in(engine: &Engine, view: &View, name: &str, kind: RecordType) -> Vec<String> {
    told(engine.cloud_map.cloud_map().resolve(view, &DnsName::parse(name).unwrap(), kind))
}

fn ask(engine: &Engine, name: &str, kind: RecordType) -> Vec<String> {
    ask_in(engine, &View::default(), name, kind)
}

/// A service `web` of `app.local` with these records, a custom check and these instances.
fn web(config: DnsConfigInput, instances: &[(&str, Pairs<'_>)]) -> (Engine, Arc<Namespace>, Arc<Service>) {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    let request = dns_service(&namespace, "web", config).with_health_check_custom_config(custom_check());
    let service = engine.service(request);
    for (id, attributes) in instances {
        engine.register(&service, id, attributes);
    }
    (engine, namespace, service)
}

#[test]
fn an_instance_has_the_records_that_its_service_configures() {
    let four = ipv4("10.0.0.1");
    let six = ipv6("2001:db8::1");
    let (own_a, own_aaaa) = ("i-1.web.app.local. 60 A 10.0.0.1", "i-1.web.app.local. 60 AAAA 2001:db8::1");
    let (a, aaaa) = ("web.app.local. 60 A 10.0.0.1", "web.app.local. 60 AAAA 2001:db8::1");
    let srv = "web.app.local. 60 SRV 80 i-1.web.app.local.";
    let lb = [("AWS_ALIAS_DNS_NAME", "LB.example.com")];
    let (alias_a, alias_aaaa) =
        ("web.app.local. 60 A alias of lb.example.com.", "web.app.local. 60 AAAA alias of lb.example.com.");
    let cases: [(DnsConfigInput, Pairs, &[&str]); 11] = [
        (dns(&[A]), &[four, six, port("80")], &[a]),
        (dns(&[Aaaa]), &[four, six], &[aaaa]),
        (dns(&[A, Aaaa]), &[four, six], &[a, aaaa]),
        (dns(&[A, Aaaa]), &[six], &[aaaa]),
        (dns(&[Srv]), &[four, port("80")], &[own_a, srv]),
        (dns(&[Srv]), &[six, port("80")], &[own_aaaa, srv]),
        (dns(&[Srv]), &[four, six, port("80")], &[own_a, own_aaaa, srv]),
        (dns(&[Srv, A]), &[four, six, port("80")], &[a, own_a, own_aaaa, srv]),
        (
            weighted(&[Cname]),
            &[("AWS_INSTANCE_CNAME", "Example.COM")],
            &["web.app.local. 60 CNAME example.com."],
        ),
        (weighted(&[A]), &lb, &[alias_a]),
        (weighted(&[Aaaa, A]), &lb, &[alias_a, alias_aaaa]),
    ];
    for (config, attributes, expected) in cases {
        let (engine, namespace, service) = web(config.clone(), &[("i-1", attributes)]);
        let state = engine.cloud_map.cloud_map().state();
        let entry = state.scope(&Scope::default()).service(service.id.as_str()).unwrap();
        let instance = entry.instances().get("i-1").unwrap().instance();
        let records: BTreeSet<_> = dns::records_of(instance, &service, &namespace).iter().map(line).collect();
        assert_eq!(records, expected.iter().map(ToString::to_string).collect(), "{config:?} {attributes:?}");
    }
    assert_eq!(dns::SRV_PRIORITY_AND_WEIGHT, 1);
}

#[test]
fn each_question_has_its_outcome() {
    let engine = Engine::new();
    let request = sd_core::request::CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1")
        .with_properties(DnsNamespaceProperties::soa_ttl(7));
    let started = engine.api.create_private_dns_namespace(request).unwrap();
    let namespace = engine.namespace(started.namespace_id.as_str());
    let service = |name: &str, records: &[RecordType]| engine.dns_service(&namespace, name, records);
    let four = [ipv4("10.0.0.1"), port("80")];
    engine.register(&service("web", &[A]), "i-1", &four);
    engine.register(&service("_http._tcp", &[Srv]), "i-1", &four);
    service("empty", &[A]);
    engine.register(&engine.http_service(&namespace, "api"), "i-1", &four);
    let left = service("left", &[A]);
    engine.register(&left, "i-1", &four);
    engine.api.deregister_instance(DeregisterInstanceRequest::new(&left.id, "i-1")).unwrap();

    let (nodata, nxdomain) = ("NODATA app.local. 7", "NXDOMAIN app.local. 7");
    for (name, kind, expected) in [
        ("web.app.local", A, "web.app.local. 60 A 10.0.0.1"),
        ("WEB.App.Local", A, "web.app.local. 60 A 10.0.0.1"),
        ("web.app.local", Aaaa, nodata),
        ("web.app.local", Cname, nodata),
        ("app.local", A, nodata),
        ("_http._tcp.app.local", Srv, "_http._tcp.app.local. 60 SRV 80 i-1._http._tcp.app.local."),
        ("_http._tcp.app.local", A, nodata),
        ("i-1._http._tcp.app.local", A, "i-1._http._tcp.app.local. 60 A 10.0.0.1"),
        ("i-1._http._tcp.app.local", Aaaa, nodata),
        ("_tcp.app.local", A, nodata),
        ("i-1.web.app.local", A, nxdomain),
        ("i-2._http._tcp.app.local", A, nxdomain),
        ("tcp.app.local", A, nxdomain),
        ("empty.app.local", A, nxdomain),
        ("api.app.local", A, nxdomain),
        ("left.app.local", A, nxdomain),
        ("none.app.local", Srv, nxdomain),
        ("local", A, "REFUSED"),
        ("myapp.local", A, "REFUSED"),
        ("example.com", A, "REFUSED"),
    ] {
        assert_eq!(ask(&engine, name, kind), [expected], "{name} {kind:?}");
    }
}

#[test]
fn a_multivalue_answer_has_up_to_eight_random_records() {
    let engine = Engine::new();
    let service = engine.dns_service(&engine.private("app.local"), "web", &[A]);
    for i in 0..20 {
        engine
            .api
            .register_instance(registration(
                &service,
                &format!("i-{i}"),
                &[("AWS_INSTANCE_IPV4", &format!("10.0.0.{i}"))],
            ))
            .unwrap();
        assert_eq!(ask(&engine, "web.app.local", A).len(), (i + 1).min(8));
    }
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let answer = ask(&engine, "web.app.local", A);
        assert_eq!(answer.iter().collect::<BTreeSet<_>>().len(), 8);
        seen.extend(answer);
    }
    assert_eq!(seen.len(), 20);
}

#[test]
fn a_weighted_answer_has_one_random_record() {
    let instances: [(&str, &[(&str, &str)]); 3] =
        [("i-1", &[ipv4("10.0.0.1")]), ("i-2", &[ipv4("10.0.0.2")]), ("i-3", &[ipv4("10.0.0.3"), ILL])];
    let (engine, ..) = web(weighted(&[A]), &instances);
    let answers: BTreeSet<_> = (0..50).map(|_| ask(&engine, "web.app.local", A)).collect();
    let expected = ["web.app.local. 60 A 10.0.0.1", "web.app.local. 60 A 10.0.0.2"];
    assert_eq!(answers, expected.map(|line| vec![line.to_owned()]).into());
}

#[test]
fn unhealthy_instances_answer_only_if_none_is_healthy() {
    let (well, ill) = ([ipv4("10.0.0.1")], [ipv4("10.0.0.2"), ILL]);
    let (engine, ..) = web(dns(&[A]), &[("well", &well), ("ill", &ill)]);
    assert_eq!(ask(&engine, "web.app.local", A), ["web.app.local. 60 A 10.0.0.1"]);
    for config in [dns(&[A]), weighted(&[A])] {
        let (engine, ..) = web(config, &[("ill", &ill)]);
        assert_eq!(ask(&engine, "web.app.local", A), ["web.app.local. 60 A 10.0.0.2"]);
    }
    // Each record type fails open on its own. An instance's own name always answers.
    let (engine, ..) = web(dns(&[Srv, A]), &[("i", &[ipv4("10.0.0.2"), port("80"), ILL])]);
    assert_eq!(ask(&engine, "i.web.app.local", A), ["i.web.app.local. 60 A 10.0.0.2"]);
    assert_eq!(ask(&engine, "web.app.local", Srv), ["web.app.local. 60 SRV 80 i.web.app.local."]);
}

#[test]
fn equal_records_are_answered_once() {
    let (engine, ..) = web(dns(&[A]), &[("i-1", &[ipv4("10.0.0.1")]), ("i-2", &[ipv4("10.0.0.1")])]);
    assert_eq!(ask(&engine, "web.app.local", A), ["web.app.local. 60 A 10.0.0.1"]);
    // The instance `v1` of `web` and the service `v1.web` share a name: one record set with the lowest TTL.
    let (engine, namespace, _) = web(dns(&[Srv]), &[("v1", &[ipv4("10.0.0.1"), port("80")])]);
    let service = engine.service(dns_service(&namespace, "v1.web", DnsConfigInput::new([(A, 5)])));
    engine.register(&service, "i-1", &[ipv4("10.0.0.1")]);
    engine.register(&service, "i-2", &[ipv4("10.0.0.2")]);
    let both = ["v1.web.app.local. 5 A 10.0.0.1", "v1.web.app.local. 5 A 10.0.0.2"];
    assert_eq!(ask(&engine, "v1.web.app.local", A), both);
    // Instances whose ids differ only in case share a name too.
    let (engine, ..) =
        web(dns(&[Srv]), &[("a", &[ipv4("10.0.0.1"), port("80")]), ("A", &[ipv4("10.0.0.2"), port("80")])]);
    assert_eq!(ask(&engine, "a.web.app.local", A).len(), 2);
    assert_eq!(ask(&engine, "web.app.local", Srv).len(), 1);
}

#[test]
fn a_cname_answers_every_type_and_is_followed_within_the_zones() {
    let target = |value: &'static str| [("AWS_INSTANCE_CNAME", value)];
    let (engine, namespace, _) = web(weighted(&[Cname]), &[("i-1", &target("db.app.local"))]);
    let alias = "web.app.local. 60 CNAME db.app.local.";
    assert_eq!(ask(&engine, "web.app.local", A), [alias, "NXDOMAIN app.local. 15"]);
    engine.register(&engine.dns_service(&namespace, "db", &[A]), "i-1", &[ipv4("10.0.0.1")]);
    assert_eq!(ask(&engine, "web.app.local", A), [alias, "db.app.local. 60 A 10.0.0.1"]);
    assert_eq!(ask(&engine, "web.app.local", Aaaa), [alias, "NODATA app.local. 15"]);
    assert_eq!(ask(&engine, "web.app.local", Cname), [alias]);
    for end in ["example.com", "web.app.local"] {
        let (engine, ..) = web(weighted(&[Cname]), &[("i-1", &target(end))]);
        assert_eq!(ask(&engine, "web.app.local", A), [format!("web.app.local. 60 CNAME {end}.")]);
    }
    let (engine, ..) = web(weighted(&[Cname]), &[("i-1", &target("db.other.local"))]);
    let other = engine.private("other.local");
    engine.register(&engine.dns_service(&other, "db", &[A]), "i-1", &[ipv4("10.0.0.1")]);
    let alias = "web.app.local. 60 CNAME db.other.local.";
    assert_eq!(ask(&engine, "web.app.local", A), [alias, "db.other.local. 60 A 10.0.0.1"]);
}

#[test]
fn a_chain_of_cnames_ends_after_eight_records_or_at_a_loop() {
    let (engine, namespace, _) = web(dns(&[A]), &[("i-1", &[ipv4("10.0.0.1")])]);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "web"];
    for pair in names.windows(2) {
        let service = engine.service(dns_service(&namespace, pair[0], weighted(&[Cname])));
        engine.register(&service, "i-1", &[("AWS_INSTANCE_CNAME", &format!("{}.app.local", pair[1]))]);
    }
    let answer = ask(&engine, "b.app.local", A);
    assert_eq!((answer.len(), &*answer[8]), (9, "web.app.local. 60 A 10.0.0.1"));
    let answer = ask(&engine, "a.app.local", A);
    assert_eq!((answer.len(), &*answer[8]), (9, "i.app.local. 60 CNAME web.app.local."));
    for (name, target) in [("round", "about"), ("about", "round")] {
        let service = engine.service(dns_service(&namespace, name, weighted(&[Cname])));
        engine.register(&service, "i-1", &[("AWS_INSTANCE_CNAME", &format!("{target}.app.local"))]);
    }
    let round = "round.app.local. 60 CNAME about.app.local.";
    assert_eq!(ask(&engine, "round.app.local", A), [round, "about.app.local. 60 CNAME round.app.local."]);
}

#[test]
fn a_name_above_another_zone_exists() {
    let (engine, ..) = web(dns(&[A]), &[]);
    assert_eq!(ask(&engine, "x.app.local", A), ["NXDOMAIN app.local. 15"]);
    engine.private("z.y.x.app.local");
    for name in ["x.app.local", "y.x.app.local"] {
        assert_eq!(ask(&engine, name, A), ["NODATA app.local. 15"]);
    }
    assert_eq!(ask(&engine, "w.x.app.local", A), ["NXDOMAIN app.local. 15"]);
}

#[test]
fn an_alias_is_drawn_like_any_record_and_answers_alone() {
    let lb = [("AWS_ALIAS_DNS_NAME", "lb.example.com")];
    let alias = "web.app.local. 60 A alias of lb.example.com.";
    let (engine, namespace, service) = web(weighted(&[A]), &[("i-1", &lb)]);
    assert_eq!(ask(&engine, "web.app.local", A), [alias]);
    assert_eq!(ask(&engine, "web.app.local", Aaaa), ["NODATA app.local. 15"]);
    assert_eq!(ask(&engine, "i-1.web.app.local", A), ["NXDOMAIN app.local. 15"]);
    let cname = weighted(&[Cname]);
    let www = engine.service(dns_service(&namespace, "www", cname));
    engine.register(&www, "i-1", &[("AWS_INSTANCE_CNAME", "web.app.local")]);
    assert_eq!(ask(&engine, "www.app.local", A), ["www.app.local. 60 CNAME web.app.local.", alias]);

    // Beside an address, one of the two answers. Beside a healthy address, an unhealthy alias does not.
    engine.register(&service, "i-2", &[ipv4("10.0.0.1")]);
    let address = "web.app.local. 60 A 10.0.0.1";
    let answers: BTreeSet<_> = (0..50).map(|_| ask(&engine, "web.app.local", A)).collect();
    assert_eq!(answers, [address, alias].map(|line| vec![line.to_owned()]).into());
    engine.register(&service, "i-1", &[lb[0], ILL]);
    let answers: BTreeSet<_> = (0..50).map(|_| ask(&engine, "web.app.local", A)).collect();
    assert_eq!(answers, [vec![address.to_owned()]].into());

    // A Route 53 health check is associated with the address, but not with the alias.
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    let request = dns_service(&namespace, "web", weighted(&[A]));
    let service =
        engine.service(request.with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Tcp)));
    engine.register(&service, "i-1", &lb);
    engine.register(&service, "i-2", &[ipv4("10.0.0.1"), port("80")]);
    let (service, ill) = (service.id.as_str(), CustomHealthStatus::Unhealthy);
    engine.api.set_health(service, "i-1", ill).unwrap();
    let answers: BTreeSet<_> = (0..50).map(|_| ask(&engine, "web.app.local", A)).collect();
    assert_eq!(answers, [address, alias].map(|line| vec![line.to_owned()]).into());
    engine.api.set_health(service, "i-2", ill).unwrap();
    let answers: BTreeSet<_> = (0..50).map(|_| ask(&engine, "web.app.local", A)).collect();
    assert_eq!(answers, [vec![alias.to_owned()]].into());

    // A name that several services share may answer with all records at once, but never with an alias among others.
    let (engine, namespace, _) = web(dns(&[Srv]), &[("v1", &[ipv4("10.0.0.1"), port("80")])]);
    let service = engine.service(dns_service(&namespace, "v1.web", weighted(&[A])));
    engine.register(&service, "i-1", &lb);
    engine.register(&service, "i-2", &[ipv4("10.0.0.2")]);
    let answers: BTreeSet<_> = (0..50).map(|_| ask(&engine, "v1.web.app.local", A)).collect();
    let alone = vec!["v1.web.app.local. 60 A alias of lb.example.com.".to_owned()];
    let others = ["10.0.0.1", "10.0.0.2"].map(|address| format!("v1.web.app.local. 60 A {address}"));
    assert_eq!(answers, [alone, others.to_vec()].into());
}

#[test]
fn a_service_named_dot_is_at_the_apex() {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    engine.register(&engine.dns_service(&namespace, ".", &[Srv, A]), "i-1", &[ipv4("10.0.0.1"), port("80")]);
    assert_eq!(ask(&engine, "app.local", A), ["app.local. 60 A 10.0.0.1"]);
    assert_eq!(ask(&engine, "app.local", Srv), ["app.local. 60 SRV 80 i-1.app.local."]);
    assert_eq!(ask(&engine, "i-1.app.local", A), ["i-1.app.local. 60 A 10.0.0.1"]);
}

#[test]
fn names_that_are_invalid_in_dns_have_no_records() {
    let four = [ipv4("10.0.0.1"), port("80")];
    let label = "l".repeat(64);
    let longest = ["l".repeat(63).as_str(); 2].join(".");
    // With an invalid id, an instance lacks only its SRV record, and discovery finds it.
    let (engine, ..) = web(dns(&[Srv, A]), &[(&label, &four), ("a..b", &four), ("good.one", &four)]);
    assert_eq!(ask(&engine, "web.app.local", Srv), ["web.app.local. 60 SRV 80 good.one.web.app.local."]);
    assert_eq!(ask(&engine, "web.app.local", A), ["web.app.local. 60 A 10.0.0.1"]);
    assert_eq!(ask(&engine, "good.one.web.app.local", A), ["good.one.web.app.local. 60 A 10.0.0.1"]);
    let discovery = sd_core::request::DiscoverInstancesRequest::new("app.local", "web");
    assert_eq!(engine.discover(&discovery).len(), 3);
    // With an invalid name, a namespace or service has no records.
    for (namespace, service) in
        [("a..b".to_owned(), "web"), (label, "web"), (longest.clone(), longest.as_str())]
    {
        let engine = Engine::new();
        let created = engine.private(&namespace);
        engine.register(&engine.dns_service(&created, service, &[A]), "i-1", &four);
        let discovery = sd_core::request::DiscoverInstancesRequest::new(&namespace, service);
        assert_eq!(engine.discover(&discovery), ["i-1"], "{namespace} {service}");
        if let Ok(zone) = DnsName::parse(&namespace) {
            let answer = engine.cloud_map.cloud_map().resolve(&View::default(), &zone, A);
            assert!(matches!(answer, Answer::NoData { .. }));
        }
    }
}

#[test]
fn the_most_specific_zone_answers_then_the_oldest() {
    let engine = Engine::new();
    let register = |namespace: &Namespace, service: &str, address: &'static str| {
        engine.register(&engine.dns_service(namespace, service, &[A]), "i-1", &[ipv4(address)]);
    };
    let old = engine.private_in("app.local", "vpc-1");
    let young = engine.private_in("app.local", "vpc-2");
    register(&young, "web", "10.0.0.2");
    assert_eq!(ask(&engine, "web.app.local", A), ["NXDOMAIN app.local. 15"], "the hidden zone is not asked");
    register(&old, "web", "10.0.0.1");
    assert_eq!(ask(&engine, "web.app.local", A), ["web.app.local. 60 A 10.0.0.1"]);

    // `web.app.local` becomes a zone and hides the parent's records at and below it.
    register(&old, "v1.web", "10.0.0.3");
    assert_eq!(ask(&engine, "v1.web.app.local", A).len(), 1);
    engine.private_in("web.app.local", "vpc-1");
    assert_eq!(ask(&engine, "v1.web.app.local", A), ["NXDOMAIN web.app.local. 15"]);
    assert_eq!(ask(&engine, "web.app.local", A), ["NODATA web.app.local. 15"]);
}

#[test]
fn precedence_is_private_then_age_then_id() {
    let engine = Engine::new();
    let (first, second) = (engine.private_in("a", "vpc-1"), engine.private_in("a", "vpc-2"));
    assert_eq!(door::precedence(&first, &second), Ordering::Less, "older");
    let mut same_age = (*second).clone();
    same_age.created = first.created;
    assert_eq!(door::precedence(&first, &same_age), first.id.cmp(&second.id), "id");
    let mut public = (*first).clone();
    public.created = Timestamp::from_millis(0);
    public.kind = NamespaceKind::DnsPublic { zone: first.hosted_zone().unwrap().clone() };
    assert_eq!(door::precedence(&public, &second), Ordering::Greater, "private before public");
    assert_eq!(door::precedence(&first, &first), Ordering::Equal);
}

#[test]
fn a_view_shows_the_zones_of_its_scopes_and_its_vpc() {
    let engine = Engine::new();
    let elsewhere = Scope::parse("210987654321", "us-east-1").unwrap();
    let other = Engine { api: engine.cloud_map.at(elsewhere.clone()), ..engine };
    let here = Engine {
        api: other.cloud_map.at(Scope::default()),
        cloud_map: other.cloud_map.clone(),
        clock: Arc::clone(&other.clock),
    };
    for (engine, vpc, address) in
        [(&other, "vpc-9", "10.0.0.9"), (&here, "vpc-1", "10.0.0.1"), (&here, "vpc-2", "10.0.0.2")]
    {
        let service = engine.dns_service(&engine.private_in("app.local", vpc), "web", &[A]);
        engine.register(&service, "i-1", &[ipv4(address)]);
    }
    let view = |scopes: &[&Scope], vpc: Option<&str>| {
        let mut view = View::default();
        view.scopes = scopes.iter().map(|scope| (*scope).clone()).collect();
        view.vpc = vpc.map(|vpc| VpcId::parse(vpc).unwrap());
        ask_in(&here, &view, "web.app.local", A)
    };
    let home = Scope::default();
    for (scopes, vpc, expected) in [
        (&[][..], None, "web.app.local. 60 A 10.0.0.9"),
        (&[&home], None, "web.app.local. 60 A 10.0.0.1"),
        (&[&elsewhere, &home], None, "web.app.local. 60 A 10.0.0.9"),
        (&[], Some("vpc-2"), "web.app.local. 60 A 10.0.0.2"),
        (&[&home], Some("vpc-9"), "REFUSED"),
        (&[], Some("vpc-3"), "REFUSED"),
    ] {
        assert_eq!(view(scopes, vpc), [expected], "{scopes:?} {vpc:?}");
    }
}

#[test]
fn the_same_random_numbers_give_the_same_answer() {
    let engine = Engine::new();
    let service = engine.dns_service(&engine.private("app.local"), "web", &[A]);
    for i in 0..20 {
        engine.register(&service, &format!("i-{i}"), &[("AWS_INSTANCE_IPV4", &format!("10.0.0.{i}"))]);
    }
    let state = engine.cloud_map.cloud_map().state();
    let name = DnsName::parse("web.app.local").unwrap();
    let run = |seed| dns::resolve(&state, &View::default(), &name, A, &SeededRandom::new(seed));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
