//! Both implementations of [`DatagramBatch`], on loopback sockets.

use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::{Domain, Type};
use tokio::task::JoinSet;

use super::{portable::PortableBatch, *};

const IPV4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const IPV6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);

/// Runs each test with each implementation.
macro_rules! for_each_batch {
    ($($name:ident),* $(,)?) => {
        mod portable_batch {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<super::PortableBatch>().await;
            })*
        }

        #[cfg(target_os = "linux")]
        mod mmsg_batch {
            $(#[tokio::test]
            async fn $name() {
                super::$name::<super::super::mmsg::MmsgBatch>().await;
            })*
        }
    };
}

for_each_batch![
    full_batches_come_in_order,
    long_datagrams_are_cut_off,
    an_empty_datagram_counts,
    responses_go_to_their_clients,
    ipv6_is_served,
    a_response_that_cannot_be_sent_does_not_stop_others,
    a_response_can_be_sent_later,
    a_socket_is_readable_after_each_batch,
];

/// The tests need IPv6, and fail without it.
const LOOPBACKS: [SocketAddr; 2] = [IPV4, IPV6];

/// Binds a socket as a server does.
fn bound(address: SocketAddr) -> UdpSocket {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    prepare(&socket, address).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
    UdpSocket::from_std(socket.into()).unwrap()
}

async fn client(of: &UdpSocket) -> UdpSocket {
    let server = of.local_addr().unwrap();
    let socket = UdpSocket::bind(if server.is_ipv4() { IPV4 } else { IPV6 }).await.unwrap();
    socket.connect(server).await.unwrap();
    socket
}

async fn receive<D: DatagramBatch>(datagrams: &mut D, socket: &UdpSocket) -> usize {
    loop {
        socket.readable().await.unwrap();
        match datagrams.receive(socket).unwrap() {
            0 => {}
            received => return received,
        }
    }
}

async fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2048];
    let len = socket.recv(&mut buffer).await.unwrap();
    buffer[..len].to_vec()
}

async fn full_batches_come_in_order<D: DatagramBatch>() {
    let (socket, mut datagrams) = (bound(IPV4), D::new());
    let client = client(&socket).await;
    let all = 2 * BATCH + 3;
    for number in 0..all {
        client.send(format!("number {number}").as_bytes()).await.unwrap();
    }
    let mut seen = 0;
    for expected in [BATCH, BATCH, 3] {
        assert_eq!(receive(&mut datagrams, &socket).await, expected);
        for number in 0..expected {
            assert_eq!(datagrams.octets(number), format!("number {seen}").as_bytes());
            assert_eq!(datagrams.peer(number).to_string(), client.local_addr().unwrap().to_string());
            assert_eq!(datagrams.source(number), Some(client.local_addr().unwrap()));
            seen += 1;
        }
    }
    assert_eq!((datagrams.octets(3), datagrams.source(3)), (&b""[..], None), "not in this batch");
    assert_eq!(datagrams.receive(&socket).unwrap(), 0);
    assert_eq!(datagrams.octets(0), b"", "not in this batch");
}

async fn long_datagrams_are_cut_off<D: DatagramBatch>() {
    let (socket, mut datagrams) = (bound(IPV4), D::new());
    let client = client(&socket).await;
    for len in [MAX_DATAGRAM - 1, MAX_DATAGRAM, MAX_DATAGRAM + 1, 65_000, 1] {
        client.send(&vec![len as u8; len]).await.unwrap();
    }
    assert_eq!(receive(&mut datagrams, &socket).await, 5);
    for (number, len) in [MAX_DATAGRAM - 1, MAX_DATAGRAM, MAX_DATAGRAM + 1, 65_000, 1].into_iter().enumerate()
    {
        assert_eq!(datagrams.octets(number), vec![len as u8; len.min(MAX_DATAGRAM)]);
    }
}

async fn an_empty_datagram_counts<D: DatagramBatch>() {
    let (socket, mut datagrams) = (bound(IPV4), D::new());
    let client = client(&socket).await;
    client.send(b"").await.unwrap();
    client.send(b"x").await.unwrap();
    assert_eq!(receive(&mut datagrams, &socket).await, 2);
    assert_eq!((datagrams.octets(0), datagrams.octets(1)), (&b""[..], &b"x"[..]));
    let responses =
        [ResponseDatagram { number: 0, octets: b"" }, ResponseDatagram { number: 1, octets: b"y" }];
    assert_eq!(datagrams.send(&socket, responses.into_iter()).unwrap(), 2);
    assert_eq!((received(&client).await, received(&client).await), (b"".to_vec(), b"y".to_vec()));
}

