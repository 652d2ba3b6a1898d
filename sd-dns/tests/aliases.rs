//! Alias records of load balancers: in process, and over loopback sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::{collections::BTreeSet, net::Ipv4Addr, num::NonZero};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType as Kind},
};
use sd_core::model::{
    CustomHealthStatus, RecordType,
    RoutingPolicy::{Multivalue, Weighted},
};
use sd_dns::{Answerer, DnsServer, Transport};
use support::{
    Balancers, Fixture, assert_negative, assert_servfail, data, parse, question,
    sockets::{LOOPBACK, client, client_at, receive, receive_framed, send_framed},
};
use tokio::net::{TcpStream, UdpSocket};

const BOTH: [(RecordType, u32); 2] = [(RecordType::A, 60), (RecordType::Aaaa, 60)];
const LB: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// A fixture whose service `app` is an alias of this name.
fn alias_of(target: &str) -> (Fixture, String) {
    let mut fixture = Fixture::new();
    fixture.answerer = Answerer::new(fixture.table.clone()).with_alias_resolver(Balancers::new());
    let service = fixture.service("app", Weighted, &BOTH);
    fixture.register_alias(&service, "i", target);
    (fixture, service)
}

#[test]
fn an_alias_answers_with_the_addresses_of_its_target_under_its_own_name() {
    let (fixture, service) = alias_of("LB.example.com");
    let answer = fixture.ask("app.app.local", Kind::A);
    assert_eq!(data(&answer), LB, "equal addresses once");
    assert!(answer.metadata.authoritative);
    let name = Name::from_ascii("app.app.local.").unwrap();
    assert!(answer.answers.iter().all(|record| record.name == name && record.ttl == Balancers::TTL));
    assert_eq!(data(&fixture.ask("app.app.local", Kind::AAAA)), ["::1"]);
    assert_eq!(data(&fixture.ask("app.app.local", Kind::ANY)), LB);
    assert_negative(&fixture.ask("app.app.local", Kind::TXT), ResponseCode::NoError);
    assert_negative(&fixture.ask("app.app.local", Kind::CNAME), ResponseCode::NoError);
    assert_negative(&fixture.ask("i.app.app.local", Kind::A), ResponseCode::NXDomain);
    fixture.deregister(&service, "i");
    assert_negative(&fixture.ask("app.app.local", Kind::A), ResponseCode::NXDomain);
}

#[test]
fn a_target_without_addresses_of_the_type_is_nodata() {
    let (fixture, _) = alias_of("big.example.com");
    assert_negative(&fixture.ask("app.app.local", Kind::AAAA), ResponseCode::NoError);
    let answer = fixture.ask("app.app.local", Kind::A);
    assert_eq!(answer.answers.len(), 8);
    // The highest TTL of RFC 2181 section 8.
    assert!(answer.answers.iter().all(|record| record.ttl == i32::MAX as u32));
}

#[test]
fn an_unresolvable_target_fails_for_addresses_only() {
    // The second target is not resolved at once, and in process nothing waits.
    for target in ["gone.example.com", "slow.example.com"] {
        let (mut fixture, _) = alias_of(target);
        for _ in 0..2 {
            assert_servfail(&fixture.ask("app.app.local", Kind::A));
            assert_servfail(&fixture.ask("app.app.local", Kind::AAAA));
            assert_negative(&fixture.ask("app.app.local", Kind::SRV), ResponseCode::NoError);
            // The second time without a resolver.
            fixture.answerer = Answerer::new(fixture.table.clone());
        }
    }
}

#[test]
fn a_cname_is_followed_to_an_alias() {
    let (fixture, _) = alias_of("lb.example.com");
    for (name, target) in [("www", "app.app.local"), ("dead", "gone.app.local")] {
        fixture.cname(name, target);
    }
    assert_eq!(data(&fixture.ask("www.app.local", Kind::A)), [LB[0], LB[1], "app.app.local."]);
    let answer = fixture.ask("www.app.local", Kind::A);
    assert_eq!(answer.answers[0].ttl, 20);
    assert_eq!(answer.answers[1].name, Name::from_ascii("app.app.local.").unwrap());
    fixture.alias("gone", "gone.example.com");
    assert_servfail(&fixture.ask("dead.app.local", Kind::A));
    // Without an address of the type: the CNAME record, and the zone's SOA record.
    let answer = fixture.ask("dead.app.local", Kind::AAAA);
    assert_eq!((answer.answers.len(), answer.authorities.len()), (1, 1));
}

#[test]
fn addresses_and_aliases_take_turns_in_a_weighted_service() {
    let (fixture, service) = alias_of("lb.example.com");
    fixture.register(&service, "j", &[("IPV4", "10.0.0.1")]);
    let answers = || -> BTreeSet<Vec<String>> {
        (0..100).map(|_| data(&fixture.ask("app.app.local", Kind::A))).collect()
    };
    let (own, lb) = (vec!["10.0.0.1".to_owned()], LB.map(str::to_owned).to_vec());
    assert_eq!(answers(), [own.clone(), lb.clone()].into());
    fixture.set_health(&service, "i", CustomHealthStatus::Unhealthy);
    assert_eq!(answers(), [own.clone()].into());
    fixture.set_health(&service, "j", CustomHealthStatus::Unhealthy);
    assert_eq!(answers(), [own, lb.clone()].into(), "none is healthy");
    fixture.set_health(&service, "i", CustomHealthStatus::Healthy);
    assert_eq!(answers(), [lb].into());
}

