//! What a worker does when the system takes only some of its answers.

use std::{collections::VecDeque, net::Ipv4Addr, sync::Mutex};

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
    let mut worker =
        Worker::<Stubborn>::new(Answerer::new(NameTable::new()), Arc::new(WorkerCounters::new()));
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
