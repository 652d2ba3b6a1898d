//! A worker over batches that no real socket produces at will: responses that cannot be sent, batches without end, forged
//! sources.

use std::{
    cell::Cell,
    collections::VecDeque,
    net::Ipv4Addr,
    sync::Mutex,
    task::{Context, Waker},
};

use super::*;
use crate::name_table::NameTable;

/// A query for the root, which is in no zone and therefore REFUSED.
const REFUSED: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01";

/// A batch of queries. Each attempt to send has the next outcome: the number of responses that are sent, or an error.
struct Scripted {
    outcomes: Mutex<VecDeque<Result<usize, io::ErrorKind>>>,
    sent: Mutex<Vec<usize>>,
}

impl DatagramBatch for Scripted {
    type Peer = usize;

    fn new() -> Self {
        Self { outcomes: Mutex::default(), sent: Mutex::default() }
    }

    fn receive(&mut self, _: &UdpSocket) -> io::Result<usize> {
        Ok(5)
    }

    fn octets(&self, number: usize) -> &[u8] {
        match number {
            // Shorter than a header: ignored.
            1 => b"",
            _ => REFUSED,
        }
    }

    fn peer(&self, number: usize) -> usize {
        number
    }

    fn source(&self, _: usize) -> Option<SocketAddr> {
        Some((Ipv4Addr::LOCALHOST, 5353).into())
    }

    fn send<'a>(
        &self,
        _: &UdpSocket,
        responses: impl Iterator<Item = ResponseDatagram<'a>>,
    ) -> io::Result<usize> {
        let taken = self.outcomes.lock().unwrap().pop_front().unwrap()?;
        let responses = responses.take(taken).inspect(|response| assert_eq!(response.octets.len(), 17));
        let mut sent = self.sent.lock().unwrap();
        let before = sent.len();
        sent.extend(responses.map(|response| response.number));
        Ok(sent.len() - before)
    }

    fn send_to(_: &UdpSocket, _: &[u8], _: &usize) -> io::Result<()> {
        unreachable!("no response is pending")
    }
}

async fn check(outcomes: &[Result<usize, io::ErrorKind>], expected: &[usize]) {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let mut worker = Worker::<Scripted>::new(
        Answerer::new(NameTable::new()),
        Arc::default(),
        Arc::new(WorkerCounters::new()),
    );
    worker.datagrams.outcomes = Mutex::new(outcomes.iter().copied().collect());
    assert_eq!(worker.turn(&socket).await.unwrap(), 5);
    assert_eq!(*worker.datagrams.sent.lock().unwrap(), expected);
    assert!(worker.datagrams.outcomes.lock().unwrap().is_empty());
    let counters = worker.counters.snapshot();
    assert_eq!((counters.udp, counters.ignored, counters.unsent), (4, 1, 4 - expected.len() as u64));
    assert_eq!(counters.latency.count(), 4);
}

#[tokio::test]
async fn a_batch_is_sent_at_once() {
    check(&[Ok(BATCH)], &[0, 2, 3, 4]).await;
}

#[tokio::test]
async fn sending_continues_after_a_part_of_the_batch() {
    check(&[Ok(1), Ok(2), Ok(1)], &[0, 2, 3, 4]).await;
}

#[tokio::test]
async fn sending_waits_for_a_full_socket() {
    check(
        &[Ok(2), Err(io::ErrorKind::WouldBlock), Ok(1), Err(io::ErrorKind::WouldBlock), Ok(1)],
        &[0, 2, 3, 4],
    )
    .await;
}

#[tokio::test]
async fn a_response_that_cannot_be_sent_is_skipped() {
    // The kind of ENOBUFS.
    let no_buffers = io::ErrorKind::Other;
    check(&[Ok(1), Err(no_buffers), Ok(1), Err(io::ErrorKind::HostUnreachable)], &[0, 3]).await;
    check(&[Err(no_buffers), Err(no_buffers), Err(no_buffers), Err(no_buffers)], &[]).await;
}

