use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{TryRng, rngs::SysRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::Notify,
    time::{Instant, interval},
};

use crate::wire::{
    Rcode,
    asked::{Asked, Marker},
    kind,
    response::{Response, Unusable},
};

/// A server that is asked.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    /// Goes with every query, to know them again.
    marker: Marker,
    /// A question that nobody else has. It comes back through servers that make the queries that they pass on anew.
    probe: Asked,
    /// Held while that is asked.
    probing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// When the log last said that something is wrong with it.
    told: Mutex<Option<Instant>>,
    looped: Notify,
}

#[derive(Clone, Copy, Debug)]
enum State {
    New,
    Works,
    Failed(Instant),
    Loops(Instant),
}

/// In which turn an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    First,
    Last,
    Never,
}

/// Why an upstream has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it answers with code {0}")]
    Rcode(u16),
    #[error("its answer is not well-formed")]
    Malformed,
    #[error("it does not answer")]
    Silent,
    #[error("it asks this server in turn")]
    Loops,
    #[error("it asks this server for a name that it was asked for")]
    Returned,
    #[error("the system has no random numbers: {0}")]
    NoRandom(#[from] rand::rngs::SysError),
}

impl Upstream {
    /// How long one that has failed is asked last, and one that asks us in turn not at all.
    const AVOIDED: Duration = Duration::from_secs(30);
    /// As many octets as are advertised, and more from servers that do not care.
    const ROOM: usize = 4096;
    /// What a server says that does not know EDNS (RFC 6891 section 7, RFC 2671 section 5.3).
    const NO_EDNS: [Rcode; 2] = [Rcode::FormErr, Rcode::NotImp];
    /// What the names of probes end in: no such domain exists.
    const PROBES: &[u8] = b"\x07sd-loop\0";

    pub(super) fn new(address: SocketAddr) -> Self {
        let mut marker = [0; 8];
        // It has to be unlike others, not secret.
        if SysRng.try_fill_bytes(&mut marker).is_err() {
            marker[..2].copy_from_slice(&address.port().to_be_bytes());
        }
        let label = format!("{:016x}", u64::from_ne_bytes(marker));
        let name = [b"\x10", label.as_bytes(), Self::PROBES].concat();
        Self {
            address,
            marker: Marker(marker),
            probe: Asked::new(&name, kind::A),
            probing: tokio::sync::Mutex::const_new(()),
            state: Mutex::new(State::New),
            told: Mutex::new(None),
            looped: Notify::new(),
        }
    }

    pub(super) fn turn(&self) -> Turn {
        match *self.state() {
            State::Loops(since) if since.elapsed() < Self::AVOIDED => Turn::Never,
            State::Failed(since) if since.elapsed() < Self::AVOIDED => Turn::Last,
            State::New | State::Works | State::Failed(_) | State::Loops(_) => Turn::First,
        }
    }

    pub(super) fn works(&self) {
        *self.state() = State::Works;
    }

    /// It is asked last for a while. One that only does not know an answer is not.
    pub(super) fn fails(&self, why: &Failure) {
        match why {
            Failure::Rcode(_) | Failure::Loops | Failure::Returned | Failure::NoRandom(_) => {}
            Failure::Io(_) | Failure::Malformed | Failure::Silent => self.is_slow(),
        }
        self.tell(why);
    }

    /// It has not answered yet.
    pub(super) fn is_slow(&self) {
        let mut state = self.state();
        if !matches!(*state, State::Loops(_)) {
            *state = State::Failed(Instant::now());
        }
    }

