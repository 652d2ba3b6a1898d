//! CNAME chains through zones and upstreams.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::time::Duration;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType as Kind, rdata},
    serialize::binary::BinEncodable,
};
use sd_core::model::{RecordType, RoutingPolicy::Multivalue};
use sd_dns::{DnsServer, Forwarder};
use support::{
    Balancers, Fixture, data,
    forwarding::{ForwardingServer, Upstream, assert_servfail, soa},
    query, question,
    sockets::{LOOPBACK, client, receive_framed, receive_in_time, send_framed},
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_cname_chain_continues_at_an_upstream() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.fixture.cname("db", "DB.example.com");
    served.fixture.cname("store", "db.app.local");
    let further = async {
        let received = upstream.query().await;
        assert_eq!(received.name().to_string(), "db.example.com.");
        let mut answer = received.response(ResponseCode::NoError);
        let canonical = Name::from_ascii("a.example.net.").unwrap();
        let alias = RData::CNAME(rdata::CNAME(canonical.clone()));
        answer.add_answer(Record::from_rdata(received.name().clone(), 5, alias));
        answer.add_answer(Record::from_rdata(canonical, 6, RData::A(rdata::A::new(192, 0, 2, 1))));
        upstream.send(&received, &answer).await;
    };
    let (answer, ()) = tokio::join!(served.ask("store.app.local"), further);
    let names: Vec<_> = answer.answers.iter().map(|record| (record.name.to_string(), record.ttl)).collect();
    let chain =
        [("store.app.local.", 20), ("db.app.local.", 20), ("db.example.com.", 5), ("a.example.net.", 6)];
    assert_eq!(names, chain.map(|(name, ttl)| (name.to_owned(), ttl)));
    assert_eq!(answer.answers[3].data, RData::A(rdata::A::new(192, 0, 2, 1)));
    assert!(answer.metadata.authoritative, "AA is about QNAME");

    let nothing = async {
        let received = upstream.query().await;
        let mut answer = received.response(ResponseCode::NXDomain);
        answer.add_authority(soa("example.com"));
        upstream.send(&received, &answer).await;
    };
    let (answer, ()) = tokio::join!(served.ask("db.app.local"), nothing);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "RFC 6604 section 3");
    assert_eq!((answer.answers.len(), answer.authorities.len()), (1, 1));
    // A client without RD follows the chain itself.
    let mut alone = query("db.app.local", Kind::A);
    alone.metadata.recursion_desired = false;
    served.send(&alone.to_bytes().unwrap()).await;
    assert_eq!(data(&served.receive().await), ["db.example.com."]);
    let refuse = upstream.respond(ResponseCode::Refused);
    assert_servfail(&tokio::join!(served.ask("db.app.local"), refuse).0);
}

impl ForwardingServer {
    /// Creates services of `app.local` with one CNAME record each.
    fn cnames<'a>(&self, cnames: impl IntoIterator<Item = (&'a str, &'a str)>) {
        cnames.into_iter().for_each(|(name, target)| self.fixture.cname(name, target));
    }
}

