//! Which records a name has.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, RecordType as Kind, rdata::A},
};
use sd_core::model::{
    CustomHealthStatus, RecordType,
    RoutingPolicy::{Multivalue, Weighted},
};
use sd_dns::Transport;
use support::{Fixture, SOA_TTL, assert_negative, data, question, texts};

// Positive answers.

#[test]
fn an_answer_has_up_to_eight_records() {
    let fixture = Fixture::new();
    let service = fixture.web(8);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)).len(), 8);
    for number in 9..=40 {
        fixture.register(&service, &format!("i-{number}"), &[("IPV4", &format!("10.0.0.{number}"))]);
    }
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let answer = data(&fixture.ask("web.app.local", Kind::A));
        assert_eq!(answer.iter().collect::<BTreeSet<_>>().len(), 8);
        seen.extend(answer);
    }
    assert_eq!(seen.len(), 40);
}

#[test]
fn the_order_of_records_is_random() {
    let fixture = Fixture::new();
    fixture.web(8);
    let first = |_| fixture.ask("web.app.local", Kind::A).answers[0].data.clone();
    let firsts: Vec<RData> = (0..200).map(first).collect();
    assert!((1..=8).all(|n| firsts.contains(&RData::A(A::new(10, 0, 0, n)))));
}

#[test]
fn a_weighted_service_answers_with_one_record() {
    let fixture = Fixture::new();
    let service = fixture.service("api", Weighted, &[(RecordType::A, 5)]);
    fixture.register(&service, "a", &[("IPV4", "10.0.0.1")]);
    fixture.register(&service, "b", &[("IPV4", "10.0.0.2")]);
    let answers: BTreeSet<Vec<String>> =
        (0..100).map(|_| data(&fixture.ask("api.app.local", Kind::A))).collect();
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [["10.0.0.1"], ["10.0.0.2"]]);
}

#[test]
fn a_weighted_service_draws_among_instances_not_records() {
    let fixture = Fixture::new();
    let service = fixture.service("api", Weighted, &[(RecordType::A, 5)]);
    let alias = fixture.service("www", Weighted, &[(RecordType::Cname, 5)]);
    for number in 0..9 {
        fixture.register(&service, &number.to_string(), &[("IPV4", "10.0.0.1")]);
        fixture.register(&alias, &number.to_string(), &[("CNAME", "one.example.com")]);
    }
    fixture.register(&service, "other", &[("IPV4", "10.0.0.2")]);
    fixture.register(&alias, "other", &[("CNAME", "other.example.com")]);
    for (name, other) in [("api.app.local", "10.0.0.2"), ("www.app.local", "other.example.com.")] {
        let answers = (0..2000).map(|_| data(&fixture.ask(name, Kind::A)));
        let others = answers.filter(|answer| answer == &[other]).count();
        // One of ten instances. Half of the answers, if the nine counted as one.
        assert!((1..600).contains(&others), "{name}: {others}");
    }
}

#[test]
fn unhealthy_instances_leave_dns_unless_all_are_unhealthy() {
    let fixture = Fixture::new();
    let service = fixture.web(2);
    fixture.set_health(&service, "i-1", CustomHealthStatus::Unhealthy);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.2"]);
    fixture.set_health(&service, "i-2", CustomHealthStatus::Unhealthy);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.1", "10.0.0.2"]);
    fixture.set_health(&service, "i-1", CustomHealthStatus::Healthy);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.1"]);
}

#[test]
fn a_shared_address_is_answered_once() {
    let fixture = Fixture::new();
    let service = fixture.web(1);
    fixture.register(&service, "other", &[("IPV4", "10.0.0.1")]);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.1"]);
    fixture.deregister(&service, "i-1");
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.1"]);
}

