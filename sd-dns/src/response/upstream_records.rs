//! Copies records of an upstream's response into one of ours. Compression pointers must be expanded first, because
//! offsets differ between the messages.

use hickory_proto::{
    op::Message as ParsedMessage,
    rr::{Record, RecordType},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};
use sd_core::dns::CNAME_LIMIT;

use crate::{
    name_table::{LookupName, Published},
    wire::{MessageWriter, Section, upstream_response::UpstreamResponse},
};

/// TTLs and targets of the CNAME records that lead from a name to the first name in one of our zones. `None` if they do
/// not lead into a zone.
pub(super) fn chain_into_zone(
    response: &UpstreamResponse,
    name: &[u8],
    published: &Published,
) -> Option<Vec<(u32, Vec<u8>)>> {
    let mut cnames = Vec::new();
    let mut name = LookupName::folded(name);
    while cnames.len() < CNAME_LIMIT {
        let (ttl, target) = response.cname(&name)?;
        name = LookupName::folded(&target);
        cnames.push((ttl, target));
        if published.zones.find(name.wire()).is_some() {
            return Some(cnames);
        }
    }
    None
}

/// The answer records of a response for `target`, which stands at offset `at` of our message, in wire form. Without an
/// answer of type `qtype`, the SOA records that deny it come as well. `None` if the response cannot be parsed.
pub(crate) fn chain_end(
    response: &UpstreamResponse,
    target: &[u8],
    at: usize,
    qtype: Option<u16>,
) -> Option<Vec<(Section, Vec<u8>)>> {
    let parsed = ParsedMessage::from_vec(response.octets()).ok()?;
    let encoded = |section, record: &Record| Some((section, encode(record, target, at)?));
    let is_answer = |record: &&Record| qtype.is_none_or(|qtype| u16::from(record.record_type()) == qtype);
    let mut records: Vec<_> =
        parsed.answers.iter().map(|record| encoded(Section::Answer, record)).collect::<Option<_>>()?;
    if !parsed.answers.iter().any(|record| is_answer(&record)) {
        let soa = parsed.authorities.iter().filter(|record| record.record_type() == RecordType::SOA);
        records.extend(soa.map(|record| encoded(Section::Authority, record)).collect::<Option<Vec<_>>>()?);
    }
    Some(records)
}

/// A record in wire form. Its only pointer replaces an owner name that equals `target`.
fn encode(record: &Record, target: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.emit(&mut encoder).ok()?;
    let is_target = octets.get(..target.len()).is_some_and(|owner| owner.eq_ignore_ascii_case(target));
    if is_target {
        octets.splice(..target.len(), MessageWriter::pointer(at));
    }
    Some(octets)
}
