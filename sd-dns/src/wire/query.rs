//! Reads queries.

use super::{CLASS_IN, Edns, HEADER, flag, opt::Opt, rtype, u16_at};
use crate::name_table::LookupName;

/// Id and flags of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueryHeader {
    pub(crate) id: u16,
    flags: u16,
    /// Whether this server forwards queries.
    recursion_available: bool,
}

impl QueryHeader {
    /// Reads the header. `None` if it is incomplete or that of a response: to respond to either could start a loop of
    /// responses.
    pub(crate) fn read(packet: &[u8]) -> Option<Self> {
        let (id, flags) = (u16_at(packet, 0)?, u16_at(packet, 2)?);
        (packet.len() >= HEADER && flags & flag::QR == 0).then_some(Self {
            id,
            flags,
            recursion_available: false,
        })
    }

    /// The same header, at a server that forwards queries or does not.
    pub(crate) fn with_recursion(self, available: bool) -> Self {
        Self { recursion_available: available, ..self }
    }

    /// Whether the query may be forwarded: the server forwards, and the client desires recursion (RD).
    pub(crate) fn recurses(self) -> bool {
        self.recursion_available && self.flags & flag::RD != 0
    }

    /// The AD and CD bits, which a forwarded query has as well (RFC 4035 section 3.2.2, RFC 6840 section 5.7).
    pub(crate) fn forwarded_flags(self) -> u16 {
        self.flags & (flag::AD | flag::CD)
    }

    /// Whether its opcode is QUERY (RFC 1035 section 4.1.1).
    pub(crate) fn is_standard(self) -> bool {
        self.flags & flag::OPCODE == 0
    }

    /// The flags of every response: opcode and RD as in the query, and RA.
    pub(crate) fn response_flags(self) -> u16 {
        let available = if self.recursion_available { flag::RA } else { 0 };
        self.flags & (flag::OPCODE | flag::RD) | available
    }
}

/// The question of a query.
#[derive(Debug)]
pub(crate) struct Question<'p> {
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
    /// QNAME, QTYPE and QCLASS as they stand in the packet.
    pub(crate) octets: &'p [u8],
}

impl<'p> Question<'p> {
    /// Reads the question after the header. `None` if its name is longer than 255 octets or has anything but plain
    /// labels: no name stands before it that a pointer could refer to.
    pub(crate) fn read(packet: &'p [u8]) -> Option<Self> {
        let mut end = HEADER;
        // Stops at the longest legal name, however many labels follow.
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
        let (qtype, qclass) = (u16_at(packet, end + 1)?, u16_at(packet, end + 3)?);
        Some(Self { qtype, qclass, octets: &packet[HEADER..end + 5] })
    }

    /// QNAME as it stands in the packet.
    pub(crate) fn qname(&self) -> &'p [u8] {
        &self.octets[..self.octets.len() - 4]
    }

    /// Whether QTYPE is a data type or ANY, and no other meta type (RFC 6895 section 3.1).
    pub(crate) fn asks_for_data(&self) -> bool {
        !matches!(self.qtype, 0 | rtype::OPT | 128..=254)
    }
}

/// A common query, all of it checked.
#[derive(Debug)]
pub(crate) struct Query<'p> {
    pub(crate) header: QueryHeader,
    pub(crate) question: Question<'p>,
    pub(crate) edns: Option<Edns>,
}

impl<'p> Query<'p> {
    /// Reads a common query: opcode QUERY, one question for data of class IN, and no record but an OPT record of
    /// version 0 (RFC 6891). `None` for all other messages, which [`uncommon`](crate::response::uncommon) handles.
    pub(crate) fn read(header: QueryHeader, packet: &'p [u8]) -> Option<Self> {
        let counts: &[u8; 8] = packet.get(4..)?.first_chunk()?;
        let [0, 1, 0, 0, 0, 0, 0, additionals @ 0..=1] = *counts else {
            return None;
        };
        if !header.is_standard() {
            return None;
        }
        let question = Question::read(packet)?;
        if question.qclass != CLASS_IN || !question.asks_for_data() {
            return None;
        }
        let edns = match additionals {
            0 => None,
            _ => {
                let opt = Opt::read(packet.get(HEADER + question.octets.len()..)?)?;
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

    /// A query for the A records of `Web.x`, with these section counts and these octets after the question.
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
        assert_eq!(query.question.qname(), b"\x03Web\x01x\x00");
        assert_eq!((query.question.qtype, query.edns), (rtype::A, None));
        assert_eq!(query.question.octets, b"\x03Web\x01x\x00\x00\x01\x00\x01");
    }

    #[test]
    fn an_opt_record_is_read_without_its_options() {
        let cookie = [0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 7, 0, 10, 0, 3, 1, 2, 3];
        let edns = read(&packet(WITH_OPT, &cookie)).unwrap().edns;
        assert_eq!(edns, Some(Edns { payload: 4096, dnssec_ok: true }));
        for cut in 0..cookie.len() {
            assert!(read(&packet(WITH_OPT, &cookie[..cut])).is_none(), "{cut}");
        }
    }

    #[test]
    fn other_messages_are_not_common_queries() {
        let opt = [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0];
        for (at, byte) in [(1, 1), (2, 42), (6, 1)] {
            // The owner is not the root; another type; another version.
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
        for qtype in [0, 41, 128, 249, 251, 252, 254] {
            let mut meta = packet(PLAIN, &[]);
            let at = meta.len() - 3;
            meta[at] = qtype;
            assert!(read(&meta).is_none(), "{qtype}");
        }
    }

    #[test]
    fn qnames_are_plain_labels_of_at_most_255_octets() {
        let question = |name: &[u8]| {
            Question::read(&[&[0; HEADER][..], name, &[0, 1, 0, 1]].concat()).map(|found| found.qname().len())
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
    fn responses_and_incomplete_headers_are_not_queries() {
        let mut response = packet(PLAIN, &[]);
        assert!(QueryHeader::read(&response[..11]).is_none());
        assert!(QueryHeader::read(&response[..12]).is_some());
        response[2] |= 0x80;
        assert!(QueryHeader::read(&response).is_none());
    }
}
