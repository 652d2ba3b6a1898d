//! The response of an upstream. Its records are passed on as bytes (RFC 3597): only their boundaries are read.

use super::{CLASS_IN, HEADER, Rcode, flag, kind, u16_at};
use crate::name_table::LookupName;

/// The response to a question. Every record in it is whole.
#[derive(Debug)]
pub(crate) struct Response {
    octets: Vec<u8>,
    /// 0 to 15.
    pub(crate) rcode: u16,
    /// The AD bit: the server says that the data is authentic (RFC 4035 section 3.2.3).
    pub(crate) authentic: bool,
    /// The TC bit: records are missing.
    pub(crate) truncated: bool,
    /// Whether it has an OPT record, so that the server speaks EDNS (RFC 6891 section 7).
    pub(crate) has_edns: bool,
    /// Whether there is a CNAME record in the answer section.
    has_aliases: bool,
    /// Where the question ends.
    question_end: usize,
    /// Where the records of all sections end that are passed on.
    end: usize,
    /// Where those of the answer and authority sections end.
    required_end: usize,
    /// How many records of each section those are.
    counts: [u16; 3],
}

/// Records at the beginning of a response.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Records<'r> {
    pub(crate) octets: &'r [u8],
    /// How many of them are in each section: answer, authority, additional.
    pub(crate) counts: [u16; 3],
}

/// Why octets are not a response that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It does not answer this query; the real response may still arrive.
    Foreign,
    /// The server failed with this code.
    Rcode(u16),
    /// Its records are malformed.
    Malformed,
}

impl Response {
    /// Codes of servers that do not know the answer.
    const FAILURES: [Rcode; 4] = [Rcode::FormErr, Rcode::ServFail, Rcode::NotImp, Rcode::Refused];

    /// Reads the response to a query of this id and question, whose name has no pointers.
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
            // A server that does not understand the query need not repeat it.
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
            has_aliases: false,
            question_end,
            end: question_end,
            required_end: question_end,
            counts: [0; 3],
        };
        match response.measure() {
            // Some servers cut within a record.
            Err(Unusable::Malformed) if response.truncated => response.drop_rest(),
            measured => measured?,
        }
        Ok(response)
    }

    /// Drops what follows the last whole record, so that the counts of the header are right.
    fn drop_rest(&mut self) {
        self.octets.truncate(self.end);
        for (section, count) in self.counts.into_iter().enumerate() {
            self.octets[6 + 2 * section..8 + 2 * section].copy_from_slice(&count.to_be_bytes());
        }
    }

    /// Finds the end of the records. What concerns this hop only is not passed on: the OPT record and what
    /// follows it (TSIG, SIG(0)); without the OPT record, pointers into what follows would be wrong.
    fn measure(&mut self) -> Result<(), Unusable> {
        for section in 0..3 {
            for _ in 0..u16_at(&self.octets, 6 + 2 * section).unwrap_or_default() {
                let (kind, end) = record(&self.octets, self.end).ok_or(Unusable::Malformed)?;
                if kind == kind::OPT {
                    self.has_edns = true;
                    let rcode = u16::from(*self.octets.get(self.end + 5).unwrap_or(&0));
                    return if rcode == 0 { Ok(()) } else { Err(Unusable::Rcode(self.rcode | (rcode << 4))) };
                }
                self.end = end;
                self.has_aliases |= section == 0 && kind == kind::CNAME;
                if section < 2 {
                    self.required_end = end;
                }
                self.counts[section] += 1;
            }
        }
        Ok(())
    }

    /// All of its records.
    pub(crate) fn all(&self) -> Records<'_> {
        Records { octets: &self.octets[self.question_end..self.end], counts: self.counts }
    }

    /// Those that an answer is not whole without: all but the additional ones.
    pub(crate) fn required(&self) -> Records<'_> {
        let [answers, authorities, _] = self.counts;
        let octets = &self.octets[self.question_end..self.required_end];
        Records { octets, counts: [answers, authorities, 0] }
    }

    /// The first record of the answer section, the first two, and so on.
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

    /// What a name is an alias of, and for how many seconds: the first CNAME record that it has in the answer
    /// section.
    pub(crate) fn alias(&self, owner: &LookupName) -> Option<(u32, Vec<u8>)> {
        if !self.has_aliases {
            return None;
        }
        let mut start = self.question_end;
        for _ in 0..self.counts[0] {
            let (kind, end) = record(&self.octets, start)?;
            let fixed = name_end(&self.octets, start)?;
            if (kind, u16_at(&self.octets, fixed + 2)?) == (kind::CNAME, CLASS_IN)
                && LookupName::folded(&name(&self.octets, start)?).wire() == owner.wire()
            {
                let ttl = u32::from_be_bytes(*self.octets.get(fixed + 4..)?.first_chunk()?);
                return Some((ttl, name(&self.octets, fixed + FIXED)?));
            }
            start = end;
        }
        None
    }

    /// The message as received, without a record that was cut.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// Whether a question is the one that was asked. Servers may change the case of the name, and of nothing
/// else.
fn is_same(found: &[u8], asked: &[u8]) -> bool {
    let split = asked.len().saturating_sub(4);
    found.len() == asked.len()
        && found[..split].eq_ignore_ascii_case(&asked[..split])
        && found[split..] == asked[split..]
}

/// What is between the name and the data of a record: type, class, TTL and length.
const FIXED: usize = 10;

/// The type of the record at this place, and where it ends.
fn record(octets: &[u8], start: usize) -> Option<(u16, usize)> {
    let fixed = name_end(octets, start)?;
    let (kind, len) = (u16_at(octets, fixed)?, u16_at(octets, fixed + FIXED - 2)?);
    let end = fixed + FIXED + usize::from(len);
    (end <= octets.len()).then_some((kind, end))
}

