use std::{ops::Range, sync::Arc};

use siphasher::sip::SipHasher13;

use super::{
    Age, Revision,
    persistent::{OrdMap, OrdSet},
    vector::Vector,
};
use crate::model::{Health, Instance, InstanceId, Signature};

/// An instance as the state holds it.
#[derive(Clone, Debug)]
pub struct InstanceEntry {
    pub(super) instance: Arc<Instance>,
    pub(super) health: Health,
    pub(super) revision: Revision,
    /// The revision that brought it.
    since: Revision,
    /// That of its attributes.
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

    /// Its health.
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

    /// Whether it has these attributes, of which this is the signature.
    pub(crate) fn has(&self, attributes: &[(&str, &str)], signature: Signature) -> bool {
        self.is_like(signature)
            && attributes.iter().all(|(key, value)| self.instance.attributes.get(key) == Some(value))
    }

    /// Whether it may have the attributes of this signature.
    pub(crate) fn is_like(&self, signature: Signature) -> bool {
        self.signature.may_have(signature)
    }

    /// The order of lists.
    fn position(&self) -> (Age, &InstanceId) {
        (self.age(), &self.instance.id)
    }

    fn is_routable(&self) -> bool {
        self.health.status().is_routable()
    }
}

/// The instances of a service: by id, and by number, so that random ones are picked without a scan.
///
/// Numbers are dense, and those that are routable have the lowest. They change when an instance leaves or its health does:
/// another one takes its number.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    all: Vector<InstanceEntry>,
    /// How many are routable.
    healthy: u32,
    /// The number of an instance by the hash of its id: numbers are compared, and copied, faster than texts.
    numbers: OrdMap<u64, u32>,
    /// Hashes and numbers of those whose hash stands in `numbers` for another one, however unlikely that is.
    twins: OrdSet<(u64, u32)>,
}

fn hash(id: &str) -> u64 {
    let hash = SipHasher13::new().hash(id.as_bytes());
    // Tests have twins.
    if cfg!(test) { hash % 2 } else { hash }
}

impl Instances {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many of them are routable: healthy, or not checked.
    #[must_use]
    pub fn healthy_len(&self) -> usize {
        self.healthy as usize
    }

    /// The instance of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&InstanceEntry> {
        self.find(id).map(|(_, entry)| entry)
    }

    /// The instance of this number, below [`len`](Self::len); the routable ones are those below
    /// [`healthy_len`](Self::healthy_len).
    #[must_use]
    pub fn nth(&self, number: u32) -> Option<&InstanceEntry> {
        self.all.get(number as usize)
    }

    /// Those of these numbers, in their order.
    pub(crate) fn range(&self, numbers: Range<u32>) -> impl Iterator<Item = &InstanceEntry> {
        self.all.range(numbers.start as usize..numbers.end as usize)
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &InstanceEntry> {
        self.all.iter()
    }

    /// The first of those that were registered after this one, at most `count`, in order of registration.
    ///
    /// Looks through all of them: an index by age would cost every registration, for the sake of lists that are seldom
    /// asked for.
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

    /// The health that the instance had, if it was there.
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
        self.index(hash(entry.instance.id.as_str()), number);
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
        let hash = hash(id);
        let is_it = |number: u32| {
            let entry = self.nth(number)?;
            (entry.instance.id.as_str() == id).then_some((number, entry))
        };
        is_it(*self.numbers.get(&hash)?).or_else(|| self.twins(hash).find_map(is_it))
    }

    /// The numbers of the twins of this hash.
    fn twins(&self, hash: u64) -> impl Iterator<Item = u32> {
        // Looking for a range costs more than to see that there is nothing.
        let twins = (!self.twins.is_empty()).then(|| self.twins.range((hash, 0)..=(hash, u32::MAX)));
        twins.into_iter().flatten().map(|(_, number)| *number)
    }

    /// Notes that an id of this hash has this number.
    fn index(&mut self, hash: u64, number: u32) {
        if self.numbers.contains_key(&hash) {
            self.twins.insert((hash, number));
        } else {
            self.numbers.insert(hash, number);
        }
    }

    /// Forgets it. Of twins that are left, one stands in `numbers`.
    fn unindex(&mut self, hash: u64, number: u32) {
        if self.numbers.get(&hash) != Some(&number) {
            self.twins.remove(&(hash, number));
            return;
        }
        let twin = self.twins(hash).next();
        match twin {
            Some(twin) => {
                self.twins.remove(&(hash, twin));
                self.numbers.insert(hash, twin);
            }
            None => drop(self.numbers.remove(&hash)),
        }
    }

    pub(super) fn remove(&mut self, id: &InstanceId) {
        let Some((mut hole, _)) = self.find(id.as_str()) else {
            return;
        };
        self.unindex(hash(id.as_str()), hole);
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

    /// Puts another value of an instance in its place, and the instance where its health belongs.
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
            if hash(a.instance.id.as_str()) == hash(b.instance.id.as_str()) {
                // Both numbers stay with this hash. One after the other, the first would take the other's.
                self.all.set(one as usize, b);
                self.all.set(other as usize, a);
            } else {
                self.place(b, other, one);
                self.place(a, one, other);
            }
        }
    }

    /// Gives an instance another number.
    fn place(&mut self, entry: InstanceEntry, from: u32, to: u32) {
        let hash = hash(entry.instance.id.as_str());
        if self.numbers.get(&hash) == Some(&from) {
            self.numbers.insert(hash, to);
        } else {
            self.twins.remove(&(hash, from));
            self.twins.insert((hash, to));
        }
        self.all.set(to as usize, entry);
    }

    /// Checks that the indexes agree with the instances. For tests.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert_eq!(self.numbers.len() + self.twins.len(), self.all.len());
        for (number, entry) in (0..).zip(self.all.iter()) {
            let hash = hash(entry.instance.id.as_str());
            let is_first = self.numbers.get(&hash) == Some(&number);
            assert!(is_first != self.twins.contains(&(hash, number)));
            assert_eq!(self.find(entry.instance.id.as_str()).map(|(found, _)| found), Some(number));
            assert_eq!(entry.is_routable(), number < self.healthy, "{number} of {}", self.healthy);
        }
    }
}
