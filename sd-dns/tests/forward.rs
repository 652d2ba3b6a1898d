//! What a server asks of others, and what it makes of their answers: each upstream is a socket of the test. Time goes on by
//! itself, and only when nothing else is left to do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{Name, RData, Record, RecordType as Kind, rdata},
    serialize::binary::BinEncodable,
};
use sd_core::model::{
    RecordType,
    RoutingPolicy::{Multivalue, Weighted},
};
use sd_dns::{DnsServer, Forwarder};
use support::{Balancers, Fixture, assert_negative, data, parse, query, question, question_with_edns};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{Instant, timeout},
};

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server whose answers the test writes.
struct Upstream(UdpSocket);

/// A query that came to an upstream.
struct Asked {
    message: Message,
    from: SocketAddr,
}

impl Upstream {
    async fn bind() -> Self {
        Self(UdpSocket::bind(LOOPBACK).await.unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    async fn next(&self) -> Asked {
        let mut buffer = [0; 2048];
        let (len, from) = self.0.recv_from(&mut buffer).await.unwrap();
        Asked { message: parse(&buffer[..len]), from }
    }

    /// The next query, but for those that look for loops.
    async fn asked(&self) -> Asked {
        loop {
            let asked = self.next().await;
            if !asked.is_probe() {
                return asked;
            }
        }
    }

    /// The next query, and the one that looks for a loop, which comes before it or after it.
    async fn asked_with_probe(&self) -> (Asked, Asked) {
        let (one, other) = (self.next().await, self.next().await);
        let (asked, probe) = if one.is_probe() { (other, one) } else { (one, other) };
        assert!(probe.is_probe() && !asked.is_probe());
        (asked, probe)
    }

    /// Nothing has come. Whoever asked has had every chance to, since the test is done with waiting for it.
    fn assert_unasked(&self) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.0.try_recv_from(&mut buffer) {
            let asked = Asked { message: parse(&buffer[..len]), from };
            assert!(asked.is_probe(), "{}", asked.message);
        }
    }

    async fn send(&self, to: &Asked, answer: &Message) {
        self.0.send_to(&answer.to_bytes().unwrap(), to.from).await.unwrap();
    }

    /// Answers the next query by [`Asked::aliases`], and says that it knows no more: by another zone's SOA record.
    async fn lead(&self, code: ResponseCode, targets: &[&str]) {
        let asked = self.asked().await;
        let mut answer = asked.aliases(code, targets);
        answer.metadata.authentic_data = true;
        answer.add_authority(soa("corp.org"));
        self.send(&asked, &answer).await;
    }

    /// Answers the next query with these addresses.
    async fn answer(&self, addresses: &[[u8; 4]]) {
        let asked = self.asked().await;
        self.send(&asked, &asked.addresses(addresses)).await;
    }
}

impl Asked {
    /// The answer without records.
    fn answer(&self, code: ResponseCode) -> Message {
        let mut answer = Message::response(self.message.metadata.id, self.message.metadata.op_code);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.metadata.response_code = code;
        answer.add_queries(self.message.queries.clone());
        answer
    }

    fn addresses(&self, addresses: &[[u8; 4]]) -> Message {
        let mut answer = self.answer(ResponseCode::NoError);
        for [a, b, c, d] in addresses {
            let address = RData::A(rdata::A::new(*a, *b, *c, *d));
            answer.add_answer(Record::from_rdata(self.name().clone(), 30, address));
        }
        answer
    }

    /// The answer that the name is an alias of the first of these, which is one of the next.
    fn aliases(&self, code: ResponseCode, targets: &[&str]) -> Message {
        let mut answer = self.answer(code);
        let mut owner = self.name().clone();
        for target in targets {
            let target = Name::from_ascii(format!("{target}.")).unwrap();
            let alias = RData::CNAME(rdata::CNAME(target.clone()));
            answer.add_answer(Record::from_rdata(owner, 5, alias));
            owner = target;
        }
        answer
    }

    fn name(&self) -> &Name {
        self.message.queries[0].name()
    }

    fn is_probe(&self) -> bool {
        Name::from_ascii("sd-loop.").unwrap().zone_of(self.name())
    }
}

/// A server that forwards, and a client of it.
struct Served {
    fixture: Fixture,
    server: DnsServer,
    udp: UdpSocket,
}

impl Served {
    async fn start(upstreams: impl IntoIterator<Item = SocketAddr>) -> Self {
        let fixture = Fixture::new();
        fixture.web(1);
        let server = DnsServer::builder(fixture.table.clone())
            .with_udp_workers(NonZero::<usize>::MIN)
            .with_forwarder(Forwarder::new(upstreams))
            .bind([LOOPBACK])
            .await
            .unwrap();
        let udp = client(&server).await;
        Self { fixture, server, udp }
    }

    async fn send(&self, packet: &[u8]) {
        self.udp.send(packet).await.unwrap();
    }

    async fn receive(&self) -> Message {
        receive(&self.udp).await
    }

