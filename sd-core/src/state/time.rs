//! Effects of time: operations end, and reports of health take effect.
//!
//! Backends do not store these effects: every replica derives the same state from the same facts and the same time.

use std::sync::Arc;

use super::{Age, InstanceEntry, Revision, ScopeState, State};
use crate::{
    model::{
        Endpoint, EntityKey, Health, HealthCheck, InstanceId, Namespace, Operation, OperationError,
        OperationErrorCode, OperationId, OperationStatus, Scope, Service, ServiceId, Timestamp, UniqueKey,
    },
    state::change::{Change, PendingOperation},
};

/// An operation under way, as the state holds it.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) pending: Arc<PendingOperation>,
    pub(crate) age: Age,
    pub(super) arrival: Arrival,
}

/// What an operation under way will add to the counts of quotas. One that will fail adds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Nothing,
    Namespace,
    Instance(ServiceId),
}

/// An effect that is due at a certain time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// The end of an operation. Ends at the same time are in the order in which the operations started.
    Operation(Age, OperationId),
    /// A report of health.
    Health(ServiceId, InstanceId),
}

/// The effects of time in one scope.
#[derive(Debug)]
pub(crate) struct Elapsed {
    pub(crate) scope: Scope,
    pub(crate) changes: Vec<Change>,
    pub(crate) operations: Vec<(Arc<Operation>, Age)>,
}

impl State {
    /// The time of the next delayed effect; `None` if there is none.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.get_min().map(|(due, _)| *due)
    }

    /// Whether a delayed effect is due at this time.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.next_deadline().is_some_and(|due| due <= now)
    }

    /// The state at this time, with all effects that are due; `None` if none is.
    pub(crate) fn advanced(&self, now: Timestamp) -> Option<(Self, Vec<Elapsed>)> {
        if !self.is_due(now) {
            return None;
        }
        let mut state = self.clone();
        let due = self.deadlines.iter().take_while(|(due, _)| *due <= now).map(|(_, scope)| scope.clone());
        let mut all = Vec::new();
        for scope in due {
            let before = self.scope(&scope);
            let mut after = before.clone();
            let mut elapsed = Elapsed { scope: scope.clone(), changes: Vec::new(), operations: Vec::new() };
            while let Some((due, deadline)) =
                after.deadlines.get_min().filter(|(due, _)| *due <= now).cloned()
            {
                // Each effect gets its own revision, so that what it creates has its own age.
                state.revision = state.revision.next();
                after.pass(due, deadline, state.revision, &mut elapsed);
            }
            state.replace(&scope, before, after);
            all.push(elapsed);
        }
        Some((state, all))
    }

    /// Replaces the state of a scope. An empty scope is dropped.
    pub(super) fn replace(&mut self, scope: &Scope, before: &ScopeState, mut after: ScopeState) {
        for name in std::mem::take(&mut after.released) {
            Arc::make_mut(&mut self.former_names).insert(scope, &name);
        }
        let first = |state: &ScopeState| state.deadlines.get_min().map(|(due, _)| *due);
        let (was, is) = (first(before), first(&after));
        if was != is {
            if let Some(due) = was {
                self.deadlines.remove(&(due, scope.clone()));
            }
            if let Some(due) = is {
                self.deadlines.insert((due, scope.clone()));
            }
        }
        if after.is_empty() {
            self.last_instances_revision = self.last_instances_revision.max(after.last_instances_revision);
            self.scopes.remove(scope);
        } else {
            self.scopes.insert(scope.clone(), Arc::new(after));
        }
    }
}

impl ScopeState {
    /// The operation under way with this id.
    pub(crate) fn in_flight(&self, id: &str) -> Option<&InFlight> {
        self.in_flight.get(id)
    }

