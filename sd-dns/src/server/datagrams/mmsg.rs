//! Receives and sends batches of datagrams with one system call of Linux, recvmmsg(2) and sendmmsg(2). Local addresses
//! travel as control messages, as ip(7) and ipv6(7) describe.
//!
//! This is the only module with `unsafe` code. `nix` wraps these calls as well, but its `sendmmsg` uses the same control
//! messages for all datagrams of a call, so responses could not be sent from different addresses, and it converts every
//! address. `rustix` has no `recvmmsg`. Before each call this module writes new headers, whose pointers lead into places
//! that it borrows until the call returns.

#![allow(unsafe_code)]

use std::{
    array, fmt, io,
    mem::{size_of, zeroed},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr,
};

use libc::{c_int, cmsghdr, in6_pktinfo, iovec, mmsghdr, sockaddr_in6, socklen_t};
use socket2::Socket;
use tokio::{io::Interest, net::UdpSocket};

use super::{BATCH, DatagramBatch, MAX_DATAGRAM, ResponseDatagram};

pub(in crate::server) struct MmsgBatch {
    octets: Box<[u8]>,
    slots: Box<[Slot]>,
    received: usize,
}

/// What the system reports of a datagram besides its octets.
struct Slot {
    len: usize,
    source: SockAddrBuf,
    control: Control,
}

/// A `sockaddr_in` or `sockaddr_in6` as the system writes it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct SockAddrBuf {
    octets: [u8; Self::MAX],
    len: socklen_t,
}

/// Room for one control message: header and data, laid out as in cmsg(3).
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    header: cmsghdr,
    data: [u8; Self::DATA],
    /// Of header and data; 0 if there is no message.
    len: usize,
}

/// The local address that a datagram was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LocalAddr {
    V4(Ipv4Addr),
    /// The interface is 0 unless the address is link-local.
    V6(Ipv6Addr, u32),
}

/// The source and the local address of a datagram.
#[derive(Clone, Copy)]
pub(in crate::server) struct Peer {
    source: SockAddrBuf,
    local: Option<LocalAddr>,
}

/// Makes the socket report the local address that each datagram was sent to.
pub(super) fn report_destinations(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: c_int = 1;
    // SAFETY: the system reads `len` octets, the length of `on`.
    let done = unsafe {
        let len = size_of::<c_int>() as socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), len)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl DatagramBatch for MmsgBatch {
    type Peer = Peer;

    fn new() -> Self {
        let slots =
            (0..BATCH).map(|_| Slot { len: 0, source: SockAddrBuf::EMPTY, control: Control::empty() });
        Self { octets: vec![0; BATCH * MAX_DATAGRAM].into(), slots: slots.collect(), received: 0 }
    }

    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.received = 0;
        let done = socket.try_io(Interest::READABLE, || {
            self.received = receive(socket.as_fd(), &mut self.slots, &mut self.octets)?;
            // After a short batch the socket is empty. Reporting `WouldBlock` now saves a call that would receive nothing.
            if self.received < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match done {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(self.received),
        }
    }

    fn octets(&self, number: usize) -> &[u8] {
        let len = self.slots[..self.received].get(number).map_or(0, |slot| slot.len);
        &self.octets[number * MAX_DATAGRAM..][..len]
    }

    fn peer(&self, number: usize) -> Peer {
        let Slot { source, control, .. } = &self.slots[number];
        Peer { source: *source, local: control.local() }
    }

    fn source(&self, number: usize) -> Option<SocketAddr> {
        self.slots[..self.received].get(number)?.source.address()
    }

    fn send<'a>(
        &self,
        socket: &UdpSocket,
        responses: impl Iterator<Item = ResponseDatagram<'a>>,
    ) -> io::Result<usize> {
        let datagrams = responses.map(|ResponseDatagram { number, octets }| {
            let Slot { source, control, .. } = &self.slots[number];
            OutgoingDatagram { octets, destination: source, local: control.local() }
        });
        socket.try_io(Interest::WRITABLE, || send(socket.as_fd(), datagrams))
    }

    fn send_to(socket: &UdpSocket, octets: &[u8], peer: &Peer) -> io::Result<()> {
        let datagram = OutgoingDatagram { octets, destination: &peer.source, local: peer.local };
        socket.try_io(Interest::WRITABLE, || send(socket.as_fd(), [datagram].into_iter())).map(drop)
    }
}

