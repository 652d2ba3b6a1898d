//! What a fuzz target may ask of the answer path.

use hickory_proto::{
    op::Message as ParsedMessage,
    serialize::binary::{BinDecodable, BinDecoder},
};
use sd_core::random::SeededRandom;

use crate::{
    name_table::NameTable,
    slow,
    wire::{
        Edns, HEADER, MAX_UDP_PAYLOAD, MIN_UDP_PAYLOAD, Transport, answer,
        query::{Query, QueryHeader, Question},
        response::Response,
    },
};

/// Answers a message, by both ways if both take it, and tells whether it is a usual query.
///
/// The long way does not take what hickory-proto cannot read, such as options of EDNS with contents that are none, which
/// the short way ignores. Where both take it they give the same answer. It belongs to the message, is well-formed and no
/// longer than the client can receive.
///
/// # Errors
/// It is not so.
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
    let parsed = ParsedMessage::from_vec(packet).ok();
    let usual = Query::read(header, packet);
    // Answers stand one after the other in a buffer.
    const BEFORE: &[u8] = b"another answer";
    let mut answers = Vec::new();
    if let Some(Query { header, question, edns }) = &usual {
        let mut out = BEFORE.to_vec();
        let limit = transport.limit(*edns);
        let answered = answer::answer(&published, *header, question, *edns, limit, &random(), &mut out);
        answers.push((out, answered));
    }
    if parsed.is_some() || usual.is_none() {
        let mut out = BEFORE.to_vec();
        let answered = slow::answer(&published, header, packet, transport, &random(), &mut out);
        answers.push((out, answered));
    }
    for (out, answered) in &mut answers {
        if let Err(waiting) = answered {
            let _ = waiting.fail(out);
        }
    }
    if let [(short, at_once), (long, slowly)] = &answers[..] {
        let same = match (at_once, slowly) {
            (Ok(at_once), Ok(slowly)) => at_once == slowly,
            (Err(at_once), Err(slowly)) => at_once.asked() == slowly.asked(),
            _ => false,
        };
        if !same || short != long {
            let answers = format!("the short way: {short:02x?}\nthe long way: {long:02x?}");
            return Err(format!("{answers}\n{at_once:?}\n{slowly:?}"));
        }
    }
    let payload = match (&usual, &parsed) {
        (Some(usual), _) => usual.edns.map(|edns| edns.payload),
        (None, parsed) => {
            let edns = parsed.as_ref().and_then(|parsed| parsed.edns.as_ref());
            edns.map(hickory_proto::op::Edns::max_payload)
        }
    };
    for (out, _) in answers {
        check(packet, transport, payload, &out[BEFORE.len()..])
            .map_err(|fault| format!("{fault}: {out:02x?}"))?;
    }
    Ok(usual.is_some())
}

fn check(packet: &[u8], transport: Transport, payload: Option<u16>, answer: &[u8]) -> Result<(), String> {
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
    if parsed.edns.is_some() != payload.is_some() {
        return Err("EDNS is answered with EDNS, and nothing else is".into());
    }
    let question = Question::read(packet).filter(|_| packet[4..6] == [0, 1]);
    let question = question.as_ref().map_or(&[][..], |question| question.raw);
    if answer.get(HEADER..HEADER + question.len()) != Some(question)
        || parsed.queries.len() != usize::from(!question.is_empty())
    {
        return Err("another question".into());
    }
    let limit = payload.map_or(MIN_UDP_PAYLOAD, |payload| payload.clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD));
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
