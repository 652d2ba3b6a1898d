//! Opens the sockets of one address.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    num::NonZero,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::datagrams;
use crate::wire::Transport;

/// A server cannot listen on an address.
#[derive(Debug)]
#[non_exhaustive]
pub struct BindError {
    /// The address. Port 0 is replaced if the system has chosen a port before it failed.
    pub address: SocketAddr,
    /// The transport that failed.
    pub transport: Transport,
    /// The error of the system, such as [`AddrInUse`](io::ErrorKind::AddrInUse), or
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for an address that is also an upstream of the
    /// [`Forwarder`](crate::Forwarder).
    pub source: io::Error,
}

impl BindError {
    pub(super) fn on(address: SocketAddr, transport: Transport) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { address, transport, source }
    }

    /// The error about an address that is also an upstream.
    pub(super) fn own_upstream(address: SocketAddr) -> Self {
        let reason = "this address is also an upstream of the forwarder";
        Self::on(address, Transport::Udp)(io::Error::new(io::ErrorKind::InvalidInput, reason))
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, transport, source } = self;
        write!(f, "cannot listen on {address} ({transport}): ")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => f.write_str("the port is taken"),
            io::ErrorKind::PermissionDenied => f.write_str("no permission for this port"),
            io::ErrorKind::AddrNotAvailable => f.write_str("the host does not have this address"),
            _ => source.fmt(f),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct BoundSockets {
    /// Port 0 is replaced by the chosen port.
    pub(super) address: SocketAddr,
    /// They share the port; the system spreads the clients over them.
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: TcpListener,
}

impl BoundSockets {
    /// How often another port is tried if the UDP port that the system chose is taken for TCP.
    const ATTEMPTS: usize = 32;
    /// The most TCP connections that wait to be accepted.
    const BACKLOG: i32 = 1024;
    /// The size of the receive and the send buffer, in octets. The system may allow less.
    const SOCKET_BUFFER: usize = 4 << 20;

    pub(super) fn new(address: SocketAddr, udp_workers: NonZero<usize>) -> Result<Self, BindError> {
        let mut attempt = 1;
        loop {
            let first = Self::udp(address, Sharing::Later).map_err(BindError::on(address, Transport::Udp))?;
            let chosen = local_addr(&first).map_err(BindError::on(address, Transport::Udp))?;
            match Self::tcp(chosen) {
                Ok(tcp) => {
                    let udp = Self::share(first, chosen, udp_workers)
                        .map_err(BindError::on(chosen, Transport::Udp))?;
                    return Ok(Self { address: chosen, udp, tcp });
                }
                Err(error)
                    if address.port() == 0
                        && error.kind() == io::ErrorKind::AddrInUse
                        && attempt < Self::ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(BindError::on(chosen, Transport::Tcp)(error)),
            }
        }
    }

    /// Adds the sockets of the other workers. The first one is bound without sharing, so that the port of another process
    /// is an error, even if that process would share it.
    fn share(first: Socket, chosen: SocketAddr, workers: NonZero<usize>) -> io::Result<Vec<UdpSocket>> {
        let mut sockets = Vec::with_capacity(workers.get());
        if cfg!(target_os = "linux") && workers.get() > 1 {
            allow_sharing(&first)?;
            sockets.push(first.into());
            for _ in 1..workers.get() {
                sockets.push(Self::udp(chosen, Sharing::Now)?.into());
            }
        } else {
            sockets.push(first.into());
        }
        Ok(sockets)
    }

    fn udp(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
        let socket = open(address, Type::DGRAM, Protocol::UDP)?;
        if let Sharing::Now = sharing {
            allow_sharing(&socket)?;
        }
        // A smaller buffer is no reason to fail.
        let _ = socket.set_recv_buffer_size(Self::SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(Self::SOCKET_BUFFER);
        datagrams::prepare(&socket, address)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }

    fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = open(address, Type::STREAM, Protocol::TCP)?;
        // Connections of a previous server may linger on the port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(Self::BACKLOG)?;
        Ok(socket.into())
    }
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Whether a datagram that is sent to `to` arrives at a socket that is bound to `bound`.
pub(super) fn reaches(to: SocketAddr, bound: SocketAddr) -> bool {
    // Sockets can be bound to addresses of this host only.
    let is_here = || UdpSocket::bind((to.ip(), 0)).is_ok();
    to.port() == bound.port()
        && (to.ip() == bound.ip()
            || bound.ip().is_unspecified() && to.is_ipv4() == bound.is_ipv4() && is_here()
            || to.ip().is_unspecified())
}

/// When other sockets may share the port.
#[derive(Clone, Copy)]
enum Sharing {
    Now,
    Later,
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn allow_sharing(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(target_os = "linux"))]
fn allow_sharing(_: &Socket) -> io::Result<()> {
    Ok(())
}
