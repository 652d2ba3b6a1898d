//! Writes: plan, commit, and plan again after a conflict.

use super::{CloudMap, refresh};
use crate::{
    api::{call::Request, error::Error},
    model::{OperationError, OperationId, Revision, Scope, Timestamp, action::Action},
    ops::{Plan, WriteContext, fresh::Fresh},
    settings::clock::Clock,
    state::{
        State,
        change::{Change, ChangeSet, Precondition},
    },
    store::{
        cell::StateCell,
        registry::{CommitError, Lookup, Registry},
    },
};

/// The most attempts to plan and commit a request. Conflicts in all of them end in [`Error::Contention`].
pub(super) const ATTEMPTS: u32 = 16;

impl CloudMap {
    pub(super) async fn write<Q: Clone + Into<Request> + Sync, R: Send>(
        &self,
        call: WriteCall<'_, Q>,
        plan: impl Fn(&Q, &WriteContext<'_>) -> Result<Plan<R>, Error> + Send,
    ) -> Result<R, Error> {
        let inner = &*self.inner;
        let WriteCall { action, scope, request, waits } = call;
        let entry = inner.journal.begin(inner.clock.now(), scope, || request.clone().into());
        if waits && let Some(delay) = inner.faults.delay(action, scope) {
            delay.await;
        }
        let now = inner.clock.now();
        let result = match self.admit(action, scope, now) {
            Ok(failure) => {
                let asked = || Some(request.clone().into());
                let write = Write { scope, now, failure: failure.as_deref(), asked: &asked };
                self.commit(write, move |context| plan(request, context)).await
            }
            Err(error) => Err(error),
        };
        inner.journal.end(entry, &result);
        result
    }

    /// Plans, commits, and plans again if what the plan relied on has changed.
    pub(super) async fn commit<R: Send>(
        &self,
        write: Write<'_>,
        plan: impl Fn(&WriteContext<'_>) -> Result<Plan<R>, Error> + Send,
    ) -> Result<R, Error> {
        let inner = &*self.inner;
        let Write { scope, now, failure, .. } = write;
        let fresh = Fresh::draw(&*inner.ids);
        // What the backend may have stored, and will show sooner or later; then this request is done.
        let mut uncertain: Option<(Trace, R)> = None;
        let mut looked_for = Vec::new();
        for attempt in 1..=ATTEMPTS {
            let (planned, planned_on) = {
                let state = self.published();
                let context = WriteContext {
                    state: &state,
                    scope,
                    now,
                    mode: inner.mode,
                    timing: inner.timing,
                    quotas: inner.quotas,
                    health_start: inner.health_start,
                    failure,
                    fresh: &fresh,
                };
                (plan(&context), state.revision())
            };
            // After planning, so that a plan that saw what this request has stored before is not believed.
            uncertain = match uncertain {
                Some((trace, response)) if trace.is_in(self.cell()) => return Ok(response),
                open => open,
            };
            let planned = match planned {
                Ok(planned) => planned,
                Err(error) if self.has_changed(&error, &write, planned_on, &mut looked_for).await? => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some(changes) = planned.changes else {
                return Ok(planned.response);
            };
            let trace = Trace::of(&changes);
            let error = match inner.registry.commit(changes).await {
                Ok(()) => return Ok(planned.response),
                Err(error) => error,
            };
            if matches!(error, CommitError::Ambiguous) {
                uncertain = Some((trace, planned.response));
            }
            if let Some(error) = refresh::failure(error) {
                return Err(error);
            }
            if attempt < ATTEMPTS {
                inner.registry.pause(attempt).await;
            }
        }
        match uncertain {
            Some((trace, response)) if trace.is_in(self.cell()) => Ok(response),
            _ => Err(Error::Contention),
        }
    }

    /// Lets the registry look for what a refusal rests on, once for each fact. Whether the state has changed since the
    /// request was planned.
    async fn has_changed(
        &self,
        error: &Error,
        write: &Write<'_>,
        planned_on: Revision,
        looked_for: &mut Vec<Lookup>,
    ) -> Result<bool, Error> {
        let mut facts = refresh::facts(error, write.scope, write.asked);
        facts.retain(|fact| !looked_for.contains(fact));
        if facts.is_empty() {
            return Ok(false);
        }
        if let Some(error) =
            self.inner.registry.refresh(write.scope, &facts).await.err().and_then(refresh::failure)
        {
            return Err(error);
        }
        looked_for.append(&mut facts);
        Ok(self.cell().load().revision() != planned_on)
    }
}

/// What is to be planned and committed.
#[derive(Clone, Copy)]
pub(super) struct Write<'a> {
    pub(super) scope: &'a Scope,
    pub(super) now: Timestamp,
    /// Why the operation that it starts is to fail, if a fault was injected.
    pub(super) failure: Option<&'a OperationError>,
    /// The request of the API, if it is one.
    pub(super) asked: &'a (dyn Fn() -> Option<Request> + Sync),
}

/// A call of a write.
pub(super) struct WriteCall<'a, Q> {
    pub(super) action: Action,
    pub(super) scope: &'a Scope,
    pub(super) request: &'a Q,
    /// Whether it can be held back.
    pub(super) waits: bool,
}

/// Evidence that a set was stored: its operation, which has the same id however often the request is planned,
/// or the changed entities if it has none. With an operation a missing entity is not evidence: another
/// request may have deleted it, and the answer would name an operation that does not exist.
enum Trace {
    Operation(Scope, OperationId),
    Changes(ChangeSet),
}

impl Trace {
    fn of(set: &ChangeSet) -> Self {
        let begun = set.changes.iter().find_map(|change| match change {
            Change::BeginOperation(pending) => Some(&pending.operation),
            _ => None,
        });
        match set.operation.as_deref().or(begun) {
            Some(operation) => Self::Operation(set.scope.clone(), operation.id.clone()),
            None => Self::Changes(set.clone()),
        }
    }

