//! Finds the OPT record of a query without following compression pointers.
//!
//! The other records are skipped. A pointer takes its sender two octets and a reader up to 255, so following pointers
//! would make the cost of a packet many times its size.

use super::{Edns, HEADER, query::Question, rtype, u16_at};
use crate::name_table::LookupName;

/// The most steps through one query. It allows 40 records with short names. Queries that need more are malformed;
/// real clients send one or two records. It bounds the cost of a message of 65 535 octets.
pub(crate) const MAX_STEPS: usize = 160;

/// The steps of a record without its owner name, in proportion to the work.
const RECORD: usize = 4;
/// The steps of a label.
const LABEL: usize = 1;

/// An OPT record (RFC 6891 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opt {
    pub(crate) edns: Edns,
    /// Only version 0 is supported.
    pub(crate) version: u8,
}

/// The sections are malformed, or have too many records or labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Opt {
    /// Reads the OPT record at the start of `record`. `None` if it is another record or incomplete.
    ///
    /// Options are skipped: this server supports none, and unknown ones are ignored (RFC 6891 section 6.1.2).
    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        let (fixed, options) = record.split_first_chunk::<11>()?;
        let [0, 0, 41, payload @ .., _, version, flags, _, len_high, len_low] = *fixed else {
            return None;
        };
        options.get(..usize::from(u16::from_be_bytes([len_high, len_low])))?;
        let edns = Edns { payload: u16::from_be_bytes(payload), dnssec_ok: flags & 0x80 != 0 };
        Some(Self { edns, version })
    }
}

/// Finds the OPT record of a query. `question` is its only question; `None` if it has several questions, or one that
/// [`Question::read`] rejects.
///
/// # Errors
/// The sections are malformed, have several OPT records or one outside of the additional section, or take more than
/// [`MAX_STEPS`].
pub(crate) fn find(packet: &[u8], question: Option<&Question<'_>>) -> Result<Option<Opt>, Malformed> {
    find_in_steps(packet, question, &mut { MAX_STEPS })
}

fn find_in_steps(
    packet: &[u8],
    question: Option<&Question<'_>>,
    steps: &mut usize,
) -> Result<Option<Opt>, Malformed> {
    let count = |section: usize| u16_at(packet, 4 + 2 * section).ok_or(Malformed);
    let mut cursor = Cursor { packet, at: HEADER, steps };
    match question {
        Some(question) => cursor.at += question.octets.len(),
        None => (0..count(0)?).try_for_each(|_| cursor.question()).ok_or(Malformed)?,
    }
    let mut found = None;
    for section in 1..=3 {
        for _ in 0..count(section)? {
            let start = cursor.at;
            if cursor.record().ok_or(Malformed)? != rtype::OPT {
                continue;
            }
            if section < 3 || found.is_some() {
                return Err(Malformed);
            }
            found = Some(Opt::read(&packet[start..]).ok_or(Malformed)?);
        }
    }
    Ok(found)
}

/// A position in a message. `None` from its methods means that the message is malformed.
struct Cursor<'p, 's> {
    packet: &'p [u8],
    at: usize,
    /// The steps that are left.
    steps: &'s mut usize,
}

impl Cursor<'_, '_> {
    /// The octets between owner name and RDATA: TYPE, CLASS, TTL and RDLENGTH.
    const FIXED: usize = 10;

    /// Skips a name. A pointer is not followed.
    fn name(&mut self) -> Option<()> {
        let start = self.at;
        loop {
            match *self.packet.get(self.at)? {
                0 => {
                    self.at += 1;
                    break;
                }
                len @ 1..=63 => {
                    step(self.steps, LABEL)?;
                    self.at += 1 + usize::from(len);
                }
                0xC0.. => {
                    self.at += 2;
                    break;
                }
                64.. => return None,
            }
        }
        (self.at - start <= LookupName::MAX).then_some(())
    }

    fn question(&mut self) -> Option<()> {
        step(self.steps, RECORD)?;
        self.name()?;
        self.at += 4;
        (self.at <= self.packet.len()).then_some(())
    }

    /// Skips a record and returns its type.
    fn record(&mut self) -> Option<u16> {
        step(self.steps, RECORD)?;
        self.name()?;
        let (rtype, len) = (u16_at(self.packet, self.at)?, u16_at(self.packet, self.at + Self::FIXED - 2)?);
        self.at += Self::FIXED + usize::from(len);
        (self.at <= self.packet.len()).then_some(rtype)
    }
}

