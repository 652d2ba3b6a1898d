//! Entry points for fuzz targets.

use hickory_proto::{
    op::{Edns as ParsedEdns, Message as ParsedMessage, OpCode, Query as ParsedQuery, ResponseCode},
    rr::{DNSClass, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use sd_core::settings::SeededRandom;

use crate::{
    name_table::NameTable,
    response::{respond, uncommon},
    wire::{
        Edns, HEADER, MAX_UDP_PAYLOAD, MIN_UDP_PAYLOAD, Rcode, Transport, opt,
        query::{Query, QueryHeader, Question},
        upstream_response::UpstreamResponse,
    },
};

/// Answers a message on the common path and on the uncommon one, and returns whether it is a common query.
///
/// Both paths must give the same response. It must belong to the message, be well-formed, and be no longer than the client
/// can receive. If hickory-proto can parse the message, response code and EDNS must follow from what it parsed.
///
/// # Errors
/// What is wrong with the response.
pub fn query(table: &NameTable, packet: &[u8]) -> Result<bool, String> {
    // Mostly UDP, as in the field.
    let is_stream = packet.first().is_some_and(|octet| octet % 4 == 0);
    let transport = if is_stream { Transport::Tcp } else { Transport::Udp };
    let Some(header) = QueryHeader::read(packet) else {
        return Ok(false);
    };
    let header = header.with_recursion(packet[1] % 2 == 1);
    let published = table.read();
    let seed = packet.iter().fold(0, |seed: u64, octet| seed.rotate_left(5) ^ u64::from(*octet));
    let random = || SeededRandom::new(seed);
    let common = Query::read(header, packet);
    // A buffer holds several responses.
    const BEFORE: &[u8] = b"another response";
    let mut by_uncommon = BEFORE.to_vec();
    let mut uncommon =
        uncommon::respond_to(&published, header, packet, transport, &random(), &mut by_uncommon);
    if let Err(pending) = &mut uncommon {
        let _ = pending.fail(&mut by_uncommon);
    }
    if let Some(Query { header, question, edns }) = &common {
        let mut by_common = BEFORE.to_vec();
        let limit = transport.limit(*edns);
        let mut responded = respond(&published, *header, question, *edns, limit, &random(), &mut by_common);
        if let Err(pending) = &mut responded {
            let _ = pending.fail(&mut by_common);
        }
        let same = match (&responded, &uncommon) {
            (Ok(common), Ok(uncommon)) => common == uncommon,
            (Err(common), Err(uncommon)) => common.upstream_query() == uncommon.upstream_query(),
            _ => false,
        };
        if !same || by_common != by_uncommon {
            let responses = format!("common path: {by_common:02x?}\nuncommon path: {by_uncommon:02x?}");
            return Err(format!("{responses}\n{responded:?}\n{uncommon:?}"));
        }
    }
    let response = &by_uncommon[BEFORE.len()..];
    check(packet, transport, response).map_err(|fault| format!("{fault}: {response:02x?}"))?;
    Ok(common.is_some())
}

/// The client's EDNS payload size, and the response code that refuses the message, 0 if none does: both by hickory-proto.
/// `None` if hickory-proto cannot parse the message, or if it may take too many steps.
fn expected(packet: &[u8]) -> Option<(Option<u16>, u16)> {
    let parsed = ParsedMessage::from_vec(packet).ok()?;
    let records = [&parsed.answers, &parsed.authorities, &parsed.additionals].into_iter().flatten();
    let questions = parsed.queries.iter().map(ParsedQuery::name);
    let names = records.map(|record| &record.name).chain(questions);
    // Wildcard labels are not counted by `num_labels`.
    let steps: usize = names.map(|name| usize::from(name.num_labels()) + 5).sum();
    let edns = parsed.edns.as_ref();
    if steps + edns.map_or(0, |_| 4) > opt::MAX_STEPS {
        return None;
    }
    let code = match &parsed.queries[..] {
        _ if parsed.metadata.op_code != OpCode::Query => Rcode::NotImp,
        // A compressed QNAME can only point into the header.
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

fn check(packet: &[u8], transport: Transport, response: &[u8]) -> Result<(), String> {
    let mut decoder = BinDecoder::new(response);
    let parsed = ParsedMessage::read(&mut decoder).map_err(|error| error.to_string())?;
    if !decoder.is_empty() {
        return Err("octets after the end of the message".into());
    }
    if response[..2] != packet[..2] {
        return Err("another id".into());
    }
    // QR is set; opcode and RD are copied; Z, AD and CD are not set.
    let recursion_available = (packet[1] % 2) << 7;
    if response[2] & 0xF9 != 0x80 | packet[2] & 0x79 || response[3] & 0xF0 != recursion_available {
        return Err("other flags".into());
    }
    let expected = expected(packet);
    if let Some((payload, code)) = expected {
        if parsed.edns.is_some() != payload.is_some() {
            return Err("EDNS in one of query and response only".into());
        }
        let found = u16::from(parsed.metadata.response_code);
        if code != 0 && found != code {
            return Err(format!("response code {found} instead of {code}"));
        }
        let is_refusal =
            matches!(parsed.metadata.response_code, ResponseCode::FormErr | ResponseCode::NotImp);
        if code == 0 && is_refusal {
            return Err(format!("response code {found} for a valid query"));
        }
    }
    let question = Question::read(packet).filter(|_| packet[4..6] == [0, 1]);
    let question = question.as_ref().map_or(&[][..], |question| question.octets);
    if response.get(HEADER..HEADER + question.len()) != Some(question)
        || parsed.queries.len() != usize::from(!question.is_empty())
    {
        return Err("another question".into());
    }
    // A message that hickory-proto cannot parse may have any payload size.
    let payload = match (expected, &parsed.edns) {
        (Some((Some(payload), _)), _) => payload,
        (None, Some(_)) => MAX_UDP_PAYLOAD,
        (Some((None, _)) | None, _) => MIN_UDP_PAYLOAD,
    };
    let limit = payload.clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD);
    if transport == Transport::Udp && response.len() > usize::from(limit) {
        return Err(format!("longer than {limit} octets"));
    }
    Ok(())
}

/// The question of fuzzed upstream responses: `www.example.com. IN A`.
pub const QUESTION: &[u8] = b"\x03www\x07example\x03com\0\0\x01\0\x01";

/// Reads the response of an upstream to [`QUESTION`] with id 0, and returns whether it is usable. A usable one is forwarded:
/// by itself, and at the end of the CNAME record of `out.app.local`, which leads out of the zones. It may lead back, and
/// out again.
///
/// A forwarded response must have the client's id and question, and be no longer than the client can receive.
///
/// # Errors
/// What is wrong with the forwarded response.
pub fn upstream(table: &NameTable, packet: &[u8]) -> Result<bool, String> {
    const CHAIN: &[u8] = b"\x03out\x03app\x05local\0\0\x01\0\x01";
    let Ok(response) = UpstreamResponse::read(packet.to_vec(), 0, QUESTION) else {
        return Ok(false);
    };
    for (sent, payload) in [(QUESTION, None), (QUESTION, Some(1232)), (CHAIN, Some(512)), (CHAIN, None)] {
        let query = [&[0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], sent].concat();
        let header = QueryHeader::read(&query).ok_or("no query")?.with_recursion(true);
        let question = Question::read(&query).ok_or("no question")?;
        let edns = payload.map(|payload| Edns { payload, dnssec_ok: false });
        for limit in [Transport::Udp.limit(edns), Transport::Tcp.limit(edns)] {
            let (mut out, random) = (Vec::new(), SeededRandom::new(1));
            let published = table.read();
            let responded = respond(&published, header, &question, edns, limit, &random, &mut out);
            let Err(pending) = responded else { return Err("the response is not pending".into()) };
            let forwarded = pending
                .forward(&response, &published, &random, &mut out)
                .or_else(|next| next.forward(&response, &published, &random, &mut out));
            if let Err(last) = forwarded {
                let _ = last.fail(&mut out);
            }
            let repeats = out.get(HEADER..HEADER + sent.len()) == Some(sent) && out[..2] == query[..2];
            if out.len() > limit || !repeats {
                return Err(format!("not a response of at most {limit} octets: {out:02x?}"));
            }
            // An assembled response is well-formed; a forwarded one is as it came.
            if sent == CHAIN && ParsedMessage::from_vec(&out).is_err() {
                return Err(format!("not well-formed: {out:02x?}"));
            }
        }
    }
    Ok(true)
}

/// Whether this is a usable response of an upstream to [`QUESTION`] with id 0.
#[must_use]
pub fn is_response(packet: &[u8]) -> bool {
    UpstreamResponse::read(packet.to_vec(), 0, QUESTION).is_ok()
}
