//! Serves a connection, within its limits of time and memory.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    io, mem,
    pin::{Pin, pin},
    sync::{Arc, atomic::AtomicU64},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, Version, header::CONTENT_LENGTH};
use http_body::Body;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use sd_net::{Connection, Draining};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{self, Instant},
};
use tower_service::Service;

use crate::{
    activity::{Activity, Overdue},
    answer::server_error,
    body::{Answer, RequestBody, ResponseBody, Upload},
    counters::{ConnectionCounts, count},
    error::ProtocolError,
    limits::Limits,
    protocol::Protocol,
    read::discard,
};

/// The lowest limit of a head that hyper accepts, in octets.
const LEAST_HEAD: usize = 8192;
/// The longest wait: a century. [`time::Duration::MAX`] cannot be added to an [`Instant`].
pub(crate) const LONGEST: time::Duration = time::Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// The shortest wait: the resolution of timers.
const SHORTEST: time::Duration = time::Duration::from_millis(1);

/// The most HTTP/2 streams of a connection. Clients queue further requests.
const STREAMS: u32 = 32;
/// The octets of a body that an HTTP/2 client may send before the service reads them.
const STREAM_WINDOW: u32 = 32 * 1024;
/// The same for all streams together. Large enough for each of them, so that bodies that wait do not take the
/// window from bodies that are read.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// A tower service that an [`HttpServer`](crate::HttpServer) can serve. Implemented for every service of these
/// types, such as a [`CloudMapService`](crate::CloudMapService) or axum's `Router`.
pub trait ServerService:
    Service<Request<RequestBody>, Response = Response<Self::Body>, Error = Infallible, Future: Send + 'static>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses. An error of the body closes the connection.
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

/// How a server serves its connections: HTTP/1.0, HTTP/1.1, and HTTP/2 by prior knowledge (RFC 9113 section
/// 3.3).
#[derive(Clone, Debug)]
pub(crate) struct Http {
    limits: Limits,
    counts: Arc<ConnectionCounts>,
    builder: auto::Builder<TokioExecutor>,
    /// For connections that are refused: the first request is answered with an error, and is the last.
    refusing: auto::Builder<TokioExecutor>,
}

impl Http {
    pub(crate) fn new(mut limits: Limits, counts: Arc<ConnectionCounts>) -> Self {
        for time in [&mut limits.head_time, &mut limits.idle_time, &mut limits.response_time] {
            *time = (*time).clamp(SHORTEST, LONGEST);
        }
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            // A client that closes its side after the request still wants the answer.
            .half_close(true)
            .max_buf_size(limits.head_octets.max(LEAST_HEAD))
            // `Activity` has a timeout for heads of both versions.
            .header_read_timeout(None);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(limits.head_octets).unwrap_or(u32::MAX));
        let mut refusing = builder.clone();
        refusing.http1().keep_alive(false);
        Self { limits, counts, builder, refusing }
    }

    /// Serves a connection until it ends, takes too long, or drains and has finished its requests.
    pub(crate) async fn serve<I, S>(
        &self,
        stream: I,
        service: S,
        connection: Connection,
        mut draining: Draining,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: ServerService,
    {
        let counts = &*self.counts;
        let mut served = Served { cut_off: Some(&counts.cut_off) };
        count(&counts.accepted);
        let mut limits = self.limits.clone();
        let builder = match connection.is_beyond_limit() {
            false => &self.builder,
            true => {
                count(&counts.refused);
                limits.idle_time = limits.head_time;
                &self.refusing
            }
        };
        let activity = Arc::new(Activity::new(connection));
        let service = Attended {
            service,
            activity: Arc::clone(&activity),
            limits: limits.clone(),
            counts: Arc::clone(&self.counts),
        };
        let stream = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
        let mut serving = pin!(builder.serve_connection(stream, TowerToHyperService::new(service)));
        let deadline = tokio::select! {
            biased;
            ended = serving.as_mut() => return served.ended(ended),
            overdue = activity.overdue(&limits) => match overdue {
                Overdue::Idle => {
                    count(&counts.idle_timeouts);
                    Instant::now() + limits.head_time
                }
                Overdue::Head => {
                    count(&counts.head_timeouts);
                    return served.closed("connection closed: the head of a request took too long");
                }
                Overdue::Response => {
                    count(&counts.response_timeouts);
                    return served.closed("connection closed: the client took too long to take a response");
                }
            },
            deadline = draining.begun() => deadline,
        };
        serving.as_mut().graceful_shutdown();
        if let Ok(ended) = time::timeout_at(deadline, serving).await {
            served.ended(ended);
        }
    }
}

