//! What is not a query of the usual kind: it is taken apart by hickory-proto, and mostly refused.

use hickory_proto::op::{Edns as ParsedEdns, Message as ParsedMessage};
use sd_core::random::RandomSource;

use crate::{
    counters::Answered,
    name_table::Published,
    wire::{
        CLASS_IN, Edns, HEADER, Message, Rcode, Transport,
        answer::{self, Waiting},
        kind,
        query::{QueryHeader, Question},
        u16_at,
    },
};

/// Appends the answer to whatever has the header of a query. The error is that it waits for what an alias's target has.
pub(crate) fn answer(
    published: &Published,
    header: QueryHeader,
    packet: &[u8],
    transport: Transport,
    random: &dyn RandomSource,
    out: &mut Vec<u8>,
) -> Result<Answered, Box<Waiting>> {
    // A query has exactly one question (RFC 9619).
    let question = if u16_at(packet, 4) == Some(1) { Question::read(packet) } else { None };
    let parsed = if may_hold(packet) { ParsedMessage::from_vec(packet).ok() } else { None };
    let edns = parsed.as_ref().and_then(|message| message.edns.as_ref());
    let verdict = verdict(header, question.as_ref(), parsed.is_some(), edns);
    let edns = edns.map(|edns| Edns { payload: edns.max_payload(), dnssec_ok: edns.flags().dnssec_ok });
    let limit = transport.limit(edns);
    let rcode = match (verdict, &question) {
        (Ok(()), Some(question)) => {
            return answer::answer(published, header, question, edns, limit, random, out);
        }
        (Ok(()), None) => Rcode::FormErr,
        (Err(rcode), _) => rcode,
    };
    let raw = question.as_ref().map_or(&[][..], |question| question.raw);
    Message::begin(out, header, raw, edns, limit).finish(rcode);
    Ok(Answered {
        kind: question.map(|question| question.kind),
        zone: None,
        rcode: rcode.into(),
        forwarded: false,
    })
}

/// Whether a packet is long enough for all that its header counts: room for that is made before it is read.
fn may_hold(packet: &[u8]) -> bool {
    // The root's name, type and class; the same, TTL and a length.
    const SHORTEST_QUESTION: usize = 5;
    const SHORTEST_RECORD: usize = 11;
    let count = |section: usize| usize::from(u16_at(packet, 4 + 2 * section).unwrap_or_default());
    let records = count(1) + count(2) + count(3);
    HEADER + count(0) * SHORTEST_QUESTION + records * SHORTEST_RECORD <= packet.len()
}

fn verdict(
    header: QueryHeader,
    question: Option<&Question<'_>>,
    is_well_formed: bool,
    edns: Option<&ParsedEdns>,
) -> Result<(), Rcode> {
    // Of an operation that is not known, neither is the form.
    if !header.is_standard() {
        return Err(Rcode::NotImp);
    }
    let question = question.filter(|_| is_well_formed).ok_or(Rcode::FormErr)?;
    if edns.is_some_and(|edns| edns.version() > 0) {
        return Err(Rcode::BadVers);
    }
    match (question.class, question.kind) {
        (_, 0 | kind::OPT) => Err(Rcode::FormErr),
        (CLASS_IN, kind::AXFR | kind::IXFR) => Err(Rcode::Refused),
        (CLASS_IN, _) if !question.asks_for_data() => Err(Rcode::NotImp),
        (CLASS_IN, _) => Ok(()),
        // Chaos and Hesiod, and no class at all: there are no zones of them.
        _ => Err(Rcode::Refused),
    }
}
