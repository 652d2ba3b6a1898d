//! The cache of upstream responses. The clock is paused: the test advances it, and it advances when all tasks are idle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::time::Duration;

use hickory_proto::{
    op::{Edns, Message, ResponseCode},
    rr::{RData, Record, RecordType as Kind, rdata},
    serialize::binary::BinEncodable,
};
use sd_core::model::{RecordType, RoutingPolicy::Multivalue};
use sd_dns::Forwarder;
use support::{
    data,
    forwarding::{ForwardingServer, ReceivedQuery, Upstream, assert_servfail, soa},
    query, question,
    sockets::{client, receive_in_time},
};
use tokio::time::advance;

async fn start() -> (Upstream, ForwardingServer) {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::with(Forwarder::new([upstream.address()])).await;
    (upstream, served)
}

impl ForwardingServer {
    /// Sends a query that the cache answers.
    async fn cached(&self, upstream: &Upstream, name: &str, kind: Kind) -> Message {
        self.send(&question(name, kind)).await;
        let answer = self.receive().await;
        upstream.assert_no_query();
        answer
    }

    /// Sends a query that the upstream answers.
    async fn forwarded(
        &self,
        upstream: &Upstream,
        packet: &[u8],
        answer: impl FnOnce(&ReceivedQuery) -> Message,
    ) -> Message {
        self.send(packet).await;
        let received = upstream.query().await;
        upstream.send(&received, &answer(&received)).await;
        self.receive().await
    }

    fn hits_and_misses(&self) -> (u64, u64) {
        let counters = self.server.counters();
        (counters.cache_hits, counters.cache_misses)
    }
}

fn ttls(answer: &Message) -> Vec<u32> {
    answer.answers.iter().chain(&answer.authorities).map(|record| record.ttl).collect()
}