    async fn ask(&self, name: &str) -> Message {
        self.send(&question(name, Kind::A)).await;
        self.receive().await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addrs()[0]).await.unwrap()
    }
}

async fn client(server: &DnsServer) -> UdpSocket {
    let udp = UdpSocket::bind(LOOPBACK).await.unwrap();
    udp.connect(server.local_addrs()[0]).await.unwrap();
    udp
}

async fn receive(udp: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let len = udp.recv(&mut buffer).await.unwrap();
    parse(&buffer[..len])
}

async fn send_framed(stream: &mut TcpStream, packet: &[u8]) {
    stream.write_all(&[&(packet.len() as u16).to_be_bytes()[..], packet].concat()).await.unwrap();
}

async fn receive_framed(stream: &mut TcpStream) -> Message {
    let len = stream.read_u16().await.unwrap();
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await.unwrap();
    parse(&answer)
}

/// The SOA record of another server's zone.
fn soa(zone: &str) -> Record {
    let name = |labels| Name::from_ascii(format!("{labels}{zone}.")).unwrap();
    let soa = rdata::SOA::new(name("ns."), name("h."), 1, 2, 3, 4, 5);
    Record::from_rdata(name(""), 5, RData::SOA(soa))
}

fn assert_fails(answer: &Message) {
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{answer}");
    assert!(answer.metadata.recursion_available && answer.answers.is_empty());
    assert_eq!(answer.queries.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_passes_as_the_bytes_that_it_is() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let kind = Kind::Unknown(65_280);
    served.send(&question("Example.COM", kind)).await;
    let asked = upstream.asked().await;
    assert!(asked.message.metadata.recursion_desired);
    assert_eq!(asked.message.queries[0].query_type(), kind);
    let mut answer = asked.answer(ResponseCode::NoError);
    // Authority is theirs, not ours.
    answer.metadata.authoritative = true;
    let unknown = RData::Unknown { code: kind, rdata: rdata::NULL::with(vec![1, 2, 3, 0xC0, 0x0C]) };
    answer.add_answer(Record::from_rdata(asked.name().clone(), 7, unknown.clone()));
    answer.set_edns(Edns::new());
    upstream.send(&asked, &answer).await;

    let answer = served.receive().await;
    assert_eq!(answer.metadata.id, 0x1234);
    assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
    assert!(!answer.metadata.authoritative && !answer.metadata.truncation);
    assert_eq!(answer.queries[0].name().to_string(), "Example.COM.", "in the case of the client");
    let [record] = &answer.answers[..] else { panic!("{answer}") };
    assert_eq!((record.ttl, &record.data), (7, &unknown));
    assert!(answer.edns.is_none(), "the client has not asked for it");
    let counters = served.server.counters();
    assert_eq!((counters.udp, counters.forwarded), (1, 1));
    assert_eq!((counters.by_type, counters.by_rcode), ([(65_280, 1)].into(), [(0, 1)].into()));
    assert!(counters.by_zone.is_empty());
}

#[tokio::test(start_paused = true)]
async fn edns_is_between_neighbours() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let mut message = query("example.com", Kind::A);
    message.metadata.checking_disabled = true;
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    message.set_edns(edns);
    served.send(&message.to_bytes().unwrap()).await;
    let asked = upstream.asked().await;
    assert!(asked.message.metadata.checking_disabled);
    let theirs = asked.message.edns.as_ref().unwrap();
    assert_eq!((theirs.max_payload(), theirs.flags().dnssec_ok), (1232, true));
    let mut answer = asked.answer(ResponseCode::NXDomain);
    answer.metadata.authentic_data = true;
    upstream.send(&asked, &answer).await;
    let answer = served.receive().await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(answer.metadata.authentic_data && answer.metadata.checking_disabled);
    let ours = answer.edns.unwrap();
    assert_eq!((ours.max_payload(), ours.flags().dnssec_ok, ours.options().as_ref().len()), (1232, true, 0));
}

