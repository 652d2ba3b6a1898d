//! Per-connection state: its limits of time and memory.

use std::{
    convert::Infallible,
    future::poll_fn,
    io, mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    body::{Answer, RequestBody, ResponseBody, Upload},
    error::ProtocolError,
    limits::Limits,
    protocol::Protocol,
    server::ServerService,
    service::{discard, server_error},
};

/// The shortest limit for a head that hyper takes, in octets.
const LEAST_HEAD: usize = 8192;
/// The longest time that is waited for: a century, which a moment can be put off by, unlike
/// [`time::Duration::MAX`].
pub(crate) const LONGEST: time::Duration = time::Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// The shortest time that is waited for: the resolution of timers.
const SHORTEST: time::Duration = time::Duration::from_millis(1);

/// The most HTTP/2 streams of a connection. Clients queue further requests.
const STREAMS: u32 = 32;
/// How far an HTTP/2 client may be ahead of the service with a body, in octets.
const STREAM_WINDOW: u32 = 32 * 1024;
/// The same for all streams: bodies that wait do not take the window from those that are read.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// How connections are served: HTTP/1.0, HTTP/1.1, and HTTP/2 by prior knowledge.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    limits: Limits,
    builder: auto::Builder<TokioExecutor>,
    /// For connections of one request, which is answered with an error.
    refusing: auto::Builder<TokioExecutor>,
}

impl Http {
    pub(crate) fn new(mut limits: Limits) -> Self {
        for time in [&mut limits.head_time, &mut limits.idle_time, &mut limits.response_time] {
            *time = (*time).clamp(SHORTEST, LONGEST);
        }
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            // A client that has sent its request and closed its side still wants the answer.
            .half_close(true)
            .max_buf_size(limits.head_octets.max(LEAST_HEAD))
            // `Activity` has the same for connections of all kinds.
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
        Self { limits, builder, refusing }
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
        let mut limits = self.limits.clone();
        let builder = match connection.is_beyond_limit() {
            false => &self.builder,
            true => {
                limits.idle_time = limits.head_time;
                &self.refusing
            }
        };
        let activity = Arc::new(Activity::new(connection));
        let service = Attended { service, activity: Arc::clone(&activity), limits: limits.clone() };
        let stream = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
        let mut serving = pin!(builder.serve_connection(stream, TowerToHyperService::new(service)));
        let deadline = tokio::select! {
            biased;
            ended = serving.as_mut() => return log(ended),
            overdue = activity.overdue(&limits) => match overdue {
                Overdue::Idle => Instant::now() + limits.head_time,
                Overdue::Head => return tracing::debug!("the head of a request took too long"),
                Overdue::Response => return tracing::debug!("a client took too long to take its response"),
            },
            deadline = draining.begun() => deadline,
        };
        serving.as_mut().graceful_shutdown();
        match time::timeout_at(deadline, serving).await {
            Ok(ended) => log(ended),
            Err(_) => tracing::debug!("a connection was busy for too long and is closed"),
        }
    }
}

fn log(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection failed");
    }
}

/// What happens on a connection, and since when.
#[derive(Debug)]
pub(crate) struct Activity {
    pub(crate) connection: Connection,
    at: Mutex<At>,
}

#[derive(Debug)]
struct At {
    /// The requests whose responses the client has not taken.
    requests: usize,
    /// When their responses were ready, of those that are: the oldest first.
    responses: Vec<(u64, Instant)>,
    next_response: u64,
    /// Since when the connection is idle, or the head of a request is arriving. Only while there are no
    /// requests.
    since: Instant,
    /// Nothing has arrived yet.
    silent: bool,
    head: bool,
    /// HTTP/2, where octets that arrive need not belong to a request.
    frames: bool,
}

/// What has taken too long.
#[derive(Debug, PartialEq, Eq)]
enum Overdue {
    Head,
    Response,
    Idle,
}

impl Activity {
    pub(crate) fn new(connection: Connection) -> Self {
        let at = At {
            requests: 0,
            responses: Vec::new(),
            next_response: 0,
            since: Instant::now(),
            silent: true,
            head: false,
            frames: false,
        };
        Self { connection, at: Mutex::new(at) }
    }