/// A socket that always has a full batch of queries.
struct Flood;

thread_local! {
    static BATCHES: Cell<usize> = const { Cell::new(0) };
}

impl DatagramBatch for Flood {
    type Peer = usize;

    fn new() -> Self {
        Self
    }

    fn receive(&mut self, _: &UdpSocket) -> io::Result<usize> {
        BATCHES.set(BATCHES.get() + 1);
        // Including those of the drain.
        assert!(BATCHES.get() < 100, "the worker does not yield");
        Ok(BATCH)
    }

    fn octets(&self, _: usize) -> &[u8] {
        REFUSED
    }

    fn peer(&self, number: usize) -> usize {
        number
    }

    fn source(&self, _: usize) -> Option<SocketAddr> {
        Some((Ipv4Addr::LOCALHOST, 5353).into())
    }

    fn send<'a>(
        &self,
        _: &UdpSocket,
        responses: impl Iterator<Item = ResponseDatagram<'a>>,
    ) -> io::Result<usize> {
        Ok(responses.count())
    }

    fn send_to(_: &UdpSocket, _: &[u8], _: &usize) -> io::Result<()> {
        unreachable!("no response is pending")
    }
}

#[tokio::test]
async fn a_worker_yields_after_each_full_batch() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    // It is never received, so the socket stays readable.
    socket.send_to(b"x", socket.local_addr().unwrap()).await.unwrap();
    socket.readable().await.unwrap();
    let answerer = Answerer::new(NameTable::new());
    let (stop, stopped) = watch::channel(false);
    let mut worker =
        pin!(serve::<Flood>(socket, answerer, Arc::default(), Arc::new(WorkerCounters::new()), stopped));
    for batches in 1..=3 {
        assert!(worker.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(BATCHES.get(), batches);
    }
    stop.send_replace(true);
    worker.await;
}

/// A batch with a query from each of [`SOURCES`].
struct Forged;

const SOURCES: [&str; 8] = [
    "127.0.0.1:0",
    "127.0.0.1:5353",
    "0.0.0.0:5353",
    "224.0.0.1:5353",
    "255.255.255.255:5353",
    "[::]:5353",
    "[ff02::1]:5353",
    "[::1]:5353",
];

thread_local! {
    static ANSWERED: Cell<Vec<&'static str>> = const { Cell::new(Vec::new()) };
}

impl DatagramBatch for Forged {
    type Peer = &'static str;

    fn new() -> Self {
        Self
    }

    fn receive(&mut self, _: &UdpSocket) -> io::Result<usize> {
        Ok(SOURCES.len() + 1)
    }

    fn octets(&self, _: usize) -> &[u8] {
        REFUSED
    }

    fn peer(&self, number: usize) -> &'static str {
        SOURCES[number]
    }

    fn source(&self, number: usize) -> Option<SocketAddr> {
        SOURCES.get(number).map(|source| source.parse().unwrap())
    }

    fn send<'a>(
        &self,
        _: &UdpSocket,
        responses: impl Iterator<Item = ResponseDatagram<'a>>,
    ) -> io::Result<usize> {
        let answered: Vec<_> = responses.map(|response| self.peer(response.number)).collect();
        let count = answered.len();
        ANSWERED.set(answered);
        Ok(count)
    }

    fn send_to(_: &UdpSocket, _: &[u8], _: &&'static str) -> io::Result<()> {
        unreachable!("no response is pending")
    }
}

#[tokio::test]
async fn forged_sources_are_not_answered() {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let mut worker = Worker::<Forged>::new(
        Answerer::new(NameTable::new()),
        Arc::default(),
        Arc::new(WorkerCounters::new()),
    );
    worker.turn(&socket).await.unwrap();
    assert_eq!(ANSWERED.take(), ["127.0.0.1:5353", "[::1]:5353"]);
    let counters = worker.counters.snapshot();
    assert_eq!((counters.udp, counters.ignored), (2, 7));
}