/// A datagram to send.
struct OutgoingDatagram<'a> {
    octets: &'a [u8],
    destination: &'a SockAddrBuf,
    /// The address to send from; chosen by the system if there is none.
    local: Option<LocalAddr>,
}

/// Receives from a non-blocking socket: at most one datagram for each slot. Returns their number.
#[allow(clippy::unnecessary_cast, reason = "musl has other types of lengths")]
fn receive(socket: BorrowedFd<'_>, slots: &mut [Slot], octets: &mut [u8]) -> io::Result<usize> {
    let mut vectors = no_vectors();
    let mut headers = no_headers();
    let rooms = slots.iter_mut().zip(octets.chunks_exact_mut(MAX_DATAGRAM));
    let places = headers.iter_mut().zip(&mut vectors);
    let mut count = 0;
    for ((slot, room), (header, vector)) in rooms.zip(places) {
        *vector = iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        let header = &mut header.msg_hdr;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_name = slot.source.octets.as_mut_ptr().cast();
        header.msg_namelen = SockAddrBuf::MAX as socklen_t;
        header.msg_control = (&raw mut slot.control).cast();
        header.msg_controllen = Control::MAX as _;
        count += 1;
    }
    let received = retried(|| {
        // SAFETY: `count` headers are filled in. Each points to places of the given lengths, which this function borrows
        // until it returns. No two point to the same place.
        unsafe { libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0, ptr::null_mut()) }
    })?;
    for (slot, header) in slots.iter_mut().zip(&headers[..received]) {
        slot.len = header.msg_len as usize;
        slot.source.len = header.msg_hdr.msg_namelen;
        slot.control.len = header.msg_hdr.msg_controllen as usize;
    }
    Ok(received)
}

/// Sends to a non-blocking socket. Returns how many datagrams were sent: at least one.
fn send<'a>(
    socket: BorrowedFd<'_>,
    datagrams: impl Iterator<Item = OutgoingDatagram<'a>>,
) -> io::Result<usize> {
    let mut vectors = no_vectors();
    let mut headers = no_headers();
    let mut controls: [Control; BATCH] = array::from_fn(|_| Control::empty());
    let places = headers.iter_mut().zip(&mut vectors).zip(&mut controls);
    let mut count = 0;
    for (datagram, ((header, vector), control)) in datagrams.zip(places) {
        *vector =
            iovec { iov_base: datagram.octets.as_ptr().cast_mut().cast(), iov_len: datagram.octets.len() };
        let header = &mut header.msg_hdr;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_name = datagram.destination.octets.as_ptr().cast_mut().cast();
        header.msg_namelen = datagram.destination.len;
        if let Some(local) = datagram.local {
            *control = Control::from(local);
            header.msg_control = (&raw mut *control).cast();
            header.msg_controllen = control.len as _;
        }
        count += 1;
    }
    retried(|| {
        // SAFETY: `count` headers are filled in. Each points to places of the given lengths, which this function borrows
        // until it returns. The system writes to the headers only, although the other pointers are mutable as well.
        unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) }
    })
}

