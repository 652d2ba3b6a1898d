//! Forwards queries for names in no zone to upstreams.

mod cache;
mod edns_support;
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
    wire::{upstream_query::UpstreamQuery, upstream_response::UpstreamResponse},
};

/// Forwards queries for names in no zone to other DNS servers, the upstreams. With a forwarder, a
/// [`DnsServer`](crate::DnsServer) can be the resolver of a whole machine:
/// [`with_forwarder`](crate::DnsServerBuilder::with_forwarder).
///
/// A forwarder is a handle: servers that share a clone share its queries and its cache.
///
/// # Examples
/// ```
/// use sd_dns::{DnsServer, Forwarder, NameTable};
///
/// let forwarder = Forwarder::builder(["192.0.2.53:53".parse()?, "[2001:db8::53]:53".parse()?])
///     .with_cache_size(1 << 20)
///     .build();
/// assert_eq!(forwarder.upstreams().count(), 2);
/// let builder = DnsServer::builder(NameTable::new()).with_forwarder(forwarder);
/// # drop(builder);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
///
/// # What it does
/// - **Which queries.** Names in zones of the table are never forwarded or cached, whether they exist or not. Queries
///   without the RD bit are REFUSED. The targets of aliases are always forwarded, because they belong to the response
///   for a name in a zone.
/// - **Upstreams.** The first upstream is queried. The next one is queried when it fails or takes longer than 1 s. All
///   of them are tried in turn for up to 4 s; then the client gets SERVFAIL, before it gives up (after 5 s in most
///   resolvers). An upstream that is slow or unreachable is tried last for the next 30 s. SERVFAIL, REFUSED, NOTIMP and
///   FORMERR count as failures.
/// - **Cache.** Responses are cached by name, type, class and the bits AD, CD and DO. They are kept for the lowest TTL
///   of their records, at most one day. NXDOMAIN and NODATA are kept as long as their SOA record says, at most one hour,
///   and not at all without one (RFC 2308). Failures of all upstreams are kept for 1 s (RFC 9520). Clients get the
///   remaining TTLs. Truncated responses are not cached. The size is bounded: [`ForwarderBuilder::with_cache_size`].
/// - **Identical queries.** Clients that ask the same at the same time share one upstream query. It ends when no client
///   waits any more. The [`DnsServer`](crate::DnsServer#pending-responses) limits how many responses wait, and divides
///   them among clients.
/// - **Spoofing.** Each query uses a random id and one of 32 connected sockets per upstream, drawn at random. The system
///   draws the port of each socket. A socket is replaced after 64 queries or unexpected datagrams, and after 30 s.
///   Responses from another address, with another id or to another question are ignored (RFC 5452). There are at most
///   64 sockets per upstream, half of them for outstanding responses only, and 32 TCP connections.
/// - **Records.** Records are forwarded octet by octet, whatever their types are (RFC 3597).
/// - **EDNS** is hop by hop. Queries to upstreams announce 1232 octets and copy the client's DO bit; options are not
///   forwarded. An upstream that refuses EDNS, or does not answer a query with EDNS within 500 ms, is queried without
///   (RFC 6891 section 7). After three such failures in a row it is queried without EDNS for ten minutes.
/// - **Truncation.** A truncated response is requested again over TCP, for up to 2 s. If that fails, it is forwarded with
///   the TC bit. A response that is too long for the client loses its additional records first, then all but its first
///   answers, and gets the TC bit (RFC 2181 section 9).
/// - **CNAME chains.** Where an upstream's CNAME records lead into a zone of the table, the zone answers from there on,
///   as if the chain had begun there; what the upstream says about names of the zone is dropped. A whole chain takes at
///   most 4 s.
/// - **Loops.** Every query with EDNS has an option 65001 (for local use, RFC 6891 section 9) of 8 random octets. A query
///   that comes back with it is SERVFAIL. Other names are still forwarded, because the zone of that name may be created
///   later. A probe, a query for a name of 16 hexadecimal digits below `sd-loop.`, finds out whether all queries come
///   back. It is sent beside the first query and after failures. If it comes back, the upstream is ignored for 30 s, and
///   an error is logged. Operators of upstreams see the option and the probes.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

struct Inner {
    upstreams: Vec<Upstream>,
    cache: Cache,
    in_flight: Mutex<InFlightQueries>,
}

type InFlightQueries = HashMap<UpstreamQuery, Arc<watch::Sender<Option<Outcome>>>>;

/// The response of the upstreams; `None` if all of them failed.
type Outcome = Option<Arc<UpstreamResponse>>;

/// Settings of a [`Forwarder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ForwarderBuilder {
    upstreams: Vec<SocketAddr>,
    cache_size: usize,
}