#[test]
fn srv_answers_carry_the_addresses_of_their_targets() {
    let fixture = Fixture::new();
    let service = fixture.service("web", Multivalue, &[(RecordType::Srv, 30)]);
    fixture.register(&service, "task1", &[("IPV4", "10.0.0.1"), ("IPV6", "fd00::1"), ("PORT", "8080")]);
    fixture.register(&service, "task2", &[("IPV4", "10.0.0.2"), ("PORT", "8081")]);
    let answer = fixture.ask("Web.app.local", Kind::SRV);
    assert_eq!(data(&answer), ["1 1 8080 task1.web.app.local.", "1 1 8081 task2.web.app.local."]);
    assert_eq!(texts(&answer.additionals), ["10.0.0.1", "10.0.0.2", "fd00::1"]);
    assert!(answer.answers.iter().chain(&answer.additionals).all(|record| record.ttl == 30));
    assert_eq!(data(&fixture.ask("task1.web.app.local", Kind::A)), ["10.0.0.1"]);
    assert_eq!(data(&fixture.ask("TASK1.web.app.local", Kind::AAAA)), ["fd00::1"]);
    assert_negative(&fixture.ask("web.app.local", Kind::A), ResponseCode::NoError);
}

#[test]
fn srv_targets_are_not_compressed() {
    let fixture = Fixture::new();
    let service = fixture.service("web", Multivalue, &[(RecordType::Srv, 30)]);
    fixture.register(&service, "t", &[("IPV4", "10.0.0.1"), ("PORT", "80")]);
    let packet = question("web.app.local", Kind::SRV);
    let answer = fixture.reply(&packet, Transport::Udp).unwrap();
    let data = &answer[packet.len() + 10..];
    assert_eq!(data[..10], [0, 23, 0, 1, 0, 1, 0, 80, 1, b't']);
    assert_eq!(data[10..25], *b"\x03web\x03app\x05local\x00");
    // The owner of the additional record is the label and a pointer to QNAME.
    assert_eq!(data[25..31], [1, b't', 0xC0, 0x0C, 0, 1]);
}

