//! Receives and sends batches of datagrams.

#[cfg(target_os = "linux")]
mod mmsg;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;
#[cfg(test)]
mod tests;

use std::{fmt, io, net::SocketAddr};

use socket2::Socket;
use tokio::net::UdpSocket;

use crate::wire::MAX_UDP_PAYLOAD;

/// The implementation for this system: one system call for a batch on Linux, one for each datagram elsewhere.
#[cfg(target_os = "linux")]
pub(super) type SystemBatch = mmsg::MmsgBatch;
#[cfg(not(target_os = "linux"))]
pub(super) type SystemBatch = portable::PortableBatch;

/// The most datagrams of a batch.
pub(super) const BATCH: usize = 64;

/// The octets that are kept of a datagram: as many as this server announces. A longer query is cut off, which makes it a
/// format error unless the rest is irrelevant.
pub(super) const MAX_DATAGRAM: usize = MAX_UDP_PAYLOAD as usize;

/// A batch of received datagrams, which are kept with their peers until the next batch is received.
pub(super) trait DatagramBatch: Send + Sync + 'static {
    /// The source of a datagram, and the local address that it was sent to if the socket reports it.
    type Peer: Copy + fmt::Display + Send + Sync + 'static;

    /// An empty batch with room for [`BATCH`] datagrams.
    fn new() -> Self;

    /// Receives a batch and returns its length. After a full batch more datagrams may be waiting. After a shorter one
    /// [`UdpSocket::readable`] waits for the next datagram.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize>;

    /// The octets of a datagram of the batch; empty if the batch is shorter.
    fn octets(&self, number: usize) -> &[u8];

    /// The peer of a datagram of the batch.
    fn peer(&self, number: usize) -> Self::Peer;

    /// The source address of a datagram of the batch. `None` if it is neither IPv4 nor IPv6.
    fn source(&self, number: usize) -> Option<SocketAddr>;

    /// Sends the first of these responses to the peers of their datagrams. Returns how many were sent: at least one.
    ///
    /// # Errors
    /// The first response was not sent; the others may be. `WouldBlock` if none can be sent now.
    fn send<'a>(
        &self,
        socket: &UdpSocket,
        responses: impl Iterator<Item = ResponseDatagram<'a>>,
    ) -> io::Result<usize>;

    /// Sends one response. `WouldBlock` if it cannot be sent now.
    fn send_to(socket: &UdpSocket, response: &[u8], peer: &Self::Peer) -> io::Result<()>;
}

/// The response to a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseDatagram<'a> {
    /// The number of the datagram in its batch.
    pub(super) number: usize,
    pub(super) octets: &'a [u8],
}

/// Prepares a socket that is about to be bound to this address. A socket that is bound to all addresses of the host
/// reports the one that each datagram was sent to. The response is sent from there, because resolvers ignore responses
/// from another address.
#[cfg(target_os = "linux")]
pub(super) fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() { mmsg::report_destinations(socket, address) } else { Ok(()) }
}

/// Not supported: the system chooses the source address of responses.
#[cfg(not(target_os = "linux"))]
pub(super) fn prepare(_: &Socket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}
