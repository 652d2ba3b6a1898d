//! Queries to upstreams, and the answers that their responses lead to. Each upstream is a socket of the
//! test. The clock is paused: it advances only when nothing else is left to do.

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
    forwarding::{
        Asked, LOOPBACK, Served, Upstream, assert_fails, client, receive, receive_framed, send_framed,
    },
    query, question, question_with_edns,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::{Instant, timeout},
};

#[tokio::test(start_paused = true)]
async fn an_answer_passes_as_the_bytes_that_it_is() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let kind = Kind::Unknown(65_280);
    served.send(&question("Example.COM", kind)).await;
    let asked = upstream.asked().await;
    assert!(asked.message.metadata.recursion_desired);
    assert_eq!(asked.message.queries[0].query_type(), kind);
    let mut answer = asked.answer(ResponseCode::NoError);
    // Authority is theirs, not ours.
    answer.metadata.authoritative = true;
    let unknown = RData::Unknown { code: kind, rdata: rdata::NULL::with(vec![1, 2, 3, 0xC0, 0x0C]) };
    answer.add_answer(Record::from_rdata(asked.name().clone(), 7, unknown.clone()));
    answer.set_edns(Edns::new());
    upstream.send(&asked, &answer).await;

    let answer = served.receive().await;
    assert_eq!(answer.metadata.id, 0x1234);
    assert!(answer.metadata.recursion_available && answer.metadata.recursion_desired);
    assert!(!answer.metadata.authoritative && !answer.metadata.truncation);
    assert_eq!(answer.queries[0].name().to_string(), "Example.COM.", "in the case of the client");
    let [record] = &answer.answers[..] else { panic!("{answer}") };
    assert_eq!((record.ttl, &record.data), (7, &unknown));
    assert!(answer.edns.is_none(), "the client has not asked for it");
    let counters = served.server.counters();
    assert_eq!((counters.udp, counters.forwarded), (1, 1));
    assert_eq!((counters.by_type, counters.by_rcode), ([(65_280, 1)].into(), [(0, 1)].into()));
    assert!(counters.by_zone.is_empty());
}

#[tokio::test(start_paused = true)]
async fn edns_is_between_neighbours() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let mut message = query("example.com", Kind::A);
    message.metadata.checking_disabled = true;
    let mut edns = Edns::new();
    edns.set_max_payload(4096).set_dnssec_ok(true);
    message.set_edns(edns);
    served.send(&message.to_bytes().unwrap()).await;
    let asked = upstream.asked().await;
    assert!(asked.message.metadata.checking_disabled);
    let theirs = asked.message.edns.as_ref().unwrap();
    assert_eq!((theirs.max_payload(), theirs.flags().dnssec_ok), (1232, true));
    let mut answer = asked.answer(ResponseCode::NXDomain);
    answer.metadata.authentic_data = true;
    upstream.send(&asked, &answer).await;
    let answer = served.receive().await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(answer.metadata.authentic_data && answer.metadata.checking_disabled);
    let ours = answer.edns.unwrap();
    assert_eq!((ours.max_payload(), ours.flags().dnssec_ok, ours.options().as_ref().len()), (1232, true, 0));
}