#[test]
fn instances_whose_ids_differ_in_case_share_one_name() {
    let fixture = Fixture::new();
    let service = fixture.service("web", Multivalue, &[(RecordType::Srv, 30)]);
    fixture.register(&service, "t", &[("IPV4", "10.0.0.1"), ("PORT", "80")]);
    fixture.register(&service, "T", &[("IPV4", "10.0.0.2"), ("PORT", "80")]);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::SRV)), ["1 1 80 t.web.app.local."]);
    assert_eq!(data(&fixture.ask("t.web.app.local", Kind::A)), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn a_name_can_belong_to_a_service_and_an_instance() {
    let fixture = Fixture::new();
    let web = fixture.service("web", Multivalue, &[(RecordType::Srv, 60)]);
    fixture.register(&web, "v1", &[("IPV4", "10.0.0.1"), ("PORT", "80")]);
    let v1 = fixture.service("v1.web", Weighted, &[(RecordType::A, 5)]);
    fixture.register(&v1, "i", &[("IPV4", "10.0.0.2")]);
    let answer = fixture.ask("v1.web.app.local", Kind::A);
    assert_eq!(data(&answer), ["10.0.0.1", "10.0.0.2"]);
    assert!(answer.answers.iter().all(|record| record.ttl == 5));
    fixture.deregister(&web, "v1");
    assert_eq!(data(&fixture.ask("v1.web.app.local", Kind::A)), ["10.0.0.2"]);
}

#[test]
fn a_ttl_can_be_zero() {
    let fixture = Fixture::new();
    let service = fixture.service("db", Multivalue, &[(RecordType::A, 0)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.1")]);
    assert_eq!(fixture.ask("db.app.local", Kind::A).answers[0].ttl, 0);
}

#[test]
fn a_change_is_visible_at_once() {
    let fixture = Fixture::new();
    let service = fixture.web(1);
    fixture.register(&service, "i-1", &[("IPV4", "10.9.9.9")]);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.9.9.9"]);
    fixture.deregister(&service, "i-1");
    assert_negative(&fixture.ask("web.app.local", Kind::A), ResponseCode::NXDomain);
}

#[test]
fn updating_a_service_changes_the_records_of_its_instances() {
    let fixture = Fixture::new();
    let service = fixture.service("db", Multivalue, &[(RecordType::Srv, 60), (RecordType::A, 60)]);
    fixture.register(&service, "v1", &[("IPV4", "10.0.0.1"), ("PORT", "80")]);
    let ttl = |name: &str, kind| fixture.ask(name, kind).answers[0].ttl;
    fixture.update(&service, &[(RecordType::Srv, 7), (RecordType::A, 5)]);
    assert_eq!(ttl("db.app.local", Kind::A), 5);
    assert_eq!((ttl("db.app.local", Kind::SRV), ttl("v1.db.app.local", Kind::A)), (7, 7));
    let additional = &fixture.ask("db.app.local", Kind::SRV).additionals;
    assert_eq!((texts(additional), additional[0].ttl), (vec!["10.0.0.1".to_owned()], 7));
    // A type that is left out is removed, and with SRV the names of the instances.
    fixture.update(&service, &[(RecordType::A, 5)]);
    assert_eq!(data(&fixture.ask("db.app.local", Kind::A)), ["10.0.0.1"]);
    assert_negative(&fixture.ask("db.app.local", Kind::SRV), ResponseCode::NoError);
    assert_negative(&fixture.ask("v1.db.app.local", Kind::A), ResponseCode::NXDomain);
    fixture.update(&service, &[]);
    assert_negative(&fixture.ask("db.app.local", Kind::A), ResponseCode::NXDomain);
}

#[test]
fn updating_a_namespace_changes_the_soa_ttl() {
    let fixture = Fixture::new();
    fixture.web(1);
    fixture.set_soa_ttl(3);
    let negative = fixture.ask("none.app.local", Kind::A);
    assert_eq!(negative.authorities[0].ttl, 3);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.1"]);
}

#[test]
fn private_zones_come_before_public_ones() {
    let fixture = Fixture::new();
    fixture.public_namespace("example.com");
    let public = fixture.service_in("example.com", "web", Multivalue, &[(RecordType::A, 60)]);
    fixture.register(&public, "v1", &[("IPV4", "10.0.0.1")]);
    assert_eq!(data(&fixture.ask("web.example.com", Kind::A)), ["10.0.0.1"]);
    assert_eq!(fixture.ask("example.com", Kind::SOA).answers[0].ttl, 60);
    assert!(fixture.table.hidden_zones().is_empty());
    fixture.namespace("example.com");
    let answer = fixture.ask("web.example.com", Kind::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(fixture.table.hidden_zones().len(), 1);
}

#[test]
fn a_change_of_a_name_is_atomic() {
    let fixture = Fixture::new();
    let service = fixture.service("web", Multivalue, &[(RecordType::Srv, 30)]);
    let register = |number: u32| {
        let (address, port) =
            (format!("10.0.{}.{}", number / 250, number % 250), (8000 + number).to_string());
        fixture.register(&service, "t", &[("IPV4", &address), ("PORT", &port)]);
    };
    register(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let answer = fixture.ask("web.app.local", Kind::SRV);
                let [RData::SRV(srv)] = [&answer.answers[0].data] else { panic!("{answer}") };
                let number = u32::from(srv.port) - 8000;
                // Port and address belong to the same registration.
                assert_eq!(texts(&answer.additionals), [format!("10.0.{}.{}", number / 250, number % 250)]);
                assert_eq!(answer.answers.len(), 1);
                assert_eq!(fixture.ask("t.web.app.local", Kind::A).answers.len(), 1);
            }
        });
        (1..2000).for_each(register);
        done.store(true, Ordering::Relaxed);
    });
}

// CNAME records.

#[test]
fn a_cname_comes_first_and_is_followed_in_the_zone() {
    let fixture = Fixture::new();
    fixture.web(2);
    fixture.cname("www", "WEB.app.local");
    fixture.cname("home", "www.app.local");
    let answer = fixture.ask("home.app.local", Kind::A);
    let names: Vec<String> = answer.answers.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(names, ["home.app.local.", "www.app.local.", "web.app.local.", "web.app.local."]);
    assert_eq!(data(&answer), ["10.0.0.1", "10.0.0.2", "web.app.local.", "www.app.local."]);
    assert_eq!(answer.answers[0].ttl, 20);
    assert_eq!(answer.answers[3].ttl, 60);
    // A CNAME question is answered with the first record only.
    assert_eq!(data(&fixture.ask("home.app.local", Kind::CNAME)), ["www.app.local."]);
}

