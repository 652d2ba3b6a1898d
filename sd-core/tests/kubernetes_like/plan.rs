//! From a set of changes to writes of objects: which objects, and what is in them after a state.

use std::sync::Arc;

use sd_core::{
    Change, ChangeSet, Scope, State, StateCell, Timestamp,
    model::{
        EntityKey, HealthCheck, InstanceId, Operation, OperationId, OperationTargets, Service, ServiceId,
        UniqueKey,
    },
    state::{NamespaceEntry, PendingOperation, Precondition, ServiceEntry},
};

use crate::{
    mirror::{Known, Mirror},
    objects::{Directory, Name, Nonce, Slot, Value, ValueOf},
};

/// Changes that one write stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Directory,
    Slot(ServiceId, InstanceId),
}

/// What has to be written so that a change is stored.
fn place(change: &Change, mirror: &Mirror, scope: &Scope) -> Place {
    match change {
        Change::PutNamespace(_)
        | Change::DeleteNamespace(_)
        | Change::PutService(_)
        | Change::DeleteService(_) => Place::Directory,
        Change::PutInstance { service, instance, .. } => Place::Slot(service.clone(), instance.id.clone()),
        Change::DeleteInstance { service, id } | Change::PutHealth { service, id, .. } => {
            Place::Slot(service.clone(), id.clone())
        }
        Change::BeginOperation(pending) => place_of(&pending.operation),
        Change::EndOperation(id) => {
            let known = mirror.known(scope);
            let pending = known.operations.iter().find(|(_, pending)| pending.operation.id == *id);
            pending.map_or(Place::Directory, |(_, pending)| place_of(&pending.operation))
        }
    }
}

fn place_of(operation: &Operation) -> Place {
    match &operation.targets {
        OperationTargets::Instance(service, id) => Place::Slot(service.clone(), id.clone()),
        OperationTargets::Namespace(_) | OperationTargets::Service(_) => Place::Directory,
    }
}

/// The first changes of a set that one write stores, and how many they are.
pub(crate) fn first_place(set: &ChangeSet, mirror: &Mirror) -> (Place, usize) {
    let mut places = set.changes.iter().map(|change| place(change, mirror, &set.scope));
    if set.reset {
        // The directory that names nothing else, and what is in it.
        return (Place::Directory, places.take_while(|place| *place == Place::Directory).count());
    }
    match places.next() {
        // A set without changes is kept for its operation.
        None | Some(Place::Directory) => {
            let more = places.take_while(|place| *place == Place::Directory).count();
            (Place::Directory, set.changes.len().min(1 + more))
        }
        Some(slot) => (slot, 1),
    }
}

/// What a set relies on and changes, as far as it has to be looked at before it is decided upon.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) slots: Vec<(ServiceId, InstanceId)>,
    /// The services of which all slots count.
    pub(crate) children: Vec<ServiceId>,
    /// Whether an operation has to be looked for in every slot.
    pub(crate) everything: bool,
}

pub(crate) fn reads(set: &ChangeSet, mirror: &Mirror) -> Reads {
    let mut reads = Reads::default();
    for precondition in &set.preconditions {
        match precondition {
            Precondition::Live(key, _)
            | Precondition::At(key, _)
            | Precondition::Free(UniqueKey::Id(key) | UniqueKey::Target(key)) => {
                if let EntityKey::Instance(service, id) = key {
                    reads.slots.push((service.clone(), id.clone()));
                }
            }
            Precondition::Pending(id) => {
                let known = mirror.place_of_pending(id);
                reads.everything |= known.is_none();
                reads.slots.extend(known);
            }
            Precondition::Free(_) | Precondition::Childless(_) => {}
        }
    }
    for change in &set.changes {
        if let Place::Slot(service, id) = place(change, mirror, &set.scope) {
            reads.slots.push((service, id));
        }
    }
    let relied = set.preconditions.iter().filter_map(|precondition| match precondition {
        Precondition::Childless(EntityKey::Service(id)) => Some(id.clone()),
        _ => None,
    });
    let deleted = set.changes.iter().filter_map(|change| match change {
        Change::DeleteService(id) => Some(id.clone()),
        _ => None,
    });
    reads.children = relied.chain(deleted).collect();
    reads
}

