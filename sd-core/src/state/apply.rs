use std::sync::Arc;

use super::{
    Age, InstanceEntry, Instances, NamespaceEntry, Revision, ScopeState, ServiceEntry, State,
    persistent::OrdMap,
};
use crate::{
    model::{
        EntityKey, Incarnation, Namespace, NamespaceKind, Service, ServiceId, Timestamp, UniqueKey,
        name::zone_text,
    },
    state::change::{Change, ChangeSet, Precondition},
};

/// Why a change set does not apply to a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unmet {
    /// A precondition does not hold.
    #[error("a precondition does not hold: {0:?}")]
    Precondition(Precondition),
    /// A change would make an illegal state: this entity is needed as a parent but does not exist, or would be deleted but
    /// has children.
    #[error("{0} does not exist but is needed as a parent, or has children but would be deleted")]
    Parent(EntityKey),
}

impl State {
    /// The state after these changes, if their preconditions hold in this state. The revision grows by one, unless nothing
    /// is changed: a set without changes gives the same state, as [`StateWriter::publish`](crate::StateWriter::publish)
    /// publishes nothing for it.
    ///
    /// # Errors
    /// The first precondition that does not hold, or the entity that would make the new state illegal.
    pub fn apply(&self, set: &ChangeSet) -> Result<Self, Unmet> {
        let before = self.scope(&set.scope);
        let is_there = self.scopes.contains_key(&set.scope);
        if let Some(unmet) = set.preconditions.iter().find(|precondition| !before.holds(precondition)) {
            return Err(Unmet::Precondition(unmet.clone()));
        }
        let mut state = self.clone();
        if set.reset {
            Arc::make_mut(&mut state.former_names).forget(&set.scope);
        }
        if set.changes.is_empty() && !(set.reset && is_there) {
            return Ok(state);
        }
        let revision = self.revision.next();
        let mut after = if set.reset { before.emptied() } else { before.clone() };
        if !is_there {
            after.last_instances_revision = self.last_instances_revision;
        }
        for change in &set.changes {
            after.change(change, revision, set.at).map_err(Unmet::Parent)?;
        }
        state.revision = revision;
        state.replace(&set.scope, before, after);
        Ok(state)
    }
}

/// Removes a name, unless it has another id by now.
fn remove_name<I: Clone + PartialEq>(names: &mut OrdMap<Arc<str>, I>, name: &str, id: &I) {
    if names.get(name) == Some(id) {
        names.remove(name);
    }
}

/// The entry of a service in its namespace: its unique name and its id.
fn entry_of(namespace: &Namespace, service: &Service) -> (Arc<str>, ServiceId) {
    (namespace.unique_name(&service.name), service.id.clone())
}

impl ScopeState {
    pub(crate) fn holds(&self, precondition: &Precondition) -> bool {
        match precondition {
            Precondition::Live(key, incarnation) => {
                self.versions(key).is_some_and(|(found, _)| found == *incarnation)
            }
            Precondition::At(key, revision) => {
                self.versions(key).is_some_and(|(_, found)| found == *revision)
            }
            Precondition::Free(key) => self.is_free(key),
            Precondition::Pending(id) => self.in_flight.contains_key(id),
            Precondition::Childless(key) => match key {
                EntityKey::Namespace(id) => {
                    self.namespaces.get(id).is_none_or(|entry| entry.services.is_empty())
                }
                EntityKey::Service(id) => self.services.get(id).is_none_or(|entry| !entry.is_in_use()),
                EntityKey::Instance(..) => true,
            },
        }
    }

    fn versions(&self, key: &EntityKey) -> Option<(Incarnation, Revision)> {
        match key {
            EntityKey::Namespace(id) => {
                self.namespaces.get(id).map(|entry| (entry.namespace.incarnation, entry.revision))
            }
            EntityKey::Service(id) => {
                self.services.get(id).map(|entry| (entry.service.incarnation, entry.revision))
            }
            EntityKey::Instance(service, id) => {
                let entry = self.services.get(service)?.instances.get(id.as_str())?;
                Some((entry.instance.incarnation, entry.revision))
            }
        }
    }

