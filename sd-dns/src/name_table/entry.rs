use std::{
    hash::Hash,
    net::{Ipv4Addr, Ipv6Addr},
};

use sd_core::{
    model::{RecordType, RoutingPolicy},
    name::DnsName,
    random::RandomSource,
    records::{self, Selection},
};

use super::record_set::{self, RecordSet, Srv, Term};

/// What a name has.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// How many names below this one have records: it exists as long as there are any (RFC 4592 section 2.2.2).
    pub(super) below: u32,
    pub(super) a: Option<Box<RecordSet<Ipv4Addr>>>,
    pub(super) aaaa: Option<Box<RecordSet<Ipv6Addr>>>,
    pub(crate) cname: Option<Box<RecordSet<DnsName>>>,
    pub(crate) srv: Option<Box<RecordSet<Srv>>>,
    /// Few names have any.
    pub(super) aliases: Option<Box<Aliases>>,
}

/// The targets of aliases, by the type that they are asked for.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    pub(super) a: Option<Box<RecordSet<DnsName>>>,
    pub(super) aaaa: Option<Box<RecordSet<DnsName>>>,
}

/// The type and data of a record, as an entry holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(DnsName),
    Srv(Srv),
    /// Of type A or AAAA.
    Alias(RecordType, DnsName),
}

/// One record that an instance gives, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) data: Data,
    pub(super) routable: bool,
    pub(super) term: Term,
}

impl Entry {
    /// Whether the name exists: it has records, or one below it has.
    pub(crate) fn exists(&self) -> bool {
        self.below > 0 || self.has_records()
    }

    pub(super) fn has_records(&self) -> bool {
        self.a.is_some()
            || self.aaaa.is_some()
            || self.cname.is_some()
            || self.srv.is_some()
            || self.aliases.is_some()
    }

    /// What A records are drawn from.
    pub(crate) fn ipv4(&self) -> Option<Addresses<'_, Ipv4Addr>> {
        Addresses::of(self.a.as_deref(), self.aliases.as_ref().and_then(|aliases| aliases.a.as_deref()))
    }

    /// What AAAA records are drawn from.
    pub(crate) fn ipv6(&self) -> Option<Addresses<'_, Ipv6Addr>> {
        Addresses::of(self.aaaa.as_deref(), self.aliases.as_ref().and_then(|aliases| aliases.aaaa.as_deref()))
    }

    pub(super) fn add(&mut self, given: Given) {
        let Given { data, routable, term } = given;
        match data {
            Data::A(data) => add(&mut self.a, data, routable, term),
            Data::Aaaa(data) => add(&mut self.aaaa, data, routable, term),
            Data::Cname(data) => add(&mut self.cname, data, routable, term),
            Data::Srv(data) => add(&mut self.srv, data, routable, term),
            Data::Alias(kind, data) => {
                let aliases = self.aliases.get_or_insert_default();
                add(aliases.of(kind), data, routable, term);
            }
        }
    }

    pub(super) fn remove(&mut self, given: &Given) {
        let Given { data, routable, term } = given;
        match data {
            Data::A(data) => remove(&mut self.a, data, *routable, *term),
            Data::Aaaa(data) => remove(&mut self.aaaa, data, *routable, *term),
            Data::Cname(data) => remove(&mut self.cname, data, *routable, *term),
            Data::Srv(data) => remove(&mut self.srv, data, *routable, *term),
            Data::Alias(kind, data) => {
                if let Some(aliases) = &mut self.aliases {
                    remove(aliases.of(*kind), data, *routable, *term);
                    if aliases.a.is_none() && aliases.aaaa.is_none() {
                        self.aliases = None;
                    }
                }
            }
        }
    }
}

impl Aliases {
    fn of(&mut self, kind: RecordType) -> &mut Option<Box<RecordSet<DnsName>>> {
        if kind == RecordType::Aaaa { &mut self.aaaa } else { &mut self.a }
    }
}

/// What the addresses of a name are drawn from: those that it has, and aliases.
#[derive(Debug)]
pub(crate) struct Addresses<'e, D> {
    own: Option<&'e RecordSet<D>>,
    aliases: Option<&'e RecordSet<DnsName>>,
    selection: Selection,
    /// From which number on a candidate is an alias.
    first_alias: u32,
}

/// What may be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Candidate<'e, D> {
    Address(&'e D),
    Alias(&'e DnsName),
}

impl<'e, D: Eq + Hash> Addresses<'e, D> {
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
                let selection = records::select(policy, healthy, own.len() + aliases.len());
                let first_alias = if healthy > 0 { own.healthy() } else { own.len() };
                (selection, u32::try_from(first_alias).unwrap_or(u32::MAX))
            }
        };
        Some(Self { own, aliases, selection, first_alias })
    }

    /// What an answer is drawn from.
    pub(crate) fn selection(&self) -> Selection {
        self.selection
    }

    /// Whether several instances give the same.
    pub(crate) fn is_shared(&self) -> bool {
        self.own.is_some_and(RecordSet::is_shared) || self.aliases.is_some_and(RecordSet::is_shared)
    }

    /// The number of the candidate that any of the instances gives, all of which are as likely.
    #[cold]
    pub(crate) fn draw(&self, random: &dyn RandomSource) -> u32 {
        let pool = self.selection.pool;
        let own = self.own.into_iter().flat_map(|set| set.weights(pool));
        record_set::draw(own.chain(self.aliases.into_iter().flat_map(|set| set.weights(pool))), random)
    }

    /// A candidate by its number.
    #[inline]
    pub(crate) fn candidate(&self, number: u32) -> Option<Candidate<'e, D>> {
        match number.checked_sub(self.first_alias) {
            None => self.own?.candidate(number).map(Candidate::Address),
            Some(number) => self.aliases?.candidate(number).map(Candidate::Alias),
        }
    }

    /// The TTL of all addresses that the name has, in seconds.
    pub(crate) fn ttl(&self) -> u32 {
        let ttls = self.own.map(RecordSet::ttl).into_iter().chain(self.aliases.map(RecordSet::ttl));
        ttls.min().unwrap_or_default()
    }
}

fn add<D: Eq + Hash>(set: &mut Option<Box<RecordSet<D>>>, data: D, routable: bool, term: Term) {
    match set {
        Some(set) => set.add(data, routable, term),
        None => *set = Some(Box::new(RecordSet::of(data, routable, term))),
    }
}

fn remove<D: Eq + Hash>(slot: &mut Option<Box<RecordSet<D>>>, data: &D, routable: bool, term: Term) {
    if let Some(set) = slot {
        set.remove(data, routable, term);
        if set.is_empty() {
            *slot = None;
        }
    }
}