    /// Says in the log why it has no answer: loudly if that may be of all questions, and that once in a while.
    pub(super) fn tell(&self, why: &Failure) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.is_none_or(|told| told.elapsed() >= Self::AVOIDED);
        if is_new && !matches!(why, Failure::Rcode(_) | Failure::Loops) {
            *told = Some(Instant::now());
            tracing::warn!(upstream = %self.address, %why, "a server that names are asked of has no answer");
        } else {
            tracing::debug!(upstream = %self.address, %why, "a server that names are asked of has no answer");
        }
    }

    /// Whether this query of another server, for this question, is one of those that were sent to this upstream.
    pub(super) fn has_got(&self, query: &[u8], asked: &Asked) -> bool {
        self.probe == *asked || self.marker.is_in(query)
    }

    /// A query that was sent to it has come back. If that is a probe, all of them do. The name of another one may be of those
    /// for which it is told to ask this server, in a zone that is not here yet: whether all come back is looked for again.
    pub(super) fn returns(&self, asked: &Asked) {
        if self.probe == *asked {
            self.loops();
            return;
        }
        self.tell(&Failure::Returned);
        let mut state = self.state();
        if matches!(*state, State::Works) {
            *state = State::New;
        }
    }

    fn loops(&self) {
        let mut state = self.state();
        if !matches!(*state, State::Loops(since) if since.elapsed() < Self::AVOIDED) {
            tracing::error!(
                upstream = %self.address,
                "a server that names are asked of asks them of this server: it must not, or another one must be asked"
            );
            *state = State::Loops(Instant::now());
        }
        drop(state);
        self.looped.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, again each time that nothing has come for so long, until it turns out that it would be asking itself.
    pub(super) async fn ask(&self, asked: &Asked, again: Duration) -> Result<Response, Failure> {
        let probe = async {
            // One that answers has no loop. Whether the probe is answered does not matter, and one at a time is enough.
            let works = matches!(*self.state(), State::Works);
            if !works && let Ok(_turn) = self.probing.try_lock() {
                drop(self.ask_udp(&self.probe, Some(self.marker), again).await);
            }
            std::future::pending().await
        };
        tokio::select! {
            answer = self.ask_for(asked, again) => answer,
            () = self.looped.notified() => Err(Failure::Loops),
            never = probe => never,
        }
    }

    /// Asks, over UDP and then over TCP if the answer is cut; once more without EDNS if that is not understood.
    async fn ask_for(&self, asked: &Asked, again: Duration) -> Result<Response, Failure> {
        match self.ask_with(asked, Some(self.marker), again).await {
            Err(Failure::Rcode(rcode)) if Self::NO_EDNS.into_iter().any(|code| rcode == code.into()) => {
                self.ask_with(asked, None, again).await
            }
            answer => answer,
        }
    }

    async fn ask_with(
        &self,
        asked: &Asked,
        marker: Option<Marker>,
        again: Duration,
    ) -> Result<Response, Failure> {
        match self.ask_udp(asked, marker, again).await? {
            Err(Unusable::Truncated | Unusable::Malformed) => self.ask_tcp(asked, marker).await,
            Err(Unusable::Rcode(rcode)) => Err(Failure::Rcode(rcode)),
            Err(Unusable::Foreign) => Err(Failure::Malformed),
            Ok(response) => Ok(response),
        }
    }

    /// The first answer to this query: what belongs to another one is dropped, since anybody can send anything. A query or an
    /// answer that was lost costs no other socket.
    async fn ask_udp(
        &self,
        asked: &Asked,
        marker: Option<Marker>,
        again: Duration,
    ) -> Result<Result<Response, Unusable>, Failure> {
        let any: SocketAddr = match self.address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        // From here on the system drops what comes from elsewhere, and tells when nobody is there.
        socket.connect(self.address).await?;
        let id = random_id()?;
        let query = asked.packet(id, marker);
        let mut turns = interval(again);
        let mut room = vec![0; Self::ROOM];
        loop {
            let len = tokio::select! {
                biased;
                len = socket.recv(&mut room) => len?,
                _ = turns.tick() => {
                    socket.send(&query).await?;
                    continue;
                }
            };
            match Response::read(room[..len].to_vec(), id, asked.question()) {
                Err(Unusable::Foreign) => {}
                answer => return Ok(answer),
            }
        }
    }

    async fn ask_tcp(&self, asked: &Asked, marker: Option<Marker>) -> Result<Response, Failure> {
        let id = random_id()?;
        let packet = asked.packet(id, marker);
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        // A name, a type and an option: never longer.
        let len = u16::try_from(packet.len()).map_err(|_| Failure::Malformed)?;
        stream.write_all(&[&len.to_be_bytes()[..], &packet].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Response::read(answer, id, asked.question()).map_err(|unusable| match unusable {
            Unusable::Rcode(rcode) => Failure::Rcode(rcode),
            Unusable::Foreign | Unusable::Truncated | Unusable::Malformed => Failure::Malformed,
        })
    }
}

fn random_id() -> Result<u16, rand::rngs::SysError> {
    let mut id = [0; 2];
    SysRng.try_fill_bytes(&mut id)?;
    Ok(u16::from_ne_bytes(id))
}