#[test]
fn a_cname_answers_every_type_with_what_its_target_has() {
    let fixture = Fixture::new();
    fixture.web(1);
    fixture.cname("www", "web.app.local");
    fixture.cname("dead", "none.app.local");
    for (name, code) in [("www.app.local", ResponseCode::NoError), ("dead.app.local", ResponseCode::NXDomain)]
    {
        for kind in [Kind::AAAA, Kind::TXT] {
            let answer = fixture.ask(name, kind);
            assert_eq!(answer.metadata.response_code, code);
            assert_eq!(answer.answers.len(), 1);
            assert_eq!(answer.authorities.len(), 1);
        }
    }
}

#[test]
fn a_cname_out_of_the_zone_is_left_to_the_client() {
    let fixture = Fixture::new();
    fixture.cname("out", "lb.example.com");
    fixture.cname("near", "myapp.local");
    for (name, target) in [("out.app.local", "lb.example.com."), ("near.app.local", "myapp.local.")] {
        let answer = fixture.ask(name, Kind::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(data(&answer), [target]);
        assert!(answer.authorities.is_empty());
    }
}

#[test]
fn cname_loops_end() {
    let fixture = Fixture::new();
    fixture.cname("a", "b.app.local");
    fixture.cname("b", "a.app.local");
    fixture.cname("self", "self.app.local");
    assert_eq!(data(&fixture.ask("a.app.local", Kind::A)), ["a.app.local.", "b.app.local."]);
    assert_eq!(data(&fixture.ask("self.app.local", Kind::A)), ["self.app.local."]);
}

#[test]
fn a_long_cname_chain_is_cut_off() {
    let fixture = Fixture::new();
    for number in 0..20 {
        fixture.cname(&format!("n{number}"), &format!("n{}.app.local", number + 1));
    }
    assert_eq!(fixture.ask("n0.app.local", Kind::A).answers.len(), 9);
}

#[test]
fn a_cname_into_a_zone_below_is_followed_there() {
    let fixture = Fixture::new();
    fixture.namespace("svc.app.local");
    let service = fixture.service_in("svc.app.local", "db", Multivalue, &[(RecordType::A, 7)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.7")]);
    fixture.cname("db", "db.svc.app.local");
    fixture.cname("dead", "x.svc.app.local");
    assert_eq!(data(&fixture.ask("db.app.local", Kind::A)), ["10.0.0.7", "db.svc.app.local."]);
    let negative = fixture.ask("dead.app.local", Kind::A);
    assert_eq!(negative.authorities[0].name, Name::from_ascii("svc.app.local.").unwrap());
}

// Negative answers.

#[test]
fn a_name_without_the_type_is_nodata() {
    let fixture = Fixture::new();
    fixture.web(1);
    for kind in [Kind::AAAA, Kind::SRV, Kind::CNAME, Kind::TXT, Kind::DS, Kind::HTTPS, Kind::Unknown(65280)] {
        assert_negative(&fixture.ask("web.app.local", kind), ResponseCode::NoError);
    }
}

#[test]
fn names_without_records_do_not_exist_for_any_type() {
    let fixture = Fixture::new();
    fixture.web(0);
    let http = fixture.http_service("plain");
    fixture.register(&http, "i", &[("IPV4", "10.0.0.1")]);
    for name in ["none.app.local", "web.app.local", "plain.app.local", "below.none.app.local"] {
        for kind in [Kind::A, Kind::AAAA, Kind::SOA, Kind::ANY] {
            assert_negative(&fixture.ask(name, kind), ResponseCode::NXDomain);
        }
    }
}

#[test]
fn a_name_exists_while_a_name_below_it_does() {
    let fixture = Fixture::new();
    let service = fixture.service("_http._tcp", Multivalue, &[(RecordType::Srv, 30)]);
    fixture.register(&service, "x.y", &[("IPV4", "10.0.0.1"), ("PORT", "80")]);
    assert_negative(&fixture.ask("_tcp.app.local", Kind::A), ResponseCode::NoError);
    assert_negative(&fixture.ask("y._http._tcp.app.local", Kind::A), ResponseCode::NoError);
    assert_negative(&fixture.ask("z._http._tcp.app.local", Kind::A), ResponseCode::NXDomain);
    assert_negative(&fixture.ask("z.x.y._http._tcp.app.local", Kind::A), ResponseCode::NXDomain);
    fixture.deregister(&service, "x.y");
    assert_negative(&fixture.ask("_tcp.app.local", Kind::A), ResponseCode::NXDomain);
}

#[test]
fn names_with_a_search_suffix_do_not_exist() {
    let fixture = Fixture::new();
    fixture.web(1);
    // The zone itself is in the search list.
    for kind in [Kind::A, Kind::AAAA] {
        assert_negative(&fixture.ask("web.app.local.app.local", kind), ResponseCode::NXDomain);
        assert_negative(&fixture.ask("below.web.app.local", kind), ResponseCode::NXDomain);
    }
}

#[test]
fn names_in_no_zone_are_refused() {
    let fixture = Fixture::new();
    for name in ["example.com", "local", "myapp.local", ".", "web.app.local.svc.cluster.local"] {
        let answer = fixture.ask(name, Kind::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
        assert!(!answer.metadata.authoritative);
        assert!(answer.authorities.is_empty());
    }
    // Hosts decide by this question whether names in `local` belong to multicast DNS.
    assert_eq!(fixture.ask("local", Kind::SOA).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn the_most_specific_zone_answers() {
    let fixture = Fixture::new();
    fixture.namespace("svc.app.local");
    let hidden = fixture.service("x.svc", Multivalue, &[(RecordType::A, 60)]);
    fixture.register(&hidden, "i", &[("IPV4", "10.0.0.1")]);
    let answer = fixture.ask("x.svc.app.local", Kind::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(answer.authorities[0].name, Name::from_ascii("svc.app.local.").unwrap());
}

// The apex.

#[test]
fn the_apex_has_soa_and_ns() {
    let fixture = Fixture::new();
    let answer = fixture.ask("App.Local", Kind::SOA);
    let RData::SOA(soa) = &answer.answers[0].data else { panic!("{answer}") };
    assert_eq!(soa.mname, Name::from_ascii("app.local.").unwrap());
    assert_eq!(soa.rname, Name::from_ascii("hostmaster.app.local.").unwrap());
    assert_eq!((soa.serial, soa.refresh, soa.retry, soa.expire), (1, 7200, 900, 1_209_600));
    assert_eq!((soa.minimum, answer.answers[0].ttl), (SOA_TTL, SOA_TTL));
    assert_eq!(data(&fixture.ask("app.local", Kind::NS)), ["app.local."]);
    assert_eq!(fixture.ask("app.local", Kind::ANY).answers[0].record_type(), Kind::SOA);
    assert_negative(&fixture.ask("app.local", Kind::A), ResponseCode::NoError);
    assert_negative(&fixture.ask("none.app.local", Kind::NS), ResponseCode::NXDomain);
}

#[test]
fn a_zone_with_the_longest_name_answers() {
    let fixture = Fixture::new();
    let zone = format!("{0}.{0}.{0}.{1}", "a".repeat(62), "b".repeat(64 - 2 - 1));
    assert_eq!(zone.len(), 250);
    fixture.namespace(&zone);
    let answer = fixture.ask(&format!("x.{zone}"), Kind::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let RData::SOA(soa) = &answer.authorities[0].data else { panic!("{answer}") };
    assert_eq!(soa.rname, soa.mname);
}

#[test]
fn a_service_can_be_at_the_apex() {
    let fixture = Fixture::new();
    let service = fixture.service(".", Multivalue, &[(RecordType::A, 60)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.1")]);
    assert_eq!(data(&fixture.ask("app.local", Kind::A)), ["10.0.0.1"]);
    assert_eq!(fixture.ask("app.local", Kind::SOA).answers.len(), 1);
}

#[test]
fn the_hidden_zone_of_two_with_one_name_is_listed() {
    let fixture = Fixture::new();
    assert!(fixture.table.hidden_zones().is_empty());
    // A zone with the same name in another VPC.
    let hidden = fixture.second_app_local();
    let [reported] = &fixture.table.hidden_zones()[..] else { panic!() };
    assert_eq!(reported.name.to_string(), "app.local.");
    assert_eq!(reported.namespace.as_str(), hidden);
}
