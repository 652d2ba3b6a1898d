//! What the table holds for one name.

use std::{
    hash::Hash,
    net::{Ipv4Addr, Ipv6Addr},
};

use sd_core::{
    door,
    door::Selection,
    model::{DnsName, RecordType, RoutingPolicy},
    settings::RandomSource,
};

use super::record_set::{self, RecordSet, SrvData, Terms};

/// The record sets of a name.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The number of names below this one with records. While there are any, this name exists (RFC 4592 section 2.2.2).
    pub(super) below: u32,
    pub(super) a: Option<Box<RecordSet<Ipv4Addr>>>,
    pub(super) aaaa: Option<Box<RecordSet<Ipv6Addr>>>,
    pub(crate) cname: Option<Box<RecordSet<DnsName>>>,
    pub(crate) srv: Option<Box<RecordSet<SrvData>>>,
    /// Boxed together, because few names have any.
    pub(super) aliases: Option<Box<Aliases>>,
}

/// The targets of alias records, by the type of the question.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    pub(super) a: Option<Box<RecordSet<DnsName>>>,
    pub(super) aaaa: Option<Box<RecordSet<DnsName>>>,
}

/// Type and data of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(DnsName),
    Srv(SrvData),
    /// An alias record of type A or AAAA, and its target.
    Alias(RecordType, DnsName),
}

/// A record that an instance contributes to a record set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contribution {
    pub(super) data: Data,
    /// Whether the instance counts as healthy.
    pub(super) routable: bool,
    pub(super) terms: Terms,
}

impl Entry {
    /// Whether the name exists: it has records, or one below it has.
    pub(crate) fn exists(&self) -> bool {
        self.below > 0 || self.has_records()
    }

    pub(super) fn has_records(&self) -> bool {
        let Self { below: _, a, aaaa, cname, srv, aliases } = self;
        a.is_some() || aaaa.is_some() || cname.is_some() || srv.is_some() || aliases.is_some()
    }

