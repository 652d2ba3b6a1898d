//! DNS messages as octets (RFC 1035 section 4): queries are read in place, responses are written into a buffer.

mod message;
pub(crate) mod opt;
pub(crate) mod query;
pub(crate) mod upstream_query;
pub(crate) mod upstream_response;

use sd_core::{dns::SRV_PRIORITY_AND_WEIGHT, model::RecordType};

pub(crate) use message::{MessageWriter, Rcode, Section, SuspendedMessage};

/// The transport of a query. It limits the size of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the two transports of RFC 1035 section 4.2")]
pub enum Transport {
    /// A UDP datagram. The response has at most 512 octets, or what the client's EDNS allows, up to 1232.
    Udp,
    /// A TCP stream. The response has at most 65 535 octets. The two-octet length before a message is not part of
    /// the message.
    Tcp,
}

/// The length of a message's header.
pub(crate) const HEADER: usize = 12;

/// The UDP payload size that this server announces and never exceeds. It fits the smallest MTU of IPv6 (DNS flag day
/// 2020).
pub(crate) const MAX_UDP_PAYLOAD: u16 = 1232;

/// The UDP payload size of a client without EDNS (RFC 1035 section 2.3.4).
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

/// TYPE and QTYPE values (RFC 1035 sections 3.2.2 and 3.2.3).
pub(crate) mod rtype {
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

/// The TYPE value of a record type.
pub(crate) const fn type_of(kind: RecordType) -> u16 {
    match kind {
        RecordType::A => rtype::A,
        RecordType::Aaaa => rtype::AAAA,
        RecordType::Cname => rtype::CNAME,
        RecordType::Srv => rtype::SRV,
    }
}

/// What the OPT record of a query says (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edns {
    /// The client's UDP payload size in octets, as sent.
    pub(crate) payload: u16,
    /// The DO bit.
    pub(crate) dnssec_ok: bool,
}

impl Transport {
    /// The maximum size of a response in octets.
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

/// The big-endian number at this offset of a packet.
pub(crate) fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}