#[tokio::test(start_paused = true)]
async fn own_names_never_leave_and_recursion_has_to_be_desired() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
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
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn responses_to_other_queries_are_ignored() {
    let (upstream, other) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    let forged = asked.addresses(&[[6, 6, 6, 6]]);
    // From elsewhere; with another id; to another question; no response at all; nothing.
    other.send(&asked, &forged).await;
    let mut with_id = forged.clone();
    with_id.metadata.id ^= 1;
    upstream.send(&asked, &with_id).await;
    let mut with_question = forged.clone();
    with_question.queries = query("example.org", Kind::A).queries.clone();
    upstream.send(&asked, &with_question).await;
    upstream.send(&asked, &asked.message).await;
    upstream.0.send_to(&[], asked.from).await.unwrap();
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_one_is_asked_after_a_second_and_is_first_from_then_on() {
    let (silent, other) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([silent.address(), other.address()]).await;
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(served.ask("example.com"), other.answer(&[[192, 0, 2, 1]]));
    assert_eq!(data(&answer), ["192.0.2.1"]);
    assert_eq!(begun.elapsed().as_secs(), 1);
    // With EDNS and without.
    silent.asked().await;
    silent.asked().await;

    let (answer, ()) = tokio::join!(served.ask("example.org"), other.answer(&[[192, 0, 2, 2]]));
    assert_eq!(data(&answer), ["192.0.2.2"]);
    assert_eq!(begun.elapsed().as_secs(), 1);
    silent.assert_unasked();

    tokio::time::advance(Duration::from_secs(30)).await;
    let (answer, ()) = tokio::join!(served.ask("example.net"), silent.answer(&[[192, 0, 2, 3]]));
    assert_eq!(data(&answer), ["192.0.2.3"], "it has another chance");
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_before_they_give_up() {
    let (one, two) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([one.address(), two.address()]).await;
    let begun = Instant::now();
    assert_fails(&served.ask("example.com").await);
    assert!(begun.elapsed() < Duration::from_secs(5));
    // Each was asked twice with EDNS and twice without, since a packet may be lost. All queries have one port
    // and one id, so that they are no easier to guess than one.
    for upstream in [&one, &two] {
        let mut queries = Vec::new();
        for _ in 0..4 {
            queries.push(upstream.asked().await);
        }
        upstream.assert_unasked();
        let have_edns: Vec<_> = queries.iter().map(|asked| asked.message.edns.is_some()).collect();
        assert_eq!(have_edns, [true, false, true, false]);
        let first = &queries[0];
        assert!(queries.iter().all(|asked| asked.from == first.from));
        assert!(queries.iter().all(|asked| asked.message.metadata.id == first.message.metadata.id));
    }
    assert_eq!(served.server.counters().by_rcode, [(2, 1)].into());
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_does_not_know_an_answer_is_not_slow() {
    let (silent, one) = (Upstream::bind().await, Upstream::bind().await);
    let served = Served::start([silent.address(), one.address()]).await;
    let refuse = async {
        let asked = one.asked().await;
        one.send(&asked, &asked.answer(ResponseCode::Refused)).await;
    };
    let (answer, ()) = tokio::join!(served.ask("example.com"), refuse);
    assert_fails(&answer);
    // It comes before the one that said nothing.
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(served.ask("example.org"), one.answer(&[[192, 0, 2, 1]]));
    assert_eq!(data(&answer), ["192.0.2.1"]);
    assert_eq!(begun.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_fails_is_followed_by_the_next_one() {
    let (one, two) = (Upstream::bind().await, Upstream::bind().await);
    // Nobody is behind the first one: its socket is gone.
    let gone = Upstream::bind().await.address();
    for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp] {
        let served = Served::start([gone, one.address(), two.address()]).await;
        let refuse = async {
            let asked = one.asked().await;
            one.send(&asked, &asked.answer(code)).await;
        };
        let (answer, (), ()) = tokio::join!(served.ask("example.com"), refuse, two.answer(&[[192, 0, 2, 1]]));
        assert_eq!(data(&answer), ["192.0.2.1"], "{code}");
    }
    // When all of them have failed there is nothing to wait for, and REFUSED is not for clients that may ask.
    let served = Served::start([gone, one.address()]).await;
    let refuse = async {
        let asked = one.asked().await;
        one.send(&asked, &asked.answer(ResponseCode::Refused)).await;
    };
    let (answer, ()) = tokio::join!(served.ask("example.com"), refuse);
    assert_fails(&answer);
    assert_fails(&Served::start([]).await.ask("example.com").await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_knows_no_edns_is_asked_without() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    for code in [ResponseCode::FormErr, ResponseCode::NotImp] {
        let old = async {
            loop {
                let asked = upstream.asked().await;
                if asked.message.edns.is_none() {
                    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
                } else {
                    let mut answer = asked.answer(code);
                    answer.queries.clear();
                    upstream.send(&asked, &answer).await;
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
async fn an_answer_that_is_cut_is_asked_for_again_over_tcp() {
    let (upstream, tcp) = Upstream::bind_with_tcp().await;
    let served = Served::start([upstream.address()]).await;
    let many: Vec<_> = (0..200).map(|last| [192, 0, 2, last]).collect();
    let answers = async {
        loop {
            let asked = upstream.asked().await;
            let mut cut = asked.addresses(&many[..3]);
            cut.metadata.truncation = true;
            upstream.send(&asked, &cut).await;
            let (mut stream, _) = tcp.accept().await.unwrap();
            let message = receive_framed(&mut stream).await;
            let asked = Asked { message, ..asked };
            send_framed(&mut stream, &asked.addresses(&many).to_bytes().unwrap()).await;
        }
    };
    let clients = async {
        // 512 octets: as many whole records as fit, for resolvers that know no TCP.
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
async fn an_answer_is_not_cut_for_want_of_room_for_additional_records() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let many: Vec<_> = (0..50).map(|last| [192, 0, 2, last]).collect();
    let answer = async {
        let asked = upstream.asked().await;
        let mut answer = asked.addresses(&many[..3]);
        answer.add_authorities(asked.addresses(&many[3..4]).answers);
        answer.add_additionals(asked.addresses(&many[4..]).answers);
        upstream.send(&asked, &answer).await;
    };
    let (answer, ()) = tokio::join!(served.ask("example.com"), answer);
    assert!(!answer.metadata.truncation);
    let counts = [&answer.answers, &answer.authorities, &answer.additionals].map(Vec::len);
    assert_eq!(counts, [3, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn clients_that_ask_the_same_wait_for_one_query() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let other = client(&served.server).await;
    served.send(&question("Example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    other.send(&question("eXAMPLE.com", Kind::A)).await.unwrap();
    // Another question, after which the one before it has been taken.
    other.send(&question("example.com", Kind::AAAA)).await.unwrap();
    let aaaa = upstream.asked().await;
    assert_eq!(aaaa.message.queries[0].query_type(), Kind::AAAA);
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
    let (mine, theirs) = (served.receive().await, receive(&other).await);
    assert_eq!((data(&mine), data(&theirs)), (vec!["192.0.2.1".to_owned()], vec!["192.0.2.1".to_owned()]));
    assert_eq!(mine.queries[0].name().to_string(), "Example.com.");
    assert_eq!(theirs.queries[0].name().to_string(), "eXAMPLE.com.");
    assert_eq!(theirs.answers[0].name.to_string(), "eXAMPLE.com.");
    upstream.assert_unasked();
    // Without a cache it is asked again.
    let (answer, ()) = tokio::join!(served.ask("example.com"), upstream.answer(&[[192, 0, 2, 9]]));
    assert_eq!(data(&answer), ["192.0.2.9"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_question_of_another() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let mut stream = served.connect().await;
    send_framed(&mut stream, &question("slow.example.com", Kind::A)).await;
    let slow = upstream.asked().await;
    served.send(&question("slow.example.com", Kind::TXT)).await;
    let slow_too = upstream.asked().await;
    for name in ["example.com", "web.app.local"] {
        send_framed(&mut stream, &question(name, Kind::A)).await;
        served.send(&question(name, Kind::A)).await;
    }
    assert_eq!(data(&receive_framed(&mut stream).await), ["10.0.0.1"]);
    assert_eq!(data(&served.receive().await), ["10.0.0.1"]);
    // The same question over UDP and over TCP.
    upstream.answer(&[[192, 0, 2, 1]]).await;
    assert_eq!(data(&receive_framed(&mut stream).await), ["192.0.2.1"]);
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    // A client that has closed its side waits for the rest.
    stream.shutdown().await.unwrap();
    upstream.send(&slow, &slow.addresses(&[[192, 0, 2, 2]])).await;
    assert_eq!(data(&receive_framed(&mut stream).await), ["192.0.2.2"]);
    upstream.send(&slow_too, &slow_too.answer(ResponseCode::NoError)).await;
    assert_eq!(served.receive().await.queries[0].query_type(), Kind::TXT);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_question_at_a_time_looks_for_a_loop() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let (_asked, _probe) = upstream.asked_with_probe().await;
    for number in 0..20 {
        served.send(&question(&format!("{number}.example.com"), Kind::A)).await;
        let next = upstream.next().await;
        assert!(!next.is_probe(), "{}", next.message);
    }
}

#[tokio::test(start_paused = true)]
async fn two_servers_that_ask_each_other_find_out() {
    let (one, two) = loop {
        // The port of the second one is known before it is there, and may be taken in between.
        let address = Upstream::bind().await.address();
        let one = Served::start([address]).await;
        let two = DnsServer::builder(Fixture::new().table)
            .with_forwarder(Forwarder::new([one.server.local_addrs()[0]]))
            .bind([address]);
        if let Ok(two) = two.await {
            break (one, two);
        }
    };
    assert_fails(&one.ask("example.com").await);
    // From now on nobody is asked.
    one.send(&question("example.com", Kind::TXT)).await;
    assert_fails(&one.receive().await);
    assert!(!two.counters().by_type.contains_key(&16));
    // What comes back changes nothing of what is ours.
    assert_eq!(data(&one.ask("web.app.local").await), ["10.0.0.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_comes_back_as_it_is_fails_alone() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    let back = client(&served.server).await;
    // Before it is known to work, and after.
    for name in ["web.absent.local", "db.absent.local"] {
        served.send(&question(name, Kind::A)).await;
        let asked = upstream.asked().await;
        back.send(&asked.message.to_bytes().unwrap()).await.unwrap();
        assert_fails(&receive(&back).await);
        upstream.send(&asked, &asked.answer(ResponseCode::ServFail)).await;
        assert_fails(&served.receive().await);
        // It may be told to ask this server for some names only.
        tokio::select! {
            answer = served.ask("example.com") => assert_eq!(data(&answer), ["192.0.2.1"]),
            () = async { loop { upstream.answer(&[[192, 0, 2, 1]]).await } } => unreachable!(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_begins_to_hand_back_all_queries_is_left_alone() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let (asked, _probe) = upstream.asked_with_probe().await;
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&served.receive().await), ["192.0.2.1"]);
    let back = client(&served.server).await;
    let hand_back = async |asked: &Asked| {
        back.send(&asked.message.to_bytes().unwrap()).await.unwrap();
        assert_fails(&receive(&back).await);
    };
    served.send(&question("one.example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    hand_back(&asked).await;
    upstream.send(&asked, &asked.answer(ResponseCode::ServFail)).await;
    assert_fails(&served.receive().await);
    served.send(&question("two.example.com", Kind::A)).await;
    let (_asked, probe) = upstream.asked_with_probe().await;
    hand_back(&probe).await;
    assert_fails(&served.receive().await);
    assert_fails(&served.ask("example.com").await);
    upstream.assert_unasked();
}

#[tokio::test(start_paused = true)]
async fn a_server_does_not_ask_itself() {
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
        let expected =
            format!("cannot listen on {address}:{port}: it is also an upstream of the forwarder (loop)");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn shutting_down_waits_for_other_servers_no_longer_than_they_take() {
    let upstream = Upstream::bind().await;
    let served = Served::start([upstream.address()]).await;
    served.send(&question("example.com", Kind::A)).await;
    let asked = upstream.asked().await;
    let Served { server, udp, .. } = served;
    let down = tokio::spawn(server.shutdown());
    upstream.send(&asked, &asked.addresses(&[[192, 0, 2, 1]])).await;
    assert_eq!(data(&receive(&udp).await), ["192.0.2.1"]);
    timeout(Duration::from_secs(60), down).await.unwrap().unwrap();
}