#[test]
fn a_long_response_is_truncated() {
    let (fixture, _) = alias_of("lb.example.com");
    let name = |letter: &str| [letter.repeat(63), letter.repeat(63)].join(".");
    let long = fixture.service(&name("l"), Weighted, &BOTH);
    fixture.register_alias(&long, "i", "six.example.com");
    fixture.cname(&name("k"), &format!("{}.app.local", name("l")));
    let packet = question(&format!("{}.app.local", name("k")), Kind::AAAA);
    let whole = parse(&fixture.reply(&packet, Transport::Tcp).unwrap());
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (9, false));
    let cut = parse(&fixture.reply(&packet, Transport::Udp).unwrap());
    assert_eq!((cut.answers.len(), cut.metadata.truncation), (0, true));
}

/// A server for `app`, an alias of `slow`, and for `web`, which has an address.
struct AliasServer {
    server: DnsServer,
    balancers: Balancers,
    udp: UdpSocket,
    _fixture: Fixture,
}

impl AliasServer {
    async fn start() -> Self {
        let (fixture, _) = alias_of("slow.example.com");
        let web = fixture.service("web", Multivalue, &[(RecordType::A, 60)]);
        fixture.register(&web, "i", &[("IPV4", "10.0.0.1")]);
        let balancers = Balancers::new();
        let builder = DnsServer::builder(fixture.table.clone()).with_udp_workers(NonZero::<usize>::MIN);
        let server = builder.with_alias_resolver(balancers.clone()).bind([LOOPBACK]).await.unwrap();
        let udp = client(&server).await;
        Self { server, balancers, udp, _fixture: fixture }
    }

    async fn send(&self, name: &str) {
        self.udp.send(&question(name, Kind::A)).await.unwrap();
    }

    async fn receive(&self) -> Message {
        receive(&self.udp).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addrs()[0]).await.unwrap()
    }
}

async fn send(stream: &mut TcpStream, name: &str) {
    send_framed(stream, &question(name, Kind::A)).await;
}

#[tokio::test]
async fn a_slow_resolver_delays_no_other_query() {
    let served = AliasServer::start().await;
    let (mut waiting, mut other) = (served.connect().await, served.connect().await);
    // Nor does it delay other queries of one connection.
    send(&mut waiting, "web.app.local").await;
    send(&mut waiting, "app.app.local").await;
    send(&mut waiting, "web.app.local").await;
    for _ in 0..2 {
        assert_eq!(data(&receive_framed(&mut waiting).await), ["10.0.0.1"]);
    }
    served.send("app.app.local").await;
    served.send("web.app.local").await;
    assert_eq!(data(&served.receive().await), ["10.0.0.1"]);
    send(&mut other, "web.app.local").await;
    assert_eq!(data(&receive_framed(&mut other).await), ["10.0.0.1"]);

    served.balancers.gate.add_permits(2);
    assert_eq!(data(&served.receive().await), LB);
    assert_eq!(data(&receive_framed(&mut waiting).await), LB);
    assert_eq!(served.server.counters().by_rcode, [(0, 6)].into(), "late responses count as what they say");
    served.server.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_times_out() {
    let served = AliasServer::start().await;
    let mut stream = served.connect().await;
    // The paused clock advances when all tasks are idle.
    served.send("app.app.local").await;
    assert_servfail(&served.receive().await);
    send(&mut stream, "app.app.local").await;
    assert_servfail(&receive_framed(&mut stream).await);
    let counters = served.server.counters();
    assert_eq!((counters.udp, counters.tcp, counters.latency.count()), (1, 1, 2));
    assert_eq!(counters.by_rcode, [(2, 2)].into());
}

#[tokio::test(start_paused = true)]
async fn pending_responses_are_shared_among_clients() {
    // A client that is alone gets half of 4,096.
    const SHARE: usize = 2048;
    let served = AliasServer::start().await;
    let other = client_at((Ipv4Addr::new(127, 0, 0, 2), 0).into(), served.server.local_addrs()[0]).await;
    for _ in 0..=SHARE {
        served.send("app.app.local").await;
    }
    assert_servfail(&served.receive().await);
    other.send(&question("app.app.local", Kind::A)).await.unwrap();
    for _ in 0..SHARE {
        served.balancers.gate.add_permits(1);
        assert_eq!(data(&served.receive().await), LB);
    }
    served.balancers.gate.add_permits(1);
    assert_eq!(data(&receive(&other).await), LB, "the other client has its own share");
    served.balancers.gate.add_permits(1);
    served.send("app.app.local").await;
    assert_eq!(data(&served.receive().await), LB, "places are free again");
}

#[tokio::test]
async fn shutting_down_sends_pending_responses() {
    let served = AliasServer::start().await;
    served.send("app.app.local").await;
    served.send("web.app.local").await;
    assert_eq!(data(&served.receive().await), ["10.0.0.1"]);
    let AliasServer { server, balancers, udp, _fixture } = served;
    let down = tokio::spawn(server.shutdown());
    balancers.gate.add_permits(1);
    assert_eq!(data(&receive(&udp).await), LB);
    down.await.unwrap();
}
