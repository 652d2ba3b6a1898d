//! Arbitrary octets: nothing panics, and every response is well-formed, belongs to its query and is within its size.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::sync::{Arc, LazyLock};

use hickory_proto::{
    op::{Edns, Message, MessageType},
    rr::RecordType as Kind,
};
use proptest::prelude::*;
use sd_core::model::{
    RecordType,
    RoutingPolicy::{Multivalue, Weighted},
};
use sd_dns::{Answerer, Transport};
use support::{Balancers, Fixture, question, question_with_edns};

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let mut fixture = Fixture::new();
    let resolver = Arc::new(Balancers::new());
    fixture.answerer = Answerer::new(fixture.table.clone()).with_alias_resolver(resolver);
    fixture.web(20);
    let srv = fixture.service("_http._tcp", Multivalue, &[(RecordType::Srv, 30)]);
    for number in 0..20 {
        let id = format!("{number:064}");
        fixture.register(&srv, &id, &[("IPV4", "10.0.0.1"), ("IPV6", "fd00::1"), ("PORT", "80")]);
    }
    let alias = fixture.service("www", Weighted, &[(RecordType::Cname, 20)]);
    fixture.register(&alias, "i", &[("CNAME", "_http._tcp.app.local")]);
    let app = fixture.service("app", Weighted, &[(RecordType::A, 20)]);
    for (id, target) in [("i", "lb.example.com"), ("j", "gone.example.com")] {
        fixture.register_alias(&app, id, target);
    }
    fixture
});

fn check(packet: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let Some(answer) = FIXTURE.reply(packet, transport) else {
            assert!(packet.len() < 12 || packet[2] & 0x80 != 0, "a query without a response");
            continue;
        };
        let parsed = Message::from_vec(&answer).unwrap();
        assert_eq!(parsed.metadata.message_type, MessageType::Response);
        assert_eq!(answer[..2], packet[..2]);
        assert_eq!(answer[2] & 0x79, packet[2] & 0x79, "opcode and RD");
        assert_eq!(answer[3] & 0xF0, 0);
        assert!(parsed.queries.len() <= 1);
        assert_eq!(usize::from(answer[5]), parsed.queries.len());
        let asked = Message::from_vec(packet);
        let payload = asked.as_ref().ok().and_then(|asked| asked.edns.as_ref()).map(Edns::max_payload);
        // EDNS is read even if another record is damaged.
        let has_opt = || packet.windows(3).any(|octets| octets == [0, 0, 41]);
        assert!(parsed.edns.is_none() || payload.is_some() || asked.is_err() && has_opt());
        if let Transport::Udp = transport {
            let without = if parsed.edns.is_some() { 1232 } else { 512 };
            let limit = payload.unwrap_or(without).clamp(512, 1232);
            assert!(answer.len() <= usize::from(limit), "{}", answer.len());
        }
        if let (Ok(asked), [query]) = (&asked, &parsed.queries[..]) {
            assert_eq!(asked.queries[0].name(), query.name());
        }
    }
}

fn queries() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "web.app.local",
        "_http._tcp.app.local",
        "www.app.local",
        "app.app.local",
        "none.app.local",
        "_tcp.app.local",
        "app.local",
        "example.com",
    ]);
    let kind = prop::sample::select(vec![
        Kind::A,
        Kind::AAAA,
        Kind::SRV,
        Kind::SOA,
        Kind::ANY,
        Kind::AXFR,
        Kind::TXT,
    ]);
    (name, kind, prop::option::of(any::<u16>())).prop_map(|(name, kind, payload)| match payload {
        Some(payload) => question_with_edns(name, kind, payload),
        None => question(name, kind),
    })
}

/// A change of the octets of a query.
#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Repeat(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        2 => (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Repeat),
    ]
}

fn damaged(mut packet: Vec<u8>, damages: Vec<Damage>) -> Vec<u8> {
    for damage in damages {
        if packet.is_empty() {
            break;
        }
        match damage {
            Damage::Set(at, byte) => *at.get_mut(&mut packet) = byte,
            Damage::Cut(at) => packet.truncate(at.index(packet.len())),
            Damage::Insert(at, bytes) => {
                let at = at.index(packet.len());
                packet.splice(at..at, bytes);
            }
            Damage::Repeat(at) => packet.extend_from_within(at.index(packet.len())..),
        }
    }
    packet
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_answered(packet in prop::collection::vec(any::<u8>(), 0..600)) {
        check(&packet);
    }

    #[test]
    fn any_octets_after_a_plausible_header_are_answered(
        counts in prop::array::uniform4(0u8..3),
        rest in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..5, Just(0xC0)], 0..300),
    ) {
        let [a, b, c, d] = counts;
        check(&[&[1, 2, 1, 0, 0, a, 0, b, 0, c, 0, d][..], &rest].concat());
    }

    #[test]
    fn damaged_queries_are_answered(query in queries(), damages in prop::collection::vec(damage(), 0..4)) {
        check(&damaged(query, damages));
    }
}
