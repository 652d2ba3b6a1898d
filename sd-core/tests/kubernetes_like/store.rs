//! The apiserver: objects of bytes with versions, a watch, and nothing else. No transactions, nothing unique but names.

use std::{collections::BTreeMap, sync::Arc};

use crate::objects::{Kind, Name};

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) name: Name,
    pub(crate) version: u64,
    pub(crate) bytes: Arc<[u8]>,
}

/// A change of an object, as a watch reports it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) name: Name,
    /// `None` if it was deleted.
    pub(crate) object: Option<Object>,
}

/// A write of one object.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) name: Name,
    /// The version that it replaces; `None` if there must be no such object.
    pub(crate) guard: Option<u64>,
    /// `None` deletes.
    pub(crate) bytes: Option<Arc<[u8]>>,
}

/// 409: the object exists already, has another version, or does not exist.
#[derive(Debug)]
pub(crate) struct Stale;

/// 410: events after that revision are no longer known.
#[derive(Debug)]
pub(crate) struct Expired;

#[derive(Debug, Default)]
pub(crate) struct Store {
    revision: u64,
    objects: BTreeMap<Name, Object>,
    events: Vec<Event>,
    compacted: u64,
}

impl Store {
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The new version of the object.
    pub(crate) fn write(&mut self, write: &Write) -> Result<u64, Stale> {
        let before = self.objects.get(&write.name).map(|object| object.version);
        if before != write.guard || (before.is_none() && write.bytes.is_none()) {
            return Err(Stale);
        }
        self.revision += 1;
        let (name, version) = (write.name.clone(), self.revision);
        let object = write.bytes.clone().map(|bytes| Object { name: name.clone(), version, bytes });
        match &object {
            Some(object) => drop(self.objects.insert(name.clone(), object.clone())),
            None => drop(self.objects.remove(&name)),
        }
        self.events.push(Event { revision: self.revision, name, object });
        Ok(version)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Object> {
        self.objects.get(name)
    }

    /// The objects of a kind whose names begin with `prefix`.
    pub(crate) fn list(&self, kind: Kind, prefix: &str) -> Vec<Object> {
        let from = self.objects.range(prefix.to_owned()..);
        let found = from.take_while(|(name, _)| name.starts_with(prefix)).map(|(_, object)| object);
        found.filter(|object| Kind::of(&object.name) == kind).cloned().collect()
    }

    /// The next events of a kind after a revision, at most `count` of them.
    pub(crate) fn watch(&self, kind: Kind, after: u64, count: usize) -> Result<Vec<Event>, Expired> {
        if after < self.compacted {
            return Err(Expired);
        }
        let start = self.events.partition_point(|event| event.revision <= after);
        let events = self.events[start..].iter().filter(|event| Kind::of(&event.name) == kind);
        Ok(events.take(count).cloned().collect())
    }

    /// Forgets what has happened so far.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.revision;
        self.events.clear();
    }
}
