//! The UDP workers and TCP connections of a server.

mod bind;
mod datagrams;
mod pending;
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
    bind::Bound,
    datagrams::System,
    pending::{Pending, Ticket},
};
use crate::{
    alias::AliasResolver,
    answerer::{Answerer, Others},
    counters::{Answered, Counters, Counts, WorkerCounters},
    forward::{self, Forwarder},
    name_table::NameTable,
    wire::{
        Transport,
        answer::{Waiting, Wants},
    },
};

/// A DNS server on some addresses, each with UDP and TCP. It serves until it is shut down or dropped.
///
/// It needs a tokio runtime with I/O and time, and runs as tasks of the runtime that it was bound in.
///
/// # Answers that wait
/// Answers that need a [`Forwarder`] or an [`AliasResolver`] wait, at most 4,096 at a time over all sockets
/// and connections. A client, which is an IPv4 address or an IPv6 network of 64 bits, may have as many of
/// them as there are places left: 2,048 while it is alone, a third beside another such client, and so on. One
/// more takes the place of the oldest answer of the client that has the most, or, if that is the client
/// itself, of its own oldest. That one, or the new one if the oldest has waited for less than 200 ms, is
/// SERVFAIL. Other clients do not notice. A TCP connection is read on when fewer than 128 of its answers
/// wait.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct DnsServer {
    table: NameTable,
    others: Others,
    settings: Settings,
    runtime: Handle,
    addresses: Vec<SocketAddr>,
    /// In the order of the addresses.
    listeners: Vec<Listener>,
    /// Those of all addresses.
    connections: Connections,
    tcp: Arc<WorkerCounters>,
    pending: Arc<Pending>,
    /// What was counted on closed addresses.
    before: Counts,
}

/// The tasks of one address.
#[derive(Debug)]
struct Listener {
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
    others: Others,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    udp_workers: NonZero<usize>,
    max_connections: NonZero<usize>,
    idle_timeout: Duration,
}

/// How long a draining socket is polled: the runtime needs this time to see what the system has received.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

/// The most turns of a draining socket, in case its client never stops sending.
const DRAIN_TURNS: usize = 64;

/// How long the target of an alias is waited for: less than the time after which clients retry.
const ALIAS_TIMEOUT: Duration = Duration::from_secs(2);

/// How much longer a client waits than the question that it waits for may take, so that its failure is noted.
const GRACE: Duration = Duration::from_millis(100);

/// Appends an answer that waits for another server; SERVFAIL if its place goes to another client.
async fn complete(
    answerer: &Answerer,
    waiting: &Waiting,
    ticket: &mut Ticket,
    out: &mut Vec<u8>,
) -> Answered {
    let limit = match waiting.wants() {
        Wants::Addresses(_) => ALIAS_TIMEOUT,
        // For all questions of a chain of aliases together.
        Wants::Everything | Wants::Rest(_) => forward::DEADLINE + GRACE,
    };
    let answered = tokio::select! {
        answered = timeout(limit, answerer.complete(waiting, out)) => answered.ok(),
        () = ticket.dropped() => None,
    };
    if let Some(answered) = answered {
        return answered;
    }
    if let Wants::Addresses(alias) = waiting.wants() {
        tracing::debug!(target = %alias.target(), "alias target not resolved in time");
    }
    waiting.fail(out)
}

impl DnsServer {
    /// The most UDP workers of an address, unless the builder says otherwise.
    const UDP_WORKERS: usize = 8;
    const MAX_CONNECTIONS: NonZero<usize> = NonZero::new(1000).unwrap();
    const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
    /// How long a client that does not read its answers may hold up a shutdown.
    const DRAIN: Duration = Duration::from_secs(5);

    /// Settings of a server that answers from this table.
    pub fn builder(table: NameTable) -> DnsServerBuilder {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let udp_workers = NonZero::new(cores.min(Self::UDP_WORKERS)).unwrap_or(NonZero::<usize>::MIN);
        let settings = Settings {
            udp_workers,
            max_connections: Self::MAX_CONNECTIONS,
            idle_timeout: Self::IDLE_TIMEOUT,
        };
        DnsServerBuilder { table, others: Others::default(), settings }
    }

    /// Serves on these addresses with the default settings. See [`DnsServerBuilder::bind`].
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    pub async fn bind(
        table: NameTable,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self, BindError> {
        Self::builder(table).bind(addresses).await
    }

    /// The addresses that it listens on, in the order in which they were given, with the ports that were chosen for 0.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What has been answered since the server was bound.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counts = Counts::new();
        let published = self.table.read();
        counts.merge(&self.before, &published.zones);
        let workers = self.listeners.iter().flat_map(|listener| &listener.counters);
        for worker in workers.chain([&self.tcp]) {
            counts.merge(&worker.lock(), &published.zones);
        }
        let mut counters = counts.snapshot(&published.zones);
        if let Some(forwarder) = &self.others.forwarder {
            (counters.cache_hits, counters.cache_misses) = forwarder.cache_counts();
        }
        counters
    }

