//! Queries to upstreams: the sockets and ids that they are sent with, and how many clients may have in
//! flight.

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
    forwarding::{Served, Upstream, assert_fails, client_at, receive},
    question,
};

impl Served {
    /// Asks for as many names, one after the other, and returns ids and ports of the queries.
    async fn queries(&self, upstream: &Upstream, count: usize) -> Vec<(u16, u16)> {
        let mut queries = Vec::new();
        for number in 0..count {
            self.send(&question(&format!("{number}.example.com"), Kind::A)).await;
            let asked = upstream.asked().await;
            queries.push((asked.message.metadata.id, asked.from.port()));
            upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
            assert_eq!(data(&self.receive().await), ["192.0.2.1"]);
        }
        queries
    }
}

fn distinct<T: Eq + std::hash::Hash>(found: impl Iterator<Item = T>) -> usize {
    found.collect::<HashSet<_>>().len()
}

/// Each bound is missed by chance less than once in 10^12 runs.
#[tokio::test(start_paused = true)]
async fn ids_and_ports_of_queries_are_random() {
    const COUNT: usize = 4096;
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let queries = served.queries(&upstream, COUNT).await;
    let ids: Vec<_> = queries.iter().map(|(id, _)| *id).collect();
    // 3,970 are expected, give or take 11.
    assert!(distinct(ids.iter()) > 3850, "{}", distinct(ids.iter()));
    // Each bit is set as often as not, give or take 32: a counter leaves the high ones alone.
    for bit in 0..16 {
        let set = ids.iter().filter(|id| *id >> bit & 1 == 1).count();
        assert!(set.abs_diff(COUNT / 2) < 8 * 32, "bit {bit} is set {set} times");
    }
    // The next one does not follow from the one before, by a sum or by a mask.
    let pairs = || ids.iter().zip(&ids[1..]);
    assert!(distinct(pairs().map(|(one, next)| next.wrapping_sub(*one))) > 3850);
    assert!(distinct(pairs().map(|(one, next)| next ^ one)) > 3850);
    let twice = COUNT / 2;
    let second_order =
        ids.windows(3).map(|ids| ids[2].wrapping_sub(ids[1]).wrapping_sub(ids[1].wrapping_sub(ids[0])));
    assert!(distinct(second_order) > twice);

    // Each of 32 sockets is used 128 times on average, and replaced after 64 times.
    let mut uses = HashMap::new();
    for (_, port) in &queries {
        *uses.entry(*port).or_insert(0) += 1;
    }
    assert!(uses.len() >= 56, "{} ports", uses.len());
    // The system may draw a port again: one of 28,000 on Linux.
    assert!(uses.values().filter(|uses| **uses > 64).count() <= 8, "{uses:?}");
    // Sockets are drawn, not taken in turn: 128 pairs of equal ports are expected, give or take 11.
    let pairs = queries.iter().zip(&queries[1..]).filter(|((_, one), (_, next))| one == next).count();
    assert!((40..220).contains(&pairs), "{pairs}");
}

#[tokio::test(start_paused = true)]
async fn sockets_are_replaced_after_a_while() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let ports = async || -> HashSet<u16> {
        served.queries(&upstream, 100).await.into_iter().map(|(_, port)| port).collect()
    };
    let before = ports().await;
    assert!((16..=32).contains(&before.len()), "{}", before.len());
    tokio::time::advance(Duration::from_secs(31)).await;
    let after = ports().await;
    // Some may be drawn again by chance.
    assert!(before.intersection(&after).count() < 8, "{before:?} {after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_gets_unexpected_datagrams_is_replaced() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.send(&question("slow.example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    let mut forged = asked.addresses(&[[6, 6, 6, 6]]);
    for _ in 0..200 {
        forged.metadata.id = forged.metadata.id.wrapping_add(1);
        if forged.metadata.id != asked.message.metadata.id {
            upstream.send(&asked, &forged).await;
        }
    }
    // Others are asked meanwhile, by other sockets, and the query still gets its answer.
    let queries = served.queries(&upstream, 200).await;
    assert!(queries.iter().all(|(_, port)| *port != asked.from.port()));
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 9]])).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.9"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_many_slow_names_holds_up_nobody() {
    // Half of 4,096 for a client that is alone.
    const SHARE: usize = 2048;
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let slow = |number: usize| question(&format!("{number}.slow.example.com"), Kind::A);
    let mut asked = Vec::new();
    for number in 0..SHARE {
        served.send(&slow(number)).await;
        asked.push(upstream.asked().await);
    }
    let sockets = distinct(asked.iter().map(|asked| asked.from));
    assert!(sockets <= 64, "{sockets}");
    served.send(&slow(SHARE)).await;
    assert_fails(&served.receive().await);
    upstream.assert_unasked();
    assert_eq!(data(&served.ask("web.app.local").await), ["10.0.0.1"], "own names wait for nobody");
    // Another client has places of its own, and the first one keeps its places.
    let other = client_at(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 0)), &served.server).await;
    other.send(&question("example.com", Kind::A)).await.unwrap();
    upstream.answer(&[[192, 0, 2, 1]]).await;
    assert_eq!(data(&receive(&other).await), ["192.0.2.1"]);
    for asked in [&asked[0], &asked[SHARE - 1]] {
        upstream.send(asked, &asked.addresses(&[[192, 0, 2, 2]])).await;
        assert_eq!(data(&served.receive().await), ["192.0.2.2"]);
    }
    // After a while a name that can be found takes the place of one that cannot.
    for number in [0, 1] {
        served.send(&slow(number)).await;
        upstream.asked().await;
    }
    tokio::time::advance(Duration::from_millis(200)).await;
    served.send(&question("example.com", Kind::A)).await;
    let dropped = served.receive().await;
    assert_fails(&dropped);
    assert_eq!(dropped.queries[0].name().to_string(), "1.slow.example.com.", "the oldest one");
    upstream.answer(&[[192, 0, 2, 3]]).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.3"]);
}
