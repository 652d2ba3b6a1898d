//! The apiserver: objects with versions, a watch, and nothing else. No transactions, nothing unique but names.

use std::collections::BTreeMap;

use crate::objects::{Kind, Name, Payload};

#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) name: Name,
    pub(crate) version: u64,
    pub(crate) payload: Payload,
}

/// A change of an object, as a watch tells it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) kind: Kind,
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
    pub(crate) payload: Option<Payload>,
}

/// 409: the object is there already, or has another version, or is gone.
#[derive(Debug)]
pub(crate) struct Stale;

/// 410: what happened after that revision is not known any more.
#[derive(Debug)]
pub(crate) struct Gone;

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
        let before = self.objects.get(&write.name);
        if before.map(|object| object.version) != write.guard {
            return Err(Stale);
        }
        let Some(kind) = write.payload.as_ref().or(before.map(|object| &object.payload)).map(Payload::kind)
        else {
            return Err(Stale);
        };
        self.revision += 1;
        let (name, version) = (write.name.clone(), self.revision);
        let object = write.payload.clone().map(|payload| Object { name: name.clone(), version, payload });
        match &object {
            Some(object) => drop(self.objects.insert(name.clone(), object.clone())),
            None => drop(self.objects.remove(&name)),
        }
        self.events.push(Event { revision: self.revision, kind, name, object });
        Ok(version)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Object> {
        self.objects.get(name)
    }

    pub(crate) fn list(&self, kind: Kind, prefix: &str) -> Vec<Object> {
        let from = self.objects.range(prefix.to_owned()..);
        let found = from.take_while(|(name, _)| name.starts_with(prefix)).map(|(_, object)| object);
        found.filter(|object| object.payload.kind() == kind).cloned().collect()
    }

    /// The next events of a kind after a revision, at most `count` of them.
    pub(crate) fn watch(&self, kind: Kind, after: u64, count: usize) -> Result<Vec<Event>, Gone> {
        if after < self.compacted {
            return Err(Gone);
        }
        let start = self.events.partition_point(|event| event.revision <= after);
        Ok(self.events[start..].iter().filter(|event| event.kind == kind).take(count).cloned().collect())
    }

    /// Forgets what has happened so far.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.revision;
        self.events.clear();
    }
}
