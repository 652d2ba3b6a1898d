//! RRsets of one type.

use std::{
    hash::{BuildHasher, Hash},
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use hashbrown::{DefaultHashBuilder, HashTable};
use sd_core::{
    door,
    door::{Permutation, Pool, Selection},
    model::RoutingPolicy,
    settings::RandomSource,
};
use tinyvec::TinyVec;

/// The labels of an SRV target before the record's owner name, in wire form: usually one, the id of the instance. Ids of up
/// to 32 octets are stored in place, because fetching eight of them from elsewhere takes longer than the rest of a
/// response.
pub(crate) type Labels = TinyVec<[u8; 33]>;

/// The data of an SRV record, and the addresses of its additional records. Priority and weight are constant.
///
/// The addresses are part of its identity, so the data of a slot never changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SrvData {
    pub(crate) port: u16,
    pub(crate) target: Labels,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// Whether another instance may have the same target: the instance's id has capitals, which names do not distinguish.
    pub(crate) may_share_target: bool,
}

impl SrvData {
    /// Whether both have the same target.
    pub(crate) fn shares_target_with(&self, other: &Self) -> bool {
        (self.may_share_target || other.may_share_target) && self.target == other.target
    }
}

/// The settings that a contributed record has from its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// In seconds.
    pub(crate) ttl: u32,
    pub(crate) policy: RoutingPolicy,
}

/// The distinct data of one type at one name, and how many instances contribute each. An RRset has no duplicates (RFC 2181
/// section 5), but two instances may share an address.
///
/// A change takes the same time whatever the number of records.
#[derive(Debug)]
pub(crate) struct RecordSet<D> {
    /// Data with a healthy instance comes first.
    slots: Vec<Slot<D>>,
    healthy: u32,
    /// Slots by their data; `None` while there are few.
    index: Option<Box<HashTable<u32>>>,
    terms: TermsInUse,
}

/// Data, and the number of instances that contribute it.
#[derive(Debug)]
struct Slot<D> {
    data: D,
    all: u32,
    healthy: u32,
}

/// The terms of a record set, with the number of records that have each. Nearly always there is one.
#[derive(Debug)]
struct TermsInUse {
    first: (Terms, u32),
    others: Vec<(Terms, u32)>,
}

fn hash<D: Hash>(data: &D) -> u64 {
    static BUILDER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
    BUILDER.hash_one(data)
}

impl<D: Eq + Hash> RecordSet<D> {
    /// The most slots that are searched without an index.
    const FEW: usize = 16;
    /// A placeholder in the index while two slots are swapped.
    const NOWHERE: u32 = u32::MAX;

    /// A set of one record.
    pub(crate) fn of(data: D, routable: bool, terms: Terms) -> Self {
        let healthy = u32::from(routable);
        Self {
            slots: vec![Slot { data, all: 1, healthy }],
            healthy,
            index: None,
            terms: TermsInUse { first: (terms, 1), others: Vec::new() },
        }
    }

    /// Adds a contribution.
    pub(crate) fn add(&mut self, data: D, routable: bool, terms: Terms) {
        self.terms.add(terms);
        let place = self.find(&data).unwrap_or_else(|| self.push(data));
        let slot = &mut self.slots[place as usize];
        slot.all += 1;
        if routable {
            slot.healthy += 1;
            if slot.healthy == 1 {
                self.swap(place, self.healthy);
                self.healthy += 1;
            }
        }
    }

