//! Receives and sends datagrams with one system call for each, on systems other than Linux.

use std::{io, net::SocketAddr};

use tokio::net::UdpSocket;

use super::{BATCH, DatagramBatch, MAX_DATAGRAM, ResponseDatagram};

pub(in crate::server) struct PortableBatch {
    /// Length and source of each datagram.
    received: Vec<(usize, SocketAddr)>,
    octets: Box<[u8]>,
    /// Room for the longest datagram, because some systems fail to receive a part of one.
    longest: Box<[u8]>,
}

impl DatagramBatch for PortableBatch {
    type Peer = SocketAddr;

    fn new() -> Self {
        Self {
            received: Vec::with_capacity(BATCH),
            octets: vec![0; BATCH * MAX_DATAGRAM].into(),
            longest: vec![0; usize::from(u16::MAX)].into(),
        }
    }

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received.clear();
        for room in self.octets.chunks_exact_mut(MAX_DATAGRAM) {
            match socket.try_recv_from(&mut self.longest) {
                Ok((len, peer)) => {
                    let len = len.min(MAX_DATAGRAM);
                    room[..len].copy_from_slice(&self.longest[..len]);
                    self.received.push((len, peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if self.received.is_empty() => return Err(error),
                // Answer the datagrams before it; a lasting error repeats.
                Err(_) => break,
            }
        }
        Ok(self.received.len())
    }

    fn octets(&self, number: usize) -> &[u8] {
        let len = self.received.get(number).map_or(0, |(len, _)| *len);
        &self.octets[number * MAX_DATAGRAM..][..len]
    }

    fn peer(&self, number: usize) -> SocketAddr {
        self.received[number].1
    }

    fn source(&self, number: usize) -> Option<SocketAddr> {
        self.received.get(number).map(|(_, source)| *source)
    }

    fn send<'a>(
        &self,
        socket: &UdpSocket,
        responses: impl Iterator<Item = ResponseDatagram<'a>>,
    ) -> io::Result<usize> {
        let mut sent = 0;
        for ResponseDatagram { number, octets } in responses {
            match Self::send_to(socket, octets, &self.peer(number)) {
                Ok(()) => sent += 1,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    fn send_to(socket: &UdpSocket, response: &[u8], peer: &SocketAddr) -> io::Result<()> {
        socket.try_send_to(response, *peer).map(drop)
    }
}
