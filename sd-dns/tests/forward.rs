//! Forwarding. Each upstream is a socket of the test. The clock is paused: it advances when all tasks are idle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic, in its helpers too")]

mod support;

use std::{net::Ipv4Addr, time::Duration};

use hickory_proto::{
    op::{Edns, ResponseCode},
    rr::{RData, Record, RecordType as Kind, rdata},
    serialize::binary::BinEncodable,
};
use sd_dns::{DnsServer, Forwarder};
use support::{
    Fixture, assert_negative, data,
    forwarding::{ForwardingServer, ReceivedQuery, Upstream, assert_servfail},
    query, question, question_with_edns,
    sockets::{LOOPBACK, client, receive_framed, receive_in_time, send_framed},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::{Instant, timeout},
};

#[tokio::test(start_paused = true)]
async fn records_are_forwarded_octet_by_octet() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let kind = Kind::Unknown(65_280);
    served.send(&question("Example.COM", kind)).await;
    let received = upstream.query().await;
    assert!(received.message.metadata.recursion_desired);
    assert_eq!(received.message.queries[0].query_type(), kind);
    let mut answer = received.response(ResponseCode::NoError);
    // The AA bit of an upstream is not copied.
    answer.metadata.authoritative = true;
    let unknown = RData::Unknown { code: kind, rdata: rdata::NULL::with(vec![1, 2, 3, 0xC0, 0x0C]) };
    answer.add_answer(Record::from_rdata(received.name().clone(), 7, unknown.clone()));
    answer.set_edns(Edns::new());
    upstream.send(&received, &answer).await;

    let answer = served.receive().await;
    assert_eq!(answer.metadata.id, 0x1234);
    assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
    assert!(!answer.metadata.authoritative && !answer.metadata.truncation);
    assert_eq!(answer.queries[0].name().to_string(), "Example.COM.", "in the case of the client");
    let [record] = &answer.answers[..] else { panic!("{answer}") };
    assert_eq!((record.ttl, &record.data), (7, &unknown));
    assert!(answer.edns.is_none(), "the client has no EDNS");
    let counters = served.server.counters();
    assert_eq!((counters.udp, counters.forwarded), (1, 1));
    assert_eq!((counters.by_type, counters.by_rcode), ([(65_280, 1)].into(), [(0, 1)].into()));
    assert!(counters.by_zone.is_empty());
}

#[tokio::test(start_paused = true)]
async fn edns_is_hop_by_hop() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let mut message = query("example.com", Kind::A);
    message.metadata.checking_disabled = true;
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    message.set_edns(edns);
    served.send(&message.to_bytes().unwrap()).await;
    let received = upstream.query().await;
    assert!(received.message.metadata.checking_disabled);
    let theirs = received.message.edns.as_ref().unwrap();
    assert_eq!((theirs.max_payload(), theirs.flags().dnssec_ok), (1232, true));
    let mut answer = received.response(ResponseCode::NXDomain);
    answer.metadata.authentic_data = true;
    upstream.send(&received, &answer).await;
    let answer = served.receive().await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(answer.metadata.authentic_data && answer.metadata.checking_disabled);
    let ours = answer.edns.unwrap();
    assert_eq!((ours.max_payload(), ours.flags().dnssec_ok, ours.options().as_ref().len()), (1232, true, 0));
}

