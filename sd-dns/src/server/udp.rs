//! UDP workers: each answers the datagrams of one socket.

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
    datagrams::{BATCH, DatagramBatch, ResponseDatagram},
    pending_limit::{PendingLimit, Permit},
};
use crate::{
    answerer::{Answerer, Outcome},
    counters::WorkerCounters,
    response::PendingResponse,
    wire::{MAX_UDP_PAYLOAD, Transport},
};

/// The pause after a socket error, which may repeat at once.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Answers the datagrams of one socket until it is stopped, then those that have arrived by then.
pub(super) async fn serve<D: DatagramBatch>(
    socket: UdpSocket,
    answerer: Answerer,
    pending: Arc<PendingLimit>,
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
                // More datagrams may be waiting: yield to other tasks first.
                Ok(BATCH..) => yield_now().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot receive datagrams");
                    sleep(ERROR_PAUSE).await;
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
    while worker.pending_responses.join_next().await.is_some() {}
}

/// Receives and answers a batch of datagrams in each turn.
struct Worker<D> {
    answerer: Answerer,
    pending: Arc<PendingLimit>,
    counters: Arc<WorkerCounters>,
    datagrams: D,
    responses: ResponseBatch,
    /// Pending responses, each in its own task.
    pending_responses: JoinSet<()>,
}

impl<D: DatagramBatch> Worker<D> {
    fn new(answerer: Answerer, pending: Arc<PendingLimit>, counters: Arc<WorkerCounters>) -> Self {
        let (datagrams, responses) = (D::new(), ResponseBatch::new());
        Self { answerer, pending, counters, datagrams, responses, pending_responses: JoinSet::new() }
    }

    /// Receives and answers one batch. Returns the number of datagrams.
    async fn turn(&mut self, socket: &Arc<UdpSocket>) -> io::Result<usize> {
        while self.pending_responses.try_join_next().is_some() {}
        let received = self.datagrams.receive(socket)?;
        if received > 0 {
            let begun = Instant::now();
            self.answer(received, begun, socket);
            self.send(socket).await;
            self.counters.lock().took(begun.elapsed(), self.responses.len());
        }
        Ok(received)
    }

    /// Writes the responses to a batch, except for pending ones.
    fn answer(&mut self, received: usize, begun: Instant, socket: &Arc<UdpSocket>) {
        self.responses.clear();
        let published = self.answerer.read();
        let mut counts = self.counters.lock();
        for number in 0..received {
            let Some(source) = self.datagrams.source(number).filter(|source| is_answerable(*source)) else {
                counts.ignored();
                continue;
            };
            let (packet, out) = (self.datagrams.octets(number), &mut self.responses.octets);
            let summary = match self.answerer.begin(&published, packet, Transport::Udp, out) {
                Outcome::Ignored => {
                    counts.ignored();
                    continue;
                }
                Outcome::Complete(summary) => summary,
                Outcome::Pending(pending) => {
                    if let Some(permit) = self.pending.admit(source.ip()) {
                        let later = PendingDatagram::<D> {
                            socket: Arc::clone(socket),
                            peer: self.datagrams.peer(number),
                            answerer: self.answerer.clone(),
                            permit,
                            counters: Arc::clone(&self.counters),
                            begun,
                        };
                        self.pending_responses.spawn(later.complete(pending));
                        continue;
                    }
                    pending.fail(out)
                }
            };
            self.responses.end(number);
            counts.responded(Transport::Udp, summary, &published.zones);
        }
    }

    /// Sends the responses. Skips those that cannot be sent.
    async fn send(&self, socket: &UdpSocket) {
        let mut sent = 0;
        while sent < self.responses.len() {
            match self.datagrams.send(socket, self.responses.from(sent)) {
                Ok(more) => sent += more.max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    log_unsent(&error, self.datagrams.peer(self.responses.number(sent)));
                    self.counters.lock().unsent();
                    sent += 1;
                }
            }
        }
    }
}

/// The client of a pending response.
struct PendingDatagram<D: DatagramBatch> {
    socket: Arc<UdpSocket>,
    peer: D::Peer,
    answerer: Answerer,
    permit: Permit,
    counters: Arc<WorkerCounters>,
    begun: Instant,
}

impl<D: DatagramBatch> PendingDatagram<D> {
    /// Sends the response once it is complete.
    async fn complete(mut self, pending: Box<PendingResponse>) {
        let mut response = Vec::new();
        let summary = complete(&self.answerer, &pending, &mut self.permit, &mut response).await;
        let sent = self.send(&response).await;
        let mut counts = self.counters.lock();
        counts.responded(Transport::Udp, summary, &self.answerer.read().zones);
        counts.took(self.begun.elapsed(), 1);
        if let Err(error) = sent {
            counts.unsent();
            log_unsent(&error, self.peer);
        }
    }

    async fn send(&self, response: &[u8]) -> io::Result<()> {
        loop {
            self.socket.writable().await?;
            match D::send_to(&self.socket, response, &self.peer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
    }
}

/// Send errors are treated as packet loss; the client retries.
fn log_unsent(error: &io::Error, client: impl fmt::Display) {
    tracing::debug!(%error, %client, "cannot send response");
}

/// Whether this can be the address of a client. Sources with port 0, or with an address that no host has, are forged.
fn is_answerable(source: SocketAddr) -> bool {
    let is_host = match source.ip() {
        IpAddr::V4(address) => {
            !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
        }
        IpAddr::V6(address) => !(address.is_unspecified() || address.is_multicast()),
    };
    source.port() != 0 && is_host
}

/// The responses of a turn, one after the other.
struct ResponseBatch {
    octets: Vec<u8>,
    /// The end of each response, and the number of the datagram that it answers.
    ends: Vec<(usize, usize)>,
}

impl ResponseBatch {
    fn new() -> Self {
        // Room for one more, because a response may exceed its limit before it is truncated.
        let room = (BATCH + 1) * usize::from(MAX_UDP_PAYLOAD);
        Self { octets: Vec::with_capacity(room), ends: Vec::with_capacity(BATCH) }
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.ends.clear();
    }

    /// Ends a response: everything that was written since the previous end.
    fn end(&mut self, number: usize) {
        self.ends.push((self.octets.len(), number));
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// The number of the datagram that a response answers.
    fn number(&self, response: usize) -> usize {
        self.ends[response].1
    }

    /// The responses from this one on.
    fn from(&self, first: usize) -> impl Iterator<Item = ResponseDatagram<'_>> {
        let mut start = first.checked_sub(1).map_or(0, |before| self.ends[before].0);
        self.ends[first..].iter().map(move |&(end, number)| {
            let octets = &self.octets[start..end];
            start = end;
            ResponseDatagram { number, octets }
        })
    }
}

#[cfg(test)]
mod tests;
