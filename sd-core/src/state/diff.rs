//! The difference between two states, as changes.

use std::{collections::BTreeSet, sync::Arc};

use super::{Instances, ScopeState, ServiceEntry, State};
use crate::{
    model::{Instance, Namespace, NamespaceId, Scope, Service, ServiceId},
    state::change::Change,
};

impl State {
    /// The changes that lead from this state to the other one, by scope. Applied to this state they give the other state's
    /// entities, health and operations under way. Every prefix of them gives a legal state.
    ///
    /// Revisions and the order of creation within a millisecond are not compared: each state has its own. Scopes and services
    /// that both states share are skipped at no cost; if anything in a service differs, all its instances are compared.
    #[must_use]
    pub fn diff(&self, other: &Self) -> Vec<(Scope, Vec<Change>)> {
        let scopes: BTreeSet<_> = self.scopes.keys().chain(other.scopes.keys()).collect();
        let changes = scopes.into_iter().filter_map(|scope| {
            let (from, to) = (self.scopes.get(scope), other.scopes.get(scope));
            if from.zip(to).is_some_and(|(from, to)| Arc::ptr_eq(from, to)) {
                return None;
            }
            let changes = self.scope(scope).diff(other.scope(scope));
            (!changes.is_empty()).then(|| (scope.clone(), changes))
        });
        changes.collect()
    }

    /// The changes that delete everything in a scope and end its operations under way, children before parents: the effect of
    /// a [reset](crate::ChangeSet::reset).
    #[must_use]
    pub fn deletions(&self, scope: &Scope) -> Vec<Change> {
        self.scopes.get(scope).map_or_else(Vec::new, |here| here.diff(&ScopeState::default()))
    }
}

/// Changes by kind, in a legal order: children are deleted before their parents and created after them.
#[derive(Default)]
struct Diff {
    ended: Vec<Change>,
    instances_gone: Vec<Change>,
    services_gone: Vec<Change>,
    namespaces_gone: Vec<Change>,
    namespaces: Vec<Change>,
    services: Vec<Change>,
    instances: Vec<Change>,
    begun: Vec<Change>,
    /// Entities that were deleted or replaced by another with the same id. Their children are deleted and created again.
    renewed_namespaces: BTreeSet<NamespaceId>,
    renewed_services: BTreeSet<ServiceId>,
}

impl ScopeState {
    fn diff(&self, other: &Self) -> Vec<Change> {
        let mut diff = Diff::default();
        diff.namespaces(self, other);
        diff.services(self, other);
        diff.operations(self, other);
        let Diff { ended, instances_gone, services_gone, namespaces_gone, .. } = diff;
        let Diff { namespaces, services, instances, begun, .. } = diff;
        [ended, instances_gone, services_gone, namespaces_gone, namespaces, services, instances, begun]
            .concat()
    }
}

impl Diff {
    fn namespaces(&mut self, from: &ScopeState, to: &ScopeState) {
        for (id, before) in &from.namespaces {
            let after = to.namespaces.get(id).map(|entry| &*entry.namespace);
            if !after.is_some_and(|after| is_same_namespace(&before.namespace, after)) {
                self.namespaces_gone.push(Change::DeleteNamespace(id.clone()));
                self.renewed_namespaces.insert(id.clone());
            }
        }
        for (id, after) in &to.namespaces {
            let before = from.namespaces.get(id).filter(|_| !self.renewed_namespaces.contains(id));
            if !before.is_some_and(|before| is_equal(&before.namespace, &after.namespace)) {
                self.namespaces.push(Change::PutNamespace(Arc::clone(&after.namespace)));
            }
        }
    }

    fn services(&mut self, from: &ScopeState, to: &ScopeState) {
        for (id, before) in &from.services {
            let after = to.services.get(id).map(|entry| &*entry.service);
            let kept = after.is_some_and(|after| is_same_service(&before.service, after))
                && !self.renewed_namespaces.contains(&before.service.namespace_id);
            if !kept {
                self.instances_gone.extend(before.instances.iter().map(|entry| delete(id, &entry.instance)));
                self.services_gone.push(Change::DeleteService(id.clone()));
                self.renewed_services.insert(id.clone());
            }
        }
        let nothing = Instances::default();
        for (id, after) in &to.services {
            let before = from.services.get(id).filter(|_| !self.renewed_services.contains(id));
            if before.is_some_and(|before| Arc::ptr_eq(before, after)) {
                continue;
            }
            if !before.is_some_and(|before| is_equal(&before.service, &after.service)) {
                self.services.push(Change::PutService(Arc::clone(&after.service)));
            }
            self.instances(id, before.map_or(&nothing, |before| &before.instances), after);
        }
    }

    fn instances(&mut self, service: &ServiceId, from: &Instances, to: &ServiceEntry) {
        for before in from.iter() {
            let after = to.instances.get(before.instance.id.as_str()).map(|entry| &*entry.instance);
            if !after.is_some_and(|after| is_same_instance(&before.instance, after)) {
                self.instances_gone.push(delete(service, &before.instance));
            }
        }
        for after in to.instances.iter() {
            let before = from.get(after.instance.id.as_str());
            let before = before.filter(|before| is_same_instance(&before.instance, &after.instance));
            let service = service.clone();
            match before {
                Some(before) if is_equal(&before.instance, &after.instance) => {
                    if before.health != after.health {
                        let (id, health) = (after.instance.id.clone(), after.health);
                        self.instances.push(Change::PutHealth { service, id, health });
                    }
                }
                _ => {
                    let (instance, health) = (Arc::clone(&after.instance), after.health);
                    self.instances.push(Change::PutInstance { service, instance, health });
                }
            }
        }
    }

    fn operations(&mut self, from: &ScopeState, to: &ScopeState) {
        for (id, before) in &from.in_flight {
            let kept = to.in_flight.get(id).is_some_and(|after| is_equal(&before.pending, &after.pending));
            let on_renewed = before.pending.operation.targets.service();
            let on_renewed = on_renewed.is_some_and(|service| self.renewed_services.contains(service));
            if !kept || on_renewed {
                self.ended.push(Change::EndOperation(id.clone()));
                self.begun.extend(to.in_flight.get(id).map(|after| begin(&after.pending)));
            }
        }
        let new = to.in_flight.iter().filter(|(id, _)| !from.in_flight.contains_key(*id));
        self.begun.extend(new.map(|(_, after)| begin(&after.pending)));
    }
}

fn is_equal<T: PartialEq>(one: &Arc<T>, other: &Arc<T>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

fn is_same_namespace(one: &Namespace, other: &Namespace) -> bool {
    one.incarnation == other.incarnation
}

fn is_same_service(one: &Service, other: &Service) -> bool {
    one.incarnation == other.incarnation && one.namespace_id == other.namespace_id
}

fn is_same_instance(one: &Instance, other: &Instance) -> bool {
    one.incarnation == other.incarnation
}

fn delete(service: &ServiceId, instance: &Instance) -> Change {
    Change::DeleteInstance { service: service.clone(), id: instance.id.clone() }
}

fn begin(pending: &Arc<crate::state::change::PendingOperation>) -> Change {
    Change::BeginOperation(Arc::clone(pending))
}
