//! Aliases of load balancers: in process, and over sockets of the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType as Kind},
};
use sd_core::{
    health::CustomHealthStatus,
    model::{
        RecordType,
        RoutingPolicy::{Multivalue, Weighted},
    },
};
use sd_dns::{Answerer, DnsServer, Transport};
use support::{Balancers, Fixture, assert_negative, data, parse, question};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

const BOTH: [(RecordType, u32); 2] = [(RecordType::A, 60), (RecordType::Aaaa, 60)];
const LB: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// `app` is an alias of this name.
fn aliased(target: &str) -> (Fixture, String) {
    let mut fixture = Fixture::new();
    fixture.answerer = Answerer::new(fixture.table.clone()).with_alias_resolver(Balancers::new());
    let service = fixture.service("app", Weighted, &BOTH);
    fixture.register_alias(&service, "i", target);
    (fixture, service)
}

fn assert_fails(answer: &Message) {
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{answer}");
    assert!(!answer.metadata.authoritative);
    assert!(answer.answers.is_empty() && answer.authorities.is_empty());
    assert_eq!(answer.queries.len(), 1);
}

#[test]
fn an_alias_answers_with_the_addresses_of_its_target_under_its_own_name() {
    let (fixture, service) = aliased("LB.example.com");
    let answer = fixture.ask("app.app.local", Kind::A);
    assert_eq!(data(&answer), LB, "equal ones once");
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
    let (fixture, _) = aliased("big.example.com");
    assert_negative(&fixture.ask("app.app.local", Kind::AAAA), ResponseCode::NoError);
    let answer = fixture.ask("app.app.local", Kind::A);
    assert_eq!(answer.answers.len(), 8);
    // RFC 2181 section 8.
    assert!(answer.answers.iter().all(|record| record.ttl == i32::MAX as u32));
}

#[test]
fn a_target_that_cannot_be_found_fails_for_addresses_only() {
    // Of the second one nothing is heard at once, and in process nothing waits.
    for target in ["gone.example.com", "slow.example.com"] {
        let (mut fixture, _) = aliased(target);
        for _ in 0..2 {
            assert_fails(&fixture.ask("app.app.local", Kind::A));
            assert_fails(&fixture.ask("app.app.local", Kind::AAAA));
            assert_negative(&fixture.ask("app.app.local", Kind::SRV), ResponseCode::NoError);
            // Nor is there a resolver the second time.
            fixture.answerer = Answerer::new(fixture.table.clone());
        }
    }
}

#[test]
fn a_cname_is_followed_to_an_alias() {
    let (fixture, _) = aliased("lb.example.com");
    for (name, target) in [("www", "app.app.local"), ("dead", "gone.app.local")] {
        let service = fixture.service(name, Weighted, &[(RecordType::Cname, 20)]);
        fixture.register(&service, "i", &[("CNAME", target)]);
    }
    assert_eq!(data(&fixture.ask("www.app.local", Kind::A)), [LB[0], LB[1], "app.app.local."]);
    let answer = fixture.ask("www.app.local", Kind::A);
    assert_eq!(answer.answers[0].ttl, 20);
    assert_eq!(answer.answers[1].name, Name::from_ascii("app.app.local.").unwrap());
    let gone = fixture.service("gone", Weighted, &[(RecordType::A, 60)]);
    fixture.register_alias(&gone, "i", "gone.example.com");
    assert_fails(&fixture.ask("dead.app.local", Kind::A));
    // Without addresses, the answer is the CNAME record and what the zone says.
    let answer = fixture.ask("dead.app.local", Kind::AAAA);
    assert_eq!((answer.answers.len(), answer.authorities.len()), (1, 1));
}

