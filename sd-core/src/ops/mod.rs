//! The planners: what each operation of the API means. A planner is a pure function from a state and a request to a response
//! and, for a write, to the changes to commit.
//!
//! No planner reads a clock, draws its own random numbers or waits. Each checks the members, finds what they name, checks
//! the rules between them, and decides, in this order.

pub(crate) mod check;
pub(crate) mod discovery;
mod filters;
pub(crate) mod fresh;
mod instance_attributes;
pub(crate) mod instance_health;
pub(crate) mod instances;
pub(crate) mod namespaces;
pub(crate) mod operations;
mod page;
pub(crate) mod service_attributes;
mod service_settings;
pub(crate) mod services;
pub(crate) mod sync;
pub(crate) mod tags;
pub(crate) mod update_namespace;
pub(crate) mod update_service;

use std::sync::Arc;

use crate::{
    api::{error::Error, response::OperationStarted},
    model::{
        EntityKey, HealthStart, Namespace, NamespaceId, Operation, OperationError, OperationStatus,
        OperationTargets, OperationType, ResourceRef, Scope, Service, Timestamp, UniqueKey, action::Action,
    },
    ops::fresh::Fresh,
    settings::{
        mode::Mode,
        quotas::{Quota, Quotas},
        random::RandomSource,
        timing::Timing,
    },
    state::{
        InstanceEntry, NamespaceEntry, ScopeState, ServiceEntry, State,
        change::{Change, ChangeSet, PendingOperation, Precondition},
    },
    store::operation_log::OperationLog,
};

/// The input of a planner of a write, besides the request.
pub(crate) struct WriteContext<'a> {
    pub(crate) state: &'a State,
    pub(crate) scope: &'a Scope,
    pub(crate) now: Timestamp,
    pub(crate) mode: Mode,
    pub(crate) timing: Timing,
    pub(crate) quotas: Quotas,
    /// The status of checked instances without a result.
    pub(crate) health_start: HealthStart,
    /// The error of an injected fault, with which the operation that the request starts fails.
    pub(crate) failure: Option<&'a OperationError>,
    /// Drawn once for a request, even if it is planned several times.
    pub(crate) fresh: &'a Fresh,
}

/// The input of a planner of a read, besides the request.
pub(crate) struct ReadContext<'a> {
    pub(crate) state: &'a State,
    /// The published state. `state` may be its projection to `now`. Every operation is under way in this state or is in the
    /// log.
    pub(crate) published: &'a State,
    pub(crate) scope: &'a Scope,
    pub(crate) now: Timestamp,
    pub(crate) operations: &'a OperationLog,
    pub(crate) random: &'a dyn RandomSource,
}

/// The outcome of a planner of a write: the changes to commit, and the response to a successful commit.
pub(crate) struct Plan<R> {
    pub(crate) changes: Option<ChangeSet>,
    pub(crate) response: R,
}

impl<R> Plan<R> {
    /// Nothing that exists has anything to do with the answer.
    fn nothing(response: R) -> Self {
        Self { changes: None, response }
    }

    /// Everything is as the request wants it, as long as the set's preconditions hold. They are committed, because the
    /// state may lag behind what others have stored.
    fn unchanged(relying: ChangeSet, response: R) -> Self {
        Self { changes: Some(relying), response }
    }

    fn commit(changes: ChangeSet, response: R) -> Self {
        Self { changes: Some(changes), response }
    }
}