impl ForwarderBuilder {
    const CACHE_SIZE: usize = 8 << 20;

    /// Sets the size of the cache in octets, by default 8 MiB; 0 turns it off. A response takes its length, the length of
    /// its question and 256 octets, so 8 MiB hold up to 32,768 responses. The least used ones are evicted first.
    /// Responses longer than 4,096 octets or with more than 64 records are not cached, nor those that take up too much
    /// of a small cache.
    pub fn with_cache_size(mut self, octets: usize) -> Self {
        self.cache_size = octets;
        self
    }

    /// Builds the forwarder. Sockets are opened by the first query.
    #[must_use]
    pub fn build(self) -> Forwarder {
        let upstreams = self.upstreams.into_iter().map(Upstream::new).collect();
        let cache = Cache::new(self.cache_size);
        Forwarder(Arc::new(Inner { upstreams, cache, in_flight: Mutex::default() }))
    }
}

/// The resolvers of this system are unknown: the error of [`Forwarder::system`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemResolverError {
    /// The file does not exist or is unreadable.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The path of the file.
        path: &'static str,
        /// The error of reading it.
        source: io::Error,
    },
    /// The file has no usable `nameserver` line.
    #[error("no usable nameserver line in {path}: expected `nameserver IP`")]
    NoServer {
        /// The path of the file.
        path: &'static str,
    },
}

impl Forwarder {
    const RESOLV_CONF: &str = "/etc/resolv.conf";
    const PORT: u16 = 53;

    /// A forwarder to these upstreams with the default settings. The first ones are preferred. Without upstreams every
    /// forwarded query is SERVFAIL.
    #[must_use]
    pub fn new(upstreams: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::builder(upstreams).build()
    }

    /// Settings of a forwarder to these upstreams. See [`new`](Self::new).
    pub fn builder(upstreams: impl IntoIterator<Item = SocketAddr>) -> ForwarderBuilder {
        let upstreams = upstreams.into_iter().collect();
        ForwarderBuilder { upstreams, cache_size: ForwarderBuilder::CACHE_SIZE }
    }

    /// A forwarder to the resolvers of this system: the `nameserver` lines of `/etc/resolv.conf` at this moment, on port
    /// 53. Later changes of the file are not noticed.
    ///
    /// # Errors
    /// The file cannot be read, or has no usable `nameserver` line.
    pub fn system() -> Result<Self, SystemResolverError> {
        let path = Self::RESOLV_CONF;
        let text = fs::read(path).map_err(|source| SystemResolverError::Unreadable { path, source })?;
        let (config, faults) = Config::parse_with_errors(&text);
        for fault in faults {
            tracing::debug!(path, error = %fault, "ignoring an invalid line");
        }
        let addresses: Vec<_> = config.nameservers.iter().filter_map(address).collect();
        if addresses.is_empty() {
            Err(SystemResolverError::NoServer { path })
        } else {
            Ok(Self::new(addresses))
        }
    }

    /// The addresses of the upstreams, the preferred one first.
    pub fn upstreams(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.upstreams.iter().map(|upstream| upstream.address)
    }

    /// The cached response to a query. `Some(None)` if all upstreams have just failed.
    pub(crate) fn cached(&self, query: &UpstreamQuery) -> Option<Outcome> {
        self.0.cache.get(query)
    }

    /// Cache hits and misses.
    pub(crate) fn cache_counts(&self) -> (u64, u64) {
        self.0.cache.counts()
    }

    /// Waits for the response to a query, which may be in flight already. `None` if all upstreams fail.
    pub(crate) async fn query(&self, query: UpstreamQuery) -> Outcome {
        if let Some(outcome) = self.cached(&query) {
            return outcome;
        }
        self.0.cache.missed();
        let mut outcome = self.join(query);
        // Fails only if the runtime ends.
        outcome.wait_for(Option::is_some).await.ok()?.clone().flatten()
    }

