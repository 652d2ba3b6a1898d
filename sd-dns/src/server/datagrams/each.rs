//! One system call for each datagram, for systems other than Linux.

use std::{io, net::SocketAddr};

use tokio::net::UdpSocket;

use super::{Answer, BATCH, Datagrams, ROOM};

pub(in crate::server) struct Each {
    received: Vec<(usize, SocketAddr)>,
    octets: Box<[u8]>,
    /// Room for the longest datagram: on some systems it is an error to receive less than there is.
    longest: Box<[u8]>,
}

impl Datagrams for Each {
    type Peer = SocketAddr;

    fn new() -> Self {
        Self {
            received: Vec::with_capacity(BATCH),
            octets: vec![0; BATCH * ROOM].into(),
            longest: vec![0; usize::from(u16::MAX)].into(),
        }
    }

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received.clear();
        for room in self.octets.chunks_exact_mut(ROOM) {
            match socket.try_recv_from(&mut self.longest) {
                Ok((len, peer)) => {
                    let len = len.min(ROOM);
                    room[..len].copy_from_slice(&self.longest[..len]);
                    self.received.push((len, peer));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if self.received.is_empty() => return Err(error),
                // The datagrams before it are answered. A lasting error comes again.
                Err(_) => break,
            }
        }
        Ok(self.received.len())
    }

    fn octets(&self, number: usize) -> &[u8] {
        let len = self.received.get(number).map_or(0, |(len, _)| *len);
        &self.octets[number * ROOM..][..len]
    }

    fn peer(&self, number: usize) -> SocketAddr {
        self.received[number].1
    }

    fn source(&self, number: usize) -> Option<SocketAddr> {
        self.received.get(number).map(|(_, source)| *source)
    }

    fn send<'a>(&self, socket: &UdpSocket, answers: impl Iterator<Item = Answer<'a>>) -> io::Result<usize> {
        let mut sent = 0;
        for Answer { to, octets } in answers {
            match Self::send_to(socket, octets, &self.peer(to)) {
                Ok(()) => sent += 1,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent)
    }

    fn send_to(socket: &UdpSocket, answer: &[u8], peer: &SocketAddr) -> io::Result<()> {
        socket.try_send_to(answer, *peer).map(drop)
    }
}
