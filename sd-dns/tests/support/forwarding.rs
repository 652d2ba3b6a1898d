//! Upstreams whose answers the test writes, and a server that asks them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    time::Duration,
};

use super::{Fixture, parse, question};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType as Kind, rdata},
    serialize::binary::BinEncodable,
};
use sd_dns::{DnsServer, Forwarder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// After this the test fails. The clock is paused, so it takes no time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server whose answers the test writes.
pub(crate) struct Upstream(pub(crate) UdpSocket);

/// A query that came to an upstream.
pub(crate) struct Asked {
    pub(crate) message: Message,
    pub(crate) from: SocketAddr,
}

impl Upstream {
    pub(crate) async fn bind() -> Self {
        Self(UdpSocket::bind(LOOPBACK).await.unwrap())
    }

    /// With a listener on the same port.
    pub(crate) async fn bind_with_tcp() -> (Self, TcpListener) {
        loop {
            let upstream = Self::bind().await;
            if let Ok(tcp) = TcpListener::bind(upstream.address()).await {
                return (upstream, tcp);
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(crate) async fn next(&self) -> Asked {
        let mut buffer = [0; 2048];
        let (len, from) = timeout(PATIENCE, self.0.recv_from(&mut buffer)).await.unwrap().unwrap();
        Asked { message: parse(&buffer[..len]), from }
    }

    /// The next query, but for those that look for loops.
    pub(crate) async fn asked(&self) -> Asked {
        loop {
            let asked = self.next().await;
            if !asked.is_probe() {
                return asked;
            }
        }
    }

    /// The next query, and the one that looks for a loop, which comes before it or after it.
    pub(crate) async fn asked_with_probe(&self) -> (Asked, Asked) {
        let (one, other) = (self.next().await, self.next().await);
        let (asked, probe) = if one.is_probe() { (other, one) } else { (one, other) };
        assert!(probe.is_probe() && !asked.is_probe());
        (asked, probe)
    }

    /// Asserts that no query has arrived. The test has waited for whatever could have sent one.
    pub(crate) fn assert_unasked(&self) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.0.try_recv_from(&mut buffer) {
            let asked = Asked { message: parse(&buffer[..len]), from };
            assert!(asked.is_probe(), "{}", asked.message);
        }
    }

    pub(crate) async fn send(&self, to: &Asked, answer: &Message) {
        self.0.send_to(&answer.to_bytes().unwrap(), to.from).await.unwrap();
    }

    /// Answers the next query by [`Asked::aliases`], and says that it knows no more: by another zone's SOA
    /// record.
    pub(crate) async fn lead(&self, code: ResponseCode, targets: &[&str]) {
        let asked = self.asked().await;
        let mut answer = asked.aliases(code, targets);
        answer.metadata.authentic_data = true;
        answer.add_authority(soa("corp.org"));
        self.send(&asked, &answer).await;
    }

    /// Answers the next query with these addresses.
    pub(crate) async fn answer(&self, addresses: &[[u8; 4]]) {
        let asked = self.asked().await;
        self.send(&asked, &asked.addresses(addresses)).await;
    }
}

impl Asked {
    /// The answer without records.
    pub(crate) fn answer(&self, code: ResponseCode) -> Message {
        let mut answer = Message::response(self.message.metadata.id, self.message.metadata.op_code);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.metadata.response_code = code;
        answer.add_queries(self.message.queries.clone());
        answer
    }

    pub(crate) fn addresses(&self, addresses: &[[u8; 4]]) -> Message {
        let mut answer = self.answer(ResponseCode::NoError);
        for [a, b, c, d] in addresses {
            let address = RData::A(rdata::A::new(*a, *b, *c, *d));
            answer.add_answer(Record::from_rdata(self.name().clone(), 30, address));
        }
        answer
    }

    /// The answer that the name is an alias of the first of these, which is one of the next.
    pub(crate) fn aliases(&self, code: ResponseCode, targets: &[&str]) -> Message {
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

    pub(crate) fn name(&self) -> &Name {
        self.message.queries[0].name()
    }

    pub(crate) fn is_probe(&self) -> bool {
        Name::from_ascii("sd-loop.").unwrap().zone_of(self.name())
    }
}

/// A server that forwards, and a client of it.
pub(crate) struct Served {
    pub(crate) fixture: Fixture,
    pub(crate) server: DnsServer,
    pub(crate) udp: UdpSocket,
}

impl Served {
    /// Without a cache, so that each question reaches the upstreams.
    pub(crate) async fn start(upstreams: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::with(Forwarder::builder(upstreams).with_cache_size(0).build()).await
    }

    pub(crate) async fn with(forwarder: Forwarder) -> Self {
        let fixture = Fixture::new();
        fixture.web(1);
        let server = DnsServer::builder(fixture.table.clone())
            .with_udp_workers(NonZero::<usize>::MIN)
            .with_forwarder(forwarder)
            .bind([LOOPBACK])
            .await
            .unwrap();
        let udp = client(&server).await;
        Self { fixture, server, udp }
    }

    pub(crate) async fn send(&self, packet: &[u8]) {
        self.udp.send(packet).await.unwrap();
    }

    pub(crate) async fn receive(&self) -> Message {
        receive(&self.udp).await
    }

    pub(crate) async fn ask(&self, name: &str) -> Message {
        self.send(&question(name, Kind::A)).await;
        self.receive().await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addrs()[0]).await.unwrap()
    }
}

pub(crate) async fn client(server: &DnsServer) -> UdpSocket {
    client_at(LOOPBACK, server).await
}

pub(crate) async fn client_at(address: SocketAddr, server: &DnsServer) -> UdpSocket {
    let udp = UdpSocket::bind(address).await.unwrap();
    udp.connect(server.local_addrs()[0]).await.unwrap();
    udp
}

pub(crate) async fn receive(udp: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let len = timeout(PATIENCE, udp.recv(&mut buffer)).await.unwrap().unwrap();
    parse(&buffer[..len])
}

pub(crate) async fn send_framed(stream: &mut TcpStream, packet: &[u8]) {
    stream.write_all(&[&(packet.len() as u16).to_be_bytes()[..], packet].concat()).await.unwrap();
}

pub(crate) async fn receive_framed(stream: &mut TcpStream) -> Message {
    let len = stream.read_u16().await.unwrap();
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await.unwrap();
    parse(&answer)
}

/// The SOA record of another server's zone.
pub(crate) fn soa(zone: &str) -> Record {
    let name = |labels| Name::from_ascii(format!("{labels}{zone}.")).unwrap();
    let soa = rdata::SOA::new(name("ns."), name("h."), 1, 2, 3, 4, 5);
    Record::from_rdata(name(""), 5, RData::SOA(soa))
}

pub(crate) fn assert_fails(answer: &Message) {
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail, "{answer}");
    assert!(answer.metadata.recursion_available && answer.answers.is_empty());
    assert_eq!(answer.queries.len(), 1);
}
