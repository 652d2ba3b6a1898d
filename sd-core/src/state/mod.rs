//! The whole registry at one moment: immutable, indexed, cheap to clone. [`apply`](State::apply) makes the next state.
//!
//! ```
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{Blueprint, Change, Scope, SyncCloudMap};
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
//! let scope = Scope::default();
//! let app = Blueprint::new().http_namespace("app").http_service("web");
//! app.clone().apply_sync(&cloud_map.at(scope.clone()))?;
//!
//! let before = cloud_map.state();
//! app.instance("web-1", [("zone", "a")]).apply_sync(&cloud_map.at(scope.clone()))?;
//! let after = cloud_map.state();
//!
//! // What the registry has:
//! let here = after.scope(&scope);
//! for service in here.services() {
//!     for entry in service.instances().iter() {
//!         println!("{} {} {}", service.service().name, entry.instance().id, entry.health().status());
//!     }
//! }
//! # assert_eq!(here.services().next().unwrap().instances().len(), 1);
//! // The earlier state has not changed. The difference between both:
//! assert_eq!(before.scope(&scope).services().next().unwrap().instances().len(), 0);
//! let [(_, changes)] = &before.diff(&after)[..] else { panic!() };
//! assert!(matches!(&changes[..], [Change::PutInstance { instance, .. }] if instance.id.as_str() == "web-1"));
//! # Ok::<(), sd_core::blueprint::BlueprintError>(())
//! ```

mod apply;
pub(crate) mod change;
mod diff;
mod former_names;
mod instances;
mod numbers;
mod persistent;
mod rebase;
mod restore;
#[cfg(test)]
mod tests;
mod time;
mod vector;

use std::{fmt, ops::Bound, sync::Arc};

pub use apply::Unmet;
pub use change::{Change, ChangeSet, PendingOperation, Precondition};
use former_names::FormerNames;
pub use instances::{InstanceEntry, Instances};
use persistent::{OrdMap, OrdSet};
use time::Deadline;
pub(crate) use time::{Elapsed, InFlight, keeps_health};

use crate::model::{
    Age, InstancesRevision, Namespace, NamespaceId, OperationId, Revision, Scope, Service, ServiceId,
    Timestamp, UniqueKey,
};

/// The whole registry at one moment, with all scopes. Cloning costs O(1).
#[derive(Clone, Default)]
pub struct State {
    revision: Revision,
    /// The scopes that are not empty.
    scopes: OrdMap<Scope, Arc<ScopeState>>,
    /// The highest instances revision of the scopes that were dropped. No new scope starts below it.
    last_instances_revision: InstancesRevision,
    /// The next deadline of each scope that has one.
    deadlines: OrdSet<(Timestamp, Scope)>,
    former_names: Arc<FormerNames>,
}

/// Everything in one account and Region.
#[derive(Clone, Debug, Default)]
pub struct ScopeState {
    namespaces: OrdMap<NamespaceId, NamespaceEntry>,
    namespaces_by_age: OrdSet<(Age, NamespaceId)>,
    http_names: OrdMap<Arc<str>, NamespaceId>,
    services: OrdMap<ServiceId, Arc<ServiceEntry>>,
    services_by_age: OrdSet<(Age, ServiceId)>,
    /// The highest instances revision of the deleted services. No new service starts below it.
    last_instances_revision: InstancesRevision,
    in_flight: OrdMap<OperationId, InFlight>,
    /// The number of namespaces that the operations under way will create.
    namespaces_to_come: usize,
    /// The keys that the operations under way claim.
    busy: OrdMap<UniqueKey, OperationId>,
    deadlines: OrdSet<(Timestamp, Deadline)>,
    /// The `HttpName`s of namespaces that were deleted while this state was made. [`State::replace`] takes them.
    released: Vec<Arc<str>>,
}

/// A namespace as the state holds it.
#[derive(Clone, Debug)]
pub struct NamespaceEntry {
    namespace: Arc<Namespace>,
    revision: Revision,
    age: Age,
    /// The ids of its services by [`unique_name`].
    services: OrdMap<Arc<str>, ServiceId>,
}

/// A service as the state holds it.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    service: Arc<Service>,
    revision: Revision,
    age: Age,
    instances_revision: InstancesRevision,
    instances: Instances,
    /// The number of operations under way on it and its instances.
    operations: u32,
    /// The number of those that register a new instance.
    instances_to_come: usize,
}

impl State {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Everything in one scope; an empty scope if the state has nothing there.
    #[must_use]
    pub fn scope(&self, scope: &Scope) -> &ScopeState {
        static EMPTY: std::sync::LazyLock<ScopeState> = std::sync::LazyLock::new(ScopeState::default);
        self.scopes.get(scope).map_or(&EMPTY, |state| &**state)
    }

    /// Whether the scope has a namespace or an operation under way.
    pub(crate) fn has_scope(&self, scope: &Scope) -> bool {
        self.scopes.contains_key(scope)
    }

    /// Whether a deleted namespace of the scope had this `HttpName`. The state keeps the newest 1,000 names of a scope and the
    /// newest 10,000 of all scopes.
    pub(crate) fn was_http_name(&self, scope: &Scope, name: &str) -> bool {
        self.former_names.contains(scope, name)
    }

    /// The names that [`was_http_name`](Self::was_http_name) knows in a scope, oldest first.
    pub(crate) fn former_names(&self, scope: &Scope) -> impl Iterator<Item = &str> {
        self.former_names.names(scope)
    }

