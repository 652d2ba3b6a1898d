//! The server over loopback sockets: connections, truncated bodies, limits and shutdown.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sd_backend_memory::MemoryRegistry;
use sd_core::{Action, CloudMap, Fault, ManualClock, Scope, request::ListNamespacesRequest};
use sd_http::{AdminRoutes, BODY_LIMIT, CloudMapService, HttpServer, Limits, Readiness, RequestBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower_service::Service;

async fn start() -> (HttpServer, SocketAddr, CloudMap) {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let server = HttpServer::bind("127.0.0.1:0", CloudMapService::new(cloud_map.clone())).await.unwrap();
    let address = server.local_addrs()[0];
    (server, address, cloud_map)
}

fn request(body: &str, length: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: data-anything\r\nContent-Length: {length}\r\n\
         X-Amz-Target: Route53AutoNaming_v20170314.CreateHttpNamespace\r\n\r\n{body}"
    )
}

/// Sends `bytes` and reads until the server closes its side.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A server that does not read the rest of a body may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn namespaces(cloud_map: &CloudMap) -> usize {
    cloud_map.at(Scope::default()).list_namespaces(ListNamespacesRequest::new()).unwrap().items.len()
}

#[tokio::test]
async fn requests_share_a_connection() {
    let (server, address, cloud_map) = start().await;
    let mut two = request(r#"{"Name":"a"}"#, 12);
    two.push_str(&request(r#"{"Name":"b"}"#, 12));
    let answer = exchange(address, two.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert_eq!(namespaces(&cloud_map), 2);
    server.shutdown().await;
}

#[tokio::test]
async fn a_truncated_body_changes_nothing() {
    let (server, address, cloud_map) = start().await;
    exchange(address, request(r#"{"Name":"a"}"#, 100).as_bytes()).await;
    exchange(address, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le").await;
    exchange(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello").await;
    assert_eq!(namespaces(&cloud_map), 0);
    server.shutdown().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let (server, address, cloud_map) = start().await;
    let body = format!(r#"{{"Name":"a","Description":"{}"}}"#, "x".repeat(BODY_LIMIT));
    let answer = exchange(address, request(&body, body.len()).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(namespaces(&cloud_map), 0);
    server.shutdown().await;
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let (server, address, cloud_map) = start().await;
    let padded = |octets: usize| {
        request(r#"{"Name":"a"}"#, 12).replacen("Host", &format!("X-Pad: {}\r\nHost", "x".repeat(octets)), 1)
    };
    assert!(exchange(address, padded(16 * 1024).as_bytes()).await.starts_with("HTTP/1.1 200 OK"));
    assert!(exchange(address, padded(64 * 1024).as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many =
        request(r#"{"Name":"b"}"#, 12).replacen("Host", &format!("{}Host", "X-A: b\r\n".repeat(200)), 1);
    assert!(exchange(address, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert_eq!(namespaces(&cloud_map), 1);
    server.shutdown().await;
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_refused_while_all_others_are_busy() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let service = CloudMapService::new(cloud_map.clone());
    let server = HttpServer::bind_with("127.0.0.1:0", service, Limits::default().with_connections(2)).await;
    let server = server.unwrap();
    let address = server.local_addrs()[0];
    let ask = request(r#"{"Name":"a"}"#, 12);
    let delay = Fault::delay(Action::CreateHttpNamespace, &clock, Duration::from_secs(3600));
    cloud_map.faults().inject(delay.times(2));
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        busy.push(stream);
    }
    while !cloud_map.faults().open().is_empty() {
        tokio::task::yield_now().await;
    }
    let answer = exchange(address, ask.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.contains(r#""__type":"ServiceUnavailable""#), "{answer}");
}

#[tokio::test]
async fn idle_connections_are_closed_for_new_ones() {
    let service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
    let server = HttpServer::bind_with("127.0.0.1:0", service, Limits::default().with_connections(4)).await;
    let server = server.unwrap();
    let address = server.local_addrs()[0];
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    for name in ["a", "b"] {
        let answer = exchange(address, request(&format!(r#"{{"Name":"{name}"}}"#), 12).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    // The longest idle ones were closed.
    assert_eq!(silent[0].read(&mut [0; 1]).await.unwrap(), 0);
    server.shutdown().await;
}

#[tokio::test]
async fn a_client_that_is_still_sending_sees_the_refusal() {
    let (server, address, cloud_map) = start().await;
    let body = "x".repeat(3_000_000);
    for _ in 0..20 {
        for (target, status) in
            [("CreateHttpNamespace", "413"), ("NoSuchOperation", "400"), ("GetService", "403")]
        {
            let ask = request(&body, body.len()).replace("CreateHttpNamespace", target);
            let ask = match status {
                "403" => ask.replacen("Host", "Origin: http://evil.example\r\nHost", 1),
                _ => ask,
            };
            let mut stream = TcpStream::connect(address).await.unwrap();
            // Fails if the server resets the connection.
            stream.write_all(ask.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
        }
    }
    assert_eq!(namespaces(&cloud_map), 0);
    server.shutdown().await;
}

/// A body far beyond the limits, which counts the bytes that are read of it.
#[derive(Clone, Default)]
struct Long(Arc<AtomicUsize>);

impl Body for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
        let read = self.0.fetch_add(PIECE.len(), Ordering::Relaxed);
        let more = read < 100 * BODY_LIMIT;
        Poll::Ready(more.then(|| Ok(Frame::data(Bytes::from_static(&PIECE)))))
    }
}

#[tokio::test]
async fn no_request_makes_the_server_read_a_body_beyond_the_limit() {
    let mut service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
    for (path, target, origin, status) in [
        ("/", "CreateHttpNamespace", "http://localhost", StatusCode::PAYLOAD_TOO_LARGE),
        ("/", "NoSuchOperation", "http://localhost", StatusCode::BAD_REQUEST),
        ("/", "CreateHttpNamespace", "http://evil.example", StatusCode::FORBIDDEN),
        ("/moto-api/reset", "", "http://localhost", StatusCode::PAYLOAD_TOO_LARGE),
        ("/moto-api/reset", "", "http://evil.example", StatusCode::FORBIDDEN),
    ] {
        let body = Long::default();
        let request = Request::post(format!("http://localhost{path}")).header("origin", origin);
        let request = match target {
            "" => request,
            _ => request.header("x-amz-target", format!("Route53AutoNaming_v20170314.{target}")),
        };
        let answer = service.call(request.body(body.clone()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), status, "{path} {target} {origin}");
        let read = body.0.load(Ordering::Relaxed);
        assert!((BODY_LIMIT..=17 * BODY_LIMIT).contains(&read), "{path} {target} {origin}: {read}");
    }
}

#[tokio::test]
async fn the_head_limit_applies_to_http2() {
    let service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
    let server = HttpServer::bind("127.0.0.1:0", service).await.unwrap();
    let stream = TokioIo::new(TcpStream::connect(server.local_addrs()[0]).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (mut client, connection) = builder.max_header_list_size(1 << 20).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut status = async |octets: usize| {
        let mut request =
            Request::post("http://x/").header("X-Amz-Target", "Route53AutoNaming_v20170314.ListNamespaces");
        for _ in 0..octets / 1024 {
            request = request.header("x-pad", "x".repeat(1024));
        }
        client.ready().await.unwrap();
        let answer = client.send_request(request.body(Full::<Bytes>::default()).unwrap()).await;
        answer.map(|answer| answer.status().as_u16())
    };
    assert_eq!(status(24 * 1024).await.unwrap(), 200);
    assert_eq!(status(40 * 1024).await.unwrap(), 431);
    assert_eq!(status(24 * 1024).await.unwrap(), 200);
}

#[tokio::test]
async fn idle_and_slow_clients_do_not_delay_others() {
    let (server, address, cloud_map) = start().await;
    let mut others = Vec::new();
    for i in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        match i % 4 {
            0 => stream.write_all(b"POST / HTTP/1.1\r\nHos").await.unwrap(),
            1 => stream.write_all(request("{", 12).as_bytes()).await.unwrap(),
            _ => {}
        }
        others.push(stream);
    }
    let answer = exchange(address, request(r#"{"Name":"a"}"#, 12).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(namespaces(&cloud_map), 1);
    drop(others);
    server.shutdown().await;
}

#[tokio::test]
async fn a_slow_answer_is_not_reported_as_a_missing_body() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    cloud_map.faults().inject(Fault::delay(Action::CreateHttpNamespace, &clock, Duration::from_secs(1)));
    let limits = Limits::default().with_request_time(Duration::ZERO);
    let server = HttpServer::bind_with("127.0.0.1:0", CloudMapService::new(cloud_map), limits).await.unwrap();
    let answer = exchange(server.local_addrs()[0], request(r#"{"Name":"a"}"#, 12).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("its answer was not ready"), "{answer}");
    server.shutdown().await;
}

#[tokio::test]
async fn every_form_of_an_http_request_is_accepted() {
    let (server, address, cloud_map) = start().await;
    let target = "X-Amz-Target: Route53AutoNaming_v20170314.CreateHttpNamespace";
    for (version, bytes) in [
        ("1.0", format!("POST / HTTP/1.0\r\nContent-Length: 12\r\n{target}\r\n\r\n{{\"Name\":\"a\"}}")),
        (
            "1.1",
            format!(
                "POST http://data-x/y HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n{target}\r\n\r\n{{\"Name\":\"b\"}}"
            ),
        ),
        (
            "1.1",
            format!(
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{target}\r\n\r\n\
                 6\r\n{{\"Name\r\n6\r\n\":\"c\"}}\r\n0\r\n\r\n"
            ),
        ),
    ] {
        let answer = exchange(address, bytes.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/{version} 200 OK")), "{answer}");
    }
    assert_eq!(namespaces(&cloud_map), 3);
    server.shutdown().await;
}

#[tokio::test]
async fn http2_works_with_prior_knowledge() {
    let (server, address, cloud_map) = start().await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    for name in ["a", "b"] {
        let request = Request::post("http://x/")
            .header("X-Amz-Target", "Route53AutoNaming_v20170314.CreateHttpNamespace")
            .body(Full::<Bytes>::from(format!(r#"{{"Name":"{name}"}}"#)))
            .unwrap();
        assert_eq!(client.send_request(request).await.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(namespaces(&cloud_map), 2);
    // The answer to a HEAD request has no body; clients reject one.
    for target in ["Route53AutoNaming_v20170314.ListNamespaces", "none"] {
        let request = Request::head("http://localhost/").header("X-Amz-Target", target);
        let answer = client.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        let length = answer.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap();
        assert!(length > 20, "{length}");
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    server.shutdown().await;
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn localhost_listens_on_ipv4_and_on_ipv6_if_available() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let server = HttpServer::bind("LocalHost:0", CloudMapService::new(cloud_map)).await.unwrap();
    let addresses = server.local_addrs();
    assert!(addresses[0].is_ipv4());
    assert_eq!(addresses.len(), if std::net::TcpListener::bind("[::1]:0").is_ok() { 2 } else { 1 });
    assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
    for address in addresses {
        let answer = exchange(*address, request("{}", 2).as_bytes()).await;
        assert!(answer.contains("Value null at 'name'"), "{answer}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_port_picked_by_the_system_is_free_on_both_addresses() {
    // Ports taken on one of the addresses only. Without IPv6 there are none.
    let taken: Vec<_> = (0..512).map_while(|_| std::net::TcpListener::bind("[::1]:0").ok()).collect();
    for _ in 0..64 {
        let cloud_map = CloudMap::new(MemoryRegistry::new());
        let server = HttpServer::bind("localhost:0", CloudMapService::new(cloud_map)).await.unwrap();
        assert_eq!(server.local_addrs().len(), if taken.is_empty() { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_wrapping_service_may_answer_with_any_body_type() {
    /// A service around the API.
    #[derive(Clone)]
    struct Boxed(CloudMapService);

    impl Service<Request<RequestBody>> for Boxed {
        type Response = Response<BoxBody<Bytes, Infallible>>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Service::<Request<RequestBody>>::poll_ready(&mut self.0, context)
        }

        fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
            let answer = self.0.call(request);
            Box::pin(async move { Ok(answer.await?.map(BodyExt::boxed)) })
        }
    }

    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let server = HttpServer::bind("127.0.0.1:0", Boxed(CloudMapService::new(cloud_map))).await.unwrap();
    let answer = exchange(server.local_addrs()[0], request(r#"{"Name":"a"}"#, 12).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    server.shutdown().await;
}

#[tokio::test]
async fn the_error_names_the_port_in_use() {
    let (server, address, cloud_map) = start().await;
    let error = HttpServer::bind(&address.to_string(), CloudMapService::new(cloud_map)).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    server.shutdown().await;
}

#[tokio::test]
async fn shutdown_finishes_requests_in_progress() {
    let (server, address, cloud_map) = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    // `100 Continue` shows that the server has started to read the request.
    let head = request("", 12).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut buffer = [0; 25];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"HTTP/1.1 100 Continue\r\n\r\n");
    let down = tokio::spawn(server.shutdown());
    stream.write_all(br#"{"Name":"a"}"#).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    down.await.unwrap();
    assert_eq!(namespaces(&cloud_map), 1);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn health_is_always_200_and_readiness_follows_its_switch() {
    let readiness = Readiness::new();
    let routes = AdminRoutes::new(CloudMap::new(MemoryRegistry::new()), readiness.clone()).into_router();
    let server = HttpServer::bind("127.0.0.1:0", routes).await.unwrap();
    let address = server.local_addrs()[0];
    let get = async |path: &str| {
        let get = format!("GET /_sd/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        exchange(address, get.as_bytes()).await
    };
    let expect = async |line: &str, status: &str| {
        let ready = get("ready").await;
        assert!(
            ready.starts_with(line) && ready.ends_with(&format!(r#"{{"status":"{status}"}}"#)),
            "{ready}"
        );
        let health = get("health").await;
        assert!(health.starts_with("HTTP/1.1 200") && health.ends_with(r#"{"status":"ok","revision":0}"#));
    };
    expect("HTTP/1.1 503", "starting").await;
    readiness.ready();
    expect("HTTP/1.1 200", "ready").await;
    readiness.draining();
    expect("HTTP/1.1 503", "draining").await;
    readiness.ready();
    expect("HTTP/1.1 503", "draining").await;
    server.shutdown().await;
}