impl WriteContext<'_> {
    fn here(&self) -> &ScopeState {
        self.state.scope(self.scope)
    }

    fn changes(&self) -> ChangeSet {
        ChangeSet::new(self.scope.clone(), self.now)
    }

    /// Refuses the request if `count` has reached the quota. `count` is called only if there is a quota.
    fn check_quota(&self, quota: Quota, count: impl FnOnce() -> usize) -> Result<(), Error> {
        match self.quotas.most(quota) {
            Some(most) if count() >= most => Err(Error::ResourceLimitExceeded { quota, most }),
            _ => Ok(()),
        }
    }

    /// Refuses the request if an operation under way holds one of the claims. If `replays` finds that the same request
    /// started the operation, returns the operation instead.
    fn check_idle(
        &self,
        claims: &[UniqueKey],
        replays: impl Fn(&PendingOperation) -> bool,
    ) -> Result<Option<OperationStarted>, Error> {
        let Some(other) = claims.iter().find_map(|claim| self.here().claimed_by(claim)) else {
            return Ok(None);
        };
        if replays(other) {
            return Ok(Some(OperationStarted::of(&other.operation)));
        }
        let duplicate_operation_id = other.operation.id.clone();
        Err(Error::DuplicateRequest { action: other.action, duplicate_operation_id })
    }

    /// The answer to a request whose operation is under way already.
    fn started_before(&self, started: OperationStarted) -> Plan<OperationStarted> {
        let pending = Precondition::Pending(started.operation_id.clone());
        Plan::unchanged(self.changes().requiring(pending), started)
    }

    /// The plan of a request whose outcome an operation tells: at once, or after the time that operations take.
    fn conclude(&self, starting: Starting, mut changes: ChangeSet) -> Plan<OperationStarted> {
        let Starting { action, kind, targets, namespace, mut error, claims } = starting;
        if let Some(failure) = self.failure {
            error = Some(Box::new(failure.clone()));
        }
        if error.is_some() {
            changes.changes.clear();
        }
        let operation = Operation {
            scope: self.scope.clone(),
            id: self.fresh.operation_id(self.now),
            kind,
            status: OperationStatus::Submitted,
            error,
            targets,
            namespace,
            created: self.now,
            updated: self.now,
        };
        let started = OperationStarted::of(&operation);
        changes.preconditions.extend(claims.iter().cloned().map(Precondition::Free));
        let pending = PendingOperation {
            action,
            operation,
            pending_from: self.now.after(self.timing.submitted()),
            due: self.now.after(self.timing.operation()),
            effect: std::mem::take(&mut changes.changes),
            claims,
        };
        if pending.due <= self.now {
            changes.operation = Some(Arc::new(pending.at(self.now)));
            changes.changes = pending.effect;
        } else {
            changes.changes.push(Change::BeginOperation(Arc::new(pending)));
        }
        Plan::commit(changes, started)
    }
}

/// An operation that a request starts.
struct Starting {
    action: Action,
    kind: OperationType,
    targets: OperationTargets,
    namespace: NamespaceId,
    /// If there is one, the operation fails with it.
    error: Option<Box<OperationError>>,
    /// What no other operation may claim until this one ends.
    claims: Vec<UniqueKey>,
}

impl ReadContext<'_> {
    /// Whether the owner that a request names is the caller: accounts share nothing.
    fn owns(&self, owner: Option<&str>) -> bool {
        owner.is_none_or(|owner| owner == self.scope.account().as_str())
    }

    fn here(&self) -> &ScopeState {
        self.state.scope(self.scope)
    }

    /// The scope in the published state, which holds all operations that are not in the log. Those that are due have ended
    /// at `now`.
    fn under_way(&self) -> &ScopeState {
        self.published.scope(self.scope)
    }
}

/// That the namespace is still this one.
fn namespace_lives(namespace: &Namespace) -> Precondition {
    Precondition::Live(EntityKey::Namespace(namespace.id.clone()), namespace.incarnation)
}

/// That the service is still this one.
fn service_lives(service: &Service) -> Precondition {
    Precondition::Live(EntityKey::Service(service.id.clone()), service.incarnation)
}

/// That nobody has changed the instance, or its service for another one.
fn instance_stays(entry: &ServiceEntry, instance: &InstanceEntry) -> [Precondition; 2] {
    let service = entry.service();
    let key = EntityKey::Instance(service.id.clone(), instance.instance().id.clone());
    [Precondition::At(key, instance.revision()), service_lives(service)]
}

/// The namespace that an id or ARN names, in the caller's scope.
fn find_namespace<'s>(state: &'s ScopeState, scope: &Scope, text: &str) -> Result<&'s NamespaceEntry, Error> {
    own_id(scope, text, "namespace")
        .and_then(|id| state.namespace(id))
        .ok_or_else(|| Error::NamespaceNotFound(text.to_owned()))
}

/// The service with this id or ARN in the caller's scope.
pub(crate) fn find_service<'s>(
    state: &'s ScopeState,
    scope: &Scope,
    text: &str,
) -> Result<&'s ServiceEntry, Error> {
    own_id(scope, text, "service")
        .and_then(|id| state.service(id))
        .ok_or_else(|| Error::ServiceNotFound(text.to_owned()))
}

/// The id in a reference to a resource of this scope. Nothing is shared, so another owner's resource is not there.
pub(crate) fn own_id<'t>(scope: &Scope, text: &'t str, kind: &str) -> Option<&'t str> {
    let reference = ResourceRef::parse(text, kind)?;
    reference.is_in(scope).then_some(reference.id)
}
