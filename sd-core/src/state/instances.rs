//! The instances of a service, indexed.

use std::{ops::Range, sync::Arc};

use siphasher::sip::SipHasher13;

use super::{Age, Revision, numbers::Numbers, vector::Vector};
use crate::model::{Health, Instance, InstanceId, Signature};

/// An instance as the state holds it.
#[derive(Clone, Debug)]
pub struct InstanceEntry {
    pub(super) instance: Arc<Instance>,
    pub(super) health: Health,
    pub(super) revision: Revision,
    /// The revision of its first registration.
    since: Revision,
    /// The signature of its attributes.
    signature: Signature,
}

impl InstanceEntry {
    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// The revision of its last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The health of the instance.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    pub(crate) fn age(&self) -> Age {
        Age::new(self.instance.created, self.since)
    }

    /// Its place in lists among what was registered in the same millisecond: the revision that brought it.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.since.as_u64()
    }

    /// Whether it has these attributes. `signature` is their signature.
    pub(crate) fn has(&self, attributes: &[(&str, &str)], signature: Signature) -> bool {
        self.is_like(signature)
            && attributes.iter().all(|(key, value)| self.instance.attributes.get(key) == Some(value))
    }

    /// Whether it may have attributes with this signature.
    pub(crate) fn is_like(&self, signature: Signature) -> bool {
        self.signature.may_have(signature)
    }

    /// The position in lists.
    fn position(&self) -> (Age, &InstanceId) {
        (self.age(), &self.instance.id)
    }

    fn is_routable(&self) -> bool {
        self.health.is_routable()
    }
}

/// The instances of a service: by id, and by number, so that random ones are picked without a scan.
///
/// The numbers are `0..len`, and routable instances have the lowest ones. When an instance is removed or its health
/// changes, another instance takes its number.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    /// The instances, each at its number.
    all: Vector<InstanceEntry>,
    /// How many are routable.
    healthy: u32,
    numbers: Numbers,
}

fn hash(id: &str) -> u64 {
    SipHasher13::new().hash(id.as_bytes())
}

impl Instances {
    /// The number of instances.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are no instances.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The number of routable instances: those that are healthy or not checked.
    #[must_use]
    pub fn healthy_len(&self) -> usize {
        self.healthy as usize
    }

    /// The instance with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&InstanceEntry> {
        self.find(id).map(|(_, entry)| entry)
    }

    /// The instance with this number. Numbers are below [`len`](Self::len); those of routable instances are below
    /// [`healthy_len`](Self::healthy_len).
    #[must_use]
    pub fn nth(&self, number: u32) -> Option<&InstanceEntry> {
        self.all.get(number as usize)
    }

    /// The instances with these numbers, in order.
    pub(crate) fn range(&self, numbers: Range<u32>) -> impl Iterator<Item = &InstanceEntry> {
        self.all.range(numbers.start as usize..numbers.end as usize)
    }

    /// All instances, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &InstanceEntry> {
        self.all.iter()
    }

    /// The first instances after this position, at most `count`, in order of their first registration.
    ///
    /// Looks at all instances: an index by age would slow down every registration for the sake of lists, which are rare.
    pub(crate) fn after(&self, position: Option<&(Age, InstanceId)>, count: usize) -> Vec<&InstanceEntry> {
        let after = position.map(|(age, id)| (*age, id));
        let follows = |entry: &&InstanceEntry| after.is_none_or(|after| after < entry.position());
        let mut found: Vec<_> = self.all.iter().filter(follows).collect();
        if count < found.len() {
            found.select_nth_unstable_by_key(count, |entry| entry.position());
            found.truncate(count);
        }
        found.sort_unstable_by_key(|entry| entry.position());
        found
    }

    /// Adds or replaces an instance. Returns the health of the replaced one.
    pub(super) fn put(
        &mut self,
        instance: Arc<Instance>,
        health: Health,
        revision: Revision,
    ) -> Option<Health> {
        let signature = Signature::of(instance.attributes.iter());
        if let Some((number, before)) = self.find(instance.id.as_str()) {
            let (since, was) = (before.since, before.health);
            self.replace(number, InstanceEntry { instance, health, revision, since, signature });
            return Some(was);
        }
        let entry = InstanceEntry { instance, health, revision, since: revision, signature };
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.numbers.insert(hash(entry.instance.id.as_str()), number);
        let routable = entry.is_routable();
        self.all.push(entry);
        if routable {
            self.swap(number, self.healthy);
            self.healthy += 1;
        }
        None
    }

    pub(super) fn put_health(&mut self, id: &InstanceId, health: Health, revision: Revision) {
        if let Some((number, before)) = self.find(id.as_str()) {
            let entry = InstanceEntry { health, revision, ..before.clone() };
            self.replace(number, entry);
        }
    }

    fn find(&self, id: &str) -> Option<(u32, &InstanceEntry)> {
        let mut numbered = self.numbers.of(hash(id)).filter_map(|number| Some((number, self.nth(number)?)));
        numbered.find(|(_, entry)| entry.instance.id.as_str() == id)
    }

    pub(super) fn remove(&mut self, id: &InstanceId) {
        let Some((mut hole, _)) = self.find(id.as_str()) else {
            return;
        };
        self.numbers.remove(hash(id.as_str()), hole);
        if hole < self.healthy {
            self.healthy -= 1;
            if let Some(moved) = self.nth(self.healthy).filter(|_| hole < self.healthy).cloned() {
                self.place(moved, self.healthy, hole);
            }
            hole = self.healthy;
        }
        let Some(last) = self.all.pop() else { return };
        let end = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        if hole < end {
            self.place(last, end, hole);
        }
    }

    /// Replaces the entry with this number, and moves it among the routable instances or out of them.
    fn replace(&mut self, number: u32, entry: InstanceEntry) {
        let routable = entry.is_routable();
        self.all.set(number as usize, entry);
        match (number < self.healthy, routable) {
            (true, false) => {
                self.healthy -= 1;
                self.swap(number, self.healthy);
            }
            (false, true) => {
                self.swap(number, self.healthy);
                self.healthy += 1;
            }
            (true, true) | (false, false) => {}
        }
    }

    fn swap(&mut self, one: u32, other: u32) {
        if one != other
            && let (Some(a), Some(b)) = (self.nth(one).cloned(), self.nth(other).cloned())
        {
            let [hash_a, hash_b] = [&a, &b].map(|entry| hash(entry.instance.id.as_str()));
            self.numbers.swap((hash_a, one), (hash_b, other));
            self.all.set(one as usize, b);
            self.all.set(other as usize, a);
        }
    }

    /// Gives an instance another number, which no other instance has.
    fn place(&mut self, entry: InstanceEntry, from: u32, to: u32) {
        self.numbers.renumber(hash(entry.instance.id.as_str()), from, to);
        self.all.set(to as usize, entry);
    }

    /// Checks that the indexes agree with the instances. For tests.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert_eq!(self.numbers.len(), self.all.len());
        for (number, entry) in (0..).zip(self.all.iter()) {
            assert_eq!(self.find(entry.instance.id.as_str()).map(|(found, _)| found), Some(number));
            assert_eq!(entry.is_routable(), number < self.healthy, "{number} of {}", self.healthy);
        }
    }
}
