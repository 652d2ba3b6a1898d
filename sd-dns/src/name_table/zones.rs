use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use hashbrown::DefaultHashBuilder;
use sd_core::{
    Scope, State,
    ids::NamespaceId,
    model::Namespace,
    name::DnsName,
    records::{View, precedence},
    state::NamespaceEntry,
};

/// The number that stands for a namespace in the keys of the name table. Never given out twice.
pub(crate) type ZoneKey = u32;

/// The zones that are answered for, found by the longest suffix of a name. Immutable.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    by_name: HashMap<Box<[u8]>, Zone, DefaultHashBuilder>,
    /// Which lengths the names of zones have, so that few suffixes of a name are looked up.
    lengths: [u64; 4],
    /// The names in one zone that have another zone below them: they exist (RFC 4592 section 2.2.2).
    between: HashSet<Box<[u8]>, DefaultHashBuilder>,
    hidden: Vec<HiddenZone>,
}

#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) key: ZoneKey,
    name: DnsName,
    /// In seconds.
    pub(crate) soa_ttl: u32,
}

/// A zone that is never answered from, because another one of the same name is preferred.
///
/// Private zones come before public ones, then older ones before younger ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HiddenZone {
    /// The name of both zones.
    pub name: DnsName,
    /// Where the hidden namespace lives.
    pub scope: Scope,
    /// The hidden namespace.
    pub namespace: NamespaceId,
    /// Where the namespace lives that is answered from.
    pub answering_scope: Scope,
    /// The namespace that is answered from.
    pub answering_namespace: NamespaceId,
}

impl Zones {
    /// The zones that the view shows, of the namespaces that have a key.
    pub(super) fn of(state: &State, view: &View, key: impl Fn(&Namespace) -> Option<ZoneKey>) -> Self {
        let mut shown: HashMap<DnsName, Vec<Arc<Namespace>>> = HashMap::new();
        for (_, scope) in state.scopes() {
            for namespace in
                scope.namespaces().map(NamespaceEntry::namespace).filter(|found| view.shows(found))
            {
                if let Some(Ok(name)) = namespace.zone_name() {
                    shown.entry(name).or_default().push(Arc::clone(namespace));
                }
            }
        }
        let mut zones = Self::default();
        for (name, mut namespaces) in shown {
            namespaces.sort_by(|a, b| precedence(a, b));
            let mut namespaces = namespaces.into_iter();
            let Some(namespace) = namespaces.next() else {
                continue;
            };
            zones.hidden.extend(namespaces.map(|hidden| HiddenZone {
                name: name.clone(),
                scope: hidden.scope.clone(),
                namespace: hidden.id.clone(),
                answering_scope: namespace.scope.clone(),
                answering_namespace: namespace.id.clone(),
            }));
            let Some(key) = key(&namespace) else { continue };
            let soa_ttl = namespace.hosted_zone().map_or(0, |zone| zone.soa_ttl);
            zones.lengths[name.as_wire().len() / 64] |= 1 << (name.as_wire().len() % 64);
            zones.by_name.insert(name.as_wire().into(), Zone { key, name, soa_ttl });
        }
        for name in zones.by_name.keys() {
            let mut above = &**name;
            while let [label, rest @ ..] = above
                && *label > 0
            {
                above = rest.get(usize::from(*label)..).unwrap_or_default();
                if zones.find(above).is_none() {
                    break;
                }
                zones.between.insert(above.into());
            }
        }
        zones
            .hidden
            .sort_by(|a, b| (&a.name, &a.scope, &a.namespace).cmp(&(&b.name, &b.scope, &b.namespace)));
        zones
    }

    /// The most specific zone that a name is in, and where the zone's name begins in it. The name is lower-case, in wire
    /// form and well-formed.
    pub(crate) fn find(&self, name: &[u8]) -> Option<(&Zone, usize)> {
        let mut start = 0;
        while let Some(suffix) = name.get(start..).filter(|suffix| !suffix.is_empty()) {
            let len = suffix.len();
            if self.lengths.get(len / 64).is_some_and(|lengths| lengths & (1 << (len % 64)) != 0)
                && let Some(zone) = self.by_name.get(suffix)
            {
                return Some((zone, start));
            }
            start += 1 + usize::from(suffix[0]);
        }
        None
    }

    /// Whether there is a zone below a name that is in another one.
    pub(crate) fn is_above_one(&self, name: &[u8]) -> bool {
        !self.between.is_empty() && self.between.contains(name)
    }

    /// The names of all of them.
    pub(crate) fn names(&self) -> impl Iterator<Item = (ZoneKey, DnsName)> {
        self.by_name.values().map(|zone| (zone.key, zone.name.clone()))
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn hidden(&self) -> &[HiddenZone] {
        &self.hidden
    }
}
