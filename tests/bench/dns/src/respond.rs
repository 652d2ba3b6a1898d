//! Receives many datagrams in a call and sends as many back, of a given size: the id and the question of the query, and
//! zeros.

use std::{
    error::Error,
    io::{self, Read},
    mem::zeroed,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
    ptr, thread,
};

const BATCH: usize = 64;
const ROOM: usize = 1232;
const HEADER: usize = 12;

pub(crate) fn respond(a: usize, srv: usize, other: usize) -> Result<(), Box<dyn Error>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", socket.local_addr()?);
    thread::Builder::new().name("dns".into()).spawn(move || {
        let mut server = Server::new(&socket, [a, srv, other].map(|len| len.min(ROOM)));
        loop {
            if let Err(error) = server.turn() {
                eprintln!("{error}");
            }
        }
    })?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Server<'s> {
    socket: &'s UdpSocket,
    lengths: [usize; 3],
    octets: Vec<[u8; ROOM]>,
    names: Vec<libc::sockaddr_in>,
}

impl<'s> Server<'s> {
    fn new(socket: &'s UdpSocket, lengths: [usize; 3]) -> Self {
        // SAFETY: numbers may be zero.
        let names = (0..BATCH).map(|_| unsafe { zeroed() }).collect();
        Self { socket, lengths, octets: vec![[0; ROOM]; BATCH], names }
    }

    fn turn(&mut self) -> io::Result<()> {
        // SAFETY: numbers and pointers may be zero.
        let (mut vectors, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) = unsafe { zeroed() };
        let places = self.octets.iter_mut().zip(&mut self.names).zip(vectors.iter_mut().zip(&mut headers));
        for ((octets, name), (vector, header)) in places {
            *vector = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: ROOM };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        let fd = self.socket.as_raw_fd();
        // SAFETY: the headers point to places of these lengths, which live until the calls are over.
        let received = unsafe {
            let wait_for_one = libc::MSG_WAITFORONE;
            libc::recvmmsg(fd, headers.as_mut_ptr(), BATCH as u32, wait_for_one, ptr::null_mut())
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for number in 0..received {
            // SAFETY: nobody else looks at the octets between the calls; the header's pointer to them stays.
            let octets = unsafe { &mut *vectors[number].iov_base.cast::<[u8; ROOM]>() };
            octets[2] |= 0x80;
            let kind = match octets[HEADER + 1] {
                b'a' => 0,
                b's' => 1,
                _ => 2,
            };
            vectors[number].iov_len = self.lengths[kind];
        }
        let mut sent = 0;
        while sent < received {
            // SAFETY: as above.
            let more =
                unsafe { libc::sendmmsg(fd, headers[sent..].as_mut_ptr(), (received - sent) as u32, 0) };
            sent += usize::try_from(more).map_err(|_| io::Error::last_os_error())?;
        }
        Ok(())
    }
}
