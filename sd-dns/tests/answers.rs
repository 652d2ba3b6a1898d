//! The rules of DNS, each on packets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, RecordType as Kind, rdata::A},
    serialize::binary::BinEncodable,
};
use sd_core::{
    health::CustomHealthStatus,
    model::{
        RecordType,
        RoutingPolicy::{Multivalue, Weighted},
    },
};
use sd_dns::Transport;
use support::{Fixture, SOA_TTL, assert_negative, data, parse, query, question, question_with_edns, texts};

/// A query for the A records of `web.app.local`, and where its question ends.
fn raw() -> (Vec<u8>, usize) {
    let packet = question("web.app.local", Kind::A);
    let end = packet.len();
    (packet, end)
}

// The header and the question.

#[test]
fn id_and_question_are_repeated_byte_for_byte_and_flags_say_authoritative() {
    let fixture = Fixture::new();
    fixture.web(1);
    let packet = question("wEb.APP.local", Kind::A);
    let answer = fixture.reply(&packet, Transport::Udp).unwrap();
    assert_eq!(answer[..2], packet[..2]);
    // QR, AA, RD; no recursion is available.
    assert_eq!(answer[2..4], [0x85, 0x00]);
    assert_eq!(answer[12..packet.len()], packet[12..]);
    // One answer, whose owner is a pointer to the question's name.
    assert_eq!(answer[4..12], [0, 1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(answer[packet.len()..], [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1]);
}

#[test]
fn flags_of_a_query_that_mean_nothing_are_not_repeated() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, _) = raw();
    // AA, TC, no RD; RA, Z, AD, CD, and a response code.
    packet[2..4].copy_from_slice(&[0x06, 0xFF]);
    let answer = fixture.reply(&packet, Transport::Udp).unwrap();
    assert_eq!(answer[2..4], [0x84, 0x00]);
    assert_eq!(data(&parse(&answer)), ["10.0.0.1"]);
}

#[test]
fn responses_and_fragments_of_a_header_are_not_answered() {
    let fixture = Fixture::new();
    let (mut packet, _) = raw();
    for len in 0..12 {
        assert_eq!(fixture.reply(&packet[..len], Transport::Udp), None, "{len}");
    }
    packet[2] |= 0x80;
    assert_eq!(fixture.reply(&packet, Transport::Udp), None);
}

#[test]
fn octets_after_the_message_do_not_matter() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, _) = raw();
    packet.extend_from_slice(b"rest");
    assert_eq!(data(&fixture.send(&packet)), ["10.0.0.1"]);
}

#[test]
fn a_label_may_have_any_octets() {
    let fixture = Fixture::new();
    fixture.web(1);
    // RFC 2181 section 11. Of them only the letters of ASCII have two cases (RFC 4343).
    for label in [&b"\x04\0\xFF. "[..], b"\x01\xC1", b"\x03we\xE2", b"\x03w.b"] {
        let mut packet = raw().0;
        packet.splice(12..16, label.iter().copied());
        let answer = fixture.reply(&packet, Transport::Udp).unwrap();
        assert_eq!(answer[12..packet.len()], packet[12..]);
        assert_negative(&parse(&answer), ResponseCode::NXDomain);
    }
}

// Positive answers.

#[test]
fn few_records_are_all_answered_and_of_many_eight() {
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
fn the_order_changes() {
    let fixture = Fixture::new();
    fixture.web(8);
    let first = |_| fixture.ask("web.app.local", Kind::A).answers[0].data.clone();
    let firsts: Vec<RData> = (0..200).map(first).collect();
    assert!((1..=8).all(|n| firsts.contains(&RData::A(A::new(10, 0, 0, n)))));
}

#[test]
fn weighted_answers_one() {
    let fixture = Fixture::new();
    let service = fixture.service("api", Weighted, &[(RecordType::A, 5)]);
    fixture.register(&service, "a", &[("IPV4", "10.0.0.1")]);
    fixture.register(&service, "b", &[("IPV4", "10.0.0.2")]);
    let answers: BTreeSet<Vec<String>> =
        (0..100).map(|_| data(&fixture.ask("api.app.local", Kind::A))).collect();
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [["10.0.0.1"], ["10.0.0.2"]]);
}

