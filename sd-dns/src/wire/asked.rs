use super::{Edns, HEADER, MAX_UDP_PAYLOAD, Message, flag, kind, query::QueryHeader};
use crate::name_table::LookupName;

/// A question for upstreams. Equal questions have the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    /// As it stands in a packet, its name in lower case.
    question: Box<[u8]>,
    /// Authentic data, checking disabled: as in the header.
    flags: u16,
    dnssec_ok: bool,
}

/// An EDNS option (RFC 6891 section 6.1.2) that is sent with every query to an upstream. It only comes back
/// if the upstream sends our own queries to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker(pub(crate) [u8; 8]);

impl Marker {
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

    /// Whether a query has it. Long messages are not searched further than datagrams: ours are short.
    pub(crate) fn is_in(self, packet: &[u8]) -> bool {
        let (option, end) = (self.option(), packet.len().min(MAX_UDP_PAYLOAD.into()));
        packet[..end].windows(option.len()).any(|octets| octets == option)
    }
}

impl Asked {
    /// The question of a client's query, to be asked in the same way.
    pub(crate) fn by(question: &[u8], header: QueryHeader, edns: Option<Edns>) -> Self {
        let (name, rest) = question.split_at(question.len().saturating_sub(4));
        Self {
            question: [LookupName::folded(name).wire(), rest].concat().into(),
            flags: header.passed_flags(),
            dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
        }
    }

    /// The question for a name and type in class IN. The name is in wire form.
    pub(crate) fn new(name: &[u8], kind: u16) -> Self {
        let question = [LookupName::folded(name).wire(), &kind.to_be_bytes(), &[0, 1]].concat();
        Self { question: question.into(), flags: 0, dnssec_ok: false }
    }

    /// Whether DNSSEC records are asked for (the DO bit).
    pub(crate) fn wants_dnssec(&self) -> bool {
        self.dnssec_ok
    }

    /// As it stands in a packet, the name in lower case.
    pub(crate) fn question(&self) -> &[u8] {
        &self.question
    }

    /// The query. Without a marker it is one without EDNS.
    pub(crate) fn packet(&self, id: u16, marker: Option<Marker>) -> Vec<u8> {
        let mut packet = Vec::with_capacity(HEADER + self.question.len() + Message::OPT_LEN + Marker::LEN);
        let flags = flag::RD | self.flags;
        for word in [id, flags, 1, 0, 0, u16::from(marker.is_some())] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet.extend_from_slice(&self.question);
        if let Some(marker) = marker {
            let option = marker.option();
            let mut opt = [0; Message::OPT_LEN];
            opt[1..3].copy_from_slice(&kind::OPT.to_be_bytes());
            opt[3..5].copy_from_slice(&MAX_UDP_PAYLOAD.to_be_bytes());
            opt[7] = u8::from(self.dnssec_ok) << 7;
            opt[10] = option.len() as u8;
            packet.extend_from_slice(&opt);
            packet.extend_from_slice(&option);
        }
        packet
    }
}
