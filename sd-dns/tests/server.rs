//! The server on loopback sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZero,
    time::Duration,
};

use hickory_proto::{op::ResponseCode, rr::RecordType as Kind};
use sd_core::model::{DnsName, RecordType, RoutingPolicy::Multivalue};
use sd_dns::{DnsServer, Transport};
use support::{
    Fixture, data, question, question_with_edns,
    sockets::{LOOPBACK, client_at, framed, receive, receive_framed, rest, send_framed},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
};

struct Served {
    fixture: Fixture,
    server: DnsServer,
    address: SocketAddr,
}

async fn serve() -> Served {
    let fixture = Fixture::new();
    fixture.web(3);
    let server = DnsServer::bind(fixture.table.clone(), [LOOPBACK]).await.unwrap();
    let address = server.local_addrs()[0];
    Served { fixture, server, address }
}

async fn udp(server: SocketAddr) -> UdpSocket {
    client_at(LOOPBACK, server).await
}

fn with_id(mut packet: Vec<u8>, id: u16) -> Vec<u8> {
    packet[..2].copy_from_slice(&id.to_be_bytes());
    packet
}

const WEB: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];

#[tokio::test]
async fn udp_and_tcp_share_one_port() {
    let served = serve().await;
    let socket = udp(served.address).await;
    socket.send(&question("web.app.local", Kind::A)).await.unwrap();
    assert_eq!(data(&receive(&socket).await), WEB);

    let mut stream = TcpStream::connect(served.address).await.unwrap();
    send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
    assert_eq!(data(&receive_framed(&mut stream).await), WEB);
    served.server.shutdown().await;
}

#[tokio::test]
async fn all_addresses_are_served() {
    let fixture = Fixture::new();
    fixture.web(3);
    // Needs IPv6, and fails without it.
    let addresses = [LOOPBACK, LOOPBACK, (Ipv6Addr::LOCALHOST, 0).into()];
    let server = DnsServer::bind(fixture.table.clone(), addresses).await.unwrap();
    assert_eq!(server.local_addrs().len(), addresses.len());
    for address in server.local_addrs() {
        let loopback = if address.is_ipv6() { (Ipv6Addr::LOCALHOST, 0).into() } else { LOOPBACK };
        let socket = client_at(loopback, *address).await;
        socket.send(&question("web.app.local", Kind::A)).await.unwrap();
        assert_eq!(data(&receive(&socket).await), WEB);
        let mut stream = TcpStream::connect(address).await.unwrap();
        send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
        assert_eq!(data(&receive_framed(&mut stream).await), WEB);
    }
    server.shutdown().await;
}