#[test]
fn weighted_draws_among_instances_and_not_among_what_they_share() {
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
        // One of ten. Half of them, if the nine counted as one.
        assert!((1..600).contains(&others), "{name}: {others}");
    }
}

#[test]
fn unhealthy_ones_are_left_out_until_all_are() {
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
fn an_address_that_two_instances_share_is_answered_once() {
    let fixture = Fixture::new();
    let service = fixture.web(1);
    fixture.register(&service, "other", &[("IPV4", "10.0.0.1")]);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.1"]);
    fixture.deregister(&service, "i-1");
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.1"]);
}

#[test]
fn srv_records_point_to_hosts_whose_addresses_are_added() {
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
    // The additional record's owner is the label and a pointer to the question's name.
    assert_eq!(data[25..31], [1, b't', 0xC0, 0x0C, 0, 1]);
}

#[test]
fn instances_whose_ids_differ_in_case_are_one_host() {
    let fixture = Fixture::new();
    let service = fixture.service("web", Multivalue, &[(RecordType::Srv, 30)]);
    fixture.register(&service, "t", &[("IPV4", "10.0.0.1"), ("PORT", "80")]);
    fixture.register(&service, "T", &[("IPV4", "10.0.0.2"), ("PORT", "80")]);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::SRV)), ["1 1 80 t.web.app.local."]);
    assert_eq!(data(&fixture.ask("t.web.app.local", Kind::A)), ["10.0.0.1", "10.0.0.2"]);
}

#[test]
fn a_name_may_have_several_owners() {
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
fn a_ttl_may_be_zero() {
    let fixture = Fixture::new();
    let service = fixture.service("db", Multivalue, &[(RecordType::A, 0)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.1")]);
    assert_eq!(fixture.ask("db.app.local", Kind::A).answers[0].ttl, 0);
}

#[test]
fn a_change_is_seen_at_once() {
    let fixture = Fixture::new();
    let service = fixture.web(1);
    fixture.register(&service, "i-1", &[("IPV4", "10.9.9.9")]);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.9.9.9"]);
    fixture.deregister(&service, "i-1");
    assert_negative(&fixture.ask("web.app.local", Kind::A), ResponseCode::NXDomain);
}

#[test]
fn an_update_of_a_service_changes_the_records_of_its_instances() {
    let fixture = Fixture::new();
    let service = fixture.service("db", Multivalue, &[(RecordType::Srv, 60), (RecordType::A, 60)]);
    fixture.register(&service, "v1", &[("IPV4", "10.0.0.1"), ("PORT", "80")]);
    let ttl = |name: &str, kind| fixture.ask(name, kind).answers[0].ttl;
    fixture.update(&service, &[(RecordType::Srv, 7), (RecordType::A, 5)]);
    assert_eq!(ttl("db.app.local", Kind::A), 5);
    assert_eq!((ttl("db.app.local", Kind::SRV), ttl("v1.db.app.local", Kind::A)), (7, 7));
    let additional = &fixture.ask("db.app.local", Kind::SRV).additionals;
    assert_eq!((texts(additional), additional[0].ttl), (vec!["10.0.0.1".to_owned()], 7));
    // A type that is left out goes, and with SRV the names of the instances.
    fixture.update(&service, &[(RecordType::A, 5)]);
    assert_eq!(data(&fixture.ask("db.app.local", Kind::A)), ["10.0.0.1"]);
    assert_negative(&fixture.ask("db.app.local", Kind::SRV), ResponseCode::NoError);
    assert_negative(&fixture.ask("v1.db.app.local", Kind::A), ResponseCode::NXDomain);
    fixture.update(&service, &[]);
    assert_negative(&fixture.ask("db.app.local", Kind::A), ResponseCode::NXDomain);
}

#[test]
fn an_update_of_a_namespace_changes_the_soa_ttl() {
    let fixture = Fixture::new();
    fixture.web(1);
    fixture.set_soa_ttl(3);
    let negative = fixture.ask("none.app.local", Kind::A);
    assert_eq!(negative.authorities[0].ttl, 3);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::A)), ["10.0.0.1"]);
}