async fn responses_go_to_their_clients<D: DatagramBatch>() {
    for address in LOOPBACKS {
        let (socket, mut datagrams) = (bound(address), D::new());
        let mut clients = JoinSet::new();
        for number in 0..BATCH as u8 {
            let client = client(&socket).await;
            client.send(&[number]).await.unwrap();
            clients.spawn(async move { assert_eq!(received(&client).await, [number, number]) });
        }
        let count = receive(&mut datagrams, &socket).await;
        assert_eq!(count, BATCH);
        let octets: Vec<[u8; 2]> = (0..count).map(|number| [datagrams.octets(number)[0]; 2]).collect();
        // In two calls, the last ones first.
        for half in [BATCH / 2..BATCH, 0..BATCH / 2] {
            let responses = half.map(|number| ResponseDatagram { number, octets: &octets[number] });
            assert_eq!(datagrams.send(&socket, responses).unwrap(), BATCH / 2);
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    }
}

async fn ipv6_is_served<D: DatagramBatch>() {
    for address in [IPV6, (Ipv6Addr::UNSPECIFIED, 0).into()] {
        let (socket, mut datagrams) = (bound(address), D::new());
        let client = UdpSocket::bind(IPV6).await.unwrap();
        client.connect((Ipv6Addr::LOCALHOST, socket.local_addr().unwrap().port())).await.unwrap();
        client.send(b"x").await.unwrap();
        assert_eq!(receive(&mut datagrams, &socket).await, 1);
        assert_eq!(datagrams.peer(0).to_string(), client.local_addr().unwrap().to_string());
        assert_eq!(datagrams.source(0), Some(client.local_addr().unwrap()));
        datagrams.send(&socket, [ResponseDatagram { number: 0, octets: b"y" }].into_iter()).unwrap();
        assert_eq!(received(&client).await, b"y");
    }
}

async fn a_response_that_cannot_be_sent_does_not_stop_others<D: DatagramBatch>() {
    let (socket, mut datagrams) = (bound(IPV4), D::new());
    let client = client(&socket).await;
    for _ in 0..4 {
        client.send(b"x").await.unwrap();
    }
    assert_eq!(receive(&mut datagrams, &socket).await, 4);
    // Longer than a datagram can be.
    let long = vec![0; 70_000];
    let octets = [&b"a"[..], b"b", &long, b"c"];
    let responses = |from: usize| (from..4).map(|number| ResponseDatagram { number, octets: octets[number] });
    assert_eq!(datagrams.send(&socket, responses(0)).unwrap(), 2);
    let error = datagrams.send(&socket, responses(2)).unwrap_err();
    assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
    assert_eq!(datagrams.send(&socket, responses(3)).unwrap(), 1);
    for expected in [b"a", b"b", b"c"] {
        assert_eq!(received(&client).await, expected);
    }
}

async fn a_response_can_be_sent_later<D: DatagramBatch>() {
    let (socket, mut datagrams) = (bound(IPV4), D::new());
    let (first, second) = (client(&socket).await, client(&socket).await);
    first.send(b"1").await.unwrap();
    assert_eq!(receive(&mut datagrams, &socket).await, 1);
    let peer = datagrams.peer(0);
    second.send(b"2").await.unwrap();
    assert_eq!(receive(&mut datagrams, &socket).await, 1);
    D::send_to(&socket, b"for the first", &peer).unwrap();
    D::send_to(&socket, b"for the second", &datagrams.peer(0)).unwrap();
    assert_eq!(received(&first).await, b"for the first");
    assert_eq!(received(&second).await, b"for the second");
}

async fn a_socket_is_readable_after_each_batch<D: DatagramBatch>() {
    let (socket, mut datagrams) = (bound(IPV4), D::new());
    let client = client(&socket).await;
    for len in [1, BATCH - 1, BATCH, 1] {
        for _ in 0..len {
            client.send(b"x").await.unwrap();
        }
        assert_eq!(receive(&mut datagrams, &socket).await, len);
    }
}

/// IPv4 only, which has many loopback addresses.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_response_comes_from_the_address_that_was_queried() {
    type Batch = mmsg::MmsgBatch;
    let (socket, mut datagrams) = (bound((Ipv4Addr::UNSPECIFIED, 0).into()), Batch::new());
    let port = socket.local_addr().unwrap().port();
    let mut clients = Vec::new();
    for last in 1..=4 {
        let client = UdpSocket::bind(IPV4).await.unwrap();
        // A connected socket receives from this address only.
        client.connect((Ipv4Addr::new(127, 0, 0, last), port)).await.unwrap();
        client.send(&[last]).await.unwrap();
        clients.push(client);
    }
    assert_eq!(receive(&mut datagrams, &socket).await, 4);
    let responses = (0..4).map(|number| ResponseDatagram { number, octets: b"at once" });
    assert_eq!(datagrams.send(&socket, responses).unwrap(), 4);
    for (number, client) in clients.iter().enumerate() {
        assert_eq!(received(client).await, b"at once");
        Batch::send_to(&socket, b"later", &datagrams.peer(number)).unwrap();
        assert_eq!(received(client).await, b"later");
    }
}