#[tokio::test(start_paused = true)]
async fn own_names_never_leave_and_recursion_has_to_be_desired() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    for (name, kind) in [("web.app.local", Kind::A), ("app.local", Kind::SOA)] {
        served.send(&question(name, kind)).await;
        let answer = served.receive().await;
        assert_eq!(answer.answers.len(), 1);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    }
    assert_negative(&served.ask("none.app.local").await, ResponseCode::NXDomain);
    assert_negative(&served.ask("example.com.app.local").await, ResponseCode::NXDomain);
    served.send(&question("web.app.local", Kind::AAAA)).await;
    assert_negative(&served.receive().await, ResponseCode::NoError);
    let mut alone = query("example.com", Kind::A);
    alone.metadata.recursion_desired = false;
    served.send(&alone.to_bytes().unwrap()).await;
    assert_eq!(served.receive().await.metadata.response_code, ResponseCode::Refused);
    served.send(&question("example.com", Kind::AXFR)).await;
    assert_eq!(served.receive().await.metadata.response_code, ResponseCode::Refused);
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_know_the_query_is_not_heard() {
    let (upstream, other) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    let forged = asked.addresses(&[[6, 6, 6, 6]]);
    // From elsewhere; with another id; to another question; no response at all; nothing.
    other.send(&asked, &forged).await;
    let mut with_id = forged.clone();
    with_id.metadata.id ^= 1;
    upstream.send(&asked, &with_id).await;
    let mut with_question = forged.clone();
    with_question.queries = query("example.org", Kind::A).queries.clone();
    upstream.send(&asked, &with_question).await;
    upstream.send(&asked, &asked.message).await;
    upstream.0.send_to(&[], asked.from).await.unwrap();
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn each_query_has_a_port_and_an_id_of_its_own() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let mut seen = Vec::new();
    for number in 0..8 {
        served.send(&question(&format!("{number}.example.com"), Kind::A)).await;
    }
    for _ in 0..8 {
        let asked = upstream.asked().await;
        seen.push((asked.message.metadata.id, asked.from.port()));
    }
    let distinct = |mut found: Vec<u16>| {
        found.sort_unstable();
        found.dedup();
        found.len()
    };
    assert_eq!(distinct(seen.iter().map(|(_, port)| *port).collect()), 8);
    // Two of eight are equal by chance once in 2,300 runs, three of them never.
    assert!(distinct(seen.iter().map(|(id, _)| *id).collect()) >= 7, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_one_is_asked_after_a_second_and_is_first_from_then_on() {
    let (silent, other) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([silent.address(), other.address()]).await;
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(served.ask("example.com"), other.answer(&[[192, 0, 2, 1]]));
    assert_eq!(data(&answer), ["192.0.2.1"]);
    assert_eq!(begun.elapsed().as_secs(), 1);
    silent.asked().await;

    let (answer, ()) = tokio::join!(served.ask("example.org"), other.answer(&[[192, 0, 2, 2]]));
    assert_eq!(data(&answer), ["192.0.2.2"]);
    assert_eq!(begun.elapsed().as_secs(), 1);
    silent.assert_unasked();

    tokio::time::advance(Duration::from_secs(30)).await;
    let (answer, ()) = tokio::join!(served.ask("example.net"), silent.answer(&[[192, 0, 2, 3]]));
    assert_eq!(data(&answer), ["192.0.2.3"], "it has another chance");
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_before_they_give_up() {
    let (one, two) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([one.address(), two.address()]).await;
    let begun = Instant::now();
    assert_fails(&served.ask("example.com").await);
    assert!(begun.elapsed() < Duration::from_secs(5));
    // Each was asked twice, since a packet may be lost, from one socket, since there are only so many.
    for upstream in [&one, &two] {
        let (first, second) = (upstream.asked().await, upstream.asked().await);
        assert_eq!(first.from, second.from);
        upstream.assert_unasked();
    }
    assert_eq!(served.server.counters().by_rcode, [(2, 1)].into());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_know_an_answer_is_not_slow() {
    let (silent, one) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([silent.address(), one.address()]).await;
    let refuse = async {
        let asked = one.asked().await;
        one.send(&asked, &asked.answer(ResponseCode::Refused)).await;
    };
    let (answer, ()) = tokio::join!(served.ask("example.com"), refuse);
    assert_fails(&answer);
    // It comes before the one that said nothing.
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(served.ask("example.org"), one.answer(&[[192, 0, 2, 1]]));
    assert_eq!(data(&answer), ["192.0.2.1"]);
    assert_eq!(begun.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_is_followed_by_the_next_one() {
    let (one, two) = (Upstream::bind().await, Upstream::bind().await);
    // Nobody is behind the first one: its socket is gone.
    let gone = Upstream::bind().await.address();
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
        let served = Served::start([gone, one.address(), two.address()]).await;
        let refuse = async {
            let asked = one.asked().await;
            one.send(&asked, &asked.answer(code)).await;
        };
        let (answer, (), ()) = tokio::join!(served.ask("example.com"), refuse, two.answer(&[[192, 0, 2, 1]]));
        assert_eq!(data(&answer), ["192.0.2.1"], "{code}");
    }
    // When all of them have failed there is nothing to wait for, and REFUSED is not for clients that may ask.
    let served = Served::start([gone, one.address()]).await;
    let refuse = async {
        let asked = one.asked().await;
        one.send(&asked, &asked.answer(ResponseCode::Refused)).await;
    };
    let (answer, ()) = tokio::join!(served.ask("example.com"), refuse);
    assert_fails(&answer);
    assert_fails(&Served::start([]).await.ask("example.com").await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_no_edns_is_asked_without() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let old = async {
            loop {
                let asked = upstream.asked().await;
                if asked.message.edns.is_none() {
                    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
                } else {
                    let mut answer = asked.answer(code);
                    answer.queries.clear();
                    upstream.send(&asked, &answer).await;
                }
            }
        };
        tokio::select! {
            answer = served.ask("example.com") => assert_eq!(data(&answer), ["192.0.2.1"], "{code}"),
            () = old => unreachable!(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_is_asked_for_again_over_tcp() {
    // One port for both.
    let (upstream, tcp) = loop {
        let upstream = Upstream::bind().await;
        if let Ok(tcp) = TcpListener::bind(upstream.address()).await {
            break (upstream, tcp);
        }
    };
    let served = Served::start([upstream.address()]).await;
    let many: Vec<_> = (0..200).map(|last| [192, 0, 2, last]).collect();
    let answers = async {
        loop {
            let asked = upstream.asked().await;
            let mut cut = asked.addresses(&many[..3]);
            cut.metadata.truncation = true;
            upstream.send(&asked, &cut).await;
            let (mut stream, _) = tcp.accept().await.unwrap();
            let message = receive_framed(&mut stream).await;
            let asked = Asked { message, ..asked };
            send_framed(&mut stream, &asked.addresses(&many).to_bytes().unwrap()).await;
        }
    };
    let clients = async {
        // 512 octets: as many whole records as fit, for resolvers that know no TCP.
        let answer = served.ask("example.com").await;
        assert!(answer.metadata.truncation);
        assert_eq!(answer.answers.len(), (512 - 12 - 17) / 16);
        assert_eq!(answer.answers[0].data, RData::A(rdata::A::new(192, 0, 2, 0)));
        served.send(&question_with_edns("example.com", Kind::A, 1000)).await;
        let answer = served.receive().await;
        assert!(answer.metadata.truncation && answer.edns.is_some());
        assert_eq!(answer.answers.len(), (1000 - 12 - 17 - 11) / 16);
        let mut stream = served.connect().await;
        send_framed(&mut stream, &question("example.com", Kind::A)).await;
        let answer = receive_framed(&mut stream).await;
        assert!(!answer.metadata.truncation);
        assert_eq!(answer.answers.len(), many.len());
    };
    tokio::select! {
        () = answers => unreachable!(),
        () = clients => {}
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_cut_for_want_of_room_for_additional_records() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let many: Vec<_> = (0..50).map(|last| [192, 0, 2, last]).collect();
    let answer = async {
        let asked = upstream.asked().await;
        let mut answer = asked.addresses(&many[..3]);
        answer.add_authorities(asked.addresses(&many[3..4]).answers);
        answer.add_additionals(asked.addresses(&many[4..]).answers);
        upstream.send(&asked, &answer).await;
    };
    let (answer, ()) = tokio::join!(served.ask("example.com"), answer);
    assert!(!answer.metadata.truncation);
    let counts = [&answer.answers, &answer.authorities, &answer.additionals].map(Vec::len);
    assert_eq!(counts, [3, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn clients_that_ask_the_same_wait_for_one_query() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let other = client(&served.server).await;
    served.send(&question("Example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    other.send(&question("eXAMPLE.com", Kind::A)).await.unwrap();
    // Another question, after which the one before it has been taken.
    other.send(&question("example.com", Kind::AAAA)).await.unwrap();
    let aaaa = upstream.asked().await;
    assert_eq!(aaaa.message.queries[0].query_type(), Kind::AAAA);
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
    let (mine, theirs) = (served.receive().await, receive(&other).await);
    assert_eq!((data(&mine), data(&theirs)), (vec!["192.0.2.1".to_owned()], vec!["192.0.2.1".to_owned()]));
    assert_eq!(mine.queries[0].name().to_string(), "Example.com.");
    assert_eq!(theirs.queries[0].name().to_string(), "eXAMPLE.com.");
    assert_eq!(theirs.answers[0].name.to_string(), "eXAMPLE.com.");
    upstream.assert_unasked();
    // It is not kept.
    let (answer, ()) = tokio::join!(served.ask("example.com"), upstream.answer(&[[192, 0, 2, 9]]));
    assert_eq!(data(&answer), ["192.0.2.9"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_question_of_another() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let mut stream = served.connect().await;
    send_framed(&mut stream, &question("slow.example.com", Kind::A)).await;
    let slow = upstream.asked().await;
    served.send(&question("slow.example.com", Kind::TXT)).await;
    let slow_too = upstream.asked().await;
    for name in ["example.com", "web.app.local"] {
        send_framed(&mut stream, &question(name, Kind::A)).await;
        served.send(&question(name, Kind::A)).await;
    }
    assert_eq!(data(&receive_framed(&mut stream).await), ["10.0.0.1"]);
    assert_eq!(data(&served.receive().await), ["10.0.0.1"]);
    // The same question over UDP and over TCP.
    upstream.answer(&[[192, 0, 2, 1]]).await;
    assert_eq!(data(&receive_framed(&mut stream).await), ["192.0.2.1"]);
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    // A client that has closed its side waits for the rest.
    stream.shutdown().await.unwrap();
    upstream.send(&slow, &slow.addresses(&[[192, 0, 2, 2]])).await;
    assert_eq!(data(&receive_framed(&mut stream).await), ["192.0.2.2"]);
    upstream.send(&slow_too, &slow_too.answer(ResponseCode::NoError)).await;
    assert_eq!(served.receive().await.queries[0].query_type(), Kind::TXT);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_questions_are_asked_at_a_time() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    for number in 0..256 {
        served.send(&question(&format!("{number}.example.com"), Kind::A)).await;
        upstream.asked().await;
    }
    assert_fails(&served.ask("one.more.example.com").await);
    assert_eq!(data(&served.ask("web.app.local").await), ["10.0.0.1"]);
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn one_question_at_a_time_looks_for_a_loop() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let (_asked, _probe) = upstream.asked_with_probe().await;
    for number in 0..20 {
        served.send(&question(&format!("{number}.example.com"), Kind::A)).await;
        let next = upstream.next().await;
        assert!(!next.is_probe(), "{}", next.message);
    }
}

#[tokio::test(start_paused = true)]
async fn two_servers_that_ask_each_other_find_out() {
    let (one, two) = loop {
        // The port of the second one is known before it is there, and may be taken in between.
        let address = Upstream::bind().await.address();
        let one = Served::start([address]).await;
        let two = DnsServer::builder(Fixture::new().table)
            .with_forwarder(Forwarder::new([one.server.local_addrs()[0]]))
            .bind([address]);
        if let Ok(two) = two.await {
            break (one, two);
        }
    };
    assert_fails(&one.ask("example.com").await);
    // From now on nobody is asked.
    one.send(&question("example.com", Kind::TXT)).await;
    assert_fails(&one.receive().await);
    assert!(!two.counters().by_type.contains_key(&16));
    // What comes back changes nothing of what is ours.
    assert_eq!(data(&one.ask("web.app.local").await), ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_comes_back_as_it_is_fails_alone() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let back = client(&served.server).await;
    // Before it is known to work, and after.
    for name in ["web.absent.local", "db.absent.local"] {
        served.send(&question(name, Kind::A)).await;
        let asked = upstream.asked().await;
        back.send(&asked.message.to_bytes().unwrap()).await.unwrap();
        assert_fails(&receive(&back).await);
        upstream.send(&asked, &asked.answer(ResponseCode::ServFail)).await;
        assert_fails(&served.receive().await);
        // It may be told to ask this server for some names only.
        tokio::select! {
            answer = served.ask("example.com") => assert_eq!(data(&answer), ["192.0.2.1"]),
            () = async { loop { upstream.answer(&[[192, 0, 2, 1]]).await } } => unreachable!(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_begins_to_hand_back_all_queries_is_left_alone() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let (asked, _probe) = upstream.asked_with_probe().await;
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    let back = client(&served.server).await;
    let hand_back = async |asked: &Asked| {
        back.send(&asked.message.to_bytes().unwrap()).await.unwrap();
        assert_fails(&receive(&back).await);
    };
    served.send(&question("one.example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    hand_back(&asked).await;
    upstream.send(&asked, &asked.answer(ResponseCode::ServFail)).await;
    assert_fails(&served.receive().await);
    served.send(&question("two.example.com", Kind::A)).await;
    let (_asked, probe) = upstream.asked_with_probe().await;
    hand_back(&probe).await;
    assert_fails(&served.receive().await);
    assert_fails(&served.ask("example.com").await);
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn a_server_does_not_ask_itself() {
    let fixture = Fixture::new();
    let socket = UdpSocket::bind(LOOPBACK).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    for (address, upstream) in [
        (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
        (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(127, 0, 0, 2)),
        (Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED),
    ] {
        let builder = DnsServer::builder(fixture.table.clone());
        let forwarder = Forwarder::new([(upstream, port).into()]);
        let error = builder.with_forwarder(forwarder).bind([(address, port).into()]).await.unwrap_err();
        let expected =
            format!("cannot listen on {address}:{port}: names would be asked of this server itself");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_aliases_goes_on_elsewhere() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let service = served.fixture.service("db", Weighted, &[(RecordType::Cname, 20)]);
    served.fixture.register(&service, "i", &[("CNAME", "DB.example.com")]);
    let service = served.fixture.service("store", Weighted, &[(RecordType::Cname, 20)]);
    served.fixture.register(&service, "i", &[("CNAME", "db.app.local")]);
    let further = async {
        let asked = upstream.asked().await;
        assert_eq!(asked.name().to_string(), "db.example.com.");
        let mut answer = asked.answer(ResponseCode::NoError);
        let canonical = Name::from_ascii("a.example.net.").unwrap();
        let alias = RData::CNAME(rdata::CNAME(canonical.clone()));
        answer.add_answer(Record::from_rdata(asked.name().clone(), 5, alias));
        answer.add_answer(Record::from_rdata(canonical, 6, RData::A(rdata::A::new(192, 0, 2, 1))));
        upstream.send(&asked, &answer).await;
    };
    let (answer, ()) = tokio::join!(served.ask("store.app.local"), further);
    let names: Vec<_> = answer.answers.iter().map(|record| (record.name.to_string(), record.ttl)).collect();
    let chain =
        [("store.app.local.", 20), ("db.app.local.", 20), ("db.example.com.", 5), ("a.example.net.", 6)];
    assert_eq!(names, chain.map(|(name, ttl)| (name.to_owned(), ttl)));
    assert_eq!(answer.answers[3].data, RData::A(rdata::A::new(192, 0, 2, 1)));
    assert!(answer.metadata.authoritative, "for the name that was asked");

    let nothing = async {
        let asked = upstream.asked().await;
        let mut answer = asked.answer(ResponseCode::NXDomain);
        answer.add_authority(soa("example.com"));
        upstream.send(&asked, &answer).await;
    };
    let (answer, ()) = tokio::join!(served.ask("db.app.local"), nothing);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "RFC 6604 section 3");
    assert_eq!((answer.answers.len(), answer.authorities.len()), (1, 1));
    // Whoever does not desire recursion goes on by himself.
    let mut alone = query("db.app.local", Kind::A);
    alone.metadata.recursion_desired = false;
    served.send(&alone.to_bytes().unwrap()).await;
    assert_eq!(data(&served.receive().await), ["db.example.com."]);
    assert_fails(&{
        let refuse = async {
            let asked = upstream.asked().await;
            upstream.send(&asked, &asked.answer(ResponseCode::Refused)).await;
        };
        tokio::join!(served.ask("db.app.local"), refuse).0
    });
}

impl Served {
    /// Makes names of `app.local` aliases of others, by CNAME records.
    fn cnames<'a>(&self, aliases: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (name, target) in aliases {
            let service = self.fixture.service(name, Weighted, &[(RecordType::Cname, 20)]);
            self.fixture.register(&service, "i", &[("CNAME", target)]);
        }
    }
}

/// Asserts that the zone `app.local` has the last word, and nobody else any.
fn assert_ends_with_us(answer: &Message, code: ResponseCode) {
    assert_eq!(answer.metadata.response_code, code, "RFC 6604 section 3: {answer}");
    let [soa] = &answer.authorities[..] else { panic!("{answer}") };
    assert_eq!((soa.name.to_string(), soa.record_type()), ("app.local.".to_owned(), Kind::SOA));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_leads_into_a_zone_goes_on_there() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.cnames([("store", "web.app.local")]);
    // It does not know the zone, and may say so or not.
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        let mut message = query("WWW.corp.org", Kind::A);
        message.metadata.checking_disabled = true;
        served.send(&message.to_bytes().unwrap()).await;
        upstream.lead(code, &["Www.Corp.net", "Web.App.Local"]).await;
        let answer = served.receive().await;
        assert_eq!(data(&answer), ["10.0.0.1", "Web.App.Local.", "Www.Corp.net."]);
        let owners: Vec<_> =
            answer.answers.iter().map(|record| (record.name.to_string(), record.ttl)).collect();
        let chain = [("WWW.corp.org.", 5), ("Www.Corp.net.", 5), ("Web.App.Local.", 60)];
        assert_eq!(owners, chain.map(|(name, ttl)| (name.to_owned(), ttl)));
        assert_eq!((answer.metadata.response_code, answer.authorities.len()), (ResponseCode::NoError, 0));
        assert!(!answer.metadata.authoritative, "for the name that was asked");
        assert!(!answer.metadata.authentic_data, "nobody has said so of all of it");
        assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
        assert!(answer.metadata.checking_disabled);
    }
    let counters = served.server.counters();
    assert_eq!((counters.forwarded, counters.by_rcode), (2, [(0, 2)].into()));
    assert!(counters.by_zone.is_empty(), "of the name that was asked");

    let lead = upstream.lead(ResponseCode::NXDomain, &["store.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("www.corp.org"), lead);
    assert_eq!(data(&answer), ["10.0.0.1", "store.app.local.", "web.app.local."]);
    let lead = upstream.lead(ResponseCode::NoError, &["none.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("www.corp.org"), lead);
    assert_eq!(data(&answer), ["none.app.local."]);
    assert_ends_with_us(&answer, ResponseCode::NXDomain);
    served.send(&question("www.corp.org", Kind::AAAA)).await;
    upstream.lead(ResponseCode::NXDomain, &["web.app.local"]).await;
    let answer = served.receive().await;
    assert_eq!(data(&answer), ["web.app.local."]);
    assert_ends_with_us(&answer, ResponseCode::NoError);
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_aliases_comes_back_from_elsewhere() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.cnames([("c", "back.org"), ("d", "there.org")]);
    let lead = upstream.lead(ResponseCode::NXDomain, &["web.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), lead);
    assert_eq!(data(&answer), ["10.0.0.1", "back.org.", "web.app.local."]);
    assert_eq!((answer.metadata.response_code, answer.authorities.len()), (ResponseCode::NoError, 0));
    assert!(answer.metadata.authoritative, "for the name that was asked");
    let counters = served.server.counters();
    assert_eq!((counters.forwarded, counters.by_zone.values().sum()), (1, 1_u64));
    let lead = upstream.lead(ResponseCode::NoError, &["none.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), lead);
    assert_ends_with_us(&answer, ResponseCode::NXDomain);
    // Back, out again, and what is there.
    let further = async {
        upstream.lead(ResponseCode::NXDomain, &["d.app.local"]).await;
        upstream.answer(&[[192, 0, 2, 1]]).await;
    };
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), further);
    assert_eq!(data(&answer), ["192.0.2.1", "back.org.", "d.app.local.", "there.org."]);
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_aliases_through_zones_and_others_ends() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.cnames([("c", "back.org")]);
    let lead = upstream.lead(ResponseCode::NoError, &["C.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), lead);
    assert_eq!(data(&answer), ["C.app.local.", "back.org."]);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    let lead = upstream.lead(ResponseCode::NoError, &["c.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("back.org"), lead);
    assert_eq!(data(&answer), ["back.org.", "c.app.local."]);
    upstream.assert_unasked();

    // Nine records, as of a chain in our zones alone.
    let names: Vec<_> =
        (0..9).map(|n| (format!("c{n}"), format!("c{n}.app.local"), format!("x{n}.org"))).collect();
    served.cnames(names.iter().map(|(name, _, other)| (&**name, &**other)));
    let lead = async {
        for (_, next, _) in &names[1..5] {
            upstream.lead(ResponseCode::NoError, &[next]).await;
        }
    };
    let (answer, ()) = tokio::join!(served.ask("c0.app.local"), lead);
    assert_eq!((answer.answers.len(), answer.metadata.response_code), (9, ResponseCode::NoError));
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn clients_do_not_wait_longer_for_a_chain_that_comes_back() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.cnames([("c", "back.org"), ("d", "there.org")]);
    let slow = async {
        let asked = upstream.asked().await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        upstream.send(&asked, &asked.aliases(ResponseCode::NoError, &["d.app.local"])).await;
    };
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), slow);
    assert_fails(&answer);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(served.server.counters().forwarded, 0);
}

#[tokio::test(start_paused = true)]
async fn what_others_claim_of_our_names_is_not_believed() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let (web, none) = ("web.app.local", "none.app.local");
    for (name, further) in [(web, web), (web, "evil.org"), (none, none), (none, web)] {
        served.send(&question("www.corp.org", Kind::A)).await;
        let asked = upstream.asked().await;
        let mut answer = asked.aliases(ResponseCode::NoError, &[name, further]);
        let forged = RData::A(rdata::A::new(6, 6, 6, 6));
        for owner in [name, further] {
            let owner = Name::from_ascii(format!("{owner}.")).unwrap();
            answer.add_answer(Record::from_rdata(owner.clone(), 30, forged.clone()));
            answer.add_additional(Record::from_rdata(owner, 30, forged.clone()));
        }
        upstream.send(&asked, &answer).await;
        let answer = served.receive().await;
        assert!(answer.additionals.is_empty());
        if name == web {
            assert_eq!(data(&answer), ["10.0.0.1", "web.app.local."]);
        } else {
            assert_eq!(data(&answer), ["none.app.local."]);
            assert_ends_with_us(&answer, ResponseCode::NXDomain);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_leads_into_no_zone_stays_as_it_is() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let long: Vec<_> = (0..9).map(|n| format!("x{n}.org")).chain(["web.app.local".to_owned()]).collect();
    let long: Vec<_> = long.iter().map(String::as_str).collect();
    let round = ["a.org", "b.org", "a.org"];
    let answers: [(Kind, &[&str]); 6] = [
        (Kind::A, &["a.example.net"]),
        (Kind::A, &round),
        (Kind::A, &long),
        (Kind::A, &[]),
        // What is asked for is the alias itself.
        (Kind::CNAME, &["web.app.local"]),
        (Kind::ANY, &["web.app.local"]),
    ];
    for (kind, targets) in answers {
        served.send(&question("www.corp.org", kind)).await;
        let asked = upstream.asked().await;
        let mut answer = asked.aliases(ResponseCode::NXDomain, targets);
        // Of another name.
        let other = Name::from_ascii("other.corp.org.").unwrap();
        let target = Name::from_ascii("web.app.local.").unwrap();
        answer.add_answer(Record::from_rdata(other, 5, RData::CNAME(rdata::CNAME(target))));
        answer.add_authority(soa("corp.org"));
        answer.metadata.authentic_data = true;
        let octets = answer.to_bytes().unwrap();
        upstream.0.send_to(&octets, asked.from).await.unwrap();
        let mut buffer = [0; 2048];
        let len = served.udp.recv(&mut buffer).await.unwrap();
        assert_eq!(buffer[2..len], octets[2..], "all but the id: {targets:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_leads_to_an_alias_has_what_its_target_has() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let service = served.fixture.service("out", Weighted, &[(RecordType::A, 60)]);
    served.fixture.register_alias(&service, "i", "lb.example.com");
    // The target may lead back, but not to an alias.
    let lead = upstream.lead(ResponseCode::NXDomain, &["web.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("out.app.local"), lead);
    assert_eq!((data(&answer), answer.answers[0].ttl), (vec!["10.0.0.1".to_owned()], 5));
    let further = async {
        upstream.lead(ResponseCode::NXDomain, &["out.app.local"]).await;
        upstream.answer(&[[192, 0, 2, 1]]).await;
    };
    let (answer, ()) = tokio::join!(served.ask("www.corp.org"), further);
    assert_eq!(data(&answer), ["192.0.2.1", "out.app.local."]);
    assert!(!answer.metadata.authoritative);
    assert_eq!(served.server.counters().forwarded, 1);
    let lead = upstream.lead(ResponseCode::NXDomain, &["out.app.local"]);
    assert_fails(&tokio::join!(served.ask("out.app.local"), lead).0);
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_put_together_is_cut_as_others_are() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let long = ["l".repeat(60), "m".repeat(60), "n".repeat(60), "o".repeat(60)].join(".");
    let chain = [&*long, &long.replace('l', "k"), "web.app.local"];
    let lead = upstream.lead(ResponseCode::NoError, &chain);
    let (answer, ()) = tokio::join!(served.ask("www.corp.org"), lead);
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    let mut stream = served.connect().await;
    send_framed(&mut stream, &question("www.corp.org", Kind::A)).await;
    upstream.lead(ResponseCode::NoError, &chain).await;
    let answer = receive_framed(&mut stream).await;
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (4, false));
}

#[tokio::test(start_paused = true)]
async fn targets_of_aliases_are_asked_for_unless_they_are_ours() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let fixture = &served.fixture;
    for (name, target) in [("out", "lb.example.com"), ("in", "web.app.local"), ("nested", "out.app.local")] {
        let service = fixture.service(name, Weighted, &[(RecordType::A, 60)]);
        fixture.register_alias(&service, "i", target);
    }
    let (answer, ()) =
        tokio::join!(served.ask("out.app.local"), upstream.answer(&[[192, 0, 2, 1], [192, 0, 2, 2]]));
    assert_eq!(data(&answer), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(
        (answer.answers[0].name.to_string(), answer.answers[0].ttl),
        ("out.app.local.".to_owned(), 30)
    );
    let gone = async {
        let asked = upstream.asked().await;
        upstream.send(&asked, &asked.answer(ResponseCode::NXDomain)).await;
    };
    assert_fails(&tokio::join!(served.ask("out.app.local"), gone).0);
    assert_eq!(data(&served.ask("in.app.local").await), ["10.0.0.1"]);
    assert_fails(&served.ask("nested.app.local").await);
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn an_alias_resolver_comes_before_the_forwarder() {
    let upstream = Upstream::bind().await;
    let fixture = Fixture::new();
    let service = fixture.service("app", Multivalue, &[(RecordType::A, 60)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.1")]);
    let service = fixture.service("out", Weighted, &[(RecordType::A, 60)]);
    fixture.register_alias(&service, "i", "lb.example.com");
    let server = DnsServer::builder(fixture.table.clone())
        .with_alias_resolver(Balancers::new())
        .with_forwarder(Forwarder::new([upstream.address()]))
        .bind([LOOPBACK])
        .await
        .unwrap();
    let udp = client(&server).await;
    udp.send(&question("out.app.local", Kind::A)).await.unwrap();
    assert_eq!(data(&receive(&udp).await), ["192.0.2.1", "192.0.2.2"]);
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_aliases_leads_through_all_zones() {
    let fixture = Fixture::new();
    fixture.namespace("other.internal");
    let service = fixture.service("www", Weighted, &[(RecordType::Cname, 20)]);
    fixture.register(&service, "i", &[("CNAME", "web.other.internal")]);
    let web = fixture.service_in("other.internal", "web", Multivalue, &[(RecordType::A, 60)]);
    fixture.register(&web, "i", &[("IPV4", "10.0.0.7")]);
    let answer = fixture.ask("www.app.local", Kind::A);
    assert_eq!(data(&answer), ["10.0.0.7", "web.other.internal."]);
    let answer = fixture.ask("www.app.local", Kind::AAAA);
    assert_eq!(answer.authorities[0].name, Name::from_ascii("other.internal.").unwrap());
}

#[tokio::test(start_paused = true)]
async fn shutting_down_waits_for_other_servers_no_longer_than_they_take() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    let Served { server, udp, .. } = served;
    let down = tokio::spawn(server.shutdown());
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&receive(&udp).await), ["192.0.2.1"]);
    timeout(Duration::from_secs(60), down).await.unwrap().unwrap();
}
