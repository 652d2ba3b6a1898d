//! What the API means: pure functions from the state and a request to a response, or to the changes that bring it about.
//!
//! No planner reads a clock, draws a random number of its own or waits. The order in each is the same: check the members,
//! find what they name, check the rules between them, decide.

pub(crate) mod check;
pub(crate) mod custom_health;
pub(crate) mod discovery;
mod filters;
pub(crate) mod fresh;
mod instance_attributes;
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
        EntityKey, Namespace, NamespaceId, Operation, OperationError, OperationStatus, OperationTargets,
        OperationType, ResourceRef, Scope, Service, Timestamp, UniqueKey, action::Action,
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

/// What a planner of a write sees besides the request.
pub(crate) struct WriteContext<'a> {
    pub(crate) state: &'a State,
    pub(crate) scope: &'a Scope,
    pub(crate) now: Timestamp,
    pub(crate) mode: Mode,
    pub(crate) timing: Timing,
    pub(crate) quotas: Quotas,
    /// Why the operation that the request starts is to fail, if a fault was injected.
    pub(crate) failure: Option<&'a OperationError>,
    /// Drawn once for a request, however often it is planned.
    pub(crate) fresh: &'a Fresh,
}

/// What a planner of a read sees besides the request.
pub(crate) struct ReadContext<'a> {
    pub(crate) state: &'a State,
    /// The published state, of which `state` may be a projection. Every operation is under way in it or in the log.
    pub(crate) published: &'a State,
    pub(crate) scope: &'a Scope,
    pub(crate) now: Timestamp,
    pub(crate) operations: &'a OperationLog,
    pub(crate) random: &'a dyn RandomSource,
}

/// The outcome of a planner of a write: the changes to commit, and the response if that succeeds.
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

    /// Refuses the request if the quota allows no more than `count` returns, which is called only if there is a quota.
    fn check_quota(&self, quota: Quota, count: impl FnOnce() -> usize) -> Result<(), Error> {
        match self.quotas.most(quota) {
            Some(most) if count() >= most => Err(Error::ResourceLimitExceeded { quota, most }),
            _ => Ok(()),
        }
    }

    /// Refuses the request if an operation under way has one of the claims, unless `replays` finds that the operation came
    /// from this very request.
    fn check_idle(
        &self,
        claims: &[UniqueKey],
        replays: impl Fn(&PendingOperation) -> bool,
    ) -> Result<Option<OperationStarted>, Error> {
        let Some(other) = claims.iter().find_map(|claim| self.here().claimed_by(claim)) else {
            return Ok(None);
        };
        let id = other.operation.id.clone();
        if replays(other) {
            return Ok(Some(OperationStarted::new(id)));
        }
        Err(Error::DuplicateRequest { action: other.action, duplicate_operation_id: id })
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
        let started = OperationStarted::new(operation.id.clone());
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
    /// Why it is going to fail, if it is.
    error: Option<Box<OperationError>>,
    /// What no other operation may have in the meantime.
    claims: Vec<UniqueKey>,
}

impl ReadContext<'_> {
    /// Whether the owner that a request names is the caller: nothing of other accounts is shared.
    fn owns(&self, owner: Option<&str>) -> bool {
        owner.is_none_or(|owner| owner == self.scope.account().as_str())
    }

    fn here(&self) -> &ScopeState {
        self.state.scope(self.scope)
    }

    /// Where the operations are that are not in the log. One that is due is over by now.
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

/// The service that an id or ARN names, in the caller's scope.
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
    let own = match reference.owner {
        Some((account, region)) => account == scope.account().as_str() && region == scope.region().as_str(),
        None => true,
    };
    own.then_some(reference.id)
}
