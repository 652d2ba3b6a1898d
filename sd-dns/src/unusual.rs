//! Messages that are not queries of the usual kind. Most are refused, and none costs much more than a usual
//! query: the header and the question decide, and of the records only the OPT record is looked for.

use sd_core::random::RandomSource;

use crate::{
    counters::Answered,
    name_table::Published,
    wire::{
        CLASS_IN, Message, Rcode, Transport,
        answer::{self, Waiting},
        kind,
        query::{QueryHeader, Question},
        sections::{self, Malformed, Opt},
        u16_at,
    },
};

/// Appends the answer to a message that has the header of a query. The error is an answer that has to wait
/// for another server.
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
    let opt = sections::opt(packet, question.as_ref());
    let edns = opt.ok().flatten().map(|opt| opt.edns);
    let limit = transport.limit(edns);
    let rcode = match (verdict(header, question.as_ref(), opt), &question) {
        (Ok(()), Some(question)) => {
            return answer::answer(published, header, question, edns, limit, random, out);
        }
        (Ok(()), None) => Rcode::FormErr,
        (Err(rcode), _) => rcode,
    };
    let raw = question.as_ref().map_or(&[][..], |question| question.raw);
    Message::begin(out, header, raw, edns, limit).finish(rcode);
    let kind = question.map(|question| question.kind);
    Ok(Answered { kind, zone: None, rcode: rcode.into(), forwarded: false })
}

fn verdict(
    header: QueryHeader,
    question: Option<&Question<'_>>,
    opt: Result<Option<Opt>, Malformed>,
) -> Result<(), Rcode> {
    // Other operations may have another form: whether they are well-formed is not known.
    if !header.is_standard() {
        return Err(Rcode::NotImp);
    }
    let (Some(question), Ok(opt)) = (question, opt) else {
        return Err(Rcode::FormErr);
    };
    if opt.is_some_and(|opt| opt.version > 0) {
        return Err(Rcode::BadVers);
    }
    match (question.class, question.kind) {
        (_, 0 | kind::OPT) => Err(Rcode::FormErr),
        (CLASS_IN, kind::AXFR | kind::IXFR) => Err(Rcode::Refused),
        (CLASS_IN, _) if !question.asks_for_data() => Err(Rcode::NotImp),
        (CLASS_IN, _) => Ok(()),
        // No zone has another class, such as Chaos and Hesiod.
        _ => Err(Rcode::Refused),
    }
}