#[test]
fn addresses_and_aliases_take_turns_in_a_weighted_service() {
    let (fixture, service) = aliased("lb.example.com");
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
fn an_answer_that_is_too_long_is_cut() {
    let (fixture, _) = aliased("lb.example.com");
    let name = |letter: &str| [letter.repeat(63), letter.repeat(63)].join(".");
    let long = fixture.service(&name("l"), Weighted, &BOTH);
    fixture.register_alias(&long, "i", "six.example.com");
    let cname = fixture.service(&name("k"), Weighted, &[(RecordType::Cname, 20)]);
    fixture.register(&cname, "i", &[("CNAME", &format!("{}.app.local", name("l")))]);
    let packet = question(&format!("{}.app.local", name("k")), Kind::AAAA);
    let whole = parse(&fixture.reply(&packet, Transport::Tcp).unwrap());
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (9, false));
    let cut = parse(&fixture.reply(&packet, Transport::Udp).unwrap());
    assert_eq!((cut.answers.len(), cut.metadata.truncation), (0, true));
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server in front of `app`, an alias of `slow`, and of `web`, which has addresses.
struct Served {
    server: DnsServer,
    balancers: Balancers,
    udp: UdpSocket,
    _fixture: Fixture,
}

impl Served {
    async fn start() -> Self {
        let (fixture, _) = aliased("slow.example.com");
        let web = fixture.service("web", Multivalue, &[(RecordType::A, 60)]);
        fixture.register(&web, "i", &[("IPV4", "10.0.0.1")]);
        let balancers = Balancers::new();
        let builder = DnsServer::builder(fixture.table.clone()).with_udp_workers(NonZero::<usize>::MIN);
        let server = builder.with_alias_resolver(balancers.clone()).bind([LOOPBACK]).await.unwrap();
        let udp = UdpSocket::bind(LOOPBACK).await.unwrap();
        udp.connect(server.local_addrs()[0]).await.unwrap();
        Self { server, balancers, udp, _fixture: fixture }
    }

    async fn send(&self, name: &str) {
        self.udp.send(&question(name, Kind::A)).await.unwrap();
    }

    async fn receive(&self) -> Message {
        let mut buffer = [0; 2048];
        let len = self.udp.recv(&mut buffer).await.unwrap();
        parse(&buffer[..len])
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addrs()[0]).await.unwrap()
    }
}

async fn send(stream: &mut TcpStream, name: &str) {
    let packet = question(name, Kind::A);
    stream.write_all(&[&(packet.len() as u16).to_be_bytes()[..], &packet].concat()).await.unwrap();
}

async fn receive(stream: &mut TcpStream) -> Message {
    let len = stream.read_u16().await.unwrap();
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await.unwrap();
    parse(&answer)
}

#[tokio::test]
async fn nobody_else_waits_for_a_slow_resolver() {
    let served = Served::start().await;
    let (mut waiting, mut other) = (served.connect().await, served.connect().await);
    // Of one connection, too.
    send(&mut waiting, "web.app.local").await;
    send(&mut waiting, "app.app.local").await;
    send(&mut waiting, "web.app.local").await;
    for _ in 0..2 {
        assert_eq!(data(&receive(&mut waiting).await), ["10.0.0.1"]);
    }
    served.send("app.app.local").await;
    served.send("web.app.local").await;
    assert_eq!(data(&served.receive().await), ["10.0.0.1"]);
    send(&mut other, "web.app.local").await;
    assert_eq!(data(&receive(&mut other).await), ["10.0.0.1"]);

    served.balancers.gate.add_permits(2);
    assert_eq!(data(&served.receive().await), LB);
    assert_eq!(data(&receive(&mut waiting).await), LB);
    served.server.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_never_answers_is_not_waited_for_for_ever() {
    let served = Served::start().await;
    let mut stream = served.connect().await;
    // Time goes on by itself when nothing else is left to do.
    served.send("app.app.local").await;
    assert_fails(&served.receive().await);
    send(&mut stream, "app.app.local").await;
    assert_fails(&receive(&mut stream).await);
    let counters = served.server.counters();
    assert_eq!((counters.udp, counters.tcp, counters.latency.count()), (1, 1, 2));
    assert_eq!(counters.by_rcode, [(2, 2)].into());
}

#[tokio::test(start_paused = true)]
async fn answers_that_wait_are_shared_among_clients() {
    // Half of 4,096 for a client that is alone.
    const SHARE: usize = 2048;
    let served = Served::start().await;
    let other = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).await.unwrap();
    other.connect(served.server.local_addrs()[0]).await.unwrap();
    for _ in 0..=SHARE {
        served.send("app.app.local").await;
    }
    assert_fails(&served.receive().await);
    other.send(&question("app.app.local", Kind::A)).await.unwrap();
    for _ in 0..SHARE {
        served.balancers.gate.add_permits(1);
        assert_eq!(data(&served.receive().await), LB);
    }
    served.balancers.gate.add_permits(1);
    let mut buffer = [0; 512];
    let len = other.recv(&mut buffer).await.unwrap();
    assert_eq!(data(&parse(&buffer[..len])), LB, "the other client has its own share");
    served.balancers.gate.add_permits(1);
    served.send("app.app.local").await;
    assert_eq!(data(&served.receive().await), LB, "there is room again");
}

#[tokio::test]
async fn shutting_down_answers_what_waits() {
    let served = Served::start().await;
    served.send("app.app.local").await;
    served.send("web.app.local").await;
    assert_eq!(data(&served.receive().await), ["10.0.0.1"]);
    let Served { server, balancers, udp, _fixture } = served;
    let down = tokio::spawn(server.shutdown());
    balancers.gate.add_permits(1);
    let mut buffer = [0; 512];
    let len = udp.recv(&mut buffer).await.unwrap();
    assert_eq!(data(&parse(&buffer[..len])), LB);
    down.await.unwrap();
}
