//! Forwards questions for names outside all zones to upstreams.

mod cache;
mod edns;
mod exchange;
mod sockets;
mod upstream;

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, fs, io,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RData,
};
use resolv_conf::{Config, ScopedIp};
use tokio::sync::watch;

pub(crate) use self::exchange::DEADLINE;
use self::{cache::Cache, exchange::exchange, upstream::Upstream};
use crate::{
    alias::AliasAddresses,
    wire::{asked::Asked, response::Response},
};

/// Forwards questions for names outside all zones to other servers, the upstreams. With one, a
/// [`DnsServer`](crate::DnsServer) can be the resolver of a whole machine:
/// [`with_forwarder`](crate::DnsServerBuilder::with_forwarder).
///
/// - Names in zones of the table are never forwarded or cached, whether they exist or not. Clients that do
///   not desire recursion (RD is 0) are refused. The targets of aliases are forwarded in any case, since they
///   belong to the answer of a zone here.
/// - **Upstreams.** The first one is asked; the next one when it fails or has not answered for 1 s; all of
///   them in turn for up to 4 s. Then the client gets SERVFAIL, before it gives up (5 s in most resolvers).
///   An upstream that is slow or cannot be reached is asked last for the next 30 s. SERVFAIL, REFUSED, NOTIMP
///   and FORMERR count as failures.
/// - **Cache.** Answers are cached by name, type, class and the bits AD, CD and DO. They live for the lowest
///   TTL of their records, at most one day; NXDOMAIN and NODATA for what their SOA record says, at most one
///   hour, and not at all without one (RFC 2308); failures of all upstreams for 1 s (RFC 9520). Clients get
///   what is left of the TTLs. Truncated answers are not cached. The size is bounded:
///   [`ForwarderBuilder::with_cache_size`].
/// - **In flight.** Clients that ask the same at the same time wait for one query, which ends when none of
///   them waits any more. The [`DnsServer`](crate::DnsServer#answers-that-wait) bounds how many answers wait,
///   and divides them among clients.
/// - **Spoofing.** A query goes out of one of 32 connected sockets per upstream, drawn at random, with a
///   random id. The system draws the port of each socket; a socket is replaced after 64 queries or unexpected
///   datagrams, and after 30 s. Responses from elsewhere, with another id or to another question are ignored
///   (RFC 5452). So there are at most 64 sockets per upstream, half of them for last responses only, and 32
///   TCP connections.
/// - **Bytes.** Records are passed on byte for byte, whatever their types are (RFC 3597). EDNS is hop by hop:
///   queries to upstreams announce 1232 octets and have the client's DO bit, options are not passed on. An
///   upstream that refuses EDNS, or does not answer queries with EDNS within 500 ms, is asked without (RFC 6891
///   section 7); after three such failures in a row, it is asked without EDNS at once for ten minutes.
/// - **Truncation.** A truncated answer is asked for again over TCP, for up to 2 s; if that fails, it is
///   passed on with the TC bit. An answer that is too long for the client loses its additional records first,
///   then all but the first answers, with the TC bit (RFC 2181 section 9).
/// - **Chains.** Where the CNAME records of an answer lead into a zone of the table, the zone has the last
///   word, as if the chain had begun there; what the answer says about names of the zone is left out. A whole
///   chain takes at most 4 s.
/// - **Loops.** Every query with EDNS has an option 65001 (for local use, RFC 6891 section 9) of 8 random
///   octets. A query that an upstream sends back is recognized by it, and fails. Its name may belong to a
///   zone that does not exist here yet, so other names are still forwarded. A probe, a question for a name of
///   16 hexadecimal digits below `sd-loop.`, finds out whether all queries come back. It is sent beside the
///   first query and after failures. If it comes back, the upstream is ignored for 30 s, and an error is
///   logged. Upstreams see the option and the probes.
///
/// It is a handle: servers that share one share its queries and its cache.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

struct Inner {
    upstreams: Vec<Upstream>,
    cache: Cache,
    in_flight: Mutex<HashMap<Asked, Arc<watch::Sender<Option<Outcome>>>>>,
}

/// What the upstreams answer: `None` if all of them fail.
type Outcome = Option<Arc<Response>>;

/// Settings of a [`Forwarder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ForwarderBuilder {
    upstreams: Vec<SocketAddr>,
    cache_size: usize,
}

impl ForwarderBuilder {
    const CACHE_SIZE: usize = 8 << 20;

    /// Limits the cache to this many octets, by default 8 MiB; 0 turns it off. An answer takes its length,
    /// its question's length and 256 octets, so that 8 MiB hold up to 32,768 answers. The least used ones are
    /// evicted first. An answer that is larger than a small part of the cache may not be cached.
    pub fn with_cache_size(mut self, octets: usize) -> Self {
        self.cache_size = octets;
        self
    }

