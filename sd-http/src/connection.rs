//! A connection: what it is at, and how long it may be at that.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
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
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::{self, Instant},
};
use tower_service::Service;

use crate::{
    error::ProtocolError,
    limits::Limits,
    protocol::Protocol,
    service::{protocol_error, read},
};

/// The shortest limit for a head that hyper takes, in octets.
const LEAST_HEAD: usize = 8192;
/// The longest time that is waited for: a century, which a moment can be put off by, unlike [`time::Duration::MAX`].
pub(crate) const LONGEST: time::Duration = time::Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Serves connections: HTTP/1.0, HTTP/1.1, and HTTP/2 by prior knowledge.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    limits: Limits,
    builder: auto::Builder<TokioExecutor>,
    refused: bool,
}

impl Connections {
    pub(crate) fn new(mut limits: Limits) -> Self {
        limits.head_time = limits.head_time.min(LONGEST);
        limits.idle_time = limits.idle_time.min(LONGEST);
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
            .max_header_list_size(u32::try_from(limits.head_octets).unwrap_or(u32::MAX));
        Self { limits, builder, refused: false }
    }

    /// For connections of one request, which is answered with an error.
    pub(crate) fn refusing(mut self) -> Self {
        self.builder.http1().keep_alive(false);
        self.limits.idle_time = self.limits.head_time;
        self.refused = true;
        self
    }

    /// Serves a connection until it ends, takes too long, or is `stopped` and has finished what it was at.
    pub(crate) async fn serve<I, S, B>(
        &self,
        stream: I,
        service: S,
        mut stopped: watch::Receiver<Option<Instant>>,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Limits { request_time, head_time, .. } = self.limits;
        let activity = Arc::new(Activity::default());
        let service = Attended { service, activity: activity.clone(), refused: self.refused, request_time };
        let stream = TokioIo::new(Watched { stream, activity: activity.clone() });
        let mut connection = pin!(self.builder.serve_connection(stream, TowerToHyperService::new(service)));
        let deadline = tokio::select! {
            biased;
            ended = connection.as_mut() => return log(ended),
            overdue = activity.overdue(&self.limits) => match overdue {
                Overdue::Head => return tracing::debug!("the head of a request took too long"),
                Overdue::Idle => Instant::now() + head_time,
            },
            // Without the server's handle there is nothing to wait for.
            deadline = stopped.wait_for(Option::is_some) => {
                deadline.ok().and_then(|deadline| *deadline).unwrap_or_else(Instant::now)
            }
        };
        connection.as_mut().graceful_shutdown();
        match time::timeout_at(deadline, connection).await {
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

/// What a connection is at.
#[derive(Debug)]
struct Activity(Mutex<At>);

#[derive(Debug)]
struct At {
    /// The requests whose answers are being made.
    requests: usize,
    /// If there are none: since when the connection waits, or the head of a request is arriving.
    since: Instant,
    head: bool,
    /// HTTP/2, where what arrives need not be of a request.
    frames: bool,
}

/// What has taken too long.
#[derive(Debug, PartialEq, Eq)]
enum Overdue {
    Head,
    Idle,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Mutex::new(At { requests: 0, since: Instant::now(), head: false, frames: false }))
    }
}

impl Activity {
    fn at(&self) -> MutexGuard<'_, At> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Octets have arrived.
    fn has_read(&self) {
        let mut at = self.at();
        if at.requests == 0 && !at.head && !at.frames {
            (at.head, at.since) = (true, Instant::now());
        }
    }

    /// Octets have been taken by the client.
    fn has_written(&self) {
        let mut at = self.at();
        if at.requests == 0 && !at.head {
            at.since = Instant::now();
        }
    }

    /// The head of a request is there; what is returned ends with its answer.
    fn begin(self: &Arc<Self>, version: Version) -> InProgress {
        let mut at = self.at();
        (at.head, at.frames) = (false, version == Version::HTTP_2);
        at.requests += 1;
        InProgress(self.clone())
    }

