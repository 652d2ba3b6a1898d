//! Queries to upstreams.

use super::{Edns, HEADER, MAX_UDP_PAYLOAD, MessageWriter, flag, query::QueryHeader, rtype};
use crate::name_table::LookupName;

/// What an upstream is asked. Equal queries get the same response, so the cache is keyed by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamQuery {
    /// As it stands in a packet, with QNAME in lower case.
    question: Box<[u8]>,
    /// The AD and CD bits of the header.
    flags: u16,
    dnssec_ok: bool,
}

/// An EDNS option (RFC 6891 section 6.1.2) of 8 random octets that every query to an upstream has. A query that this
/// server receives with it is one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoopMarker(pub(crate) [u8; 8]);

impl LoopMarker {
    /// The first code for local use (RFC 6891 section 9).
    const CODE: u16 = 65_001;
    const LEN: usize = 12;

    fn option(self) -> [u8; Self::LEN] {
        let mut option = [0; Self::LEN];
        option[..2].copy_from_slice(&Self::CODE.to_be_bytes());
        option[3] = 8;
        option[4..].copy_from_slice(&self.0);
        option
    }

    /// Whether a packet has the option. Only the length of a datagram is searched, because our queries are short.
    pub(crate) fn is_in(self, packet: &[u8]) -> bool {
        let (option, end) = (self.option(), packet.len().min(MAX_UDP_PAYLOAD.into()));
        packet[..end].windows(option.len()).any(|octets| octets == option)
    }
}

impl UpstreamQuery {
    /// The query that forwards a client's: the same question, AD, CD and DO.
    pub(crate) fn of_client(question: &[u8], header: QueryHeader, edns: Option<Edns>) -> Self {
        let (qname, rest) = question.split_at(question.len().saturating_sub(4));
        Self {
            question: [LookupName::folded(qname).wire(), rest].concat().into(),
            flags: header.forwarded_flags(),
            dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
        }
    }

    /// A query of class IN. `qname` is in wire form.
    pub(crate) fn new(qname: &[u8], qtype: u16) -> Self {
        let question = [LookupName::folded(qname).wire(), &qtype.to_be_bytes(), &[0, 1]].concat();
        Self { question: question.into(), flags: 0, dnssec_ok: false }
    }

    /// The DO bit.
    pub(crate) fn wants_dnssec(&self) -> bool {
        self.dnssec_ok
    }

    /// The question as it stands in a packet, with QNAME in lower case.
    pub(crate) fn question(&self) -> &[u8] {
        &self.question
    }

    /// The message in wire form. Without a marker it has no EDNS.
    pub(crate) fn encode(&self, id: u16, marker: Option<LoopMarker>) -> Vec<u8> {
        let mut packet =
            Vec::with_capacity(HEADER + self.question.len() + MessageWriter::OPT_LEN + LoopMarker::LEN);
        let flags = flag::RD | self.flags;
        for word in [id, flags, 1, 0, 0, u16::from(marker.is_some())] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet.extend_from_slice(&self.question);
        if let Some(marker) = marker {
            let option = marker.option();
            let mut opt = [0; MessageWriter::OPT_LEN];
            opt[1..3].copy_from_slice(&rtype::OPT.to_be_bytes());
            opt[3..5].copy_from_slice(&MAX_UDP_PAYLOAD.to_be_bytes());
            opt[7] = u8::from(self.dnssec_ok) << 7;
            opt[10] = option.len() as u8;
            packet.extend_from_slice(&opt);
            packet.extend_from_slice(&option);
        }
        packet
    }
}
