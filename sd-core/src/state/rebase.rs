//! A set that was decided upon one state, on top of what has happened since.

use std::sync::Arc;

use super::{InstanceEntry, ScopeState, State};
use crate::{
    model::{InstanceId, Namespace, NamespaceId, Scope, Service, ServiceId, Timestamp},
    state::{
        NamespaceEntry, ServiceEntry,
        change::{Change, ChangeSet},
    },
};

impl State {
    /// Whether this state and the other one have the same of a scope.
    pub(crate) fn shares(&self, other: &Self, scope: &Scope) -> bool {
        match (self.scopes.get(scope), other.scopes.get(scope)) {
            (Some(here), Some(there)) => Arc::ptr_eq(here, there),
            (here, there) => here.is_none() && there.is_none(),
        }
    }

    /// What the changes of a set that was checked in `base` come to in this state. `passed` is the moment that this state has
    /// been brought to.
    ///
    /// An entity to which only time has happened is as if the set had been there before. One that somebody else has changed
    /// is left as it is, and what has lost its parent is left out.
    pub(crate) fn rebased(&self, base: &Self, set: &ChangeSet, passed: Timestamp) -> Vec<Change> {
        let advanced =
            |state: &Self| state.advanced(passed).map_or_else(|| state.clone(), |(state, _)| state);
        let Ok(stored) = base.apply(set) else { return Vec::new() };
        let (without, with) = (advanced(base), advanced(&stored));
        let versions = Versions {
            shown: self.scope(&set.scope),
            without: without.scope(&set.scope),
            with: with.scope(&set.scope),
        };
        let mut after = versions.shown.clone();
        let revision = self.revision.next();
        let changes = set.changes.iter().filter_map(|change| {
            let change = versions.rebased(change)?;
            after.change(&change, revision, set.at).ok()?;
            Some(change)
        });
        changes.collect()
    }
}

/// A scope as it is shown, and as it would be now if nobody else had written: without the set, and with it.
struct Versions<'s> {
    shown: &'s ScopeState,
    without: &'s ScopeState,
    with: &'s ScopeState,
}

impl Versions<'_> {
    fn rebased(&self, change: &Change) -> Option<Change> {
        match change {
            Change::PutNamespace(namespace) => {
                let find = |state| namespace_in(state, &namespace.id);
                let is_ours = find(self.shown) == find(self.without);
                find(self.with).filter(|_| is_ours).cloned().map(Change::PutNamespace)
            }
            Change::PutService(service) => {
                let find = |state| service_in(state, &service.id);
                let is_ours = find(self.shown) == find(self.without);
                find(self.with).filter(|_| is_ours).cloned().map(Change::PutService)
            }
            Change::PutInstance { service, instance, .. } => {
                let found = self.instance(service, &instance.id)?;
                let (service, instance) = (service.clone(), found.instance().clone());
                Some(Change::PutInstance { service, instance, health: found.health() })
            }
            Change::PutHealth { service, id, .. } => {
                let health = self.instance(service, id)?.health();
                Some(Change::PutHealth { service: service.clone(), id: id.clone(), health })
            }
            Change::DeleteNamespace(id) => {
                let find = |state| namespace_in(state, id).map(|found| found.incarnation);
                (find(self.shown) == find(self.without)).then(|| change.clone())
            }
            Change::DeleteService(id) => self.has_service(id).then(|| change.clone()),
            Change::DeleteInstance { service, id } => {
                let find = |state| instance_in(state, service, id).map(|found| found.instance().incarnation);
                let is_same = self.has_service(service) && find(self.shown) == find(self.without);
                is_same.then(|| change.clone())
            }
            Change::BeginOperation(_) | Change::EndOperation(_) => Some(change.clone()),
        }
    }

    /// Whether the service is still the one that the set was decided upon.
    fn has_service(&self, id: &ServiceId) -> bool {
        let find = |state| service_in(state, id).map(|found| found.incarnation);
        find(self.shown) == find(self.without)
    }

    /// The instance with the set, unless somebody else has changed it.
    fn instance(&self, service: &ServiceId, id: &InstanceId) -> Option<&InstanceEntry> {
        let value = |state| instance_in(state, service, id).map(|found| (found.instance(), found.health()));
        let is_ours = self.has_service(service) && value(self.shown) == value(self.without);
        instance_in(self.with, service, id).filter(|_| is_ours)
    }
}

fn namespace_in<'s>(state: &'s ScopeState, id: &NamespaceId) -> Option<&'s Arc<Namespace>> {
    state.namespace(id.as_str()).map(NamespaceEntry::namespace)
}

fn service_in<'s>(state: &'s ScopeState, id: &ServiceId) -> Option<&'s Arc<Service>> {
    state.service(id.as_str()).map(ServiceEntry::service)
}

fn instance_in<'s>(state: &'s ScopeState, service: &ServiceId, id: &InstanceId) -> Option<&'s InstanceEntry> {
    state.service(service.as_str())?.instances().get(id.as_str())
}