/// The slots that a set without changes relies on.
pub(crate) fn relied_on(set: &ChangeSet, mirror: &Mirror) -> Vec<(ServiceId, InstanceId)> {
    let slots = set.preconditions.iter().filter_map(|precondition| match precondition {
        Precondition::Live(EntityKey::Instance(service, id), _)
        | Precondition::At(EntityKey::Instance(service, id), _) => Some((service.clone(), id.clone())),
        Precondition::Pending(id) => mirror.place_of_pending(id),
        _ => None,
    });
    slots.collect()
}

/// Whether the set relies on a revision of this service.
pub(crate) fn is_at(set: &ChangeSet, service: &ServiceId) -> bool {
    set.preconditions.iter().any(
        |precondition| matches!(precondition, Precondition::At(EntityKey::Service(id), _) if id == service),
    )
}

/// Whether the writes themselves find out if what the set relies on does not hold: it changes one slot and relies on that
/// slot, whose version is compared, and on its service, which is looked at after the write.
pub(crate) fn is_guarded(set: &ChangeSet, mirror: &Mirror) -> bool {
    let mut slots = set.changes.iter().map(|change| place(change, mirror, &set.scope));
    let Some(Place::Slot(service, id)) = slots.next() else { return false };
    let own = EntityKey::Instance(service.clone(), id);
    let parent = EntityKey::Service(service);
    !set.reset
        && slots.next().is_none()
        && set.preconditions.iter().all(|precondition| match precondition {
            Precondition::Live(key, _) => *key == own || *key == parent,
            Precondition::At(key, _) => *key == own,
            Precondition::Free(UniqueKey::Target(key) | UniqueKey::Id(key)) => *key == own,
            Precondition::Free(_) | Precondition::Pending(_) | Precondition::Childless(_) => false,
        })
}

/// Whether an operation that was begun has ended, and then how.
fn ended(pending: &PendingOperation, cell: &StateCell, at: Timestamp) -> Option<Arc<Operation>> {
    let logged = cell.operations().get(pending.operation.id.as_str());
    logged.or_else(|| (pending.due <= at).then(|| Arc::new(pending.at(pending.due))))
}

/// Whether a slot keeps its service from being deleted at this moment.
pub(crate) fn is_in_use(slot: &Slot, cell: &StateCell, at: Timestamp) -> bool {
    match &slot.pending {
        Some(pending) if ended(pending, cell, at).is_some() => {
            let last = pending.effect.iter().rev().find_map(|change| match change {
                Change::PutInstance { .. } => Some(true),
                Change::DeleteInstance { .. } => Some(false),
                _ => None,
            });
            last.unwrap_or(slot.instance.is_some())
        }
        Some(_) => true,
        None => slot.instance.is_some(),
    }
}

/// How often a service begins or ceases to be checked.
fn turns(id: &ServiceId, before: Option<&Service>, changes: &[&Change]) -> u64 {
    let is_checked = |service: &Service| service.health_check != HealthCheck::None;
    let (mut last, mut turns) = (before.map(is_checked), 0);
    for change in changes {
        if let Change::PutService(service) = change
            && service.id == *id
        {
            let now = Some(is_checked(service));
            turns += u64::from(last.is_some() && last != now);
            last = now;
        }
    }
    turns
}

/// Whether the directory still has an operation on a service that is over: then it is written before the slots are.
pub(crate) fn is_behind(known: &Known, service: &ServiceId, cell: &StateCell, at: Timestamp) -> bool {
    known.operations.iter().any(|(_, pending)| {
        matches!(&pending.operation.targets, OperationTargets::Service(target) if target == service)
            && ended(pending, cell, at).is_some()
    })
}

fn begun(changes: &[Change]) -> impl Iterator<Item = &Arc<PendingOperation>> {
    changes.iter().filter_map(|change| match change {
        Change::BeginOperation(pending) => Some(pending),
        _ => None,
    })
}

fn is_over(changes: &[Change], id: &OperationId) -> bool {
    changes.iter().any(|change| matches!(change, Change::EndOperation(ended) if ended == id))
}

/// Changes of a set that one write stores.
pub(crate) struct Part<'a> {
    pub(crate) changes: &'a [Change],
    /// Whether the scope starts over before them.
    pub(crate) reset: bool,
    /// The state after them.
    pub(crate) after: &'a State,
    pub(crate) at: Timestamp,
    /// The operation that they finish.
    pub(crate) operation: Option<&'a Arc<Operation>>,
    pub(crate) cell: &'a StateCell,
}

