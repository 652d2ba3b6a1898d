//! From a set of changes to writes of objects: which objects, and what is in them after a state.

use std::sync::Arc;

use sd_core::{
    Change, ChangeSet, Scope, State, StateCell, Timestamp,
    model::{
        EntityKey, HealthCheck, InstanceId, Namespace, NamespaceId, Operation, OperationId, OperationTargets,
        Service, ServiceId, UniqueKey,
    },
    state::{PendingOperation, Precondition},
};

use crate::{
    mirror::Mirror,
    objects::{Entity, Kind, Name, Nonce, Spec, claim_name},
};

/// The object that a change is stored in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Namespace(NamespaceId),
    Service(ServiceId),
    Slot(ServiceId, InstanceId),
    /// An object of its own: an operation without an entity.
    Operation(OperationId),
    /// None: it changes nothing.
    Nowhere,
}

pub(crate) fn place(change: &Change, mirror: &Mirror, scope: &Scope) -> Place {
    match change {
        Change::PutNamespace(namespace) => Place::Namespace(namespace.id.clone()),
        Change::DeleteNamespace(id) => Place::Namespace(id.clone()),
        Change::PutService(service) => Place::Service(service.id.clone()),
        Change::DeleteService(id) => Place::Service(id.clone()),
        Change::PutInstance { service, instance, .. } => Place::Slot(service.clone(), instance.id.clone()),
        Change::DeleteInstance { service, id } | Change::PutHealth { service, id, .. } => {
            Place::Slot(service.clone(), id.clone())
        }
        Change::BeginOperation(pending) => place_of(pending, mirror, scope),
        Change::EndOperation(id) => {
            let found = mirror.place_of_pending(id).and_then(|name| mirror.object(&name));
            let pending = found.and_then(|seen| seen.spec.pending.clone());
            pending.map_or(Place::Nowhere, |pending| place_of(&pending, mirror, scope))
        }
    }
}

fn place_of(pending: &PendingOperation, mirror: &Mirror, scope: &Scope) -> Place {
    match &pending.operation.targets {
        OperationTargets::Instance(service, id) => Place::Slot(service.clone(), id.clone()),
        OperationTargets::Service(id) => Place::Service(id.clone()),
        OperationTargets::Namespace(id) => {
            let is_there = created(pending).is_some() || mirror.namespace(scope, id).is_some();
            if is_there {
                Place::Namespace(id.clone())
            } else {
                Place::Operation(pending.operation.id.clone())
            }
        }
    }
}

/// The namespace that an operation puts.
pub(crate) fn created(pending: &PendingOperation) -> Option<&Arc<Namespace>> {
    pending.effect.iter().find_map(|change| match change {
        Change::PutNamespace(namespace) => Some(namespace),
        _ => None,
    })
}

/// Whether a change deletes a namespace or service, now or when its operation is due.
pub(crate) fn deletes(change: &Change) -> bool {
    match change {
        Change::DeleteNamespace(_) | Change::DeleteService(_) => true,
        Change::BeginOperation(pending) => pending.effect.iter().any(deletes),
        _ => false,
    }
}

/// What a set relies on and changes, as far as it has to be read before it is decided upon.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) namespaces: Vec<NamespaceId>,
    pub(crate) services: Vec<ServiceId>,
    pub(crate) slots: Vec<(ServiceId, InstanceId)>,
    pub(crate) claims: Vec<Name>,
    /// The entities of which all children count.
    pub(crate) parents: Vec<EntityKey>,
    /// Whether an operation has to be looked for everywhere.
    pub(crate) everything: bool,
}

