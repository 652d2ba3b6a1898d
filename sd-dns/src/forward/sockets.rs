//! The UDP sockets that queries to one upstream are sent from.
//!
//! An off-path attacker has to guess port and id of a query (RFC 5452). Each query goes out of one of
//! [`OPEN`] sockets, drawn at random, whose port the system drew at random, under a random id. A socket is
//! replaced after [`USES`] queries or unexpected datagrams and after [`LIFETIME`], so that a port that was
//! found out is soon useless.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{TryRng, rngs::SysRng};
use tokio::{
    net::UdpSocket,
    sync::{Notify, oneshot},
    time::{Instant, sleep_until},
};

use super::upstream::Failure;
use crate::wire::{
    response::{Response, Unusable},
    u16_at,
};

/// How many sockets send queries. As many more may wait for their last responses.
const OPEN: u8 = 32;

/// How often a socket is used: for how many queries, and for how many datagrams that belong to no query.
const USES: u32 = 64;

/// How long a socket is used.
const LIFETIME: Duration = Duration::from_secs(30);

/// How often another id is drawn when one is taken. The share of taken ids is small: 4,096 of 2 million.
const DRAWS: usize = 16;

/// The longest datagram that is read. Queries announce 1232 octets; some servers send more.
const ROOM: usize = 4096;

/// The sockets of one upstream.
#[derive(Debug)]
pub(super) struct Sockets {
    address: SocketAddr,
    /// Those that send queries; each belongs to the task that reads it.
    open: [Mutex<Weak<Socket>>; OPEN as usize],
    /// How many no longer send, and wait for responses.
    retired: Arc<AtomicUsize>,
}

/// A socket, connected to the upstream: the system drops what comes from elsewhere, and reports when nobody
/// is there.
#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    state: Mutex<State>,
    /// The last query has ended.
    idle: Notify,
    retired: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    queries: HashMap<u16, Waiting>,
    uses: u32,
    is_retired: bool,
}

#[derive(Debug)]
struct Waiting {
    question: Box<[u8]>,
    /// `None` when the response has arrived.
    sender: Option<oneshot::Sender<Arrival>>,
}

/// What arrives for a query: a response, or an error of the socket.
type Arrival = io::Result<Result<Response, Unusable>>;

/// A query that waits for its response. Its id is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Query {
    socket: Arc<Socket>,
    pub(super) id: u16,
    arrival: oneshot::Receiver<Arrival>,
}

impl Sockets {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, open: Default::default(), retired: Arc::default() }
    }

    /// Draws socket and id for a query with this question.
    pub(super) fn query(&self, question: &[u8]) -> Result<Query, Failure> {
        for _ in 0..DRAWS {
            let mut random = [0; 3];
            SysRng.try_fill_bytes(&mut random)?;
            let [slot, high, low] = random;
            let id = u16::from_be_bytes([high, low]);
            let socket = self.socket(slot)?;
            if let Some(arrival) = socket.begin(id, question) {
                return Ok(Query { socket, id, arrival });
            }
        }
        Err(Failure::NoId)
    }

    /// The socket of this slot, a new one if there is none that sends.
    fn socket(&self, slot: u8) -> io::Result<Arc<Socket>> {
        let slot = &self.open[usize::from(slot % OPEN)];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = slot.upgrade()
            && !socket.state().is_retired
        {
            return Ok(socket);
        }
        let socket = Arc::new(Socket {
            socket: connect(self.address)?,
            state: Mutex::default(),
            idle: Notify::new(),
            retired: Arc::clone(&self.retired),
        });
        *slot = Arc::downgrade(&socket);
        tokio::spawn(Reader(Arc::clone(&socket)).read());
        Ok(socket)
    }
}

/// A socket on a port that the system draws.
fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    UdpSocket::from_std(socket)
}

impl Socket {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves an id, unless it is taken or the socket is no longer used.
    fn begin(&self, id: u16, question: &[u8]) -> Option<oneshot::Receiver<Arrival>> {
        let mut state = self.state();
        if state.is_retired || state.queries.contains_key(&id) {
            return None;
        }
        let (sender, arrival) = oneshot::channel();
        state.queries.insert(id, Waiting { question: question.into(), sender: Some(sender) });
        self.used(&mut state);
        Some(arrival)
    }

    /// Frees an id.
    fn end(&self, id: u16) {
        let mut state = self.state();
        state.queries.remove(&id);
        if state.is_retired && state.queries.is_empty() {
            self.idle.notify_one();
        }
    }

    fn used(&self, state: &mut State) {
        state.uses += 1;
        if state.uses >= USES {
            self.retire(state);
        }
    }

    /// Sends no further queries from this socket, unless too many others wait for their last responses.
    fn retire(&self, state: &mut State) {
        let more = |retired| (retired < usize::from(OPEN)).then_some(retired + 1);
        if !state.is_retired && self.retired.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
        {
            self.retired_now(state);
        }
    }

    fn retired_now(&self, state: &mut State) {
        state.is_retired = true;
        if state.queries.is_empty() {
            self.idle.notify_one();
        }
    }

    /// Hands a datagram to the query that it answers. Others cost a look at their id, and use up the socket.
    fn deliver(&self, octets: &[u8]) {
        let mut state = self.state();
        let id = u16_at(octets, 0).unwrap_or_default();
        if let Some(waiting) = state.queries.get_mut(&id)
            && waiting.sender.is_some()
        {
            let read = Response::read(octets.to_vec(), id, &waiting.question);
            if !matches!(read, Err(Unusable::Foreign)) {
                // The error: the query has just been given up.
                let _ = waiting.sender.take().map(|sender| sender.send(Ok(read)));
                return;
            }
        }
        self.used(&mut state);
    }

    /// Reports an error to all queries, and ends the use of the socket: the system does not say which query
    /// was refused.
    fn fail(&self, error: &io::Error) {
        let mut state = self.state();
        for waiting in state.queries.values_mut() {
            if let Some(sender) = waiting.sender.take() {
                let _ = sender.send(Err(again(error)));
            }
        }
        if !state.is_retired {
            self.retired.fetch_add(1, Ordering::Relaxed);
            self.retired_now(&mut state);
        }
    }

    fn is_done(&self) -> bool {
        let state = self.state();
        state.is_retired && state.queries.is_empty()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.state().is_retired {
            self.retired.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An error that is reported more than once.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// The task that reads a socket. When it ends, with its runtime at the latest, so does the use of the socket.
struct Reader(Arc<Socket>);

impl Reader {
    async fn read(self) {
        let socket = &self.0;
        let mut room = vec![0; ROOM];
        let mut end = Instant::now() + LIFETIME;
        while !socket.is_done() {
            tokio::select! {
                received = socket.socket.recv(&mut room) => match received {
                    Ok(len) => socket.deliver(&room[..len]),
                    Err(error) => return socket.fail(&error),
                },
                () = sleep_until(end) => {
                    socket.retire(&mut socket.state());
                    end = Instant::now() + LIFETIME;
                }
                () = socket.idle.notified() => {}
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.fail(&io::ErrorKind::NotConnected.into());
    }
}

impl Query {
    pub(super) async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let sent = self.socket.socket.send(packet).await;
        if let Err(error) = &sent {
            // It may be that of an earlier query.
            self.socket.fail(error);
        }
        sent.map(drop)
    }

    /// Waits for the first response to this query.
    pub(super) async fn response(&mut self) -> Arrival {
        (&mut self.arrival).await.unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        self.socket.end(self.id);
    }
}