/// Where a name ends in the message, with a pointer or the root's zero.
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

/// The name at this place without pointers. `None` if it is not well-formed.
fn name(octets: &[u8], mut at: usize) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    // No more labels and pointers than names may have octets: pointers may go round.
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
    const ALIAS: &[u8] = b"\xC0\x0C\x00\x05\x00\x01\x00\x00\x00\x07\x00\x06\x03App\xC0\x10";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xD0\x00\x00\x00\x00\x00\x00";

    fn message(flags: u16, counts: [u8; 4], rest: &[&[u8]]) -> Vec<u8> {
        let [a, b, c, d] = counts;
        let [high, low] = flags.to_be_bytes();
        [&[0xAB, 0xCD, high, low, 0, a, 0, b, 0, c, 0, d][..], &rest.concat()].concat()
    }

    fn read(octets: Vec<u8>) -> Result<Response, Unusable> {
        Response::read(octets, 0xABCD, QUESTION)
    }

    #[test]
    fn what_is_said_to_this_hop_only_is_left_out() {
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
    fn only_the_name_may_come_in_another_case() {
        let question = [b"\x03WEB\x03COM\x00", &QUESTION[9..]].concat();
        assert_eq!(read(message(0x8183, [1, 0, 0, 0], &[&question])).unwrap().rcode, 3);
        // HTTPS is 65 ("A"), and 97 is "a"; the same in the class.
        for (at, asked, found) in [(10, 65, 97), (12, 65, 97), (9, 90, 122), (11, 90, 122)] {
            let with = |octet| {
                let mut question = QUESTION.to_vec();
                question[at] = octet;
                question
            };
            for (asked, found) in [(asked, found), (found, asked)] {
                let octets = message(0x8180, [1, 0, 0, 0], &[&with(found)]);
                assert_eq!(Response::read(octets, 0xABCD, &with(asked)).unwrap_err(), Unusable::Foreign);
                let octets = message(0x8180, [1, 0, 0, 0], &[&with(asked)]);
                assert!(Response::read(octets, 0xABCD, &with(asked)).is_ok());
            }
        }
    }

    #[test]
    fn what_belongs_to_another_query_is_foreign() {
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
        let other_id = Response::read(message(0x8180, [1, 0, 0, 0], &[QUESTION]), 1, QUESTION);
        assert_eq!(other_id.unwrap_err(), Unusable::Foreign);
    }

    #[test]
    fn an_alias_is_found_wherever_it_stands_and_its_name_without_pointers() {
        let alias = |parts: &[&[u8]], counts, name: &[u8]| {
            let question = [b"\x03WEB\x03COM\x00", &QUESTION[9..]].concat();
            let response = read(message(0x8180, counts, &[&question, &parts.concat()])).unwrap();
            response.alias(&LookupName::folded(name))
        };
        let (web, app) = (b"\x03web\x03com\x00", b"\x03App\x03COM\x00");
        assert_eq!(alias(&[ALIAS], [1, 1, 0, 0], web), Some((7, app.to_vec())));
        assert_eq!(alias(&[ADDRESS, ALIAS, ALIAS], [1, 3, 0, 0], web), Some((7, app.to_vec())));
        assert_eq!(alias(&[ALIAS], [1, 1, 0, 0], app), None, "of another name");
        assert_eq!(alias(&[ADDRESS, ALIAS], [1, 1, 1, 0], web), None, "in another section");
        let mut chaos = ALIAS.to_vec();
        chaos[5] = 3;
        assert_eq!(alias(&[&chaos], [1, 1, 0, 0], web), None, "of another class");
        // A pointer to itself, one to beyond the end, and a name that is too long.
        for target in [0xC025_u16, 0xFFFF] {
            let round = [&ALIAS[..11], &[2], &target.to_be_bytes()[..]].concat();
            assert_eq!(alias(&[&round], [1, 1, 0, 0], web), None);
        }
        let long = [&ALIAS[..10], &[1, 1], &b"\x01a".repeat(128)[..], b"\0"].concat();
        assert_eq!(alias(&[&long], [1, 1, 0, 0], web), None);
    }

    proptest! {
        /// Whatever an upstream sends: nothing panics, and records that are passed on are whole.
        #[test]
        fn any_octets_may_come(
            flags in prop_oneof![Just(0x8180), any::<u16>()],
            counts in prop::array::uniform3(0..3u8),
            parts in prop::collection::vec(
                prop_oneof![
                    4 => Just(ADDRESS.to_vec()),
                    2 => Just(ALIAS.to_vec()),
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
                let alias = response.alias(&LookupName::folded(b"\x03web\x03com\x00"));
                prop_assert!(alias.is_none_or(|(_, target)| target.len() <= LookupName::MAX));
                let _ = crate::wire::external::records(&response, b"\x03web\x03com\x00", 12, Some(1));
            }
        }
    }

    #[test]
    fn failures_and_malformed_responses_are_told_apart() {
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
    fn a_truncated_response_keeps_its_whole_records() {
        let whole = message(0x8380, [1, 2, 1, 0], &[QUESTION, ADDRESS, ADDRESS, ADDRESS]);
        let start = HEADER + QUESTION.len();
        for end in start..=whole.len() {
            let response = read(whole[..end].to_vec()).unwrap();
            let records = ((end - start) / ADDRESS.len()) as u16;
            assert!(response.truncated, "{end}");
            assert_eq!(response.all().counts, [records.min(2), records.saturating_sub(2), 0], "{end}");
            assert_eq!(response.octets().len(), start + usize::from(records) * ADDRESS.len(), "{end}");
            hickory_proto::op::Message::from_vec(response.octets()).unwrap();
        }
    }
}