/// Repeats a call while it is interrupted. Returns its result, or the system's error if that is negative.
fn retried(mut call: impl FnMut() -> c_int) -> io::Result<usize> {
    loop {
        if let Ok(done) = usize::try_from(call()) {
            return Ok(done);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn no_vectors() -> [iovec; BATCH] {
    [const { iovec { iov_base: ptr::null_mut(), iov_len: 0 } }; BATCH]
}

fn no_headers() -> [mmsghdr; BATCH] {
    // SAFETY: headers consist of numbers and pointers, which may be zero.
    unsafe { zeroed() }
}

impl SockAddrBuf {
    const MAX: usize = size_of::<sockaddr_in6>();
    const EMPTY: Self = Self { octets: [0; Self::MAX], len: 0 };

    /// The address, read at the offsets of `sockaddr_in` and `sockaddr_in6`.
    fn address(&self) -> Option<SocketAddr> {
        let family = u16::from_ne_bytes(self.field(0));
        let port = u16::from_be_bytes(self.field(2));
        match c_int::from(family) {
            libc::AF_INET => Some((Ipv4Addr::from(self.field::<4>(4)), port).into()),
            libc::AF_INET6 => {
                let (flow, scope) = (u32::from_be_bytes(self.field(4)), u32::from_ne_bytes(self.field(24)));
                Some(SocketAddrV6::new(Ipv6Addr::from(self.field::<16>(8)), port, flow, scope).into())
            }
            _ => None,
        }
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        array::from_fn(|place| self.octets[at + place])
    }
}

impl Control {
    const DATA: usize = Self::space(size_of::<in6_pktinfo>()) - size_of::<cmsghdr>();
    /// The length of header and data.
    const MAX: usize = size_of::<cmsghdr>() + Self::DATA;

    /// Room for an address of either family, without a message.
    fn empty() -> Self {
        // SAFETY: it consists of numbers, which may be zero.
        unsafe { zeroed() }
    }

    const fn space(data: usize) -> usize {
        // SAFETY: `CMSG_SPACE` only calculates.
        unsafe { libc::CMSG_SPACE(data as u32) as usize }
    }

    /// The local address, if the message has one. Read at the offsets of `in_pktinfo` and `in6_pktinfo`.
    fn local(&self) -> Option<LocalAddr> {
        if self.len == 0 {
            return None;
        }
        match (self.header.cmsg_level, self.header.cmsg_type) {
            // `ipi_spec_dst`, which unlike `ipi_addr` is never a multicast or broadcast address.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => Some(LocalAddr::V4(Ipv4Addr::from(self.field::<4>(4)))),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let address = Ipv6Addr::from(self.field::<16>(0));
                let interface = if address.is_unicast_link_local() { self.field(16) } else { [0; 4] };
                // A multicast address is no valid source.
                (!address.is_multicast()).then_some(LocalAddr::V6(address, u32::from_ne_bytes(interface)))
            }
            _ => None,
        }
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        array::from_fn(|place| self.data[at + place])
    }

    fn put(&mut self, level: c_int, kind: c_int, fields: &[&[u8]]) {
        let mut len = 0;
        for field in fields {
            self.data[len..len + field.len()].copy_from_slice(field);
            len += field.len();
        }
        self.header.cmsg_level = level;
        self.header.cmsg_type = kind;
        self.header.cmsg_len = (size_of::<cmsghdr>() + len) as _;
        self.len = Self::space(len);
    }
}

const _: () =
    assert!(Control::space(0) == size_of::<cmsghdr>(), "the data follows the header without padding");

/// The control message that makes the system send from this address.
impl From<LocalAddr> for Control {
    fn from(local: LocalAddr) -> Self {
        let mut control = Self::empty();
        match local {
            // No interface: the response may take another route than the query.
            LocalAddr::V4(address) => {
                control.put(libc::IPPROTO_IP, libc::IP_PKTINFO, &[&[0; 4], &address.octets(), &[0; 4]]);
            }
            LocalAddr::V6(address, interface) => {
                let fields: [&[u8]; 2] = [&address.octets(), &interface.to_ne_bytes()];
                control.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &fields);
            }
        }
        control
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source.address() {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_address_survives_the_control_message() {
        let round_trip = |local: LocalAddr| Control::from(local).local();
        let ipv4 = LocalAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(round_trip(ipv4), Some(ipv4));
        let ipv6 = |address: &str| -> Ipv6Addr { address.parse().unwrap() };
        assert_eq!(
            round_trip(LocalAddr::V6(ipv6("2001:db8::1"), 7)),
            Some(LocalAddr::V6(ipv6("2001:db8::1"), 0))
        );
        // A link-local address needs its interface.
        assert_eq!(round_trip(LocalAddr::V6(ipv6("fe80::1"), 7)), Some(LocalAddr::V6(ipv6("fe80::1"), 7)));
        // A multicast address is no source.
        assert_eq!(round_trip(LocalAddr::V6(ipv6("ff02::1"), 7)), None);
        assert_eq!(Control::empty().local(), None);
    }

    #[test]
    fn addresses_are_read_as_the_system_writes_them() {
        for text in ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%7]:5353"] {
            let address: SocketAddr = text.parse().unwrap();
            let system = socket2::SockAddr::from(address);
            let mut buffer = SockAddrBuf::EMPTY;
            // SAFETY: the storage is larger than an address, and consists of octets.
            let octets: &[u8; SockAddrBuf::MAX] = unsafe { &*system.as_ptr().cast() };
            buffer.octets.copy_from_slice(octets);
            assert_eq!(buffer.address(), Some(address));
        }
        assert_eq!(SockAddrBuf::EMPTY.address(), None);
    }
}
