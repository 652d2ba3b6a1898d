//! A server: sockets, places for connections, an orderly end.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use sd_net::{Connections, Drain};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

use crate::{
    connection::{Http, LONGEST, ServerService},
    counters::{ConnectionCounters, ConnectionCounts},
    limits::Limits,
};

/// The attempts to find a port that is free on both loopback addresses.
const ATTEMPTS: usize = 32;

/// An [`HttpServer`] cannot listen on an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
#[non_exhaustive]
pub struct BindError {
    /// The address, as it was given.
    pub address: String,
    /// The error of the system, such as [`AddrInUse`](io::ErrorKind::AddrInUse), or
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for an address that cannot be read.
    pub source: io::Error,
}

/// A running server of a tower service: HTTP/1 and HTTP/2 by prior knowledge, without TLS.
///
/// [`shutdown`](Self::shutdown) and [`drain`](Self::drain) let requests finish. Dropping the server closes all
/// connections at once.
///
/// ```
/// use sd_backend_memory::MemoryRegistry;
/// use sd_core::CloudMap;
/// use sd_http::{CloudMapService, HttpServer};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
/// let server = HttpServer::bind("127.0.0.1:0", service).await?;
/// println!("http://{}", server.local_addrs()[0]);
/// server.shutdown().await;
/// # Ok::<(), sd_http::BindError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct HttpServer {
    addresses: Vec<SocketAddr>,
    drain: Drain,
    drain_time: Duration,
    tasks: JoinSet<()>,
    meter: ServerMeter,
}

/// Reads the counters of an [`HttpServer`], also while the server drains and after it has ended. Clones read
/// the same counters.
#[derive(Clone, Debug)]
pub struct ServerMeter {
    connections: Connections,
    counts: Arc<ConnectionCounts>,
}

impl ServerMeter {
    /// The counters now. Reading holds up no connection.
    #[must_use]
    pub fn counters(&self) -> ConnectionCounters {
        self.counts.read(self.connections.count(), self.connections.held())
    }
}

impl HttpServer {
    /// Listens on an address and serves, with the default [`Limits`]. Needs a tokio runtime.
    ///
    /// The address is `HOST:PORT`, with a name, an IPv4 address or a bracketed IPv6 address as the host. Port 0
    /// is any free port. `localhost` is both loopback addresses, with one port, where the machine has both.
    ///
    /// # Errors
    /// The address cannot be read, does not resolve, or is taken.
    pub async fn bind(address: &str, service: impl ServerService) -> Result<Self, BindError> {
        Self::bind_with(address, service, Limits::default()).await
    }

    /// Listens on an address and serves, as [`bind`](Self::bind) does, with these limits.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub async fn bind_with(
        address: &str,
        service: impl ServerService,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let listeners =
            listen(address).await.map_err(|source| BindError { address: address.to_owned(), source })?;
        let drain = Drain::new();
        let drain_time = limits.drain_time;
        let connections = Connections::new(limits.connections, limits.pending_octets);
        let counts = Arc::new(ConnectionCounts::default());
        let meter = ServerMeter { connections: connections.clone(), counts: Arc::clone(&counts) };
        let http = Arc::new(Http::new(limits, counts));
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let local =
                listener.local_addr().map_err(|source| BindError { address: address.to_owned(), source })?;
            addresses.push(local);
            let (connections, draining) = (connections.clone(), drain.signal());
            let (http, service) = (Arc::clone(&http), service.clone());
            tasks.spawn(async move {
                let serve = move |stream, connection, draining| {
                    let (http, service) = (Arc::clone(&http), service.clone());
                    async move { http.serve(stream, service, connection, draining).await }
                };
                connections.accept(listener, draining, serve).await;
            });
        }
        Ok(Self { addresses, drain, drain_time, tasks, meter })
    }

    /// The addresses on which the server listens, with the ports that the system picked.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What the connections did until now.
    #[must_use]
    pub fn counters(&self) -> ConnectionCounters {
        self.meter.counters()
    }

    /// The counters for a reader that outlives the server, such as a report of an admin port.
    #[must_use]
    pub fn meter(&self) -> ServerMeter {
        self.meter.clone()
    }

    /// [Drains](Self::drain) within the [`drain_time`](Limits::drain_time) of the limits.
    pub async fn shutdown(self) {
        let deadline = Instant::now() + self.drain_time.min(LONGEST);
        self.drain(deadline).await;
    }

    /// Stops listening, lets the requests in progress finish, and returns once all connections are closed. The
    /// deadline closes those that are still open. Servers that drain together share one deadline.
    pub async fn drain(mut self, deadline: Instant) {
        self.drain.begin(deadline);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn listen(address: &str) -> io::Result<Vec<TcpListener>> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    if !host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![TcpListener::bind(address).await?]);
    }
    let port: u16 = port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "invalid port"))?;
    let mut left = if port == 0 { ATTEMPTS } else { 1 };
    loop {
        left -= 1;
        match both(port).await {
            Err(error) if left > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            listeners => return listeners,
        }
    }
}

/// Listens on both loopback addresses. A port that the system picks for the first may be taken on the second.
async fn both(port: u16) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    match TcpListener::bind((IpAddr::V6(Ipv6Addr::LOCALHOST), port)).await {
        Ok(second) => listeners.push(second),
        // The machine has no IPv6.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
        Err(error) if error.raw_os_error() == Some(UNSUPPORTED_FAMILY) => {}
        Err(error) => return Err(error),
    }
    Ok(listeners)
}

/// `EAFNOSUPPORT`, for which the standard library has no kind.
const UNSUPPORTED_FAMILY: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };
