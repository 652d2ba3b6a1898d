use std::{ops::Range, sync::Arc};

use super::{
    Age, Revision,
    persistent::{OrdMap, Vector},
};
use crate::{
    health::Health,
    ids::InstanceId,
    model::{Instance, Signature},
};

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
    numbers: OrdMap<InstanceId, u32>,
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
        self.numbers.get(id).and_then(|number| self.nth(*number))
    }

    /// The instance of this number, below [`len`](Self::len); the routable ones are those below
    /// [`healthy_len`](Self::healthy_len).
    #[must_use]
    pub fn nth(&self, number: u32) -> Option<&InstanceEntry> {
        self.all.get(number as usize)
    }

    /// Those of these numbers, in their order.
    pub(crate) fn range(&self, numbers: Range<u32>) -> impl Iterator<Item = &InstanceEntry> {
        let len = self.all.len();
        let (start, end) = ((numbers.start as usize).min(len), (numbers.end as usize).min(len));
        self.all.focus().narrow(start..end.max(start)).into_iter()
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &InstanceEntry> {
        self.all.iter()
    }

    /// The first of those that are wanted and were registered after this one, at most `count`, in order of registration.
    ///
    /// Looks through all of them: an index by age would cost every registration, for the sake of lists that are seldom
    /// asked for.
    pub(crate) fn after(
        &self,
        position: Option<&(Age, InstanceId)>,
        count: usize,
        wanted: impl Fn(&InstanceEntry) -> bool,
    ) -> Vec<&InstanceEntry> {
        let after = position.map(|(age, id)| (*age, id));
        let follows = |entry: &&InstanceEntry| after.is_none_or(|after| after < entry.position());
        let mut found: Vec<_> = self.all.iter().filter(follows).filter(|entry| wanted(entry)).collect();
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
        if let Some((number, before)) = self.find(&instance.id) {
            let (since, was) = (before.since, before.health);
            self.replace(number, InstanceEntry { instance, health, revision, since, signature });
            return Some(was);
        }
        let entry = InstanceEntry { instance, health, revision, since: revision, signature };
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.numbers.insert(entry.instance.id.clone(), number);
        let routable = entry.is_routable();
        self.all.push_back(entry);
        if routable {
            self.swap(number, self.healthy);
            self.healthy += 1;
        }
        None
    }

    pub(super) fn put_health(&mut self, id: &InstanceId, health: Health, revision: Revision) {
        if let Some((number, before)) = self.find(id) {
            let entry = InstanceEntry { health, revision, ..before.clone() };
            self.replace(number, entry);
        }
    }

    fn find(&self, id: &InstanceId) -> Option<(u32, &InstanceEntry)> {
        let number = *self.numbers.get(id.as_str())?;
        self.nth(number).map(|entry| (number, entry))
    }

    pub(super) fn remove(&mut self, id: &InstanceId) {
        let Some(mut number) = self.numbers.remove(id.as_str()) else {
            return;
        };
        if number < self.healthy {
            self.healthy -= 1;
            self.swap(number, self.healthy);
            number = self.healthy;
        }
        let Some(last) = self.all.pop_back() else { return };
        if (number as usize) < self.all.len() {
            self.place(number, last);
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
            self.place(one, b);
            self.place(other, a);
        }
    }

    fn place(&mut self, number: u32, entry: InstanceEntry) {
        // An instance that is being removed has no number any more.
        if let Some(found) = self.numbers.get_mut(entry.instance.id.as_str()) {
            *found = number;
        }
        self.all.set(number as usize, entry);
    }

    /// Checks that the indexes agree with the instances. For tests.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert_eq!(self.numbers.len(), self.all.len());
        for (number, entry) in (0..).zip(&self.all) {
            assert_eq!(self.numbers.get(entry.instance.id.as_str()), Some(&number));
            assert_eq!(entry.is_routable(), number < self.healthy, "{number} of {}", self.healthy);
        }
    }
}
