//! Upstreams with faults: without EDNS, with answers that are truncated.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::time::Duration;

use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::RecordType as Kind,
    serialize::binary::BinEncodable,
};
use sd_core::model::{RecordType, RoutingPolicy::Weighted};
use support::{
    data,
    forwarding::{Asked, Served, Upstream, assert_fails, receive_framed, send_framed},
    question,
};
use tokio::time::{Instant, advance};

/// What a server does that drops queries with EDNS.
async fn without_edns(upstream: &Upstream) {
    loop {
        let asked = upstream.asked().await;
        if asked.message.edns.is_none() {
            upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
        }
    }
}

/// How many milliseconds the answer takes to this question for an address.
async fn millis(served: &Served, upstream: impl Future<Output = ()>, name: &str) -> u128 {
    let begun = Instant::now();
    tokio::select! {
        answer = served.ask(name) => assert_eq!(data(&answer), ["192.0.2.1"]),
        () = upstream => unreachable!(),
    }
    begun.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_drops_edns_is_asked_without() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    for name in ["1.example.com", "2.example.com", "3.example.com"] {
        let took = millis(&served, without_edns(&upstream), name).await;
        assert!((500..600).contains(&took), "{took} ms");
    }
    // That is remembered,
    for name in ["4.example.com", "5.example.com"] {
        assert_eq!(millis(&served, without_edns(&upstream), name).await, 0);
    }
    // but not for ever: once in a while it is tried again.
    advance(Duration::from_secs(600)).await;
    let took = millis(&served, without_edns(&upstream), "6.example.com").await;
    assert!((500..600).contains(&took), "{took} ms");
    assert_eq!(millis(&served, without_edns(&upstream), "7.example.com").await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_edns_is_soon_asked_without() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    for name in ["1.example.com", "2.example.com", "3.example.com"] {
        served.send(&question(name, Kind::A)).await;
        let asked = upstream.asked().await;
        assert!(asked.message.edns.is_some(), "{name}");
        upstream.send(&asked, &asked.answer(ResponseCode::FormErr)).await;
        let asked = upstream.asked().await;
        assert!(asked.message.edns.is_none(), "{name}");
        upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
        assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    }
    served.send(&question("4.example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    assert!(asked.message.edns.is_none());
    // Now it is what it says.
    upstream.send(&asked, &asked.answer(ResponseCode::FormErr)).await;
    assert_fails(&served.receive().await);
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn a_lost_query_does_not_end_edns() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    for turn in 0..5 {
        served.send(&question(&format!("{turn}.example.com"), Kind::A)).await;
        let mut asked = upstream.asked().await;
        assert!(asked.message.edns.is_some(), "turn {turn}");
        // Every second one is lost.
        if turn % 2 == 1 {
            asked = upstream.asked().await;
            assert!(asked.message.edns.is_none(), "turn {turn}");
        }
        let mut answer = asked.addresses(&[[192, 0, 2, 1]]);
        answer.edns = asked.message.edns.as_ref().map(|_| Edns::new());
        upstream.send(&asked, &answer).await;
        assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    }
}

/// Answers the next query with these addresses, and says that there are more.
async fn truncate(upstream: &Upstream, addresses: &[[u8; 4]]) -> Asked {
    let asked = upstream.asked().await;
    let mut cut = asked.addresses(addresses);
    cut.metadata.truncation = true;
    upstream.send(&asked, &cut).await;
    asked
}

fn assert_truncated(answer: &Message, expected: &[&str]) {
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.metadata.truncation, "{answer}");
    assert_eq!(data(answer), expected);
}

#[tokio::test(start_paused = true)]
async fn a_truncated_answer_is_passed_on_if_there_is_no_other() {
    // Nobody listens for TCP.
    let (upstream, other) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([upstream.address(), other.address()]).await;
    let two = [[192, 0, 2, 1], [192, 0, 2, 2]];
    for name in ["example.com", "example.net"] {
        let (answer, _) = tokio::join!(served.ask(name), truncate(&upstream, &two));
        assert_truncated(&answer, &["192.0.2.1", "192.0.2.2"]);
    }
    let (answer, _) = tokio::join!(served.ask("example.org"), truncate(&upstream, &[]));
    assert_truncated(&answer, &[]);
    // A client that can receive all of it gets what there is.
    let mut stream = served.connect().await;
    send_framed(&mut stream, &question("example.com", Kind::A)).await;
    let (answer, _) = tokio::join!(receive_framed(&mut stream), truncate(&upstream, &two));
    assert_truncated(&answer, &["192.0.2.1", "192.0.2.2"]);
    other.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn tcp_is_not_waited_for_as_long_as_the_client_waits() {
    let (upstream, tcp) = Upstream::bind_with_tcp().await;
    let served = Served::start([upstream.address()]).await;
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
    // Nor beyond the deadline, however late the truncated answer is.
    let begun = Instant::now();
    let late = async {
        upstream.asked().await;
        tokio::time::sleep(Duration::from_millis(3500)).await;
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
    let served = Served::start([upstream.address()]).await;
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
    // One that ends makes room for the next.
    let (mut stream, message) = accepted.remove(0);
    let asked = Asked { message, from: upstream.address() };
    let whole = asked.addresses(&[[192, 0, 2, 1], [192, 0, 2, 2]]);
    send_framed(&mut stream, &whole.to_bytes().unwrap()).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.1", "192.0.2.2"]);
    tcp.accept().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn chains_and_aliases_pass_on_what_is_truncated() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let service = served.fixture.service("out", Weighted, &[(RecordType::Cname, 20)]);
    served.fixture.register(&service, "i", &[("CNAME", "example.com")]);
    let (answer, _) = tokio::join!(served.ask("out.app.local"), truncate(&upstream, &[[192, 0, 2, 1]]));
    assert_truncated(&answer, &["192.0.2.1", "example.com."]);
    // An alias has up to eight addresses of many, so that these are as good as all of them.
    let service = served.fixture.service("alias", Weighted, &[(RecordType::A, 60)]);
    served.fixture.register_alias(&service, "i", "lb.example.com");
    let (answer, _) = tokio::join!(served.ask("alias.app.local"), truncate(&upstream, &[[192, 0, 2, 1]]));
    assert_eq!((data(&answer), answer.metadata.truncation), (vec!["192.0.2.1".to_owned()], false));
    let (answer, _) = tokio::join!(served.ask("alias.app.local"), truncate(&upstream, &[]));
    assert_fails(&answer);
}
