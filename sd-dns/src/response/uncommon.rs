//! Responds to messages that [`Query::read`](crate::wire::query::Query::read) does not read. Most are refused. None
//! costs much more than a common query: header and question decide, and only the OPT record is looked for.

use sd_core::settings::RandomSource;

use super::{PendingResponse, respond};
use crate::{
    counters::ResponseSummary,
    name_table::Published,
    wire::{
        CLASS_IN, MessageWriter, Rcode, Transport,
        opt::{self, Malformed, Opt},
        query::{QueryHeader, Question},
        rtype, u16_at,
    },
};

/// Appends the response to a message. The error is a response that has to wait.
pub(crate) fn respond_to(
    published: &Published,
    header: QueryHeader,
    packet: &[u8],
    transport: Transport,
    random: &dyn RandomSource,
    out: &mut Vec<u8>,
) -> Result<ResponseSummary, Box<PendingResponse>> {
    // A query has exactly one question (RFC 9619).
    let question = if u16_at(packet, 4) == Some(1) { Question::read(packet) } else { None };
    let opt = opt::find(packet, question.as_ref());
    let edns = opt.ok().flatten().map(|opt| opt.edns);
    let limit = transport.limit(edns);
    let rcode = match (check(header, question.as_ref(), opt), &question) {
        (Ok(()), Some(question)) => {
            return respond(published, header, question, edns, limit, random, out);
        }
        (Ok(()), None) => Rcode::FormErr,
        (Err(rcode), _) => rcode,
    };
    let octets = question.as_ref().map_or(&[][..], |question| question.octets);
    MessageWriter::begin(out, header, octets, edns, limit).finish(rcode);
    let qtype = question.map(|question| question.qtype);
    Ok(ResponseSummary { qtype, zone: None, rcode: rcode.into(), forwarded: false })
}

/// Whether the question is to be resolved. The error is the response code that refuses it.
fn check(
    header: QueryHeader,
    question: Option<&Question<'_>>,
    opt: Result<Option<Opt>, Malformed>,
) -> Result<(), Rcode> {
    // Checked first: messages with other opcodes may have another format.
    if !header.is_standard() {
        return Err(Rcode::NotImp);
    }
    let (Some(question), Ok(opt)) = (question, opt) else {
        return Err(Rcode::FormErr);
    };
    if opt.is_some_and(|opt| opt.version > 0) {
        return Err(Rcode::BadVers);
    }
    match (question.qclass, question.qtype) {
        (_, 0 | rtype::OPT) => Err(Rcode::FormErr),
        (CLASS_IN, rtype::AXFR | rtype::IXFR) => Err(Rcode::Refused),
        (CLASS_IN, _) if !question.asks_for_data() => Err(Rcode::NotImp),
        (CLASS_IN, _) => Ok(()),
        // There are no zones of other classes.
        _ => Err(Rcode::Refused),
    }
}
