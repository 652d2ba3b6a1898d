//! A server: sockets, connections, an orderly end.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time};
use tower_service::Service;

use crate::{error::ProtocolError, protocol::Protocol, service::protocol_error};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connections may take to finish what they are at when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
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
    stop: watch::Sender<()>,
    tasks: JoinSet<()>,
}

impl HttpServer {
    /// Listens on the address and serves. Port 0 is one that the system picks.
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
        B: Body<Data = Bytes> + Send + 'static + From<Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let listeners =
            listen(address).await.map_err(|source| BindError { address: address.to_owned(), source })?;
        let (stop, stopped) = watch::channel(());
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::with_capacity(listeners.len());
        for listener in listeners {
            let local =
                listener.local_addr().map_err(|source| BindError { address: address.to_owned(), source })?;
            addresses.push(local);
            tasks.spawn(accept(listener, service.clone(), stopped.clone()));
        }
        Ok(Self { addresses, stop, tasks })
    }

    /// Where the server listens.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no more connections, lets those that are busy finish their request, and returns when all are closed.
    pub async fn shutdown(mut self) {
        drop(self.stop);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn listen(address: &str) -> io::Result<Vec<TcpListener>> {
    let Some(port) = address.strip_prefix("localhost:") else {
        return Ok(vec![TcpListener::bind(address).await?]);
    };
    let port: u16 =
        port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the port is no number"))?;
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

async fn accept<S, B>(listener: TcpListener, service: S, mut stopped: watch::Receiver<()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static + From<Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // A client that has sent its request and closed its side still wants the answer.
    builder.http1().half_close(true).timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new());
    let builder = Arc::new(builder);
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            _ = stopped.changed() => break,
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
        let service = TowerToHyperService::new(Timely(service.clone()));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection failed");
            }
        });
    }
    drop(listener);
    if time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were busy for too long and are closed");
    }
}

/// Ends a request that takes too long, such as one whose body stops arriving.
#[derive(Clone)]
struct Timely<S>(S);

impl<S, B> Service<Request<Incoming>> for Timely<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: From<Bytes>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let protocol = Protocol::of(request.headers(), request.uri().path());
        let answer = self.0.call(request);
        Box::pin(async move {
            match time::timeout(REQUEST_TIMEOUT, answer).await {
                Ok(answer) => answer,
                Err(_) => Ok(protocol_error(protocol, &ProtocolError::Timeout).map(B::from)),
            }
        })
    }
}
