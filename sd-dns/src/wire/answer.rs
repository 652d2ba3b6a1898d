use std::{
    hash::Hash,
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sd_core::{
    model::RecordType,
    name::DnsName,
    random::RandomSource,
    records::{CNAME_LIMIT, MULTIVALUE_LIMIT},
};

use super::{
    Edns, HEADER, Message, Rcode, Section, Suspended,
    asked::Asked,
    external, kind,
    query::{QueryHeader, Question},
    response::Response,
    srv_priority_and_weight,
};
use crate::{
    alias::AliasAddresses,
    counters::Answered,
    name_table::{Addresses, Candidate, Entry, LookupName, Published, RecordSet, SrvData, ZoneKey},
};

/// Appends the answer to a question for data of class IN. The error is that it waits for what somebody else knows.
pub(crate) fn answer(
    published: &Published,
    header: QueryHeader,
    question: &Question<'_>,
    edns: Option<Edns>,
    limit: usize,
    random: &dyn RandomSource,
    out: &mut Vec<u8>,
) -> Result<Answered, Box<Waiting>> {
    let message = Message::begin(out, header, question.raw, edns, limit);
    let mut answer = Answer {
        published,
        random,
        recurses: header.recurses(),
        kind: question.kind,
        question: question.name(),
        message,
        drawn: None,
        zone: None,
        earlier: &[],
    };
    let mut name = LookupName::folded(question.name());
    let outcome = answer.resolve(&mut name, HEADER, None);
    answer.end(outcome)
}

/// What the names that were looked at come to.
enum Outcome {
    Complete(Rcode),
    Waits(Wants),
}

/// What is missing from an answer.
#[derive(Debug)]
pub(crate) enum Wants {
    Addresses(Alias),
    Rest(Rest),
    /// All of it.
    Everything,
}

/// What the target of an alias has answers for the name that stands at `at`, in this zone.
#[derive(Debug)]
pub(crate) struct Alias {
    drawn: Drawn,
    at: usize,
    apex: Apex,
}

/// What the end of a chain of aliases has, whose name is in none of our zones.
#[derive(Debug)]
pub(crate) struct Rest {
    /// The name, in wire form, lower-case.
    target: Box<[u8]>,
    /// Where it stands.
    at: usize,
    /// The names that were passed before it.
    passed: Vec<LookupName>,
}

/// An alias that was drawn among the candidates of a name.
#[derive(Debug)]
struct Drawn {
    /// A or AAAA.
    kind: RecordType,
    target: DnsName,
}

/// An answer that waits for what somebody else knows.
#[derive(Debug)]
pub(crate) struct Waiting {
    message: Suspended,
    wants: Wants,
    /// If it fails.
    answered: Answered,
}

impl Alias {
    /// Whose addresses are waited for.
    pub(crate) fn target(&self) -> &DnsName {
        &self.drawn.target
    }

    /// Of which type they are: A or AAAA.
    pub(crate) fn kind(&self) -> RecordType {
        self.drawn.kind
    }
}

impl Waiting {
    pub(crate) fn wants(&self) -> &Wants {
        &self.wants
    }

    /// What another server is to be asked.
    pub(crate) fn asked(&self) -> Asked {
        match &self.wants {
            Wants::Addresses(alias) => {
                let kind = if alias.kind() == RecordType::Aaaa { kind::AAAA } else { kind::A };
                Asked::new(alias.target().as_wire(), kind)
            }
            Wants::Rest(rest) => Asked::new(&rest.target, self.kind()),
            Wants::Everything => {
                Asked::by(self.message.question(), self.message.header(), self.message.edns())
            }
        }
    }

    /// The type that the client has asked for.
    fn kind(&self) -> u16 {
        self.answered.kind.unwrap_or_default()
    }

    /// Appends the answer: what another server has answered, and what is before it. Where that leads into a zone of ours, the
    /// answer goes on with what we have (RFC 1034 section 4.3.2, step 3a). The error is that it waits once more.
    pub(crate) fn relay(
        &self,
        response: &Response,
        published: &Published,
        random: &dyn RandomSource,
        out: &mut Vec<u8>,
    ) -> Result<Answered, Box<Self>> {
        let (name, mut at, passed) = match &self.wants {
            Wants::Everything => (self.message.name(), HEADER, &[][..]),
            Wants::Rest(rest) => (&*rest.target, rest.at, &*rest.passed),
            Wants::Addresses(_) => return Ok(self.fail(out)),
        };
        let aliases = match self.kind() {
            // They are the answer themselves.
            kind::CNAME | kind::ANY => None,
            _ => external::aliases(response, name, published),
        };
        let Some(aliases) = aliases else {
            return Ok(self.pass_on(response, out));
        };
        let mut message = self.message.resume(out);
        let mut name = LookupName::folded(name);
        let mut earlier = passed.to_vec();
        for (ttl, target) in aliases {
            message.record(Section::Answer, at, kind::CNAME, ttl, target.len(), &[]);
            at = message.position();
            message.push(&target);
            earlier.push(mem::replace(&mut name, LookupName::folded(&target)));
        }
        let mut answer = Answer {
            published,
            random,
            recurses: self.message.header().recurses(),
            kind: self.kind(),
            question: self.message.name(),
            message,
            drawn: None,
            zone: self.answered.zone,
            earlier: &earlier,
        };
        let outcome = answer.follow(&mut name, at, None);
        answer.end(outcome)
    }

    /// Appends the answer: what another server has answered, or that and what is before it.
    fn pass_on(&self, response: &Response, out: &mut Vec<u8>) -> Answered {
        let rcode = response.rcode;
        match &self.wants {
            Wants::Everything => self.message.relay(response, out),
            Wants::Rest(rest) => {
                let Some(records) = external::records(response, &rest.target, rest.at, self.answered.kind)
                else {
                    return self.fail(out);
                };
                let mut message = self.message.resume(out);
                for (section, record) in &records {
                    message.whole(*section, record);
                }
                if response.truncated {
                    message.set_truncated();
                }
                message.finish(rcode);
            }
            Wants::Addresses(_) => return self.fail(out),
        }
        Answered { rcode, forwarded: true, ..self.answered }
    }

    /// Appends the answer: the addresses that the target of an alias has, under the name that was asked for.
    pub(crate) fn finish(&self, alias: &Alias, found: &AliasAddresses, out: &mut Vec<u8>) -> Answered {
        let mut message = self.message.resume(out);
        let ttl = found.ttl.min(MAX_TTL);
        let mut written: Vec<IpAddr> = Vec::with_capacity(MULTIVALUE_LIMIT);
        for &address in &found.addresses {
            let is_wanted = address.is_ipv6() == (alias.kind() == RecordType::Aaaa);
            if !is_wanted || written.contains(&address) {
                continue;
            }
            match address {
                IpAddr::V4(address) => {
                    message.record(Section::Answer, alias.at, kind::A, ttl, 4, &address.octets());
                }
                IpAddr::V6(address) => {
                    message.record(Section::Answer, alias.at, kind::AAAA, ttl, 16, &address.octets());
                }
            }
            written.push(address);
            if written.len() == MULTIVALUE_LIMIT {
                break;
            }
        }
        if written.is_empty() {
            soa(&mut message, Section::Authority, &alias.apex);
        }
        message.finish(Rcode::NoError);
        Answered { rcode: Rcode::NoError.into(), ..self.answered }
    }

    /// Appends the answer that says that what is waited for cannot be found.
    pub(crate) fn fail(&self, out: &mut Vec<u8>) -> Answered {
        self.message.fail(self.answered.rcode, out);
        Answered { forwarded: false, ..self.answered }
    }
}

/// The highest TTL (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX as u32;

struct Answer<'a> {
    published: &'a Published,
    random: &'a dyn RandomSource,
    /// Whether others are asked for names in no zone.
    recurses: bool,
    kind: u16,
    /// The name that is asked for, as it stands in the packet.
    question: &'a [u8],
    message: Message<'a>,
    /// The alias that was drawn, after which nothing is written.
    drawn: Option<Drawn>,
    /// That of the name that is asked for.
    zone: Option<ZoneKey>,
    /// The names that were passed before another server led back to us. Without one: the name that is asked for comes first.
    earlier: &'a [LookupName],
}