    /// All operations under way.
    pub(crate) fn all_in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.values()
    }

    /// The operation under way that claims this key.
    pub(crate) fn claimed_by(&self, key: &UniqueKey) -> Option<&PendingOperation> {
        if self.busy.is_empty() {
            return None;
        }
        self.busy.get(key).and_then(|id| self.in_flight.get(id)).map(|found| &*found.pending)
    }

    pub(super) fn begin(
        &mut self,
        pending: &Arc<PendingOperation>,
        revision: Revision,
    ) -> Result<(), EntityKey> {
        let operation = &pending.operation;
        // A backend may apply the change twice: when it writes it, and when it reads it back.
        self.end(&operation.id);
        if let Some(service) = operation.targets.service() {
            self.count_operation(service, true)?;
        }
        let age = Age::new(operation.created, revision);
        for claim in &pending.claims {
            self.busy.insert(claim.clone(), operation.id.clone());
        }
        self.deadlines.insert((pending.due, Deadline::Operation(age, operation.id.clone())));
        let arrival = self.arrival(pending);
        self.count_arrival(&arrival, true);
        self.in_flight.insert(operation.id.clone(), InFlight { pending: Arc::clone(pending), age, arrival });
        Ok(())
    }

    /// Removes an operation under way, its claims and its deadline.
    pub(super) fn end(&mut self, id: &OperationId) -> Option<InFlight> {
        let found = self.in_flight.remove(id)?;
        self.deadlines.remove(&(found.pending.due, Deadline::Operation(found.age, id.clone())));
        for claim in &found.pending.claims {
            self.busy.remove(claim);
        }
        if let Some(service) = found.pending.operation.targets.service() {
            // The service exists: it cannot be deleted while it has operations.
            let _ = self.count_operation(service, false);
        }
        self.count_arrival(&found.arrival, false);
        Some(found)
    }

    fn arrival(&self, pending: &PendingOperation) -> Arrival {
        let arrival = |change: &Change| match change {
            Change::PutNamespace(namespace) if !self.namespaces.contains_key(&namespace.id) => {
                Some(Arrival::Namespace)
            }
            Change::PutInstance { service, instance, .. } => {
                let entry = self.services.get(service)?;
                let is_new = entry.instances.get(instance.id.as_str()).is_none();
                is_new.then(|| Arrival::Instance(service.clone()))
            }
            _ => None,
        };
        pending.effect.iter().find_map(arrival).unwrap_or(Arrival::Nothing)
    }

    /// Counts what operations under way will add.
    fn count_arrival(&mut self, arrival: &Arrival, begins: bool) {
        let next = |count: usize| if begins { count + 1 } else { count.saturating_sub(1) };
        match arrival {
            Arrival::Nothing => {}
            Arrival::Namespace => self.namespaces_to_come = next(self.namespaces_to_come),
            Arrival::Instance(service) => {
                if let Some(entry) = self.services.get_mut(service) {
                    let entry = Arc::make_mut(entry);
                    entry.instances_to_come = next(entry.instances_to_come);
                }
            }
        }
    }

    /// Counts the operations on a service and its instances, which keep the service in use.
    fn count_operation(&mut self, service: &ServiceId, begins: bool) -> Result<(), EntityKey> {
        let entry = self.services.get_mut(service).ok_or_else(|| EntityKey::Service(service.clone()))?;
        let entry = Arc::make_mut(entry);
        entry.operations = if begins { entry.operations + 1 } else { entry.operations.saturating_sub(1) };
        Ok(())
    }

    fn pass(&mut self, due: Timestamp, deadline: Deadline, revision: Revision, elapsed: &mut Elapsed) {
        self.deadlines.remove(&(due, deadline.clone()));
        match deadline {
            Deadline::Operation(_, id) => self.finish(&id, revision, elapsed),
            Deadline::Health(service, id) => {
                let Some(entry) =
                    self.service(service.as_str()).and_then(|entry| entry.instances().get(id.as_str()))
                else {
                    return;
                };
                let health = entry.health().advance(due);
                // The stored fact does not change, so the instance keeps its revision.
                let stored = entry.revision();
                if let Some(entry) = self.services.get_mut(&service) {
                    Arc::make_mut(entry).instances.put_health(&id, health, stored);
                }
                elapsed.changes.push(Change::PutHealth { service, id, health });
            }
        }
    }

    fn finish(&mut self, id: &OperationId, revision: Revision, elapsed: &mut Elapsed) {
        let Some(InFlight { pending, age, .. }) = self.end(id) else { return };
        let mut operation = pending.at(pending.due);
        let mut applied = Vec::with_capacity(pending.effect.len());
        for change in &pending.effect {
            let change = self.as_of_now(change);
            match self.change(&change, revision, pending.due) {
                Ok(()) => applied.push(change),
                Err(key) => {
                    tracing::error!(%id, ?key, "operation fails: its effect is no longer possible");
                    operation.status = OperationStatus::Fail;
                    let message = format!("{key} does not exist any more");
                    operation.error = Some(OperationError::new(OperationErrorCode::InternalFailure, message));
                    break;
                }
            }
        }
        elapsed.changes.extend(applied);
        elapsed.operations.push((Arc::new(operation), age));
    }

    /// The effect of an operation, merged with changes that were made without an operation while it was under way.
    ///
    /// These are the health of an instance, if the service's current health check still allows it, and the tags of namespaces
    /// and the tags and attributes of services.
    fn as_of_now(&self, change: &Change) -> Change {
        match change {
            Change::PutInstance { service, instance, health } => {
                let Some(entry) = self.service(service.as_str()) else { return change.clone() };
                let (check, endpoint) = (&entry.service().health_check, &instance.endpoint);
                let before = entry.instances().get(instance.id.as_str());
                let kept = before.filter(|before| keeps_health(check, before, endpoint));
                let health = kept.map_or(*health, InstanceEntry::health);
                let health = health.under(check, endpoint.initial_health);
                Change::PutInstance { service: service.clone(), instance: Arc::clone(instance), health }
            }
            Change::PutNamespace(namespace) => match self.namespace(namespace.id.as_str()) {
                Some(entry) => {
                    let tags = entry.namespace().tags.clone();
                    Change::PutNamespace(Arc::new(Namespace { tags, ..(**namespace).clone() }))
                }
                None => change.clone(),
            },
            Change::PutService(service) => match self.service(service.id.as_str()) {
                Some(entry) => {
                    let before = entry.service();
                    let (tags, attributes) = (before.tags.clone(), before.attributes.clone());
                    Change::PutService(Arc::new(Service { tags, attributes, ..(**service).clone() }))
                }
                None => change.clone(),
            },
            Change::DeleteNamespace(_)
            | Change::DeleteService(_)
            | Change::DeleteInstance { .. }
            | Change::BeginOperation(_)
            | Change::EndOperation(_)
            | Change::PutHealth { .. } => change.clone(),
        }
    }

    /// Updates the deadline of an instance's health.
    pub(super) fn move_health_deadline(
        &mut self,
        service: &ServiceId,
        id: &InstanceId,
        before: Option<Health>,
        after: Option<Health>,
    ) {
        let deadline = |health: Option<Health>| health.and_then(Health::next_deadline);
        let (was, is) = (deadline(before), deadline(after));
        if was == is {
            return;
        }
        let key = || Deadline::Health(service.clone(), id.clone());
        if let Some(due) = was {
            self.deadlines.remove(&(due, key()));
        }
        if let Some(due) = is {
            self.deadlines.insert((due, key()));
        }
    }
}

/// Whether an instance that is registered again keeps its health. A custom status is kept, unless the new attributes have
/// another initial status; a Route 53 check starts again.
pub(crate) fn keeps_health(check: &HealthCheck, before: &InstanceEntry, endpoint: &Endpoint) -> bool {
    *check == HealthCheck::Custom && before.instance().endpoint.initial_health == endpoint.initial_health
}