    /// The highest instances revision of the scopes that were dropped.
    pub(crate) fn last_instances_revision(&self) -> InstancesRevision {
        self.last_instances_revision
    }

    /// The scopes of which the state keeps former names.
    pub(crate) fn remembered_scopes(&self) -> impl Iterator<Item = &Scope> {
        self.former_names.scopes()
    }

    /// The scopes with a namespace or an operation under way.
    pub fn scopes(&self) -> impl Iterator<Item = (&Scope, &ScopeState)> {
        self.scopes.iter().map(|(scope, state)| (scope, &**state))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("revision", &self.revision)
            .field("scopes", &self.scopes.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl ScopeState {
    /// Whether it has neither namespaces nor operations under way, so that it is not kept.
    fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.in_flight.is_empty()
    }

    /// The scope after a reset.
    fn emptied(&self) -> Self {
        let revisions = self.services.values().map(|entry| entry.instances_revision);
        let last_instances_revision = revisions.fold(self.last_instances_revision, Ord::max);
        Self { last_instances_revision, ..Self::default() }
    }

    /// The namespace with this id.
    #[must_use]
    pub fn namespace(&self, id: &str) -> Option<&NamespaceEntry> {
        self.namespaces.get(id)
    }

    /// The namespace with this `HttpName`.
    #[must_use]
    pub fn namespace_by_http_name(&self, http_name: &str) -> Option<&NamespaceEntry> {
        self.http_names.get(http_name).and_then(|id| self.namespace(id.as_str()))
    }

    /// All namespaces, in order of their ids.
    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceEntry> {
        self.namespaces.values()
    }

    /// The namespaces after this position, in order of creation; all namespaces without one.
    pub(crate) fn namespaces_after(
        &self,
        position: Option<&(Age, NamespaceId)>,
    ) -> impl Iterator<Item = &NamespaceEntry> {
        let start = position.map_or(Bound::Unbounded, |position| Bound::Excluded(position.clone()));
        let range = self.namespaces_by_age.range((start, Bound::Unbounded));
        range.filter_map(|(_, id)| self.namespace(id.as_str()))
    }

    /// The number of namespaces, with those being created.
    pub(crate) fn expected_namespaces(&self) -> usize {
        self.namespaces.len() + self.namespaces_to_come
    }

    /// All services, in order of their ids.
    pub fn services(&self) -> impl Iterator<Item = &ServiceEntry> {
        self.services.values().map(|entry| &**entry)
    }

    /// No instances revision of a service that is created again is below this one.
    pub(crate) fn last_instances_revision(&self) -> InstancesRevision {
        self.last_instances_revision
    }

    /// The service with this id.
    #[must_use]
    pub fn service(&self, id: &str) -> Option<&ServiceEntry> {
        self.services.get(id).map(|entry| &**entry)
    }

    /// The service with this name in a namespace. DNS namespaces compare names without case.
    #[must_use]
    pub fn service_by_name(&self, namespace: &NamespaceEntry, name: &str) -> Option<&ServiceEntry> {
        let id = if namespace.namespace.folds_case() && name.bytes().any(|b| b.is_ascii_uppercase()) {
            namespace.services.get(&*name.to_ascii_lowercase())
        } else {
            namespace.services.get(name)
        };
        id.and_then(|id| self.service(id.as_str()))
    }

    /// The services of a namespace, in order of their names.
    pub fn services_of(&self, namespace: &NamespaceEntry) -> impl Iterator<Item = &ServiceEntry> {
        namespace.services.values().filter_map(|id| self.service(id.as_str()))
    }

    /// The number of instances in a namespace, with those being registered.
    pub(crate) fn expected_instances(&self, namespace: &NamespaceEntry) -> usize {
        self.services_of(namespace).map(ServiceEntry::expected_instances).sum()
    }

    /// The services after this position, in order of creation; all services without one.
    pub(crate) fn services_after(
        &self,
        position: Option<&(Age, ServiceId)>,
    ) -> impl Iterator<Item = &ServiceEntry> {
        let start = position.map_or(Bound::Unbounded, |position| Bound::Excluded(position.clone()));
        let range = self.services_by_age.range((start, Bound::Unbounded));
        range.filter_map(|(_, id)| self.service(id.as_str()))
    }
}

impl NamespaceEntry {
    /// The revision of its last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn age(&self) -> Age {
        self.age
    }

    /// Its place in lists among what was created in the same millisecond: the revision that brought it.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.age.place()
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The number of its services.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.len()
    }
}

impl ServiceEntry {
    /// The revision of its last change. Changes of its instances do not count.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn age(&self) -> Age {
        self.age
    }

    /// Its place in lists among what was created in the same millisecond: the revision that brought it.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.age.place()
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Whether it has instances or operations under way on it or its instances. Such a service cannot be deleted.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.operations > 0 || !self.instances.is_empty()
    }

    /// Its instances.
    #[must_use]
    pub fn instances(&self) -> &Instances {
        &self.instances
    }

    /// The number of its instances, with those being registered.
    pub(crate) fn expected_instances(&self) -> usize {
        self.instances.len() + self.instances_to_come
    }

    /// The `InstancesRevision` of the service.
    #[must_use]
    pub fn instances_revision(&self) -> InstancesRevision {
        self.instances_revision
    }
}