    /// Returns once something takes too long.
    async fn overdue(&self, limits: &Limits) -> Overdue {
        loop {
            let now = Instant::now();
            // A head that has yet to begin is not overdue before that.
            let mut look = now + limits.head_time;
            {
                let at = self.at();
                let (overdue, due) = match at.head {
                    true => (Overdue::Head, at.since + limits.head_time),
                    false => (Overdue::Idle, at.since + limits.idle_time),
                };
                if at.requests == 0 {
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

/// A request whose answer is being made, or was: its client may have gone.
struct InProgress(Arc<Activity>);

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut at = self.0.at();
        at.requests -= 1;
        at.since = Instant::now();
    }
}

/// A stream that tells of what passes through it.
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

impl<I: AsyncWrite + Unpin> Watched<I> {
    fn told(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.activity.has_written();
        }
        written
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.told(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.told(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The service of a connection. Ends a request that takes too long, such as one whose body stops arriving.
#[derive(Clone)]
struct Attended<S> {
    service: S,
    activity: Arc<Activity>,
    refused: bool,
    request_time: time::Duration,
}

impl<S, B> Service<Request<Incoming>> for Attended<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body + Send,
{
    type Response = Response<Answer<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let in_progress = self.activity.begin(request.version());
        let protocol = Protocol::of(request.headers(), request.uri().path());
        let time = self.request_time;
        let is_head = request.method() == Method::HEAD && request.version() == Version::HTTP_2;
        let sent = move |answer| if is_head { without_body(answer) } else { answer };
        let error =
            move |error| sent(protocol_error(protocol, &error).map(|body| Answer::Right(Full::new(body))));
        if self.refused {
            return Box::pin(async move {
                let _in_progress = in_progress;
                // A client that is still sending when the connection closes never sees why.
                let _ = time::timeout(time, read(request.into_body())).await;
                Ok(error(ProtocolError::TooManyConnections))
            });
        }
        let answer = self.service.call(request);
        Box::pin(async move {
            let _in_progress = in_progress;
            let mut answer = pin!(answer);
            // Most answers are there at once, and need no timer.
            let at_once = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
            let in_time = match at_once {
                Poll::Ready(answer) => Ok(answer),
                Poll::Pending => time::timeout(time, answer).await,
            };
            match in_time {
                Ok(answer) => answer.map(|answer| sent(answer.map(Answer::Left))),
                Err(_) => Ok(error(ProtocolError::Timeout)),
            }
        })
    }
}

/// What the service answers, or the connection itself.
type Answer<B> = Either<B, Full<Bytes>>;

/// The answer to HEAD (RFC 9110 section 9.3.2), which hyper sends so by itself in HTTP/1 only.
fn without_body<B: Body>(answer: Response<Answer<B>>) -> Response<Answer<B>> {
    let (mut head, body) = answer.into_parts();
    let length = match body {
        Answer::Left(body) => body.size_hint().exact(),
        Answer::Right(body) => body.size_hint().exact(),
    };
    if let Some(length) = length {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, Answer::Right(Full::default()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::JoinHandle,
    };
    use tower_service::Service;

    use super::*;

    const ANSWER: usize = 100_000;

    /// Reads a request and answers with as many octets as its path says.
    #[derive(Clone)]
    struct Reader;

    impl Service<Request<Incoming>> for Reader {
        type Response = Response<Full<Bytes>>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<Incoming>) -> Self::Future {
            Box::pin(async move {
                let octets = if request.uri().path() == "/long" { ANSWER } else { 2 };
                let _ = request.into_body().collect().await;
                Ok(Response::new(Full::from(vec![b'x'; octets])))
            })
        }
    }

    fn limits() -> Limits {
        Limits::default()
            .with_head_time(Duration::from_secs(5))
            .with_request_time(Duration::from_secs(20))
            .with_idle_time(Duration::from_secs(60))
    }

    struct Client {
        stream: DuplexStream,
        served: JoinHandle<()>,
        started: Instant,
        stop: watch::Sender<Option<Instant>>,
    }

    impl Client {
        fn of(connections: Connections) -> Self {
            let (stream, server) = duplex(1024);
            let (stop, stopped) = watch::channel(None);
            let served = tokio::spawn(async move { connections.serve(server, Reader, stopped).await });
            Self { stream, served, started: Instant::now(), stop }
        }

        fn new() -> Self {
            Self::of(Connections::new(limits()))
        }

        fn drain(&self) {
            self.stop.send_replace(Some(Instant::now() + Duration::from_secs(10)));
        }

        async fn send(&mut self, text: &str) {
            self.stream.write_all(text.as_bytes()).await.unwrap();
        }

        /// Reads an answer without a body of more than two octets.
        async fn answer(&mut self) -> String {
            let mut answer = String::new();
            while !answer.ends_with("\r\n\r\nxx") {
                answer.push(char::from(self.stream.read_u8().await.unwrap()));
            }
            answer
        }

        /// What else comes until the server ends the connection, and when it did, in seconds since the beginning.
        async fn end(mut self) -> (String, u64) {
            let mut rest = String::new();
            self.stream.read_to_string(&mut rest).await.unwrap();
            self.served.await.unwrap();
            (rest, self.started.elapsed().as_secs())
        }
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_closed_after_the_idle_time() {
        assert_eq!(Client::new().end().await, (String::new(), 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_since_its_last_answer() {
        let mut client = Client::new();
        for _ in 0..3 {
            time::sleep(Duration::from_secs(50)).await;
            client.send(GET).await;
            assert!(client.answer().await.starts_with("HTTP/1.1 200 OK"));
        }
        assert_eq!(client.end().await, (String::new(), 210));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_may_be_without_end() {
        let forever = limits()
            .with_head_time(Duration::MAX)
            .with_request_time(Duration::MAX)
            .with_idle_time(Duration::MAX)
            .with_drain_time(Duration::MAX);
        let mut client = Client::of(Connections::new(forever));
        for _ in 0..2 {
            time::sleep(Duration::from_secs(1_000_000)).await;
            client.send("GET / HTTP/1.1\r\n").await;
            time::sleep(Duration::from_secs(1_000_000)).await;
            client.send("Host: x\r\nContent-Length: 2\r\n\r\n").await;
            time::sleep(Duration::from_secs(1_000_000)).await;
            client.send("xx").await;
            assert!(client.answer().await.starts_with("HTTP/1.1 200 OK"));
        }
        client.drain();
        assert_eq!(client.end().await.0, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_takes_too_long_ends_the_connection() {
        for first in ["P", "GET / HTTP/1.1\r\nX: ", "PRI * HTTP/2.0\r\n"] {
            let mut client = Client::new();
            time::sleep(Duration::from_secs(7)).await;
            client.send(first).await;
            for _ in 0..4 {
                time::sleep(Duration::from_secs(1)).await;
                // Octets that arrive do not make it any better.
                client.send(if first.starts_with("GET") { "x" } else { "" }).await;
            }
            assert_eq!(client.end().await, (String::new(), 12), "{first}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_takes_too_long_is_answered_with_408() {
        let mut client = Client::new();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n").await;
        for _ in 0..19 {
            time::sleep(Duration::from_secs(1)).await;
            client.send("x").await;
        }
        let (answer, at) = client.end().await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("RequestTimeoutException"), "{answer}");
        assert_eq!(at, 20);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_dropped_and_one_that_is_taken_slowly_is_not() {
        let mut client = Client::new();
        client.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut taken = 0;
        while taken < ANSWER {
            time::sleep(Duration::from_secs(50)).await;
            taken += client.stream.read(&mut [0; 2048]).await.unwrap();
        }
        client.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let begun = Instant::now();
        client.served.await.unwrap();
        // The idle time, and what a connection has to finish.
        assert_eq!(begun.elapsed().as_secs(), 65);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ends_waits_for_what_is_under_way() {
        let mut client = Client::new();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx").await;
        time::sleep(Duration::from_secs(1)).await;
        client.drain();
        time::sleep(Duration::from_secs(8)).await;
        client.send("x").await;
        let (answer, at) = client.end().await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert_eq!(at, 9);

        let mut client = Client::new();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nx").await;
        time::sleep(Duration::from_secs(1)).await;
        client.drain();
        assert_eq!(client.end().await, (String::new(), 11));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_too_many_is_told_so_and_closed() {
        let refusing = || Client::of(Connections::new(limits()).refusing());
        let mut client = refusing();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await;
        let (answer, _) = client.end().await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
        // It does not stay for long if it asks nothing.
        assert_eq!(refusing().end().await, (String::new(), 5));
    }
}
