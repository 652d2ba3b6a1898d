use super::{CLASS_IN, Edns, HEADER, flag, kind, sections::Opt, u16_at};
use crate::name_table::LookupName;

/// Id and flags of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueryHeader {
    pub(crate) id: u16,
    flags: u16,
    /// Whether other servers are asked for what is not known here.
    recursion_available: bool,
}

impl QueryHeader {
    /// The header of a message that may be answered. `None` if it is cut off or that of a response: an answer to either
    /// could be answered again, without end.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let (id, flags) = (u16_at(packet, 0)?, u16_at(packet, 2)?);
        (packet.len() >= HEADER && flags & flag::QR == 0).then_some(Self {
            id,
            flags,
            recursion_available: false,
        })
    }

    /// The same; other servers may be asked for what is not known here.
    pub(crate) fn with_recursion(self, available: bool) -> Self {
        Self { recursion_available: available, ..self }
    }

    /// Whether other servers are to be asked for what is not known here.
    pub(crate) fn recurses(self) -> bool {
        self.recursion_available && self.flags & flag::RD != 0
    }

    /// What a server that is asked in turn is told as well: whether authentic data is understood, and whether checking is
    /// disabled (RFC 4035 section 3.2.2, RFC 6840 section 5.7).
    pub(crate) fn passed_flags(self) -> u16 {
        self.flags & (flag::AD | flag::CD)
    }

    /// Whether it is a standard query (RFC 1035 section 4.1.1).
    pub(crate) fn is_standard(self) -> bool {
        self.flags & flag::OPCODE == 0
    }

    /// What every answer says: the opcode and whether recursion is desired, as in the query, and whether it is available.
    pub(crate) fn answer_flags(self) -> u16 {
        let available = if self.recursion_available { flag::RA } else { 0 };
        self.flags & (flag::OPCODE | flag::RD) | available
    }
}

/// A question that stands in a packet.
#[derive(Debug)]
pub(crate) struct Question<'p> {
    pub(crate) kind: u16,
    pub(crate) class: u16,
    /// As it stands in the packet.
    pub(crate) raw: &'p [u8],
}

impl<'p> Question<'p> {
    /// Reads the question after the header. `None` if its name is not made of plain labels within 255 octets: there is
    /// nothing before it that a pointer could point to.
    pub(crate) fn read(packet: &'p [u8]) -> Option<Self> {
        let mut end = HEADER;
        // A longer name is refused, however many more labels follow.
        while end < HEADER + LookupName::MAX {
            match *packet.get(end)? {
                0 => break,
                len @ 1..=63 => end += 1 + usize::from(len),
                64.. => return None,
            }
        }
        if end + 1 - HEADER > LookupName::MAX {
            return None;
        }
        let (kind, class) = (u16_at(packet, end + 1)?, u16_at(packet, end + 3)?);
        Some(Self { kind, class, raw: &packet[HEADER..end + 5] })
    }

    /// The name that is asked for, as it stands in the packet.
    pub(crate) fn name(&self) -> &'p [u8] {
        &self.raw[..self.raw.len() - 4]
    }

    /// Whether it asks for the data of records, and not for something that is done to them (RFC 6895 section 3.1).
    pub(crate) fn asks_for_data(&self) -> bool {
        !matches!(self.kind, 0 | kind::OPT | 128..=254)
    }
}

/// A query of the usual kind, all of it checked.
#[derive(Debug)]
pub(crate) struct Query<'p> {
    pub(crate) header: QueryHeader,
    pub(crate) question: Question<'p>,
    pub(crate) edns: Option<Edns>,
}

