//! Connections (RFC 7766): messages with their length before them, as many as come. They are answered in order, but for
//! those that wait for somebody else.

use std::{
    collections::HashMap,
    io,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{DRAIN_PAUSE, DRAIN_TURNS, complete};
use crate::{
    answerer::{Answerer, Begun},
    counters::{Answered, WorkerCounters},
    wire::{Transport, answer::Waiting},
};

/// After a failed accept, which may well fail again at once: no file descriptor may be left.
const PAUSE: Duration = Duration::from_millis(50);

/// A connection, which ends with its listener.
pub(super) type Accepted = (TcpStream, watch::Receiver<bool>);

/// Hands on the connections of a listener until it is told to stop.
pub(super) async fn accept(
    listener: TcpListener,
    accepted: mpsc::Sender<Accepted>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match connection {
            Ok((stream, _)) => {
                if accepted.send((stream, stopped.clone())).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                sleep(PAUSE).await;
            }
        }
    }
}

/// All connections of a server.
pub(super) struct Connections {
    answerer: Answerer,
    limit: NonZero<usize>,
    idle_timeout: Duration,
    counters: Arc<WorkerCounters>,
    uses: Arc<AtomicU64>,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
}

struct Open {
    task: AbortHandle,
    activity: Arc<Activity>,
}

/// When a connection was last of use, as a place in the order of all connections' uses.
struct Activity {
    uses: Arc<AtomicU64>,
    last: AtomicU64,
}

impl Activity {
    fn new(uses: &Arc<AtomicU64>) -> Arc<Self> {
        let activity = Self { uses: Arc::clone(uses), last: AtomicU64::new(0) };
        activity.now();
        Arc::new(activity)
    }

    fn now(&self) {
        self.last.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Connections {
    pub(super) fn new(
        answerer: Answerer,
        limit: NonZero<usize>,
        idle_timeout: Duration,
        counters: Arc<WorkerCounters>,
    ) -> Self {
        let uses = Arc::new(AtomicU64::new(0));
        Self { answerer, limit, idle_timeout, counters, uses, tasks: JoinSet::new(), open: HashMap::new() }
    }

    /// Serves the connections that come in, until no more can come and those that came are done.
    pub(super) async fn serve(mut self, mut incoming: mpsc::Receiver<Accepted>) {
        loop {
            tokio::select! {
                // Those that have ended first: they make room.
                biased;
                Some(ended) = self.tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => error.id(),
                    };
                    self.open.remove(&id);
                }
                accepted = incoming.recv() => match accepted {
                    Some((stream, stopped)) => self.add(stream, stopped),
                    None => break,
                },
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn add(&mut self, stream: TcpStream, stopped: watch::Receiver<bool>) {
        if self.open.len() >= self.limit.get()
            && let Some(id) = self.idlest()
            && let Some(idlest) = self.open.remove(&id)
        {
            idlest.task.abort();
        }
        let activity = Activity::new(&self.uses);
        let connection = Connection {
            stream,
            answerer: self.answerer.clone(),
            activity: Arc::clone(&activity),
            idle_timeout: self.idle_timeout,
            counters: Arc::clone(&self.counters),
            received: Vec::new(),
            answers: Vec::new(),
            waiting: JoinSet::new(),
        };
        let task = self.tasks.spawn(async move {
            if let Err(error) = connection.serve(stopped).await {
                tracing::debug!(%error, "a connection has failed");
            }
        });
        self.open.insert(task.id(), Open { task, activity });
    }

    fn idlest(&self) -> Option<Id> {
        let last = |open: &Open| open.activity.last.load(Ordering::Relaxed);
        self.open.iter().min_by_key(|(_, open)| last(open)).map(|(id, _)| *id)
    }
}

struct Connection {
    stream: TcpStream,
    answerer: Answerer,
    activity: Arc<Activity>,
    idle_timeout: Duration,
    /// Those of all connections.
    counters: Arc<WorkerCounters>,
    /// Received and not yet answered: at most one message that is not complete, after each turn, unless too many wait.
    received: Vec<u8>,
    answers: Vec<u8>,
    /// Answers that wait for somebody else. Others overtake them (RFC 7766 section 6.2.1.1).
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
    /// Answers are sent at the latest when there are so many octets of them.
    const WRITE: usize = 64 * 1024;
    /// The most answers that wait: no more is received before one of them is there.
    const MAX_WAITING: usize = 128;

    async fn serve(mut self, mut stopped: watch::Receiver<bool>) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut deadline = Instant::now() + self.idle_timeout;
        loop {
            self.received.reserve(Self::READ);
            let event = tokio::select! {
                Some(waited) = self.waiting.join_next() => Event::Waited(waited),
                read = timeout_at(deadline, self.stream.read_buf(&mut self.received)), if self.has_room() => {
                    read.map_or(Event::Late, Event::Read)
                }
                _ = stopped.wait_for(|stopped| *stopped) => Event::Stopped,
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
            if progress == Progress::Some {
                self.activity.now();
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

    /// Answers all complete messages, in one write unless the answers are many; those that wait when they are there.
    async fn answer(&mut self) -> io::Result<Progress> {
        let (begun, mut count) = (std::time::Instant::now(), 0);
        let mut done = 0;
        while self.has_room()
            && let Some(message) = first_message(&self.received[done..])
        {
            done += LENGTH + message.len();
            let answered = append(&mut self.answers, |out| {
                self.answerer.begin(&self.answerer.read(), message, Transport::Tcp, out)
            });
            match answered {
                Begun::Nothing => self.counters.lock().ignored(),
                Begun::Waits(waiting) => {
                    self.waiting.spawn(wait(self.answerer.clone(), waiting, begun));
                }
                Begun::Done(answered) => {
                    self.counters.lock().answered(Transport::Tcp, answered);
                    count += 1;
                    if self.answers.len() >= Self::WRITE {
                        self.send().await?;
                    }
                }
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
        counts.answered(Transport::Tcp, answered);
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

async fn wait(answerer: Answerer, waiting: Box<Waiting>, begun: std::time::Instant) -> Waited {
    let mut octets = Vec::new();
    let answered = complete(&answerer, &waiting, &mut octets).await;
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
