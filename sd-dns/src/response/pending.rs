//! Responses that wait for an upstream or for the resolver of aliases.

use std::{mem, net::IpAddr};

use sd_core::{
    dns::MULTIVALUE_LIMIT,
    model::{DnsName, RecordType},
    settings::RandomSource,
};

use super::{ResponseBuilder, soa, upstream_records};
use crate::{
    alias::AliasAddresses,
    counters::ResponseSummary,
    name_table::{LookupName, Published},
    wire::{
        HEADER, Rcode, Section, SuspendedMessage, rtype, type_of, upstream_query::UpstreamQuery,
        upstream_response::UpstreamResponse,
    },
};

/// The highest TTL (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX as u32;

/// A response that waits for an upstream or for the resolver of aliases.
#[derive(Debug)]
pub(crate) struct PendingResponse {
    pub(super) message: SuspendedMessage,
    pub(super) missing: Missing,
    /// The summary of the response if nothing is found.
    pub(super) if_failed: ResponseSummary,
}

/// What a response waits for.
#[derive(Debug)]
pub(crate) enum Missing {
    /// The addresses of an alias's target.
    Addresses(PendingAlias),
    /// The records of the name that a CNAME chain leads to.
    ChainEnd(ChainEnd),
    /// The whole response: QNAME is in no zone.
    Response,
}

/// An alias record whose addresses are missing.
#[derive(Debug)]
pub(crate) struct PendingAlias {
    pub(super) drawn: DrawnAlias,
    /// The offset of the alias's own name.
    pub(super) at: usize,
    /// The zone of that name.
    pub(super) apex: Apex,
}

/// An alias record that was drawn among the candidates of a name.
#[derive(Debug)]
pub(super) struct DrawnAlias {
    /// A or AAAA.
    pub(super) kind: RecordType,
    pub(super) target: DnsName,
}

/// The end of a CNAME chain, a name in none of our zones.
#[derive(Debug)]
pub(crate) struct ChainEnd {
    /// In wire form, lower case.
    pub(super) target: Box<[u8]>,
    /// The offset of the name.
    pub(super) at: usize,
    /// The names before it.
    pub(super) chain: Vec<LookupName>,
}

/// The name of a zone in a message.
#[derive(Debug)]
pub(super) struct Apex {
    /// The offset of the name.
    pub(super) at: usize,
    pub(super) len: usize,
    /// In seconds.
    pub(super) soa_ttl: u32,
}

impl PendingAlias {
    /// The name whose addresses are missing.
    pub(crate) fn target(&self) -> &DnsName {
        &self.drawn.target
    }

    /// The type of the addresses: A or AAAA.
    pub(crate) fn kind(&self) -> RecordType {
        self.drawn.kind
    }
}

impl PendingResponse {
    pub(crate) fn missing(&self) -> &Missing {
        &self.missing
    }

    /// The query that an upstream can answer.
    pub(crate) fn upstream_query(&self) -> UpstreamQuery {
        match &self.missing {
            Missing::Addresses(alias) => UpstreamQuery::new(alias.target().as_wire(), type_of(alias.kind())),
            Missing::ChainEnd(end) => UpstreamQuery::new(&end.target, self.qtype()),
            Missing::Response => {
                let (header, edns) = (self.message.header(), self.message.edns());
                UpstreamQuery::of_client(self.message.question(), header, edns)
            }
        }
    }

    fn qtype(&self) -> u16 {
        self.if_failed.qtype.unwrap_or_default()
    }

    /// Appends the response, with the records of an upstream. If their CNAME chain leads into one of our zones, that zone
    /// answers from there on (RFC 1034 section 4.3.2, step 3a). The error is a response that waits again.
    pub(crate) fn forward(
        &self,
        response: &UpstreamResponse,
        published: &Published,
        random: &dyn RandomSource,
        out: &mut Vec<u8>,
    ) -> Result<ResponseSummary, Box<Self>> {
        let (name, mut at, chain) = match &self.missing {
            Missing::Response => (self.message.qname(), HEADER, &[][..]),
            Missing::ChainEnd(end) => (&*end.target, end.at, &*end.chain),
            Missing::Addresses(_) => return Ok(self.fail(out)),
        };
        let cnames = match self.qtype() {
            // The CNAME record itself is the answer.
            rtype::CNAME | rtype::ANY => None,
            _ => upstream_records::chain_into_zone(response, name, published),
        };
        let Some(cnames) = cnames else {
            return Ok(self.forward_as_it_is(response, out));
        };
        let mut message = self.message.resume(out);
        let mut name = LookupName::folded(name);
        let mut earlier = chain.to_vec();
        for (ttl, target) in cnames {
            message.record(Section::Answer, at, rtype::CNAME, ttl, target.len(), &[]);
            at = message.position();
            message.push(&target);
            earlier.push(mem::replace(&mut name, LookupName::folded(&target)));
        }
        let mut builder = ResponseBuilder {
            published,
            random,
            recurses: self.message.header().recurses(),
            qtype: self.qtype(),
            qname: self.message.qname(),
            message,
            drawn: None,
            zone: self.if_failed.zone,
            earlier: &earlier,
        };
        let resolution = builder.follow(&mut name, at, None);
        builder.end(resolution)
    }

    /// Appends the response: the upstream's, or our part of the chain and the upstream's records.
    fn forward_as_it_is(&self, response: &UpstreamResponse, out: &mut Vec<u8>) -> ResponseSummary {
        let rcode = response.rcode;
        match &self.missing {
            Missing::Response => self.message.forward(response, out),
            Missing::ChainEnd(end) => {
                let Some(records) =
                    upstream_records::chain_end(response, &end.target, end.at, self.if_failed.qtype)
                else {
                    return self.fail(out);
                };
                let mut message = self.message.resume(out);
                for (section, record) in &records {
                    message.encoded_record(*section, record);
                }
                if response.truncated {
                    message.set_truncated();
                }
                message.finish(rcode);
            }
            Missing::Addresses(_) => return self.fail(out),
        }
        ResponseSummary { rcode, forwarded: true, ..self.if_failed }
    }

    /// Appends the response: the addresses of the alias's target, under the alias's own name.
    pub(crate) fn finish(
        &self,
        alias: &PendingAlias,
        found: &AliasAddresses,
        out: &mut Vec<u8>,
    ) -> ResponseSummary {
        let mut message = self.message.resume(out);
        let ttl = found.ttl.min(MAX_TTL);
        let mut written: Vec<IpAddr> = Vec::with_capacity(MULTIVALUE_LIMIT);
        for &address in &found.addresses {
            let is_wanted = match alias.kind() {
                RecordType::A => address.is_ipv4(),
                RecordType::Aaaa => address.is_ipv6(),
                RecordType::Cname | RecordType::Srv => false,
            };
            if !is_wanted || written.contains(&address) {
                continue;
            }
            match address {
                IpAddr::V4(address) => {
                    message.record(Section::Answer, alias.at, rtype::A, ttl, 4, &address.octets());
                }
                IpAddr::V6(address) => {
                    message.record(Section::Answer, alias.at, rtype::AAAA, ttl, 16, &address.octets());
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
        ResponseSummary { rcode: Rcode::NoError.into(), ..self.if_failed }
    }

    /// Appends a SERVFAIL response.
    pub(crate) fn fail(&self, out: &mut Vec<u8>) -> ResponseSummary {
        self.message.fail(self.if_failed.rcode, out);
        ResponseSummary { forwarded: false, ..self.if_failed }
    }
}
