use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    num::NonZero,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::datagrams;
use crate::wire::Transport;

/// The server cannot listen on an address.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    transport: Transport,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    System(io::Error),
    OwnUpstream,
}

impl BindError {
    /// The address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The kind of the system's error; `InvalidInput` for an address that is also an upstream of the
    /// forwarder.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match &self.reason {
            Reason::System(error) => error.kind(),
            Reason::OwnUpstream => io::ErrorKind::InvalidInput,
        }
    }

    pub(super) fn on(address: SocketAddr, transport: Transport) -> impl FnOnce(io::Error) -> Self {
        move |error| Self { address, transport, reason: Reason::System(error) }
    }

    /// The address is also an upstream of the forwarder.
    pub(super) fn own_upstream(address: SocketAddr) -> Self {
        Self { address, transport: Transport::Udp, reason: Reason::OwnUpstream }
    }
}

impl fmt::Display for BindError {
    /// One line. For unusual reasons the source has the details.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, transport, reason } = self;
        let Reason::System(error) = reason else {
            return write!(f, "cannot listen on {address}: it is also an upstream of the forwarder (loop)");
        };
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => "the port is taken",
            io::ErrorKind::PermissionDenied => "no permission for this port",
            io::ErrorKind::AddrNotAvailable => "the host does not have this address",
            _ => return write!(f, "cannot listen on {address} ({transport})"),
        };
        write!(f, "cannot listen on {address} ({transport}): {reason}")
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::System(error) => Some(error),
            Reason::OwnUpstream => None,
        }
    }
}

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct Bound {
    /// With the port that was chosen.
    pub(super) address: SocketAddr,
    /// They share the port: the system spreads the clients over them.
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: TcpListener,
}

impl Bound {
    /// How often another port is tried if the free UDP port that the system chose is taken for TCP.
    const ATTEMPTS: usize = 32;
    const BACKLOG: i32 = 1024;
    /// Of queries that wait and of answers that are sent, in octets; the system may allow less.
    const SOCKET_BUFFER: usize = 4 << 20;

    pub(super) fn new(address: SocketAddr, udp_workers: NonZero<usize>) -> Result<Self, BindError> {
        let mut attempt = 1;
        loop {
            let first = Self::udp(address, Sharing::Later).map_err(BindError::on(address, Transport::Udp))?;
            let chosen = local_address(&first).map_err(BindError::on(address, Transport::Udp))?;
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

    /// Adds the sockets of the other workers. The first one was bound without sharing, so that a port that another
    /// process has is an error, even if that process would share it.
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
        // Less than asked for is no reason to fail.
        let _ = socket.set_recv_buffer_size(Self::SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(Self::SOCKET_BUFFER);
        datagrams::prepare(&socket, address)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }

    fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
        let socket = open(address, Type::STREAM, Protocol::TCP)?;
        // Connections of a server that has ended may linger on the port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(Self::BACKLOG)?;
        Ok(socket.into())
    }
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Whether what is sent to `to` comes to a socket that is bound to `bound`.
pub(super) fn reaches(to: SocketAddr, bound: SocketAddr) -> bool {
    // Nobody can bind a socket to an address of another host.
    let is_here = || UdpSocket::bind((to.ip(), 0)).is_ok();
    to.port() == bound.port()
        && (to.ip() == bound.ip()
            || bound.ip().is_unspecified() && to.is_ipv4() == bound.is_ipv4() && is_here()
            || to.ip().is_unspecified())
}

/// When other sockets may be bound to the same port.
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
