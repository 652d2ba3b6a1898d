use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{TryRng, rngs::SysRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::{edns::Edns, sockets::Sockets};
use crate::wire::{
    Rcode,
    asked::{Asked, Marker},
    kind,
    response::{Response, Unusable},
};

/// A server that questions are forwarded to.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    sockets: Sockets,
    /// Permits for TCP connections.
    connections: Semaphore,
    /// Sent with every query, to recognize our own queries.
    marker: Marker,
    /// A question that nobody else asks. It also comes back through servers that make forwarded queries anew.
    probe: Asked,
    /// Held while the probe is asked.
    probing: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    edns: Edns,
    /// When a failure was last logged as a warning.
    warned: Mutex<Option<Instant>>,
    looped: Notify,
}

#[derive(Clone, Copy, Debug)]
enum State {
    New,
    Works,
    Failed(Instant),
    Loops(Instant),
}

/// The order in which upstreams are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    First,
    Last,
    Never,
}

/// Why an upstream query failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("answered with RCODE {0}")]
    Rcode(u16),
    #[error("malformed response")]
    Malformed,
    #[error("no response within {} s", super::DEADLINE.as_secs())]
    Silent,
    #[error("forwarding loop")]
    Loops,
    #[error("the query came back to this server")]
    Returned,
    #[error("no query id is free")]
    NoId,
    #[error("the system has no random numbers: {0}")]
    NoRandom(#[from] rand::rngs::SysError),
}

impl Upstream {
    /// How long an upstream that has failed is asked last, and one that loops not at all.
    const AVOIDED: Duration = Duration::from_secs(30);
    /// How many connections there may be at a time.
    const CONNECTIONS: usize = 32;
    /// How long a TCP query may take before the truncated answer is passed on.
    const CONNECTION_TIME: Duration = Duration::from_secs(2);
    /// How long before the deadline it ends at the latest.
    const REST: Duration = Duration::from_millis(100);
    /// Codes of servers that do not know EDNS (RFC 6891 section 7, RFC 2671 section 5.3).
    const NO_EDNS: [Rcode; 2] = [Rcode::FormErr, Rcode::NotImp];
    /// The end of a probe's name. No such domain is delegated.
    const PROBES: &[u8] = b"\x07sd-loop\0";

    pub(super) fn new(address: SocketAddr) -> Self {
        let mut marker = [0; 8];
        // It has to differ from others, and need not be secret.
        if SysRng.try_fill_bytes(&mut marker).is_err() {
            marker[..2].copy_from_slice(&address.port().to_be_bytes());
        }
        let label = format!("{:016x}", u64::from_ne_bytes(marker));
        let name = [b"\x10", label.as_bytes(), Self::PROBES].concat();
        Self {
            address,
            sockets: Sockets::new(address),
            connections: Semaphore::new(Self::CONNECTIONS),
            marker: Marker(marker),
            probe: Asked::new(&name, kind::A),
            probing: tokio::sync::Mutex::const_new(()),
            state: Mutex::new(State::New),
            edns: Edns::new(),
            warned: Mutex::new(None),
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

    /// Asks it last for a while, unless it answered that it does not know.
    pub(super) fn fails(&self, why: &Failure) {
        match why {
            Failure::Rcode(_) | Failure::Loops | Failure::Returned | Failure::NoId | Failure::NoRandom(_) => {
            }
            Failure::Io(_) | Failure::Malformed | Failure::Silent => self.is_slow(),
        }
        self.log(why);
    }

    /// It has not answered yet.
    pub(super) fn is_slow(&self) {
        let mut state = self.state();
        if !matches!(*state, State::Loops(_)) {
            *state = State::Failed(Instant::now());
        }
    }

    /// Logs a failure: once in a while as a warning, if it may concern all questions.
    pub(super) fn log(&self, why: &Failure) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = warned.is_none_or(|warned| warned.elapsed() >= Self::AVOIDED);
        if is_new && !matches!(why, Failure::Rcode(_) | Failure::Loops) {
            *warned = Some(Instant::now());
            tracing::warn!(upstream = %self.address, error = %why, "upstream query failed");
        } else {
            tracing::debug!(upstream = %self.address, error = %why, "upstream query failed");
        }
    }

    /// Whether a query that this server received, for this question, is one that was sent to this upstream.
    pub(super) fn has_got(&self, query: &[u8], asked: &Asked) -> bool {
        self.probe == *asked || self.marker.is_in(query)
    }

    /// A query that was sent to it has come back. If it is the probe, all of them do. Another name may belong
    /// to a zone that is not here yet, for which the upstream is configured to ask this server: the next
    /// query probes again.
    pub(super) fn returns(&self, asked: &Asked) {
        if self.probe == *asked {
            self.loops();
            return;
        }
        self.log(&Failure::Returned);
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
                "forwarding loop: upstream sends our queries back; ignoring it for {} s; remove it from the \
                 upstreams or stop it from forwarding to this server",
                Self::AVOIDED.as_secs()
            );
            *state = State::Loops(Instant::now());
        }
        drop(state);
        self.looped.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, and again after each interval of `again` without a response, until the deadline or until a loop is
    /// detected.
    pub(super) async fn ask(
        &self,
        asked: &Asked,
        again: Duration,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        let probe = async {
            // An upstream that answers has no loop. The answer to the probe does not matter, and one probe at
            // a time is enough.
            let works = matches!(*self.state(), State::Works);
            if !works && let Ok(_turn) = self.probing.try_lock() {
                drop(self.ask_udp(&self.probe, again).await);
            }
            std::future::pending().await
        };
        tokio::select! {
            answer = self.ask_for(asked, again, deadline) => answer,
            () = self.looped.notified() => Err(Failure::Loops),
            never = probe => never,
        }
    }