impl Reads {
    pub(crate) fn of(set: &ChangeSet, mirror: &Mirror) -> Self {
        let mut reads = Self::default();
        for precondition in &set.preconditions {
            match precondition {
                Precondition::Live(key, _)
                | Precondition::At(key, _)
                | Precondition::Free(UniqueKey::Id(key) | UniqueKey::Target(key)) => reads.entity(key),
                Precondition::Free(UniqueKey::ServiceName(namespace, _)) => {
                    reads.parents.push(EntityKey::Namespace(namespace.clone()));
                }
                Precondition::Free(key) => reads.claims.push(claim_name(&set.scope, key)),
                Precondition::Pending(id) => match mirror.place_of_pending(id) {
                    Some(name) => reads.claims.push(name),
                    None => reads.everything = true,
                },
                Precondition::Childless(key) => reads.parents.push(key.clone()),
            }
        }
        for change in &set.changes {
            let place = place(change, mirror, &set.scope);
            match (&place, deletes(change)) {
                (Place::Namespace(id), true) => reads.parents.push(EntityKey::Namespace(id.clone())),
                (Place::Service(id), true) => reads.parents.push(EntityKey::Service(id.clone())),
                _ => {}
            }
            match (place, change) {
                (Place::Service(id), Change::PutService(service)) => {
                    reads.namespaces.push(service.namespace_id.clone());
                    reads.services.push(id);
                }
                (Place::Namespace(id), _) => reads.namespaces.push(id),
                (Place::Service(id), _) => reads.services.push(id),
                (Place::Slot(service, id), _) => reads.slots.push((service, id)),
                (Place::Operation(_) | Place::Nowhere, _) => {}
            }
        }
        reads
    }

    pub(crate) fn entity(&mut self, key: &EntityKey) {
        match key {
            EntityKey::Namespace(id) => self.namespaces.push(id.clone()),
            EntityKey::Service(id) => self.services.push(id.clone()),
            EntityKey::Instance(service, id) => self.slots.push((service.clone(), id.clone())),
        }
    }
}

/// The instances that a set without changes relies on.
pub(crate) fn relied_on(set: &ChangeSet, mirror: &Mirror) -> Vec<(ServiceId, InstanceId)> {
    let slots = set.preconditions.iter().filter_map(|precondition| match precondition {
        Precondition::Live(EntityKey::Instance(service, id), _)
        | Precondition::At(EntityKey::Instance(service, id), _) => Some((service.clone(), id.clone())),
        Precondition::Pending(id) => {
            let name = mirror.place_of_pending(id).filter(|name| Kind::of(name) == Kind::Instance)?;
            mirror.object(&name)?.spec.slot.clone()
        }
        _ => None,
    });
    slots.collect()
}

/// Whether a set relies on the revision of an entity.
pub(crate) fn is_at(set: &ChangeSet, key: &EntityKey) -> bool {
    set.preconditions
        .iter()
        .any(|precondition| matches!(precondition, Precondition::At(found, _) if found == key))
}

/// Whether the writes themselves find out if what the set relies on does not hold: it changes one instance and relies on
/// that one, whose version is compared, and on its service, which is looked at after the write.
pub(crate) fn is_guarded(set: &ChangeSet, mirror: &Mirror) -> bool {
    let mut places = set.changes.iter().map(|change| place(change, mirror, &set.scope));
    let Some(Place::Slot(service, id)) = places.next() else { return false };
    let own = EntityKey::Instance(service.clone(), id);
    let parent = EntityKey::Service(service);
    !set.reset
        && places.next().is_none()
        && set.preconditions.iter().all(|precondition| match precondition {
            Precondition::Live(key, _) | Precondition::At(key, _) => *key == own || *key == parent,
            Precondition::Free(UniqueKey::Target(key) | UniqueKey::Id(key)) => *key == own,
            Precondition::Free(_) | Precondition::Pending(_) | Precondition::Childless(_) => false,
        })
}

/// Whether an operation that was begun has ended, and then how.
fn ended(pending: &PendingOperation, cell: &StateCell, at: Timestamp) -> Option<Arc<Operation>> {
    let logged = cell.operations().get(pending.operation.id.as_str());
    logged.or_else(|| (pending.due <= at).then(|| Arc::new(pending.at(pending.due))))
}

