//! Each target has its verdict, its class and its phases, and costs one connection for each probe.

use std::{net::SocketAddr, time::Duration};

use sd_core::model::HealthCheckType::{Http, Https, Tcp};
use sd_core::{model::HealthCheckType, request::HealthCheckConfigInput};
use sd_http::health_checks::InstanceChecks;
use tokio::net::TcpListener;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::{
    setting::{INTERVAL, Setting},
    target::{Behaviour, Target},
    tls::{TlsTarget, certificate},
};

/// A result as a word: its status or its class.
fn word(checks: &InstanceChecks) -> String {
    let result = checks.results[0];
    match (result.failure, result.status) {
        (Some(failure), _) => failure.to_string(),
        (None, Some(status)) => status.to_string(),
        (None, None) => panic!("neither a status nor a failure"),
    }
}

/// The phases that a result has times of.
fn phases(checks: &InstanceChecks) -> Vec<&'static str> {
    let phases = checks.results[0].phases;
    let all = [
        ("connect", phases.connect),
        ("tls", phases.tls),
        ("first byte", phases.first_byte),
        ("status", phases.status),
    ];
    all.into_iter().filter_map(|(name, time)| time.map(|_| name)).collect()
}

/// The first result for a target that acts by itself.
async fn first(kind: HealthCheckType, address: SocketAddr) -> (String, Vec<&'static str>, String) {
    let setting = Setting::new();
    let service = setting.service(kind).await;
    setting.register(&service, "a", address).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL / 10).await;
    let checks = setting.results(&service, "a", 1).await;
    setting.until(|| setting.prober().counters().in_flight == 0).await;
    // The status is stored after the result was counted.
    let counters = || setting.prober().counters();
    setting.until(|| checks.results[0].failure.is_none() || counters().to_unhealthy == 1).await;
    (word(&checks), phases(&checks), setting.status(&service, "a"))
}

#[tokio::test]
async fn statuses_from_200_to_399_are_healthy() {
    let rows = [
        ("HTTP/1.1 200 OK", "200", "HEALTHY"),
        ("HTTP/1.1 399 ?", "399", "HEALTHY"),
        ("HTTP/1.0 204 No Content", "204", "HEALTHY"),
        ("HTTP/1.1 199 ?", "status_199", "UNHEALTHY"),
        ("HTTP/1.1 400 Bad Request", "status_400", "UNHEALTHY"),
        ("HTTP/1.1 503 Service Unavailable", "status_503", "UNHEALTHY"),
        ("HTTP/1.1 999 ?", "status_999", "UNHEALTHY"),
        // The target of a redirect is not asked: nothing listens there.
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/", "302", "HEALTHY"),
    ];
    for (line, result, status) in rows {
        let target = Target::new(Behaviour::status(line)).await;
        let told = first(Http, target.address).await;
        let all = vec!["connect", "first byte", "status"];
        assert_eq!(told, (result.to_owned(), all, status.to_owned()), "{line}");
        assert_eq!(target.connections(), 1, "{line}");
    }
}

#[tokio::test]
async fn what_is_no_response_fails() {
    let no_end = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"Name: value\r\n".repeat(80_000)].concat();
    let rows = [
        (Behaviour::Answer(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), "malformed", vec!["connect", "first byte"]),
        (Behaviour::Answer(b"HTTP/1.1 OK\r\n\r\n".to_vec()), "malformed", vec!["connect", "first byte"]),
        (
            Behaviour::Answer(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n".to_vec()),
            "malformed",
            vec!["connect", "first byte"],
        ),
        // 1 MiB of headers.
        (Behaviour::Answer(no_end), "malformed", vec!["connect", "first byte"]),
        (Behaviour::Close, "closed", vec!["connect"]),
        (Behaviour::Answer(b"HTTP/1.1 20".to_vec()), "closed", vec!["connect", "first byte"]),
        (
            Behaviour::Answer(b"HTTP/1.1 200 OK\r\nServer: x\r\n".to_vec()),
            "closed",
            vec!["connect", "first byte"],
        ),
    ];
    for (behaviour, result, phases) in rows {
        let what = format!("{behaviour:.60?}");
        let target = Target::new(behaviour).await;
        let told = first(Http, target.address).await;
        assert_eq!(told, (result.to_owned(), phases, "UNHEALTHY".to_owned()), "{what}");
        assert_eq!(target.connections(), 1, "{what}");
    }
}

