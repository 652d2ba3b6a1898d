//! Records of another server's answer, to stand in an answer of ours: names in them point to places that are others here.

use hickory_proto::{
    op::Message as ParsedMessage,
    rr::{Record, RecordType},
    serialize::binary::{BinEncodable, BinEncoder, NameEncoding},
};
use sd_core::records::CNAME_LIMIT;

use super::{Message, Section, response::Response};
use crate::name_table::{LookupName, Published};

/// The CNAME records, as TTLs and targets, that lead from a name to the first one in a zone of ours. `None` if they do not lead
/// there.
pub(crate) fn aliases(
    response: &Response,
    name: &[u8],
    published: &Published,
) -> Option<Vec<(u32, Vec<u8>)>> {
    let mut aliases = Vec::new();
    let mut name = LookupName::folded(name);
    while aliases.len() < CNAME_LIMIT {
        let (ttl, target) = response.alias(&name)?;
        name = LookupName::folded(&target);
        aliases.push((ttl, target));
        if published.zones.find(name.wire()).is_some() {
            return Some(aliases);
        }
    }
    None
}

/// The records that answer a question of this type for `target`, which stands at `at` in the message that they are to be
/// appended to; or, if there are none, what says so. `None` if they cannot be read.
pub(crate) fn records(
    response: &Response,
    target: &[u8],
    at: usize,
    kind: Option<u16>,
) -> Option<Vec<(Section, Vec<u8>)>> {
    let parsed = ParsedMessage::from_vec(response.octets()).ok()?;
    let written = |section, record: &Record| Some((section, write(record, target, at)?));
    let is_answer = |record: &&Record| kind.is_none_or(|kind| u16::from(record.record_type()) == kind);
    let mut records: Vec<_> =
        parsed.answers.iter().map(|record| written(Section::Answer, record)).collect::<Option<_>>()?;
    if !parsed.answers.iter().any(|record| is_answer(&record)) {
        let soa = parsed.authorities.iter().filter(|record| record.record_type() == RecordType::SOA);
        records.extend(soa.map(|record| written(Section::Authority, record)).collect::<Option<Vec<_>>>()?);
    }
    Some(records)
}

/// A record without pointers, but for that of its owner if it is the target.
fn write(record: &Record, target: &[u8], at: usize) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.emit(&mut encoder).ok()?;
    let is_target = octets.get(..target.len()).is_some_and(|owner| owner.eq_ignore_ascii_case(target));
    if is_target {
        octets.splice(..target.len(), Message::pointer(at));
    }
    Some(octets)
}
