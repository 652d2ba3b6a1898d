//! The response of an upstream. Its records are forwarded as octets (RFC 3597): only their boundaries and TTLs are
//! read.

use super::{CLASS_IN, HEADER, Rcode, flag, rtype, u16_at};
use crate::name_table::LookupName;

/// The response of an upstream. Every record in it is complete.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamResponse {
    octets: Vec<u8>,
    /// 0 to 15.
    pub(crate) rcode: u16,
    /// The AD bit: the upstream says that the data is authentic (RFC 4035 section 3.2.3).
    pub(crate) authentic: bool,
    /// The TC bit: records are missing.
    pub(crate) truncated: bool,
    /// Whether it has an OPT record: the upstream supports EDNS (RFC 6891 section 7).
    pub(crate) has_edns: bool,
    /// Whether the answer section has a CNAME record.
    has_cname: bool,
    /// Where the question ends.
    question_end: usize,
    /// Where the forwarded records of all sections end.
    end: usize,
    /// Where the forwarded records of the answer and authority sections end.
    required_end: usize,
    /// The number of forwarded records in each section.
    counts: [u16; 3],
}

/// The first records of a response.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Records<'r> {
    pub(crate) octets: &'r [u8],
    /// The number of records in each section: answer, authority, additional.
    pub(crate) counts: [u16; 3],
}

/// Why a packet is not a usable response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It belongs to another query; the real response may still arrive.
    Foreign,
    /// The upstream failed with this response code.
    Rcode(u16),
    /// A record is malformed.
    Malformed,
}

/// The maximum TTL in the cache, in seconds: one day (RFC 8767 section 4 recommends up to seven).
const MAX_TTL: u32 = 86_400;

/// How long a negative response is cached at most, in seconds (RFC 2308 section 5 recommends one to three hours).
const MAX_NEGATIVE_TTL: u32 = 3600;

impl UpstreamResponse {
    /// Response codes of servers that cannot answer.
    const FAILURES: [Rcode; 4] = [Rcode::FormErr, Rcode::ServFail, Rcode::NotImp, Rcode::Refused];

    /// Reads the response to a query with this id and question. The name in `question` has no pointers.
    pub(crate) fn read(octets: Vec<u8>, id: u16, question: &[u8]) -> Result<Self, Unusable> {
        let word = |at| u16_at(&octets, at).ok_or(Unusable::Foreign);
        let (flags, questions) = (word(2)?, word(4)?);
        if octets.len() < HEADER || word(0)? != id || flags & (flag::QR | flag::OPCODE) != flag::QR {
            return Err(Unusable::Foreign);
        }
        let rcode = flags & flag::RCODE;
        let question_end = HEADER + question.len();
        match (questions, octets.get(HEADER..question_end)) {
            (1, Some(found)) if is_same(found, question) => {}
            // A server that does not understand the query may leave out the question.
            (0, _) if rcode != Rcode::NoError.into() => return Err(Unusable::Rcode(rcode)),
            _ => return Err(Unusable::Foreign),
        }
        if Self::FAILURES.into_iter().any(|failure| rcode == failure.into()) {
            return Err(Unusable::Rcode(rcode));
        }
        let mut response = Self {
            octets,
            rcode,
            authentic: flags & flag::AD != 0,
            truncated: flags & flag::TC != 0,
            has_edns: false,
            has_cname: false,
            question_end,
            end: question_end,
            required_end: question_end,
            counts: [0; 3],
        };
        match response.scan() {
            // Some servers truncate within a record.
            Err(Unusable::Malformed) if response.truncated => response.drop_partial_record(),
            scanned => scanned?,
        }
        Ok(response)
    }

    /// Drops the octets after the last complete record, and corrects the counts of the header.
    fn drop_partial_record(&mut self) {
        self.octets.truncate(self.end);
        for (section, count) in self.counts.into_iter().enumerate() {
            self.octets[6 + 2 * section..8 + 2 * section].copy_from_slice(&count.to_be_bytes());
        }
    }

