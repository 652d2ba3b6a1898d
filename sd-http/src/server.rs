//! A server: sockets, places for connections, an orderly end.

use std::{
    convert::Infallible,
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use sd_net::{Connections, Drain};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tower_service::Service;

use crate::{
    body::RequestBody,
    connection::{Http, LONGEST},
    limits::Limits,
};

/// How often the system is asked for a port that is free on both loopback addresses.
const PICKS: usize = 32;

/// A tower service that an [`HttpServer`] can serve: every service with these types is one.
pub trait ServerService:
    Service<Request<RequestBody>, Response = Response<Self::Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static;
}

impl<S, B> ServerService for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible, Future: Send + 'static>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Body = B;
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
#[non_exhaustive]
pub struct BindError {
    /// The address.
    pub address: String,
    /// Why not.
    pub source: io::Error,
}

/// A running server of a tower service. Dropping it ends it at once; [`shutdown`](Self::shutdown) ends it in
/// order.
#[derive(Debug)]
pub struct HttpServer {
    addresses: Vec<SocketAddr>,
    drain: Drain,
    drain_time: Duration,
    tasks: JoinSet<()>,
}

impl HttpServer {
    /// Listens on the address and serves, with the default [`Limits`]. Port 0 is one that the system picks.
    ///
    /// The host `localhost` is both loopback addresses, on one port, where the machine has both.
    ///
    /// # Errors
    /// The address cannot be read or listened on.
    pub async fn bind(address: &str, service: impl ServerService) -> Result<Self, BindError> {
        Self::bind_with(address, service, Limits::default()).await
    }

    /// The same with limits of one's own.
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
        let http = Arc::new(Http::new(limits));
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
        Ok(Self { addresses, drain, drain_time, tasks })
    }

    /// Where the server listens.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// [Drains](Self::drain) within the [`drain_time`](Limits::drain_time) of the limits.
    pub async fn shutdown(self) {
        let deadline = Instant::now() + self.drain_time.min(LONGEST);
        self.drain(deadline).await;
    }

    /// Stops listening, lets the requests in progress finish, and returns when all connections are closed: at
    /// the deadline at the latest. Servers that drain together share one deadline.
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
    let mut left = if port == 0 { PICKS } else { 1 };
    loop {
        left -= 1;
        match both(port).await {
            Err(error) if left > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            listeners => return listeners,
        }
    }
}

/// Listens on both loopback addresses. The system picks a port for the first of them, and may have given it
/// to somebody else on the second.
async fn both(port: u16) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    match TcpListener::bind((IpAddr::V6(Ipv6Addr::LOCALHOST), port)).await {
        Ok(second) => listeners.push(second),
        // A machine without IPv6 has no such address; anything else is told.
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
        Err(error) if error.raw_os_error() == Some(UNSUPPORTED_FAMILY) => {}
        Err(error) => return Err(error),
    }
    Ok(listeners)
}

/// `EAFNOSUPPORT`, which has no kind of its own in the standard library.
const UNSUPPORTED_FAMILY: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };
