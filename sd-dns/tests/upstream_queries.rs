//! Ids and sockets of upstream queries, and the limit of pending responses.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::rr::RecordType as Kind;
use support::{
    data,
    forwarding::{ForwardingServer, Upstream, assert_servfail},
    question,
    sockets::{client_at, receive_in_time},
};

impl ForwardingServer {
    /// Sends `count` queries, one after the other. Returns ids and ports of the upstream queries.
    async fn queries(&self, upstream: &Upstream, count: usize) -> Vec<(u16, u16)> {
        let mut queries = Vec::new();
        for number in 0..count {
            self.send(&question(&format!("{number}.example.com"), Kind::A)).await;
            let received = upstream.query().await;
            queries.push((received.message.metadata.id, received.from.port()));
            upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 1]])).await;
            assert_eq!(data(&self.receive().await), ["192.0.2.1"]);
        }
        queries
    }
}

fn distinct<T: Eq + std::hash::Hash>(found: impl Iterator<Item = T>) -> usize {
    found.collect::<HashSet<_>>().len()
}

/// Each bound fails by chance less than once in 10^12 runs.
#[tokio::test(start_paused = true)]
async fn ids_and_ports_of_queries_are_random() {
    const COUNT: usize = 4096;
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let queries = served.queries(&upstream, COUNT).await;
    let ids: Vec<_> = queries.iter().map(|(id, _)| *id).collect();
    // 3,970 ± 11 are expected.
    assert!(distinct(ids.iter()) > 3850, "{}", distinct(ids.iter()));
    // Each bit is set in half of the ids, ± 32. A counter would not change the high bits.
    for bit in 0..16 {
        let set = ids.iter().filter(|id| *id >> bit & 1 == 1).count();
        assert!(set.abs_diff(COUNT / 2) < 8 * 32, "bit {bit} is set {set} times");
    }
    // An id does not follow from the one before by a constant sum or mask.
    let pairs = || ids.iter().zip(&ids[1..]);
    assert!(distinct(pairs().map(|(one, next)| next.wrapping_sub(*one))) > 3850);
    assert!(distinct(pairs().map(|(one, next)| next ^ one)) > 3850);
    let twice = COUNT / 2;
    let second_order =
        ids.windows(3).map(|ids| ids[2].wrapping_sub(ids[1]).wrapping_sub(ids[1].wrapping_sub(ids[0])));
    assert!(distinct(second_order) > twice);

    // Each of 32 slots is drawn 128 times on average, and its socket is replaced after 64 queries.
    let mut uses = HashMap::new();
    for (_, port) in &queries {
        *uses.entry(*port).or_insert(0) += 1;
    }
    assert!(uses.len() >= 56, "{} ports", uses.len());
    // The system may draw a port twice: Linux has 28,000.
    assert!(uses.values().filter(|uses| **uses > 64).count() <= 8, "{uses:?}");
    // Sockets are drawn, not taken in turn: 128 ± 11 pairs of equal ports are expected.
    let pairs = queries.iter().zip(&queries[1..]).filter(|((_, one), (_, next))| one == next).count();
    assert!((40..220).contains(&pairs), "{pairs}");
}

#[tokio::test(start_paused = true)]
async fn sockets_are_replaced_after_30_seconds() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let ports = async || -> HashSet<u16> {
        served.queries(&upstream, 100).await.into_iter().map(|(_, port)| port).collect()
    };
    let before = ports().await;
    assert!((16..=32).contains(&before.len()), "{}", before.len());
    tokio::time::advance(Duration::from_secs(31)).await;
    let after = ports().await;
    // The system may draw a few of the ports again.
    assert!(before.intersection(&after).count() < 8, "{before:?} {after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_receives_unexpected_datagrams_is_replaced() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.send(&question("slow.example.com", Kind::A)).await;
    let received = upstream.query().await;
    let mut forged = received.with_addresses(&[[6, 6, 6, 6]]);
    for _ in 0..200 {
        forged.metadata.id = forged.metadata.id.wrapping_add(1);
        if forged.metadata.id != received.message.metadata.id {
            upstream.send(&received, &forged).await;
        }
    }
    // Other queries use other sockets meanwhile, and the first one still gets its response.
    let queries = served.queries(&upstream, 200).await;
    assert!(queries.iter().all(|(_, port)| *port != received.from.port()));
    upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 9]])).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.9"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_many_slow_names_delays_no_other() {
    // A client that is alone gets half of 4,096.
    const SHARE: usize = 2048;
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let slow = |number: usize| question(&format!("{number}.slow.example.com"), Kind::A);
    let mut received = Vec::new();
    for number in 0..SHARE {
        served.send(&slow(number)).await;
        received.push(upstream.query().await);
    }
    let sockets = distinct(received.iter().map(|received| received.from));
    assert!(sockets <= 64, "{sockets}");
    served.send(&slow(SHARE)).await;
    assert_servfail(&served.receive().await);
    upstream.assert_no_query();
    assert_eq!(data(&served.ask("web.app.local").await), ["10.0.0.1"], "names in zones do not wait");
    // Another client gets places, and the first one keeps its own.
    let other =
        client_at(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)), served.server.local_addrs()[0]).await;
    other.send(&question("example.com", Kind::A)).await.unwrap();
    upstream.answer(&[[192, 0, 2, 1]]).await;
    assert_eq!(data(&receive_in_time(&other).await), ["192.0.2.1"]);
    for received in [&received[0], &received[SHARE - 1]] {
        upstream.send(received, &received.with_addresses(&[[192, 0, 2, 2]])).await;
        assert_eq!(data(&served.receive().await), ["192.0.2.2"]);
    }
    // After a while a new query displaces the oldest one of the same client.
    for number in [0, 1] {
        served.send(&slow(number)).await;
        upstream.query().await;
    }
    tokio::time::advance(Duration::from_millis(200)).await;
    served.send(&question("example.com", Kind::A)).await;
    let dropped = served.receive().await;
    assert_servfail(&dropped);
    assert_eq!(dropped.queries[0].name().to_string(), "1.slow.example.com.", "the oldest query");
    upstream.answer(&[[192, 0, 2, 3]]).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.3"]);
}