    /// Builds the forwarder.
    #[must_use]
    pub fn build(self) -> Forwarder {
        let upstreams = self.upstreams.into_iter().map(Upstream::new).collect();
        let cache = Cache::new(self.cache_size);
        Forwarder(Arc::new(Inner { upstreams, cache, in_flight: Mutex::default() }))
    }
}

/// The resolvers of this system cannot be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemResolverError {
    /// The file does not exist or cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The file has no usable `nameserver` line.
    #[error("no nameserver in {path}")]
    NoServer {
        /// The file.
        path: &'static str,
    },
}

impl Forwarder {
    const RESOLV_CONF: &str = "/etc/resolv.conf";
    const PORT: u16 = 53;

    /// Forwards to these servers with the default settings, preferring the first ones. Without any, every
    /// question fails.
    #[must_use]
    pub fn new(upstreams: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::builder(upstreams).build()
    }

    /// Settings of a forwarder to these servers. See [`new`](Self::new).
    pub fn builder(upstreams: impl IntoIterator<Item = SocketAddr>) -> ForwarderBuilder {
        let upstreams = upstreams.into_iter().collect();
        ForwarderBuilder { upstreams, cache_size: ForwarderBuilder::CACHE_SIZE }
    }

    /// Forwards to the resolvers of this system: the `nameserver` lines that `/etc/resolv.conf` has now.
    ///
    /// # Errors
    /// The file cannot be read, or has no usable `nameserver` line.
    pub fn system() -> Result<Self, SystemResolverError> {
        let path = Self::RESOLV_CONF;
        let text = fs::read(path).map_err(|source| SystemResolverError::Unreadable { path, source })?;
        let (config, faults) = Config::parse_with_errors(&text);
        for fault in faults {
            tracing::debug!(path, error = %fault, "ignoring a line of resolv.conf");
        }
        let addresses: Vec<_> = config.nameservers.iter().filter_map(address).collect();
        if addresses.is_empty() {
            Err(SystemResolverError::NoServer { path })
        } else {
            Ok(Self::new(addresses))
        }
    }

    /// The upstreams, the preferred one first.
    pub fn upstreams(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.upstreams.iter().map(|upstream| upstream.address)
    }

    /// The cached answer to a question. `Some(None)` if all upstreams have just failed.
    pub(crate) fn cached(&self, asked: &Asked) -> Option<Outcome> {
        self.0.cache.get(asked)
    }

    /// How many questions were answered from the cache, and how many had to wait for upstreams.
    pub(crate) fn cache_counts(&self) -> (u64, u64) {
        self.0.cache.counts()
    }

    /// Waits for the answer to a question, which may be in flight already. `None` if all upstreams fail.
    pub(crate) async fn ask(&self, asked: Asked) -> Outcome {
        if let Some(outcome) = self.cached(&asked) {
            return outcome;
        }
        self.0.cache.missed();
        let mut outcome = self.join(asked);
        // It fails only when the runtime ends.
        outcome.wait_for(Option::is_some).await.ok()?.clone().flatten()
    }