impl<'p> Query<'p> {
    /// Reads a query of the usual kind: one question for data of class IN, and nothing else but an OPT record of
    /// version 0 (RFC 6891). `None` for all that needs a closer look.
    pub(crate) fn read(header: QueryHeader, packet: &'p [u8]) -> Option<Self> {
        let counts: &[u8; 8] = packet.get(4..)?.first_chunk()?;
        let [0, 1, 0, 0, 0, 0, 0, additionals @ 0..=1] = *counts else {
            return None;
        };
        if !header.is_standard() {
            return None;
        }
        let question = Question::read(packet)?;
        if question.class != CLASS_IN || !question.asks_for_data() {
            return None;
        }
        let edns = match additionals {
            0 => None,
            _ => {
                let opt = Opt::read(packet.get(HEADER + question.raw.len()..)?)?;
                if opt.version > 0 {
                    return None;
                }
                Some(opt.edns)
            }
        };
        Some(Self { header, question, edns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(packet: &[u8]) -> Option<Query<'_>> {
        Query::read(QueryHeader::read(packet)?, packet)
    }

    /// A query for the A records of `Web.x`, with these counts and this after the question.
    fn packet(counts: [u8; 8], rest: &[u8]) -> Vec<u8> {
        [&[0xAB, 0xCD, 1, 0][..], &counts, b"\x03Web\x01x\x00\x00\x01\x00\x01", rest].concat()
    }

    const PLAIN: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 0];
    const WITH_OPT: [u8; 8] = [0, 1, 0, 0, 0, 0, 0, 1];

    #[test]
    fn a_plain_query_is_read() {
        let packet = packet(PLAIN, &[]);
        let query = read(&packet).unwrap();
        assert_eq!(query.header.id, 0xABCD);
        assert_eq!(query.question.name(), b"\x03Web\x01x\x00");
        assert_eq!((query.question.kind, query.edns), (kind::A, None));
        assert_eq!(query.question.raw, b"\x03Web\x01x\x00\x00\x01\x00\x01");
    }

    #[test]
    fn an_opt_record_is_read_and_its_options_are_skipped() {
        let cookie = [0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 7, 0, 10, 0, 3, 1, 2, 3];
        let edns = read(&packet(WITH_OPT, &cookie)).unwrap().edns;
        assert_eq!(edns, Some(Edns { payload: 4096, dnssec_ok: true }));
        for cut in 0..cookie.len() {
            assert!(read(&packet(WITH_OPT, &cookie[..cut])).is_none(), "{cut}");
        }
    }

    #[test]
    fn everything_else_needs_a_closer_look() {
        let opt = [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
        for (at, byte) in [(1, 1), (2, 42), (6, 1)] {
            // A name that is not the root's, another type, another version.
            let mut other = opt;
            other[at] = byte;
            assert!(read(&packet(WITH_OPT, &other)).is_none(), "{at}");
        }
        assert!(read(&packet([0, 2, 0, 0, 0, 0, 0, 0], &[])).is_none());
        assert!(read(&packet([0, 1, 0, 1, 0, 0, 0, 0], &[])).is_none());
        assert!(read(&packet([0, 1, 0, 0, 0, 1, 0, 0], &[])).is_none());
        assert!(read(&packet([0, 1, 0, 0, 0, 0, 0, 2], &opt.repeat(2))).is_none());
        let mut notify = packet(PLAIN, &[]);
        notify[2] = 0x20;
        assert!(read(&notify).is_none());
        for kind in [0, 41, 128, 249, 251, 252, 254] {
            let mut meta = packet(PLAIN, &[]);
            let at = meta.len() - 3;
            meta[at] = kind;
            assert!(read(&meta).is_none(), "{kind}");
        }
    }

    #[test]
    fn names_are_plain_labels_of_at_most_255_octets() {
        let question = |name: &[u8]| {
            Question::read(&[&[0; HEADER][..], name, &[0, 1, 0, 1]].concat()).map(|found| found.name().len())
        };
        assert_eq!(question(b"\0"), Some(1));
        assert_eq!(question(&[&b"\x01a".repeat(127)[..], b"\0"].concat()), Some(255));
        assert_eq!(question(&[&b"\x01a".repeat(128)[..], b"\0"].concat()), None);
        assert_eq!(question(b"\xC0\x0C"), None);
        assert_eq!(question(b"\x40a\0"), None);
        assert_eq!(question(b"\x80a\0"), None);
        assert_eq!(question(b"\x05ab\0"), None);
    }

    #[test]
    fn responses_and_fragments_are_nothing_to_answer() {
        let mut response = packet(PLAIN, &[]);
        assert!(QueryHeader::read(&response[..11]).is_none());
        assert!(QueryHeader::read(&response[..12]).is_some());
        response[2] |= 0x80;
        assert!(QueryHeader::read(&response).is_none());
    }
}