fn step(steps: &mut usize, cost: usize) -> Option<()> {
    *steps = steps.checked_sub(cost)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPT: &[u8] = &[0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0];
    /// `web.x IN A`.
    const QUESTION: &[u8] = b"\x03web\x01x\0\0\x01\0\x01";
    /// An empty TXT record whose owner is a pointer to the question.
    const TXT: &[u8] = &[0xC0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0];
    const FOUND: Opt = Opt { edns: Edns { payload: 4096, dnssec_ok: true }, version: 0 };

    fn message(counts: [u16; 4], sections: &[&[u8]]) -> Vec<u8> {
        let counts = counts.map(u16::to_be_bytes).concat();
        [&[0; 4][..], &counts, &sections.concat()].concat()
    }

    /// The result, and the number of steps.
    fn find_and_count(packet: &[u8]) -> (Result<Option<Opt>, Malformed>, usize) {
        let question = if packet[5] == 1 { Question::read(packet) } else { None };
        let mut steps = MAX_STEPS;
        let found = find_in_steps(packet, question.as_ref(), &mut steps);
        assert_eq!(find(packet, question.as_ref()), found);
        (found, MAX_STEPS - steps)
    }

    fn found(packet: &[u8]) -> Result<Option<Opt>, Malformed> {
        find_and_count(packet).0
    }

    #[test]
    fn the_opt_record_is_found_anywhere_in_the_additional_section() {
        for place in 0..3 {
            let mut records = [TXT; 3];
            records[place] = OPT;
            let packet = message([1, 1, 2, 3], &[QUESTION, &TXT.repeat(3), &records.concat()]);
            assert_eq!(found(&packet), Ok(Some(FOUND)), "{place}");
        }
        assert_eq!(found(&message([1, 1, 2, 3], &[QUESTION, &TXT.repeat(6)])), Ok(None));
        assert_eq!(found(&message([0, 0, 0, 1], &[OPT])), Ok(Some(FOUND)));
        assert_eq!(found(&message([2, 0, 0, 1], &[QUESTION, QUESTION, OPT])), Ok(Some(FOUND)));
    }

    #[test]
    fn several_opt_records_and_those_in_other_sections_are_malformed() {
        for counts in [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 2], [1, 1, 0, 1]] {
            assert_eq!(found(&message(counts, &[QUESTION, OPT, OPT])), Err(Malformed), "{counts:?}");
        }
        let named = [&[1, b'x'], OPT].concat();
        assert_eq!(found(&message([1, 0, 0, 1], &[QUESTION, &named])), Err(Malformed));
    }

    #[test]
    fn versions_are_read_and_options_are_skipped() {
        for version in [0, 7] {
            let record = [0, 0, 41, 0x10, 0, 0, version, 0x80, 0, 0, 3, 1, 2, 3];
            let expected = Opt { version, ..FOUND };
            assert_eq!(found(&message([1, 0, 0, 1], &[QUESTION, &record])), Ok(Some(expected)));
        }
    }

    #[test]
    fn incomplete_sections_are_malformed() {
        let option = [0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 6, 0, 10, 0, 2, 1, 2];
        let packet = message([2, 1, 1, 2], &[QUESTION, QUESTION, &TXT.repeat(3), &option]);
        assert_eq!(found(&packet), Ok(Some(FOUND)));
        for end in HEADER..packet.len() {
            assert_eq!(found(&packet[..end]), Err(Malformed), "{end}");
        }
    }

    #[test]
    fn names_have_known_labels_and_at_most_255_octets() {
        let record = |name: &[u8]| {
            let record = [name, &TXT[2..]].concat();
            found(&message([1, 1, 0, 0], &[QUESTION, &record]))
        };
        let longest = b"\x3Faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(3);
        assert_eq!(record(&[&longest[..], &[61], &[b'a'; 61], &[0]].concat()), Ok(None));
        assert_eq!(record(&[&longest[..], &[62], &[b'a'; 62], &[0]].concat()), Err(Malformed));
        assert_eq!(record(b"\x01a\xFF\xFF"), Ok(None));
        assert_eq!(record(b"\x40a\0"), Err(Malformed));
        assert_eq!(record(b"\x80a\0"), Err(Malformed));
    }

    #[test]
    fn the_largest_messages_exceed_the_steps() {
        let name = [&b"\x01a".repeat(127)[..], b"\0"].concat();
        let question = [&name[..], &[0, 1, 0, 1]].concat();
        let pointers = [0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, 2, 0xC0, 12];
        let labels = [&name[..], &TXT[2..]].concat();
        for (count, record) in [(67, &pointers[..]), (4660, &pointers), (240, &labels)] {
            let packet = message([1, 0, 0, count], &[&question, &record.repeat(count.into())]);
            assert_eq!(found(&packet), Err(Malformed));
        }
        assert_eq!(found(&message([0xFFFF, 0, 0, 0], &[&question.repeat(240)])), Err(Malformed));
    }

    #[test]
    fn steps_grow_with_records_and_labels() {
        let labels = [&b"\x01a".repeat(127)[..], b"\0", &TXT[2..]].concat();
        for (records, counts, expected) in [
            (&TXT.repeat(3)[..], [1, 3, 0, 0], 12),
            (&labels, [1, 1, 0, 0], 131),
            (OPT, [1, 0, 0, 1], 4),
            (&[QUESTION, QUESTION].concat(), [3, 0, 0, 0], 18),
        ] {
            let packet = message(counts, &[QUESTION, records]);
            let (found, steps) = find_and_count(&packet);
            assert!(found.is_ok());
            assert_eq!(steps, expected);
        }
    }

    #[test]
    fn a_query_has_at_most_forty_records() {
        let of = |count: usize| found(&message([1, 0, count as u16, 0], &[QUESTION, &TXT.repeat(count)]));
        assert_eq!(of(40), Ok(None));
        assert_eq!(of(41), Err(Malformed));
    }
}
