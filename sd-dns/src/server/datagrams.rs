//! Datagrams that are received and sent many at a time.

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

/// What serves on this system: many datagrams in one call, where there is such a call.
#[cfg(target_os = "linux")]
pub(super) type System = many::Many;
#[cfg(not(target_os = "linux"))]
pub(super) type System = each::Each;

/// The most datagrams that are received at a time.
pub(super) const BATCH: usize = 64;

/// The octets that are kept of one: as many as are advertised. What is cut off a longer one makes it a format error, if it
/// mattered.
pub(super) const ROOM: usize = MAX_UDP_PAYLOAD as usize;

/// Room for datagrams that were received together. They stay there, with their peers, until the next ones are received.
pub(super) trait Datagrams: Send + Sync + 'static {
    /// Where a datagram came from, and where to if the socket tells.
    type Peer: Copy + fmt::Display + Send + Sync + 'static;

    /// Room for [`BATCH`] datagrams.
    fn new() -> Self;

    /// Receives what waits at the socket, and returns how many datagrams that were. As many as there is room for: more may
    /// be waiting. Fewer: [`UdpSocket::readable`] waits for the next one.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize>;

    /// One of the datagrams that were received last; empty if it was not.
    fn octets(&self, number: usize) -> &[u8];

    /// Whose it is.
    fn peer(&self, number: usize) -> Self::Peer;

    /// Sends the first of these answers to the peers of the datagrams, and returns how many were sent: at least one. The
    /// error is that of the first one, of which the others know nothing; `WouldBlock` if none can be sent now.
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

/// Prepares a socket that is about to be bound to this address. One that is bound to all addresses of the host tells which
/// one a datagram was sent to, and the answer is sent from there: resolvers ignore answers from another one than they
/// asked.
#[cfg(target_os = "linux")]
pub(super) fn prepare(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() { many::tell_destinations(socket, address) } else { Ok(()) }
}

/// Nothing is told here: the system chooses where answers are sent from.
#[cfg(not(target_os = "linux"))]
pub(super) fn prepare(_: &Socket, _: SocketAddr) -> io::Result<()> {
    Ok(())
}
