//! The server over loopback sockets: connections, bodies that are cut off, an orderly end.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::net::SocketAddr;

use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, Scope, request::ListNamespacesRequest};
use sd_http::{BODY_LIMIT, CloudMapService, HttpServer, admin_routes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

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

/// Sends and reads until the server closes its side.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A server that does not want the rest of a body may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn namespaces(cloud_map: &CloudMap) -> usize {
    cloud_map.at(Scope::default()).list_namespaces(&ListNamespacesRequest::new()).unwrap().items.len()
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
async fn a_body_that_is_cut_off_changes_nothing() {
    let (server, address, cloud_map) = start().await;
    exchange(address, request(r#"{"Name":"a"}"#, 100).as_bytes()).await;
    exchange(address, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Le").await;
    exchange(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello").await;
    assert_eq!(namespaces(&cloud_map), 0);
    server.shutdown().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let (server, address, cloud_map) = start().await;
    let body = format!(r#"{{"Name":"a","Description":"{}"}}"#, "x".repeat(BODY_LIMIT));
    let answer = exchange(address, request(&body, body.len()).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(namespaces(&cloud_map), 0);
    server.shutdown().await;
}

#[tokio::test]
async fn localhost_is_both_families_where_there_are_two() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let server = HttpServer::bind("localhost:0", CloudMapService::new(cloud_map)).await.unwrap();
    let addresses = server.local_addrs();
    assert!(addresses[0].is_ipv4());
    assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
    for address in addresses {
        let answer = exchange(*address, request("{}", 2).as_bytes()).await;
        assert!(answer.contains("Value null at 'name'"), "{answer}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let (server, address, cloud_map) = start().await;
    let error = HttpServer::bind(&address.to_string(), CloudMapService::new(cloud_map)).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    server.shutdown().await;
}

#[tokio::test]
async fn shutdown_finishes_the_request_that_is_under_way() {
    let (server, address, cloud_map) = start().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The continuation tells that the server has begun with the request.
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
async fn the_admin_port_tells_that_the_process_serves() {
    let server =
        HttpServer::bind("127.0.0.1:0", admin_routes(CloudMap::new(MemoryRegistry::new()))).await.unwrap();
    let get = b"GET /_sd/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = exchange(server.local_addrs()[0], get).await;
    assert!(answer.contains("200 OK") && answer.ends_with(r#"{"status":"ok","revision":0}"#), "{answer}");
    server.shutdown().await;
}
