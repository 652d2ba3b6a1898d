//! What a replica knows of the store, and the state that this comes to.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use sd_core::{
    Change, ChangeSet, Scope, State, StateCell, Timestamp,
    model::{Health, Incarnation, InstanceId, Namespace, Operation, OperationId, Service, ServiceId},
    state::PendingOperation,
};

use crate::{
    objects::{Directory, Kind, Name, Nonce, Payload, Slot, Value, ValueOf},
    store::{Event, Object},
};

#[derive(Debug, Default)]
pub(crate) struct Mirror {
    /// What is shown of each scope.
    known: BTreeMap<Scope, Known>,
    /// The newest directories, of which some values may be on their way.
    seen: BTreeMap<Scope, (u64, Arc<Directory>)>,
    values: BTreeMap<Name, Value>,
    /// With the revision as of which each is so.
    slots: BTreeMap<Name, (u64, Option<Arc<Slot>>)>,
    /// Writes to slots of which this replica does not know whether they count, and what it shows in their place.
    unconfirmed: BTreeMap<Nonce, Option<Arc<Slot>>>,
    /// How far it has followed each kind.
    cursors: [u64; 3],
    /// How often each scope has started over, as far as that is shown.
    resets: BTreeMap<Scope, u64>,
    /// The latest moment of all writes.
    pub(crate) at: Timestamp,
    /// A set is being stored: the watch waits.
    pub(crate) writing: bool,
}

/// A directory and what it is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// `None` before the first write.
    pub(crate) version: Option<u64>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) namespaces: Vec<(Name, Arc<Namespace>)>,
    pub(crate) services: Vec<(Name, Arc<Service>)>,
    pub(crate) operations: Vec<(Name, Arc<PendingOperation>)>,
}

impl Known {
    fn new(version: u64, directory: &Arc<Directory>, values: &BTreeMap<Name, Value>) -> Option<Self> {
        let mut known = Self { version: Some(version), directory: Arc::clone(directory), ..Self::default() };
        for name in directory.values() {
            let found = values.get(name)?;
            match &found.of {
                ValueOf::Namespace(value) => known.namespaces.push((name.clone(), Arc::clone(value))),
                ValueOf::Service(value) => known.services.push((name.clone(), Arc::clone(value))),
                ValueOf::Operation(value) => known.operations.push((name.clone(), Arc::clone(value))),
            }
        }
        Some(known)
    }
}

impl Mirror {
    pub(crate) fn known(&self, scope: &Scope) -> Known {
        let empty = || {
            let directory = Arc::new(Directory { scope: scope.clone(), ..Directory::default() });
            Known { directory, ..Known::default() }
        };
        self.known.get(scope).cloned().unwrap_or_else(empty)
    }

    /// The incarnation of a service that is shown.
    pub(crate) fn incarnation(&self, scope: &Scope, service: &ServiceId) -> Option<Incarnation> {
        let known = self.known.get(scope)?;
        known.directory.services.get(service).map(|(incarnation, _)| *incarnation)
    }

    /// The version of a slot, if it exists, and what was last written to it.
    pub(crate) fn slot(&self, name: &str) -> Option<(u64, &Arc<Slot>)> {
        let (version, slot) = self.slots.get(name)?;
        slot.as_ref().map(|slot| (*version, slot))
    }

    /// What is shown of a slot.
    pub(crate) fn shown(&self, name: &str) -> Option<&Arc<Slot>> {
        let (_, slot) = self.slot(name)?;
        let replaced = slot.recent.last().and_then(|nonce| self.unconfirmed.get(nonce));
        replaced.map_or(Some(slot), Option::as_ref)
    }

    /// The place of the instance that an operation under way is about.
    pub(crate) fn place_of_pending(&self, id: &OperationId) -> Option<(ServiceId, InstanceId)> {
        let slots = self.slots.values().filter_map(|(_, slot)| slot.as_ref());
        let mut pending = slots.filter_map(|slot| Some((slot, slot.pending.as_ref()?)));
        let found = pending.find(|(_, pending)| pending.operation.id == *id);
        found.map(|(slot, _)| (slot.service.clone(), slot.id.clone()))
    }

    /// The object that has the value of a service that is shown.
    pub(crate) fn value_of(&self, scope: &Scope, service: &ServiceId) -> Option<Name> {
        let known = self.known.get(scope)?;
        known.directory.services.get(service).map(|(_, name)| name.clone())
    }

    /// From now on this write is not shown, but what was there before.
    pub(crate) fn doubt(&mut self, nonce: &Nonce, name: &str) {
        let before = self.shown(name).cloned();
        self.unconfirmed.insert(nonce.clone(), before);
    }

    pub(crate) fn confirm(&mut self, nonce: &Nonce) {
        self.unconfirmed.remove(nonce);
    }

    /// The slots whose last write is in doubt.
    pub(crate) fn doubtful(&self) -> Vec<(Nonce, Arc<Slot>)> {
        let slots = self.slots.values().filter_map(|(_, slot)| slot.as_ref());
        let last = slots.filter_map(|slot| Some((slot.recent.last()?.clone(), Arc::clone(slot))));
        last.filter(|(nonce, _)| self.unconfirmed.contains_key(nonce)).collect()
    }

    /// The values of a directory that are not here yet.
    pub(crate) fn missing(&self, directory: &Directory) -> Vec<Name> {
        directory.values().filter(|name| !self.values.contains_key(*name)).cloned().collect()
    }

