//! What is stored: one object for each entity, and one directory for each scope.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use sd_core::{
    Scope, Timestamp,
    model::{
        Health, Incarnation, Instance, InstanceId, Namespace, NamespaceId, Operation, OperationId, Service,
        ServiceId,
    },
    state::PendingOperation,
};

/// The name of an object.
pub(crate) type Name = String;

/// Marks one attempt to write an object.
pub(crate) type Nonce = String;

/// The kinds of objects. Each is watched by itself, so that one may lag behind another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    Value,
    Slot,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Directory, Self::Value, Self::Slot];
}

#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Directory(Arc<Directory>),
    Value(Value),
    Slot(Arc<Slot>),
}

impl Payload {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Directory(_) => Kind::Directory,
            Self::Value(_) => Kind::Value,
            Self::Slot(_) => Kind::Slot,
        }
    }

    /// Who wrote it last.
    pub(crate) fn recent(&self) -> Option<&Recent> {
        match self {
            Self::Directory(directory) => Some(&directory.recent),
            Self::Slot(slot) => Some(&slot.recent),
            Self::Value(_) => None,
        }
    }
}

/// Which namespaces, services and operations on namespaces exist in a scope, and in which objects their values are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    pub(crate) scope: Scope,
    pub(crate) at: Timestamp,
    pub(crate) namespaces: BTreeMap<NamespaceId, Name>,
    pub(crate) services: BTreeMap<ServiceId, (Incarnation, Name)>,
    pub(crate) operations: BTreeMap<OperationId, Name>,
    /// How often each service has begun or ceased to be checked, if it has.
    pub(crate) checks: BTreeMap<ServiceId, u64>,
    /// How often the scope has started over. A replica that has shown fewer forgets the operations that it
    /// knows.
    pub(crate) resets: u64,
    /// The services that somebody is about to delete.
    pub(crate) closing: BTreeSet<ServiceId>,
    pub(crate) recent: Recent,
}

impl Directory {
    pub(crate) fn name(scope: &Scope) -> Name {
        format!("d/{scope}")
    }

    /// The objects that it is about.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Name> {
        let services = self.services.values().map(|(_, name)| name);
        self.namespaces.values().chain(services).chain(self.operations.values())
    }

    pub(crate) fn checks(&self, service: &ServiceId) -> u64 {
        self.checks.get(service).copied().unwrap_or_default()
    }

    pub(crate) fn has(&self, slot: &Slot) -> bool {
        self.services.get(&slot.service).is_some_and(|(incarnation, _)| *incarnation == slot.incarnation)
    }
}

/// The value of something in a directory. It never changes; another value is another object.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) scope: Scope,
    /// The version of the directory that it was written to replace.
    pub(crate) base: u64,
    pub(crate) of: ValueOf,
}

#[derive(Clone, Debug)]
pub(crate) enum ValueOf {
    Namespace(Arc<Namespace>),
    Service(Arc<Service>),
    Operation(Arc<PendingOperation>),
}

/// The place of an instance in a service: the instance, if it is registered, and the operation on it that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) scope: Scope,
    pub(crate) at: Timestamp,
    pub(crate) service: ServiceId,
    pub(crate) incarnation: Incarnation,
    pub(crate) id: InstanceId,
    /// The health counts as long as the service has as many `checks`; after that it has started anew.
    pub(crate) instance: Option<(Arc<Instance>, Health)>,
    pub(crate) checks: u64,
    pub(crate) pending: Option<Arc<PendingOperation>>,
    /// Somebody has been answered because of what is here, so its writer does not take it back any more.
    pub(crate) settled: bool,
    pub(crate) recent: Recent,
}

impl Slot {
    /// How the names of all slots of a scope begin.
    pub(crate) fn all(scope: &Scope) -> Name {
        format!("i/{scope}/")
    }

    /// How the names of the slots of a service begin.
    pub(crate) fn prefix(scope: &Scope, incarnation: Incarnation) -> Name {
        format!("i/{scope}/{incarnation:?}/")
    }

    pub(crate) fn name(scope: &Scope, incarnation: Incarnation, id: &InstanceId) -> Name {
        format!("{}{id}", Self::prefix(scope, incarnation))
    }

    /// Whether it keeps its service from being deleted. A slot that does not is a tombstone, which only tells the end of an
    /// operation, and that the name was used.
    pub(crate) fn is_in_use(&self) -> bool {
        self.instance.is_some() || self.pending.is_some()
    }
}

/// The last writes to an object, and the operations that they finished. Whoever does not know whether its write was done
/// finds it here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// How many there were in all.
    pub(crate) count: u64,
    writes: VecDeque<(Nonce, Vec<Arc<Operation>>)>,
}

impl Recent {
    pub(crate) const KEPT: usize = 64;

    pub(crate) fn push(&mut self, nonce: Nonce, finished: Vec<Arc<Operation>>) {
        if self.writes.len() == Self::KEPT {
            self.writes.pop_front();
        }
        self.count += 1;
        self.writes.push_back((nonce, finished));
    }

    /// Forgets the operations. The writes stay, so that their authors can find them.
    pub(crate) fn forget(&mut self) {
        self.writes.iter_mut().for_each(|(_, finished)| finished.clear());
    }

    /// Forgets the operations of one write.
    pub(crate) fn take_back(&mut self, nonce: &str) {
        for (_, finished) in self.writes.iter_mut().filter(|(found, _)| found == nonce) {
            finished.clear();
        }
    }

    pub(crate) fn has(&self, nonce: &str) -> bool {
        self.writes.iter().any(|(found, _)| found == nonce)
    }

    pub(crate) fn last(&self) -> Option<&Nonce> {
        self.writes.back().map(|(nonce, _)| nonce)
    }

    pub(crate) fn finished(&self) -> impl Iterator<Item = &Arc<Operation>> {
        self.writes.iter().flat_map(|(_, finished)| finished)
    }
}
