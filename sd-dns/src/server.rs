//! Sockets: UDP workers and TCP connections that put messages before an [`Answerer`].

mod bind;
mod datagrams;
mod tcp;
mod udp;

use std::{fmt, net::SocketAddr, num::NonZero, sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

pub use self::bind::BindError;
use self::bind::Bound;
use crate::{
    alias::AliasResolver,
    answerer::Answerer,
    name_table::NameTable,
    wire::{Transport, answer::Waiting},
};

/// A DNS server on some addresses, each with UDP and TCP. It serves until it is shut down or dropped.
///
/// It needs a tokio runtime with I/O and time, and runs as tasks of the runtime that it was bound in.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct DnsServer {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// Settings of a [`DnsServer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is bound"]
pub struct DnsServerBuilder {
    table: NameTable,
    resolver: Option<Arc<dyn AliasResolver>>,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    udp_workers: NonZero<usize>,
    max_connections: NonZero<usize>,
    idle_timeout: Duration,
}

/// What has arrived before the end is known only after the runtime has looked at the system once more, which it does
/// within this time.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

/// A client that goes on sending is not answered for ever: this many turns at most.
const DRAIN_TURNS: usize = 64;

/// How long the target of an alias is waited for: less than clients wait before they ask again.
const ALIAS_TIMEOUT: Duration = Duration::from_secs(2);

/// Appends the answer that waits for the target of an alias.
async fn complete(answerer: &Answerer, waiting: &Waiting, out: &mut Vec<u8>) {
    match timeout(ALIAS_TIMEOUT, answerer.addresses(waiting)).await {
        Ok(Some(found)) => waiting.finish(&found, out),
        Ok(None) => waiting.fail(out),
        Err(_) => {
            tracing::debug!(target = %waiting.target(), "the target of an alias was not resolved in time");
            waiting.fail(out);
        }
    }
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
        DnsServerBuilder { table, resolver: None, settings }
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

    /// Stops listening, answers what has arrived, and returns when that is done; a client that does not read its answers
    /// is waited for no longer than 5 s.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let done = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(Self::DRAIN, done).await.is_err() {
            tracing::debug!("connections are closed with answers unread");
        }
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

    /// Finds what the targets of aliases have by this resolver. Without one they cannot be answered (SERVFAIL).
    pub fn with_alias_resolver(mut self, resolver: impl AliasResolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Opens the sockets and begins to serve.
    ///
    /// Port 0 is a free port, the same for UDP and TCP. An IPv6 address takes no IPv4 traffic. On `0.0.0.0` and `[::]` an
    /// answer comes from the address that was asked. On systems other than Linux prefer addresses to these if the host has
    /// several: the system chooses where an answer comes from, and resolvers ignore those from another one than they asked.
    ///
    /// # Errors
    /// The first address that cannot be listened on.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without I/O and time.
    #[allow(clippy::unused_async, reason = "servers are bound asynchronously, and this needs a runtime")]
    pub async fn bind(self, addresses: impl IntoIterator<Item = SocketAddr>) -> Result<DnsServer, BindError> {
        let Self { table, resolver, settings } = self;
        let answerer = || Answerer::new(table.clone()).with_shared_resolver(resolver.clone());
        let (stop, stopped) = watch::channel(false);
        let (accepted, incoming) = mpsc::channel(1);
        let mut server = DnsServer { addresses: Vec::new(), stop, tasks: JoinSet::new() };
        for address in addresses {
            let bound = Bound::new(address, settings.udp_workers)?;
            let address = bound.address;
            for socket in bound.udp {
                let socket = UdpSocket::from_std(socket).map_err(BindError::on(address, Transport::Udp))?;
                server.tasks.spawn(udp::serve::<datagrams::System>(socket, answerer(), stopped.clone()));
            }
            let listener =
                TcpListener::from_std(bound.tcp).map_err(BindError::on(address, Transport::Tcp))?;
            server.tasks.spawn(tcp::accept(listener, accepted.clone(), stopped.clone()));
            server.addresses.push(address);
        }
        let connections =
            tcp::Connections::new(answerer(), settings.max_connections, settings.idle_timeout, stopped);
        server.tasks.spawn(connections.serve(incoming));
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
