use std::{
    hash::{BuildHasher, Hash},
    net::{Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use hashbrown::{DefaultHashBuilder, HashTable};
use sd_core::{
    model::RoutingPolicy,
    random::{Permutation, RandomSource},
    records::{self, Pool, Selection},
};
use tinyvec::TinyVec;

/// The labels of a target before the owner's name, in wire form: usually one, as long as the id of the instance. Ids of up to
/// 32 octets are kept in place: to look for eight of them elsewhere in memory would take longer than all the rest.
pub(crate) type Labels = TinyVec<[u8; 33]>;

/// The data of an SRV record, with the addresses that its additional records carry. Priority and weight are constant.
///
/// The addresses are part of its identity, so a slot never changes while it exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Srv {
    pub(crate) port: u16,
    pub(crate) target: Labels,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    /// The instance's id has capitals, so another instance of the service may have the same target.
    pub(crate) folded: bool,
}

impl Srv {
    /// Whether both point to the same host. False at once in the usual case.
    pub(crate) fn shares_target_with(&self, other: &Self) -> bool {
        (self.folded || other.folded) && self.target == other.target
    }
}

/// Under which terms an instance gives a record: the TTL, and whether one record at a time is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// In seconds.
    pub(crate) ttl: u32,
    pub(crate) policy: RoutingPolicy,
}

/// Distinct data of one type at one name, and how many instances give each: a record set has no duplicates
/// (RFC 2181 section 5), while two instances may share an address.
///
/// Every change costs the same whatever the number of records.
#[derive(Debug)]
pub(crate) struct RecordSet<D> {
    /// Those with a healthy instance come first.
    slots: Vec<Slot<D>>,
    healthy: u32,
    /// Where the slot of some data is, once there are more than a few.
    index: Option<Box<HashTable<u32>>>,
    /// The terms in use and how many records have each: nearly always one.
    terms: Terms,
}

#[derive(Debug)]
struct Slot<D> {
    data: D,
    all: u32,
    healthy: u32,
}

#[derive(Debug)]
struct Terms {
    first: (Term, u32),
    others: Vec<(Term, u32)>,
}

fn hash<D: Hash>(data: &D) -> u64 {
    static BUILDER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);
    BUILDER.hash_one(data)
}

impl<D: Eq + Hash> RecordSet<D> {
    /// Up to this many slots are searched without an index.
    const FEW: usize = 16;
    /// Stands in the index for a place that is about to be set.
    const NOWHERE: u32 = u32::MAX;

    /// A set of one record.
    pub(crate) fn of(data: D, routable: bool, term: Term) -> Self {
        let healthy = u32::from(routable);
        Self {
            slots: vec![Slot { data, all: 1, healthy }],
            healthy,
            index: None,
            terms: Terms { first: (term, 1), others: Vec::new() },
        }
    }

