//! What a fuzz target may ask of the answer path.

use hickory_proto::{
    op::{Edns as ParsedEdns, Message as ParsedMessage, OpCode, Query as ParsedQuery, ResponseCode},
    rr::{DNSClass, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use sd_core::random::SeededRandom;

use crate::{
    name_table::NameTable,
    unusual,
    wire::{
        Edns, HEADER, MAX_UDP_PAYLOAD, MIN_UDP_PAYLOAD, Rcode, Transport, answer,
        query::{Query, QueryHeader, Question},
        response::Response,
        sections,
    },
};

/// Answers a message, by both ways if both take it, and returns whether it is a usual query.
///
/// Both ways give the same answer. It belongs to the message, is well-formed, no longer than the client can
/// receive, and has the code and EDNS that follow from how hickory-proto reads the message, if that can read
/// it.
///
/// # Errors
/// What is wrong with an answer.
pub fn query(table: &NameTable, packet: &[u8]) -> Result<bool, String> {
    // Most clients ask in datagrams.
    let is_stream = packet.first().is_some_and(|octet| octet % 4 == 0);
    let transport = if is_stream { Transport::Tcp } else { Transport::Udp };
    let Some(header) = QueryHeader::read(packet) else {
        return Ok(false);
    };
    let header = header.with_recursion(packet[1] % 2 == 1);
    let published = table.read();
    let seed = packet.iter().fold(0, |seed: u64, octet| seed.rotate_left(5) ^ u64::from(*octet));
    let random = || SeededRandom::new(seed);
    let usual = Query::read(header, packet);
    // Answers stand one after the other in a buffer.
    const BEFORE: &[u8] = b"another answer";
    let mut long = BEFORE.to_vec();
    let mut slowly = unusual::answer(&published, header, packet, transport, &random(), &mut long);
    if let Err(waiting) = &mut slowly {
        let _ = waiting.fail(&mut long);
    }
    if let Some(Query { header, question, edns }) = &usual {
        let mut short = BEFORE.to_vec();
        let limit = transport.limit(*edns);
        let mut at_once = answer::answer(&published, *header, question, *edns, limit, &random(), &mut short);
        if let Err(waiting) = &mut at_once {
            let _ = waiting.fail(&mut short);
        }
        let same = match (&at_once, &slowly) {
            (Ok(at_once), Ok(slowly)) => at_once == slowly,
            (Err(at_once), Err(slowly)) => at_once.asked() == slowly.asked(),
            _ => false,
        };
        if !same || short != long {
            let answers = format!("the short way: {short:02x?}\nthe long way: {long:02x?}");
            return Err(format!("{answers}\n{at_once:?}\n{slowly:?}"));
        }
    }
    let answer = &long[BEFORE.len()..];
    check(packet, transport, answer).map_err(|fault| format!("{fault}: {answer:02x?}"))?;
    Ok(usual.is_some())
}

/// The payload that the client says by EDNS and the code that the message is refused with, as hickory-proto
/// reads it: 0 if it is answered. `None` if hickory-proto cannot read it, or if it may be too long for us.
fn expected(packet: &[u8]) -> Option<(Option<u16>, u16)> {
    let parsed = ParsedMessage::from_vec(packet).ok()?;
    let records = [&parsed.answers, &parsed.authorities, &parsed.additionals].into_iter().flatten();
    let questions = parsed.queries.iter().map(ParsedQuery::name);
    let names = records.map(|record| &record.name).chain(questions);
    // Wildcards are not among the labels.
    let steps: usize = names.map(|name| usize::from(name.num_labels()) + 5).sum();
    let edns = parsed.edns.as_ref();
    if steps + edns.map_or(0, |_| 4) > sections::MAX_STEPS {
        return None;
    }
    let code = match &parsed.queries[..] {
        _ if parsed.metadata.op_code != OpCode::Query => Rcode::NotImp,
        // Compressed: no name stands before it, so it points into the header.
        [_] if Question::read(packet).is_none() => Rcode::FormErr,
        [query] => match (edns.map_or(0, ParsedEdns::version), query.query_class(), query.query_type()) {
            (1.., ..) => Rcode::BadVers,
            (_, _, RecordType::OPT | RecordType::ZERO | RecordType::Unknown(0)) => Rcode::FormErr,
            (_, DNSClass::IN, RecordType::AXFR | RecordType::IXFR) => Rcode::Refused,
            (_, DNSClass::IN, RecordType::ANY) => Rcode::NoError,
            (_, DNSClass::IN, kind) if (128..255).contains(&u16::from(kind)) => Rcode::NotImp,
            (_, DNSClass::IN, _) => Rcode::NoError,
            _ => Rcode::Refused,
        },
        _ => Rcode::FormErr,
    };
    Some((edns.map(ParsedEdns::max_payload), code.into()))
}

fn check(packet: &[u8], transport: Transport, answer: &[u8]) -> Result<(), String> {
    let mut decoder = BinDecoder::new(answer);
    let parsed = ParsedMessage::read(&mut decoder).map_err(|error| error.to_string())?;
    if !decoder.is_empty() {
        return Err("octets after its end".into());
    }
    if answer[..2] != packet[..2] {
        return Err("another id".into());
    }
    // QR is set, opcode and RD are those of the query, Z, AD and CD are not set.
    let recursion_available = (packet[1] % 2) << 7;
    if answer[2] & 0xF9 != 0x80 | packet[2] & 0x79 || answer[3] & 0xF0 != recursion_available {
        return Err("other flags".into());
    }
    let expected = expected(packet);
    if let Some((payload, code)) = expected {
        if parsed.edns.is_some() != payload.is_some() {
            return Err("EDNS is answered with EDNS, and nothing else is".into());
        }
        let found = u16::from(parsed.metadata.response_code);
        if code != 0 && found != code {
            return Err(format!("{found} instead of {code}"));
        }
        let is_refusal =
            matches!(parsed.metadata.response_code, ResponseCode::FormErr | ResponseCode::NotImp);
        if code == 0 && is_refusal {
            return Err(format!("{found} for a query that can be answered"));
        }
    }
    let question = Question::read(packet).filter(|_| packet[4..6] == [0, 1]);
    let question = question.as_ref().map_or(&[][..], |question| question.raw);
    if answer.get(HEADER..HEADER + question.len()) != Some(question)
        || parsed.queries.len() != usize::from(!question.is_empty())
    {
        return Err("another question".into());
    }
    // What hickory-proto cannot read may have EDNS with any payload.
    let payload = match (expected, &parsed.edns) {
        (Some((Some(payload), _)), _) => payload,
        (None, Some(_)) => MAX_UDP_PAYLOAD,
        (Some((None, _)) | None, _) => MIN_UDP_PAYLOAD,
    };
    let limit = payload.clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD);
    if transport == Transport::Udp && answer.len() > usize::from(limit) {
        return Err(format!("longer than {limit} octets"));
    }
    Ok(())
}

/// The question that the answers of other servers are fuzzed with: `www.example.com. IN A`.
pub const QUESTION: &[u8] = b"\x03www\x07example\x03com\0\0\x01\0\x01";

/// Reads what another server may have sent in answer to [`QUESTION`] with the id 0, and tells whether it is passed on: by
/// itself, and behind the CNAME record of `out.app.local`, which leads out of the zones. It may lead back, and out again.
///
/// What is passed on has the client's id and question, and is no longer than the client can receive.
///
/// # Errors
/// It is not so.
pub fn upstream(table: &NameTable, packet: &[u8]) -> Result<bool, String> {
    const CHAIN: &[u8] = b"\x03out\x03app\x05local\0\0\x01\0\x01";
    let Ok(response) = Response::read(packet.to_vec(), 0, QUESTION) else {
        return Ok(false);
    };
    for (asked, payload) in [(QUESTION, None), (QUESTION, Some(1232)), (CHAIN, Some(512)), (CHAIN, None)] {
        let query = [&[0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], asked].concat();
        let header = QueryHeader::read(&query).ok_or("no query")?.with_recursion(true);
        let question = Question::read(&query).ok_or("no question")?;
        let edns = payload.map(|payload| Edns { payload, dnssec_ok: false });
        for limit in [Transport::Udp.limit(edns), Transport::Tcp.limit(edns)] {
            let (mut out, random) = (Vec::new(), SeededRandom::new(1));
            let published = table.read();
            let answered = answer::answer(&published, header, &question, edns, limit, &random, &mut out);
            let Err(waiting) = answered else { return Err("nothing is waited for".into()) };
            let relayed = waiting
                .relay(&response, &published, &random, &mut out)
                .or_else(|beyond| beyond.relay(&response, &published, &random, &mut out));
            if let Err(last) = relayed {
                let _ = last.fail(&mut out);
            }
            let repeats = out.get(HEADER..HEADER + asked.len()) == Some(asked) && out[..2] == query[..2];
            if out.len() > limit || !repeats {
                return Err(format!("not an answer of {limit} octets: {out:02x?}"));
            }
            // What was put together anew can be read; what is passed on is as it came.
            if asked == CHAIN && ParsedMessage::from_vec(&out).is_err() {
                return Err(format!("not well-formed: {out:02x?}"));
            }
        }
    }
    Ok(true)
}

/// Whether another server may have sent this in answer to [`QUESTION`] with the id 0.
#[must_use]
pub fn is_response(packet: &[u8]) -> bool {
    Response::read(packet.to_vec(), 0, QUESTION).is_ok()
}
