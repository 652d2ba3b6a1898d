//! Queries one upstream, and remembers how it behaves.

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

use super::{edns_support::EdnsSupport, sockets::Sockets};
use crate::wire::{
    Rcode, rtype,
    upstream_query::{LoopMarker, UpstreamQuery},
    upstream_response::{Unusable, UpstreamResponse},
};

/// A server that queries are forwarded to.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    sockets: Sockets,
    /// Permits for TCP connections.
    connections: Semaphore,
    /// Sent with every query, so that our own queries are recognized when they come back.
    marker: LoopMarker,
    /// A query for a name that nobody else asks for. It is recognized even if servers on the way drop the marker.
    probe: UpstreamQuery,
    /// Held while the probe is in flight.
    probing: tokio::sync::Mutex<()>,
    status: Mutex<Status>,
    edns: EdnsSupport,
    /// When a failure was last logged as a warning.
    warned: Mutex<Option<Instant>>,
    /// Notified when a forwarding loop is detected.
    looped: Notify,
}

#[derive(Clone, Copy, Debug)]
enum Status {
    New,
    Works,
    Failed(Instant),
    /// It sends our queries back.
    Loops(Instant),
}

/// When an upstream is queried, compared with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Preference {
    First,
    Last,
    Never,
}

/// Why an upstream query failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("response code {0}")]
    Rcode(u16),
    #[error("malformed response")]
    Malformed,
    #[error("no response within {} s", super::DEADLINE.as_secs())]
    Silent,
    #[error("forwarding loop")]
    Loops,
    #[error("the upstream sent the query back to this server")]
    SentBack,
    #[error("all query ids are in use")]
    NoId,
    #[error("cannot draw a query id: {0}")]
    NoRandom(#[from] rand::rngs::SysError),
}

impl Upstream {
    /// How long a failed upstream is queried last, and one that loops is ignored.
    const AVOIDED: Duration = Duration::from_secs(30);
    /// The most TCP connections at a time.
    const CONNECTIONS: usize = 32;
    /// How long a TCP query may take before the truncated response is forwarded.
    const CONNECTION_TIME: Duration = Duration::from_secs(2);
    /// How long before the deadline a TCP query ends at the latest.
    const MARGIN: Duration = Duration::from_millis(100);
    /// Response codes of servers without EDNS (RFC 6891 section 7, RFC 2671 section 5.3).
    const NO_EDNS: [Rcode; 2] = [Rcode::FormErr, Rcode::NotImp];
    /// The domain of the probes' names. It is not delegated.
    const PROBE_DOMAIN: &[u8] = b"\x07sd-loop\0";

    pub(super) fn new(address: SocketAddr) -> Self {
        let mut marker = [0; 8];
        // Must be distinct, need not be secret.
        if SysRng.try_fill_bytes(&mut marker).is_err() {
            marker[..2].copy_from_slice(&address.port().to_be_bytes());
        }
        let label = format!("{:016x}", u64::from_ne_bytes(marker));
        let name = [b"\x10", label.as_bytes(), Self::PROBE_DOMAIN].concat();
        Self {
            address,
            sockets: Sockets::new(address),
            connections: Semaphore::new(Self::CONNECTIONS),
            marker: LoopMarker(marker),
            probe: UpstreamQuery::new(&name, rtype::A),
            probing: tokio::sync::Mutex::const_new(()),
            status: Mutex::new(Status::New),
            edns: EdnsSupport::new(),
            warned: Mutex::new(None),
            looped: Notify::new(),
        }
    }

    pub(super) fn preference(&self) -> Preference {
        match *self.status() {
            Status::Loops(since) if since.elapsed() < Self::AVOIDED => Preference::Never,
            Status::Failed(since) if since.elapsed() < Self::AVOIDED => Preference::Last,
            Status::New | Status::Works | Status::Failed(_) | Status::Loops(_) => Preference::First,
        }
    }

    pub(super) fn succeeded(&self) {
        *self.status() = Status::Works;
    }

    /// Notes and logs a failure. The upstream is queried last for a while, unless it responded with an error code.
    pub(super) fn failed(&self, failure: &Failure) {
        match failure {
            Failure::Rcode(_) | Failure::Loops | Failure::SentBack | Failure::NoId | Failure::NoRandom(_) => {
            }
            Failure::Io(_) | Failure::Malformed | Failure::Silent => self.is_slow(),
        }
        self.log(failure);
    }

    /// Notes that no response came in time.
    pub(super) fn is_slow(&self) {
        let mut status = self.status();
        if !matches!(*status, Status::Loops(_)) {
            *status = Status::Failed(Instant::now());
        }
    }