    /// One more instance gives this record.
    pub(crate) fn add(&mut self, data: D, routable: bool, term: Term) {
        self.terms.add(term);
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

    /// One instance less gives this record.
    pub(crate) fn remove(&mut self, data: &D, routable: bool, term: Term) {
        let Some(mut place) = self.find(data) else { return };
        self.terms.remove(term);
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

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many of them a healthy instance gives.
    pub(crate) fn healthy(&self) -> usize {
        self.healthy as usize
    }

    /// What an answer is drawn from.
    pub(crate) fn select(&self) -> Selection {
        records::select(self.policy(), self.healthy(), self.len())
    }

    /// The data of a candidate. Healthy ones have the lowest numbers, so a number means the same in either pool.
    pub(crate) fn candidate(&self, number: u32) -> Option<&D> {
        self.slots.get(number as usize).map(|slot| &slot.data)
    }

    /// Whether several instances give the same record.
    pub(crate) fn is_shared(&self) -> bool {
        self.terms.records() > self.slots.len()
    }

    /// How many instances give each of the candidates.
    pub(super) fn weights(&self, pool: Pool) -> impl Iterator<Item = u32> + Clone {
        let weight = move |slot: &Slot<D>| if pool == Pool::Healthy { slot.healthy } else { slot.all };
        self.slots.iter().map(weight).take_while(|weight| *weight > 0)
    }

    /// The number of the candidate that any of the instances gives, all of which are as likely.
    #[cold]
    pub(crate) fn draw(&self, random: &dyn RandomSource) -> u32 {
        draw(self.weights(self.select().pool), random)
    }

    /// The TTL of the whole set in seconds: the lowest, since a set has only one (RFC 2181 section 5.2).
    pub(crate) fn ttl(&self) -> u32 {
        self.terms.iter().map(|term| term.ttl).min().unwrap_or_default()
    }

    /// One record at a time is answered only if every owner wants it so.
    pub(crate) fn policy(&self) -> RoutingPolicy {
        if self.terms.iter().all(|term| term.policy == RoutingPolicy::Weighted) {
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

    /// Removes a slot that is not among the healthy.
    fn pop(&mut self, place: u32) {
        let last = u32::try_from(self.slots.len() - 1).unwrap_or(Self::NOWHERE);
        self.swap(place, last);
        let Some(removed) = self.slots.pop() else { return };
        if let Some(index) = &mut self.index
            && let Ok(entry) = index.find_entry(hash(&removed.data), |found| *found == last)
        {
            entry.remove();
        }
        // Far below the bound, so that a set that grows and shrinks around it is not indexed again and again.
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
            // Through a third value: while both say `b`, they could not be told apart.
            for (hashed, from, to) in [(of_a, a, Self::NOWHERE), (of_b, b, a), (of_a, Self::NOWHERE, b)] {
                if let Some(place) = index.find_mut(hashed, |place| *place == from) {
                    *place = to;
                }
            }
        }
        self.slots.swap(a as usize, b as usize);
    }
}

/// A place among these weights, each as likely as it is heavy.
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

impl Terms {
    /// How many records there are, each as often as it is given.
    fn records(&self) -> usize {
        std::iter::once(&self.first).chain(&self.others).map(|(_, count)| *count as usize).sum()
    }

    fn add(&mut self, term: Term) {
        if let Some((_, count)) = self.iter_mut().find(|(found, _)| *found == term) {
            *count += 1;
        } else {
            self.others.push((term, 1));
        }
    }

    fn remove(&mut self, term: Term) {
        if let Some((_, count)) = self.iter_mut().find(|(found, _)| *found == term) {
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

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut (Term, u32)> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    fn iter(&self) -> impl Iterator<Item = Term> {
        std::iter::once(&self.first).chain(&self.others).map(|(term, _)| *term)
    }
}

#[cfg(test)]
impl<D: Ord + Clone> RecordSet<D> {
    /// The data with the numbers of instances and of healthy ones, sorted.
    pub(crate) fn counts(&self) -> Vec<(D, u32, u32)> {
        let mut counts: Vec<_> =
            self.slots.iter().map(|slot| (slot.data.clone(), slot.all, slot.healthy)).collect();
        counts.sort();
        counts
    }

    /// The terms with their numbers of records, sorted.
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

    const TERM: Term = Term { ttl: 60, policy: RoutingPolicy::Multivalue };

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
            let mut set = RecordSet::of(1000, true, TERM);
            let mut model = HashMap::from([(1000, (1, 1))]);
            let mut given: Vec<(u32, bool)> = Vec::new();
            for (data, routable, kind) in steps {
                if kind < 3 || given.is_empty() {
                    set.add(data, routable, TERM);
                    let counts = model.entry(data).or_default();
                    counts.0 += 1;
                    counts.1 += u32::from(routable);
                    given.push((data, routable));
                } else {
                    let (data, routable) = given.swap_remove(data as usize % given.len());
                    set.remove(&data, routable, TERM);
                    let counts = model.entry(data).or_default();
                    counts.0 -= 1;
                    counts.1 -= u32::from(routable);
                    if counts.0 == 0 {
                        model.remove(&data);
                    }
                }
                check(&set, &model);
            }
            for (data, routable) in given {
                set.remove(&data, routable, TERM);
            }
            prop_assert!(set.index.is_none());
            set.remove(&1000, true, TERM);
            prop_assert!(set.is_empty());
        }
    }

    #[test]
    fn the_lowest_ttl_counts_for_as_long_as_a_record_has_it() {
        let low = Term { ttl: 5, policy: RoutingPolicy::Multivalue };
        let mut set = RecordSet::of(1, true, TERM);
        set.add(1, true, low);
        assert_eq!(set.ttl(), 5);
        set.remove(&1, true, low);
        assert_eq!(set.ttl(), 60);
        set.add(2, false, low);
        set.remove(&1, true, TERM);
        assert_eq!(set.ttl(), 5);
    }

    #[test]
    fn one_record_at_a_time_only_if_all_owners_agree() {
        let weighted = Term { ttl: 60, policy: RoutingPolicy::Weighted };
        let mut set = RecordSet::of(1, true, weighted);
        assert_eq!(set.select().limit, 1);
        set.add(2, true, TERM);
        assert_eq!(set.select().limit, records::MULTIVALUE_LIMIT);
        set.remove(&2, true, TERM);
        assert_eq!(set.select().limit, 1);
    }

    #[test]
    fn without_a_healthy_one_all_are_candidates() {
        let mut set = RecordSet::of(1, false, TERM);
        set.add(2, false, TERM);
        assert_eq!((set.select().pool, set.select().candidates), (Pool::All, 2));
        set.add(2, true, TERM);
        assert_eq!((set.select().pool, set.select().candidates), (Pool::Healthy, 1));
        assert_eq!(set.candidate(0), Some(&2));
    }
}
