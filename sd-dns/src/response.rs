//! Builds responses from the name table: the algorithm of RFC 1034 section 4.3.2.

mod pending;
pub(crate) mod uncommon;
mod upstream_records;

use std::{
    hash::Hash,
    net::{Ipv4Addr, Ipv6Addr},
};

use sd_core::{
    dns::{CNAME_LIMIT, MULTIVALUE_LIMIT},
    model::RecordType,
    settings::RandomSource,
};

use self::pending::{Apex, ChainEnd, DrawnAlias};
pub(crate) use self::pending::{Missing, PendingAlias, PendingResponse};
#[cfg(test)]
pub(crate) use self::upstream_records::chain_end;
use crate::{
    counters::ResponseSummary,
    name_table::{AddressCandidates, Candidate, Entry, LookupName, Published, RecordSet, SrvData, ZoneKey},
    wire::{
        Edns, HEADER, MessageWriter, Rcode, Section,
        query::{QueryHeader, Question},
        rtype, srv_priority_and_weight, type_of,
    },
};

/// Appends the response to a question for data of class IN. The error is a response that has to wait for an upstream or
/// for the resolver of aliases.
pub(crate) fn respond(
    published: &Published,
    header: QueryHeader,
    question: &Question<'_>,
    edns: Option<Edns>,
    limit: usize,
    random: &dyn RandomSource,
    out: &mut Vec<u8>,
) -> Result<ResponseSummary, Box<PendingResponse>> {
    let message = MessageWriter::begin(out, header, question.octets, edns, limit);
    let mut builder = ResponseBuilder {
        published,
        random,
        recurses: header.recurses(),
        qtype: question.qtype,
        qname: question.qname(),
        message,
        drawn: None,
        zone: None,
        earlier: &[],
    };
    let mut name = LookupName::folded(question.qname());
    let resolution = builder.resolve(&mut name, HEADER, None);
    builder.end(resolution)
}

/// How far a question could be resolved.
enum Resolution {
    Complete(Rcode),
    Pending(Missing),
}

struct ResponseBuilder<'a> {
    published: &'a Published,
    random: &'a dyn RandomSource,
    /// Whether the query may be forwarded.
    recurses: bool,
    qtype: u16,
    /// As it stands in the packet.
    qname: &'a [u8],
    message: MessageWriter<'a>,
    /// An alias record that was drawn. Nothing is written after it.
    drawn: Option<DrawnAlias>,
    /// The zone of QNAME.
    zone: Option<ZoneKey>,
    /// The names of the CNAME chain before an upstream led back to this server. Empty if QNAME is the first name.
    earlier: &'a [LookupName],
}

impl ResponseBuilder<'_> {
    /// Writes the records of a name, which stands at offset `at`, and of the names that its CNAME chain leads to.
    fn resolve(&mut self, name: &mut LookupName, at: usize, previous: Option<&ChainLink<'_>>) -> Resolution {
        let published = self.published;
        let is_first = self.chain(previous).next().is_none();
        let Some((zone, zone_start)) = published.zones.find(name.wire()) else {
            return match (is_first, self.recurses) {
                (true, true) => Resolution::Pending(Missing::Response),
                (true, false) => Resolution::Complete(Rcode::Refused),
                (false, true) => {
                    let chain = self.chain(previous).cloned().collect();
                    Resolution::Pending(Missing::ChainEnd(ChainEnd { target: name.wire().into(), at, chain }))
                }
                // The client has to follow the chain itself.
                (false, false) => Resolution::Complete(Rcode::NoError),
            };
        };
        if is_first {
            // AA is about QNAME, whatever the chain leads to (RFC 1035 section 4.1.1).
            self.zone = Some(zone.key);
            self.message.set_authoritative();
        }
        let is_apex = zone_start == 0;
        let apex = Apex { at: at + zone_start, len: name.wire().len() - zone_start, soa_ttl: zone.soa_ttl };
        if is_apex && self.apex_records(&apex) {
            return Resolution::Complete(Rcode::NoError);
        }
        name.set_zone(zone.key);
        let mut cname = None;
        let written = published.with_entry(name.key(zone_start), |entry| {
            self.records(entry, name, at) || {
                cname = self.cname(entry, at);
                cname.is_some()
            }
        });
        if let Some(drawn) = self.drawn.take() {
            return Resolution::Pending(Missing::Addresses(PendingAlias { drawn, at, apex }));
        }
        if let Some(CnameTarget { name: mut target, at }) = cname {
            return self.follow(&mut target, at, Some(&ChainLink { name, previous }));
        }
        match written {
            Some(true) => return Resolution::Complete(Rcode::NoError),
            None if is_apex && self.qtype == rtype::ANY => {
                soa(&mut self.message, Section::Answer, &apex);
                return Resolution::Complete(Rcode::NoError);
            }
            Some(false) | None => {}
        }
        // Clients cache the negative response for this record's TTL or MINIMUM, which are equal (RFC 2308 section 3).
        soa(&mut self.message, Section::Authority, &apex);
        let exists = written.is_some() || is_apex || published.zones.is_above_one(name.wire());
        Resolution::Complete(if exists { Rcode::NoError } else { Rcode::NxDomain })
    }

    /// Goes on with the target of a CNAME record, unless the chain is too long or a loop.
    fn follow(&mut self, target: &mut LookupName, at: usize, previous: Option<&ChainLink<'_>>) -> Resolution {
        let is_new = self.chain(previous).all(|name| name.wire() != target.wire());
        if is_new && self.chain(previous).count() <= CNAME_LIMIT {
            self.resolve(target, at, previous)
        } else {
            Resolution::Complete(Rcode::NoError)
        }
    }

    /// All names of the chain so far.
    fn chain<'p>(&self, previous: Option<&'p ChainLink<'p>>) -> impl Iterator<Item = &'p LookupName>
    where
        Self: 'p,
    {
        let links = std::iter::successors(previous, |link| link.previous).map(|link| link.name);
        links.chain(self.earlier)
    }

    /// Finishes the message, or suspends it.
    fn end(self, resolution: Resolution) -> Result<ResponseSummary, Box<PendingResponse>> {
        let (qtype, zone, forwarded) = (Some(self.qtype), self.zone, !self.earlier.is_empty());
        let summary = |rcode: Rcode| ResponseSummary { qtype, zone, rcode: rcode.into(), forwarded };
        match resolution {
            Resolution::Complete(rcode) => {
                self.message.finish(rcode);
                Ok(summary(rcode))
            }
            Resolution::Pending(missing) => {
                let if_failed = summary(Rcode::ServFail);
                Err(Box::new(PendingResponse { message: self.message.suspend(), missing, if_failed }))
            }
        }
    }

    /// Writes the SOA or NS record of a zone. `false` if QTYPE is neither.
    ///
    /// Both name the zone itself, because the zone knows no other name of this server.
    fn apex_records(&mut self, apex: &Apex) -> bool {
        match self.qtype {
            rtype::SOA => soa(&mut self.message, Section::Answer, apex),
            rtype::NS => {
                let server = MessageWriter::pointer(apex.at);
                let (owner, ttl) = (apex.at, apex.soa_ttl);
                self.message.record(Section::Answer, owner, rtype::NS, ttl, server.len(), &server);
            }
            _ => return false,
        }
        true
    }

    /// Writes the records of QTYPE; for ANY those of one type (RFC 8482 section 4.1). `false` if there are none.
    fn records(&mut self, entry: &Entry, name: &LookupName, at: usize) -> bool {
        if self.qtype == rtype::ANY {
            return ANY_ORDER.into_iter().any(|kind| self.records_of_type(kind, entry, name, at));
        }
        let kind = RecordType::ALL.into_iter().find(|kind| type_of(*kind) == self.qtype);
        kind.is_some_and(|kind| self.records_of_type(kind, entry, name, at))
    }

    /// Writes the records of one type. `false` if there are none.
    #[inline]
    fn records_of_type(&mut self, kind: RecordType, entry: &Entry, name: &LookupName, at: usize) -> bool {
        match kind {
            RecordType::A => {
                let Some(set) = entry.ipv4() else { return false };
                self.addresses(&set, at, kind, Ipv4Addr::octets);
            }
            RecordType::Aaaa => {
                let Some(set) = entry.ipv6() else { return false };
                self.addresses(&set, at, kind, Ipv6Addr::octets);
            }
            RecordType::Srv => {
                let Some(set) = &entry.srv else { return false };
                self.srv(set, name, at);
            }
            RecordType::Cname => return self.cname(entry, at).is_some(),
        }
        true
    }

    /// Writes addresses, or draws an alias that answers instead of them.
    fn addresses<D: Copy + Eq + Hash, const N: usize>(
        &mut self,
        set: &AddressCandidates<'_, D>,
        at: usize,
        kind: RecordType,
        octets: impl Fn(&D) -> [u8; N],
    ) {
        let (selection, ttl, rtype) = (set.selection(), set.ttl(), type_of(kind));
        let mut written = 0;
        // Draws among the instances, not among their distinct addresses.
        let by_instance = selection.limit == 1 && set.is_shared();
        for number in selection.order(self.random) {
            let number = if by_instance { set.draw(self.random) } else { number };
            match set.candidate(number) {
                Some(Candidate::Address(address)) => {
                    self.message.record(Section::Answer, at, rtype, ttl, N, &octets(address));
                    written += 1;
                }
                Some(Candidate::Alias(target)) if written == 0 => {
                    self.drawn = Some(DrawnAlias { kind, target: target.clone() });
                    return;
                }
                Some(Candidate::Alias(_)) | None => {}
            }
            if written == selection.limit {
                break;
            }
        }
    }

    /// Writes SRV records, and the addresses of their targets as far as they fit (RFC 2782).
    fn srv(&mut self, set: &RecordSet<SrvData>, name: &LookupName, at: usize) {
        let selection = set.select();
        let ttl = set.ttl();
        let parent = name.wire();
        let mut chosen: [Option<&SrvData>; MULTIVALUE_LIMIT] = [None; MULTIVALUE_LIMIT];
        let mut count = 0;
        // Whether two of them may have the same target.
        let mut may_repeat = false;
        for number in selection.order(self.random) {
            let Some(srv) = set.candidate(number) else {
                continue;
            };
            may_repeat |= srv.may_share_target;
            let is_same = |other: &&SrvData| other.port == srv.port && other.shares_target_with(srv);
            if may_repeat && chosen[..count].iter().flatten().any(is_same) {
                continue;
            }
            let ([a, b, c, d], [e, f]) = (srv_priority_and_weight(), srv.port.to_be_bytes());
            let first = [a, b, c, d, e, f];
            let len = first.len() + srv.target.len() + parent.len();
            self.message.record(Section::Answer, at, rtype::SRV, ttl, len, &first);
            // RFC 2782 forbids compression.
            self.message.push(&srv.target);
            self.message.push(parent);
            chosen[count] = Some(srv);
            count += 1;
            if count == selection.limit.min(MULTIVALUE_LIMIT) {
                break;
            }
        }
        for (number, srv) in chosen.iter().flatten().enumerate() {
            let before = if may_repeat { &chosen[..number] } else { &[] };
            let before = || before.iter().flatten().filter(|other| other.shares_target_with(srv));
            let ipv4 = srv.ipv4.filter(|_| before().all(|other| other.ipv4 != srv.ipv4));
            let ipv6 = srv.ipv6.filter(|_| before().all(|other| other.ipv6 != srv.ipv6));
            let fit = ipv4
                .is_none_or(|ip| self.message.additional(&srv.target, at, rtype::A, ttl, &ip.octets()))
                && ipv6.is_none_or(|ip| {
                    self.message.additional(&srv.target, at, rtype::AAAA, ttl, &ip.octets())
                });
            if !fit {
                break;
            }
        }
    }

    /// Writes the CNAME record of a name: never more than one (RFC 2181 section 10.1).
    fn cname(&mut self, entry: &Entry, at: usize) -> Option<CnameTarget> {
        let set = entry.cname.as_deref()?;
        let number =
            if set.is_shared() { set.draw(self.random) } else { set.select().order(self.random).next()? };
        let target = set.candidate(number)?.as_wire();
        let qname = LookupName::folded(self.qname);
        // QNAME is in no zone if an upstream led here.
        let zone_start = self.published.zones.find(qname.wire()).map(|(_, start)| start);
        let pointer = MessageWriter::pointer(HEADER + zone_start.unwrap_or_default());
        let labels = zone_start.and_then(|start| labels_before(target, &qname.wire()[start..]));
        let written = match labels {
            Some(labels) => [labels, &pointer],
            None => [target, &[]],
        };
        let len = written.iter().map(|part| part.len()).sum();
        self.message.record(Section::Answer, at, rtype::CNAME, set.ttl(), len, &[]);
        let at = self.message.position();
        written.iter().for_each(|part| self.message.push(part));
        Some(CnameTarget { name: LookupName::folded(target), at })
    }
}

