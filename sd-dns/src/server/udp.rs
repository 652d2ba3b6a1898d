use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::UdpSocket,
    sync::watch,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

use super::{
    DRAIN_PAUSE, DRAIN_TURNS, complete,
    datagrams::{Answer, BATCH, Datagrams},
    pending::{Pending, Ticket},
};
use crate::{
    answerer::{Answerer, Begun},
    counters::WorkerCounters,
    wire::{MAX_UDP_PAYLOAD, Transport, answer::Waiting},
};

/// The wait after a socket error, which may come again at once.
const PAUSE: Duration = Duration::from_millis(10);

/// Answers the datagrams of one socket until it is stopped, and then those that have arrived.
pub(super) async fn serve<D: Datagrams>(
    socket: UdpSocket,
    answerer: Answerer,
    pending: Arc<Pending>,
    counters: Arc<WorkerCounters>,
    mut stopped: watch::Receiver<bool>,
) {
    let socket = Arc::new(socket);
    let mut worker = Worker::<D>::new(answerer, pending, counters);
    {
        let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
        loop {
            let ready = tokio::select! {
                biased;
                _ = &mut stop => break,
                ready = socket.readable() => ready,
            };
            let done = match ready {
                Ok(()) => worker.turn(&socket).await,
                Err(error) => Err(error),
            };
            match done {
                // More may be waiting: other tasks have their turn first.
                Ok(BATCH..) => yield_now().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot receive");
                    sleep(PAUSE).await;
                }
            }
        }
    }
    for _ in 0..DRAIN_TURNS {
        if !matches!(timeout(DRAIN_PAUSE, socket.readable()).await, Ok(Ok(()))) {
            break;
        }
        if worker.turn(&socket).await.is_err() {
            break;
        }
    }
    while worker.waiting.join_next().await.is_some() {}
}

/// Receives, answers and sends many datagrams in a turn.
struct Worker<D> {
    answerer: Answerer,
    pending: Arc<Pending>,
    counters: Arc<WorkerCounters>,
    datagrams: D,
    answers: Answers,
    /// Answers that wait for another server, each in its own task.
    waiting: JoinSet<()>,
}

impl<D: Datagrams> Worker<D> {
    fn new(answerer: Answerer, pending: Arc<Pending>, counters: Arc<WorkerCounters>) -> Self {
        let (datagrams, answers, waiting) = (D::new(), Answers::new(), JoinSet::new());
        Self { answerer, pending, counters, datagrams, answers, waiting }
    }

    /// Receives and answers one batch, and returns its length.
    async fn turn(&mut self, socket: &Arc<UdpSocket>) -> io::Result<usize> {
        while self.waiting.try_join_next().is_some() {}
        let received = self.datagrams.receive(socket)?;
        if received > 0 {
            let begun = Instant::now();
            self.answer(received, begun, socket);
            self.send(socket).await;
            self.counters.lock().took(begun.elapsed(), self.answers.len());
        }
        Ok(received)
    }

    /// Writes the answers to a batch, except those that wait.
    fn answer(&mut self, received: usize, begun: Instant, socket: &Arc<UdpSocket>) {
        self.answers.clear();
        let published = self.answerer.read();
        let mut counts = self.counters.lock();
        for number in 0..received {
            let Some(source) = self.datagrams.source(number).filter(|source| is_answerable(*source)) else {
                counts.ignored();
                continue;
            };
            let (packet, out) = (self.datagrams.octets(number), &mut self.answers.octets);
            let answered = match self.answerer.begin(&published, packet, Transport::Udp, out) {
                Begun::Nothing => {
                    counts.ignored();
                    continue;
                }
                Begun::Done(answered) => answered,
                Begun::Waits(waiting) => {
                    if let Some(ticket) = self.pending.admit(source.ip()) {
                        let later = Later::<D> {
                            socket: Arc::clone(socket),
                            peer: self.datagrams.peer(number),
                            answerer: self.answerer.clone(),
                            ticket,
                            counters: Arc::clone(&self.counters),
                            begun,
                        };
                        self.waiting.spawn(later.answer(waiting));
                        continue;
                    }
                    waiting.fail(out)
                }
            };
            self.answers.end(number);
            counts.answered(Transport::Udp, answered, &published.zones);
        }
    }

    /// Sends the answers, and skips those that cannot be sent.
    async fn send(&self, socket: &UdpSocket) {
        let mut sent = 0;
        while sent < self.answers.len() {
            match self.datagrams.send(socket, self.answers.from(sent)) {
                Ok(more) => sent += more.max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    log_unsent(&error, self.datagrams.peer(self.answers.to(sent)));
                    self.counters.lock().unsent();
                    sent += 1;
                }
            }
        }
    }
}

/// An answer that waits.
struct Later<D: Datagrams> {
    socket: Arc<UdpSocket>,
    peer: D::Peer,
    answerer: Answerer,
    ticket: Ticket,
    counters: Arc<WorkerCounters>,
    begun: Instant,
}

impl<D: Datagrams> Later<D> {
    async fn answer(mut self, waiting: Box<Waiting>) {
        let mut answer = Vec::new();
        let answered = complete(&self.answerer, &waiting, &mut self.ticket, &mut answer).await;
        let sent = self.send(&answer).await;
        let mut counts = self.counters.lock();
        counts.answered(Transport::Udp, answered, &self.answerer.read().zones);
        counts.took(self.begun.elapsed(), 1);
        if let Err(error) = sent {
            counts.unsent();
            log_unsent(&error, self.peer);
        }
    }

    async fn send(&self, answer: &[u8]) -> io::Result<()> {
        loop {
            self.socket.writable().await?;
            match D::send_to(&self.socket, answer, &self.peer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }
}

/// Send errors are treated as packet loss; the client retries.
fn log_unsent(error: &io::Error, client: impl fmt::Display) {
    tracing::debug!(%error, %client, "cannot send an answer");
}

/// Whether an answer can reach the client at this address, and nobody else: no client sends from port 0 or
/// from an address that is not its own, so such a source is forged.
fn is_answerable(source: SocketAddr) -> bool {
    let is_host = match source.ip() {
        IpAddr::V4(address) => {
            !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
        }
        IpAddr::V6(address) => !(address.is_unspecified() || address.is_multicast()),
    };
    source.port() != 0 && is_host
}

/// The answers of a turn, one after the other.
struct Answers {
    octets: Vec<u8>,
    /// Where each ends, and the number of the datagram that it answers.
    ends: Vec<(usize, usize)>,
}

impl Answers {
    fn new() -> Self {
        // One more, because the last one may be too long before it is cut.
        let room = (BATCH + 1) * usize::from(MAX_UDP_PAYLOAD);
        Self { octets: Vec::with_capacity(room), ends: Vec::with_capacity(BATCH) }
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.ends.clear();
    }

    /// Ends an answer, which is everything written since the previous one ended.
    fn end(&mut self, number: usize) {
        self.ends.push((self.octets.len(), number));
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of the datagram that is answered.
    fn to(&self, answer: usize) -> usize {
        self.ends[answer].1
    }

    /// The answers from this one on.
    fn from(&self, first: usize) -> impl Iterator<Item = Answer<'_>> {
        let mut start = first.checked_sub(1).map_or(0, |before| self.ends[before].0);
        self.ends[first..].iter().map(move |&(end, to)| {
            let octets = &self.octets[start..end];
            start = end;
            Answer { to, octets }
        })
    }
}

#[cfg(test)]
mod tests;