#[tokio::test(start_paused = true)]
async fn names_in_zones_and_queries_without_rd_are_not_forwarded() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    for (name, kind) in [("web.app.local", Kind::A), ("app.local", Kind::SOA)] {
        served.send(&question(name, kind)).await;
        let answer = served.receive().await;
        assert_eq!(answer.answers.len(), 1);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    }
    assert_negative(&served.ask("none.app.local").await, ResponseCode::NXDomain);
    assert_negative(&served.ask("example.com.app.local").await, ResponseCode::NXDomain);
    served.send(&question("web.app.local", Kind::AAAA)).await;
    assert_negative(&served.receive().await, ResponseCode::NoError);
    let mut alone = query("example.com", Kind::A);
    alone.metadata.recursion_desired = false;
    served.send(&alone.to_bytes().unwrap()).await;
    assert_eq!(served.receive().await.metadata.response_code, ResponseCode::Refused);
    served.send(&question("example.com", Kind::AXFR)).await;
    assert_eq!(served.receive().await.metadata.response_code, ResponseCode::Refused);
    upstream.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn responses_to_other_queries_are_ignored() {
    let (upstream, other) = (Upstream::bind().await, Upstream::bind().await);
    let served = ForwardingServer::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let received = upstream.query().await;
    let forged = received.with_addresses(&[[6, 6, 6, 6]]);
    // From another address; with another id; to another question; a query; an empty datagram.
    other.send(&received, &forged).await;
    let mut with_id = forged.clone();
    with_id.metadata.id ^= 1;
    upstream.send(&received, &with_id).await;
    let mut with_question = forged.clone();
    with_question.queries = query("example.org", Kind::A).queries.clone();
    upstream.send(&received, &with_question).await;
    upstream.send(&received, &received.message).await;
    upstream.0.send_to(&[], received.from).await.unwrap();
    upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_upstream_is_queried_after_a_second_and_first_from_then_on() {
    let (silent, other) = (Upstream::bind().await, Upstream::bind().await);
    let served = ForwardingServer::start([silent.address(), other.address()]).await;
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(served.ask("example.com"), other.answer(&[[192, 0, 2, 1]]));
    assert_eq!(data(&answer), ["192.0.2.1"]);
    assert_eq!(begun.elapsed().as_secs(), 1);
    // It got one query with EDNS and one without.
    silent.query().await;
    silent.query().await;

    let (answer, ()) = tokio::join!(served.ask("example.org"), other.answer(&[[192, 0, 2, 2]]));
    assert_eq!(data(&answer), ["192.0.2.2"]);
    assert_eq!(begun.elapsed().as_secs(), 1);
    silent.assert_no_query();

    tokio::time::advance(Duration::from_secs(30)).await;
    let (answer, ()) = tokio::join!(served.ask("example.net"), silent.answer(&[[192, 0, 2, 3]]));
    assert_eq!(data(&answer), ["192.0.2.3"], "it is queried again after 30 s");
}

#[tokio::test(start_paused = true)]
async fn clients_get_servfail_before_they_give_up() {
    let (one, two) = (Upstream::bind().await, Upstream::bind().await);
    let served = ForwardingServer::start([one.address(), two.address()]).await;
    let begun = Instant::now();
    assert_servfail(&served.ask("example.com").await);
    assert!(begun.elapsed() < Duration::from_secs(5));
    // Each was queried twice with EDNS and twice without, because packets get lost. All copies have the same port and id, so
    // that they are no easier to guess than one.
    for upstream in [&one, &two] {
        let mut queries = Vec::new();
        for _ in 0..4 {
            queries.push(upstream.query().await);
        }
        upstream.assert_no_query();
        let have_edns: Vec<_> = queries.iter().map(|received| received.message.edns.is_some()).collect();
        assert_eq!(have_edns, [true, false, true, false]);
        let first = &queries[0];
        assert!(queries.iter().all(|received| received.from == first.from));
        assert!(queries.iter().all(|received| received.message.metadata.id == first.message.metadata.id));
    }
    assert_eq!(served.server.counters().by_rcode, [(2, 1)].into());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_is_not_slow() {
    let (silent, one) = (Upstream::bind().await, Upstream::bind().await);
    let served = ForwardingServer::start([silent.address(), one.address()]).await;
    let refuse = one.respond(ResponseCode::Refused);
    let (answer, ()) = tokio::join!(served.ask("example.com"), refuse);
    assert_servfail(&answer);
    // It is queried before the silent one.
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(served.ask("example.org"), one.answer(&[[192, 0, 2, 1]]));
    assert_eq!(data(&answer), ["192.0.2.1"]);
    assert_eq!(begun.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_next_upstream_is_queried_after_a_failure() {
    let (one, two) = (Upstream::bind().await, Upstream::bind().await);
    // The first upstream's socket is closed.
    let gone = Upstream::bind().await.address();
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
        let served = ForwardingServer::start([gone, one.address(), two.address()]).await;
        let refuse = one.respond(code);
        let (answer, (), ()) = tokio::join!(served.ask("example.com"), refuse, two.answer(&[[192, 0, 2, 1]]));
        assert_eq!(data(&answer), ["192.0.2.1"], "{code}");
    }
    // When all upstreams have failed, the client gets SERVFAIL at once. REFUSED would say that it must not ask.
    let served = ForwardingServer::start([gone, one.address()]).await;
    let refuse = one.respond(ResponseCode::Refused);
    let (answer, ()) = tokio::join!(served.ask("example.com"), refuse);
    assert_servfail(&answer);
    assert_servfail(&ForwardingServer::start([]).await.ask("example.com").await);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_refuses_edns_is_queried_without() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let old = async {
            loop {
                let received = upstream.query().await;
                if received.message.edns.is_none() {
                    upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 1]])).await;
                } else {
                    let mut answer = received.response(code);
                    answer.queries.clear();
                    upstream.send(&received, &answer).await;
                }
            }
        };
        tokio::select! {
            answer = served.ask("example.com") => assert_eq!(data(&answer), ["192.0.2.1"], "{code}"),
            () = old => unreachable!(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_response_is_requested_over_tcp() {
    let (upstream, tcp) = Upstream::bind_with_tcp().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let many: Vec<_> = (0..200).map(|last| [192, 0, 2, last]).collect();
    let answers = async {
        loop {
            let received = upstream.query().await;
            let mut cut = received.with_addresses(&many[..3]);
            cut.metadata.truncation = true;
            upstream.send(&received, &cut).await;
            let (mut stream, _) = tcp.accept().await.unwrap();
            let message = receive_framed(&mut stream).await;
            let received = ReceivedQuery { message, ..received };
            send_framed(&mut stream, &received.with_addresses(&many).to_bytes().unwrap()).await;
        }
    };
    let clients = async {
        // 512 octets: as many complete records as fit, for resolvers without TCP.
        let answer = served.ask("example.com").await;
        assert!(answer.metadata.truncation);
        assert_eq!(answer.answers.len(), (512 - 12 - 17) / 16);
        assert_eq!(answer.answers[0].data, RData::A(rdata::A::new(192, 0, 2, 0)));
        served.send(&question_with_edns("example.com", Kind::A, 1000)).await;
        let answer = served.receive().await;
        assert!(answer.metadata.truncation && answer.edns.is_some());
        assert_eq!(answer.answers.len(), (1000 - 12 - 17 - 11) / 16);
        let mut stream = served.connect().await;
        send_framed(&mut stream, &question("example.com", Kind::A)).await;
        let answer = receive_framed(&mut stream).await;
        assert!(!answer.metadata.truncation);
        assert_eq!(answer.answers.len(), many.len());
    };
    tokio::select! {
        () = answers => unreachable!(),
        () = clients => {}
    }
}

#[tokio::test(start_paused = true)]
async fn additional_records_are_dropped_before_truncation() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let many: Vec<_> = (0..50).map(|last| [192, 0, 2, last]).collect();
    let answer = async {
        let received = upstream.query().await;
        let mut answer = received.with_addresses(&many[..3]);
        answer.add_authorities(received.with_addresses(&many[3..4]).answers);
        answer.add_additionals(received.with_addresses(&many[4..]).answers);
        upstream.send(&received, &answer).await;
    };
    let (answer, ()) = tokio::join!(served.ask("example.com"), answer);
    assert!(!answer.metadata.truncation);
    let counts = [&answer.answers, &answer.authorities, &answer.additionals].map(Vec::len);
    assert_eq!(counts, [3, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn identical_queries_share_one_upstream_query() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let other = client(&served.server).await;
    served.send(&question("Example.com", Kind::A)).await;
    let received = upstream.query().await;
    other.send(&question("eXAMPLE.com", Kind::A)).await.unwrap();
    // When this query arrives, the server has read the one before.
    other.send(&question("example.com", Kind::AAAA)).await.unwrap();
    let aaaa = upstream.query().await;
    assert_eq!(aaaa.message.queries[0].query_type(), Kind::AAAA);
    upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 1]])).await;
    let (mine, theirs) = (served.receive().await, receive_in_time(&other).await);
    assert_eq!((data(&mine), data(&theirs)), (vec!["192.0.2.1".to_owned()], vec!["192.0.2.1".to_owned()]));
    assert_eq!(mine.queries[0].name().to_string(), "Example.com.");
    assert_eq!(theirs.queries[0].name().to_string(), "eXAMPLE.com.");
    assert_eq!(theirs.answers[0].name.to_string(), "eXAMPLE.com.");
    upstream.assert_no_query();
    // Without a cache the next query is sent again.
    let (answer, ()) = tokio::join!(served.ask("example.com"), upstream.answer(&[[192, 0, 2, 9]]));
    assert_eq!(data(&answer), ["192.0.2.9"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_query_delays_no_other() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let mut stream = served.connect().await;
    send_framed(&mut stream, &question("slow.example.com", Kind::A)).await;
    let slow = upstream.query().await;
    served.send(&question("slow.example.com", Kind::TXT)).await;
    let slow_too = upstream.query().await;
    for name in ["example.com", "web.app.local"] {
        send_framed(&mut stream, &question(name, Kind::A)).await;
        served.send(&question(name, Kind::A)).await;
    }
    assert_eq!(data(&receive_framed(&mut stream).await), ["10.0.0.1"]);
    assert_eq!(data(&served.receive().await), ["10.0.0.1"]);
    // The same query over UDP and over TCP.
    upstream.answer(&[[192, 0, 2, 1]]).await;
    assert_eq!(data(&receive_framed(&mut stream).await), ["192.0.2.1"]);
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    // A half-closed connection still gets its responses.
    stream.shutdown().await.unwrap();
    upstream.send(&slow, &slow.with_addresses(&[[192, 0, 2, 2]])).await;
    assert_eq!(data(&receive_framed(&mut stream).await), ["192.0.2.2"]);
    upstream.send(&slow_too, &slow_too.response(ResponseCode::NoError)).await;
    assert_eq!(served.receive().await.queries[0].query_type(), Kind::TXT);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_probe_is_in_flight_at_a_time() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let (_query, _probe) = upstream.query_and_probe().await;
    for number in 0..20 {
        served.send(&question(&format!("{number}.example.com"), Kind::A)).await;
        let next = upstream.next().await;
        assert!(!next.is_probe(), "{}", next.message);
    }
}

#[tokio::test(start_paused = true)]
async fn two_servers_that_forward_to_each_other_detect_the_loop() {
    let (one, two) = loop {
        // The port of the second server is chosen before it is bound, and may be taken meanwhile.
        let address = Upstream::bind().await.address();
        let one = ForwardingServer::start([address]).await;
        let two = DnsServer::builder(Fixture::new().table)
            .with_forwarder(Forwarder::new([one.server.local_addrs()[0]]))
            .bind([address]);
        if let Ok(two) = two.await {
            break (one, two);
        }
    };
    assert_servfail(&one.ask("example.com").await);
    // From now on nothing is forwarded.
    one.send(&question("example.com", Kind::TXT)).await;
    assert_servfail(&one.receive().await);
    assert!(!two.counters().by_type.contains_key(&16));
    // Names in zones are still answered.
    assert_eq!(data(&one.ask("web.app.local").await), ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_comes_back_fails_alone() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    let back = client(&served.server).await;
    // Before the upstream is known to work, and after.
    for name in ["web.absent.local", "db.absent.local"] {
        served.send(&question(name, Kind::A)).await;
        let received = upstream.query().await;
        back.send(&received.message.to_bytes().unwrap()).await.unwrap();
        assert_servfail(&receive_in_time(&back).await);
        upstream.send(&received, &received.response(ResponseCode::ServFail)).await;
        assert_servfail(&served.receive().await);
        // The upstream may forward only some names to this server.
        tokio::select! {
            answer = served.ask("example.com") => assert_eq!(data(&answer), ["192.0.2.1"]),
            () = async { loop { upstream.answer(&[[192, 0, 2, 1]]).await } } => unreachable!(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_starts_to_send_back_all_queries_is_ignored() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let (received, _probe) = upstream.query_and_probe().await;
    upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    let back = client(&served.server).await;
    let send_back = async |received: &ReceivedQuery| {
        back.send(&received.message.to_bytes().unwrap()).await.unwrap();
        assert_servfail(&receive_in_time(&back).await);
    };
    served.send(&question("one.example.com", Kind::A)).await;
    let received = upstream.query().await;
    send_back(&received).await;
    upstream.send(&received, &received.response(ResponseCode::ServFail)).await;
    assert_servfail(&served.receive().await);
    served.send(&question("two.example.com", Kind::A)).await;
    let (_query, probe) = upstream.query_and_probe().await;
    send_back(&probe).await;
    assert_servfail(&served.receive().await);
    assert_servfail(&served.ask("example.com").await);
    upstream.assert_no_query();
}

#[tokio::test(start_paused = true)]
async fn a_server_does_not_forward_to_itself() {
    let fixture = Fixture::new();
    let socket = UdpSocket::bind(LOOPBACK).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    for (address, upstream) in [
        (Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
        (Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(127, 0, 0, 2)),
        (Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED),
    ] {
        let builder = DnsServer::builder(fixture.table.clone());
        let forwarder = Forwarder::new([(upstream, port).into()]);
        let error = builder.with_forwarder(forwarder).bind([(address, port).into()]).await.unwrap_err();
        let expected = format!(
            "cannot listen on {address}:{port} (UDP): this address is also an upstream of the forwarder"
        );
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn shutting_down_waits_for_upstreams() {
    let upstream = Upstream::bind().await;
    let served = ForwardingServer::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let received = upstream.query().await;
    let ForwardingServer { server, udp, .. } = served;
    let down = tokio::spawn(server.shutdown());
    upstream.send(&received, &received.with_addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&receive_in_time(&udp).await), ["192.0.2.1"]);
    timeout(Duration::from_secs(60), down).await.unwrap().unwrap();
}