#[tokio::test]
async fn a_body_without_end_does_not_matter() {
    let target = Target::new(Behaviour::AnswerWithoutEnd(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())).await;
    assert_eq!(first(Http, target.address).await.0, "200");
}

#[tokio::test]
async fn a_port_on_which_nothing_listens_refuses() {
    for kind in [Http, Https, Tcp] {
        let address = Target::new(Behaviour::Close).await.end().await;
        assert_eq!(first(kind, address).await, ("refused".to_owned(), vec![], "UNHEALTHY".to_owned()));
    }
}

#[tokio::test]
async fn a_tcp_check_needs_only_a_connection() {
    let target = Target::new(Behaviour::Close).await;
    assert_eq!(first(Tcp, target.address).await, ("0".to_owned(), vec!["connect"], "HEALTHY".to_owned()));
}

/// The result of a probe that waits for a target until the clock has gone on by `time`.
async fn stalling(kind: HealthCheckType, target: &Target, time: Duration) -> (String, Vec<&'static str>) {
    let setting = Setting::new();
    let service = setting.service(kind).await;
    setting.register(&service, "a", target.address).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL / 10).await;
    setting.until(|| target.stalled() == 1).await;
    setting.advance(time - Duration::from_millis(1)).await;
    // Nothing has ended: the prober's tasks have run meanwhile.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(setting.checks(&service, "a").unwrap().results, [], "too early");
    setting.advance(Duration::from_millis(1)).await;
    let checks = setting.results(&service, "a", 1).await;
    (word(&checks), phases(&checks))
}

#[tokio::test]
async fn a_response_has_2_s() {
    let rows: [(&[u8], _); 3] = [
        (b"", vec!["connect"]),
        (b"HTTP/1.1 20", vec!["connect", "first byte"]),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n", vec!["connect", "first byte"]),
    ];
    for (sent, phases) in rows {
        let target = Target::new(Behaviour::AnswerAndStall(sent.to_vec())).await;
        let told = stalling(Http, &target, Duration::from_secs(2)).await;
        assert_eq!(told, ("timeout_status".to_owned(), phases), "{sent:?}");
    }
}

/// A listener whose queue is full: the kernel lets connections wait.
async fn full(backlog: u32) -> (std::net::TcpListener, Vec<std::net::TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(backlog).unwrap().into_std().unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // One connection more than the backlog is accepted by the kernel; a further one waits.
    for _ in 0..=backlog {
        waiting.push(std::net::TcpStream::connect(address).unwrap());
    }
    (listener, waiting)
}

#[tokio::test]
async fn a_connection_has_4_s_or_10_s() {
    for (kind, time) in
        [(Http, Duration::from_secs(4)), (Https, Duration::from_secs(4)), (Tcp, Duration::from_secs(10))]
    {
        let (listener, _waiting) = full(1).await;
        let setting = Setting::new();
        let service = setting.service(kind).await;
        setting.register(&service, "a", listener.local_addr().unwrap()).await;
        setting.until(|| setting.prober().counters().instances == 1).await;
        setting.advance(INTERVAL / 10).await;
        setting.until(|| setting.prober().counters().in_flight == 1).await;
        setting.advance(time - Duration::from_millis(1)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(setting.checks(&service, "a").unwrap().results, [], "{kind:?}: too early");
        setting.advance(Duration::from_millis(1)).await;
        let checks = setting.results(&service, "a", 1).await;
        assert_eq!((word(&checks), phases(&checks)), ("timeout_connect".to_owned(), vec![]), "{kind:?}");
    }
}

#[tokio::test]
async fn a_tls_handshake_that_stalls_is_a_connection_that_takes_too_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setting = Setting::new();
    let service = setting.service(Https).await;
    setting.register(&service, "a", listener.local_addr().unwrap()).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL / 10).await;
    let (_stream, _) = listener.accept().await.unwrap();
    setting.advance(Duration::from_secs(4)).await;
    let checks = setting.results(&service, "a", 1).await;
    assert_eq!(word(&checks), "timeout_connect");
}

