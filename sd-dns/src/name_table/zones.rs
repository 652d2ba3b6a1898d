use std::{cmp::Ordering, sync::Arc};

use hashbrown::DefaultHashBuilder;
use imbl::{GenericHashMap, GenericHashSet, OrdMap, OrdSet, shared_ptr::DefaultSharedPtr};
use sd_core::{Scope, ids::NamespaceId, model::Namespace, name::DnsName, records::precedence};

use super::lookup_name::LookupName;

/// The number that stands for a namespace in the keys of the name table. Never given out twice.
pub(crate) type ZoneKey = u32;

type HashMap<K, V> = GenericHashMap<K, V, DefaultHashBuilder, DefaultSharedPtr>;
type HashSet<T> = GenericHashSet<T, DefaultHashBuilder, DefaultSharedPtr>;

/// The zones that are answered for, found by the longest suffix of a name.
///
/// A copy shares all with its original. A change takes O(log n) of n zones, and as many steps as the zone's
/// name has labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zones {
    by_name: HashMap<Arc<[u8]>, Zone>,
    lengths: Lengths,
    /// The names that have zones below them, with the number of these: they exist (RFC 4592 section 2.2.2).
    above: HashMap<Arc<[u8]>, usize>,
    /// Namespaces by the name of their zone. The first one of a name answers.
    candidates: OrdMap<DnsName, OrdSet<Candidate>>,
    /// The names of which there is more than one candidate.
    contested: OrdSet<DnsName>,
    /// The keys of all candidates.
    keys: HashSet<ZoneKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) key: ZoneKey,
    name: DnsName,
    /// In seconds.
    pub(crate) soa_ttl: u32,
}

/// A namespace that has a zone, in the order of [`precedence`].
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) namespace: Arc<Namespace>,
    pub(super) key: ZoneKey,
}

/// Which lengths the names of zones have, so that few suffixes of a name are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lengths {
    /// A bit for each length that some name has.
    bits: [u64; 4],
    /// How many names have each length.
    counts: Arc<[u32; LookupName::MAX + 1]>,
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
    /// Adds a zone of this name. Returns the zone that this hides: itself, or the one that has answered
    /// before.
    pub(super) fn add(&mut self, name: DnsName, added: &Candidate) -> Option<HiddenZone> {
        self.keys.insert(added.key);
        let mut candidates = self.candidates.get(&name).cloned().unwrap_or_default();
        let before = candidates.get_min().cloned();
        candidates.insert(added.clone());
        let hidden = match &before {
            None => {
                self.lengths.add(name.as_wire().len());
                for above in names_above(name.as_wire()) {
                    *self.above.entry(above.into()).or_insert(0) += 1;
                }
                None
            }
            Some(before) => {
                self.contested.insert(name.clone());
                let (first, second) = if added < before { (added, before) } else { (before, added) };
                Some(HiddenZone::new(&name, second, first))
            }
        };
        self.set(name, candidates);
        hidden
    }

    /// Removes a zone that was added under this name.
    pub(super) fn remove(&mut self, name: DnsName, removed: &Candidate) {
        self.keys.remove(&removed.key);
        let mut candidates = self.candidates.get(&name).cloned().unwrap_or_default();
        candidates.remove(removed);
        if candidates.len() < 2 {
            self.contested.remove(&name);
        }
        if candidates.is_empty() {
            self.lengths.remove(name.as_wire().len());
            for above in names_above(name.as_wire()) {
                match self.above.get_mut(above) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => {
                        self.above.remove(above);
                    }
                }
            }
        }
        self.set(name, candidates);
    }

    /// Sets the candidates of a name, of which the first one answers.
    fn set(&mut self, name: DnsName, candidates: OrdSet<Candidate>) {
        let Some(Candidate { namespace, key }) = candidates.get_min() else {
            self.by_name.remove(name.as_wire());
            self.candidates.remove(&name);
            return;
        };
        let soa_ttl = namespace.hosted_zone().map_or(0, |zone| zone.soa_ttl);
        let zone = Zone { key: *key, name: name.clone(), soa_ttl };
        if self.by_name.get(name.as_wire()) != Some(&zone) {
            self.by_name.insert(name.as_wire().into(), zone);
        }
        self.candidates.insert(name, candidates);
    }

    /// The most specific zone that a name is in, and where the zone's name begins in it. The name is lower-case, in wire
    /// form and well-formed.
    pub(crate) fn find(&self, name: &[u8]) -> Option<(&Zone, usize)> {
        let mut start = 0;
        while let Some(suffix) = name.get(start..).filter(|suffix| !suffix.is_empty()) {
            if self.lengths.contains(suffix.len())
                && let Some(zone) = self.by_name.get(suffix)
            {
                return Some((zone, start));
            }
            start += 1 + usize::from(suffix[0]);
        }
        None
    }

    /// Whether there is a zone below a name.
    pub(crate) fn is_above_one(&self, name: &[u8]) -> bool {
        self.above.contains_key(name)
    }

    /// The names of all zones that are answered from.
    pub(crate) fn names(&self) -> impl Iterator<Item = (ZoneKey, DnsName)> {
        self.by_name.values().map(|zone| (zone.key, zone.name.clone()))
    }

    /// Whether this is the key of a zone, which need not be answered from.
    pub(crate) fn has_key(&self, key: ZoneKey) -> bool {
        self.keys.contains(&key)
    }

    /// How many zones have a key.
    pub(crate) fn keys_len(&self) -> usize {
        self.keys.len()
    }

    /// How many zones are answered from.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// How many names have several zones.
    pub(super) fn contested(&self) -> usize {
        self.contested.len()
    }

    /// The zones that are never answered from, in order of their names.
    pub(super) fn hidden(&self) -> impl Iterator<Item = HiddenZone> {
        self.contested.iter().flat_map(|name| {
            let candidates = self.candidates.get(name).into_iter();
            candidates.flat_map(move |candidates| {
                let first = candidates.get_min();
                let others = candidates.iter().skip(1);
                others.filter_map(move |hidden| Some(HiddenZone::new(name, hidden, first?)))
            })
        })
    }
}

