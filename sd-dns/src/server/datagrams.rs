//! Receives and sends batches of datagrams.

#[cfg(any(test, not(target_os = "linux")))]
mod each;
#[cfg(target_os = "linux")]
mod many;
#[cfg(test)]
mod tests;

use std::{fmt, io, net::SocketAddr};

use socket2::Socket;
use tokio::net::UdpSocket;

use crate::wire::MAX_UDP_PAYLOAD;

/// How this system does it: in one call for a batch on Linux, in a call for each datagram elsewhere.
#[cfg(target_os = "linux")]
pub(super) type System = many::Many;
#[cfg(not(target_os = "linux"))]
pub(super) type System = each::Each;

/// The most datagrams that are received at a time.
pub(super) const BATCH: usize = 64;

/// The octets that are kept of a datagram: as many as are advertised. A longer one is cut, which makes it a
/// format error if the rest mattered.
pub(super) const ROOM: usize = MAX_UDP_PAYLOAD as usize;

/// A batch of received datagrams, kept with their peers until the next batch is received.
pub(super) trait Datagrams: Send + Sync + 'static {
    /// Where a datagram came from, and the local address that it was sent to if the socket reports it.
    type Peer: Copy + fmt::Display + Send + Sync + 'static;

    /// Room for [`BATCH`] datagrams.
    fn new() -> Self;

    /// Receives a batch and returns its length. After a full batch more datagrams may be waiting; after a
    /// shorter one [`UdpSocket::readable`] waits for the next datagram.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize>;

    /// A datagram of the batch; empty if the batch is shorter.
    fn octets(&self, number: usize) -> &[u8];

    /// The peer of a datagram of the batch.
    fn peer(&self, number: usize) -> Self::Peer;

    /// The address that a datagram of the batch came from. `None` if it is not of IPv4 or IPv6.
    fn source(&self, number: usize) -> Option<SocketAddr>;

    /// Sends the first of these answers to the peers of the datagrams, and returns how many were sent: at
    /// least one. An error is that of the first answer and says nothing about the others; `WouldBlock` if
    /// none can be sent now.
    fn send<'a>(&self, socket: &UdpSocket, answers: impl Iterator<Item = Answer<'a>>) -> io::Result<usize>;

    /// Sends one answer, or fails with `WouldBlock`.
    fn send_to(socket: &UdpSocket, answer: &[u8], peer: &Self::Peer) -> io::Result<()>;
}

/// The answer to a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    /// The number of the datagram.
    pub(super) to: usize,
    pub(super) octets: &'a [u8],
}

/// Prepares a socket that is about to be bound to this address. A socket that is bound to all addresses
/// reports the address that each datagram was sent to, and the answer is sent from there: resolvers ignore
/// answers from another address.
#[cfg(target_os = "linux")]
pub(super) fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() { many::tell_destinations(socket, address) } else { Ok(()) }
}

/// Not supported here: the system chooses the address that answers are sent from.
#[cfg(not(target_os = "linux"))]
pub(super) fn prepare(_: &Socket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}
