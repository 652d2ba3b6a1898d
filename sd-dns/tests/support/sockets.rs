//! Clients of a server, over UDP and TCP.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::op::Message;
use sd_dns::DnsServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::parse;

pub(crate) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// After this a test with a paused clock fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A UDP client of the server's first address.
pub(crate) async fn client(server: &DnsServer) -> UdpSocket {
    client_at(LOOPBACK, server.local_addrs()[0]).await
}

/// A UDP client with this address.
pub(crate) async fn client_at(address: SocketAddr, server: SocketAddr) -> UdpSocket {
    let udp = UdpSocket::bind(address).await.unwrap();
    udp.connect(server).await.unwrap();
    udp
}

pub(crate) async fn receive(udp: &UdpSocket) -> Message {
    let mut buffer = [0; 4096];
    let len = udp.recv(&mut buffer).await.unwrap();
    parse(&buffer[..len])
}

/// As [`receive`], with the patience of a paused clock.
pub(crate) async fn receive_in_time(udp: &UdpSocket) -> Message {
    timeout(PATIENCE, receive(udp)).await.unwrap()
}

/// The message with its length before it.
pub(crate) fn framed(packet: &[u8]) -> Vec<u8> {
    [&(packet.len() as u16).to_be_bytes()[..], packet].concat()
}

pub(crate) async fn send_framed(stream: &mut TcpStream, packet: &[u8]) {
    stream.write_all(&framed(packet)).await.unwrap();
}

pub(crate) async fn receive_framed(stream: &mut TcpStream) -> Message {
    let len = stream.read_u16().await.unwrap();
    let mut response = vec![0; usize::from(len)];
    stream.read_exact(&mut response).await.unwrap();
    parse(&response)
}

/// What the server still sends, until it closes the connection.
pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A connection that is closed with data unread is reset.
    let _ = stream.read_to_end(&mut rest).await;
    rest
}
