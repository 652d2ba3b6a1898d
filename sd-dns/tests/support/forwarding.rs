//! Upstreams whose responses the test writes, and a server that forwards to them.

use std::{net::SocketAddr, num::NonZero};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType as Kind, rdata},
    serialize::binary::BinEncodable,
};
use sd_dns::{DnsServer, Forwarder};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

use super::{
    Fixture, parse, question,
    sockets::{LOOPBACK, PATIENCE, client, receive_in_time},
};

/// A server whose responses the test writes.
pub(crate) struct Upstream(pub(crate) UdpSocket);

/// A query that an upstream received.
pub(crate) struct ReceivedQuery {
    pub(crate) message: Message,
    pub(crate) from: SocketAddr,
}

impl Upstream {
    pub(crate) async fn bind() -> Self {
        Self(UdpSocket::bind(LOOPBACK).await.unwrap())
    }

    /// An upstream that listens for TCP on the same port.
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

    /// The next query, which may be a probe.
    pub(crate) async fn next(&self) -> ReceivedQuery {
        let mut buffer = [0; 2048];
        let (len, from) = timeout(PATIENCE, self.0.recv_from(&mut buffer)).await.unwrap().unwrap();
        ReceivedQuery { message: parse(&buffer[..len]), from }
    }

    /// The next query that is not a probe.
    pub(crate) async fn query(&self) -> ReceivedQuery {
        loop {
            let query = self.next().await;
            if !query.is_probe() {
                return query;
            }
        }
    }

    /// The next query and the next probe, in any order.
    pub(crate) async fn query_and_probe(&self) -> (ReceivedQuery, ReceivedQuery) {
        let (one, other) = (self.next().await, self.next().await);
        let (query, probe) = if one.is_probe() { (other, one) } else { (one, other) };
        assert!(probe.is_probe() && !query.is_probe());
        (query, probe)
    }

    /// Asserts that no query has arrived. The test must have waited for everything that could send one.
    pub(crate) fn assert_no_query(&self) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.0.try_recv_from(&mut buffer) {
            let query = ReceivedQuery { message: parse(&buffer[..len]), from };
            assert!(query.is_probe(), "{}", query.message);
        }
    }

    pub(crate) async fn send(&self, to: &ReceivedQuery, response: &Message) {
        self.0.send_to(&response.to_bytes().unwrap(), to.from).await.unwrap();
    }

    /// Answers the next query with these addresses.
    pub(crate) async fn answer(&self, addresses: &[[u8; 4]]) {
        let query = self.query().await;
        self.send(&query, &query.with_addresses(addresses)).await;
    }

    /// Answers the next query with a chain of CNAME records that the upstream cannot follow further. The SOA record is that
    /// of another zone.
    pub(crate) async fn lead(&self, code: ResponseCode, targets: &[&str]) {
        let query = self.query().await;
        let mut response = query.with_cnames(code, targets);
        response.metadata.authentic_data = true;
        response.add_authority(soa("corp.org"));
        self.send(&query, &response).await;
    }

    /// Answers the next query without records.
    pub(crate) async fn respond(&self, code: ResponseCode) {
        let query = self.query().await;
        self.send(&query, &query.response(code)).await;
    }
}

impl ReceivedQuery {
    /// A response without records.
    pub(crate) fn response(&self, code: ResponseCode) -> Message {
        let mut response = Message::response(self.message.metadata.id, self.message.metadata.op_code);
        response.metadata.recursion_desired = true;
        response.metadata.recursion_available = true;
        response.metadata.response_code = code;
        response.add_queries(self.message.queries.clone());
        response
    }

    /// A response with A records of the name.
    pub(crate) fn with_addresses(&self, addresses: &[[u8; 4]]) -> Message {
        let mut response = self.response(ResponseCode::NoError);
        for [a, b, c, d] in addresses {
            let address = RData::A(rdata::A::new(*a, *b, *c, *d));
            response.add_answer(Record::from_rdata(self.name().clone(), 30, address));
        }
        response
    }

    /// A response with a chain of CNAME records: from the name to the first target, from there to the second, and so on.
    pub(crate) fn with_cnames(&self, code: ResponseCode, targets: &[&str]) -> Message {
        let mut response = self.response(code);
        let mut owner = self.name().clone();
        for target in targets {
            let target = Name::from_ascii(format!("{target}.")).unwrap();
            let cname = RData::CNAME(rdata::CNAME(target.clone()));
            response.add_answer(Record::from_rdata(owner, 5, cname));
            owner = target;
        }
        response
    }

    pub(crate) fn name(&self) -> &Name {
        self.message.queries[0].name()
    }

    pub(crate) fn is_probe(&self) -> bool {
        Name::from_ascii("sd-loop.").unwrap().zone_of(self.name())
    }
}

/// A server that forwards, and a client of it.
pub(crate) struct ForwardingServer {
    pub(crate) fixture: Fixture,
    pub(crate) server: DnsServer,
    pub(crate) udp: UdpSocket,
}

impl ForwardingServer {
    /// A server without a cache, so that each query reaches the upstreams.
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
        receive_in_time(&self.udp).await
    }

    pub(crate) async fn ask(&self, name: &str) -> Message {
        self.send(&question(name, Kind::A)).await;
        self.receive().await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.local_addrs()[0]).await.unwrap()
    }
}

/// The SOA record of another server's zone.
pub(crate) fn soa(zone: &str) -> Record {
    let name = |labels| Name::from_ascii(format!("{labels}{zone}.")).unwrap();
    let soa = rdata::SOA::new(name("ns."), name("h."), 1, 2, 3, 4, 5);
    Record::from_rdata(name(""), 5, RData::SOA(soa))
}

/// Asserts SERVFAIL of a server that forwards.
pub(crate) fn assert_servfail(response: &Message) {
    super::assert_servfail(response);
    assert!(response.metadata.recursion_available);
}