    fn at(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Octets have arrived.
    fn has_read(&self) {
        let mut at = self.at();
        at.silent = false;
        if at.requests == 0 && !at.head && !at.frames {
            (at.head, at.since) = (true, Instant::now());
        }
    }

    /// The head of a request has arrived. The request ends when the client has taken its response or left.
    fn begin(self: &Arc<Self>, version: Version) -> InProgress {
        self.connection.used();
        let mut at = self.at();
        (at.head, at.frames) = (false, version == Version::HTTP_2);
        at.requests += 1;
        InProgress { activity: Arc::clone(self), response: None }
    }

    /// Returns when something has taken too long. Octets that belong to no request, such as HTTP/2's PING,
    /// are no progress.
    async fn overdue(&self, limits: &Limits) -> Overdue {
        loop {
            let now = Instant::now();
            // What begins from now on is not overdue before that.
            let mut look = now + limits.head_time.min(limits.response_time).min(limits.idle_time);
            {
                let at = self.at();
                let due = match at.responses.first() {
                    Some((_, since)) => Some((Overdue::Response, *since + limits.response_time)),
                    None if at.requests > 0 => None,
                    None if at.head || at.silent => Some((Overdue::Head, at.since + limits.head_time)),
                    None => Some((Overdue::Idle, at.since + limits.idle_time)),
                };
                if let Some((overdue, due)) = due {
                    if due <= now {
                        return overdue;
                    }
                    look = look.min(due);
                }
            }
            time::sleep_until(look).await;
        }
    }
}

/// A request of a connection, until its client has taken the response.
#[derive(Debug)]
pub(crate) struct InProgress {
    activity: Arc<Activity>,
    response: Option<u64>,
}

impl InProgress {
    /// The response is ready, so that the client has to make progress.
    pub(crate) fn has_response(&mut self) {
        let mut at = self.activity.at();
        let id = at.next_response;
        at.next_response += 1;
        at.responses.push((id, Instant::now()));
        self.response = Some(id);
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.activity.connection
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.activity.connection.used();
        let mut at = self.activity.at();
        at.requests -= 1;
        at.since = Instant::now();
        if let Some(id) = self.response {
            at.responses.retain(|(other, _)| *other != id);
        }
    }
}

/// A stream that reports to the activity of its connection.
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

    /// Always: so bodies are written from where they are, and counted until they are written.
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

/// The service of a connection. Ends a request that takes too long, such as one whose body stops arriving,
/// and waits with a request while too many octets are pending.
#[derive(Clone)]
struct Attended<S> {
    service: S,
    activity: Arc<Activity>,
    limits: Limits,
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
                // A client that is still sending when the connection closes never sees why.
                let _ = time::timeout(request_time, discard(request.into_body())).await;
                respond(error(ProtocolError::TooManyConnections))
            });
        }
        let octets = Upload::octets(request.body());
        let upload = Arc::new(Upload::new(connection.clone()));
        let request = request.map(|body| RequestBody::new(body, Arc::clone(&upload)));
        // The service that is ready is this one, not its clone.
        let next = self.service.clone();
        let mut service = mem::replace(&mut self.service, next);
        Box::pin(async move {
            let answer = async {
                upload.begin(connection.hold_when_free(octets, connection_octets).await);
                service.call(request).await
            };
            let answer = in_time(request_time, answer).await;
            drop(upload);
            respond(answer.map_or_else(|| error(ProtocolError::Timeout), |answer| answer.map(Either::Left)))
        })
    }
}

/// The response of a service, if it is ready in time.
async fn in_time<T>(time: time::Duration, answer: impl Future<Output = Result<T, Infallible>>) -> Option<T> {
    let mut answer = pin!(answer);
    // Most answers are ready at once, and need no timer.
    let at_once = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
    match at_once {
        Poll::Ready(Ok(answer)) => Some(answer),
        Poll::Pending => time::timeout(time, answer).await.ok().map(|Ok(answer)| answer),
    }
}

/// The answer to HEAD (RFC 9110 section 9.3.2), which hyper sends so by itself in HTTP/1 only.
fn without_body<B>(answer: Response<Answer<B>>) -> Response<Answer<B>>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
{
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, Answer::Right(Full::default()))
}

#[cfg(test)]
mod tests;
