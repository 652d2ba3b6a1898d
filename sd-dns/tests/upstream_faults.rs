//! Upstreams without EDNS, and upstreams with truncated responses.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::time::Duration;

use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::RecordType as Kind,
    serialize::binary::BinEncodable,
};
use support::{
    data,
    forwarding::{ForwardingServer, ReceivedQuery, Upstream, assert_servfail},
    question,
    sockets::{receive_framed, send_framed},
};
use tokio::time::{Instant, advance};

/// Answers queries without EDNS, and drops the others.
async fn without_edns(upstream: &Upstream) {
    loop {
        let received = upstream.query().await;
        if received.message.edns.is_none() {
            upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 1]])).await;
        }
    }
}

/// How long the response takes, in milliseconds.
async fn millis(served: &ForwardingServer, upstream: impl Future<Output = ()>, name: &str) -> u128 {
    let begun = Instant::now();
    tokio::select! {
        answer = served.ask(name) => assert_eq!(data(&answer), ["192.0.2.1"]),
        () = upstream => unreachable!(),
    }
    begun.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_drops_edns_is_queried_without() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    for name in ["1.example.com", "2.example.com", "3.example.com"] {
        let took = millis(&served, without_edns(&upstream), name).await;
        assert!((500..600).contains(&took), "{took} ms");
    }
    // The server remembers it,
    for name in ["4.example.com", "5.example.com"] {
        assert_eq!(millis(&served, without_edns(&upstream), name).await, 0);
    }
    // and tries EDNS again after ten minutes.
    advance(Duration::from_secs(600)).await;
    let took = millis(&served, without_edns(&upstream), "6.example.com").await;
    assert!((500..600).contains(&took), "{took} ms");
    assert_eq!(millis(&served, without_edns(&upstream), "7.example.com").await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_edns_is_soon_queried_without() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    for name in ["1.example.com", "2.example.com", "3.example.com"] {
        served.send(&question(name, Kind::A)).await;
        let received = upstream.query().await;
        assert!(received.message.edns.is_some(), "{name}");
        upstream.send(&received, &received.response(ResponseCode::FormErr)).await;
        let received = upstream.query().await;
        assert!(received.message.edns.is_none(), "{name}");
        upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 1]])).await;
        assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    }
    served.send(&question("4.example.com", Kind::A)).await;
    let received = upstream.query().await;
    assert!(received.message.edns.is_none());
    // Without EDNS, FORMERR is a failure.
    upstream.send(&received, &received.response(ResponseCode::FormErr)).await;
    assert_servfail(&served.receive().await);
    upstream.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn lost_queries_do_not_turn_edns_off() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    for turn in 0..5 {
        served.send(&question(&format!("{turn}.example.com"), Kind::A)).await;
        let mut received = upstream.query().await;
        assert!(received.message.edns.is_some(), "turn {turn}");
        // Every second query with EDNS is lost.
        if turn % 2 == 1 {
            received = upstream.query().await;
            assert!(received.message.edns.is_none(), "turn {turn}");
        }
        let mut answer = received.with_addresses(&[[192, 0, 2, 1]]);
        answer.edns = received.message.edns.as_ref().map(|_| Edns::new());
        upstream.send(&received, &answer).await;
        assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    }
}

/// Answers the next query with these addresses and the TC bit.
async fn truncate(upstream: &Upstream, addresses: &[[u8; 4]]) -> ReceivedQuery {
    let received = upstream.query().await;
    let mut cut = received.with_addresses(addresses);
    cut.metadata.truncation = true;
    upstream.send(&received, &cut).await;
    received
}

fn assert_truncated(answer: &Message, expected: &[&str]) {
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.metadata.truncation, "{answer}");
    assert_eq!(data(answer), expected);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_response_is_forwarded_if_tcp_fails() {
    // The upstreams do not listen for TCP.
    let (upstream, other) = (Upstream::bind().await, Upstream::bind().await);
    let served = ForwardingServer::start([upstream.address(), other.address()]).await;
    let two = [[192, 0, 2, 1], [192, 0, 2, 2]];
    for name in ["example.com", "example.net"] {
        let (answer, _) = tokio::join!(served.ask(name), truncate(&upstream, &two));
        assert_truncated(&answer, &["192.0.2.1", "192.0.2.2"]);
    }
    let (answer, _) = tokio::join!(served.ask("example.org"), truncate(&upstream, &[]));
    assert_truncated(&answer, &[]);
    // A TCP client gets the truncated response, too.
    let mut stream = served.connect().await;
    send_framed(&mut stream, &question("example.com", Kind::A)).await;
    let (answer, _) = tokio::join!(receive_framed(&mut stream), truncate(&upstream, &two));
    assert_truncated(&answer, &["192.0.2.1", "192.0.2.2"]);
    other.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn a_truncated_response_is_forwarded_in_time_for_the_client() {
    let (upstream, tcp) = Upstream::bind_with_tcp().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let begun = Instant::now();
    let silent = async {
        truncate(&upstream, &[[192, 0, 2, 1]]).await;
        let (mut stream, _) = tcp.accept().await.unwrap();
        receive_framed(&mut stream).await;
        stream
    };
    let (answer, _stream) = tokio::join!(served.ask("example.com"), silent);
    assert_truncated(&answer, &["192.0.2.1"]);
    assert_eq!(begun.elapsed().as_secs(), 2);
    // A late truncated response does not exceed the deadline.
    let begun = Instant::now();
    let late = async {
        upstream.query().await;
        advance(Duration::from_millis(3500)).await;
        truncate(&upstream, &[[192, 0, 2, 1]]).await;
        tcp.accept().await.unwrap()
    };
    let (answer, _stream) = tokio::join!(served.ask("example.org"), late);
    assert_truncated(&answer, &["192.0.2.1"]);
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn connections_to_an_upstream_are_bounded() {
    let (upstream, tcp) = Upstream::bind_with_tcp().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let mut accepted = Vec::new();
    for number in 0..40 {
        served.send(&question(&format!("{number}.example.com"), Kind::A)).await;
        truncate(&upstream, &[[192, 0, 2, 1]]).await;
        if number < 32 {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let message = receive_framed(&mut stream).await;
            accepted.push((stream, message));
        }
    }
    let more = tokio::time::timeout(Duration::from_millis(100), tcp.accept()).await;
    assert!(more.is_err(), "a 33rd connection");
    // A connection that ends makes room for the next.
    let (mut stream, message) = accepted.remove(0);
    let received = ReceivedQuery { message, from: upstream.address() };
    let whole = received.with_addresses(&[[192, 0, 2, 1], [192, 0, 2, 2]]);
    send_framed(&mut stream, &whole.to_bytes().unwrap()).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.1", "192.0.2.2"]);
    tcp.accept().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn chains_and_aliases_use_truncated_responses() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.fixture.cname("out", "example.com");
    let (answer, _) = tokio::join!(served.ask("out.app.local"), truncate(&upstream, &[[192, 0, 2, 1]]));
    assert_truncated(&answer, &["192.0.2.1", "example.com."]);
    // An alias is answered with up to eight addresses, so some are enough.
    served.fixture.alias("alias", "lb.example.com");
    let (answer, _) = tokio::join!(served.ask("alias.app.local"), truncate(&upstream, &[[192, 0, 2, 1]]));
    assert_eq!((data(&answer), answer.metadata.truncation), (vec!["192.0.2.1".to_owned()], false));
    let (answer, _) = tokio::join!(served.ask("alias.app.local"), truncate(&upstream, &[]));
    assert_servfail(&answer);
}