    pub(crate) fn is_free(&self, key: &UniqueKey) -> bool {
        match key {
            UniqueKey::Id(key) => self.versions(key).is_none(),
            UniqueKey::HttpName(name) => !self.http_names.contains_key(&**name),
            UniqueKey::HttpNamespace(name) => self.http_namespace(name).is_none(),
            UniqueKey::Target(_) | UniqueKey::NamespaceInCreation(_) => !self.busy.contains_key(key),
            UniqueKey::Zone(vpc, name) => self.zone_in_vpc(vpc.as_str(), name).is_none(),
            UniqueKey::PublicNamespace(name, token) => !self.namespaces.values().any(|entry| {
                let namespace = &entry.namespace;
                matches!(namespace.kind, NamespaceKind::DnsPublic { .. })
                    && namespace.creator_request_id.as_ref() == Some(token)
                    && zone_text(namespace.name.as_str()).eq_ignore_ascii_case(zone_text(name))
            }),
            UniqueKey::ServiceName(namespace, name) => {
                self.namespaces.get(namespace).is_none_or(|entry| !entry.services.contains_key(&**name))
            }
        }
    }

    /// The HTTP namespace with this name.
    pub(crate) fn http_namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        let mut namespaces = self.namespaces.values().map(NamespaceEntry::namespace);
        namespaces.find(|namespace| namespace.kind == NamespaceKind::Http && namespace.name.as_str() == name)
    }

    /// The private namespace with this zone in the VPC. Names are compared without case.
    pub(crate) fn zone_in_vpc(&self, vpc: &str, name: &str) -> Option<&Arc<Namespace>> {
        // A scan suffices: an account has some fifty namespaces, and only creations come here.
        self.namespaces.values().map(NamespaceEntry::namespace).find(|namespace| match &namespace.kind {
            NamespaceKind::DnsPrivate { vpc: found, .. } => {
                found.as_str() == vpc
                    && zone_text(namespace.name.as_str()).eq_ignore_ascii_case(zone_text(name))
            }
            NamespaceKind::Http | NamespaceKind::DnsPublic { .. } => false,
        })
    }

    pub(super) fn change(
        &mut self,
        change: &Change,
        revision: Revision,
        at: Timestamp,
    ) -> Result<(), EntityKey> {
        match change {
            Change::PutNamespace(namespace) => self.put_namespace(namespace, revision),
            Change::DeleteNamespace(id) => {
                let Some(entry) = self.namespaces.get(id) else { return Ok(()) };
                if !entry.services.is_empty() {
                    return Err(EntityKey::Namespace(id.clone()));
                }
                let (age, namespace) = (entry.age, Arc::clone(&entry.namespace));
                self.namespaces.remove(id);
                self.namespaces_by_age.remove(&(age, id.clone()));
                remove_name(&mut self.http_names, namespace.http_name.as_str(), id);
                self.released.push(namespace.http_name.as_str().into());
            }
            Change::PutService(service) => self.put_service(service, revision, at)?,
            Change::DeleteService(id) => {
                let Some(entry) = self.services.get(id).cloned() else {
                    return Ok(());
                };
                if entry.is_in_use() {
                    return Err(EntityKey::Service(id.clone()));
                }
                self.services.remove(id);
                self.services_by_age.remove(&(entry.age, id.clone()));
                self.last_instances_revision = self.last_instances_revision.max(entry.instances_revision);
                if let Some(parent) = self.namespaces.get_mut(&entry.service.namespace_id) {
                    let name = parent.namespace.unique_name(&entry.service.name);
                    remove_name(&mut parent.services, &name, id);
                }
            }
            Change::PutInstance { service, instance, health } => {
                let entry =
                    self.services.get_mut(service).ok_or_else(|| EntityKey::Service(service.clone()))?;
                let entry = Arc::make_mut(entry);
                let health = health.under(&entry.service.health_check, instance.endpoint.initial_health);
                let before = entry.instances.put(Arc::clone(instance), health, revision);
                entry.instances_revision = entry.instances_revision.next(at);
                self.move_health_deadline(service, &instance.id, before, Some(health));
            }
            Change::DeleteInstance { service, id } => {
                let Some(entry) = self.services.get_mut(service) else {
                    return Ok(());
                };
                if let Some(before) = entry.instances.get(id.as_str()).map(InstanceEntry::health) {
                    let entry = Arc::make_mut(entry);
                    entry.instances.remove(id);
                    entry.instances_revision = entry.instances_revision.next(at);
                    self.move_health_deadline(service, id, Some(before), None);
                }
            }
            Change::PutHealth { service, id, health } => {
                let Some(entry) = self.services.get_mut(service) else {
                    return Ok(());
                };
                if let Some(before) = entry.instances.get(id.as_str()) {
                    let (was, initial) = (before.health, before.instance.endpoint.initial_health);
                    let health = health.under(&entry.service.health_check, initial);
                    Arc::make_mut(entry).instances.put_health(id, health, revision);
                    self.move_health_deadline(service, id, Some(was), Some(health));
                }
            }
            Change::BeginOperation(pending) => self.begin(pending, revision)?,
            Change::EndOperation(id) => drop(self.end(id)),
        }
        Ok(())
    }

    pub(super) fn put_namespace(&mut self, namespace: &Arc<Namespace>, revision: Revision) {
        let id = namespace.id.clone();
        let (age, services) = match self.namespaces.get(&id) {
            Some(before) => {
                remove_name(&mut self.http_names, before.namespace.http_name.as_str(), &id);
                let services = if before.namespace.folds_case() == namespace.folds_case() {
                    before.services.clone()
                } else {
                    self.services_of(before).map(|entry| entry_of(namespace, &entry.service)).collect()
                };
                (before.age, services)
            }
            None => {
                let age = Age::new(namespace.created, revision);
                self.namespaces_by_age.insert((age, id.clone()));
                (age, OrdMap::new())
            }
        };
        self.http_names.insert(namespace.http_name.as_str().into(), id.clone());
        let namespace = Arc::clone(namespace);
        self.namespaces.insert(id, NamespaceEntry { namespace, revision, age, services });
    }

    pub(super) fn put_service(
        &mut self,
        service: &Arc<Service>,
        revision: Revision,
        at: Timestamp,
    ) -> Result<(), EntityKey> {
        let id = service.id.clone();
        if !self.namespaces.contains_key(&service.namespace_id) {
            return Err(EntityKey::Namespace(service.namespace_id.clone()));
        }
        // The API neither renames nor moves a service, but other writers to a backend's store may.
        if let Some(before) = self.services.get(&id).map(|entry| &entry.service)
            && (before.name != service.name || before.namespace_id != service.namespace_id)
            && let Some(parent) = self.namespaces.get_mut(&before.namespace_id)
        {
            remove_name(&mut parent.services, &parent.namespace.unique_name(&before.name), &id);
        }
        if let Some(parent) = self.namespaces.get_mut(&service.namespace_id) {
            let (name, id) = entry_of(&parent.namespace, service);
            parent.services.insert(name, id);
        }
        let service = Arc::clone(service);
        let entry = match self.services.get(&id) {
            Some(before) => {
                let (before, mut entry) =
                    (Arc::clone(before), ServiceEntry { service, revision, ..(**before).clone() });
                self.check_anew(&before, &mut entry, revision);
                entry
            }
            None => {
                let age = Age::new(service.created, revision);
                self.services_by_age.insert((age, id.clone()));
                let instances_revision = self.last_instances_revision.next(at);
                ServiceEntry {
                    service,
                    revision,
                    age,
                    instances_revision,
                    instances: Instances::default(),
                    operations: 0,
                    instances_to_come: 0,
                }
            }
        };
        self.services.insert(id, Arc::new(entry));
        Ok(())
    }

    /// Updates the health of a service's instances after its health check has changed.
    fn check_anew(&mut self, before: &ServiceEntry, entry: &mut ServiceEntry, revision: Revision) {
        let check = &entry.service.health_check;
        if before.service.health_check == *check {
            return;
        }
        for instance in before.instances.iter() {
            let (was, id) = (instance.health, &instance.instance.id);
            let is = was.under(check, instance.instance.endpoint.initial_health);
            if is != was {
                entry.instances.put_health(id, is, revision);
                self.move_health_deadline(&entry.service.id, id, Some(was), Some(is));
            }
        }
    }
}
