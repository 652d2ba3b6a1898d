//! The zones of a table.

use std::{cmp::Ordering, sync::Arc};

use hashbrown::DefaultHashBuilder;
use imbl::{GenericHashMap, GenericHashSet, OrdMap, OrdSet, shared_ptr::DefaultSharedPtr};
use sd_core::{
    Scope,
    door::precedence,
    model::{DnsName, Namespace, NamespaceId},
};

use super::lookup_name::LookupName;

/// The number of a namespace in the keys of the name table. It is never reused.
pub(crate) type ZoneKey = u32;

type HashMap<K, V> = GenericHashMap<K, V, DefaultHashBuilder, DefaultSharedPtr>;
type HashSet<T> = GenericHashSet<T, DefaultHashBuilder, DefaultSharedPtr>;

/// The zones that answer, found by the longest suffix of a name.
///
/// Clones share their contents. With n zones a change takes O(log n), and a step for each label of the zone's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Zones {
    by_name: HashMap<Arc<[u8]>, Zone>,
    lengths: NameLengths,
    /// The number of zones below each name. A name above a zone exists (RFC 4592 section 2.2.2).
    above: HashMap<Arc<[u8]>, usize>,
    /// Namespaces by zone name. The first candidate of a name answers.
    candidates: OrdMap<DnsName, OrdSet<ZoneCandidate>>,
    /// The names with several candidates.
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

/// A namespace with a zone. Candidates are ordered by [`precedence`].
#[derive(Clone, Debug)]
pub(super) struct ZoneCandidate {
    pub(super) namespace: Arc<Namespace>,
    pub(super) key: ZoneKey,
}

/// The lengths of the zones' names, so that few suffixes of a name are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NameLengths {
    /// A bit for each length in use.
    bits: [u64; 4],
    /// The number of names of each length.
    counts: Arc<[u32; LookupName::MAX + 1]>,
}

/// A zone that never answers, because another zone with the same name answers instead. Listed by
/// [`NameTable::hidden_zones`](crate::NameTable::hidden_zones).
///
/// Private zones come before public ones, then older ones before newer ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HiddenZone {
    /// The name of both zones.
    pub name: DnsName,
    /// The account and Region of the hidden namespace.
    pub scope: Scope,
    /// The id of the hidden namespace.
    pub namespace: NamespaceId,
    /// The account and Region of the namespace that answers.
    pub answering_scope: Scope,
    /// The id of the namespace that answers.
    pub answering_namespace: NamespaceId,
}

impl Zones {
    /// Adds a zone. Returns the zone that becomes hidden: the new one, or the one that answered before.
    pub(super) fn add(&mut self, name: DnsName, added: &ZoneCandidate) -> Option<HiddenZone> {
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

    /// Removes a zone that was added with this name.
    pub(super) fn remove(&mut self, name: DnsName, removed: &ZoneCandidate) {
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

    /// Sets the candidates of a name.
    fn set(&mut self, name: DnsName, candidates: OrdSet<ZoneCandidate>) {
        let Some(ZoneCandidate { namespace, key }) = candidates.get_min() else {
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

    /// The most specific zone of a name, and the offset of the zone's name in it. The name is well-formed, in wire form and
    /// lower case.
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

    /// Keys and names of the zones that answer.
    pub(crate) fn names(&self) -> impl Iterator<Item = (ZoneKey, DnsName)> {
        self.by_name.values().map(|zone| (zone.key, zone.name.clone()))
    }

    /// Whether a zone has this key, hidden or not.
    pub(crate) fn has_key(&self, key: ZoneKey) -> bool {
        self.keys.contains(&key)
    }

    /// The number of zones, hidden ones included.
    pub(crate) fn keys_len(&self) -> usize {
        self.keys.len()
    }

    /// The number of zones that answer.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The number of names with several zones.
    pub(super) fn contested(&self) -> usize {
        self.contested.len()
    }

    /// The hidden zones, sorted by name.
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
            assert!(zones.add(name, &ZoneCandidate { namespace: Arc::new(namespace), key }).is_none());
        }
        zones
    }

    /// All contents, independent of keys and of the order of changes.
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
    fn new(name: &DnsName, hidden: &ZoneCandidate, answering: &ZoneCandidate) -> Self {
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
    /// The number of comparisons of candidates.
    static COMPARISONS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Ord for ZoneCandidate {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        COMPARISONS.set(COMPARISONS.get() + 1);
        precedence(&self.namespace, &other.namespace)
    }
}

impl PartialOrd for ZoneCandidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ZoneCandidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ZoneCandidate {}

impl NameLengths {
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

impl Default for NameLengths {
    fn default() -> Self {
        Self { bits: [0; 4], counts: Arc::new([0; LookupName::MAX + 1]) }
    }
}

/// The names above a name, the root included.
fn names_above(mut name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let label = usize::from(*name.first().filter(|label| **label > 0)?);
        name = name.get(1 + label..)?;
        Some(name)
    })
}

#[cfg(test)]
mod tests;
