//! How the [`World`] answers DNS questions.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::world::{Namespace, Service, World};

pub(crate) const TYPES: [&str; 4] = ["A", "AAAA", "CNAME", "SRV"];

/// The data of a record. Names are in lower case and without the root's dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(String),
    Srv(u16, String),
    /// The addresses of the target, whose type is that of the record.
    Alias(String),
}

/// A record of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) zone: usize,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) ttl: u32,
    pub(crate) data: Data,
    /// Whether the instance is healthy or has no health check.
    pub(crate) routable: bool,
    /// Whether the routing policy is WEIGHTED, which answers one record.
    pub(crate) single: bool,
}

/// Records of one name and type, from which an answer takes `count`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) name: String,
    pub(crate) ttl: u32,
    pub(crate) from: BTreeSet<Data>,
    pub(crate) count: usize,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Records(Choice),
    /// One of several CNAME records, and the answers for those of their targets that are followed.
    Alias(Choice, BTreeMap<String, Self>),
    NoData(String, u32),
    NxDomain(String, u32),
    Refused,
}

/// The name in lower case without the root's dot, if DNS can carry it: labels of 1–63 bytes, 255 bytes on the wire.
fn domain(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let fits = text.split('.').all(|label| (1..=63).contains(&label.len())) && text.len() + 2 <= 255;
    fits.then_some(text)
}

fn is_below(name: &str, zone: &str) -> bool {
    name == zone || name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'))
}

fn is_public(namespace: &Namespace) -> bool {
    namespace.zone.is_some_and(|(vpc, _)| vpc.is_none())
}