    /// Finds where the forwarded records end. Records for this hop only are not forwarded: the OPT record, and TSIG and
    /// SIG(0), which follow it. Records after the OPT record are left out as well: without it, compression pointers to
    /// them would be off.
    fn scan(&mut self) -> Result<(), Unusable> {
        for section in 0..3 {
            for _ in 0..u16_at(&self.octets, 6 + 2 * section).unwrap_or_default() {
                let (rtype, end) = record(&self.octets, self.end).ok_or(Unusable::Malformed)?;
                if rtype == rtype::OPT {
                    self.has_edns = true;
                    let rcode = u16::from(*self.octets.get(self.end + 5).unwrap_or(&0));
                    return if rcode == 0 { Ok(()) } else { Err(Unusable::Rcode(self.rcode | (rcode << 4))) };
                }
                self.end = end;
                self.has_cname |= section == 0 && rtype == rtype::CNAME;
                if section < 2 {
                    self.required_end = end;
                }
                self.counts[section] += 1;
            }
        }
        Ok(())
    }

    /// The forwarded records of all sections.
    pub(crate) fn all(&self) -> Records<'_> {
        Records { octets: &self.octets[self.question_end..self.end], counts: self.counts }
    }

    /// The forwarded records of the answer and authority sections. Without one of them a response is truncated.
    pub(crate) fn required(&self) -> Records<'_> {
        let [answers, authorities, _] = self.counts;
        let octets = &self.octets[self.question_end..self.required_end];
        Records { octets, counts: [answers, authorities, 0] }
    }

    /// Prefixes of the answer section: its first record, its first two, and so on.
    pub(crate) fn answers(&self) -> impl Iterator<Item = Records<'_>> {
        let (mut end, mut count) = (self.question_end, 0);
        std::iter::from_fn(move || {
            if count == self.counts[0] {
                return None;
            }
            (_, end) = record(&self.octets, end)?;
            count += 1;
            Some(Records { octets: &self.octets[self.question_end..end], counts: [count, 0, 0] })
        })
    }

    /// TTL and target of the first CNAME record of `owner` in the answer section.
    pub(crate) fn cname(&self, owner: &LookupName) -> Option<(u32, Vec<u8>)> {
        if !self.has_cname {
            return None;
        }
        let mut start = self.question_end;
        for _ in 0..self.counts[0] {
            let (rtype, end) = record(&self.octets, start)?;
            let fixed = name_end(&self.octets, start)?;
            if (rtype, u16_at(&self.octets, fixed + 2)?) == (rtype::CNAME, CLASS_IN)
                && LookupName::folded(&name(&self.octets, start)?).wire() == owner.wire()
            {
                let ttl = u32::from_be_bytes(*self.octets.get(fixed + 4..)?.first_chunk()?);
                return Some((ttl, name(&self.octets, fixed + FIXED)?));
            }
            start = end;
        }
        None
    }

    /// The message as received, without an incomplete record at its end.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Section, type and TTL offset of each forwarded record.
    fn ttls(&self) -> impl Iterator<Item = (usize, u16, usize)> {
        let mut start = self.question_end;
        let sections = self.counts.into_iter().enumerate();
        sections.flat_map(|(section, count)| std::iter::repeat_n(section, count.into())).map_while(
            move |section| {
                let (rtype, end) = record(&self.octets, start)?;
                let ttl = name_end(&self.octets, start)? + 4;
                start = end;
                Some((section, rtype, ttl))
            },
        )
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        self.octets.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The TTL at this offset. One with the highest bit set counts as 0 (RFC 2181 section 8).
    fn ttl_at(&self, at: usize) -> u32 {
        self.u32_at(at).filter(|ttl| *ttl <= i32::MAX as u32).unwrap_or_default()
    }

    /// How many seconds a cache may keep the response: the lowest TTL of its records, at most one day. A response without
    /// a record of QTYPE is negative: its SOA record says how long, at most one hour, and without one it is not cached
    /// (RFC 2308 section 5). `None` for responses that are not cached, such as truncated ones and errors.
    pub(crate) fn lifetime(&self) -> Option<u32> {
        let qtype = u16_at(&self.octets, self.question_end - 4)?;
        let is_final = self.rcode == Rcode::NoError.into() || self.rcode == Rcode::NxDomain.into();
        if self.truncated || !is_final {
            return None;
        }
        let (mut lowest, mut is_positive, mut negative) = (MAX_TTL, false, None);
        for (section, rtype, at) in self.ttls() {
            let ttl = self.ttl_at(at);
            lowest = lowest.min(ttl);
            is_positive |= section == 0 && (rtype == qtype || qtype == rtype::ANY);
            if section == 1 && rtype == rtype::SOA {
                negative = Some(ttl.min(self.soa_minimum(at)?).min(MAX_NEGATIVE_TTL));
            }
        }
        let is_positive = is_positive && self.rcode == Rcode::NoError.into();
        let seconds = if is_positive { lowest } else { lowest.min(negative?) };
        (seconds > 0).then_some(seconds)
    }

    /// MINIMUM of the SOA record whose TTL is at this offset: the last number of its RDATA (RFC 1035 section 3.3.13).
    fn soa_minimum(&self, ttl: usize) -> Option<u32> {
        // Two names and five numbers.
        const SHORTEST: u16 = 2 + 5 * 4;
        let len = u16_at(&self.octets, ttl + 4).filter(|len| *len >= SHORTEST)?;
        self.u32_at(ttl + 6 + usize::from(len) - 4)
    }

    /// Whether it is small enough for the cache, which reads the whole response for each answer.
    pub(crate) fn is_small(&self) -> bool {
        const OCTETS: usize = 4096;
        const RECORDS: u32 = 64;
        let counts = self.octets.get(6..12).unwrap_or_default().as_chunks::<2>().0;
        let records: u32 = counts.iter().map(|count| u32::from(u16::from_be_bytes(*count))).sum();
        self.octets.len() <= OCTETS && records <= RECORDS
    }

    /// The response as a cache keeps it for `lifetime` seconds: TTLs are at most one day, and those of SOA records in the
    /// authority section at most `lifetime`, so that clients do not cache a negative response for longer.
    pub(crate) fn bounded(&self, lifetime: u32) -> Self {
        self.with_ttls(|section, rtype, ttl| {
            ttl.min(if section == 1 && rtype == rtype::SOA { lifetime } else { MAX_TTL })
        })
    }

    /// The response after `seconds` in a cache: its TTLs are reduced by them.
    pub(crate) fn aged(&self, seconds: u32) -> Self {
        self.with_ttls(|_, _, ttl| ttl.saturating_sub(seconds))
    }

    fn with_ttls(&self, change: impl Fn(usize, u16, u32) -> u32) -> Self {
        let mut changed = self.clone();
        for (section, rtype, at) in self.ttls() {
            let ttl = change(section, rtype, self.ttl_at(at));
            changed.octets[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
        changed
    }
}

/// Whether two questions are equal. Only the case of QNAME may differ.
fn is_same(found: &[u8], sent: &[u8]) -> bool {
    let split = sent.len().saturating_sub(4);
    found.len() == sent.len()
        && found[..split].eq_ignore_ascii_case(&sent[..split])
        && found[split..] == sent[split..]
}

/// The octets between owner name and RDATA: TYPE, CLASS, TTL and RDLENGTH.
const FIXED: usize = 10;

/// Type and end of the record at this offset.
fn record(octets: &[u8], start: usize) -> Option<(u16, usize)> {
    let fixed = name_end(octets, start)?;
    let (rtype, len) = (u16_at(octets, fixed)?, u16_at(octets, fixed + FIXED - 2)?);
    let end = fixed + FIXED + usize::from(len);
    (end <= octets.len()).then_some((rtype, end))
}

/// Where the name at this offset ends, with a pointer or the root label.
fn name_end(octets: &[u8], start: usize) -> Option<usize> {
    let mut end = start;
    loop {
        match *octets.get(end)? {
            0 => return Some(end + 1),
            len @ 1..=63 => end += 1 + usize::from(len),
            0xC0.. => return (end + 2 <= octets.len()).then_some(end + 2),
            64.. => return None,
        }
    }
}

/// The name at this offset, decompressed. `None` if it is malformed.
fn name(octets: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    // Bounded by the octets of a name, because pointers may form a loop.
    for _ in 0..LookupName::MAX {
        match *octets.get(at)? {
            0 => {
                name.push(0);
                return (name.len() <= LookupName::MAX).then_some(name);
            }
            len @ 1..=63 => {
                let end = at + 1 + usize::from(len);
                name.extend_from_slice(octets.get(at..end)?);
                at = end;
            }
            0xC0.. => at = usize::from(u16_at(octets, at)? & 0x3FFF),
            64.. => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUESTION: &[u8] = b"\x03web\x03com\x00\x00\x01\x00\x01";
    const ADDRESS: &[u8] = b"\xC0\x0C\x00\x01\x00\x01\x00\x00\x00\x07\x00\x04\x0A\x00\x00\x01";
    /// `web.com CNAME App.com`.
    const CNAME: &[u8] = b"\xC0\x0C\x00\x05\x00\x01\x00\x00\x00\x07\x00\x06\x03App\xC0\x10";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xD0\x00\x00\x00\x00\x00\x00";

    fn message(flags: u16, counts: [u8; 4], rest: &[&[u8]]) -> Vec<u8> {
        let [a, b, c, d] = counts;
        let [high, low] = flags.to_be_bytes();
        [&[0xAB, 0xCD, high, low, 0, a, 0, b, 0, c, 0, d][..], &rest.concat()].concat()
    }

    fn read(octets: Vec<u8>) -> Result<UpstreamResponse, Unusable> {
        UpstreamResponse::read(octets, 0xABCD, QUESTION)
    }

    #[test]
    fn records_for_this_hop_are_not_forwarded() {
        let response = read(message(0x81A0, [1, 1, 0, 2], &[QUESTION, ADDRESS, ADDRESS, OPT])).unwrap();
        assert_eq!((response.rcode, response.authentic), (0, true));
        assert_eq!(response.all().counts, [1, 0, 1]);
        assert_eq!(response.all().octets, ADDRESS.repeat(2));
        assert_eq!((response.required().counts, response.required().octets), ([1, 0, 0], ADDRESS));
        let answers: Vec<_> = response.answers().map(|records| records.counts).collect();
        assert_eq!(answers, [[1, 0, 0]]);
        let response = read(message(0x8180, [1, 1, 0, 2], &[QUESTION, ADDRESS, OPT, ADDRESS])).unwrap();
        assert_eq!(response.all().counts, [1, 0, 0]);
    }

    #[test]
    fn only_the_name_may_differ_in_case() {
        let question = [b"\x03WEB\x03COM\x00", &QUESTION[9..]].concat();
        assert_eq!(read(message(0x8183, [1, 0, 0, 0], &[&question])).unwrap().rcode, 3);
        // HTTPS is 65 ("A"), and 97 is "a". QCLASS must not be folded either.
        for (at, sent, found) in [(10, 65, 97), (12, 65, 97), (9, 90, 122), (11, 90, 122)] {
            let with = |octet| {
                let mut question = QUESTION.to_vec();
                question[at] = octet;
                question
            };
            for (sent, found) in [(sent, found), (found, sent)] {
                let octets = message(0x8180, [1, 0, 0, 0], &[&with(found)]);
                assert_eq!(
                    UpstreamResponse::read(octets, 0xABCD, &with(sent)).unwrap_err(),
                    Unusable::Foreign
                );
                let octets = message(0x8180, [1, 0, 0, 0], &[&with(sent)]);
                assert!(UpstreamResponse::read(octets, 0xABCD, &with(sent)).is_ok());
            }
        }
    }

    #[test]
    fn responses_to_other_queries_are_foreign() {
        let foreign = [
            message(0x8180, [1, 0, 0, 0], &[b"\x03wob\x03com\x00\x00\x01\x00\x01"]),
            message(0x8180, [1, 0, 0, 0], &[b"\x03web\x03com\x00\x00\x1C\x00\x01"]),
            message(0x8180, [1, 0, 0, 0], &[&QUESTION[..12]]),
            message(0x8180, [0, 0, 0, 0], &[]),
            message(0x8180, [2, 0, 0, 0], &[QUESTION, QUESTION]),
            message(0x0180, [1, 0, 0, 0], &[QUESTION]),
            message(0xA180, [1, 0, 0, 0], &[QUESTION]),
            vec![0xAB, 0xCD, 0x81],
            Vec::new(),
        ];
        for octets in foreign {
            assert_eq!(read(octets.clone()).unwrap_err(), Unusable::Foreign, "{octets:?}");
        }
        let other_id = UpstreamResponse::read(message(0x8180, [1, 0, 0, 0], &[QUESTION]), 1, QUESTION);
        assert_eq!(other_id.unwrap_err(), Unusable::Foreign);
    }

    #[test]
    fn a_cname_is_found_anywhere_in_the_answer_section_and_decompressed() {
        let cname = |parts: &[&[u8]], counts, name: &[u8]| {
            let question = [b"\x03WEB\x03COM\x00", &QUESTION[9..]].concat();
            let response = read(message(0x8180, counts, &[&question, &parts.concat()])).unwrap();
            response.cname(&LookupName::folded(name))
        };
        let (web, app) = (b"\x03web\x03com\x00", b"\x03App\x03COM\x00");
        assert_eq!(cname(&[CNAME], [1, 1, 0, 0], web), Some((7, app.to_vec())));
        assert_eq!(cname(&[ADDRESS, CNAME, CNAME], [1, 3, 0, 0], web), Some((7, app.to_vec())));
        assert_eq!(cname(&[CNAME], [1, 1, 0, 0], app), None, "of another name");
        assert_eq!(cname(&[ADDRESS, CNAME], [1, 1, 1, 0], web), None, "in another section");
        let mut chaos = CNAME.to_vec();
        chaos[5] = 3;
        assert_eq!(cname(&[&chaos], [1, 1, 0, 0], web), None, "of another class");
        // A pointer to itself, a pointer beyond the end, and a name that is too long.
        for target in [0xC025_u16, 0xFFFF] {
            let round = [&CNAME[..11], &[2], &target.to_be_bytes()[..]].concat();
            assert_eq!(cname(&[&round], [1, 1, 0, 0], web), None);
        }
        let long = [&CNAME[..10], &[1, 1], &b"\x01a".repeat(128)[..], b"\0"].concat();
        assert_eq!(cname(&[&long], [1, 1, 0, 0], web), None);
    }

    proptest! {
        /// Nothing panics, and forwarded records are complete, whatever an upstream sends.
        #[test]
        fn any_octets_are_read(
            flags in prop_oneof![Just(0x8180), any::<u16>()],
            counts in prop::array::uniform3(0..3u8),
            parts in prop::collection::vec(
                prop_oneof![
                    4 => Just(ADDRESS.to_vec()),
                    2 => Just(CNAME.to_vec()),
                    1 => Just(OPT.to_vec()),
                    1 => prop::collection::vec(any::<u8>(), 0..20),
                ],
                0..6,
            ),
            cut in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let [answers, authorities, additionals] = counts;
            let mut octets =
                message(flags, [1, answers, authorities, additionals], &[QUESTION, &parts.concat()]);
            if is_cut {
                octets.truncate(cut.index(octets.len()));
            }
            if let Ok(response) = read(octets) {
                let last = response.answers().last().unwrap_or_default();
                prop_assert_eq!(last.counts[0], response.all().counts[0]);
                prop_assert!(last.octets.len() <= response.all().octets.len());
                let cname = response.cname(&LookupName::folded(b"\x03web\x03com\x00"));
                prop_assert!(cname.is_none_or(|(_, target)| target.len() <= LookupName::MAX));
                let aged = response.bounded(1).aged(1);
                prop_assert_eq!(aged.all().octets.len(), response.all().octets.len());
                let _ = response.lifetime();
                let _ = crate::response::chain_end(&response, b"\x03web\x03com\x00", 12, Some(1));
            }
        }
    }

    #[test]
    fn failures_and_malformed_responses_are_distinguished() {
        assert_eq!(read(message(0x8185, [1, 0, 0, 0], &[QUESTION])).unwrap_err(), Unusable::Rcode(5));
        assert_eq!(read(message(0x8181, [0, 0, 0, 0], &[])).unwrap_err(), Unusable::Rcode(1));
        let bad_version = b"\x00\x00\x29\x04\xD0\x01\x00\x00\x00\x00\x00";
        let octets = message(0x8180, [1, 0, 0, 1], &[QUESTION, bad_version]);
        assert_eq!(read(octets).unwrap_err(), Unusable::Rcode(16));
        let whole = message(0x8180, [1, 1, 0, 0], &[QUESTION, ADDRESS]);
        for end in HEADER + QUESTION.len()..whole.len() {
            assert_eq!(read(whole[..end].to_vec()).unwrap_err(), Unusable::Malformed, "{end}");
        }
    }

    #[test]
    fn a_truncated_response_keeps_its_complete_records() {
        let whole = message(0x8380, [1, 2, 1, 0], &[QUESTION, ADDRESS, ADDRESS, ADDRESS]);
        let start = HEADER + QUESTION.len();
        for end in start..=whole.len() {
            let response = read(whole[..end].to_vec()).unwrap();
            let records = ((end - start) / ADDRESS.len()) as u16;
            assert!(response.truncated && response.lifetime().is_none(), "{end}");
            assert_eq!(response.all().counts, [records.min(2), records.saturating_sub(2), 0], "{end}");
            assert_eq!(response.octets().len(), start + usize::from(records) * ADDRESS.len(), "{end}");
            hickory_proto::op::Message::from_vec(response.octets()).unwrap();
        }
    }

    /// A record of `web.com` with this type, TTL and data.
    fn record_of(rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
        let fixed = [&b"\xC0\x0C"[..], &rtype.to_be_bytes(), &[0, 1], &ttl.to_be_bytes()].concat();
        [&fixed[..], &(data.len() as u16).to_be_bytes(), data].concat()
    }

    fn soa(ttl: u32, minimum: u32) -> Vec<u8> {
        record_of(rtype::SOA, ttl, &[&[0; 18][..], &minimum.to_be_bytes()].concat())
    }

    #[test]
    fn a_response_is_cached_for_its_lowest_ttl() {
        let lifetime = |flags, counts, parts: &[&[u8]]| {
            let octets = message(flags, counts, &[QUESTION, &parts.concat()]);
            read(octets).unwrap().lifetime()
        };
        let address = |ttl| record_of(rtype::A, ttl, &[10, 0, 0, 1]);
        assert_eq!(lifetime(0x8180, [1, 1, 0, 0], &[&address(60)]), Some(60));
        assert_eq!(lifetime(0x8180, [1, 2, 0, 0], &[&address(60), &address(30)]), Some(30));
        assert_eq!(lifetime(0x8180, [1, 1, 0, 1], &[&address(60), &address(7)]), Some(7));
        assert_eq!(lifetime(0x8180, [1, 1, 0, 0], &[&address(0)]), None);
        assert_eq!(lifetime(0x8180, [1, 1, 0, 0], &[&address(86_401)]), Some(86_400));
        assert_eq!(lifetime(0x8180, [1, 1, 0, 0], &[&address(1 << 31)]), None, "RFC 2181 section 8");
        assert_eq!(lifetime(0x8380, [1, 1, 0, 0], &[&address(60)]), None, "truncated");
        assert_eq!(lifetime(0x8186, [1, 1, 0, 0], &[&address(60)]), None, "YXDOMAIN");
    }

    #[test]
    fn a_negative_response_is_cached_as_its_soa_record_says() {
        let lifetime = |flags, counts, parts: &[&[u8]]| {
            let octets = message(flags, counts, &[QUESTION, &parts.concat()]);
            read(octets).unwrap().lifetime()
        };
        for flags in [0x8180, 0x8183] {
            assert_eq!(lifetime(flags, [1, 0, 1, 0], &[&soa(60, 30)]), Some(30));
            assert_eq!(lifetime(flags, [1, 0, 1, 0], &[&soa(30, 60)]), Some(30));
            assert_eq!(lifetime(flags, [1, 0, 1, 0], &[&soa(90_000, 90_000)]), Some(3600));
            assert_eq!(lifetime(flags, [1, 0, 1, 0], &[&soa(60, 0)]), None);
            assert_eq!(lifetime(flags, [1, 0, 0, 0], &[]), None, "RFC 2308 section 5");
            assert_eq!(lifetime(flags, [1, 1, 0, 0], &[CNAME]), None, "CNAME without a target");
            assert_eq!(lifetime(flags, [1, 1, 1, 0], &[CNAME, &soa(60, 30)]), Some(7));
            let short = record_of(rtype::SOA, 60, &[0; 21]);
            assert_eq!(lifetime(flags, [1, 0, 1, 0], &[&short]), None);
        }
        // A CNAME record is a positive answer to a CNAME question.
        let question = b"\x03web\x03com\x00\x00\x05\x00\x01";
        let response =
            UpstreamResponse::read(message(0x8180, [1, 1, 0, 0], &[question, CNAME]), 0xABCD, question);
        assert_eq!(response.unwrap().lifetime(), Some(7));
    }

    #[test]
    fn aging_changes_ttls_only() {
        let ttls = |response: &UpstreamResponse| -> Vec<_> {
            let message = hickory_proto::op::Message::from_vec(response.octets()).unwrap();
            message.answers.iter().chain(&message.authorities).map(|record| record.ttl).collect()
        };
        let parts = [QUESTION, &record_of(rtype::A, 90_000, &[10, 0, 0, 1]), CNAME, &soa(90_000, 30)];
        let response = read(message(0x8183, [1, 2, 1, 0], &parts)).unwrap();
        assert_eq!(ttls(&response), [90_000, 7, 90_000]);
        let cached = response.bounded(7);
        assert_eq!(ttls(&cached), [86_400, 7, 7]);
        let aged = cached.aged(3);
        assert_eq!(ttls(&aged), [86_397, 4, 4]);
        assert_eq!(aged.bounded(u32::MAX).octets().len(), response.octets().len());
        assert_eq!(ttls(&cached.aged(8)), [86_392, 0, 0]);
        let differing = aged.octets().iter().zip(response.octets()).filter(|(one, other)| one != other);
        assert!(differing.count() <= 3 * 4);
    }
}
