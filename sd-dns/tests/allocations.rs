//! No message makes an answerer or a server allocate.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::net::Ipv4Addr;

use allocation_counter::measure;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType as Kind,
};
use sd_core::model::{
    RecordType,
    RoutingPolicy::{Multivalue, Weighted},
};
use sd_dns::{Answerer, DnsServer, Reply, Transport};
use support::{Fixture, parse, question, question_with_edns};
use tokio::{net::UdpSocket, runtime::Builder};

const QUERIES: usize = 10_000;

/// Asserts that answering a packet does not allocate, and returns the response.
fn check(fixture: &Fixture, packet: &[u8]) -> Message {
    let answerer = Answerer::new(fixture.table.clone());
    let mut out = Vec::with_capacity(4096);
    let mut answer = || {
        out.clear();
        assert_eq!(answerer.answer(packet, Transport::Udp, &mut out), Reply::Written);
    };
    // The first answer of a thread may allocate.
    answer();
    let counted = measure(|| (0..QUERIES).for_each(|_| answer()));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    parse(&out)
}

/// Services `hosts` and `one` with `count` instances each, which have a port and addresses of both families.
fn hosts(count: u8) -> Fixture {
    let fixture = Fixture::new();
    for (name, policy) in [("hosts", Multivalue), ("one", Weighted)] {
        let records = [(RecordType::A, 60), (RecordType::Aaaa, 60), (RecordType::Srv, 60)];
        let service = fixture.service(name, policy, &records);
        for number in 1..=count {
            let (ipv4, ipv6) = (format!("10.0.0.{number}"), format!("fd00::{number}"));
            fixture.register(
                &service,
                &format!("i-{number}"),
                &[("IPV4", &ipv4), ("IPV6", &ipv6), ("PORT", "80")],
            );
        }
    }
    fixture
}

#[test]
fn address_responses_do_not_allocate() {
    // As many as a response has, and many more.
    for count in [8, 200] {
        let fixture = hosts(count);
        assert_eq!(check(&fixture, &question("hosts.app.local", Kind::A)).answers.len(), 8);
        assert_eq!(
            check(&fixture, &question_with_edns("HOSTS.app.local", Kind::AAAA, 1232)).answers.len(),
            8
        );
        assert_eq!(check(&fixture, &question("one.app.local", Kind::A)).answers.len(), 1);
    }
}

#[test]
fn srv_responses_do_not_allocate() {
    for count in [8, 200] {
        let fixture = hosts(count);
        let answer = check(&fixture, &question_with_edns("hosts.app.local", Kind::SRV, 1232));
        assert_eq!((answer.answers.len(), answer.additionals.len()), (8, 16));
        // Too long: additional records are dropped, and the response is truncated.
        check(&fixture, &question("hosts.app.local", Kind::SRV));
    }
}

#[test]
fn negative_responses_do_not_allocate() {
    let fixture = hosts(8);
    let answer = check(&fixture, &question("nobody.app.local", Kind::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let answer = check(&fixture, &question("hosts.app.local", Kind::TXT));
    assert_eq!((answer.metadata.response_code, answer.authorities.len()), (ResponseCode::NoError, 1));
    let answer = check(&fixture, &question("nobody.example.com", Kind::A));
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

/// A query with a name of 255 octets, and as many records with pointers to it as fit into `octets`.
fn pointers(opcode: u8, octets: usize) -> Vec<u8> {
    const RECORD: [u8; 14] = [0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, 2, 0xC0, 12];
    let question = [&b"\x01a".repeat(127)[..], &[0, 0, 1, 0, 1]].concat();
    let count = (octets - 12 - question.len()) / RECORD.len();
    let [high, low] = (count as u16).to_be_bytes();
    [&[0x12, 0x34, opcode << 3, 0, 0, 1, high, low, 0, 0, 0, 0], &question[..], &RECORD.repeat(count)]
        .concat()
}

#[test]
fn uncommon_messages_do_not_allocate() {
    let fixture = hosts(8);
    let refused = |packet: &[u8]| check(&fixture, packet).metadata.response_code;
    for opcode in [4, 5] {
        assert_eq!(refused(&pointers(opcode, 1220)), ResponseCode::NotImp);
        assert_eq!(refused(&pointers(opcode, 65_522)), ResponseCode::NotImp);
    }
    // More records than are read.
    assert_eq!(refused(&pointers(0, 1220)), ResponseCode::FormErr);
    assert_eq!(refused(&pointers(0, 65_522)), ResponseCode::FormErr);
    assert_eq!(refused(&pointers(0, 800)), ResponseCode::Refused);
    assert_eq!(refused(&question("hosts.app.local", Kind::AXFR)), ResponseCode::Refused);
    assert_eq!(refused(&question("hosts.app.local", Kind::OPT)), ResponseCode::FormErr);
}

#[test]
fn a_server_does_not_allocate_for_a_query() {
    let fixture = hosts(8);
    let packet = question("hosts.app.local", Kind::A);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (server, socket) = runtime.block_on(async {
        let server = DnsServer::bind(fixture.table.clone(), [(Ipv4Addr::LOCALHOST, 0).into()]).await.unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(server.local_addrs()[0]).await.unwrap();
        (server, socket)
    });
    // Outside of the future, because tokio boxes large futures.
    let mut buffer = vec![0; 2048];
    let mut ask = |times: usize| {
        runtime.block_on(async {
            for _ in 0..times {
                socket.send(&packet).await.unwrap();
                socket.recv(&mut buffer).await.unwrap();
            }
        });
    };
    ask(1);
    let counted = measure(|| ask(QUERIES));
    assert_eq!(counted.count_total, 0, "{counted:?}");
    runtime.block_on(server.shutdown());
}
