//! DNS record synthesis: the records of an instance, the choice among them, and the answer to a question.
//!
//! Sources: "DnsRecord", "DnsConfig" and "RegisterInstance" in the API Reference, and the Developer Guide's chapter on DNS
//! configuration; for names that do not exist, RFC 1034 and RFC 2308.

use std::{
    cmp::Ordering,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::{
    choice::Permutation,
    model::{
        DnsConfig, DnsName, DnsNameError, Endpoint, Instance, Namespace, NamespaceId, NamespaceKind,
        NamespaceType, RecordType, RoutingPolicy, Scope, Service, ServiceName, VpcId,
    },
    settings::random::RandomSource,
    state::{InstanceEntry, NamespaceEntry, ScopeState, ServiceEntry, State},
};

/// The most records of a multivalue answer.
pub const MULTIVALUE_LIMIT: usize = 8;

/// Priority and weight of every SRV record.
pub const SRV_PRIORITY_AND_WEIGHT: u16 = 1;

/// The most CNAME records in a chain that an answer follows.
pub const CNAME_LIMIT: usize = 8;

/// A record of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The owner name.
    pub owner: DnsName,
    /// The TTL in seconds.
    pub ttl: u32,
    /// The type and data.
    pub data: RecordData,
}

/// The type and data of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the record types of Cloud Map")]
pub enum RecordData {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A canonical name.
    Cname(DnsName),
    /// A host and a port. Priority and weight are always 1.
    Srv {
        /// The port, 1–65535.
        port: u16,
        /// The instance's own name, which owns its address records.
        target: DnsName,
    },
    /// An alias record of Route 53: it answers with the records of another name, under its own name. The addresses and their
    /// TTL, which replaces the record's, are not known here.
    Alias {
        /// A or AAAA.
        kind: RecordType,
        /// The name of a load balancer.
        target: DnsName,
    },
}

impl RecordData {
    /// The record type.
    #[must_use]
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Cname(_) => RecordType::Cname,
            Self::Srv { .. } => RecordType::Srv,
            Self::Alias { kind, .. } => *kind,
        }
    }
}

/// The owner name of a service's records: `service.namespace`, or the namespace's own name for the service `.`. `None` if
/// DNS does not find the service; an error if the name is not a valid DNS name.
#[must_use]
pub fn service_name(service: &Service, namespace: &Namespace) -> Option<Result<DnsName, DnsNameError>> {
    service.dns_config()?;
    let zone = match namespace.zone_name()? {
        Ok(zone) => zone,
        Err(error) => return Some(Err(error)),
    };
    let name = || match service.name.as_str() {
        ServiceName::APEX => Ok(zone.clone()),
        name => zone.prefixed(name),
    };
    // The cache holds the name for one zone: normally that of the service's namespace.
    let (of, kept) = service.dns_name.get(|| (zone.clone(), name()));
    Some(if *of == zone { kept.clone() } else { name() })
}

/// The records of an instance; none if DNS does not find its service, or a name is not a valid DNS name.
///
/// | configured | name | data |
/// |---|---|---|
/// | A, AAAA | the service's | the address of the family, or an alias of `AWS_ALIAS_DNS_NAME` |
/// | CNAME | the service's | `AWS_INSTANCE_CNAME` |
/// | SRV | the service's | the port, and the instance's name |
/// | SRV | the instance's name below the service's | each address |
#[must_use]
pub fn records_of(instance: &Instance, service: &Service, namespace: &Namespace) -> Vec<Record> {
    let (Some(config), Some(Ok(owner))) = (service.dns_config(), service_name(service, namespace)) else {
        return Vec::new();
    };
    let endpoint = &instance.endpoint;
    let mut records = Vec::with_capacity(config.records.len() + 2);
    for spec in &config.records {
        let data = match spec.kind {
            RecordType::A => alias(endpoint, spec.kind).or(endpoint.ipv4.map(RecordData::A)),
            RecordType::Aaaa => alias(endpoint, spec.kind).or(endpoint.ipv6.map(RecordData::Aaaa)),
            RecordType::Cname => endpoint.cname.clone().map(RecordData::Cname),
            RecordType::Srv => {
                // Without a valid DNS name for the instance, an SRV record would have no target.
                let (Some(port), Ok(target)) = (endpoint.port, owner.prefixed(instance.id.as_str())) else {
                    continue;
                };
                for data in addresses(endpoint) {
                    records.push(Record { owner: target.clone(), ttl: spec.ttl, data });
                }
                Some(RecordData::Srv { port: port.get(), target })
            }
        };
        records.extend(data.map(|data| Record { owner: owner.clone(), ttl: spec.ttl, data }));
    }
    records
}