#[test]
fn public_zones_answer_and_private_ones_come_first() {
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
fn an_update_is_never_seen_half_done() {
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
                // The address is that of the same registration.
                assert_eq!(texts(&answer.additionals), [format!("10.0.{}.{}", number / 250, number % 250)]);
                assert_eq!(answer.answers.len(), 1);
                assert_eq!(fixture.ask("t.web.app.local", Kind::A).answers.len(), 1);
            }
        });
        (1..2000).for_each(register);
        done.store(true, Ordering::Relaxed);
    });
}

// Aliases.

fn alias(fixture: &Fixture, name: &str, target: &str) {
    let service = fixture.service(name, Weighted, &[(RecordType::Cname, 20)]);
    fixture.register(&service, "i", &[("CNAME", target)]);
}

#[test]
fn an_alias_comes_first_and_is_followed_in_the_zone() {
    let fixture = Fixture::new();
    fixture.web(2);
    alias(&fixture, "www", "WEB.app.local");
    alias(&fixture, "home", "www.app.local");
    let answer = fixture.ask("home.app.local", Kind::A);
    let names: Vec<String> = answer.answers.iter().map(|record| record.name.to_string()).collect();
    assert_eq!(names, ["home.app.local.", "www.app.local.", "web.app.local.", "web.app.local."]);
    assert_eq!(data(&answer), ["10.0.0.1", "10.0.0.2", "web.app.local.", "www.app.local."]);
    assert_eq!(answer.answers[0].ttl, 20);
    assert_eq!(answer.answers[3].ttl, 60);
    // A question for the alias itself is not followed.
    assert_eq!(data(&fixture.ask("home.app.local", Kind::CNAME)), ["www.app.local."]);
}

#[test]
fn an_alias_answers_every_type_and_says_what_its_target_has_not() {
    let fixture = Fixture::new();
    fixture.web(1);
    alias(&fixture, "www", "web.app.local");
    alias(&fixture, "dead", "none.app.local");
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
fn an_alias_out_of_the_zone_is_left_to_the_resolver() {
    let fixture = Fixture::new();
    alias(&fixture, "out", "lb.example.com");
    alias(&fixture, "near", "myapp.local");
    for (name, target) in [("out.app.local", "lb.example.com."), ("near.app.local", "myapp.local.")] {
        let answer = fixture.ask(name, Kind::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert_eq!(data(&answer), [target]);
        assert!(answer.authorities.is_empty());
    }
}

#[test]
fn aliases_that_go_round_end() {
    let fixture = Fixture::new();
    alias(&fixture, "a", "b.app.local");
    alias(&fixture, "b", "a.app.local");
    alias(&fixture, "self", "self.app.local");
    assert_eq!(data(&fixture.ask("a.app.local", Kind::A)), ["a.app.local.", "b.app.local."]);
    assert_eq!(data(&fixture.ask("self.app.local", Kind::A)), ["self.app.local."]);
}

#[test]
fn a_long_chain_of_aliases_is_cut() {
    let fixture = Fixture::new();
    for number in 0..20 {
        alias(&fixture, &format!("n{number}"), &format!("n{}.app.local", number + 1));
    }
    assert_eq!(fixture.ask("n0.app.local", Kind::A).answers.len(), 9);
}

#[test]
fn an_alias_into_a_zone_below_is_followed_there() {
    let fixture = Fixture::new();
    fixture.namespace("svc.app.local");
    let service = fixture.service_in("svc.app.local", "db", Multivalue, &[(RecordType::A, 7)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.7")]);
    alias(&fixture, "db", "db.svc.app.local");
    alias(&fixture, "dead", "x.svc.app.local");
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
fn a_name_exists_as_long_as_one_below_it_does() {
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
fn a_search_list_is_walked_through_names_that_do_not_exist() {
    let fixture = Fixture::new();
    fixture.web(1);
    // The zone's own name as a suffix of the name that is looked for.
    for kind in [Kind::A, Kind::AAAA] {
        assert_negative(&fixture.ask("web.app.local.app.local", kind), ResponseCode::NXDomain);
        assert_negative(&fixture.ask("below.web.app.local", kind), ResponseCode::NXDomain);
    }
}

#[test]
fn other_zones_are_refused() {
    let fixture = Fixture::new();
    for name in ["example.com", "local", "myapp.local", ".", "web.app.local.svc.cluster.local"] {
        let answer = fixture.ask(name, Kind::A);
        assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
        assert!(!answer.metadata.authoritative);
        assert!(answer.authorities.is_empty());
    }
    // By this hosts decide whether the names in `local` are those of multicast DNS.
    assert_eq!(fixture.ask("local", Kind::SOA).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn of_zones_in_zones_the_most_specific_one_answers() {
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
fn a_zone_of_the_longest_name_answers() {
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
fn a_service_may_stand_at_the_apex() {
    let fixture = Fixture::new();
    let service = fixture.service(".", Multivalue, &[(RecordType::A, 60)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.1")]);
    assert_eq!(data(&fixture.ask("app.local", Kind::A)), ["10.0.0.1"]);
    assert_eq!(fixture.ask("app.local", Kind::SOA).answers.len(), 1);
}

// EDNS and sizes.

#[test]
fn opt_is_answered_if_asked() {
    let fixture = Fixture::new();
    fixture.web(1);
    assert!(fixture.ask("web.app.local", Kind::A).edns.is_none());
    for (name, kind) in [
        ("web.app.local", Kind::A),
        ("web.app.local", Kind::AAAA),
        ("none.app.local", Kind::A),
        ("example.com", Kind::A),
    ] {
        let answer = fixture.send(&question_with_edns(name, kind, 4096));
        let edns = answer.edns.unwrap();
        assert_eq!((edns.version(), edns.max_payload(), edns.flags().dnssec_ok), (0, 1232, false));
        assert!(edns.options().as_ref().is_empty());
    }
}

#[test]
fn dnssec_ok_is_repeated_and_unknown_options_and_flags_are_not() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, end) = raw();
    packet[11] = 1;
    packet.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0xFF, 0xFF, 0, 9, 0, 10, 0, 5, 1, 2, 3, 4, 5]);
    let answer = fixture.reply(&packet, Transport::Udp).unwrap();
    assert_eq!(answer[end + 16..], [0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]);
}

#[test]
fn known_options_are_not_answered_either() {
    let fixture = Fixture::new();
    fixture.web(1);
    // Client subnet (RFC 7871), one of no family, cookie (RFC 7873), keepalive (RFC 7828), padding (RFC 7830).
    let options: [&[u8]; 5] = [
        &[0, 8, 0, 7, 0, 1, 24, 0, 10, 0, 0],
        &[0, 8, 0, 4, 0, 9, 255, 0],
        &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0, 11, 0, 0],
        &[0, 12, 0, 2, 0, 0],
    ];
    for option in options {
        let (mut packet, end) = raw();
        packet[11] = 1;
        packet.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, option.len() as u8]);
        packet.extend_from_slice(option);
        for transport in [Transport::Udp, Transport::Tcp] {
            let answer = fixture.reply(&packet, transport).unwrap();
            assert_eq!(answer[end + 16..], [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 0], "{option:?}");
        }
    }
}

#[test]
fn another_edns_version_is_refused_with_ours() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, _) = raw();
    packet[11] = 1;
    packet.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 1, 0x80, 0, 0, 0]);
    let answer = fixture.send(&packet);
    // BADVERS, which hickory knows by another name of the same number.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.as_ref().unwrap().version(), 0);
    assert!(answer.answers.is_empty());
    assert_eq!(answer.queries.len(), 1);
}

#[test]
fn what_is_too_long_loses_additional_records_first_and_then_all() {
    let fixture = Fixture::new();
    let service = fixture.service("web", Multivalue, &[(RecordType::Srv, 30)]);
    for number in 0..8 {
        let id = format!("{number}-0123456789abcdef0123456789abcdef");
        fixture.register(&service, &id, &[("IPV4", &format!("10.0.0.{number}")), ("PORT", "80")]);
    }
    let whole = parse(&fixture.reply(&question("web.app.local", Kind::SRV), Transport::Tcp).unwrap());
    assert_eq!((whole.answers.len(), whole.additionals.len()), (8, 8));

    let some = fixture.reply(&question_with_edns("web.app.local", Kind::SRV, 900), Transport::Udp).unwrap();
    let parsed = parse(&some);
    assert!(some.len() <= 900 && !parsed.metadata.truncation && parsed.edns.is_some());
    assert_eq!(parsed.answers.len(), 8);
    assert!((1..8).contains(&parsed.additionals.len()));

    for packet in [question("web.app.local", Kind::SRV), question_with_edns("web.app.local", Kind::SRV, 100)]
    {
        let none = fixture.reply(&packet, Transport::Udp).unwrap();
        let asked = parse(&packet);
        let parsed = parse(&none);
        assert!(none.len() <= 512 && parsed.metadata.truncation && parsed.metadata.authoritative);
        assert!(parsed.answers.is_empty() && parsed.additionals.is_empty());
        assert_eq!(parsed.queries, asked.queries);
        assert_eq!(parsed.edns.is_some(), asked.edns.is_some());
    }
}

#[test]
fn eight_addresses_fit_without_edns_whatever_the_name() {
    let fixture = Fixture::new();
    let name = ["a".repeat(63), "b".repeat(63)].join(".");
    let service = fixture.service(&name[..127], Multivalue, &[(RecordType::Aaaa, 60)]);
    for number in 1..=9 {
        fixture.register(&service, &format!("i-{number}"), &[("IPV6", &format!("fd00::{number}"))]);
    }
    let answer = fixture.ask(&format!("{}.app.local", &name[..127]), Kind::AAAA);
    assert_eq!(answer.answers.len(), 8);
    assert!(!answer.metadata.truncation);
}

// What is not a usual query.

fn code(fixture: &Fixture, packet: &[u8]) -> (ResponseCode, usize) {
    let answer = fixture.send(packet);
    assert!(answer.answers.is_empty() && answer.authorities.is_empty());
    assert!(!answer.metadata.authoritative);
    (answer.metadata.response_code, answer.queries.len())
}

#[test]
fn other_operations_are_not_implemented() {
    let fixture = Fixture::new();
    for opcode in [1u8, 2, 3, 4, 5, 6, 15] {
        let (mut packet, end) = raw();
        packet[2] = opcode << 3 | 1;
        let answer = fixture.reply(&packet, Transport::Udp).unwrap();
        assert_eq!(answer[2..4], [0x81 | opcode << 3, 4], "{opcode}");
        assert_eq!(answer.len(), end);
    }
}

#[test]
fn a_query_has_one_question() {
    let fixture = Fixture::new();
    let (mut packet, end) = raw();
    packet[5] = 0;
    assert_eq!(code(&fixture, &packet), (ResponseCode::FormErr, 0));
    packet[5] = 2;
    packet.extend_from_within(12..end);
    assert_eq!(code(&fixture, &packet), (ResponseCode::FormErr, 0));
    assert_eq!(code(&fixture, &packet[..12]), (ResponseCode::FormErr, 0));
}

#[test]
fn counts_that_lie_are_a_format_error() {
    let fixture = Fixture::new();
    fixture.web(1);
    for at in [7, 9, 11] {
        let (mut packet, _) = raw();
        packet[at] = 1;
        assert_eq!(code(&fixture, &packet).0, ResponseCode::FormErr, "{at}");
    }
}

#[test]
fn bad_names_are_a_format_error() {
    let fixture = Fixture::new();
    let header = &raw().0[..12];
    let long = [&b"\x01a".repeat(128)[..], b"\0"].concat();
    // Pointers to itself, back, forward and into the header; labels of unknown types and such as are cut off.
    let names: [&[u8]; 9] = [
        b"\xC0\x0C",
        b"\x01a\xC0\x0C",
        b"\xC0\x20",
        b"\xC0\x00",
        b"\x40a\0",
        b"\x80\0",
        b"\x05ab\0",
        b"\x03web",
        &long,
    ];
    for name in names {
        let packet = [header, name, &[0, 1, 0, 1]].concat();
        assert_eq!(code(&fixture, &packet).0, ResponseCode::FormErr, "{name:?}");
    }
}

#[test]
fn two_opt_records_are_a_format_error() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, _) = raw();
    packet[11] = 2;
    packet.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0].repeat(2));
    assert_eq!(code(&fixture, &packet).0, ResponseCode::FormErr);
}

#[test]
fn other_classes_are_refused() {
    let fixture = Fixture::new();
    fixture.web(1);
    for class in [0u8, 3, 4, 254, 255] {
        let (mut packet, end) = raw();
        packet[end - 1] = class;
        assert_eq!(code(&fixture, &packet), (ResponseCode::Refused, 1), "{class}");
    }
}

#[test]
fn transfers_and_meta_types_give_no_data() {
    let fixture = Fixture::new();
    fixture.web(1);
    for (kind, expected) in [
        (252, ResponseCode::Refused),
        (251, ResponseCode::Refused),
        (253, ResponseCode::NotImp),
        (254, ResponseCode::NotImp),
        (250, ResponseCode::NotImp),
        (249, ResponseCode::NotImp),
        (41, ResponseCode::FormErr),
        (0, ResponseCode::FormErr),
    ] {
        let (mut packet, end) = raw();
        packet[end - 3] = kind;
        assert_eq!(code(&fixture, &packet), (expected, 1), "{kind}");
        let in_stream = fixture.reply(&packet, Transport::Tcp);
        assert_eq!(in_stream, fixture.reply(&packet, Transport::Udp), "{kind}");
    }
}

#[test]
fn any_gives_one_record_set() {
    let fixture = Fixture::new();
    let service = fixture.service("web", Multivalue, &[(RecordType::A, 60), (RecordType::Aaaa, 60)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.1"), ("IPV6", "fd00::1")]);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::ANY)), ["10.0.0.1"]);
    alias(&fixture, "www", "web.app.local");
    assert_eq!(data(&fixture.ask("www.app.local", Kind::ANY)), ["web.app.local."]);
}

#[test]
fn records_beside_the_question_are_read_and_ignored() {
    let fixture = Fixture::new();
    fixture.web(1);
    let mut message: Message = query("web.app.local", Kind::A);
    let known = fixture.ask("web.app.local", Kind::A).answers.remove(0);
    message.add_answer(known.clone());
    message.add_additional(known);
    let mut edns = hickory_proto::op::Edns::new();
    edns.set_max_payload(1400).set_dnssec_ok(true);
    message.set_edns(edns);
    let answer = fixture.send(&message.to_bytes().unwrap());
    assert_eq!(data(&answer), ["10.0.0.1"]);
    assert!(answer.edns.unwrap().flags().dnssec_ok);
}

#[test]
fn the_hidden_of_two_equal_zones_is_reported() {
    let fixture = Fixture::new();
    assert!(fixture.table.hidden_zones().is_empty());
    // The same name in another VPC.
    let hidden = fixture.second_app_local();
    let [reported] = &fixture.table.hidden_zones()[..] else { panic!() };
    assert_eq!(reported.name.to_string(), "app.local.");
    assert_eq!(reported.namespace.as_str(), hidden);
}