/// The order in which the types are tried for ANY.
const ANY_ORDER: [RecordType; RecordType::ALL.len()] =
    [RecordType::A, RecordType::Aaaa, RecordType::Srv, RecordType::Cname];

/// Writes an SOA record (RFC 1035 section 3.3.13) with the values of Route 53. The mailbox is `hostmaster` of the zone
/// (RFC 2142 section 7).
fn soa(message: &mut MessageWriter<'_>, section: Section, apex: &Apex) {
    const HOSTMASTER: &[u8] = b"\x0ahostmaster";
    const SERIAL: u32 = 1;
    const REFRESH: u32 = 7200;
    const RETRY: u32 = 900;
    const EXPIRE: u32 = 1_209_600;
    // A zone name of maximum length leaves no room for a label before it.
    let mailbox = if HOSTMASTER.len() + apex.len <= LookupName::MAX { HOSTMASTER } else { &[] };
    let len = 2 + mailbox.len() + 2 + 5 * size_of::<u32>();
    message.record(section, apex.at, rtype::SOA, apex.soa_ttl, len, &MessageWriter::pointer(apex.at));
    message.push(mailbox);
    message.push(&MessageWriter::pointer(apex.at));
    for number in [SERIAL, REFRESH, RETRY, EXPIRE, apex.soa_ttl] {
        message.push(&number.to_be_bytes());
    }
}

/// The target of a CNAME record that was written.
struct CnameTarget {
    name: LookupName,
    /// Its offset in the message.
    at: usize,
}

/// A name that a CNAME chain has passed, linked to the one before it.
struct ChainLink<'a> {
    name: &'a LookupName,
    previous: Option<&'a Self>,
}

/// The labels of a name before its zone's name. `None` if the name is not in the zone. Both are in lower case.
fn labels_before<'n>(name: &'n [u8], zone: &[u8]) -> Option<&'n [u8]> {
    let labels = name.strip_suffix(zone)?;
    let mut start = 0;
    while start < labels.len() {
        start += 1 + usize::from(labels[start]);
    }
    (start == labels.len()).then_some(labels)
}