#[tokio::test]
async fn certificates_are_not_validated() {
    let rows = [
        ("self-signed", certificate("web.app.local", 2090)),
        ("expired", certificate("web.app.local", 2001)),
        ("for another name", certificate("other.example", 2090)),
    ];
    for (what, certified) in rows {
        for version in [&TLS12, &TLS13] {
            let target = TlsTarget::new(&certified, &[version]).await;
            let all = vec!["connect", "tls", "first byte", "status"];
            assert_eq!(
                first(Https, target.address).await,
                ("200".to_owned(), all, "HEALTHY".to_owned()),
                "{what}"
            );
            assert_eq!(target.server_name.lock().unwrap().as_deref(), Some("web.app.local"), "{what}");
        }
    }
}

#[tokio::test]
async fn what_is_not_tls_fails_as_such() {
    let target = Target::new(Behaviour::Answer(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())).await;
    // This target waits for the end of a head, which a TLS handshake does not have.
    drop(target);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    });
    assert_eq!(first(Https, address).await, ("tls".to_owned(), vec!["connect"], "UNHEALTHY".to_owned()));
    drop(plain.await.unwrap());
}

#[tokio::test]
async fn targets_see_what_route_53_sends() {
    let target = Target::new(Behaviour::status("HTTP/1.1 200 OK")).await;
    let setting = Setting::new();
    let check = HealthCheckConfigInput::new(Http).with_resource_path("health?full=1");
    let service = setting.service_with(check).await;
    setting.register(&service, "a", target.address).await;
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL / 10).await;
    setting.results(&service, "a", 1).await;
    let request = target.request();
    let port = target.address.port();
    let head = format!("GET /health?full=1 HTTP/1.1\r\nHost: web.app.local:{port}\r\nConnection: close\r\n");
    assert!(request.starts_with(&head), "{request}");
    let agent = "User-Agent: Amazon-Route53-Health-Check-Service (ref ";
    assert!(request.contains(agent) && request.contains("; report http://amzn.to/1vsZADi)\r\n"), "{request}");
}

#[tokio::test]
async fn addresses_of_metadata_are_not_asked_unless_that_is_allowed() {
    let address = "169.254.169.254:80".parse().unwrap();
    assert_eq!(first(Http, address).await, ("forbidden_address".to_owned(), vec![], "UNHEALTHY".to_owned()));
}

#[tokio::test]
async fn the_ipv4_address_decides_for_both() {
    let target = Target::new(Behaviour::status("HTTP/1.1 200 OK")).await;
    let setting = Setting::new();
    let service = setting.service(Http).await;
    let request = sd_core::request::RegisterInstanceRequest::new(&service, "a")
        .with_attribute("AWS_INSTANCE_IPV4", "127.0.0.1")
        // Nothing answers there.
        .with_attribute("AWS_INSTANCE_IPV6", "2001:db8::1")
        .with_attribute("AWS_INSTANCE_PORT", target.address.port().to_string());
    setting.api().register_instance(request).await.unwrap();
    setting.until(|| setting.prober().counters().instances == 1).await;
    setting.advance(INTERVAL / 10).await;
    let checks = setting.results(&service, "a", 1).await;
    assert_eq!((word(&checks), checks.target), ("200".to_owned(), Some(target.address)));
}

#[tokio::test]
async fn an_ipv6_target_is_asked() {
    let target = Target::at("[::1]:0", Behaviour::status("HTTP/1.1 200 OK")).await;
    assert_eq!(first(Http, target.address).await.0, "200");
}