    /// Logs a failure. One that may concern all queries is a warning, at most one each 30 s.
    pub(super) fn log(&self, failure: &Failure) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = warned.is_none_or(|warned| warned.elapsed() >= Self::AVOIDED);
        if is_new && !matches!(failure, Failure::Rcode(_) | Failure::Loops) {
            *warned = Some(Instant::now());
            tracing::warn!(upstream = %self.address, error = %failure, "upstream query failed");
        } else {
            tracing::debug!(upstream = %self.address, error = %failure, "upstream query failed");
        }
    }

    /// Whether a received packet is a query that was sent to this upstream.
    pub(super) fn was_sent(&self, packet: &[u8], query: &UpstreamQuery) -> bool {
        self.probe == *query || self.marker.is_in(packet)
    }

    /// Notes that the upstream sent a query back. The probe proves that it sends all queries back. Any other name may
    /// belong to a zone that is created later, for which the upstream is configured to query this server; so the next
    /// query is sent with a probe.
    pub(super) fn sent_back(&self, query: &UpstreamQuery) {
        if self.probe == *query {
            self.detect_loop();
            return;
        }
        self.log(&Failure::SentBack);
        let mut status = self.status();
        if matches!(*status, Status::Works) {
            *status = Status::New;
        }
    }

    fn detect_loop(&self) {
        let mut status = self.status();
        if !matches!(*status, Status::Loops(since) if since.elapsed() < Self::AVOIDED) {
            tracing::error!(
                upstream = %self.address,
                "forwarding loop: upstream sends our queries back; ignoring it for {} s; remove it from the \
                 upstreams or stop it from forwarding to this server",
                Self::AVOIDED.as_secs()
            );
            *status = Status::Loops(Instant::now());
        }
        drop(status);
        self.looped.notify_waiters();
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a query, and again after each `retry_after` without a response. A truncated response is requested over TCP
    /// before the deadline.
    ///
    /// # Errors
    /// The upstream failed, or sends queries back. Without a response it never returns.
    pub(super) async fn query(
        &self,
        query: &UpstreamQuery,
        retry_after: Duration,
        deadline: Instant,
    ) -> Result<UpstreamResponse, Failure> {
        let probe = async {
            // The response to a probe does not matter. An upstream that responds to queries needs none, and one at a time
            // is enough.
            let works = matches!(*self.status(), Status::Works);
            if !works && let Ok(_guard) = self.probing.try_lock() {
                drop(self.query_udp(&self.probe, retry_after).await);
            }
            std::future::pending().await
        };
        tokio::select! {
            result = self.query_any(query, retry_after, deadline) => result,
            () = self.looped.notified() => Err(Failure::Loops),
            never = probe => never,
        }
    }

    /// Queries over UDP, then without EDNS if the upstream does not support it, then over TCP if the response is truncated
    /// or malformed.
    async fn query_any(
        &self,
        query: &UpstreamQuery,
        retry_after: Duration,
        deadline: Instant,
    ) -> Result<UpstreamResponse, Failure> {
        let (mut result, sent_plain) = self.query_udp(query, retry_after).await?;
        if let Ok(response) = &result {
            self.edns.answered(sent_plain, response.has_edns);
        }
        if let Err(Unusable::Rcode(rcode)) = result
            && self.edns.is_on()
            && Self::NO_EDNS.into_iter().any(|code| rcode == code.into())
        {
            result = self.query_plain(query, retry_after).await?;
            if result.is_ok() {
                self.edns.failed();
            }
        }
        match result {
            Ok(response) if response.truncated => {
                // A truncated response is better than none.
                let end = (Instant::now() + Self::CONNECTION_TIME).min(deadline - Self::MARGIN);
                match timeout_at(end, self.query_tcp(query)).await {
                    Ok(Ok(whole)) => Ok(whole),
                    Ok(Err(failure)) => {
                        self.log(&failure);
                        Ok(response)
                    }
                    Err(_) => {
                        tracing::debug!(upstream = %self.address, "no response over TCP in time");
                        Ok(response)
                    }
                }
            }
            Ok(response) => Ok(response),
            Err(Unusable::Malformed) => self.query_tcp(query).await,
            Err(Unusable::Rcode(rcode)) => Err(Failure::Rcode(rcode)),
            Err(Unusable::Foreign) => Err(Failure::Malformed),
        }
    }

    /// Sends the query until a response arrives, with and without EDNS as planned. All copies have the same port and id,
    /// so that they are no easier to guess than one. The flag is whether a query without EDNS was sent.
    async fn query_udp(
        &self,
        query: &UpstreamQuery,
        retry_after: Duration,
    ) -> Result<(Result<UpstreamResponse, Unusable>, bool), Failure> {
        let mut sent = self.sockets.query(query.question())?;
        let packet = |is_plain: bool, id| query.encode(id, (!is_plain).then_some(self.marker));
        let mut plan = self.edns.plan(retry_after);
        let mut sent_plain = false;
        loop {
            let (is_plain, wait) = plan.next_query();
            sent_plain |= is_plain;
            sent.send(&packet(is_plain, sent.id)).await?;
            if let Ok(arrival) = timeout(wait, sent.response()).await {
                return Ok((arrival?, sent_plain));
            }
        }
    }

    /// Sends the query without EDNS until a response arrives.
    async fn query_plain(
        &self,
        query: &UpstreamQuery,
        retry_after: Duration,
    ) -> Result<Result<UpstreamResponse, Unusable>, Failure> {
        let mut sent = self.sockets.query(query.question())?;
        let packet = query.encode(sent.id, None);
        loop {
            sent.send(&packet).await?;
            if let Ok(arrival) = timeout(retry_after, sent.response()).await {
                return Ok(arrival?);
            }
        }
    }

    async fn query_tcp(&self, query: &UpstreamQuery) -> Result<UpstreamResponse, Failure> {
        let Ok(_connection) = self.connections.acquire().await else {
            return Err(Failure::Silent);
        };
        let id = random_id()?;
        let packet = query.encode(id, self.edns.is_on().then_some(self.marker));
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        // Always fits: a question and an option.
        let len = u16::try_from(packet.len()).map_err(|_| Failure::Malformed)?;
        stream.write_all(&[&len.to_be_bytes()[..], &packet].concat()).await?;
        let mut response = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut response).await?;
        match UpstreamResponse::read(response, id, query.question()) {
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