/// The name of a zone, as it stands in the message.
#[derive(Debug)]
struct Apex {
    at: usize,
    len: usize,
    /// In seconds.
    soa_ttl: u32,
}

impl Answer<'_> {
    /// Writes what the name that stands at `at` has, and the names that it is an alias of (RFC 1034 section 4.3.2).
    fn resolve(&mut self, name: &mut LookupName, at: usize, before: Option<&Passed<'_>>) -> Outcome {
        let published = self.published;
        let is_first = self.passed(before).next().is_none();
        let Some((zone, zone_start)) = published.zones.find(name.wire()) else {
            return match (is_first, self.recurses) {
                (true, true) => Outcome::Waits(Wants::Everything),
                (true, false) => Outcome::Complete(Rcode::Refused),
                (false, true) => {
                    let passed = self.passed(before).cloned().collect();
                    Outcome::Waits(Wants::Rest(Rest { target: name.wire().into(), at, passed }))
                }
                // The client has to ask somebody else for the rest.
                (false, false) => Outcome::Complete(Rcode::NoError),
            };
        };
        if is_first {
            // AA is for the name that is asked for (RFC 1035 section 4.1.1).
            self.zone = Some(zone.key);
            self.message.set_authoritative();
        }
        let is_apex = zone_start == 0;
        let apex = Apex { at: at + zone_start, len: name.wire().len() - zone_start, soa_ttl: zone.soa_ttl };
        if is_apex && self.apex(&apex) {
            return Outcome::Complete(Rcode::NoError);
        }
        name.set_zone(zone.key);
        let mut alias = None;
        let written = published.look(name.key(zone_start), |entry| {
            self.records(entry, name, at) || {
                alias = self.alias(entry, at);
                alias.is_some()
            }
        });
        if let Some(drawn) = self.drawn.take() {
            return Outcome::Waits(Wants::Addresses(Alias { drawn, at, apex }));
        }
        if let Some(Canonical { name: mut target, at }) = alias {
            return self.follow(&mut target, at, Some(&Passed { name, before }));
        }
        match written {
            Some(true) => return Outcome::Complete(Rcode::NoError),
            None if is_apex && self.kind == kind::ANY => {
                soa(&mut self.message, Section::Answer, &apex);
                return Outcome::Complete(Rcode::NoError);
            }
            Some(false) | None => {}
        }
        // The negative answer is kept for the TTL of this record or its MINIMUM, which are the same (RFC 2308 section 3).
        soa(&mut self.message, Section::Authority, &apex);
        let exists = written.is_some() || is_apex || published.zones.is_above_one(name.wire());
        Outcome::Complete(if exists { Rcode::NoError } else { Rcode::NxDomain })
    }

    /// Goes on with the name that the last one is an alias of, unless the chain is too long or makes a loop.
    fn follow(&mut self, target: &mut LookupName, at: usize, before: Option<&Passed<'_>>) -> Outcome {
        let is_new = self.passed(before).all(|name| name.wire() != target.wire());
        if is_new && self.passed(before).count() <= CNAME_LIMIT {
            self.resolve(target, at, before)
        } else {
            Outcome::Complete(Rcode::NoError)
        }
    }

    /// All names that the answer has passed.
    fn passed<'p>(&self, before: Option<&'p Passed<'p>>) -> impl Iterator<Item = &'p LookupName>
    where
        Self: 'p,
    {
        let chain = std::iter::successors(before, |passed| passed.before).map(|passed| passed.name);
        chain.chain(self.earlier)
    }

    /// Ends the message, or puts it aside.
    fn end(self, outcome: Outcome) -> Result<Answered, Box<Waiting>> {
        let (kind, zone, forwarded) = (Some(self.kind), self.zone, !self.earlier.is_empty());
        let answered = |rcode: Rcode| Answered { kind, zone, rcode: rcode.into(), forwarded };
        match outcome {
            Outcome::Complete(rcode) => {
                self.message.finish(rcode);
                Ok(answered(rcode))
            }
            Outcome::Waits(wants) => {
                let answered = answered(Rcode::ServFail);
                Err(Box::new(Waiting { message: self.message.suspend(), wants, answered }))
            }
        }
    }

    /// Writes what every zone has at its apex: SOA, and NS. `false` if the question is for neither.
    ///
    /// Both name the zone itself: it is the one name of which the zone knows that this server answers for it.
    fn apex(&mut self, apex: &Apex) -> bool {
        match self.kind {
            kind::SOA => soa(&mut self.message, Section::Answer, apex),
            kind::NS => {
                let server = Message::pointer(apex.at);
                self.message.record(Section::Answer, apex.at, kind::NS, apex.soa_ttl, server.len(), &server);
            }
            _ => return false,
        }
        true
    }

    /// Writes the records of the type that is asked for; for ANY those of one type (RFC 8482 section 4.1). `false` if
    /// there are none.
    fn records(&mut self, entry: &Entry, name: &LookupName, at: usize) -> bool {
        let wants = |kind| self.kind == kind || self.kind == kind::ANY;
        if wants(kind::A)
            && let Some(set) = entry.ipv4()
        {
            self.addresses(&set, at, RecordType::A, kind::A, Ipv4Addr::octets);
        } else if wants(kind::AAAA)
            && let Some(set) = entry.ipv6()
        {
            self.addresses(&set, at, RecordType::Aaaa, kind::AAAA, Ipv6Addr::octets);
        } else if wants(kind::SRV)
            && let Some(set) = &entry.srv
        {
            self.hosts(set, name, at);
        } else {
            return wants(kind::CNAME) && self.alias(entry, at).is_some();
        }
        true
    }

    /// Writes addresses, or draws an alias that answers instead of them.
    fn addresses<D: Copy + Eq + Hash, const N: usize>(
        &mut self,
        set: &Addresses<'_, D>,
        at: usize,
        record_type: RecordType,
        kind: u16,
        octets: impl Fn(&D) -> [u8; N],
    ) {
        let selection = set.selection();
        let ttl = set.ttl();
        let mut written = 0;
        // One of the instances is drawn, not one of the addresses that they have.
        let by_instance = selection.limit == 1 && set.is_shared();
        for number in selection.order(self.random) {
            let number = if by_instance { set.draw(self.random) } else { number };
            match set.candidate(number) {
                Some(Candidate::Address(address)) => {
                    self.message.record(Section::Answer, at, kind, ttl, N, &octets(address));
                    written += 1;
                }
                Some(Candidate::Alias(target)) if written == 0 => {
                    self.drawn = Some(Drawn { kind: record_type, target: target.clone() });
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
    fn hosts(&mut self, set: &RecordSet<SrvData>, name: &LookupName, at: usize) {
        let selection = set.select();
        let ttl = set.ttl();
        let target = name.wire();
        let mut chosen: [Option<&SrvData>; MULTIVALUE_LIMIT] = [None; MULTIVALUE_LIMIT];
        let mut count = 0;
        // Whether any two may have the same target.
        let mut folded = false;
        for number in selection.order(self.random) {
            let Some(host) = set.candidate(number) else {
                continue;
            };
            folded |= host.folded;
            let is_same = |other: &&SrvData| other.port == host.port && other.shares_target_with(host);
            if folded && chosen[..count].iter().flatten().any(is_same) {
                continue;
            }
            let ([a, b, c, d], [e, f]) = (srv_priority_and_weight(), host.port.to_be_bytes());
            let first = [a, b, c, d, e, f];
            let len = first.len() + host.target.len() + target.len();
            self.message.record(Section::Answer, at, kind::SRV, ttl, len, &first);
            // Not compressed: RFC 2782 forbids it.
            self.message.push(&host.target);
            self.message.push(target);
            chosen[count] = Some(host);
            count += 1;
            if count == selection.limit.min(MULTIVALUE_LIMIT) {
                break;
            }
        }
        for (number, host) in chosen.iter().flatten().enumerate() {
            let before = if folded { &chosen[..number] } else { &[] };
            let before = || before.iter().flatten().filter(|other| other.shares_target_with(host));
            let ipv4 = host.ipv4.filter(|_| before().all(|other| other.ipv4 != host.ipv4));
            let ipv6 = host.ipv6.filter(|_| before().all(|other| other.ipv6 != host.ipv6));
            let fit = ipv4
                .is_none_or(|ip| self.message.additional(&host.target, at, kind::A, ttl, &ip.octets()))
                && ipv6.is_none_or(|ip| {
                    self.message.additional(&host.target, at, kind::AAAA, ttl, &ip.octets())
                });
            if !fit {
                break;
            }
        }
    }

    /// Writes the CNAME record of a name. Never more than one, since a name is an alias of one name only (RFC 2181
    /// section 10.1).
    fn alias(&mut self, entry: &Entry, at: usize) -> Option<Canonical> {
        let set = entry.cname.as_deref()?;
        let number =
            if set.is_shared() { set.draw(self.random) } else { set.select().order(self.random).next()? };
        let target = set.candidate(number)?.as_wire();
        let asked = LookupName::folded(self.question);
        // It is in no zone if another server has led here.
        let zone_start = self.published.zones.find(asked.wire()).map(|(_, start)| start);
        let pointer = Message::pointer(HEADER + zone_start.unwrap_or_default());
        let labels = zone_start.and_then(|start| labels_before(target, &asked.wire()[start..]));
        let written = match labels {
            Some(labels) => [labels, &pointer],
            None => [target, &[]],
        };
        let len = written.iter().map(|part| part.len()).sum();
        self.message.record(Section::Answer, at, kind::CNAME, set.ttl(), len, &[]);
        let at = self.message.position();
        written.iter().for_each(|part| self.message.push(part));
        Some(Canonical { name: LookupName::folded(target), at })
    }
}

/// Writes an SOA record (RFC 1035 section 3.3.13) with the values of Route 53. The mailbox is `hostmaster` of the
/// zone (RFC 2142 section 7).
fn soa(message: &mut Message<'_>, section: Section, apex: &Apex) {
    const HOSTMASTER: &[u8] = b"\x0ahostmaster";
    const SERIAL: u32 = 1;
    const REFRESH: u32 = 7200;
    const RETRY: u32 = 900;
    const EXPIRE: u32 = 1_209_600;
    // Nothing fits before a zone's name that is as long as names may be.
    let mailbox = if HOSTMASTER.len() + apex.len <= LookupName::MAX { HOSTMASTER } else { &[] };
    let len = 2 + mailbox.len() + 2 + 5 * size_of::<u32>();
    message.record(section, apex.at, kind::SOA, apex.soa_ttl, len, &Message::pointer(apex.at));
    message.push(mailbox);
    message.push(&Message::pointer(apex.at));
    for number in [SERIAL, REFRESH, RETRY, EXPIRE, apex.soa_ttl] {
        message.push(&number.to_be_bytes());
    }
}

/// The name that a CNAME record points to, which was written.
struct Canonical {
    name: LookupName,
    /// Where it stands in the message.
    at: usize,
}

/// The names that an answer has passed on a chain of aliases, last one first.
struct Passed<'a> {
    name: &'a LookupName,
    before: Option<&'a Self>,
}

/// The labels of a name before its zone's. `None` if it is not in the zone. Both are lower-case.
fn labels_before<'n>(name: &'n [u8], zone: &[u8]) -> Option<&'n [u8]> {
    let labels = name.strip_suffix(zone)?;
    let mut start = 0;
    while start < labels.len() {
        start += 1 + usize::from(labels[start]);
    }
    (start == labels.len()).then_some(labels)
}