/// A connection that is served, until it ends or the server closes it for a reason that has a counter. Dropped
/// before that, it is cut off.
struct Served<'a> {
    cut_off: Option<&'a AtomicU64>,
}

impl Served<'_> {
    fn ended(&mut self, ended: Result<(), Box<dyn Error + Send + Sync>>) {
        self.cut_off = None;
        if let Err(error) = ended {
            tracing::debug!(%error, "connection failed");
        }
    }

    fn closed(&mut self, why: &str) {
        self.cut_off = None;
        tracing::debug!("{why}");
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        if let Some(cut_off) = self.cut_off {
            count(cut_off);
            tracing::debug!("connection cut off while it was served");
        }
    }
}

/// A stream that reports what it reads to the activity of its connection.
struct Watched<I> {
    stream: I,
    activity: Arc<Activity>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > filled {
            self.activity.has_read();
        }
        read
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    /// Always vectored: bodies are not copied into a buffer of hyper's, so they count until they are written.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The service of a connection. A request that takes too long, such as one whose body stops arriving, is
/// answered with 408. A request waits while too many octets are pending.
#[derive(Clone)]
struct Attended<S> {
    service: S,
    activity: Arc<Activity>,
    limits: Limits,
    counts: Arc<ConnectionCounts>,
}

impl<S: ServerService> Service<Request<Incoming>> for Attended<S> {
    type Response = Response<ResponseBody<S::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let in_progress = self.activity.begin(request.version());
        let protocol = Protocol::of(request.headers(), request.uri().path());
        let Limits { request_time, connection_octets, .. } = self.limits;
        let is_head = request.method() == Method::HEAD && request.version() == Version::HTTP_2;
        let respond = move |answer: Response<_>| {
            let answer = if is_head { without_body(answer) } else { answer };
            Ok(answer.map(|body| ResponseBody::new(body, in_progress)))
        };
        let error = move |error| server_error(protocol, &error).map(|body| Either::Right(Full::new(body)));
        let connection = self.activity.connection.clone();
        if connection.is_beyond_limit() {
            return Box::pin(async move {
                // A client that is still sending when the connection closes never sees the answer.
                let _ = time::timeout(request_time, discard(request.into_body())).await;
                respond(error(ProtocolError::TooManyConnections))
            });
        }
        let octets = Upload::octets(request.body());
        let upload = Arc::new(Upload::new(connection.clone()));
        let request = request.map(|body| RequestBody::new(body, Arc::clone(&upload)));
        // `poll_ready` was asked of this service, not of its clone.
        let next = self.service.clone();
        let mut service = mem::replace(&mut self.service, next);
        let counts = Arc::clone(&self.counts);
        Box::pin(async move {
            let answer = async {
                upload.begin(connection.hold_when_free(octets, connection_octets).await);
                service.call(request).await
            };
            let answer = in_time(request_time, answer).await;
            drop(upload);
            respond(match answer {
                Some(answer) => answer.map(Either::Left),
                None => {
                    count(&counts.request_timeouts);
                    error(ProtocolError::Timeout)
                }
            })
        })
    }
}

/// The response of a service, or `None` if it is not ready in time.
async fn in_time<T>(time: time::Duration, answer: impl Future<Output = Result<T, Infallible>>) -> Option<T> {
    let mut answer = pin!(answer);
    // Most answers are ready at once. They need no timer.
    let at_once = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
    match at_once {
        Poll::Ready(Ok(answer)) => Some(answer),
        Poll::Pending => time::timeout(time, answer).await.ok().map(|Ok(answer)| answer),
    }
}

/// The answer to HEAD (RFC 9110 section 9.3.2). hyper leaves the body out by itself in HTTP/1 only.
fn without_body<B>(answer: Response<Answer<B>>) -> Response<Answer<B>>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, Answer::Right(Full::default()))
}

#[cfg(test)]
mod tests;
