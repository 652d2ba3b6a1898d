//! TCP connections (RFC 7766): each message has its length before it. Messages are answered in order, except
//! those that wait for another server.

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
    pending::{Pending, Ticket},
};
use crate::{
    answerer::{Answerer, Begun},
    counters::{Answered, WorkerCounters},
    wire::{Transport, answer::Waiting},
};

/// Serves the connections of DNS.
pub(super) struct Protocol {
    pub(super) answerer: Answerer,
    pub(super) idle_timeout: Duration,
    pub(super) pending: Arc<Pending>,
    /// Those of all connections.
    pub(super) counters: Arc<WorkerCounters>,
}

impl Protocol {
    /// Serves a connection until it ends, is idle for too long, or drains.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        place: sd_net::Connection,
        draining: Draining,
    ) -> impl Future<Output = ()> + Send + use<> {
        // Unknown of a connection that has failed already, where it does not matter.
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
            answers: Vec::new(),
            waiting: JoinSet::new(),
        };
        async move {
            if connection.place.is_beyond_limit() {
                // Answers wait on all others. TCP has no word for that.
                return;
            }
            if let Err(error) = connection.serve(draining).await {
                tracing::debug!(%error, "a connection has failed");
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    client: IpAddr,
    answerer: Answerer,
    /// Its place among all connections.
    place: sd_net::Connection,
    busy: Option<sd_net::Busy>,
    idle_timeout: Duration,
    pending: Arc<Pending>,
    /// Those of all connections.
    counters: Arc<WorkerCounters>,
    /// Received and not yet answered: after each turn at most one incomplete message, unless too many answers
    /// wait.
    received: Vec<u8>,
    answers: Vec<u8>,
    /// Answers that wait for another server. Others overtake them (RFC 7766 section 6.2.1.1).
    waiting: JoinSet<Waited>,
}

/// What a connection goes on with.
enum Event {
    Waited(Result<Waited, JoinError>),
    Read(io::Result<usize>),
    Late,
    Stopped,
}

/// An answer that has waited.
struct Waited {
    octets: Vec<u8>,
    answered: Answered,
    begun: std::time::Instant,
}

impl Connection {
    /// The least room for what is received next.
    const READ: usize = 4096;
    /// Answers of this many octets are sent at once.
    const WRITE: usize = 64 * 1024;
    /// The most answers that wait. Nothing more is received until one of them is complete.
    const MAX_WAITING: usize = 128;
    /// How many messages are answered before other tasks have their turn.
    const TURNS: usize = 64;

    async fn serve(mut self, mut draining: Draining) -> io::Result<()> {
        let mut deadline = Instant::now() + self.idle_timeout;
        loop {
            self.received.reserve(Self::READ);
            let event = tokio::select! {
                Some(waited) = self.waiting.join_next() => Event::Waited(waited),
                read = timeout_at(deadline, self.stream.read_buf(&mut self.received)), if self.has_room() => {
                    read.map_or(Event::Late, Event::Read)
                }
                _ = draining.begun() => Event::Stopped,
            };
            let progress = match event {
                Event::Waited(waited) => {
                    self.waited(waited).await?;
                    // Messages may have been left for want of room.
                    self.answer().await?;
                    Progress::Some
                }
                // The client has no more to ask, and may still read.
                Event::Read(Ok(0)) => return self.finish().await,
                Event::Read(read) => {
                    read?;
                    self.answer().await?
                }
                // No complete message for too long, however many octets came.
                Event::Late if self.waiting.is_empty() => return Ok(()),
                Event::Late => Progress::Some,
                Event::Stopped => return self.drain().await,
            };
            // Nobody takes its place while its answers wait.
            self.busy = if self.waiting.is_empty() {
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
        self.waiting.len() < Self::MAX_WAITING
    }

    /// Answers what has arrived.
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

    /// Answers what waits, and closes the connection.
    async fn finish(&mut self) -> io::Result<()> {
        while let Some(waited) = self.waiting.join_next().await {
            self.waited(waited).await?;
            self.answer().await?;
        }
        self.stream.shutdown().await
    }

    /// Answers all complete messages, in one write unless the answers are many; those that wait are answered
    /// later.
    async fn answer(&mut self) -> io::Result<Progress> {
        let (begun, mut count) = (std::time::Instant::now(), 0);
        let (mut done, mut turns) = (0, 0);
        while self.has_room()
            && let Some(message) = first_message(&self.received[done..])
        {
            done += LENGTH + message.len();
            let published = self.answerer.read();
            let answered = append(&mut self.answers, |out| {
                self.answerer.begin(&published, message, Transport::Tcp, out)
            });
            let answered = match answered {
                Begun::Nothing => {
                    self.counters.lock().ignored();
                    None
                }
                Begun::Waits(waiting) => {
                    if let Some(ticket) = self.pending.admit(self.client) {
                        self.waiting.spawn(wait(self.answerer.clone(), ticket, waiting, begun));
                        None
                    } else {
                        Some(append(&mut self.answers, |out| waiting.fail(out)))
                    }
                }
                Begun::Done(answered) => Some(answered),
            };
            if let Some(answered) = answered {
                self.counters.lock().answered(Transport::Tcp, answered, &published.zones);
                count += 1;
            }
            drop(published);
            if self.answers.len() >= Self::WRITE {
                self.send().await?;
            }
            turns += 1;
            if turns % Self::TURNS == 0 {
                yield_now().await;
            }
        }
        self.received.drain(..done);
        self.send().await?;
        self.counters.lock().took(begun.elapsed(), count);
        Ok(if done == 0 { Progress::None } else { Progress::Some })
    }

    /// Answers with what has been waited for.
    async fn waited(&mut self, waited: Result<Waited, JoinError>) -> io::Result<()> {
        let Waited { octets, answered, begun } = waited.map_err(io::Error::other)?;
        append(&mut self.answers, |out| out.extend_from_slice(&octets));
        self.send().await?;
        let mut counts = self.counters.lock();
        counts.answered(Transport::Tcp, answered, &self.answerer.read().zones);
        counts.took(begun.elapsed(), 1);
        Ok(())
    }

    async fn send(&mut self) -> io::Result<()> {
        if !self.answers.is_empty() {
            timeout(self.idle_timeout, self.stream.write_all(&self.answers)).await??;
            self.answers.clear();
        }
        Ok(())
    }
}

async fn wait(
    answerer: Answerer,
    mut ticket: Ticket,
    waiting: Box<Waiting>,
    begun: std::time::Instant,
) -> Waited {
    let mut octets = Vec::new();
    let answered = complete(&answerer, &waiting, &mut ticket, &mut octets).await;
    Waited { octets, answered, begun }
}

/// Whether a turn had a complete message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    None,
    Some,
}

/// The octets of the length before a message (RFC 1035 section 4.2.2).
const LENGTH: usize = 2;

/// The first message, if it is complete.
fn first_message(received: &[u8]) -> Option<&[u8]> {
    let (len, rest) = received.split_first_chunk::<LENGTH>()?;
    rest.get(..usize::from(u16::from_be_bytes(*len)))
}

/// Appends what is written with its length before it; nothing if there is none.
fn append<T>(answers: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let start = answers.len();
    answers.extend_from_slice(&[0; LENGTH]);
    let written = write(answers);
    match u16::try_from(answers.len() - start - LENGTH) {
        Ok(len @ 1..) => answers[start..start + LENGTH].copy_from_slice(&len.to_be_bytes()),
        Ok(0) | Err(_) => answers.truncate(start),
    }
    written
}

#[cfg(test)]
mod tests;