/// On other systems the system chooses the source address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_response_comes_from_the_address_that_was_queried() {
    let fixture = Fixture::new();
    fixture.web(3);
    let server = DnsServer::bind(fixture.table.clone(), [(Ipv4Addr::UNSPECIFIED, 0).into()]).await.unwrap();
    for last in 1..=3 {
        let address = (Ipv4Addr::new(127, 0, 0, last), server.local_addrs()[0].port()).into();
        // A connected socket receives from this address only.
        let socket = udp(address).await;
        socket.send(&question("web.app.local", Kind::A)).await.unwrap();
        assert_eq!(data(&receive(&socket).await), WEB);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_clients_get_their_own_responses() {
    let served = serve().await;
    let mut clients = JoinSet::new();
    for client in 0..20u16 {
        let address = served.address;
        clients.spawn(async move {
            let socket = udp(address).await;
            for query in 0..50 {
                let id = client * 100 + query;
                socket.send(&with_id(question("web.app.local", Kind::A), id)).await.unwrap();
                let answer = receive(&socket).await;
                assert_eq!(answer.metadata.id, id);
                assert_eq!(data(&answer), WEB);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
}

#[tokio::test]
async fn a_change_is_in_the_next_response() {
    let served = serve().await;
    let service = served.fixture.service("new", Multivalue, &[(RecordType::A, 0)]);
    let socket = udp(served.address).await;
    for number in 1..=5 {
        served.fixture.register(&service, "i", &[("IPV4", &format!("10.1.0.{number}"))]);
        socket.send(&question("new.app.local", Kind::A)).await.unwrap();
        assert_eq!(data(&receive(&socket).await), [format!("10.1.0.{number}")]);
    }
}

#[tokio::test]
async fn a_and_aaaa_queries_from_one_socket_are_both_answered() {
    let served = serve().await;
    let socket = udp(served.address).await;
    // Some stub resolvers send both at once from one socket, and need a response to each.
    socket.send(&with_id(question("web.app.local", Kind::A), 1)).await.unwrap();
    socket.send(&with_id(question("web.app.local", Kind::AAAA), 2)).await.unwrap();
    let mut answers = [receive(&socket).await, receive(&socket).await];
    answers.sort_by_key(|answer| answer.metadata.id);
    let [ipv4, ipv6] = answers;
    assert_eq!((ipv4.metadata.id, data(&ipv4)), (1, WEB.map(str::to_owned).to_vec()));
    assert_eq!((ipv6.metadata.id, ipv6.metadata.response_code), (2, ResponseCode::NoError));
    assert!(ipv6.answers.is_empty() && ipv6.metadata.authoritative);
}

#[tokio::test]
async fn garbage_does_not_stop_a_udp_worker() {
    let served = serve().await;
    let socket = udp(served.address).await;
    for garbage in [&b""[..], b"x", b"\0\0\x80\0\0\0\0\0\0\0\0\0", &[0xFF; 1500]] {
        socket.send(garbage).await.unwrap();
    }
    socket.send(&question_with_edns("web.app.local", Kind::A, 1232)).await.unwrap();
    assert_eq!(data(&receive(&socket).await), WEB);
}

#[tokio::test]
async fn pipelined_queries_are_all_answered() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let sent: Vec<u8> =
        (0..1000).flat_map(|id| framed(&with_id(question("web.app.local", Kind::A), id))).collect();
    let (mut reader, mut writer) = stream.split();
    let receive = async {
        let mut received = vec![0; 1000 * (2 + question("web.app.local", Kind::A).len() + 3 * 16)];
        reader.read_exact(&mut received).await.unwrap();
        received
    };
    let (received, written) = tokio::join!(receive, writer.write_all(&sent));
    written.unwrap();
    let ids = received.chunks(received.len() / 1000).map(|frame| u16::from_be_bytes([frame[2], frame[3]]));
    assert!(ids.eq(0..1000));
}

#[tokio::test]
async fn messages_can_arrive_in_any_pieces() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let two = [
        framed(&with_id(question("web.app.local", Kind::A), 1)),
        framed(&question("web.app.local", Kind::A)),
    ];
    for byte in two.concat() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(receive_framed(&mut stream).await.metadata.id, 1);
    assert_eq!(receive_framed(&mut stream).await.metadata.id, 0x1234);
}

#[tokio::test]
async fn a_half_closed_connection_is_answered() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
    stream.shutdown().await.unwrap();
    assert_eq!(data(&receive_framed(&mut stream).await), WEB);
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn empty_short_and_incomplete_messages_do_no_harm() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    for packet in [&b""[..], b"x", b"\0\0\x80\0\0\0\0\0\0\0\0\0"] {
        send_framed(&mut stream, packet).await;
    }
    send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
    assert_eq!(data(&receive_framed(&mut stream).await), WEB);
    stream.write_all(&[0xFF, 0xFF, 1, 2, 3]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(rest(&mut stream).await.is_empty());
    let socket = udp(served.address).await;
    socket.send(&question("web.app.local", Kind::A)).await.unwrap();
    assert_eq!(data(&receive(&socket).await), WEB);
}

#[tokio::test]
async fn the_largest_message_is_read() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let mut packet = question("web.app.local", Kind::A);
    packet.resize(usize::from(u16::MAX), 0);
    send_framed(&mut stream, &packet).await;
    assert_eq!(data(&receive_framed(&mut stream).await), WEB);
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_no_other() {
    let served = serve().await;
    let flood = framed(&question("web.app.local", Kind::A)).repeat(1000);
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    // Until the server takes no more. The paused clock advances when all tasks are idle.
    tokio::time::pause();
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(1), slow.write_all(&flood)).await {}
    tokio::time::resume();
    let mut quick = TcpStream::connect(served.address).await.unwrap();
    quick.write_all(&framed(&question("web.app.local", Kind::A))).await.unwrap();
    assert_eq!(data(&receive_framed(&mut quick).await), WEB);
    let socket = udp(served.address).await;
    socket.send(&question("web.app.local", Kind::A)).await.unwrap();
    assert_eq!(data(&receive(&socket).await), WEB);
}

#[tokio::test]
async fn one_connection_too_many_closes_the_idlest() {
    let fixture = Fixture::new();
    fixture.web(3);
    let builder = DnsServer::builder(fixture.table.clone()).with_max_connections(NonZero::new(2).unwrap());
    let server = builder.bind([LOOPBACK]).await.unwrap();
    let connect = async || TcpStream::connect(server.local_addrs()[0]).await.unwrap();
    let ask = async |stream: &mut TcpStream| {
        send_framed(stream, &question("web.app.local", Kind::A)).await;
        assert_eq!(data(&receive_framed(stream).await), WEB);
    };
    let (mut first, mut second) = (connect().await, connect().await);
    ask(&mut first).await;
    ask(&mut second).await;
    ask(&mut first).await;
    let mut third = connect().await;
    ask(&mut third).await;
    assert!(rest(&mut second).await.is_empty());
    ask(&mut first).await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(&framed(&question("web.app.local", Kind::A))[..5]).await.unwrap();
    // The paused clock advances when all tasks are idle.
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn shutting_down_answers_what_has_arrived_and_frees_the_port() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
    assert_eq!(data(&receive_framed(&mut stream).await), WEB);
    let socket = udp(served.address).await;
    socket.send(&question("web.app.local", Kind::A)).await.unwrap();
    send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
    served.server.shutdown().await;
    assert_eq!(data(&receive(&socket).await), WEB);
    assert_eq!(data(&receive_framed(&mut stream).await), WEB);
    assert!(rest(&mut stream).await.is_empty());
    let again = DnsServer::bind(served.fixture.table.clone(), [served.address]).await.unwrap();
    again.shutdown().await;
}

#[tokio::test]
async fn addresses_can_be_added_and_closed() {
    let Served { fixture, mut server, address: first } = serve().await;
    let second = server.listen(LOOPBACK).unwrap();
    assert_eq!(server.local_addrs(), [first, second]);
    let error = server.listen(second).unwrap_err();
    assert_eq!((error.address, error.transport), (second, Transport::Udp));
    let mut streams = Vec::new();
    for address in [first, second] {
        let socket = udp(address).await;
        socket.send(&question("web.app.local", Kind::A)).await.unwrap();
        assert_eq!(data(&receive(&socket).await), WEB);
        let mut stream = TcpStream::connect(address).await.unwrap();
        send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
        assert_eq!(data(&receive_framed(&mut stream).await), WEB);
        streams.push((socket, stream));
    }
    // What has arrived is answered. Then the connections of this address end.
    let (mut to_second, mut to_first) = (streams.pop().unwrap(), streams.pop().unwrap());
    to_second.0.send(&question("web.app.local", Kind::A)).await.unwrap();
    to_second.1.write_all(&framed(&question("web.app.local", Kind::A))).await.unwrap();
    assert!(server.close(second).await);
    assert_eq!(data(&receive(&to_second.0).await), WEB);
    assert_eq!(data(&receive_framed(&mut to_second.1).await), WEB);
    assert!(rest(&mut to_second.1).await.is_empty());
    to_first.1.write_all(&framed(&question("web.app.local", Kind::A))).await.unwrap();
    assert_eq!(data(&receive_framed(&mut to_first.1).await), WEB);
    assert_eq!(server.local_addrs(), [first]);
    assert!(!server.close(second).await, "it is closed already");

    let counters = server.counters();
    assert_eq!((counters.udp, counters.tcp), (3, 4), "responses of closed addresses are still counted");
    let other = DnsServer::bind(fixture.table.clone(), [second]).await.unwrap();
    other.shutdown().await;
    server.shutdown().await;
}

#[tokio::test]
async fn responses_are_counted() {
    let served = serve().await;
    served.fixture.namespace("other.local");
    let socket = udp(served.address).await;
    let asked = [
        ("web.app.local", Kind::A),
        ("web.app.local", Kind::A),
        ("web.app.local", Kind::AAAA),
        ("gone.app.local", Kind::A),
        ("gone.other.local", Kind::Unknown(1234)),
        ("example.com", Kind::A),
    ];
    // A response, an incomplete header, and a message without a question.
    socket.send(b"\0\0\x80\0\0\0\0\0\0\0\0\0").await.unwrap();
    socket.send(b"x").await.unwrap();
    socket.send(b"\0\0\0\0\0\0\0\0\0\0\0\0").await.unwrap();
    receive(&socket).await;
    for (name, kind) in asked {
        socket.send(&question(name, kind)).await.unwrap();
        receive(&socket).await;
    }
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    send_framed(&mut stream, b"x").await;
    send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
    receive_framed(&mut stream).await;

    let counters = served.server.counters();
    assert_eq!((counters.udp, counters.tcp, counters.ignored, counters.unsent), (7, 1, 3, 0));
    assert_eq!(counters.by_type, [(1, 5), (28, 1), (1234, 1)].into());
    assert_eq!(counters.by_rcode, [(0, 4), (1, 1), (3, 2), (5, 1)].into());
    let zone = |name: &str| DnsName::parse(name).unwrap();
    assert_eq!(counters.by_zone, [(zone("app.local"), 5), (zone("other.local"), 1)].into());
    let latency = counters.latency;
    assert_eq!(latency.count(), 8);
    assert!(latency.sum() > Duration::ZERO);
    served.server.shutdown().await;
}

#[tokio::test]
async fn dropping_a_server_closes_its_connections() {
    let served = serve().await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    send_framed(&mut stream, &question("web.app.local", Kind::A)).await;
    receive_framed(&mut stream).await;
    drop(served.server);
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_transport() {
    let served = serve().await;
    let error = DnsServer::bind(served.fixture.table.clone(), [served.address]).await.unwrap_err();
    assert_eq!((error.address, error.transport), (served.address, Transport::Udp));
    assert_eq!(error.to_string(), format!("cannot listen on {} (UDP): the port is taken", served.address));

    // A socket of another test may use the port for UDP, which is bound first.
    let mut errors = Vec::new();
    while errors.last() != Some(&Transport::Tcp) && errors.len() < 100 {
        let tcp = std::net::TcpListener::bind(LOOPBACK).unwrap();
        let address = tcp.local_addr().unwrap();
        let error = DnsServer::bind(served.fixture.table.clone(), [address]).await.unwrap_err();
        assert_eq!(error.address, address);
        errors.push(error.transport);
    }
    assert_eq!(errors.last(), Some(&Transport::Tcp));
}