fn alias(endpoint: &Endpoint, kind: RecordType) -> Option<RecordData> {
    endpoint.alias.clone().map(|target| RecordData::Alias { kind, target })
}

fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = RecordData> {
    let ipv4 = endpoint.ipv4.map(RecordData::A);
    ipv4.into_iter().chain(endpoint.ipv6.map(RecordData::Aaaa))
}

/// The candidates that an answer is drawn from, and the limit of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// The set of candidates.
    pub pool: Pool,
    /// The number of candidates.
    pub candidates: u32,
    /// The most records of an answer; equal records count once.
    pub limit: usize,
}

/// A set of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "an answer is drawn from one of two")]
pub enum Pool {
    /// The healthy candidates.
    Healthy,
    /// All candidates, because none is healthy.
    All,
}

/// Chooses the candidates of an answer: the healthy ones, or all if none is healthy (fail-open).
#[must_use]
pub fn select(policy: RoutingPolicy, healthy: usize, all: usize) -> Selection {
    let (pool, candidates) = if healthy > 0 { (Pool::Healthy, healthy) } else { (Pool::All, all) };
    let limit = match policy {
        RoutingPolicy::Multivalue => MULTIVALUE_LIMIT,
        RoutingPolicy::Weighted => 1,
    };
    Selection { pool, candidates: u32::try_from(candidates).unwrap_or(u32::MAX), limit }
}

/// Whether the records of an instance of the service count as healthy. In a service with a Route 53 health check, aliases
/// always do: the check is not associated with them (API Reference, RegisterInstance).
#[must_use]
pub fn is_routable(entry: &InstanceEntry, service: &Service) -> bool {
    let is_unattached =
        || entry.instance().endpoint.alias.is_some() && service.health_check.route53().is_some();
    entry.health().is_routable() || is_unattached()
}

impl Selection {
    /// Whether the pool has the records of this candidate, an instance of the service.
    pub(crate) fn has(&self, entry: &InstanceEntry, service: &Service) -> bool {
        self.pool == Pool::All || is_routable(entry, service)
    }

    /// The numbers `0..candidates` in random order.
    #[must_use]
    pub fn order<'r>(&self, random: &'r dyn RandomSource) -> Permutation<'r> {
        Permutation::new(self.candidates, random)
    }
}

/// The zones that may answer a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct View {
    /// Only zones of these scopes; of all scopes if empty.
    pub scopes: Vec<Scope>,
    /// Only private zones of this VPC, and public zones; all zones if `None`.
    pub vpc: Option<VpcId>,
}

impl View {
    /// Whether the view includes the zone of this namespace.
    #[must_use]
    pub fn shows(&self, namespace: &Namespace) -> bool {
        let scope = self.scopes.is_empty() || self.scopes.contains(&namespace.scope);
        let vpc = match (&self.vpc, &namespace.kind) {
            (Some(wanted), NamespaceKind::DnsPrivate { vpc, .. }) => wanted == vpc,
            (None, _) | (Some(_), NamespaceKind::DnsPublic { .. } | NamespaceKind::Http) => true,
        };
        scope && vpc
    }
}

