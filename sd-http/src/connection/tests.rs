//! The limits of a connection, by a clock that stands still.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
    time::Duration,
};

use http_body_util::{BodyExt, StreamBody};
use hyper::client::conn::http2;
use sd_net::{Connections, Drain};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, JoinSet},
};
use tower_service::Service;

use super::*;
use crate::counters::ConnectionCounters;

const ANSWER: usize = 100_000;

/// Reads a request and answers with 2 octets, or with [`ANSWER`] octets to `/long`.
#[derive(Clone, Default)]
struct Reader {
    begun: Arc<AtomicUsize>,
}

impl Service<Request<RequestBody>> for Reader {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        self.begun.fetch_add(1, Ordering::Relaxed);
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
        .with_response_time(Duration::from_secs(40))
        .with_idle_time(Duration::from_secs(60))
}

/// Serves one end of a stream, and returns the other.
fn serve(
    limits: Limits,
    service: Reader,
    connections: &Connections,
    draining: Draining,
) -> (DuplexStream, JoinHandle<()>) {
    serve_counted(limits, service, connections, draining, Arc::default())
}

fn serve_counted(
    limits: Limits,
    service: Reader,
    connections: &Connections,
    draining: Draining,
    counts: Arc<ConnectionCounts>,
) -> (DuplexStream, JoinHandle<()>) {
    let (stream, server) = duplex(1024);
    let (connection, place) = connections.connect();
    let served = tokio::spawn(async move {
        Http::new(limits, counts).serve(server, service, connection, draining).await;
        drop(place);
    });
    (stream, served)
}

struct Client {
    stream: DuplexStream,
    served: JoinHandle<()>,
    started: Instant,
    drain: Drain,
    counts: Arc<ConnectionCounts>,
}

impl Client {
    fn of(limits: Limits) -> Self {
        Self::among(&Connections::new(1, usize::MAX), limits)
    }

    fn among(connections: &Connections, limits: Limits) -> Self {
        let drain = Drain::new();
        let counts = Arc::default();
        let (stream, served) =
            serve_counted(limits, Reader::default(), connections, drain.signal(), Arc::clone(&counts));
        Self { stream, served, started: Instant::now(), drain, counts }
    }

    fn new() -> Self {
        Self::of(limits())
    }