    pub(crate) fn put(&mut self, object: &Object) {
        match &object.payload {
            Payload::Directory(directory) => {
                let newest = self.seen.get(&directory.scope).map_or(0, |(version, _)| *version);
                if newest < object.version {
                    let seen = (object.version, Arc::clone(directory));
                    self.seen.insert(directory.scope.clone(), seen);
                }
            }
            Payload::Value(value) => drop(self.values.insert(object.name.clone(), value.clone())),
            Payload::Slot(slot) => {
                self.put_slot(&object.name, object.version, Some(slot));
            }
        }
        self.resolve();
    }

    fn put_slot(&mut self, name: &Name, revision: u64, slot: Option<&Arc<Slot>>) {
        match self.slots.entry(name.clone()) {
            Entry::Occupied(known) if known.get().0 >= revision => {}
            Entry::Occupied(mut known) => drop(known.insert((revision, slot.cloned()))),
            Entry::Vacant(unknown) => drop(unknown.insert((revision, slot.cloned()))),
        }
    }

    /// As of this revision there is no such object.
    pub(crate) fn remove(&mut self, kind: Kind, name: &Name, revision: u64) {
        match kind {
            // A directory stays for ever.
            Kind::Directory => {}
            Kind::Value => drop(self.values.remove(name)),
            Kind::Slot => self.put_slot(name, revision, None),
        }
    }

    /// All objects of a kind whose name begins so, as of a revision.
    pub(crate) fn listed(&mut self, kind: Kind, prefix: &str, objects: &[Object], revision: u64) {
        for object in objects {
            self.put(object);
        }
        if kind == Kind::Slot {
            let gone = self.slots.iter().filter(|(name, (known, slot))| {
                let listed = || objects.iter().any(|object| object.name == **name);
                slot.is_some() && *known <= revision && name.starts_with(prefix) && !listed()
            });
            for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                self.put_slot(&name, revision, None);
            }
        }
    }

    pub(crate) fn cursor(&mut self, kind: Kind) -> &mut u64 {
        &mut self.cursors[kind as usize]
    }

    pub(crate) fn event(&mut self, event: &Event) {
        *self.cursor(event.kind) = event.revision;
        match &event.object {
            Some(object) => self.put(object),
            None => self.remove(event.kind, &event.name, event.revision),
        }
    }

    /// The scopes that have started over since they were shown.
    pub(crate) fn started_over(&self) -> Vec<Scope> {
        let shown = |scope: &Scope| self.resets.get(scope).copied().unwrap_or_default();
        let known = self.known.iter().filter(|(scope, known)| known.directory.resets > shown(scope));
        known.map(|(scope, _)| scope.clone()).collect()
    }

    /// Shows what is known of the resets of a scope.
    pub(crate) fn shows_resets(&mut self, scope: &Scope) {
        let resets = self.known(scope).directory.resets;
        self.resets.insert(scope.clone(), resets);
    }

    /// Shows each directory of which all is here.
    fn resolve(&mut self) {
        for (scope, (version, directory)) in &self.seen {
            let shown = self.known.get(scope).and_then(|known| known.version);
            if shown.is_none_or(|shown| shown < *version)
                && let Some(known) = Known::new(*version, directory, &self.values)
            {
                self.at = self.at.max(directory.at);
                self.known.insert(scope.clone(), known);
            }
        }
    }

    /// The state that the facts come to, before anything in it is due, and the finished operations that the log does not
    /// have.
    pub(crate) fn state(&mut self, cell: &StateCell) -> (State, Vec<Arc<Operation>>) {
        let mut slots: BTreeMap<&Scope, Vec<&Arc<Slot>>> = BTreeMap::new();
        for slot in self.slots.keys().filter_map(|name| self.shown(name)) {
            if self.known.get(&slot.scope).is_some_and(|known| known.directory.has(slot)) {
                slots.entry(&slot.scope).or_default().push(slot);
            }
        }
        let (mut state, mut finished) = (State::new(), Vec::new());
        let mut latest = self.at;
        for (scope, known) in &self.known {
            let mut set = ChangeSet::new(scope.clone(), self.at);
            finished.extend(known.directory.recent.finished());
            set.changes.extend(known.namespaces.iter().map(|(_, value)| Change::PutNamespace(value.clone())));
            set.changes.extend(known.services.iter().map(|(_, value)| Change::PutService(value.clone())));
            let begin = |pending: &Arc<PendingOperation>| Change::BeginOperation(Arc::clone(pending));
            for slot in slots.remove(scope).unwrap_or_default() {
                latest = latest.max(slot.at);
                finished.extend(slot.recent.finished());
                if let Some((instance, health)) = &slot.instance {
                    let checked = known.services.iter().find(|(_, service)| service.id == slot.service);
                    let health = match checked {
                        Some((_, service)) if known.directory.checks(&slot.service) != slot.checks => {
                            Health::initial(&service.health_check, instance.endpoint.initial_health)
                        }
                        _ => *health,
                    };
                    let (service, instance) = (slot.service.clone(), Arc::clone(instance));
                    set.changes.push(Change::PutInstance { service, instance, health });
                }
                set.changes.extend(slot.pending.iter().map(begin));
            }
            set.changes.extend(known.operations.iter().map(|(_, value)| begin(value)));
            state = state.apply(&set).expect("a directory and its slots are a legal state");
        }
        let unknown = |operation: &&Arc<Operation>| cell.operations().get(operation.id.as_str()).is_none();
        let finished = finished.into_iter().filter(unknown).cloned().collect();
        self.at = latest;
        (state, finished)
    }
}