impl World {
    /// All records, including those of zones that others hide.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.services.iter().flat_map(|service| self.records_of(service)).collect()
    }

    fn records_of(&self, service: &Service) -> Vec<Record> {
        let mut all = Vec::new();
        let (Some(owner), Some((weighted, types))) = (self.name_of(service), &service.dns) else {
            return all;
        };
        for instance in &service.instances {
            let get = |key: &str| instance.attributes.get(key);
            let alias = get("AWS_ALIAS_DNS_NAME").and_then(|text| domain(text)).map(Data::Alias);
            let four = get("AWS_INSTANCE_IPV4").map(|text| Data::A(text.parse().unwrap()));
            let six = get("AWS_INSTANCE_IPV6").map(|text| Data::Aaaa(text.parse().unwrap()));
            // An alias has no address beside it, and no service with SRV records takes one.
            let (four, six) = (alias.clone().or(four), alias.or(six));
            let routable = instance.status != "UNHEALTHY";
            let mut put = |name: &str, kind, ttl, data: Option<Data>, single| {
                let (zone, name) = (service.key.0, name.to_owned());
                all.extend(data.map(|data| Record { zone, name, kind, ttl, data, routable, single }));
            };
            for (kind, ttl) in types {
                match *kind {
                    "A" => put(&owner, "A", *ttl, four.clone(), *weighted),
                    "AAAA" => put(&owner, "AAAA", *ttl, six.clone(), *weighted),
                    "CNAME" => {
                        let target = get("AWS_INSTANCE_CNAME").and_then(|text| domain(text));
                        put(&owner, "CNAME", *ttl, target.map(Data::Cname), *weighted);
                    }
                    _ => {
                        let own = domain(&format!("{}.{owner}", instance.id));
                        let (Some(port), Some(own)) = (get("AWS_INSTANCE_PORT"), own) else { continue };
                        put(&own, "A", *ttl, four.clone(), false);
                        put(&own, "AAAA", *ttl, six.clone(), false);
                        let data = Data::Srv(port.parse().unwrap(), own.clone());
                        put(&owner, "SRV", *ttl, Some(data), *weighted);
                    }
                }
            }
        }
        all
    }

    /// The name of a service's records.
    pub(crate) fn name_of(&self, service: &Service) -> Option<String> {
        let namespace = self.namespace(service.key.0)?;
        namespace.zone?;
        service.dns.as_ref()?;
        let zone = domain(namespace.name)?;
        if service.name == "." { Some(zone) } else { domain(&format!("{}.{zone}", service.name)) }
    }

    /// The zone that answers for a name: the longest, then a private one, then the oldest.
    pub(crate) fn zone_of(&self, name: &str, ids: &BTreeMap<usize, String>) -> Option<(&Namespace, String)> {
        let zones = self.namespaces.iter().filter(|namespace| namespace.zone.is_some());
        let zones = zones.filter_map(|namespace| Some((namespace, domain(namespace.name)?)));
        zones.filter(|(_, zone)| is_below(name, zone)).min_by_key(|(namespace, zone)| {
            (
                std::cmp::Reverse(zone.len()),
                is_public(namespace),
                namespace.created,
                ids.get(&namespace.number).cloned(),
            )
        })
    }

    /// The names to ask for: those of records, all names above these, and some that do not exist.
    pub(crate) fn questions(&self, records: &[Record]) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = ["elsewhere.test".to_owned(), "local".to_owned()].into();
        for namespace in self.namespaces.iter().filter(|namespace| namespace.zone.is_some()) {
            names.extend(
                domain(namespace.name).iter().flat_map(|zone| [zone.clone(), format!("nobody.{zone}")]),
            );
        }
        names.extend(self.services.iter().filter_map(|service| self.name_of(service)));
        for record in records {
            let ends = record.name.match_indices('.').map(|(at, _)| &record.name[at + 1..]);
            names.extend(std::iter::once(&*record.name).chain(ends).map(str::to_owned));
        }
        names
    }

    /// The answer to a question. `passed` are the names whose CNAME records led here, at most nine.
    pub(crate) fn resolve(
        &self,
        all: &[Record],
        name: &str,
        kind: &str,
        ids: &BTreeMap<usize, String>,
        passed: &[&str],
    ) -> Answer {
        let Some((namespace, zone)) = self.zone_of(name, ids) else { return Answer::Refused };
        if let Some(found) = choose(all, namespace.number, name, kind) {
            return Answer::Records(found);
        }
        if let Some(alias) = choose(all, namespace.number, name, "CNAME") {
            let passed = [passed, &[name]].concat();
            let targets = alias.from.iter().filter_map(|data| match data {
                Data::Cname(target) if passed.len() < 9 && !passed.contains(&&**target) => Some(target),
                _ => None,
            });
            let behind = targets
                .map(|target| (target.clone(), self.resolve(all, target, kind, ids, &passed)))
                .collect();
            return Answer::Alias(alias, behind);
        }
        let ttl = namespace.zone.map_or(0, |(_, ttl)| ttl);
        let mut own = all.iter().filter(|record| record.zone == namespace.number);
        let mut zones = self.namespaces.iter().filter(|namespace| namespace.zone.is_some());
        let is_above_a_zone = zones.any(|other| domain(other.name).is_some_and(|zone| is_below(&zone, name)));
        if is_above_a_zone || own.any(|record| is_below(&record.name, name)) {
            Answer::NoData(zone, ttl)
        } else {
            Answer::NxDomain(zone, ttl)
        }
    }
}

/// The healthy records, or all if none is healthy. The limit is one if all are WEIGHTED, otherwise eight.
fn choose(all: &[Record], zone: usize, name: &str, kind: &str) -> Option<Choice> {
    let here = |record: &&Record| record.zone == zone && record.name == name && record.kind == kind;
    let here: Vec<_> = all.iter().filter(here).collect();
    let ttl = here.iter().map(|record| record.ttl).min()?;
    let limit = if here.iter().all(|record| record.single) { 1 } else { 8 };
    let fail_open = here.iter().all(|record| !record.routable);
    let from: BTreeSet<Data> =
        here.iter().filter(|record| record.routable || fail_open).map(|record| record.data.clone()).collect();
    let count = from.len().min(limit);
    Some(Choice { name: name.to_owned(), ttl, from, count })
}