    /// Listens on one more address, as [`DnsServerBuilder::bind`] does, and returns it with the port that was chosen for 0.
    ///
    /// # Errors
    /// The address cannot be listened on, or is one that the forwarder would ask.
    pub fn listen(&mut self, address: SocketAddr) -> Result<SocketAddr, BindError> {
        let _runtime = self.runtime.enter();
        let mut upstreams = self.others.forwarder.iter().flat_map(Forwarder::upstreams);
        if upstreams.any(|to| bind::reaches(to, address)) {
            return Err(BindError::own_upstream(address));
        }
        let bound = Bound::new(address, self.settings.udp_workers)?;
        let address = bound.address;
        let (stop, stopped) = watch::channel(false);
        let drain = Drain::new();
        let mut listener = Listener { stop, drain, tasks: JoinSet::new(), counters: Vec::new() };
        for socket in bound.udp {
            let socket = UdpSocket::from_std(socket).map_err(BindError::on(address, Transport::Udp))?;
            let counters = Arc::new(WorkerCounters::new());
            listener.counters.push(Arc::clone(&counters));
            let answerer = Answerer::new(self.table.clone()).with_others(self.others.clone());
            listener.tasks.spawn(udp::serve::<System>(
                socket,
                answerer,
                Arc::clone(&self.pending),
                counters,
                stopped.clone(),
            ));
        }
        let tcp = TcpListener::from_std(bound.tcp).map_err(BindError::on(address, Transport::Tcp))?;
        let protocol = tcp::Protocol {
            answerer: Answerer::new(self.table.clone()).with_others(self.others.clone()),
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

    /// Stops listening on one of [its addresses](Self::local_addrs), and returns when the messages that have
    /// arrived there are answered, its connections are closed and the port is free: after 5 s at the latest.
    /// `false` if the server does not listen on the address.
    pub async fn close(&mut self, address: SocketAddr) -> bool {
        let Some(place) = self.addresses.iter().position(|found| *found == address) else {
            return false;
        };
        let listener = &mut self.listeners[place];
        let deadline = Instant::now() + Self::DRAIN;
        listener.begin_to_drain(deadline);
        if timeout_at(deadline, listener.ended()).await.is_err() {
            tracing::debug!(%address, "gave up waiting answers");
        }
        // Removed last, so that a cancelled `close` can be retried.
        self.addresses.remove(place);
        for counters in self.listeners.remove(place).counters {
            self.before.merge(&counters.lock(), &self.table.read().zones);
        }
        true
    }

    /// [Drains](Self::drain) within 5 s.
    pub async fn shutdown(self) {
        self.drain(Instant::now() + Self::DRAIN).await;
    }

    /// Stops listening, answers the messages that have arrived, and returns when that is done: at the deadline at the
    /// latest, even if a client has not read its answers. Servers that drain together share one deadline.
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
            tracing::debug!("closed connections with unread answers");
        }
    }
}

impl Listener {
    fn begin_to_drain(&self, deadline: Instant) {
        self.stop.send_replace(true);
        self.drain.begin(deadline);
    }

    async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

impl DnsServerBuilder {
    /// How many sockets, each with a task of its own, share the UDP port of an address (`SO_REUSEPORT`); by default as
    /// many as there are cores, at most 8. On systems other than Linux there is always one.
    pub fn with_udp_workers(mut self, workers: NonZero<usize>) -> Self {
        self.settings.udp_workers = workers;
        self
    }

    /// How many TCP connections there may be at a time, of all addresses together; by default 1000. One more closes the
    /// one that has been idle for longest (RFC 7766 section 6.2.3), so that idle clients cannot lock out others.
    pub fn with_max_connections(mut self, connections: NonZero<usize>) -> Self {
        self.settings.max_connections = connections;
        self
    }

    /// How long a TCP connection may be without a complete message, or with an answer unread, before it is closed; by
    /// default 30 s.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.idle_timeout = timeout;
        self
    }

    /// Resolves the targets of aliases with this resolver, unless they are in zones of the table. Without
    /// one, the forwarder does. Targets that cannot be resolved are SERVFAIL.
    pub fn with_alias_resolver(mut self, resolver: impl AliasResolver) -> Self {
        self.others.resolver = Some(Arc::new(resolver));
        self
    }

    /// Forwards questions for names in none of the zones, if the client desires recursion (RD is 1). Without
    /// a forwarder they are refused. What upstreams see of this server is described at [`Forwarder`].
    pub fn with_forwarder(mut self, forwarder: Forwarder) -> Self {
        self.others.forwarder = Some(forwarder);
        self
    }

    /// Opens the sockets and begins to serve.
    ///
    /// Port 0 is a free port, the same for UDP and TCP. An IPv6 address takes no IPv4 traffic. On `0.0.0.0` and `[::]` an
    /// answer comes from the address that was asked. On systems other than Linux prefer addresses to these if the host has
    /// several: the system chooses where an answer comes from, and resolvers ignore those from another one than they asked.
    ///
    /// # Errors
    /// The first address that cannot be listened on, or that the forwarder would ask.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O and time.
    #[allow(clippy::unused_async, reason = "servers are bound asynchronously, and this needs a runtime")]
    pub async fn bind(self, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<DnsServer, BindError> {
        let Self { table, others, settings } = self;
        // Answers are small, and a connection holds few of them: only the number of connections is limited.
        let connections = Connections::new(settings.max_connections.get(), usize::MAX);
        let pending = Arc::new(Pending::default());
        let mut server = DnsServer {
            table,
            others,
            settings,
            runtime: Handle::current(),
            addresses: Vec::new(),
            listeners: Vec::new(),
            connections,
            tcp: Arc::new(WorkerCounters::new()),
            pending,
            before: Counts::new(),
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
