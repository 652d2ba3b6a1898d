use std::{
    hash::Hash,
    net::{Ipv4Addr, Ipv6Addr},
};

use sd_core::name::DnsName;

use super::record_set::{RecordSet, Srv, Term};

/// What a name has.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// How many names below this one have records: it exists as long as there are any (RFC 4592 section 2.2.2).
    pub(super) below: u32,
    pub(crate) a: Option<Box<RecordSet<Ipv4Addr>>>,
    pub(crate) aaaa: Option<Box<RecordSet<Ipv6Addr>>>,
    pub(crate) cname: Option<Box<RecordSet<DnsName>>>,
    pub(crate) srv: Option<Box<RecordSet<Srv>>>,
}

/// The type and data of a record, as an entry holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(DnsName),
    Srv(Srv),
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
        self.a.is_some() || self.aaaa.is_some() || self.cname.is_some() || self.srv.is_some()
    }

    pub(super) fn add(&mut self, given: Given) {
        let Given { data, routable, term } = given;
        match data {
            Data::A(data) => add(&mut self.a, data, routable, term),
            Data::Aaaa(data) => add(&mut self.aaaa, data, routable, term),
            Data::Cname(data) => add(&mut self.cname, data, routable, term),
            Data::Srv(data) => add(&mut self.srv, data, routable, term),
        }
    }

    pub(super) fn remove(&mut self, given: &Given) {
        let Given { data, routable, term } = given;
        match data {
            Data::A(data) => remove(&mut self.a, data, *routable, *term),
            Data::Aaaa(data) => remove(&mut self.aaaa, data, *routable, *term),
            Data::Cname(data) => remove(&mut self.cname, data, *routable, *term),
            Data::Srv(data) => remove(&mut self.srv, data, *routable, *term),
        }
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