/// Asserts a negative response whose only SOA record is that of `app.local`.
fn assert_denied_by_zone(answer: &Message, code: ResponseCode) {
    assert_eq!(answer.metadata.response_code, code, "RFC 6604 section 3: {answer}");
    let [soa] = &answer.authorities[..] else { panic!("{answer}") };
    assert_eq!((soa.name.to_string(), soa.record_type()), ("app.local.".to_owned(), Kind::SOA));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_chain_into_a_zone_continues_there() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.cnames([("store", "web.app.local")]);
    // The upstream does not know the zone, and may say so or not.
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        let mut message = query("WWW.corp.org", Kind::A);
        message.metadata.checking_disabled = true;
        served.send(&message.to_bytes().unwrap()).await;
        upstream.lead(code, &["Www.Corp.net", "Web.App.Local"]).await;
        let answer = served.receive().await;
        assert_eq!(data(&answer), ["10.0.0.1", "Web.App.Local.", "Www.Corp.net."]);
        let owners: Vec<_> =
            answer.answers.iter().map(|record| (record.name.to_string(), record.ttl)).collect();
        let chain = [("WWW.corp.org.", 5), ("Www.Corp.net.", 5), ("Web.App.Local.", 60)];
        assert_eq!(owners, chain.map(|(name, ttl)| (name.to_owned(), ttl)));
        assert_eq!((answer.metadata.response_code, answer.authorities.len()), (ResponseCode::NoError, 0));
        assert!(!answer.metadata.authoritative, "AA is about QNAME");
        assert!(!answer.metadata.authentic_data, "no server vouches for an assembled response");
        assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
        assert!(answer.metadata.checking_disabled);
    }
    let counters = served.server.counters();
    assert_eq!((counters.forwarded, counters.by_rcode), (2, [(0, 2)].into()));
    assert!(counters.by_zone.is_empty(), "QNAME is in no zone");

    let lead = upstream.lead(ResponseCode::NXDomain, &["store.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("www.corp.org"), lead);
    assert_eq!(data(&answer), ["10.0.0.1", "store.app.local.", "web.app.local."]);
    let lead = upstream.lead(ResponseCode::NoError, &["none.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("www.corp.org"), lead);
    assert_eq!(data(&answer), ["none.app.local."]);
    assert_denied_by_zone(&answer, ResponseCode::NXDomain);
    served.send(&question("www.corp.org", Kind::AAAA)).await;
    upstream.lead(ResponseCode::NXDomain, &["web.app.local"]).await;
    let answer = served.receive().await;
    assert_eq!(data(&answer), ["web.app.local."]);
    assert_denied_by_zone(&answer, ResponseCode::NoError);
}

#[tokio::test(start_paused = true)]
async fn a_cname_chain_comes_back_from_an_upstream() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.cnames([("c", "back.org"), ("d", "there.org")]);
    let lead = upstream.lead(ResponseCode::NXDomain, &["web.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), lead);
    assert_eq!(data(&answer), ["10.0.0.1", "back.org.", "web.app.local."]);
    assert_eq!((answer.metadata.response_code, answer.authorities.len()), (ResponseCode::NoError, 0));
    assert!(answer.metadata.authoritative, "AA is about QNAME");
    let counters = served.server.counters();
    assert_eq!((counters.forwarded, counters.by_zone.values().sum()), (1, 1_u64));
    let lead = upstream.lead(ResponseCode::NoError, &["none.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), lead);
    assert_denied_by_zone(&answer, ResponseCode::NXDomain);
    // Into the zone, out again, and to an address.
    let further = async {
        upstream.lead(ResponseCode::NXDomain, &["d.app.local"]).await;
        upstream.answer(&[[192, 0, 2, 1]]).await;
    };
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), further);
    assert_eq!(data(&answer), ["192.0.2.1", "back.org.", "d.app.local.", "there.org."]);
    // A SERVFAIL response has no records of an upstream, whatever led to it.
    let before = served.server.counters().forwarded;
    let further = async {
        upstream.lead(ResponseCode::NXDomain, &["d.app.local"]).await;
        upstream.respond(ResponseCode::Refused).await;
    };
    assert_servfail(&tokio::join!(served.ask("c.app.local"), further).0);
    assert_eq!(served.server.counters().forwarded, before);
}

#[tokio::test(start_paused = true)]
async fn a_cname_chain_through_zones_and_upstreams_ends() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.cnames([("c", "back.org")]);
    let lead = upstream.lead(ResponseCode::NoError, &["C.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), lead);
    assert_eq!(data(&answer), ["C.app.local.", "back.org."]);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    let lead = upstream.lead(ResponseCode::NoError, &["c.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("back.org"), lead);
    assert_eq!(data(&answer), ["back.org.", "c.app.local."]);
    upstream.assert_no_query();

    // Nine records, as for a chain in zones only.
    let names: Vec<_> =
        (0..9).map(|n| (format!("c{n}"), format!("c{n}.app.local"), format!("x{n}.org"))).collect();
    served.cnames(names.iter().map(|(name, _, other)| (&**name, &**other)));
    let lead = async {
        for (_, next, _) in &names[1..5] {
            upstream.lead(ResponseCode::NoError, &[next]).await;
        }
    };
    let (answer, ()) = tokio::join!(served.ask("c0.app.local"), lead);
    assert_eq!((answer.answers.len(), answer.metadata.response_code), (9, ResponseCode::NoError));
    upstream.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn a_chain_through_upstreams_is_in_time_for_the_client() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.cnames([("c", "back.org"), ("d", "there.org")]);
    let slow = async {
        let received = upstream.query().await;
        tokio::time::advance(Duration::from_millis(2500)).await;
        upstream.send(&received, &received.with_cnames(ResponseCode::NoError, &["d.app.local"])).await;
    };
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(served.ask("c.app.local"), slow);
    assert_servfail(&answer);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(served.server.counters().forwarded, 0);
}

#[tokio::test(start_paused = true)]
async fn claims_of_upstreams_about_names_in_zones_are_dropped() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let (web, none) = ("web.app.local", "none.app.local");
    for (name, further) in [(web, web), (web, "evil.org"), (none, none), (none, web)] {
        served.send(&question("www.corp.org", Kind::A)).await;
        let received = upstream.query().await;
        let mut answer = received.with_cnames(ResponseCode::NoError, &[name, further]);
        let forged = RData::A(rdata::A::new(6, 6, 6, 6));
        for owner in [name, further] {
            let owner = Name::from_ascii(format!("{owner}.")).unwrap();
            answer.add_answer(Record::from_rdata(owner.clone(), 30, forged.clone()));
            answer.add_additional(Record::from_rdata(owner, 30, forged.clone()));
        }
        upstream.send(&received, &answer).await;
        let answer = served.receive().await;
        assert!(answer.additionals.is_empty());
        if name == web {
            assert_eq!(data(&answer), ["10.0.0.1", "web.app.local."]);
        } else {
            assert_eq!(data(&answer), ["none.app.local."]);
            assert_denied_by_zone(&answer, ResponseCode::NXDomain);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_chain_into_no_zone_is_forwarded_octet_by_octet() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let long: Vec<_> = (0..9).map(|n| format!("x{n}.org")).chain(["web.app.local".to_owned()]).collect();
    let long: Vec<_> = long.iter().map(String::as_str).collect();
    let round = ["a.org", "b.org", "a.org"];
    let answers: [(Kind, &[&str]); 6] = [
        (Kind::A, &["a.example.net"]),
        (Kind::A, &round),
        (Kind::A, &long),
        (Kind::A, &[]),
        // The CNAME record itself is the answer.
        (Kind::CNAME, &["web.app.local"]),
        (Kind::ANY, &["web.app.local"]),
    ];
    for (kind, targets) in answers {
        served.send(&question("www.corp.org", kind)).await;
        let received = upstream.query().await;
        let mut answer = received.with_cnames(ResponseCode::NXDomain, targets);
        // A record of another name.
        let other = Name::from_ascii("other.corp.org.").unwrap();
        let target = Name::from_ascii("web.app.local.").unwrap();
        answer.add_answer(Record::from_rdata(other, 5, RData::CNAME(rdata::CNAME(target))));
        answer.add_authority(soa("corp.org"));
        answer.metadata.authentic_data = true;
        let octets = answer.to_bytes().unwrap();
        upstream.0.send_to(&octets, received.from).await.unwrap();
        let mut buffer = [0; 2048];
        let len = served.udp.recv(&mut buffer).await.unwrap();
        assert_eq!(buffer[2..len], octets[2..], "all but the id: {targets:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_chain_to_an_alias_gets_the_addresses_of_its_target() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.fixture.alias("out", "lb.example.com");
    // The target may lead into a zone, but not to an alias.
    let lead = upstream.lead(ResponseCode::NXDomain, &["web.app.local"]);
    let (answer, ()) = tokio::join!(served.ask("out.app.local"), lead);
    assert_eq!((data(&answer), answer.answers[0].ttl), (vec!["10.0.0.1".to_owned()], 5));
    let further = async {
        upstream.lead(ResponseCode::NXDomain, &["out.app.local"]).await;
        upstream.answer(&[[192, 0, 2, 1]]).await;
    };
    let (answer, ()) = tokio::join!(served.ask("www.corp.org"), further);
    assert_eq!(data(&answer), ["192.0.2.1", "out.app.local."]);
    assert!(!answer.metadata.authoritative);
    assert_eq!(served.server.counters().forwarded, 1);
    let lead = upstream.lead(ResponseCode::NXDomain, &["out.app.local"]);
    assert_servfail(&tokio::join!(served.ask("out.app.local"), lead).0);
    upstream.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn an_assembled_response_is_truncated_like_others() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let long = ["l".repeat(60), "m".repeat(60), "n".repeat(60), "o".repeat(60)].join(".");
    let chain = [&*long, &long.replace('l', "k"), "web.app.local"];
    let lead = upstream.lead(ResponseCode::NoError, &chain);
    let (answer, ()) = tokio::join!(served.ask("www.corp.org"), lead);
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    let mut stream = served.connect().await;
    send_framed(&mut stream, &question("www.corp.org", Kind::A)).await;
    upstream.lead(ResponseCode::NoError, &chain).await;
    let answer = receive_framed(&mut stream).await;
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (4, false));
}

#[tokio::test(start_paused = true)]
async fn alias_targets_are_forwarded_unless_they_are_in_a_zone() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    for (name, target) in [("out", "lb.example.com"), ("in", "web.app.local"), ("nested", "out.app.local")] {
        served.fixture.alias(name, target);
    }
    let (answer, ()) =
        tokio::join!(served.ask("out.app.local"), upstream.answer(&[[192, 0, 2, 1], [192, 0, 2, 2]]));
    assert_eq!(data(&answer), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(
        (answer.answers[0].name.to_string(), answer.answers[0].ttl),
        ("out.app.local.".to_owned(), 30)
    );
    let gone = upstream.respond(ResponseCode::NXDomain);
    assert_servfail(&tokio::join!(served.ask("out.app.local"), gone).0);
    assert_eq!(data(&served.ask("in.app.local").await), ["10.0.0.1"]);
    assert_servfail(&served.ask("nested.app.local").await);
    upstream.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn an_alias_resolver_comes_before_the_forwarder() {
    let upstream = Upstream::bind().await;
    let fixture = Fixture::new();
    let service = fixture.service("app", Multivalue, &[(RecordType::A, 60)]);
    fixture.register(&service, "i", &[("IPV4", "10.0.0.1")]);
    fixture.alias("out", "lb.example.com");
    let server = DnsServer::builder(fixture.table.clone())
        .with_alias_resolver(Balancers::new())
        .with_forwarder(Forwarder::new([upstream.address()]))
        .bind([LOOPBACK])
        .await
        .unwrap();
    let udp = client(&server).await;
    udp.send(&question("out.app.local", Kind::A)).await.unwrap();
    assert_eq!(data(&receive_in_time(&udp).await), ["192.0.2.1", "192.0.2.2"]);
    upstream.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn a_cname_chain_is_followed_through_all_zones() {
    let fixture = Fixture::new();
    fixture.namespace("other.internal");
    fixture.cname("www", "web.other.internal");
    let web = fixture.service_in("other.internal", "web", Multivalue, &[(RecordType::A, 60)]);
    fixture.register(&web, "i", &[("IPV4", "10.0.0.7")]);
    let answer = fixture.ask("www.app.local", Kind::A);
    assert_eq!(data(&answer), ["10.0.0.7", "web.other.internal."]);
    let answer = fixture.ask("www.app.local", Kind::AAAA);
    assert_eq!(answer.authorities[0].name, Name::from_ascii("other.internal.").unwrap());
}