/// The order of zones with the same name, of which the least answers: private before public, then the older one, then by
/// id.
#[must_use]
pub fn precedence(a: &Namespace, b: &Namespace) -> Ordering {
    fn key(namespace: &Namespace) -> (bool, crate::model::Timestamp, &NamespaceId, &Scope) {
        let public = namespace.kind.namespace_type() != NamespaceType::DnsPrivate;
        (public, namespace.created, &namespace.id, &namespace.scope)
    }
    key(a).cmp(&key(b))
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "these are the outcomes that DNS has for a name")]
pub enum Answer {
    /// Records of the type, at the name or at the end of a chain of CNAME records, which come first. The answer has only the
    /// chain if that leaves the zones of the view, is a loop, or is longer than [`CNAME_LIMIT`]. An alias is the only record
    /// at its name: the records of its target must be queried elsewhere.
    Records(Vec<Record>),
    /// The name at the end of the chain exists, but has no records of the type (RFC 2308 section 2.2).
    NoData {
        /// The chain of CNAME records to the name; empty if it is the name of the question.
        chain: Vec<Record>,
        /// The name of the zone.
        zone: DnsName,
        /// The TTL of the zone's SOA record, in seconds.
        soa_ttl: u32,
    },
    /// Neither the name at the end of the chain (RFC 6604 section 3) nor any name below it exists (RFC 2308 section 2.1).
    NxDomain {
        /// The chain of CNAME records to the name; empty if it is the name of the question.
        chain: Vec<Record>,
        /// The name of the zone.
        zone: DnsName,
        /// The TTL of the zone's SOA record, in seconds.
        soa_ttl: u32,
    },
    /// The name is in no zone of the view.
    Refused,
}

/// Answers a question from the state alone: the reference for the DNS door's tables, whose answers must be equal.
///
/// The cost grows with the number of services and instances in the zone.
#[must_use]
pub fn resolve(
    state: &State,
    view: &View,
    name: &DnsName,
    kind: RecordType,
    random: &dyn RandomSource,
) -> Answer {
    let mut chain: Vec<Record> = Vec::new();
    let mut name = name.clone();
    loop {
        let Some((scope, entry, zone)) = zone_of(state, view, &name) else {
            return if chain.is_empty() { Answer::Refused } else { Answer::Records(chain) };
        };
        let owners = owners_at(scope, entry, &name);
        let records = choose(&owners, entry.namespace(), &name, kind, random);
        if !records.is_empty() {
            chain.extend(records);
            return Answer::Records(chain);
        }
        // A name has at most one CNAME record (RFC 2181 section 10.1).
        let cname = choose(&owners, entry.namespace(), &name, RecordType::Cname, random).into_iter().next();
        if let Some(Record { data: RecordData::Cname(target), .. }) = &cname {
            let target = target.clone();
            chain.extend(cname);
            if chain.len() > CNAME_LIMIT || chain.iter().any(|passed| passed.owner == target) {
                return Answer::Records(chain);
            }
            name = target;
            continue;
        }
        let soa_ttl = entry.namespace().hosted_zone().map_or(0, |zone| zone.soa_ttl);
        return if exists(state, view, scope, entry, &name) {
            Answer::NoData { chain, zone, soa_ttl }
        } else {
            Answer::NxDomain { chain, zone, soa_ttl }
        };
    }
}

/// Whether a name exists in its zone: it is the zone's own name, or it or a name below it has a record or is a zone of the
/// view. A name above an existing name exists even without records (RFC 4592 section 2.2.2, RFC 8020).
pub(crate) fn exists(
    state: &State,
    view: &View,
    scope: &ScopeState,
    entry: &NamespaceEntry,
    name: &DnsName,
) -> bool {
    let mut namespaces = state.scopes().flat_map(|(_, scope)| scope.namespaces());
    let is_above_a_zone = namespaces.any(|other| {
        let namespace = other.namespace();
        view.shows(namespace)
            && matches!(namespace.zone_name(), Some(Ok(zone)) if zone.relative_to(name).is_some())
    });
    is_above_a_zone || exists_at_or_below(scope, entry, name)
}

/// The zone that answers for a name: the most specific one, then the first by [`precedence`].
pub(crate) fn zone_of<'s>(
    state: &'s State,
    view: &View,
    name: &DnsName,
) -> Option<(&'s ScopeState, &'s NamespaceEntry, DnsName)> {
    let mut best: Option<(&ScopeState, &NamespaceEntry, DnsName)> = None;
    for (_, scope) in state.scopes() {
        for entry in scope.namespaces().filter(|entry| view.shows(entry.namespace())) {
            let Some(Ok(zone)) = entry.namespace().zone_name() else {
                continue;
            };
            if name.relative_to(&zone).is_none() {
                continue;
            }
            let better = best.as_ref().is_none_or(|(_, other, other_zone)| {
                let longer = zone.as_wire().len().cmp(&other_zone.as_wire().len());
                longer.then_with(|| precedence(other.namespace(), entry.namespace())) == Ordering::Greater
            });
            if better {
                best = Some((scope, entry, zone));
            }
        }
    }
    best
}

