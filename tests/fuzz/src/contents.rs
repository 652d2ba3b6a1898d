//! Compares the contents of an answer, decoded by hickory-proto, with `sd_core::dns::resolve`, which shares neither tables
//! nor wire format with sd-dns.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{DNSClass, Name, RData, Record as Parsed, RecordType as ParsedType},
};
use sd_core::{
    dns::{Answer, Record, RecordData, View, resolve},
    model::{DnsName, RecordType},
    settings::SeededRandom,
    state::State,
};

const FORM_ERR: u16 = 1;
const BAD_VERS: u16 = 16;

/// A name in lower-case wire form without the root's zero.
type Wire = Vec<u8>;

/// Type and data of a record. Names in the data are [`Wire`].
type Data = (u16, Vec<u8>);

pub(crate) struct Contents {
    state: State,
    /// A cache for names and types that have records.
    known: Mutex<BTreeMap<(DnsName, RecordType), Arc<Expected>>>,
}

/// The expected answer.
struct Expected {
    code: ResponseCode,
    /// Whether a zone answers.
    authoritative: bool,
    /// The CNAME records at the start of the answer.
    chain: Vec<(Wire, u32, Data)>,
    /// The name and TTL of the records.
    owner: Option<(Wire, u32)>,
    /// The records from which `count` are chosen.
    pool: BTreeSet<Data>,
    count: usize,
    /// The zone and the TTL of its SOA record, if the answer is negative.
    negative: Option<(Wire, u32)>,
}

impl Contents {
    /// The number of draws to find all records of a name: far more than the fixture has at any name.
    const DRAWS: u64 = 300;

    pub(crate) fn new(state: State) -> Self {
        Self { state, known: Mutex::default() }
    }

    /// Compares the answer with `resolve`, if the message is a query for records that a namespace can have.
    pub(crate) fn compare(&self, packet: &[u8], answer: &[u8]) -> Result<(), String> {
        let Some((name, kind)) = question(packet) else { return Ok(()) };
        let parsed = Message::from_vec(answer).map_err(|error| error.to_string())?;
        let code = parsed.metadata.response_code;
        if [FORM_ERR, BAD_VERS].contains(&u16::from(code)) {
            // Other checks decide whether the message may be refused.
            return Ok(());
        }
        let expected = self.expected(&name, kind);
        if code != expected.code || parsed.metadata.authoritative != expected.authoritative {
            return Err(format!("expected {}, got {code}", expected.code));
        }
        if parsed.metadata.truncation {
            // Has any records that fit.
            let all = parsed.answers.iter().map(read);
            return match all.filter_map(|(_, _, data)| data).all(|data| expected.may_have(&data)) {
                true => Ok(()),
                false => Err("a record that the name does not have".into()),
            };
        }
        let mut answers = parsed.answers.iter().map(read);
        for link in &expected.chain {
            let found = answers.next();
            if found.as_ref().is_none_or(|(name, ttl, data)| {
                (name, *ttl, data.as_ref()) != (&link.0, link.1, Some(&link.2))
            }) {
                return Err(format!("expected {link:?}, got {found:?}"));
            }
        }
        let mut chosen = BTreeSet::new();
        for (name, ttl, data) in answers {
            let place = (name, ttl);
            let known = data.as_ref().filter(|data| expected.pool.contains(data));
            if Some(&place) != expected.owner.as_ref()
                || known.is_none_or(|data| !chosen.insert(data.clone()))
            {
                return Err(format!("{place:?}, {data:?}: unknown or repeated record"));
            }
        }
        if chosen.len() != expected.count {
            return Err(format!("expected {} records, got {}", expected.count, chosen.len()));
        }
        let soa = parsed.authorities.iter().find(|record| record.record_type() == ParsedType::SOA);
        let negative = soa.map(|record| (wire(&record.name), record.ttl));
        if negative != expected.negative {
            return Err(format!("expected {:?}, got {negative:?}", expected.negative));
        }
        self.compare_additional(&parsed)
    }

    /// Checks that additional records belong to targets of the answer.
    fn compare_additional(&self, parsed: &Message) -> Result<(), String> {
        for record in &parsed.additionals {
            let kind = match record.record_type() {
                ParsedType::A => RecordType::A,
                ParsedType::AAAA => RecordType::Aaaa,
                ParsedType::OPT => continue,
                other => return Err(format!("unexpected {other} in the additional section")),
            };
            let name = dns_name(&record.name).ok_or("a name that is not a target")?;
            let (_, ttl, data) = read(record);
            let expected = self.expected(&name, kind);
            let is_there = data.is_some_and(|data| expected.pool.contains(&data));
            if !is_there || expected.owner.as_ref().is_none_or(|(_, known)| *known != ttl) {
                return Err(format!("{record} is not a record of its name"));
            }
        }
        Ok(())
    }

