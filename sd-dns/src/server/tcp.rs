//! TCP connections (RFC 7766). Each message has its length before it. Responses are sent in the order of the queries,
//! except for pending ones.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use sd_net::Draining;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinError, JoinSet, yield_now},
    time::{Instant, timeout, timeout_at},
};

use super::{
    DRAIN_PAUSE, DRAIN_TURNS, complete,
    pending_limit::{PendingLimit, Permit},
};
use crate::{
    answerer::{Answerer, Outcome},
    counters::{ResponseSummary, WorkerCounters},
    response::PendingResponse,
    wire::Transport,
};

/// What the connections of an address share.
pub(super) struct Protocol {
    pub(super) answerer: Answerer,
    pub(super) idle_timeout: Duration,
    pub(super) pending: Arc<PendingLimit>,
    /// Of all connections.
    pub(super) counters: Arc<WorkerCounters>,
}

impl Protocol {
    /// Serves a connection until it ends, is idle for too long, or has drained.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        place: sd_net::Connection,
        draining: Draining,
    ) -> impl Future<Output = ()> + Send + use<> {
        // The address is unknown if the connection has failed already, and then it does not matter.
        let client = stream.peer_addr().map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip());
        let connection = Connection {
            stream,
            client,
            answerer: self.answerer.clone(),
            place,
            busy: None,
            idle_timeout: self.idle_timeout,
            pending: Arc::clone(&self.pending),
            counters: Arc::clone(&self.counters),
            received: Vec::new(),
            responses: Vec::new(),
            pending_responses: JoinSet::new(),
        };
        async move {
            if connection.place.is_beyond_limit() {
                // All other connections are busy. DNS over TCP cannot say so: just close this one.
                return;
            }
            if let Err(error) = connection.serve(draining).await {
                tracing::debug!(%error, client = %client, "connection failed");
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    client: IpAddr,
    answerer: Answerer,
    /// Its entry among all connections.
    place: sd_net::Connection,
    busy: Option<sd_net::Busy>,
    idle_timeout: Duration,
    pending: Arc<PendingLimit>,
    /// Of all connections.
    counters: Arc<WorkerCounters>,
    /// Messages that are not yet answered: at most one incomplete message, unless too many responses are pending.
    received: Vec<u8>,
    /// Responses that are not yet sent.
    responses: Vec<u8>,
    /// Pending responses. Others overtake them (RFC 7766 section 6.2.1.1).
    pending_responses: JoinSet<CompletedResponse>,
}

/// What happens to a connection.
enum Event {
    Completed(Result<CompletedResponse, JoinError>),
    Read(io::Result<usize>),
    Timeout,
    Draining,
}

/// A response that was pending.
struct CompletedResponse {
    octets: Vec<u8>,
    summary: ResponseSummary,
    begun: std::time::Instant,
}

impl Connection {
    /// The least room to receive into.
    const READ: usize = 4096;
    /// Responses are sent once they have this many octets.
    const WRITE: usize = 64 * 1024;
    /// The most pending responses. Nothing more is received until one of them is complete.
    const MAX_PENDING: usize = 128;
    /// How many messages are answered before the task yields.
    const YIELD_AFTER: usize = 64;

    async fn serve(mut self, mut draining: Draining) -> io::Result<()> {
        let mut deadline = Instant::now() + self.idle_timeout;
        loop {
            self.received.reserve(Self::READ);
            let event = tokio::select! {
                Some(completed) = self.pending_responses.join_next() => Event::Completed(completed),
                read = timeout_at(deadline, self.stream.read_buf(&mut self.received)), if self.has_room() => {
                    read.map_or(Event::Timeout, Event::Read)
                }
                _ = draining.begun() => Event::Draining,
            };
            let progress = match event {
                Event::Completed(completed) => {
                    self.send_completed(completed).await?;
                    // Messages may have been left because too many responses were pending.
                    self.answer().await?;
                    Progress::Some
                }
                // The client sends no more queries, but may still read.
                Event::Read(Ok(0)) => return self.finish().await,
                Event::Read(read) => {
                    read?;
                    self.answer().await?
                }
                // Incomplete messages do not extend the time.
                Event::Timeout if self.pending_responses.is_empty() => return Ok(()),
                Event::Timeout => Progress::Some,
                Event::Draining => return self.drain().await,
            };
            // A connection with pending responses is not evicted.
            self.busy = if self.pending_responses.is_empty() {
                None
            } else {
                self.busy.take().or_else(|| Some(self.place.busy()))
            };
            if progress == Progress::Some {
                self.place.used();
                deadline = Instant::now() + self.idle_timeout;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.pending_responses.len() < Self::MAX_PENDING
    }

    /// Answers the messages that have arrived, and closes the connection.
    async fn drain(&mut self) -> io::Result<()> {
        for _ in 0..DRAIN_TURNS {
            if !self.has_room() {
                break;
            }
            self.received.reserve(Self::READ);
            match timeout(DRAIN_PAUSE, self.stream.read_buf(&mut self.received)).await {
                Ok(Ok(1..)) => self.answer().await?,
                Ok(Ok(0)) | Err(_) => break,
                Ok(Err(error)) => return Err(error),
            };
        }
        self.finish().await
    }

    /// Sends the pending responses, and closes the connection.
    async fn finish(&mut self) -> io::Result<()> {
        while let Some(completed) = self.pending_responses.join_next().await {
            self.send_completed(completed).await?;
            self.answer().await?;
        }
        self.stream.shutdown().await
    }

    /// Answers all complete messages, in one write unless there are many. Pending responses are sent later.
    async fn answer(&mut self) -> io::Result<Progress> {
        let (begun, mut count) = (std::time::Instant::now(), 0);
        let (mut done, mut turns) = (0, 0);
        while self.has_room()
            && let Some(message) = first_message(&self.received[done..])
        {
            done += LENGTH + message.len();
            let published = self.answerer.read();
            let outcome = append(&mut self.responses, |out| {
                self.answerer.begin(&published, message, Transport::Tcp, out)
            });
            let summary = match outcome {
                Outcome::Ignored => {
                    self.counters.lock().ignored();
                    None
                }
                Outcome::Pending(pending) => {
                    if let Some(permit) = self.pending.admit(self.client) {
                        self.pending_responses.spawn(complete_later(
                            self.answerer.clone(),
                            permit,
                            pending,
                            begun,
                        ));
                        None
                    } else {
                        Some(append(&mut self.responses, |out| pending.fail(out)))
                    }
                }
                Outcome::Complete(summary) => Some(summary),
            };
            if let Some(summary) = summary {
                self.counters.lock().responded(Transport::Tcp, summary, &published.zones);
                count += 1;
            }
            drop(published);
            if self.responses.len() >= Self::WRITE {
                self.send().await?;
            }
            turns += 1;
            if turns % Self::YIELD_AFTER == 0 {
                yield_now().await;
            }
        }
        self.received.drain(..done);
        self.send().await?;
        self.counters.lock().took(begun.elapsed(), count);
        Ok(if done == 0 { Progress::None } else { Progress::Some })
    }

    /// Sends a response that was pending.
    async fn send_completed(&mut self, completed: Result<CompletedResponse, JoinError>) -> io::Result<()> {
        let CompletedResponse { octets, summary, begun } = completed.map_err(io::Error::other)?;
        append(&mut self.responses, |out| out.extend_from_slice(&octets));
        self.send().await?;
        let mut counts = self.counters.lock();
        counts.responded(Transport::Tcp, summary, &self.answerer.read().zones);
        counts.took(begun.elapsed(), 1);
        Ok(())
    }

    async fn send(&mut self) -> io::Result<()> {
        if !self.responses.is_empty() {
            timeout(self.idle_timeout, self.stream.write_all(&self.responses)).await??;
            self.responses.clear();
        }
        Ok(())
    }
}

async fn complete_later(
    answerer: Answerer,
    mut permit: Permit,
    pending: Box<PendingResponse>,
    begun: std::time::Instant,
) -> CompletedResponse {
    let mut octets = Vec::new();
    let summary = complete(&answerer, &pending, &mut permit, &mut octets).await;
    CompletedResponse { octets, summary, begun }
}

/// Whether there was a complete message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    None,
    Some,
}

/// The octets of the length before each message (RFC 1035 section 4.2.2).
const LENGTH: usize = 2;

/// The first message, if it is complete.
fn first_message(received: &[u8]) -> Option<&[u8]> {
    let (len, rest) = received.split_first_chunk::<LENGTH>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

/// Appends what `write` writes, with its length before it. Appends nothing if that is empty.
fn append<T>(responses: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = responses.len();
    responses.extend_from_slice(&[0; LENGTH]);
    let written = write(responses);
    match u16::try_from(responses.len() - start - LENGTH) {
        Ok(len @ 1..) => responses[start..start + LENGTH].copy_from_slice(&len.to_be_bytes()),
        Ok(0) | Err(_) => responses.truncate(start),
    }
    written
}

#[cfg(test)]
mod tests;