    /// Asks over UDP; without EDNS if the server does not understand it, and over TCP if the response is
    /// truncated.
    async fn ask_for(&self, asked: &Asked, again: Duration, deadline: Instant) -> Result<Response, Failure> {
        let (mut answer, sent_plain) = self.ask_udp(asked, again).await?;
        if let Ok(response) = &answer {
            self.edns.answered(sent_plain, response.has_edns);
        }
        if let Err(Unusable::Rcode(rcode)) = answer
            && self.edns.is_tried()
            && Self::NO_EDNS.into_iter().any(|code| rcode == code.into())
        {
            answer = self.ask_plainly(asked, again).await?;
            if answer.is_ok() {
                self.edns.fails();
            }
        }
        match answer {
            Ok(response) if response.truncated => {
                // A truncated answer is better than none.
                let end = (Instant::now() + Self::CONNECTION_TIME).min(deadline - Self::REST);
                match timeout_at(end, self.ask_tcp(asked)).await {
                    Ok(Ok(whole)) => Ok(whole),
                    Ok(Err(why)) => {
                        self.log(&why);
                        Ok(response)
                    }
                    Err(_) => {
                        tracing::debug!(upstream = %self.address, "no response over TCP in time");
                        Ok(response)
                    }
                }
            }
            Ok(response) => Ok(response),
            Err(Unusable::Malformed) => self.ask_tcp(asked).await,
            Err(Unusable::Rcode(rcode)) => Err(Failure::Rcode(rcode)),
            Err(Unusable::Foreign) => Err(Failure::Malformed),
        }
    }

    /// Sends the query until a response arrives, with and without EDNS as planned. All copies have one port and
    /// one id, so that they are no easier to guess than a single one. The flag is whether one without EDNS was
    /// sent.
    async fn ask_udp(
        &self,
        asked: &Asked,
        again: Duration,
    ) -> Result<(Result<Response, Unusable>, bool), Failure> {
        let mut query = self.sockets.query(asked.question())?;
        let packet = |is_plain: bool, id| asked.packet(id, (!is_plain).then_some(self.marker));
        let mut plan = self.edns.plan(again);
        let mut sent_plain = false;
        loop {
            let (is_plain, pause) = plan.next_query();
            sent_plain |= is_plain;
            query.send(&packet(is_plain, query.id)).await?;
            if let Ok(arrival) = timeout(pause, query.response()).await {
                return Ok((arrival?, sent_plain));
            }
        }
    }

    /// Sends the query without EDNS.
    async fn ask_plainly(
        &self,
        asked: &Asked,
        again: Duration,
    ) -> Result<Result<Response, Unusable>, Failure> {
        let mut query = self.sockets.query(asked.question())?;
        let packet = asked.packet(query.id, None);
        loop {
            query.send(&packet).await?;
            if let Ok(arrival) = timeout(again, query.response()).await {
                return Ok(arrival?);
            }
        }
    }

    async fn ask_tcp(&self, asked: &Asked) -> Result<Response, Failure> {
        let Ok(_connection) = self.connections.acquire().await else {
            return Err(Failure::Silent);
        };
        let id = random_id()?;
        let packet = asked.packet(id, self.edns.is_tried().then_some(self.marker));
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        // A name, a type and an option: never longer.
        let len = u16::try_from(packet.len()).map_err(|_| Failure::Malformed)?;
        stream.write_all(&[&len.to_be_bytes()[..], &packet].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        match Response::read(answer, id, asked.question()) {
            Ok(response) => Ok(response),
            Err(Unusable::Rcode(rcode)) => Err(Failure::Rcode(rcode)),
            Err(Unusable::Foreign | Unusable::Malformed) => Err(Failure::Malformed),
        }
    }
}

fn random_id() -> Result<u16, rand::rngs::SysError> {
    let mut id = [0; 2];
    SysRng.try_fill_bytes(&mut id)?;
    Ok(u16::from_ne_bytes(id))
}
