use std::{ops::Bound, sync::Arc};

use super::{
    Age, Revision,
    persistent::{HashMap, OrdSet, Vector},
};
use crate::{health::Health, ids::InstanceId, model::Instance};

/// An instance as the state holds it.
#[derive(Clone, Debug)]
pub struct InstanceEntry {
    pub(super) instance: Arc<Instance>,
    pub(super) health: Health,
    pub(super) revision: Revision,
    age: Age,
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

    pub(crate) fn age(&self) -> Age {
        self.age
    }

    /// Its health.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }
}

/// The instances of a service: by id, by age, and by number, so that random ones are picked without a scan.
///
/// Numbers are dense and change when an instance leaves: the last one takes its number.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    all: Vector<InstanceEntry>,
    /// The numbers of those that are routable.
    healthy: Vector<u32>,
    places: HashMap<InstanceId, Place>,
    by_age: OrdSet<(Age, InstanceId)>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    all: u32,
    /// `NOWHERE` if it is not routable.
    healthy: u32,
}

const NOWHERE: u32 = u32::MAX;

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
        self.healthy.len()
    }

    /// The instance of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&InstanceEntry> {
        self.places.get(id).and_then(|place| self.nth(place.all))
    }

    /// The instance of this number, below [`len`](Self::len).
    #[must_use]
    pub fn nth(&self, number: u32) -> Option<&InstanceEntry> {
        self.all.get(number as usize)
    }

    /// The `number`th routable instance, below [`healthy_len`](Self::healthy_len).
    #[must_use]
    pub fn nth_healthy(&self, number: u32) -> Option<&InstanceEntry> {
        self.healthy.get(number as usize).and_then(|number| self.nth(*number))
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &InstanceEntry> {
        self.all.iter()
    }

    /// Those that were registered after this one, in order of registration; all of them without one.
    pub(crate) fn after(&self, position: Option<&(Age, InstanceId)>) -> impl Iterator<Item = &InstanceEntry> {
        let start = position.map_or(Bound::Unbounded, |position| Bound::Excluded(position.clone()));
        self.by_age.range((start, Bound::Unbounded)).filter_map(|(_, id)| self.get(id.as_str()))
    }

    pub(super) fn put(&mut self, instance: Arc<Instance>, health: Health, revision: Revision) {
        let id = instance.id.clone();
        let routable = health.status().is_routable();
        if let Some(place) = self.places.get(id.as_str()).copied() {
            let index = place.all as usize;
            let age = self.all[index].age;
            self.all.set(index, InstanceEntry { instance, health, revision, age });
            self.set_routable(&id, place, routable);
        } else {
            let all = u32::try_from(self.all.len()).unwrap_or(NOWHERE);
            let age = Age::new(instance.created, revision);
            self.by_age.insert((age, id.clone()));
            self.all.push_back(InstanceEntry { instance, health, revision, age });
            let place = Place { all, healthy: NOWHERE };
            if routable {
                self.set_routable(&id, place, true);
            } else {
                self.places.insert(id, place);
            }
        }
    }

    pub(super) fn put_health(&mut self, id: &InstanceId, health: Health, revision: Revision) {
        let Some(place) = self.places.get(id.as_str()).copied() else {
            return;
        };
        let index = place.all as usize;
        let entry = InstanceEntry { health, revision, ..self.all[index].clone() };
        self.all.set(index, entry);
        self.set_routable(id, place, health.status().is_routable());
    }

    pub(super) fn remove(&mut self, id: &InstanceId) {
        let Some(place) = self.places.get(id.as_str()).copied() else {
            return;
        };
        self.set_routable(id, place, false);
        self.places.remove(id.as_str());
        let index = place.all as usize;
        self.by_age.remove(&(self.all[index].age, id.clone()));
        let Some(last) = self.all.pop_back() else { return };
        if index < self.all.len() {
            // The last one takes the number that has become free.
            if let Some(moved) = self.places.get_mut(last.instance.id.as_str()) {
                moved.all = place.all;
                if moved.healthy != NOWHERE {
                    self.healthy.set(moved.healthy as usize, place.all);
                }
            }
            self.all.set(index, last);
        }
    }

    /// Brings `healthy` in line with whether the instance is routable, and stores its place.
    fn set_routable(&mut self, id: &InstanceId, mut place: Place, routable: bool) {
        match (place.healthy == NOWHERE, routable) {
            (true, true) => {
                place.healthy = u32::try_from(self.healthy.len()).unwrap_or(NOWHERE);
                self.healthy.push_back(place.all);
            }
            (false, false) => {
                let freed = place.healthy;
                place.healthy = NOWHERE;
                if let Some(last) = self.healthy.pop_back()
                    && (freed as usize) < self.healthy.len()
                {
                    self.healthy.set(freed as usize, last);
                    let moved = self.all[last as usize].instance.id.clone();
                    if let Some(moved) = self.places.get_mut(moved.as_str()) {
                        moved.healthy = freed;
                    }
                }
            }
            (true, false) | (false, true) => return,
        }
        self.places.insert(id.clone(), place);
    }

    /// Checks that the indexes agree with the instances. For tests.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        assert_eq!(self.places.len(), self.all.len());
        assert_eq!(self.by_age.len(), self.all.len());
        let mut routable = 0;
        for (number, entry) in self.all.iter().enumerate() {
            let id = entry.instance.id.as_str();
            let place = self.places.get(id).copied().unwrap();
            assert_eq!(place.all as usize, number);
            assert!(self.by_age.contains(&(entry.age, entry.instance.id.clone())));
            if entry.health.status().is_routable() {
                routable += 1;
                assert_eq!(self.healthy.get(place.healthy as usize), Some(&place.all));
            } else {
                assert_eq!(place.healthy, NOWHERE);
            }
        }
        assert_eq!(self.healthy.len(), routable);
    }
}