#[cfg(test)]
impl Zones {
    /// Zones with these keys: `zone-1.local` has the key 1.
    pub(crate) fn with_keys(keys: impl IntoIterator<Item = ZoneKey>) -> Self {
        let prototype = crate::name_table::tests::prototypes().namespace;
        let mut zones = Self::default();
        for key in keys {
            let mut namespace = prototype.clone();
            namespace.id = NamespaceId::parse(&format!("ns-{key}")).unwrap();
            let name = DnsName::parse(&format!("zone-{key}.local")).unwrap();
            assert!(zones.add(name, &Candidate { namespace: Arc::new(namespace), key }).is_none());
        }
        zones
    }

    /// All of it, in a form that does not depend on keys and on the order of changes.
    pub(super) fn dump(&self) -> String {
        let mut keys = Vec::new();
        let candidates: Vec<_> = (self.candidates.iter())
            .map(|(name, candidates)| {
                let first = candidates.get_min().unwrap();
                let zone = self.by_name.get(name.as_wire()).unwrap();
                assert_eq!((zone.key, &zone.name), (first.key, name));
                keys.extend(candidates.iter().map(|candidate| candidate.key));
                let ids = candidates.iter().map(|it| (it.namespace.scope.clone(), it.namespace.id.clone()));
                (name, zone.soa_ttl, ids.collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(self.by_name.len(), candidates.len());
        assert_eq!(self.keys.len(), keys.len());
        assert!(keys.iter().all(|key| self.has_key(*key)));
        let above: std::collections::BTreeMap<_, _> = self.above.iter().collect();
        format!("{candidates:?} {above:?} {:?} {:?}", self.lengths, self.contested)
    }
}

impl HiddenZone {
    fn new(name: &DnsName, hidden: &Candidate, answering: &Candidate) -> Self {
        Self {
            name: name.clone(),
            scope: hidden.namespace.scope.clone(),
            namespace: hidden.namespace.id.clone(),
            answering_scope: answering.namespace.scope.clone(),
            answering_namespace: answering.namespace.id.clone(),
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often candidates were compared.
    static COMPARISONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        COMPARISONS.set(COMPARISONS.get() + 1);
        precedence(&self.namespace, &other.namespace)
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

impl Lengths {
    fn add(&mut self, len: usize) {
        if let Some(count) = Arc::make_mut(&mut self.counts).get_mut(len) {
            *count += 1;
            self.bits[len / 64] |= 1 << (len % 64);
        }
    }

    fn remove(&mut self, len: usize) {
        if let Some(count) = Arc::make_mut(&mut self.counts).get_mut(len) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.bits[len / 64] &= !(1 << (len % 64));
            }
        }
    }

    fn contains(&self, len: usize) -> bool {
        self.bits.get(len / 64).is_some_and(|bits| bits & (1 << (len % 64)) != 0)
    }
}

impl Default for Lengths {
    fn default() -> Self {
        Self { bits: [0; 4], counts: Arc::new([0; LookupName::MAX + 1]) }
    }
}

/// The names that a name is below, the root's included.
fn names_above(mut name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let label = usize::from(*name.first().filter(|label| **label > 0)?);
        name = name.get(1 + label..)?;
        Some(name)
    })
}

#[cfg(test)]
mod tests;
