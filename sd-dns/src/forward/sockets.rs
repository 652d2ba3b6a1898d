//! The UDP sockets that queries to one upstream are sent from.
//!
//! An off-path attacker has to guess port and id of a query (RFC 5452). Each query has a random id and uses one of
//! [`OPEN`] sockets, drawn at random. The system draws the port of each socket. A socket is replaced after [`USES`]
//! queries or unexpected datagrams, and after [`LIFETIME`], so that a guessed port is soon useless.

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
    u16_at,
    upstream_response::{Unusable, UpstreamResponse},
};

/// How many sockets send queries. Up to as many retired ones wait for outstanding responses.
const OPEN: u8 = 32;

/// How many queries and unexpected datagrams a socket is used for.
const USES: u32 = 64;

/// How long a socket is used.
const LIFETIME: Duration = Duration::from_secs(30);

/// How often an id is drawn before giving up. Few ids are taken: 4,096 of 2 million.
const DRAWS: usize = 16;

/// The maximum size of a datagram that is read. Queries announce 1232 octets; some servers send more.
const MAX_DATAGRAM: usize = 4096;

/// The sockets of one upstream.
#[derive(Debug)]
pub(super) struct Sockets {
    address: SocketAddr,
    /// The sockets that send queries. The task that reads a socket owns it.
    open: [Mutex<Weak<Socket>>; OPEN as usize],
    /// The number of sockets that only wait for outstanding responses.
    retired: Arc<AtomicUsize>,
}

/// A socket that is connected to the upstream, so that the system drops datagrams from other addresses and reports an
/// unreachable port.
#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    state: Mutex<State>,
    /// Notified when the last query of a retired socket ends.
    idle: Notify,
    retired: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct State {
    /// The outstanding queries by id.
    queries: HashMap<u16, Expected>,
    uses: u32,
    is_retired: bool,
}

/// The response that a query waits for.
#[derive(Debug)]
struct Expected {
    question: Box<[u8]>,
    /// `None` once the response has arrived.
    sender: Option<oneshot::Sender<Arrival>>,
}

/// What a query gets: a response, or an error of the socket.
type Arrival = io::Result<Result<UpstreamResponse, Unusable>>;

/// A query that waits for its response. Dropping it frees its id.
#[derive(Debug)]
pub(super) struct SentQuery {
    socket: Arc<Socket>,
    pub(super) id: u16,
    arrival: oneshot::Receiver<Arrival>,
}

impl Sockets {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, open: Default::default(), retired: Arc::default() }
    }

    /// Draws socket and id for a query with this question. Nothing is sent yet.
    pub(super) fn query(&self, question: &[u8]) -> Result<SentQuery, Failure> {
        for _ in 0..DRAWS {
            let mut random = [0; 3];
            SysRng.try_fill_bytes(&mut random)?;
            let [slot, high, low] = random;
            let id = u16::from_be_bytes([high, low]);
            let socket = self.socket(slot)?;
            if let Some(arrival) = socket.begin(id, question) {
                return Ok(SentQuery { socket, id, arrival });
            }
        }
        Err(Failure::NoId)
    }

    /// The socket of this slot. Opens a new one if there is none, or if it is retired.
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

/// Opens a socket on a port that the system draws.
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

    /// Reserves an id. `None` if it is taken or the socket is retired.
    fn begin(&self, id: u16, question: &[u8]) -> Option<oneshot::Receiver<Arrival>> {
        let mut state = self.state();
        if state.is_retired || state.queries.contains_key(&id) {
            return None;
        }
        let (sender, arrival) = oneshot::channel();
        state.queries.insert(id, Expected { question: question.into(), sender: Some(sender) });
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

    /// Counts a use.
    fn used(&self, state: &mut State) {
        state.uses += 1;
        if state.uses >= USES {
            self.retire(state);
        }
    }

    /// Retires the socket, unless too many retired ones wait for outstanding responses.
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

    /// Hands a datagram to the query that it answers. Other datagrams cost a
    /// look-up of their id, and count as a use.
    fn deliver(&self, octets: &[u8]) {
        let mut state = self.state();
        let id = u16_at(octets, 0).unwrap_or_default();
        if let Some(expected) = state.queries.get_mut(&id)
            && expected.sender.is_some()
        {
            let read = UpstreamResponse::read(octets.to_vec(), id, &expected.question);
            if !matches!(read, Err(Unusable::Foreign)) {
                // Sending fails if the query was given up meanwhile.
                let _ = expected.sender.take().map(|sender| sender.send(Ok(read)));
                return;
            }
        }
        self.used(&mut state);
    }

    /// Reports an error to all outstanding queries, because the system does not say which one it concerns. Retires the
    /// socket.
    fn fail(&self, error: &io::Error) {
        let mut state = self.state();
        for expected in state.queries.values_mut() {
            if let Some(sender) = expected.sender.take() {
                let _ = sender.send(Err(copy(error)));
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

/// Copies an error, to report it several times.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// The task that reads a socket. Dropping it, with its runtime at the latest, retires the socket.
struct Reader(Arc<Socket>);

impl Reader {
    async fn read(self) {
        let socket = &self.0;
        let mut room = vec![0; MAX_DATAGRAM];
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

impl SentQuery {
    pub(super) async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let sent = self.socket.socket.send(packet).await;
        if let Err(error) = &sent {
            // The error may concern an earlier query.
            self.socket.fail(error);
        }
        sent.map(drop)
    }

    /// Waits for the first response to this query.
    pub(super) async fn response(&mut self) -> Arrival {
        (&mut self.arrival).await.unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into()))
    }
}

impl Drop for SentQuery {
    fn drop(&mut self) {
        self.socket.end(self.id);
    }
}
