//! A server: sockets, places for connections, an orderly end.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{self, Instant},
};
use tower_service::Service;

use crate::{
    connection::{Connections, LONGEST},
    limits::Limits,
};

/// The most connections beyond the limit that are told so at once.
const REFUSED: usize = 64;
/// How often the system is asked for a port that is free on both loopback addresses.
const PICKS: usize = 32;
/// How long to wait when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// A running server of a tower service. Dropping it ends it at once; [`shutdown`](Self::shutdown) ends it in order.
#[derive(Debug)]
pub struct HttpServer {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<Option<Instant>>,
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
    pub async fn bind<S, B>(address: &str, service: S) -> Result<Self, BindError>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::bind_with(address, service, Limits::default()).await
    }

    /// The same with limits of one's own.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub async fn bind_with<S, B>(address: &str, service: S, limits: Limits) -> Result<Self, BindError>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let listeners =
            listen(address).await.map_err(|source| BindError { address: address.to_owned(), source })?;
        let (stop, stopped) = watch::channel(None);
        let drain_time = limits.drain_time;
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::with_capacity(listeners.len());
        let slots = Slots::new(&limits);
        for listener in listeners {
            let local =
                listener.local_addr().map_err(|source| BindError { address: address.to_owned(), source })?;
            addresses.push(local);
            tasks.spawn(accept(listener, service.clone(), limits.clone(), slots.clone(), stopped.clone()));
        }
        Ok(Self { addresses, stop, drain_time, tasks })
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

    /// Stops listening, lets the requests in progress finish, and returns when all connections are closed: at the deadline
    /// at the latest. Servers that drain together share one deadline.
    pub async fn drain(mut self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn listen(address: &str) -> io::Result<Vec<TcpListener>> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    if !host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![TcpListener::bind(address).await?]);
    }
    let port: u16 =
        port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the port is no number"))?;
    let mut left = if port == 0 { PICKS } else { 1 };
    loop {
        left -= 1;
        match both(port).await {
            Err(error) if left > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            listeners => return listeners,
        }
    }
}

/// Listens on both loopback addresses. The system picks a port for the first of them, and may have given it to somebody else
/// on the second.
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

/// The places for connections of a server, over all of its listeners.
#[derive(Clone)]
struct Slots {
    served: Arc<Semaphore>,
    refused: Arc<Semaphore>,
}

/// A place for a connection, until it is dropped.
struct Slot {
    refused: bool,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    fn new(limits: &Limits) -> Self {
        let served = limits.connections.min(Semaphore::MAX_PERMITS);
        Self { served: Arc::new(Semaphore::new(served)), refused: Arc::new(Semaphore::new(REFUSED)) }
    }

    /// A place among those that are served if there is one, else among those that are refused, else the first to be free.
    async fn take(&self) -> Slot {
        // There is always a permit: neither semaphore is ever closed.
        tokio::select! {
            biased;
            permit = self.served.clone().acquire_owned() => Slot { refused: false, _permit: permit.ok() },
            permit = self.refused.clone().acquire_owned() => Slot { refused: true, _permit: permit.ok() },
        }
    }
}

async fn accept<S, B>(
    listener: TcpListener,
    service: S,
    limits: Limits,
    slots: Slots,
    mut stopped: watch::Receiver<Option<Instant>>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let serving = Arc::new(Connections::new(limits));
    let refusing = Arc::new(Connections::clone(&serving).refusing());
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // The connection is gone, or there are no descriptors: neither is a reason to end.
                    tracing::warn!(%error, "a connection was not accepted");
                    time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // An answer is written at once.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection is gone");
            continue;
        }
        let slot = tokio::select! {
            _ = stopped.changed() => break,
            slot = slots.take() => slot,
        };
        let (service, stopped) = (service.clone(), stopped.clone());
        let kind = if slot.refused { refusing.clone() } else { serving.clone() };
        connections.spawn(async move {
            kind.serve(stream, service, stopped).await;
            drop(slot);
        });
    }
    drop(listener);
    // Each has heard that it is to end, and has its time for that.
    while connections.join_next().await.is_some() {}
}
