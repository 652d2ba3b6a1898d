//! Messages: headers, questions, sizes, EDNS, and uncommon queries.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType as Kind,
    serialize::binary::BinEncodable,
};
use sd_core::model::{RecordType, RoutingPolicy::Multivalue};
use sd_dns::Transport;
use support::{Fixture, assert_negative, data, parse, query, question, question_with_edns};

/// A query for the A records of `web.app.local`, and the end of its question.
fn raw() -> (Vec<u8>, usize) {
    let packet = question("web.app.local", Kind::A);
    let end = packet.len();
    (packet, end)
}

// The header and the question.

#[test]
fn id_and_question_are_copied_octet_by_octet() {
    let fixture = Fixture::new();
    fixture.web(1);
    let packet = question("wEb.APP.local", Kind::A);
    let answer = fixture.reply(&packet, Transport::Udp).unwrap();
    assert_eq!(answer[..2], packet[..2]);
    // QR, AA and RD, but not RA.
    assert_eq!(answer[2..4], [0x85, 0x00]);
    assert_eq!(answer[12..packet.len()], packet[12..]);
    // One answer record, whose owner is a pointer to QNAME.
    assert_eq!(answer[4..12], [0, 1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(answer[packet.len()..], [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1]);
}

#[test]
fn meaningless_flags_of_a_query_are_not_copied() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, _) = raw();
    // AA, TC, RA, Z, AD, CD and a response code, but not RD.
    packet[2..4].copy_from_slice(&[0x06, 0xFF]);
    let answer = fixture.reply(&packet, Transport::Udp).unwrap();
    assert_eq!(answer[2..4], [0x84, 0x00]);
    assert_eq!(data(&parse(&answer)), ["10.0.0.1"]);
}

#[test]
fn responses_and_incomplete_headers_are_not_answered() {
    let fixture = Fixture::new();
    let (mut packet, _) = raw();
    for len in 0..12 {
        assert_eq!(fixture.reply(&packet[..len], Transport::Udp), None, "{len}");
    }
    packet[2] |= 0x80;
    assert_eq!(fixture.reply(&packet, Transport::Udp), None);
}

#[test]
fn octets_after_the_message_are_ignored() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, _) = raw();
    packet.extend_from_slice(b"rest");
    assert_eq!(data(&fixture.send(&packet)), ["10.0.0.1"]);
}

#[test]
fn a_label_can_have_any_octets() {
    let fixture = Fixture::new();
    fixture.web(1);
    // RFC 2181 section 11. Only ASCII letters have two cases (RFC 4343).
    for label in [&b"\x04\0\xFF. "[..], b"\x01\xC1", b"\x03we\xE2", b"\x03w.b"] {
        let mut packet = raw().0;
        packet.splice(12..16, label.iter().copied());
        let answer = fixture.reply(&packet, Transport::Udp).unwrap();
        assert_eq!(answer[12..packet.len()], packet[12..]);
        assert_negative(&parse(&answer), ResponseCode::NXDomain);
    }
}

// EDNS and sizes.

#[test]
fn a_query_with_edns_gets_a_response_with_edns() {
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
fn do_is_copied_and_unknown_options_and_flags_are_not() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, end) = raw();
    packet[11] = 1;
    packet.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0xFF, 0xFF, 0, 9, 0, 10, 0, 5, 1, 2, 3, 4, 5]);
    let answer = fixture.reply(&packet, Transport::Udp).unwrap();
    assert_eq!(answer[end + 16..], [0, 0, 41, 0x04, 0xD0, 0, 0, 0x80, 0, 0, 0]);
}

#[test]
fn assigned_options_are_not_answered() {
    let fixture = Fixture::new();
    fixture.web(1);
    // Client subnet (RFC 7871), the same of an unknown family, cookie (RFC 7873), keepalive (RFC 7828), padding (RFC 7830).
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
fn another_edns_version_is_badvers() {
    let fixture = Fixture::new();
    fixture.web(1);
    let (mut packet, _) = raw();
    packet[11] = 1;
    packet.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 1, 0x80, 0, 0, 0]);
    let answer = fixture.send(&packet);
    // BADVERS. hickory-proto has another name for the number.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.as_ref().unwrap().version(), 0);
    assert!(answer.answers.is_empty());
    assert_eq!(answer.queries.len(), 1);
}

#[test]
fn a_long_response_loses_additional_records_first_then_all() {
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

// Uncommon queries.

fn code(fixture: &Fixture, packet: &[u8]) -> (ResponseCode, usize) {
    let answer = fixture.send(packet);
    assert!(answer.answers.is_empty() && answer.authorities.is_empty());
    assert!(!answer.metadata.authoritative);
    (answer.metadata.response_code, answer.queries.len())
}

#[test]
fn other_opcodes_are_not_implemented() {
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
fn wrong_section_counts_are_a_format_error() {
    let fixture = Fixture::new();
    fixture.web(1);
    for at in [7, 9, 11] {
        let (mut packet, _) = raw();
        packet[at] = 1;
        assert_eq!(code(&fixture, &packet).0, ResponseCode::FormErr, "{at}");
    }
}

#[test]
fn malformed_qnames_are_a_format_error() {
    let fixture = Fixture::new();
    let header = &raw().0[..12];
    let long = [&b"\x01a".repeat(128)[..], b"\0"].concat();
    // Pointers to itself, back, forward and into the header; unknown label types; incomplete labels.
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
fn transfers_and_meta_types_are_refused() {
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
fn any_is_answered_with_one_record_set() {
    let fixture = Fixture::new();
    let service = fixture.service("web", Multivalue, &[(RecordType::A, 60), (RecordType::Aaaa, 60)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.1"), ("IPV6", "fd00::1")]);
    assert_eq!(data(&fixture.ask("web.app.local", Kind::ANY)), ["10.0.0.1"]);
    fixture.cname("www", "web.app.local");
    assert_eq!(data(&fixture.ask("www.app.local", Kind::ANY)), ["web.app.local."]);
}

#[test]
fn other_records_of_a_query_are_ignored() {
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