/// Whether an instance keeps its service from being deleted at this moment.
pub(crate) fn is_in_use(slot: &Spec, cell: &StateCell, at: Timestamp) -> bool {
    let is_registered = slot.entity != Entity::None;
    match &slot.pending {
        Some(pending) if ended(pending, cell, at).is_some() => {
            let last = pending.effect.iter().rev().find_map(|change| match change {
                Change::PutInstance { .. } => Some(true),
                Change::DeleteInstance { .. } => Some(false),
                _ => None,
            });
            last.unwrap_or(is_registered)
        }
        Some(_) => true,
        None => is_registered,
    }
}

/// How often a service begins or ceases to be checked.
fn turns(before: &Service, changes: &[&Change]) -> u64 {
    let is_checked = |service: &Service| service.health_check != HealthCheck::None;
    let (mut last, mut turns) = (is_checked(before), 0);
    for change in changes {
        if let Change::PutService(service) = change {
            let now = is_checked(service);
            turns += u64::from(last != now);
            last = now;
        }
    }
    turns
}

/// One change of a set, or the operation of a set that has no more changes.
pub(crate) struct Part<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) at: Timestamp,
    pub(crate) change: Option<&'a Change>,
    /// The state after it.
    pub(crate) after: &'a State,
    /// The operation that it finishes.
    pub(crate) operation: Option<&'a Arc<Operation>>,
    pub(crate) cell: &'a StateCell,
}

impl Part<'_> {
    pub(crate) fn begun(&self) -> Option<&Arc<PendingOperation>> {
        match self.change {
            Some(Change::BeginOperation(pending)) => Some(pending),
            _ => None,
        }
    }

    pub(crate) fn finished(&self) -> Vec<Arc<Operation>> {
        self.operation.cloned().into_iter().collect()
    }

    /// An entity as it is after the part.
    fn entity(&self, key: &EntityKey) -> Entity {
        let here = self.after.scope(self.scope);
        let found = match key {
            EntityKey::Namespace(id) => {
                here.namespace(id.as_str()).map(|entry| Entity::Namespace(Arc::clone(entry.namespace())))
            }
            EntityKey::Service(id) => {
                here.service(id.as_str()).map(|entry| Entity::Service(Arc::clone(entry.service())))
            }
            EntityKey::Instance(service, id) => {
                let entry =
                    here.service(service.as_str()).and_then(|entry| entry.instances().get(id.as_str()));
                entry.map(|entry| Entity::Instance(Arc::clone(entry.instance()), entry.health()))
            }
        };
        found.unwrap_or(Entity::None)
    }

    /// The object after the part. What is due is stored in the place of its operation, with the operation as finished.
    pub(crate) fn write(&self, before: &Spec, key: &EntityKey, nonce: Nonce) -> Spec {
        let mut spec = before.clone();
        let mut finished = Vec::new();
        let mut changes = Vec::new();
        spec.at = self.at;
        spec.entity = self.entity(key);
        if let Some(pending) = spec.pending.take() {
            match (ended(&pending, self.cell, self.at), self.change) {
                (Some(operation), _) => {
                    finished.push(operation);
                    changes.extend(pending.effect.clone());
                    spec.version += 1;
                }
                (None, Some(Change::EndOperation(id))) if *id == pending.operation.id => {}
                (None, _) => spec.pending = Some(pending),
            }
        }
        match self.change {
            Some(Change::BeginOperation(pending)) => spec.pending = Some(Arc::clone(pending)),
            Some(Change::EndOperation(_)) | None => {}
            Some(change) => {
                changes.push(change.clone());
                spec.version += 1;
            }
        }
        if let Entity::Service(service) = &before.entity {
            spec.checks += turns(service, &changes.iter().collect::<Vec<_>>());
        }
        finished.extend(self.operation.cloned());
        spec.recent.push(nonce, finished);
        spec
    }
}