    fn expected(&self, name: &DnsName, kind: RecordType) -> Arc<Expected> {
        let key = (name.clone(), kind);
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(expected) = known().get(&key) {
            return Arc::clone(expected);
        }
        let draw = |seed| resolve(&self.state, &View::default(), name, kind, &SeededRandom::new(seed));
        let mut expected = Expected::of(&draw(0), kind);
        if expected.owner.is_none() {
            return Arc::new(expected);
        }
        for seed in 1..Self::DRAWS {
            expected.pool.append(&mut Expected::of(&draw(seed), kind).pool);
        }
        let expected = Arc::new(expected);
        known().insert(key, Arc::clone(&expected));
        expected
    }
}

impl Expected {
    fn of(answer: &Answer, kind: RecordType) -> Self {
        let mut expected = Self {
            code: ResponseCode::NoError,
            authoritative: true,
            chain: Vec::new(),
            owner: None,
            pool: BTreeSet::new(),
            count: 0,
            negative: None,
        };
        let links = match answer {
            Answer::Records(records) => records,
            Answer::NoData { chain, .. } | Answer::NxDomain { chain, .. } => chain,
            Answer::Refused => {
                (expected.code, expected.authoritative) = (ResponseCode::Refused, false);
                return expected;
            }
        };
        if let Answer::NxDomain { .. } = answer {
            expected.code = ResponseCode::NXDomain;
        }
        if let Answer::NoData { zone, soa_ttl, .. } | Answer::NxDomain { zone, soa_ttl, .. } = answer {
            expected.negative = Some((of_name(zone), *soa_ttl));
        }
        for Record { owner, ttl, data, .. } in links {
            let place = (of_name(owner), *ttl);
            if data.record_type() != kind {
                expected.chain.push((place.0, place.1, of_data(data)));
            } else if matches!(data, RecordData::Alias { .. }) {
                // There is no resolver for the alias's target.
                (expected.code, expected.authoritative) = (ResponseCode::ServFail, false);
                expected.chain.clear();
            } else if kind == RecordType::Cname && expected.owner.is_some() {
                // An answer has one CNAME record of the name; the others form a chain.
                expected.chain.push((place.0, place.1, of_data(data)));
            } else {
                expected.owner = Some(place);
                expected.pool.insert(of_data(data));
                expected.count += 1;
            }
        }
        expected
    }

    fn may_have(&self, data: &Data) -> bool {
        self.pool.contains(data) || self.chain.iter().any(|(.., link)| link == data)
    }
}

/// The name and type of a query of class IN with one question and no records except EDNS.
fn question(packet: &[u8]) -> Option<(DnsName, RecordType)> {
    let parsed = Message::from_vec(packet).ok()?;
    let [query] = &parsed.queries[..] else { return None };
    let is_plain = parsed.metadata.op_code == OpCode::Query
        && parsed.answers.is_empty()
        && parsed.authorities.is_empty()
        && parsed.additionals.is_empty()
        && query.query_class() == DNSClass::IN;
    let qtype = query.query_type().to_string();
    let kind = RecordType::ALL.into_iter().find(|kind| kind.as_str() == qtype)?;
    Some((dns_name(query.name()).filter(|_| is_plain)?, kind))
}

/// The name, unless its labels are not UTF-8 or contain dots.
fn dns_name(name: &Name) -> Option<DnsName> {
    let labels: Option<Vec<&str>> = name.iter().map(|label| str::from_utf8(label).ok()).collect();
    let labels = labels?;
    if labels.is_empty() {
        return Some(DnsName::root());
    }
    if labels.iter().any(|label| label.contains('.')) {
        return None;
    }
    // Labels of names of the API have no escapes; a backslash is an ordinary byte.
    DnsName::root().prefixed(&labels.join(".")).ok()
}

fn wire(name: &Name) -> Wire {
    let labels = name.iter().flat_map(|label| [&[label.len() as u8], label].concat());
    labels.map(|octet| octet.to_ascii_lowercase()).collect()
}

fn of_name(name: &DnsName) -> Wire {
    let wire = name.as_wire();
    wire[..wire.len() - 1].to_vec()
}

fn read(record: &Parsed) -> (Wire, u32, Option<Data>) {
    let data = match &record.data {
        RData::A(address) => Some(address.0.octets().to_vec()),
        RData::AAAA(address) => Some(address.0.octets().to_vec()),
        RData::CNAME(target) => Some(wire(&target.0)),
        RData::SRV(srv) => {
            let numbers = [srv.priority, srv.weight, srv.port].map(u16::to_be_bytes).concat();
            Some([numbers, wire(&srv.target)].concat())
        }
        _ => None,
    };
    (wire(&record.name), record.ttl, data.map(|data| (record.record_type().into(), data)))
}

fn of_data(data: &RecordData) -> Data {
    match data {
        RecordData::A(address) => (1, address.octets().to_vec()),
        RecordData::Aaaa(address) => (28, address.octets().to_vec()),
        RecordData::Cname(target) => (5, of_name(target)),
        RecordData::Srv { port, target } => {
            (33, [[1, 1, *port].map(u16::to_be_bytes).concat(), of_name(target)].concat())
        }
        RecordData::Alias { .. } => (0, Vec::new()),
    }
}