#[tokio::test(start_paused = true)]
async fn a_response_is_cached_and_its_ttls_count_down() {
    let (upstream, served) = start().await;
    let packet = question("example.com", Kind::A);
    let two = |received: &ReceivedQuery| {
        let mut answer = received.with_addresses(&[[192, 0, 2, 1], [192, 0, 2, 2]]);
        answer.answers[1].ttl = 90;
        answer
    };
    assert_eq!(ttls(&served.forwarded(&upstream, &packet, two).await), [30, 90]);
    assert_eq!(ttls(&served.cached(&upstream, "example.com", Kind::A).await), [30, 90]);
    advance(Duration::from_millis(10_500)).await;
    let other = client(&served.server).await;
    other.send(&question("Example.COM", Kind::A)).await.unwrap();
    let answer = receive_in_time(&other).await;
    upstream.assert_no_query();
    assert_eq!(ttls(&answer), [20, 80]);
    assert_eq!(data(&answer), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(answer.queries[0].name().to_string(), "Example.COM.", "in the case of the client");
    assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
    advance(Duration::from_millis(19_400)).await;
    assert_eq!(ttls(&served.cached(&upstream, "example.com", Kind::A).await), [1, 61]);
    advance(Duration::from_millis(100)).await;
    let answer =
        served.forwarded(&upstream, &packet, |received| received.with_addresses(&[[192, 0, 2, 9]])).await;
    assert_eq!(data(&answer), ["192.0.2.9"], "the lowest TTL has expired");
    assert_eq!(served.hits_and_misses(), (3, 2));
    let counters = served.server.counters();
    assert_eq!((counters.forwarded, counters.udp), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn the_cache_distinguishes_type_name_and_flags() {
    let (upstream, served) = start().await;
    let plain = query("example.com", Kind::A);
    let mut dnssec = plain.clone();
    dnssec.set_edns({
        let mut edns = Edns::new();
        edns.set_dnssec_ok(true);
        edns
    });
    let mut unchecked = plain.clone();
    unchecked.metadata.checking_disabled = true;
    let mut authentic = plain.clone();
    authentic.metadata.authentic_data = true;
    let others = [query("example.com", Kind::AAAA), query("www.example.com", Kind::A)];
    let queries = [[plain, dnssec, unchecked, authentic].as_slice(), &others].concat();
    for query in &queries {
        let response = |received: &ReceivedQuery| {
            let mut answer = received.with_addresses(&[[192, 0, 2, 1]]);
            if received.message.queries[0].query_type() == Kind::AAAA {
                answer.answers[0].data = RData::AAAA(rdata::AAAA::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
            }
            answer.metadata.authentic_data = received.message.metadata.authentic_data;
            answer.set_edns(Edns::new());
            answer
        };
        served.forwarded(&upstream, &query.to_bytes().unwrap(), response).await;
    }
    for query in &queries {
        served.send(&query.to_bytes().unwrap()).await;
        let answer = served.receive().await;
        assert_eq!(answer.answers.len(), 1, "{query}");
        assert_eq!(answer.edns.is_some(), query.edns.is_some(), "EDNS is hop by hop");
        assert_eq!(answer.metadata.checking_disabled, query.metadata.checking_disabled);
        assert_eq!(answer.metadata.authentic_data, query.metadata.authentic_data);
    }
    upstream.assert_no_query();
    assert_eq!(served.hits_and_misses(), (6, 6));
    // EDNS without DO uses the same entry.
    let mut small = query("example.com", Kind::A);
    small.set_edns(Edns::new());
    served.send(&small.to_bytes().unwrap()).await;
    assert_eq!(served.receive().await.answers.len(), 1);
    upstream.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn a_response_without_edns_is_not_cached_for_dnssec_clients() {
    let (upstream, served) = start().await;
    let mut message = query("example.com", Kind::A);
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    message.set_edns(edns);
    for _ in 0..2 {
        // The response has no EDNS.
        let answer = |received: &ReceivedQuery| received.with_addresses(&[[192, 0, 2, 1]]);
        served.forwarded(&upstream, &message.to_bytes().unwrap(), answer).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_negative_response_is_cached_as_its_soa_record_says() {
    let (upstream, served) = start().await;
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        let name = format!("{}.example.com", u16::from(code));
        // MINIMUM of the SOA record is 5.
        let negative = |received: &ReceivedQuery| {
            let mut answer = received.response(code);
            let mut soa = soa("example.com");
            soa.ttl = 3600;
            answer.add_authority(soa);
            answer
        };
        let answer = served.forwarded(&upstream, &question(&name, Kind::A), negative).await;
        assert_eq!((answer.metadata.response_code, ttls(&answer)), (code, vec![3600]));
        advance(Duration::from_secs(2)).await;
        let answer = served.cached(&upstream, &name, Kind::A).await;
        assert_eq!((answer.metadata.response_code, ttls(&answer)), (code, vec![3]));
        advance(Duration::from_secs(3)).await;
        // Without an SOA record it is not cached.
        for _ in 0..2 {
            served.forwarded(&upstream, &question(&name, Kind::A), |received| received.response(code)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_cached_for_a_second() {
    let (upstream, served) = start().await;
    let packet = question("example.com", Kind::A);
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        assert_servfail(&served.forwarded(&upstream, &packet, |received| received.response(code)).await);
        assert_servfail(&served.cached(&upstream, "example.com", Kind::A).await);
        advance(Duration::from_secs(1)).await;
    }
    let answer =
        served.forwarded(&upstream, &packet, |received| received.with_addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&answer), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn uncacheable_responses_are_not_cached() {
    let (upstream, served) = start().await;
    let packet = question("example.com", Kind::A);
    for _ in 0..2 {
        let zero = |received: &ReceivedQuery| {
            let mut answer = received.with_addresses(&[[192, 0, 2, 1]]);
            answer.answers[0].ttl = 0;
            answer
        };
        assert_eq!(ttls(&served.forwarded(&upstream, &packet, zero).await), [0]);
        // The upstream does not listen for TCP.
        let truncated = |received: &ReceivedQuery| {
            let mut answer = received.with_addresses(&[[192, 0, 2, 1]]);
            answer.metadata.truncation = true;
            answer
        };
        assert!(served.forwarded(&upstream, &packet, truncated).await.metadata.truncation);
    }
    assert_eq!(served.hits_and_misses(), (0, 4));
    let off =
        ForwardingServer::with(Forwarder::builder([upstream.address()]).with_cache_size(0).build()).await;
    for _ in 0..2 {
        off.forwarded(&upstream, &packet, |received| received.with_addresses(&[[192, 0, 2, 1]])).await;
    }
    assert_eq!(off.hits_and_misses(), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn no_ttl_is_higher_than_a_day() {
    let (upstream, served) = start().await;
    let week = |received: &ReceivedQuery| {
        let mut answer = received.with_addresses(&[[192, 0, 2, 1]]);
        answer.answers[0].ttl = 7 * 86_400;
        answer
    };
    served.forwarded(&upstream, &question("example.com", Kind::A), week).await;
    assert_eq!(ttls(&served.cached(&upstream, "example.com", Kind::A).await), [86_400]);
    advance(Duration::from_secs(86_400)).await;
    served.forwarded(&upstream, &question("example.com", Kind::A), week).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_zone_takes_precedence_over_the_cache() {
    let (upstream, served) = start().await;
    let answer = |received: &ReceivedQuery| received.with_addresses(&[[192, 0, 2, 1]]);
    served.forwarded(&upstream, &question("web.corp.internal", Kind::A), answer).await;
    served.cached(&upstream, "web.corp.internal", Kind::A).await;
    served.fixture.namespace("corp.internal");
    let answer = served.cached(&upstream, "web.corp.internal", Kind::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(answer.metadata.authoritative);
    let web = served.fixture.service_in("corp.internal", "web", Multivalue, &[(RecordType::A, 60)]);
    served.fixture.register(&web, "i", &[("IPV4", "10.0.0.9")]);
    assert_eq!(data(&served.cached(&upstream, "web.corp.internal", Kind::A).await), ["10.0.0.9"]);
}

#[tokio::test(start_paused = true)]
async fn a_cached_chain_into_a_zone_sees_changes_of_the_zone() {
    let (upstream, served) = start().await;
    let leads = |received: &ReceivedQuery| {
        let mut answer = received.with_cnames(ResponseCode::NXDomain, &["db.app.local"]);
        answer.add_authority(soa("example.com"));
        answer
    };
    let answer = served.forwarded(&upstream, &question("www.example.com", Kind::A), leads).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    let db = served.fixture.service("db", Multivalue, &[(RecordType::A, 60)]);
    served.fixture.register(&db, "i", &[("IPV4", "10.0.0.7")]);
    advance(Duration::from_secs(2)).await;
    let answer = served.cached(&upstream, "www.example.com", Kind::A).await;
    assert_eq!(
        (data(&answer), ttls(&answer)),
        (vec!["10.0.0.7".into(), "db.app.local.".into()], vec![3, 60])
    );
    served.fixture.deregister(&db, "i");
    let answer = served.cached(&upstream, "www.example.com", Kind::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
}

#[tokio::test(start_paused = true)]
async fn chains_and_aliases_out_of_a_zone_use_the_cache() {
    let (upstream, served) = start().await;
    served.fixture.cname("out", "example.com");
    served.fixture.alias("alias", "example.com");
    let address = |received: &ReceivedQuery| received.with_addresses(&[[192, 0, 2, 1]]);
    let answer = served.forwarded(&upstream, &question("out.app.local", Kind::A), address).await;
    assert_eq!(ttls(&answer), [20, 30]);
    advance(Duration::from_secs(10)).await;
    let answer = served.cached(&upstream, "out.app.local", Kind::A).await;
    assert_eq!(ttls(&answer), [20, 20]);
    let answer = served.cached(&upstream, "alias.app.local", Kind::A).await;
    assert_eq!((data(&answer), ttls(&answer)), (vec!["192.0.2.1".to_owned()], vec![20]));
    assert!(answer.metadata.authoritative);
    assert_eq!(ttls(&served.cached(&upstream, "example.com", Kind::A).await), [20]);
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_leaves_a_zone_again_uses_the_cache() {
    let (upstream, served) = start().await;
    for (name, target) in [("c", "back.example.com"), ("d", "there.example.com")] {
        served.fixture.cname(name, target);
    }
    let address = |received: &ReceivedQuery| received.with_addresses(&[[192, 0, 2, 1]]);
    served.forwarded(&upstream, &question("there.example.com", Kind::A), address).await;
    let leads = |received: &ReceivedQuery| received.with_cnames(ResponseCode::NoError, &["d.app.local"]);
    let answer = served.forwarded(&upstream, &question("c.app.local", Kind::A), leads).await;
    let chain = ["192.0.2.1", "back.example.com.", "d.app.local.", "there.example.com."];
    assert_eq!(data(&answer), chain);
    upstream.assert_no_query();
    assert_eq!(served.hits_and_misses(), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn records_of_unknown_types_are_cached_octet_by_octet() {
    let (upstream, served) = start().await;
    let kind = Kind::Unknown(65_280);
    let unknown = RData::Unknown { code: kind, rdata: rdata::NULL::with(vec![1, 2, 3, 0xC0, 0x0C]) };
    let answer = |received: &ReceivedQuery| {
        let mut answer = received.response(ResponseCode::NoError);
        answer.add_answer(Record::from_rdata(received.name().clone(), 7, unknown.clone()));
        answer
    };
    served.forwarded(&upstream, &question("example.com", kind), answer).await;
    advance(Duration::from_secs(3)).await;
    let answer = served.cached(&upstream, "example.com", kind).await;
    assert_eq!((answer.answers[0].ttl, &answer.answers[0].data), (4, &unknown));
}
