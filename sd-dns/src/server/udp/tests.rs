//! A worker over datagrams that no system has at will: some answers are not sent, batches never end, sources
//! are forged.

use std::{
    cell::Cell,
    collections::VecDeque,
    net::Ipv4Addr,
    sync::Mutex,
    task::{Context, Waker},
};

use super::*;
use crate::{
    counters::Counts,
    name_table::{NameTable, Zones},
};

/// Has received a batch of queries, and sends as it is told: so many, or with this error.
struct Stubborn {
    outcomes: Mutex<VecDeque<Result<usize, io::ErrorKind>>>,
    sent: Mutex<Vec<usize>>,
}

impl Datagrams for Stubborn {
    type Peer = usize;

    fn new() -> Self {
        Self { outcomes: Mutex::default(), sent: Mutex::default() }
    }

    fn receive(&mut self, _: &UdpSocket) -> io::Result<usize> {
        Ok(5)
    }

    /// For the root, in no zone: it is refused.
    fn octets(&self, number: usize) -> &[u8] {
        match number {
            // Shorter than a header: there is no answer to it.
            1 => b"",
            _ => b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01",
        }
    }

    fn peer(&self, number: usize) -> usize {
        number
    }

    fn source(&self, _: usize) -> Option<SocketAddr> {
        Some((Ipv4Addr::LOCALHOST, 5353).into())
    }

    fn send<'a>(&self, _: &UdpSocket, answers: impl Iterator<Item = Answer<'a>>) -> io::Result<usize> {
        let taken = self.outcomes.lock().unwrap().pop_front().unwrap()?;
        let answers = answers.take(taken).inspect(|answer| assert_eq!(answer.octets.len(), 17));
        let mut sent = self.sent.lock().unwrap();
        let before = sent.len();
        sent.extend(answers.map(|answer| answer.to));
        Ok(sent.len() - before)
    }

    fn send_to(_: &UdpSocket, _: &[u8], _: &usize) -> io::Result<()> {
        unreachable!("no answer waits")
    }
}

async fn check(outcomes: &[Result<usize, io::ErrorKind>], expected: &[usize]) {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let mut worker = Worker::<Stubborn>::new(
        Answerer::new(NameTable::new()),
        Arc::default(),
        Arc::new(WorkerCounters::new()),
    );
    worker.datagrams.outcomes = Mutex::new(outcomes.iter().copied().collect());
    assert_eq!(worker.turn(&socket).await.unwrap(), 5);
    assert_eq!(*worker.datagrams.sent.lock().unwrap(), expected);
    assert!(worker.datagrams.outcomes.lock().unwrap().is_empty());
    let mut counts = Counts::new();
    let zones = Zones::default();
    counts.merge(&worker.counters.lock(), &zones);
    let counters = counts.snapshot(&zones);
    assert_eq!((counters.udp, counters.ignored, counters.unsent), (4, 1, 4 - expected.len() as u64));
    assert_eq!(counters.latency.count(), 4);
}

#[tokio::test]
async fn answers_that_the_system_takes_at_once_are_sent_at_once() {
    check(&[Ok(BATCH)], &[0, 2, 3, 4]).await;
}

#[tokio::test]
async fn the_others_follow_those_that_were_taken() {
    check(&[Ok(1), Ok(2), Ok(1)], &[0, 2, 3, 4]).await;
}

#[tokio::test]
async fn a_full_socket_is_waited_for() {
    check(
        &[Ok(2), Err(io::ErrorKind::WouldBlock), Ok(1), Err(io::ErrorKind::WouldBlock), Ok(1)],
        &[0, 2, 3, 4],
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_sent_is_left_out() {
    // As ENOBUFS is.
    let no_buffers = io::ErrorKind::Other;
    check(&[Ok(1), Err(no_buffers), Ok(1), Err(io::ErrorKind::HostUnreachable)], &[0, 3]).await;
    check(&[Err(no_buffers), Err(no_buffers), Err(no_buffers), Err(no_buffers)], &[]).await;
}

/// Has a full batch of queries at every moment.
struct Flood;

thread_local! {
    static BATCHES: Cell<usize> = const { Cell::new(0) };
}

impl Datagrams for Flood {
    type Peer = usize;

    fn new() -> Self {
        Self
    }

    fn receive(&mut self, _: &UdpSocket) -> io::Result<usize> {
        BATCHES.set(BATCHES.get() + 1);
        // Those of the drain included.
        assert!(BATCHES.get() < 100, "nobody else has a turn");
        Ok(BATCH)
    }

    fn octets(&self, _: usize) -> &[u8] {
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"
    }

    fn peer(&self, number: usize) -> usize {
        number
    }

    fn source(&self, _: usize) -> Option<SocketAddr> {
        Some((Ipv4Addr::LOCALHOST, 5353).into())
    }

    fn send<'a>(&self, _: &UdpSocket, answers: impl Iterator<Item = Answer<'a>>) -> io::Result<usize> {
        Ok(answers.count())
    }

    fn send_to(_: &UdpSocket, _: &[u8], _: &usize) -> io::Result<()> {
        unreachable!("no answer waits")
    }
}

#[tokio::test]
async fn other_tasks_have_their_turn_after_each_full_batch() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    // Nobody receives it, so that the socket stays readable.
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

/// Has received a query from each of these addresses.
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

impl Datagrams for Forged {
    type Peer = &'static str;

    fn new() -> Self {
        Self
    }

    fn receive(&mut self, _: &UdpSocket) -> io::Result<usize> {
        Ok(SOURCES.len() + 1)
    }

    fn octets(&self, _: usize) -> &[u8] {
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"
    }

    fn peer(&self, number: usize) -> &'static str {
        SOURCES[number]
    }

    fn source(&self, number: usize) -> Option<SocketAddr> {
        SOURCES.get(number).map(|source| source.parse().unwrap())
    }

    fn send<'a>(&self, _: &UdpSocket, answers: impl Iterator<Item = Answer<'a>>) -> io::Result<usize> {
        let answered: Vec<_> = answers.map(|answer| self.peer(answer.to)).collect();
        let count = answered.len();
        ANSWERED.set(answered);
        Ok(count)
    }

    fn send_to(_: &UdpSocket, _: &[u8], _: &&'static str) -> io::Result<()> {
        unreachable!("no answer waits")
    }
}

#[tokio::test]
async fn sources_that_no_client_has_are_not_answered() {
    let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let mut worker = Worker::<Forged>::new(
        Answerer::new(NameTable::new()),
        Arc::default(),
        Arc::new(WorkerCounters::new()),
    );
    worker.turn(&socket).await.unwrap();
    assert_eq!(ANSWERED.take(), ["127.0.0.1:5353", "[::1]:5353"]);
    let (mut counts, zones) = (Counts::new(), Zones::default());
    counts.merge(&worker.counters.lock(), &zones);
    let counters = counts.snapshot(&zones);
    assert_eq!((counters.udp, counters.ignored), (2, 7));
}
