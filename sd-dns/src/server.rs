//! A DNS server: sockets, workers and connections.

mod bind;
mod datagrams;
mod pending_limit;
mod tcp;
mod udp;

use std::{fmt, net::SocketAddr, num::NonZero, sync::Arc, thread::available_parallelism, time::Duration};

use sd_net::{Connections, Drain};
use tokio::{
    net::{TcpListener, UdpSocket},
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

pub use self::bind::BindError;
use self::{
    bind::BoundSockets,
    datagrams::SystemBatch,
    pending_limit::{PendingLimit, Permit},
};
use crate::{
    alias::AliasResolver,
    answerer::{Answerer, Resolvers},
    counters::{Counters, Counts, ResponseSummary, WorkerCounters},
    forward::{self, Forwarder},
    name_table::NameTable,
    response::{Missing, PendingResponse},
    wire::Transport,
};

/// A DNS server on any number of addresses, each over UDP and TCP. It serves until it is shut down or dropped.
///
/// It runs as tasks of the tokio runtime that it was bound in, which must have I/O and time enabled.
///
/// # Examples
/// ```
/// use std::net::Ipv4Addr;
///
/// use sd_dns::{DnsServer, NameTable};
/// use tokio::net::UdpSocket;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Port 0: any free port.
/// let server = DnsServer::bind(NameTable::new(), [(Ipv4Addr::LOCALHOST, 0).into()]).await?;
///
/// let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
/// let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";
/// client.send_to(query, server.local_addrs()[0]).await?;
/// let mut response = [0; 512];
/// client.recv(&mut response).await?;
/// const REFUSED: u8 = 5;
/// assert_eq!(response[3] & 0x0F, REFUSED);
///
/// assert_eq!(server.counters().by_rcode[&5], 1);
/// server.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// # Pending responses
/// A response that needs a [`Forwarder`] or an [`AliasResolver`] is pending until they answer. At most 4,096 responses
/// are pending at a time, over all sockets and connections. A client is an IPv4 address or an IPv6 network of 64 bits.
/// It may have as many pending responses as there are free places: 2,048 while it is alone, a third beside another busy
/// client, and so on. One more takes the place of the oldest response of the client with the most, or, if that is the
/// client itself, of its own oldest. The response that gives way is SERVFAIL; if it has waited for less than 200 ms, the
/// new one is SERVFAIL instead. Other clients do not notice. A TCP connection is not read while 128 of its responses
/// are pending.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct DnsServer {
    table: NameTable,
    resolvers: Resolvers,
    settings: Settings,
    runtime: Handle,
    addresses: Vec<SocketAddr>,
    /// In the order of the addresses.
    listeners: Vec<AddressTasks>,
    /// Of all addresses.
    connections: Connections,
    tcp: Arc<WorkerCounters>,
    pending: Arc<PendingLimit>,
    /// The counts of addresses that were closed.
    closed: Counts,
}

/// The tasks of one address.
#[derive(Debug)]
struct AddressTasks {
    stop: watch::Sender<bool>,
    drain: Drain,
    tasks: JoinSet<()>,
    counters: Vec<Arc<WorkerCounters>>,
}

/// Settings of a [`DnsServer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is bound"]
pub struct DnsServerBuilder {
    table: NameTable,
    resolvers: Resolvers,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    udp_workers: NonZero<usize>,
    max_connections: NonZero<usize>,
    idle_timeout: Duration,
}

/// How long a draining socket is polled. The runtime needs this time to notice what the system has received.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

/// The most turns of a draining socket, in case a client never stops sending.
const DRAIN_TURNS: usize = 64;

/// How long an alias resolver may take: less than the time after which clients retry.
const ALIAS_TIMEOUT: Duration = Duration::from_secs(2);

/// How much longer a response waits than the forwarder may take, so that a failure of the forwarder is cached.
const GRACE: Duration = Duration::from_millis(100);

/// Appends a pending response once it is complete; SERVFAIL after the time limit, or when its permit is revoked.
async fn complete(
    answerer: &Answerer,
    pending: &PendingResponse,
    permit: &mut Permit,
    out: &mut Vec<u8>,
) -> ResponseSummary {
    let limit = match pending.missing() {
        Missing::Addresses(_) => ALIAS_TIMEOUT,
        // For all upstream queries of a CNAME chain together.
        Missing::Response | Missing::ChainEnd(_) => forward::DEADLINE + GRACE,
    };
    let summary = tokio::select! {
        summary = timeout(limit, answerer.complete(pending, out)) => summary.ok(),
        () = permit.revoked() => None,
    };
    if let Some(summary) = summary {
        return summary;
    }
    if let Missing::Addresses(alias) = pending.missing() {
        tracing::debug!(target = %alias.target(), "cannot resolve alias target in time");
    }
    pending.fail(out)
}