    /// The candidates for A records.
    pub(crate) fn ipv4(&self) -> Option<AddressCandidates<'_, Ipv4Addr>> {
        AddressCandidates::of(
            self.a.as_deref(),
            self.aliases.as_ref().and_then(|aliases| aliases.a.as_deref()),
        )
    }

    /// The candidates for AAAA records.
    pub(crate) fn ipv6(&self) -> Option<AddressCandidates<'_, Ipv6Addr>> {
        AddressCandidates::of(
            self.aaaa.as_deref(),
            self.aliases.as_ref().and_then(|aliases| aliases.aaaa.as_deref()),
        )
    }

    pub(super) fn add(&mut self, contribution: Contribution) {
        let Contribution { data, routable, terms } = contribution;
        match data {
            Data::A(data) => add(&mut self.a, data, routable, terms),
            Data::Aaaa(data) => add(&mut self.aaaa, data, routable, terms),
            Data::Cname(data) => add(&mut self.cname, data, routable, terms),
            Data::Srv(data) => add(&mut self.srv, data, routable, terms),
            Data::Alias(kind, data) => {
                if let Some(aliases) = self.aliases.get_or_insert_default().of_type(kind) {
                    add(aliases, data, routable, terms);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, contribution: &Contribution) {
        let Contribution { data, routable, terms } = contribution;
        match data {
            Data::A(data) => remove(&mut self.a, data, *routable, *terms),
            Data::Aaaa(data) => remove(&mut self.aaaa, data, *routable, *terms),
            Data::Cname(data) => remove(&mut self.cname, data, *routable, *terms),
            Data::Srv(data) => remove(&mut self.srv, data, *routable, *terms),
            Data::Alias(kind, data) => {
                if let Some(aliases) = &mut self.aliases {
                    if let Some(aliases) = aliases.of_type(*kind) {
                        remove(aliases, data, *routable, *terms);
                    }
                    if aliases.a.is_none() && aliases.aaaa.is_none() {
                        self.aliases = None;
                    }
                }
            }
        }
    }
}

impl Aliases {
    /// The aliases of a type. `None` for types that alias records do not have.
    fn of_type(&mut self, kind: RecordType) -> Option<&mut Option<Box<RecordSet<DnsName>>>> {
        match kind {
            RecordType::A => Some(&mut self.a),
            RecordType::Aaaa => Some(&mut self.aaaa),
            RecordType::Cname | RecordType::Srv => None,
        }
    }
}

/// The candidates for the addresses of a name: its own addresses, and aliases.
#[derive(Debug)]
pub(crate) struct AddressCandidates<'e, D> {
    own: Option<&'e RecordSet<D>>,
    aliases: Option<&'e RecordSet<DnsName>>,
    selection: Selection,
    /// Candidates with this number and above are aliases.
    first_alias: u32,
}

/// An address, or the target of an alias that answers instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Candidate<'e, D> {
    Address(&'e D),
    Alias(&'e DnsName),
}

impl<'e, D: Eq + Hash> AddressCandidates<'e, D> {
    #[inline]
    fn of(own: Option<&'e RecordSet<D>>, aliases: Option<&'e RecordSet<DnsName>>) -> Option<Self> {
        let (selection, first_alias) = match (own, aliases) {
            (None, None) => return None,
            (Some(own), None) => (own.select(), u32::MAX),
            (None, Some(aliases)) => (aliases.select(), 0),
            (Some(own), Some(aliases)) => {
                let policies = [own.policy(), aliases.policy()];
                let policy = policies.into_iter().find(|policy| *policy != RoutingPolicy::Weighted);
                let healthy = own.healthy() + aliases.healthy();
                let policy = policy.unwrap_or(RoutingPolicy::Weighted);
                let selection = door::select(policy, healthy, own.len() + aliases.len());
                let first_alias = if healthy > 0 { own.healthy() } else { own.len() };
                (selection, u32::try_from(first_alias).unwrap_or(u32::MAX))
            }
        };
        Some(Self { own, aliases, selection, first_alias })
    }

    /// How many candidates there are, and how many of them a response has.
    pub(crate) fn selection(&self) -> Selection {
        self.selection
    }

    /// Whether several instances contribute the same candidate.
    pub(crate) fn is_shared(&self) -> bool {
        self.own.is_some_and(RecordSet::is_shared) || self.aliases.is_some_and(RecordSet::is_shared)
    }

    /// Draws an instance, all being equally likely, and returns the number of its candidate.
    #[cold]
    pub(crate) fn draw(&self, random: &dyn RandomSource) -> u32 {
        let pool = self.selection.pool;
        let own = self.own.into_iter().flat_map(|set| set.weights(pool));
        record_set::draw(own.chain(self.aliases.into_iter().flat_map(|set| set.weights(pool))), random)
    }

    /// The candidate with this number.
    #[inline]
    pub(crate) fn candidate(&self, number: u32) -> Option<Candidate<'e, D>> {
        match number.checked_sub(self.first_alias) {
            None => self.own?.candidate(number).map(Candidate::Address),
            Some(number) => self.aliases?.candidate(number).map(Candidate::Alias),
        }
    }

    /// The TTL of all addresses of the name, in seconds.
    pub(crate) fn ttl(&self) -> u32 {
        let ttls = self.own.map(RecordSet::ttl).into_iter().chain(self.aliases.map(RecordSet::ttl));
        ttls.min().unwrap_or_default()
    }
}

fn add<D: Eq + Hash>(set: &mut Option<Box<RecordSet<D>>>, data: D, routable: bool, terms: Terms) {
    match set {
        Some(set) => set.add(data, routable, terms),
        None => *set = Some(Box::new(RecordSet::of(data, routable, terms))),
    }
}

fn remove<D: Eq + Hash>(slot: &mut Option<Box<RecordSet<D>>>, data: &D, routable: bool, terms: Terms) {
    if let Some(set) = slot {
        set.remove(data, routable, terms);
        if set.is_empty() {
            *slot = None;
        }
    }
}