    /// Removes a contribution.
    pub(crate) fn remove(&mut self, data: &D, routable: bool, terms: Terms) {
        let Some(mut place) = self.find(data) else { return };
        self.terms.remove(terms);
        let slot = &mut self.slots[place as usize];
        slot.all = slot.all.saturating_sub(1);
        if routable && slot.healthy > 0 {
            slot.healthy -= 1;
            if slot.healthy == 0 {
                self.healthy -= 1;
                self.swap(place, self.healthy);
                place = self.healthy;
            }
        }
        if self.slots[place as usize].all == 0 {
            self.pop(place);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The number of distinct records.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The number of distinct records with a healthy instance.
    pub(crate) fn healthy(&self) -> usize {
        self.healthy as usize
    }

    /// How many candidates there are, and how many of them a response has.
    pub(crate) fn select(&self) -> Selection {
        door::select(self.policy(), self.healthy(), self.len())
    }

    /// The data of a candidate. Healthy ones have the lowest numbers, so a number means the same in both pools.
    pub(crate) fn candidate(&self, number: u32) -> Option<&D> {
        self.slots.get(number as usize).map(|slot| &slot.data)
    }

    /// Whether several instances contribute the same record.
    pub(crate) fn is_shared(&self) -> bool {
        self.terms.records() > self.slots.len()
    }

    /// The number of instances of each candidate.
    pub(super) fn weights(&self, pool: Pool) -> impl Iterator<Item = u32> + Clone {
        let weight = move |slot: &Slot<D>| if pool == Pool::Healthy { slot.healthy } else { slot.all };
        self.slots.iter().map(weight).take_while(|weight| *weight > 0)
    }

    /// Draws an instance, all being equally likely, and returns the number of its candidate.
    #[cold]
    pub(crate) fn draw(&self, random: &dyn RandomSource) -> u32 {
        draw(self.weights(self.select().pool), random)
    }

    /// The TTL of the set in seconds: the lowest of its records, because an RRset has one TTL (RFC 2181 section 5.2).
    pub(crate) fn ttl(&self) -> u32 {
        self.terms.iter().map(|terms| terms.ttl).min().unwrap_or_default()
    }

    /// The routing policy of the set: weighted only if all of its records are.
    pub(crate) fn policy(&self) -> RoutingPolicy {
        if self.terms.iter().all(|terms| terms.policy == RoutingPolicy::Weighted) {
            RoutingPolicy::Weighted
        } else {
            RoutingPolicy::Multivalue
        }
    }

    fn find(&self, data: &D) -> Option<u32> {
        match &self.index {
            Some(index) => index.find(hash(data), |place| self.slots[*place as usize].data == *data).copied(),
            None => self
                .slots
                .iter()
                .position(|slot| slot.data == *data)
                .and_then(|place| u32::try_from(place).ok()),
        }
    }

    fn push(&mut self, data: D) -> u32 {
        let place = u32::try_from(self.slots.len()).unwrap_or(Self::NOWHERE);
        let hashed = self.index.is_some().then(|| hash(&data));
        self.slots.push(Slot { data, all: 0, healthy: 0 });
        if let (Some(hashed), Some(index)) = (hashed, &mut self.index) {
            index.insert_unique(hashed, place, |place| hash(&self.slots[*place as usize].data));
        } else if self.slots.len() > Self::FEW {
            let mut index = HashTable::with_capacity(2 * Self::FEW);
            for (slot, place) in self.slots.iter().zip(0u32..) {
                index.insert_unique(hash(&slot.data), place, |place| hash(&self.slots[*place as usize].data));
            }
            self.index = Some(Box::new(index));
        }
        place
    }

    /// Removes a slot without healthy instances.
    fn pop(&mut self, place: u32) {
        let last = u32::try_from(self.slots.len() - 1).unwrap_or(Self::NOWHERE);
        self.swap(place, last);
        let Some(removed) = self.slots.pop() else { return };
        if let Some(index) = &mut self.index
            && let Ok(entry) = index.find_entry(hash(&removed.data), |found| *found == last)
        {
            entry.remove();
        }
        // Far below `FEW`, so that a set that grows and shrinks around it is not indexed again and again.
        if self.slots.len() <= Self::FEW / 4 {
            self.index = None;
            self.slots.shrink_to(Self::FEW);
        }
    }

    fn swap(&mut self, a: u32, b: u32) {
        if a == b {
            return;
        }
        if let Some(index) = &mut self.index {
            let (of_a, of_b) = (hash(&self.slots[a as usize].data), hash(&self.slots[b as usize].data));
            // Via a placeholder: two entries for `b` could not be distinguished.
            for (hashed, from, to) in [(of_a, a, Self::NOWHERE), (of_b, b, a), (of_a, Self::NOWHERE, b)] {
                if let Some(place) = index.find_mut(hashed, |place| *place == from) {
                    *place = to;
                }
            }
        }
        self.slots.swap(a as usize, b as usize);
    }
}

/// Draws a position among weights, with the probability of its weight.
pub(super) fn draw(weights: impl Iterator<Item = u32> + Clone, random: &dyn RandomSource) -> u32 {
    let mut left = Permutation::new(weights.clone().sum(), random).next().unwrap_or_default();
    for (place, weight) in (0..).zip(weights) {
        match left.checked_sub(weight) {
            Some(rest) => left = rest,
            None => return place,
        }
    }
    0
}

impl TermsInUse {
    /// The number of contributions.
    fn records(&self) -> usize {
        std::iter::once(&self.first).chain(&self.others).map(|(_, count)| *count as usize).sum()
    }

    fn add(&mut self, terms: Terms) {
        if let Some((_, count)) = self.iter_mut().find(|(found, _)| *found == terms) {
            *count += 1;
        } else {
            self.others.push((terms, 1));
        }
    }

    fn remove(&mut self, terms: Terms) {
        if let Some((_, count)) = self.iter_mut().find(|(found, _)| *found == terms) {
            *count = count.saturating_sub(1);
        }
        self.others.retain(|(_, count)| *count > 0);
        if self.first.1 == 0
            && let Some(next) = self.others.pop()
        {
            self.first = next;
        }
        if self.others.is_empty() {
            self.others = Vec::new();
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut (Terms, u32)> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    fn iter(&self) -> impl Iterator<Item = Terms> {
        std::iter::once(&self.first).chain(&self.others).map(|(terms, _)| *terms)
    }
}

#[cfg(test)]
impl<D: Ord + Clone> RecordSet<D> {
    /// Data, number of instances, and number of healthy ones; sorted.
    pub(crate) fn counts(&self) -> Vec<(D, u32, u32)> {
        let mut counts: Vec<_> =
            self.slots.iter().map(|slot| (slot.data.clone(), slot.all, slot.healthy)).collect();
        counts.sort();
        counts
    }

    /// TTL, policy and number of records of all terms; sorted.
    pub(crate) fn terms(&self) -> Vec<(u32, &'static str, u32)> {
        let terms = std::iter::once(&self.terms.first).chain(&self.terms.others);
        let mut terms: Vec<_> = terms.map(|(term, count)| (term.ttl, term.policy.as_str(), *count)).collect();
        terms.sort();
        terms
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const TERMS: Terms = Terms { ttl: 60, policy: RoutingPolicy::Multivalue };

    fn check(set: &RecordSet<u32>, model: &HashMap<u32, (u32, u32)>) {
        assert_eq!(set.slots.len(), model.len());
        for (place, slot) in set.slots.iter().enumerate() {
            assert_eq!(model.get(&slot.data), Some(&(slot.all, slot.healthy)));
            assert_eq!(slot.healthy > 0, place < set.healthy as usize);
            assert_eq!(set.find(&slot.data), Some(place as u32));
        }
        if let Some(index) = &set.index {
            assert_eq!(index.len(), set.slots.len());
        }
    }

    proptest! {
        #[test]
        fn slots_agree_with_a_plain_model(steps in prop::collection::vec((0u32..60, any::<bool>(), 0u8..5), 1..400)) {
            let mut set = RecordSet::of(1000, true, TERMS);
            let mut model = HashMap::from([(1000, (1, 1))]);
            let mut contributed: Vec<(u32, bool)> = Vec::new();
            for (data, routable, kind) in steps {
                if kind < 3 || contributed.is_empty() {
                    set.add(data, routable, TERMS);
                    let counts = model.entry(data).or_default();
                    counts.0 += 1;
                    counts.1 += u32::from(routable);
                    contributed.push((data, routable));
                } else {
                    let (data, routable) = contributed.swap_remove(data as usize % contributed.len());
                    set.remove(&data, routable, TERMS);
                    let counts = model.entry(data).or_default();
                    counts.0 -= 1;
                    counts.1 -= u32::from(routable);
                    if counts.0 == 0 {
                        model.remove(&data);
                    }
                }
                check(&set, &model);
            }
            for (data, routable) in contributed {
                set.remove(&data, routable, TERMS);
            }
            prop_assert!(set.index.is_none());
            set.remove(&1000, true, TERMS);
            prop_assert!(set.is_empty());
        }
    }

    #[test]
    fn the_ttl_is_the_lowest_of_the_records() {
        let low = Terms { ttl: 5, policy: RoutingPolicy::Multivalue };
        let mut set = RecordSet::of(1, true, TERMS);
        set.add(1, true, low);
        assert_eq!(set.ttl(), 5);
        set.remove(&1, true, low);
        assert_eq!(set.ttl(), 60);
        set.add(2, false, low);
        set.remove(&1, true, TERMS);
        assert_eq!(set.ttl(), 5);
    }

    #[test]
    fn a_set_is_weighted_only_if_all_records_are() {
        let weighted = Terms { ttl: 60, policy: RoutingPolicy::Weighted };
        let mut set = RecordSet::of(1, true, weighted);
        assert_eq!(set.select().limit, 1);
        set.add(2, true, TERMS);
        assert_eq!(set.select().limit, sd_core::dns::MULTIVALUE_LIMIT);
        set.remove(&2, true, TERMS);
        assert_eq!(set.select().limit, 1);
    }

    #[test]
    fn all_records_are_candidates_if_none_is_healthy() {
        let mut set = RecordSet::of(1, false, TERMS);
        set.add(2, false, TERMS);
        assert_eq!((set.select().pool, set.select().candidates), (Pool::All, 2));
        set.add(2, true, TERMS);
        assert_eq!((set.select().pool, set.select().candidates), (Pool::Healthy, 1));
        assert_eq!(set.candidate(0), Some(&2));
    }
}