impl DnsServer {
    /// The most UDP workers of an address by default.
    const MAX_UDP_WORKERS: usize = 8;
    const MAX_CONNECTIONS: NonZero<usize> = NonZero::new(1000).unwrap();
    const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
    /// How long clients that do not read may delay a shutdown.
    const DRAIN: Duration = Duration::from_secs(5);

    /// Settings of a server that answers from `table`.
    pub fn builder(table: NameTable) -> DnsServerBuilder {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let udp_workers = NonZero::new(cores.min(Self::MAX_UDP_WORKERS)).unwrap_or(NonZero::<usize>::MIN);
        let settings = Settings {
            udp_workers,
            max_connections: Self::MAX_CONNECTIONS,
            idle_timeout: Self::IDLE_TIMEOUT,
        };
        DnsServerBuilder { table, resolvers: Resolvers::default(), settings }
    }

    /// Listens on these addresses with the default settings, and serves. See [`DnsServerBuilder::bind`].
    ///
    /// # Errors
    /// The server cannot listen on an address. The error is about the first such address; the others are not served
    /// either.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O and time.
    pub async fn bind(
        table: NameTable,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self, BindError> {
        Self::builder(table).bind(addresses).await
    }

    /// The addresses that the server listens on, in the order in which they were added. Port 0 is replaced by the chosen
    /// port.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counters since the server was bound, those of closed addresses included. Takes a lock of each worker for a
    /// moment.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counts = Counts::new();
        let published = self.table.read();
        counts.merge(&self.closed, &published.zones);
        let workers = self.listeners.iter().flat_map(|listener| &listener.counters);
        for worker in workers.chain([&self.tcp]) {
            counts.merge(&worker.lock(), &published.zones);
        }
        let mut counters = counts.snapshot(&published.zones);
        if let Some(forwarder) = &self.resolvers.forwarder {
            (counters.cache_hits, counters.cache_misses) = forwarder.cache_counts();
        }
        counters
    }

    /// Listens on one more address, as [`DnsServerBuilder::bind`] does. Returns the address; port 0 is replaced by the
    /// chosen port.
    ///
    /// # Errors
    /// The server cannot listen on the address, or the address is also an upstream of the forwarder.
    pub fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, BindError> {
        let _runtime = self.runtime.enter();
        let mut upstreams = self.resolvers.forwarder.iter().flat_map(Forwarder::upstreams);
        if upstreams.any(|upstream| bind::reaches(upstream, address)) {
            return Err(BindError::own_upstream(address));
        }
        let bound = BoundSockets::new(address, self.settings.udp_workers)?;
        let address = bound.address;
        let (stop, stopped) = watch::channel(false);
        let drain = Drain::new();
        let mut listener = AddressTasks { stop, drain, tasks: JoinSet::new(), counters: Vec::new() };
        for socket in bound.udp {
            let socket = UdpSocket::from_std(socket).map_err(BindError::on(address, Transport::Udp))?;
            let counters = Arc::new(WorkerCounters::new());
            listener.counters.push(Arc::clone(&counters));
            let answerer = Answerer::new(self.table.clone()).with_resolvers(self.resolvers.clone());
            listener.tasks.spawn(udp::serve::<SystemBatch>(
                socket,
                answerer,
                Arc::clone(&self.pending),
                counters,
                stopped.clone(),
            ));
        }
        let tcp = TcpListener::from_std(bound.tcp).map_err(BindError::on(address, Transport::Tcp))?;
        let protocol = tcp::Protocol {
            answerer: Answerer::new(self.table.clone()).with_resolvers(self.resolvers.clone()),
            idle_timeout: self.settings.idle_timeout,
            pending: Arc::clone(&self.pending),
            counters: Arc::clone(&self.tcp),
        };
        let (connections, draining) = (self.connections.clone(), listener.drain.signal());
        listener.tasks.spawn(async move {
            let serve = move |stream, place, draining| protocol.serve(stream, place, draining);
            connections.accept(tcp, draining, serve).await;
        });
        self.addresses.push(address);
        self.listeners.push(listener);
        Ok(address)
    }