impl Part<'_> {
    /// The directory of the state after, and the values that it needs and that are not stored yet.
    pub(crate) fn directory(
        &self,
        known: &Known,
        mut name: impl FnMut() -> Nonce,
    ) -> (Directory, Vec<(Name, Value)>) {
        let scope = &known.directory.scope;
        let here = self.after.scope(scope);
        let mut new = Vec::new();
        let mut keep = |of: ValueOf| {
            let name = format!("v/{}", name());
            new.push((name.clone(), Value { scope: scope.clone(), base: known.version.unwrap_or(0), of }));
            name
        };
        let resets = known.directory.resets + u64::from(self.reset);
        let mut directory = Directory { scope: scope.clone(), at: self.at, resets, ..Directory::default() };
        for value in here.namespaces().map(NamespaceEntry::namespace) {
            let before = known.namespaces.iter().find(|(_, before)| before == value);
            let name =
                before.map_or_else(|| keep(ValueOf::Namespace(Arc::clone(value))), |(name, _)| name.clone());
            directory.namespaces.insert(value.id.clone(), name);
        }
        let services = here.namespaces().flat_map(|entry| here.services_of(entry));
        for value in services.map(ServiceEntry::service) {
            let before = known.services.iter().find(|(_, before)| before == value);
            let name =
                before.map_or_else(|| keep(ValueOf::Service(Arc::clone(value))), |(name, _)| name.clone());
            directory.services.insert(value.id.clone(), (value.incarnation, name));
        }
        let effects =
            known.operations.iter().filter(|(_, pending)| ended(pending, self.cell, self.at).is_some());
        let effects = effects.flat_map(|(_, pending)| &pending.effect);
        let changes: Vec<_> = effects.chain(self.changes).collect();
        for id in directory.services.keys() {
            let before = known.services.iter().find(|(_, service)| service.id == *id);
            let checks =
                known.directory.checks(id) + turns(id, before.map(|(_, service)| &**service), &changes);
            if checks > 0 {
                directory.checks.insert(id.clone(), checks);
            }
        }
        let mut finished = Vec::new();
        let under_way = known.operations.iter().filter(|_| !self.reset);
        for (name, pending) in under_way {
            let id = &pending.operation.id;
            match ended(pending, self.cell, self.at) {
                Some(operation) => finished.push(operation),
                None if is_over(self.changes, id) => {}
                None => drop(directory.operations.insert(id.clone(), name.clone())),
            }
        }
        for pending in begun(self.changes) {
            let name = keep(ValueOf::Operation(Arc::clone(pending)));
            directory.operations.insert(pending.operation.id.clone(), name);
        }
        finished.extend(self.operation.cloned());
        directory.recent = known.directory.recent.clone();
        if self.reset {
            directory.recent.forget();
        }
        directory.recent.push(name_of_write(&mut name), finished);
        (directory, new)
    }

    /// The slot of the state after; `None` if nothing changes.
    pub(crate) fn slot(
        &self,
        (scope, service, id): (&Scope, &ServiceId, &InstanceId),
        mirror: &Mirror,
        mut name: impl FnMut() -> Nonce,
    ) -> Option<(Name, Slot)> {
        let entry = self.after.scope(scope).service(service.as_str())?;
        let incarnation = entry.service().incarnation;
        let slot = Slot::name(scope, incarnation, id);
        let instance =
            entry.instances().get(id.as_str()).map(|entry| (Arc::clone(entry.instance()), entry.health()));
        let shown = mirror.shown(&slot);
        let mut finished = Vec::new();
        let mut pending = None;
        if let Some(before) = shown.and_then(|shown| shown.pending.as_ref()) {
            match ended(before, self.cell, self.at) {
                Some(operation) => finished.push(operation),
                None if is_over(self.changes, &before.operation.id) => {}
                None => pending = Some(Arc::clone(before)),
            }
        }
        pending = begun(self.changes).next().cloned().or(pending);
        finished.extend(self.operation.cloned());
        let absent = instance.is_none() && pending.is_none();
        let was_absent = shown.is_none_or(|shown| !shown.is_in_use());
        if absent && was_absent && finished.is_empty() {
            return None;
        }
        let mut recent = mirror.slot(&slot).map(|(_, slot)| slot.recent.clone()).unwrap_or_default();
        recent.push(name_of_write(&mut name), finished);
        let checks = mirror.known(scope).directory.checks(service);
        let (scope, service, id) = (scope.clone(), service.clone(), id.clone());
        let settled = false;
        let at = self.at;
        Some((slot, Slot { scope, at, service, incarnation, id, instance, checks, pending, settled, recent }))
    }
}

fn name_of_write(name: &mut impl FnMut() -> Nonce) -> Nonce {
    name()
}
