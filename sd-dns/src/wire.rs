//! DNS messages as bytes (RFC 1035 section 4): what a query asks, and the answer to it.

pub(crate) mod answer;
pub(crate) mod asked;
mod external;
mod message;
pub(crate) mod query;
pub(crate) mod response;
pub(crate) mod sections;

use sd_core::records::SRV_PRIORITY_AND_WEIGHT;

pub(crate) use message::{Message, Rcode, Section, Suspended};

/// How a query came, which decides how large its answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a message comes in a datagram or in a stream")]
pub enum Transport {
    /// In a datagram: at most 512 octets, or what EDNS allows, up to 1232.
    Udp,
    /// In a stream, without the length before it: at most 65 535 octets.
    Tcp,
}

/// The length of a message's header.
pub(crate) const HEADER: usize = 12;

/// The payload that is advertised and never exceeded over UDP: it fits the smallest MTU of IPv6 (DNS flag day 2020).
pub(crate) const MAX_UDP_PAYLOAD: u16 = 1232;

/// The payload of a client that says nothing (RFC 1035 section 2.3.4).
pub(crate) const MIN_UDP_PAYLOAD: u16 = 512;

pub(crate) const CLASS_IN: u16 = 1;

/// Flags of a header's second word (RFC 1035 section 4.1.1, RFC 4035 section 3).
pub(crate) mod flag {
    pub(crate) const QR: u16 = 0x8000;
    /// Four bits.
    pub(crate) const OPCODE: u16 = 0x7800;
    pub(crate) const AA: u16 = 0x0400;
    pub(crate) const TC: u16 = 0x0200;
    pub(crate) const RD: u16 = 0x0100;
    pub(crate) const RA: u16 = 0x0080;
    pub(crate) const AD: u16 = 0x0020;
    pub(crate) const CD: u16 = 0x0010;
    /// Four bits.
    pub(crate) const RCODE: u16 = 0x000F;
}

/// Types of records and of questions.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
}

/// What a client can receive, and whether it said so by EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edns {
    /// The client's payload in octets, as sent.
    pub(crate) payload: u16,
    pub(crate) dnssec_ok: bool,
}

impl Transport {
    /// The most octets of an answer.
    pub(crate) fn limit(self, edns: Option<Edns>) -> usize {
        match (self, edns) {
            (Self::Tcp, _) => usize::from(u16::MAX),
            (Self::Udp, None) => usize::from(MIN_UDP_PAYLOAD),
            (Self::Udp, Some(edns)) => usize::from(edns.payload.clamp(MIN_UDP_PAYLOAD, MAX_UDP_PAYLOAD)),
        }
    }
}

/// Priority and weight of an SRV record, in wire form.
pub(crate) fn srv_priority_and_weight() -> [u8; 4] {
    let [high, low] = SRV_PRIORITY_AND_WEIGHT.to_be_bytes();
    [high, low, high, low]
}

/// The big-endian number at this place of a packet.
pub(crate) fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}