    /// Joins the query in flight that equals this one, or sends it.
    fn join(&self, query: UpstreamQuery) -> watch::Receiver<Option<Outcome>> {
        let (in_flight, receiver) = match self.in_flight().entry(query) {
            Entry::Occupied(entry) => return entry.get().subscribe(),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                let sender = Arc::new(sender);
                let query = entry.key().clone();
                entry.insert(Arc::clone(&sender));
                (InFlight { forwarder: self.clone(), query, sender }, receiver)
            }
        };
        // A task of its own, because the first client may give up before the others.
        tokio::spawn(in_flight.run());
        receiver
    }

    /// Whether a received packet is a query that was sent to an upstream. Notes that the upstream sent it back.
    pub(crate) fn has_sent(&self, packet: &[u8], query: &UpstreamQuery) -> bool {
        let upstream = self.0.upstreams.iter().find(|upstream| upstream.was_sent(packet, query));
        if let Some(upstream) = upstream {
            upstream.sent_back(query);
        }
        upstream.is_some()
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlightQueries> {
        self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query in flight. It is dropped when it is answered, when no client waits, and with the runtime.
struct InFlight {
    forwarder: Forwarder,
    query: UpstreamQuery,
    sender: Arc<watch::Sender<Option<Outcome>>>,
}

impl InFlight {
    async fn run(self) {
        let inner = &self.forwarder.0;
        let mut exchange = pin!(exchange(&inner.upstreams, &self.query));
        let outcome = loop {
            tokio::select! {
                // Prefer the outcome, so that it is cached even if the last client has just given up.
                biased;
                outcome = &mut exchange => break outcome,
                () = self.sender.closed() => {
                    if self.is_abandoned() {
                        return;
                    }
                }
            }
        };
        inner.cache.insert(&self.query, &outcome);
        self.end();
        self.sender.send_replace(Some(outcome));
    }

    /// Removes the query if no client waits for it. A client may have joined meanwhile.
    fn is_abandoned(&self) -> bool {
        let mut in_flight = self.forwarder.in_flight();
        let is_abandoned = self.sender.receiver_count() == 0;
        if is_abandoned {
            in_flight.remove(&self.query);
        }
        is_abandoned
    }

    /// Removes the query, so that no client joins it.
    fn end(&self) {
        let mut in_flight = self.forwarder.in_flight();
        if in_flight.get(&self.query).is_some_and(|sender| Arc::ptr_eq(sender, &self.sender)) {
            in_flight.remove(&self.query);
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

/// The address of a `nameserver` line. `None` if its scope is an interface's name: only numeric scopes are supported.
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

/// The addresses of a response, with the lowest TTL of its CNAME chain. The error is the response code of a response
/// without usable addresses.
pub(crate) fn addresses(response: &[u8]) -> Result<AliasAddresses, ResponseCode> {
    let parsed = Message::from_vec(response).map_err(|_| ResponseCode::FormErr)?;
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
    // Some of the addresses are enough.
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
    use crate::wire::rtype;

    #[tokio::test(start_paused = true)]
    async fn a_query_without_waiting_clients_ends() {
        let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let forwarder = Forwarder::new([upstream.local_addr().unwrap()]);
        let query = UpstreamQuery::new(b"\x03web\0", rtype::A);
        let [one, other] = [(); 2].map(|()| {
            let (forwarder, query) = (forwarder.clone(), query.clone());
            tokio::spawn(async move { forwarder.query(query).await.is_some() })
        });
        // The query and the probe.
        let mut room = [0; 512];
        for _ in 0..2 {
            upstream.recv(&mut room).await.unwrap();
        }
        one.abort();
        assert!(one.await.is_err());
        tokio::task::yield_now().await;
        assert_eq!(forwarder.in_flight().len(), 1, "one of two clients still waits");
        other.abort();
        assert!(other.await.is_err());
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(forwarder.in_flight().len(), 0);
        assert_eq!(forwarder.cache_counts(), (0, 2));
        assert!(forwarder.cached(&query).is_none(), "no failure is cached");
    }

    #[test]
    fn nameservers_are_at_port_53_and_may_have_a_numeric_scope() {
        let link_local = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        let of = |server: ScopedIp| address(&server).map(|address| address.to_string());
        assert_eq!(of(ScopedIp::V4(Ipv4Addr::LOCALHOST)).as_deref(), Some("127.0.0.1:53"));
        assert_eq!(of(ScopedIp::V6(link_local, None)).as_deref(), Some("[fe80::1]:53"));
        assert_eq!(of(ScopedIp::V6(link_local, Some("2".to_owned()))).as_deref(), Some("[fe80::1%2]:53"));
        assert_eq!(of(ScopedIp::V6(link_local, Some("eth0".to_owned()))), None);
    }

    #[test]
    fn a_query_ends_with_its_runtime() {
        let upstream = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let forwarder = Forwarder::new([upstream.local_addr().unwrap()]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let waiting = forwarder.clone();
        runtime
            .spawn(async move { waiting.query(UpstreamQuery::new(b"\x03web\0", rtype::A)).await.is_some() });
        runtime.block_on(async {
            while forwarder.in_flight().is_empty() {
                tokio::task::yield_now().await;
            }
        });
        drop(runtime);
        assert!(forwarder.in_flight().is_empty(), "no client may join a query that is never answered");
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
                // Enough queries to use all sockets.
                for qtype in 1..250 {
                    assert!(
                        forwarder.query(UpstreamQuery::new(b"\x03web\0", qtype)).await.is_some(),
                        "{qtype}"
                    );
                }
            });
        }
    }
}