    fn join(&self, asked: Asked) -> watch::Receiver<Option<Outcome>> {
        let (question, receiver) = match self.in_flight().entry(asked) {
            Entry::Occupied(entry) => return entry.get().subscribe(),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                let sender = Arc::new(sender);
                let asked = entry.key().clone();
                entry.insert(Arc::clone(&sender));
                (InFlight { forwarder: self.clone(), asked, sender }, receiver)
            }
        };
        // A task of its own: the client that was first may go away.
        tokio::spawn(question.run());
        receiver
    }

    /// Whether a query that this server received, for this question, is one that was sent to an upstream. The
    /// upstream remembers it.
    pub(crate) fn has_sent(&self, query: &[u8], asked: &Asked) -> bool {
        let upstream = self.0.upstreams.iter().find(|upstream| upstream.has_got(query, asked));
        if let Some(upstream) = upstream {
            upstream.returns(asked);
        }
        upstream.is_some()
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Asked, Arc<watch::Sender<Option<Outcome>>>>> {
        self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question in flight, until this is dropped: by its answer, when nobody waits, or by the end of the
/// runtime.
struct InFlight {
    forwarder: Forwarder,
    asked: Asked,
    sender: Arc<watch::Sender<Option<Outcome>>>,
}

impl InFlight {
    async fn run(self) {
        let inner = &self.forwarder.0;
        let mut exchange = pin!(exchange(&inner.upstreams, &self.asked));
        let outcome = loop {
            tokio::select! {
                // An outcome is kept, also if the last client has just given up.
                biased;
                outcome = &mut exchange => break outcome,
                () = self.sender.closed() => {
                    if self.is_abandoned() {
                        return;
                    }
                }
            }
        };
        inner.cache.insert(&self.asked, &outcome);
        self.end();
        self.sender.send_replace(Some(outcome));
    }

    /// Ends the question if nobody waits for it; somebody may just have joined.
    fn is_abandoned(&self) -> bool {
        let mut in_flight = self.forwarder.in_flight();
        let is_abandoned = self.sender.receiver_count() == 0;
        if is_abandoned {
            in_flight.remove(&self.asked);
        }
        is_abandoned
    }

    /// No other client can join any more.
    fn end(&self) {
        let mut in_flight = self.forwarder.in_flight();
        if in_flight.get(&self.asked).is_some_and(|sender| Arc::ptr_eq(sender, &self.sender)) {
            in_flight.remove(&self.asked);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").field("upstreams", &self.0.upstreams).finish_non_exhaustive()
    }
}

/// The address of a `nameserver` line. `None` if its scope is the name of an interface: only numbers are
/// supported.
fn address(server: &ScopedIp) -> Option<SocketAddr> {
    match server {
        ScopedIp::V4(address) => Some((*address, Forwarder::PORT).into()),
        ScopedIp::V6(address, None) => Some((*address, Forwarder::PORT).into()),
        ScopedIp::V6(address, Some(scope)) => {
            let scope = scope.parse().ok()?;
            Some(std::net::SocketAddrV6::new(*address, Forwarder::PORT, 0, scope).into())
        }
    }
}

/// The addresses of an answer, with the lowest TTL on the way to them. The error is the code of an answer
/// without addresses to rely on.
pub(crate) fn addresses(answer: &[u8]) -> Result<AliasAddresses, ResponseCode> {
    let parsed = Message::from_vec(answer).map_err(|_| ResponseCode::FormErr)?;
    match parsed.metadata.response_code {
        ResponseCode::NoError => {}
        code => return Err(code),
    }
    let addresses = parsed.answers.iter().filter_map(|record| match record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    });
    let ttl = parsed.answers.iter().map(|record| record.ttl).min().unwrap_or_default();
    let found = AliasAddresses::new(ttl, addresses);
    // Some may be missing, but not all of them.
    if parsed.metadata.truncation && found.addresses.is_empty() {
        return Err(ResponseCode::ServFail);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::UdpSocket;

    use super::*;
    use crate::wire::kind;

    #[tokio::test(start_paused = true)]
    async fn a_question_that_nobody_waits_for_ends() {
        let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let forwarder = Forwarder::new([upstream.local_addr().unwrap()]);
        let asked = Asked::new(b"\x03web\0", kind::A);
        let [one, other] = [(); 2].map(|()| {
            let (forwarder, asked) = (forwarder.clone(), asked.clone());
            tokio::spawn(async move { forwarder.ask(asked).await.is_some() })
        });
        // The question and the probe.
        let mut room = [0; 512];
        for _ in 0..2 {
            upstream.recv(&mut room).await.unwrap();
        }
        one.abort();
        assert!(one.await.is_err());
        tokio::task::yield_now().await;
        assert_eq!(forwarder.in_flight().len(), 1, "one of two still waits");
        other.abort();
        assert!(other.await.is_err());
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(forwarder.in_flight().len(), 0);
        assert_eq!(forwarder.cache_counts(), (0, 2));
        assert!(forwarder.cached(&asked).is_none(), "it has not failed");
    }

    /// Answers all queries with NXDOMAIN.
    async fn answer_all(upstream: UdpSocket) {
        let mut room = [0; 512];
        while let Ok((len, from)) = upstream.recv_from(&mut room).await {
            room[2..4].copy_from_slice(&[0x81, 0x83]);
            upstream.send_to(&room[..len], from).await.unwrap();
        }
    }

    #[test]
    fn a_forwarder_outlives_a_runtime() {
        let upstream = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        upstream.set_nonblocking(true).unwrap();
        let forwarder = Forwarder::builder([upstream.local_addr().unwrap()]).with_cache_size(0).build();
        for _ in 0..2 {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            runtime.unwrap().block_on(async {
                tokio::spawn(answer_all(UdpSocket::from_std(upstream.try_clone().unwrap()).unwrap()));
                // Enough to use all sockets.
                for kind in 1..250 {
                    assert!(forwarder.ask(Asked::new(b"\x03web\0", kind)).await.is_some(), "{kind}");
                }
            });
        }
    }
}