    fn drain(&self) {
        self.drain.begin(Instant::now() + Duration::from_secs(10));
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

    /// The octets that still come until the server closes the connection, and the seconds until then.
    async fn end(mut self) -> (String, u64) {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).await.unwrap();
        self.served.await.unwrap();
        (rest, self.started.elapsed().as_secs())
    }
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_after_the_time_of_a_head() {
    assert_eq!(Client::new().end().await, (String::new(), 5));
}

#[tokio::test(start_paused = true)]
async fn idle_time_begins_with_the_last_answer() {
    let mut client = Client::new();
    for _ in 0..3 {
        client.send(GET).await;
        assert!(client.answer().await.starts_with("HTTP/1.1 200 OK"));
        time::sleep(Duration::from_secs(50)).await;
    }
    assert_eq!(client.end().await, (String::new(), 160));
}

#[tokio::test(start_paused = true)]
async fn a_limit_may_be_unlimited() {
    let forever = limits()
        .with_head_time(Duration::MAX)
        .with_request_time(Duration::MAX)
        .with_response_time(Duration::MAX)
        .with_idle_time(Duration::MAX)
        .with_drain_time(Duration::MAX);
    let mut client = Client::of(forever);
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
async fn a_slow_head_closes_the_connection() {
    for first in ["P", "GET / HTTP/1.1\r\nX: ", "PRI * HTTP/2.0\r\n"] {
        let mut client = Client::new();
        time::sleep(Duration::from_secs(3)).await;
        client.send(first).await;
        for _ in 0..4 {
            time::sleep(Duration::from_secs(1)).await;
            // Octets that arrive do not extend the time.
            client.send(if first.starts_with("GET") { "x" } else { "" }).await;
        }
        assert_eq!(client.end().await, (String::new(), 8), "{first}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_answered_with_408() {
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

/// Each response has the whole time. Octets that are taken slowly do not extend it.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_taken_in_time_closes_the_connection() {
    let mut client = Client::new();
    for _ in 0..3 {
        client.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut taken = 0;
        while taken < ANSWER {
            time::sleep(Duration::from_millis(300)).await;
            let read = client.stream.read(&mut [0; 1024]).await.unwrap();
            assert_ne!(read, 0, "{taken}");
            taken += read;
        }
    }
    client.send("GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let begun = Instant::now();
    for _ in 0..39 {
        time::sleep(Duration::from_secs(1)).await;
        assert_ne!(client.stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
    client.served.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_finishes_requests_in_progress_until_its_deadline() {
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
async fn a_connection_beyond_the_limit_is_refused_and_closed() {
    let connections = Connections::new(1, usize::MAX);
    let (first, _place) = connections.connect();
    let _busy = first.busy();
    let mut client = Client::among(&connections, limits());
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await;
    let (answer, _) = client.end().await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    // Without a request it is closed after the time of a head.
    assert_eq!(Client::among(&connections, limits()).end().await, (String::new(), 5));
}

#[tokio::test(start_paused = true)]
async fn connections_that_the_server_ends_are_counted_by_reason() {
    let counted = |counters| ConnectionCounters { accepted: 1, ..counters };
    let none = ConnectionCounters::default();
    let idle = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let upload = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n";
    let long = "GET /long HTTP/1.1\r\nHost: x\r\n\r\n";
    for (sent, expected) in [
        ("", ConnectionCounters { head_timeouts: 1, ..none }),
        (idle, ConnectionCounters { idle_timeouts: 1, ..none }),
        (upload, ConnectionCounters { request_timeouts: 1, ..none }),
        (long, ConnectionCounters { response_timeouts: 1, ..none }),
    ] {
        let mut client = Client::new();
        client.send(sent).await;
        client.served.await.unwrap();
        assert_eq!(client.counts.read(0, 0), counted(expected), "{sent}");
    }
    let client = Client::new();
    tokio::task::yield_now().await;
    client.served.abort();
    assert!(client.served.await.unwrap_err().is_cancelled());
    assert_eq!(client.counts.read(0, 0), counted(ConnectionCounters { cut_off: 1, ..none }));

    let connections = Connections::new(1, usize::MAX);
    let (first, _place) = connections.connect();
    let _busy = first.busy();
    let client = Client::among(&connections, limits());
    let counts = Arc::clone(&client.counts);
    client.end().await;
    // Its time is that of a head: it counts as idle after its answer, or as a slow head before.
    assert_eq!(counts.read(0, 0), counted(ConnectionCounters { refused: 1, head_timeouts: 1, ..none }));
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_of_zero_do_not_spin() {
    let (connection, _place) = Connections::new(1, usize::MAX).connect();
    let activity = Arc::new(Activity::new(connection));
    let _request = activity.begin(Version::HTTP_11);
    let limits = limits().with_head_time(Duration::ZERO).with_response_time(Duration::ZERO);
    let limits = Http::new(limits.with_idle_time(Duration::ZERO), Arc::default()).limits;
    let woken = Arc::new(Woken::default());
    let mut overdue = pin!(activity.overdue(&limits));
    assert_eq!(overdue.as_mut().poll(&mut Context::from_waker(&woken.clone().into())), Poll::Pending);
    // It waits for the clock, which stands still.
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
}

type Requests<B> = http2::SendRequest<B>;

/// An HTTP/2 client that sends PING, and takes `window` octets of a response.
async fn http2_client<B>(stream: DuplexStream, window: u32) -> Requests<B>
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window).timer(TokioTimer::new());
    builder.keep_alive_interval(Duration::from_secs(3)).keep_alive_while_idle(true);
    let (client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(start_paused = true)]
async fn http2_responses_that_are_not_taken_are_bounded_in_octets_and_time() {
    let connections = Connections::new(1, usize::MAX);
    let (drain, service) = (Drain::new(), Reader::default());
    let limits = limits().with_connection_octets(3 * ANSWER);
    let (stream, served) = serve(limits, service.clone(), &connections, drain.signal());
    let mut client = http2_client::<Full<Bytes>>(stream, 0).await;
    let begun = Instant::now();
    let mut responses = JoinSet::new();
    for _ in 0..200 {
        client.ready().await.unwrap();
        responses.spawn(client.send_request(Request::get("http://x/long").body(Full::default()).unwrap()));
    }
    time::sleep(Duration::from_secs(10)).await;
    // One more than fits: a request begins as long as there is room.
    assert_eq!(service.begun.load(Ordering::Relaxed), 4);
    assert_eq!(connections.held(), 4 * ANSWER);
    served.await.unwrap();
    // The octets of PING do not extend the time.
    assert_eq!(begun.elapsed().as_secs(), 40);
    while let Some(response) = responses.join_next().await {
        drop(response);
    }
    assert_eq!(connections.held(), 0);
}

/// A body that is announced and never arrives.
fn stalled() -> StreamBody<Stalled> {
    StreamBody::new(Stalled)
}

struct Stalled;

impl futures_util::Stream for Stalled {
    type Item = Result<hyper::body::Frame<Bytes>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn http2_uploads_are_bounded_in_octets_and_time() {
    let connections = Connections::new(1, usize::MAX);
    let (drain, service) = (Drain::new(), Reader::default());
    let limits = limits().with_connection_octets(2 * 1024 * 1024);
    let (stream, served) = serve(limits, service.clone(), &connections, drain.signal());
    let mut client = http2_client(stream, 0).await;
    let mut responses = JoinSet::new();
    for _ in 0..200 {
        client.ready().await.unwrap();
        let response = client.send_request(Request::post("http://x/").body(stalled()).unwrap());
        responses.spawn(async move { response.await.map(|response| response.status()) });
    }
    time::sleep(Duration::from_secs(19)).await;
    assert_eq!(service.begun.load(Ordering::Relaxed), 2);
    assert_eq!(connections.held(), 2 * 1024 * 1024);
    let begun = Instant::now();
    // Requests that waited for room have no more time than the others.
    for _ in 0..STREAMS {
        let status = responses.join_next().await.unwrap().unwrap().unwrap();
        assert_eq!(status, http::StatusCode::REQUEST_TIMEOUT);
    }
    assert_eq!(begun.elapsed().as_secs(), 1);
    drop(client);
    responses.shutdown().await;
    served.await.unwrap();
    assert_eq!(connections.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn http2_frames_between_requests_do_not_extend_the_idle_time() {
    let connections = Connections::new(1, usize::MAX);
    let drain = Drain::new();
    let (stream, served) = serve(limits(), Reader::default(), &connections, drain.signal());
    let mut client = http2_client::<Full<Bytes>>(stream, 1000).await;
    let answer = client.send_request(Request::get("http://x/").body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "xx");
    let begun = Instant::now();
    served.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_connection_with_most_pending_octets_is_closed_first() {
    let connections = Connections::new(10, 5 * ANSWER);
    let (drain, service) = (Drain::new(), Reader::default());
    let mut ends = Vec::new();
    let mut responses = JoinSet::new();
    // The first has three responses pending, the others one each.
    for requests in [3, 1, 1, 1] {
        let (stream, server) = duplex(1024);
        let (service, connections, draining) = (service.clone(), connections.clone(), drain.signal());
        let once = Once(Mutex::new(Some(server)));
        let accept = async move {
            let serve = move |stream, connection, draining| {
                let service = service.clone();
                let http = Http::new(limits(), Arc::default());
                async move { http.serve(stream, service, connection, draining).await }
            };
            connections.accept(once, draining, serve).await;
        };
        tokio::spawn(accept);
        let mut client = http2_client::<Full<Bytes>>(stream, 0).await;
        for _ in 0..requests {
            client.ready().await.unwrap();
            let get = Request::get("http://x/long").body(Full::default()).unwrap();
            responses.spawn(client.send_request(get));
        }
        time::sleep(Duration::from_secs(1)).await;
        ends.push(client);
    }
    assert_eq!(connections.held(), 3 * ANSWER);
    let closed: Vec<_> = ends.iter().map(http2::SendRequest::is_closed).collect();
    assert_eq!(closed, [true, false, false, false]);
}

/// A listener of one connection.
struct Once(Mutex<Option<DuplexStream>>);

impl sd_net::Listener for Once {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<DuplexStream> {
        let stream = self.0.lock().unwrap().take();
        match stream {
            Some(stream) => Ok(stream),
            None => std::future::pending().await,
        }
    }
}