    fn is_in(&self, cell: &StateCell) -> bool {
        match self {
            // In this order: an operation that ends is in the log before it is not under way any more.
            Self::Operation(scope, id) => {
                let id = id.as_str();
                cell.load().scope(scope).in_flight(id).is_some() || cell.operations().get(id).is_some()
            }
            Self::Changes(set) => {
                let state = cell.load();
                !set.changes.is_empty() && (is_visible(set, &state) || is_deleted(set, &state))
            }
        }
    }
}

/// Whether a set of deletions has nothing left to delete: the entities that it relies on no longer exist, even if others
/// have their ids now.
fn is_deleted(set: &ChangeSet, state: &State) -> bool {
    let deletes = |change: &Change| {
        matches!(
            change,
            Change::DeleteNamespace(_) | Change::DeleteService(_) | Change::DeleteInstance { .. }
        )
    };
    let mut relied_on =
        set.preconditions.iter().filter(|fact| matches!(fact, Precondition::Live(..))).peekable();
    relied_on.peek().is_some()
        && set.changes.iter().all(deletes)
        && relied_on.all(|fact| !state.scope(&set.scope).holds(fact))
}

/// Whether the state shows that these changes were stored: each entity is the one that was put, or is gone.
fn is_visible(set: &ChangeSet, state: &State) -> bool {
    let scope = state.scope(&set.scope);
    set.changes.iter().all(|change| match change {
        Change::PutNamespace(namespace) => {
            scope.namespace(namespace.id.as_str()).is_some_and(|found| found.namespace() == namespace)
        }
        Change::DeleteNamespace(id) => scope.namespace(id.as_str()).is_none(),
        Change::PutService(service) => {
            scope.service(service.id.as_str()).is_some_and(|found| found.service() == service)
        }
        Change::DeleteService(id) => scope.service(id.as_str()).is_none(),
        Change::PutInstance { service, instance, .. } => scope
            .service(service.as_str())
            .and_then(|entry| entry.instances().get(instance.id.as_str()))
            .is_some_and(|found| found.instance().registered_by == instance.registered_by),
        Change::DeleteInstance { service, id } => {
            scope.service(service.as_str()).is_none_or(|entry| entry.instances().get(id.as_str()).is_none())
        }
        Change::BeginOperation(pending) => scope.in_flight(pending.operation.id.as_str()).is_some(),
        Change::EndOperation(id) => scope.in_flight(id.as_str()).is_none(),
        Change::PutHealth { service, id, health } => scope
            .service(service.as_str())
            .and_then(|entry| entry.instances().get(id.as_str()))
            .is_some_and(|found| found.health() == *health),
    })
}