    /// Stops listening on one of the [addresses](Self::local_addrs). Returns when the messages that have arrived there are
    /// answered, the connections are closed and the port is free: after 5 s at the latest. Returns `false` if the server
    /// does not listen on the address.
    pub async fn close(&mut self, address: SocketAddr) -> bool {
        let Some(place) = self.addresses.iter().position(|found| *found == address) else {
            return false;
        };
        let listener = &mut self.listeners[place];
        let deadline = Instant::now() + Self::DRAIN;
        listener.begin_to_drain(deadline);
        if timeout_at(deadline, listener.ended()).await.is_err() {
            tracing::debug!(%address, "draining took too long: dropped pending responses");
        }
        // Removed last, so that a cancelled `close` can be retried.
        self.addresses.remove(place);
        for counters in self.listeners.remove(place).counters {
            self.closed.merge(&counters.lock(), &self.table.read().zones);
        }
        true
    }

    /// [Drains](Self::drain) within 5 s.
    pub async fn shutdown(self) {
        self.drain(Instant::now() + Self::DRAIN).await;
    }

    /// Stops listening and answers the messages that have arrived. Returns when that is done: at the deadline at the
    /// latest, even if a client has not read its responses. Servers that drain together can share a deadline.
    pub async fn drain(self, deadline: Instant) {
        let Self { mut listeners, .. } = self;
        for listener in &listeners {
            listener.begin_to_drain(deadline);
        }
        let done = async {
            for listener in &mut listeners {
                listener.ended().await;
            }
        };
        if timeout_at(deadline, done).await.is_err() {
            tracing::debug!("draining took too long: closed connections with unread responses");
        }
    }
}

impl AddressTasks {
    fn begin_to_drain(&self, deadline: Instant) {
        self.stop.send_replace(true);
        self.drain.begin(deadline);
    }

    async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

impl DnsServerBuilder {
    /// Sets the number of UDP workers per address. Each has a socket and a task; the sockets share the port
    /// (`SO_REUSEPORT`). By default there is one for each core, at most 8. On systems other than Linux there is always
    /// one.
    pub fn with_udp_workers(mut self, workers: NonZero<usize>) -> Self {
        self.settings.udp_workers = workers;
        self
    }

    /// Sets the most TCP connections at a time, over all addresses; by default 1000. One more closes the connection that
    /// has been idle for longest (RFC 7766 section 6.2.3), so that idle clients cannot lock out others.
    pub fn with_max_connections(mut self, connections: NonZero<usize>) -> Self {
        self.settings.max_connections = connections;
        self
    }

    /// Sets how long a TCP connection may go without a complete message, or leave a response unread, before it is closed;
    /// by default 30 s.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// Sets the resolver of alias targets that are in no zone of the table. Without one the forwarder resolves them.
    /// Targets that cannot be resolved are SERVFAIL.
    pub fn with_alias_resolver(mut self, resolver: impl AliasResolver) -> Self {
        self.resolvers.aliases = Some(Arc::new(resolver));
        self
    }

    /// Sets the forwarder of queries for names in no zone. Queries without the RD bit are not forwarded. Without a
    /// forwarder all of them are REFUSED. [`Forwarder`] describes what upstreams see of this server.
    pub fn with_forwarder(mut self, forwarder: Forwarder) -> Self {
        self.resolvers.forwarder = Some(forwarder);
        self
    }

    /// Listens on these addresses, and serves. The sockets are open when it returns.
    ///
    /// Port 0 is any free port, the same for UDP and TCP. An IPv6 address takes no IPv4 traffic. On `0.0.0.0` and `[::]`
    /// a response comes from the address that the query was sent to. On systems other than Linux the system chooses that
    /// address, and resolvers ignore responses from another one: prefer to list the addresses of the host.
    ///
    /// # Errors
    /// The server cannot listen on an address, or the address is also an upstream of the forwarder. The error is about the
    /// first such address; the others are not served either.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O and time.
    #[allow(clippy::unused_async, reason = "shows that it needs a runtime")]
    pub async fn bind(self, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<DnsServer, BindError> {
        let Self { table, resolvers, settings } = self;
        // Connections hold few octets each, so limiting their number is enough.
        let connections = Connections::new(settings.max_connections.get(), usize::MAX);
        let pending = Arc::new(PendingLimit::default());
        let mut server = DnsServer {
            table,
            resolvers,
            settings,
            runtime: Handle::current(),
            addresses: Vec::new(),
            listeners: Vec::new(),
            connections,
            tcp: Arc::new(WorkerCounters::new()),
            pending,
            closed: Counts::new(),
        };
        for address in addresses {
            server.listen(address)?;
        }
        Ok(server)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}