/// The services that may have records at a name: their own name, or that of an instance.
pub(crate) fn owners_at<'s>(
    scope: &'s ScopeState,
    entry: &'s NamespaceEntry,
    name: &DnsName,
) -> Vec<&'s ServiceEntry> {
    let mut owners: Vec<&ServiceEntry> = scope
        .services_of(entry)
        .filter(|service| {
            matches!(
                service_name(service.service(), entry.namespace()),
                Some(Ok(own)) if own == *name || name.relative_to(&own).is_some() && has_instance_names(service)
            )
        })
        .collect();
    owners.sort_by_key(|service| service.service().id.clone());
    owners
}

fn has_instance_names(service: &ServiceEntry) -> bool {
    service.service().dns_config().is_some_and(|config| config.ttl(RecordType::Srv).is_some())
}

/// Chooses the records of one type at a name. The records of several services are one record set: it has the candidates of
/// all, the lowest TTL (RFC 2181 section 5.2), and a single record only if all services are WEIGHTED. An alias is the answer
/// if it is drawn first.
fn choose(
    owners: &[&ServiceEntry],
    namespace: &Namespace,
    name: &DnsName,
    kind: RecordType,
    random: &dyn RandomSource,
) -> Vec<Record> {
    let Candidates { records, selection } = candidates(owners, namespace, name, kind);
    let ttl = records.iter().map(|(record, ..)| record.ttl).min().unwrap_or_default();
    let pool = records.iter().filter(|(_, entry, owner)| selection.has(entry, owner.service()));
    let pool: Vec<_> = pool.map(|(record, ..)| record).collect();
    let mut chosen: Vec<Record> = Vec::new();
    for number in selection.order(random) {
        if chosen.len() == selection.limit {
            break;
        }
        let record = pool[number as usize];
        if matches!(record.data, RecordData::Alias { .. }) {
            // The records of an alias's target are not mixed with others.
            match chosen[..] {
                [] => return vec![Record { ttl, ..record.clone() }],
                _ => continue,
            }
        }
        // An RRset has no duplicates (RFC 2181 section 5), but two instances may share an address.
        if chosen.iter().all(|other| other.data != record.data) {
            chosen.push(Record { ttl, ..record.clone() });
        }
    }
    chosen
}

/// The records of one type at a name, each with its instance and service, and the selection among them.
pub(crate) struct Candidates<'s> {
    pub(crate) records: Vec<(Record, &'s InstanceEntry, &'s ServiceEntry)>,
    pub(crate) selection: Selection,
}

pub(crate) fn candidates<'s>(
    owners: &[&'s ServiceEntry],
    namespace: &Namespace,
    name: &DnsName,
    kind: RecordType,
) -> Candidates<'s> {
    let mut records = Vec::new();
    let mut policy = RoutingPolicy::Weighted;
    for owner in owners {
        for entry in owner.instances().iter() {
            for record in records_of(entry.instance(), owner.service(), namespace) {
                if record.owner == *name && record.data.record_type() == kind {
                    policy = merged(policy, owner.service().dns_config(), &record, owner, namespace);
                    records.push((record, entry, *owner));
                }
            }
        }
    }
    let healthy = records.iter().filter(|(_, entry, owner)| is_routable(entry, owner.service())).count();
    let selection = select(policy, healthy, records.len());
    Candidates { records, selection }
}

/// The policy of a record set with one more record: WEIGHTED only if all are. An instance's own name is MULTIVALUE.
fn merged(
    policy: RoutingPolicy,
    config: Option<&DnsConfig>,
    record: &Record,
    owner: &ServiceEntry,
    namespace: &Namespace,
) -> RoutingPolicy {
    let at_service = matches!(service_name(owner.service(), namespace), Some(Ok(own)) if own == record.owner);
    match config {
        Some(config) if at_service && config.routing_policy == RoutingPolicy::Weighted => policy,
        _ => RoutingPolicy::Multivalue,
    }
}

/// Whether a name or a name below it has a record.
fn exists_at_or_below(scope: &ScopeState, entry: &NamespaceEntry, name: &DnsName) -> bool {
    scope.services_of(entry).any(|service| {
        service.instances().iter().any(|instance| {
            records_of(instance.instance(), service.service(), entry.namespace())
                .iter()
                .any(|record| record.owner.relative_to(name).is_some())
        })
    })
}
