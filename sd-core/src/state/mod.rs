//! The whole registry at one moment: immutable, indexed, cheap to copy. Queries only; [`apply`](State::apply) makes the next one.

mod apply;
mod instances;
mod persistent;

use std::{fmt, ops::Bound, sync::Arc};

pub use apply::Unmet;
pub use instances::{InstanceEntry, Instances};
use persistent::{OrdMap, OrdSet};

use crate::{
    clock::Timestamp,
    ids::{NamespaceId, Scope, ServiceId},
    model::{Namespace, Service},
    name::ServiceName,
};

/// Grows with every change of a registry. An entity's revision is that of its last change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The API's counter of a service's registrations: strictly growing, at least the time of the last one in milliseconds,
/// so below 2^53, which JavaScript can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstancesRevision(u64);

impl InstancesRevision {
    /// The number.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0
    }

    fn next(self, now: Timestamp) -> Self {
        Self((self.0 + 1).max(now.as_millis()))
    }
}

/// The order of creation: by time, and of what was created in the same millisecond by the revision that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    created: Timestamp,
    since: Revision,
}

impl Age {
    fn new(created: Timestamp, since: Revision) -> Self {
        Self { created, since }
    }

    /// Time in milliseconds and revision.
    pub(crate) fn to_parts(self) -> [u64; 2] {
        [self.created.as_millis(), self.since.0]
    }

    pub(crate) fn from_parts([created, since]: [u64; 2]) -> Self {
        Self { created: Timestamp::from_millis(created), since: Revision(since) }
    }
}

/// The whole registry at one moment, all scopes. A copy costs nothing.
#[derive(Clone, Default)]
pub struct State {
    revision: Revision,
    scopes: OrdMap<Scope, Arc<ScopeState>>,
}

/// Everything of one account and Region.
#[derive(Clone, Debug, Default)]
pub struct ScopeState {
    namespaces: OrdMap<NamespaceId, NamespaceEntry>,
    namespaces_by_age: OrdSet<(Age, NamespaceId)>,
    http_names: OrdMap<Arc<str>, NamespaceId>,
    services: OrdMap<ServiceId, Arc<ServiceEntry>>,
    services_by_age: OrdSet<(Age, ServiceId)>,
    /// No instances revision of a service that is created again is below this one.
    last_instances_revision: InstancesRevision,
}

/// A namespace as the state holds it.
#[derive(Clone, Debug)]
pub struct NamespaceEntry {
    namespace: Arc<Namespace>,
    revision: Revision,
    age: Age,
    /// By name, folded where DNS is available.
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
}

impl State {
    /// A registry without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The revision of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Everything of one scope; empty if nothing was ever created there.
    #[must_use]
    pub fn scope(&self, scope: &Scope) -> &ScopeState {
        static EMPTY: std::sync::LazyLock<ScopeState> = std::sync::LazyLock::new(ScopeState::default);
        self.scopes.get(scope).map_or(&EMPTY, |state| &**state)
    }

    /// The scopes in which anything was ever created.
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
    /// The namespace of this id.
    #[must_use]
    pub fn namespace(&self, id: &str) -> Option<&NamespaceEntry> {
        self.namespaces.get(id)
    }

    /// The namespace of this `HttpName`.
    #[must_use]
    pub fn namespace_by_http_name(&self, http_name: &str) -> Option<&NamespaceEntry> {
        self.http_names.get(http_name).and_then(|id| self.namespace(id.as_str()))
    }

    /// All namespaces, in order of their ids.
    pub fn namespaces(&self) -> impl Iterator<Item = &NamespaceEntry> {
        self.namespaces.values()
    }

    /// The namespaces that were created after this one, in order of creation; all of them without one.
    pub(crate) fn namespaces_after(
        &self,
        position: Option<&(Age, NamespaceId)>,
    ) -> impl Iterator<Item = &NamespaceEntry> {
        let start = position.map_or(Bound::Unbounded, |position| Bound::Excluded(position.clone()));
        let range = self.namespaces_by_age.range((start, Bound::Unbounded));
        range.filter_map(|(_, id)| self.namespace(id.as_str()))
    }

    /// The service of this id.
    #[must_use]
    pub fn service(&self, id: &str) -> Option<&ServiceEntry> {
        self.services.get(id).map(|entry| &**entry)
    }

    /// The service of this name in a namespace.
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

    /// The services that were created after this one, in order of creation; all of them without one.
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
    pub(crate) fn age(&self) -> Age {
        self.age
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// How many services it has.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.len()
    }
}

impl ServiceEntry {
    pub(crate) fn age(&self) -> Age {
        self.age
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Its instances.
    #[must_use]
    pub fn instances(&self) -> &Instances {
        &self.instances
    }

    /// The counter of its registrations.
    #[must_use]
    pub fn instances_revision(&self) -> InstancesRevision {
        self.instances_revision
    }
}

/// The form of a service's name that is unique in its namespace.
pub(crate) fn unique_name(namespace: &Namespace, name: &ServiceName) -> Arc<str> {
    if namespace.folds_case() { name.as_str().to_ascii_lowercase().into() } else { name.as_str().into() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        change::{Change, ChangeSet},
        error::Error,
        health::{CustomHealthStatus, Health, HealthEvent},
        ids::{Fresh, InstanceId, SequentialIds},
        mode::Mode,
        model::{Instance, NamespaceKind, NamespaceType, RecordType},
        ops::{Plan, WriteContext, instances, namespaces, services},
        request::{
            CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
            DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest, DnsConfigInput,
            HealthCheckCustomConfigInput, RegisterInstanceRequest,
        },
    };

    /// Something that happens to the registry. Numbers choose among few names, so that steps meet.
    #[derive(Clone, Debug)]
    enum Step {
        CreateHttp(u8),
        CreatePrivate(u8, u8),
        DeleteNamespace(u8),
        CreateService(u8, u8),
        DeleteService(u8),
        Register(u8, u8, bool),
        Deregister(u8, u8),
        SetHealth(u8, u8, bool),
        Wait,
    }

    fn step() -> impl Strategy<Value = Step> {
        let (name, which, instance) = (0u8..3, 0u8..4, 0u8..6);
        prop_oneof![
            1 => name.clone().prop_map(Step::CreateHttp),
            1 => (name.clone(), 0u8..2).prop_map(|(name, vpc)| Step::CreatePrivate(name, vpc)),
            1 => which.clone().prop_map(Step::DeleteNamespace),
            3 => (which.clone(), 0u8..4).prop_map(|(namespace, name)| Step::CreateService(namespace, name)),
            2 => which.clone().prop_map(Step::DeleteService),
            8 => (which.clone(), instance.clone(), any::<bool>()).prop_map(|(s, i, well)| Step::Register(s, i, well)),
            4 => (which.clone(), instance.clone()).prop_map(|(s, i)| Step::Deregister(s, i)),
            4 => (which, instance, any::<bool>()).prop_map(|(s, i, well)| Step::SetHealth(s, i, well)),
            1 => Just(Step::Wait),
        ]
    }

    /// What a step changes in a state; nothing if the request is refused.
    fn plan(step: &Step, state: &State, scope: &Scope, now: Timestamp, fresh: &Fresh) -> Option<ChangeSet> {
        fn changes<R>(plan: Result<Plan<R>, Error>) -> Option<ChangeSet> {
            plan.ok().and_then(|plan| plan.changes)
        }
        let context = WriteContext { state, scope, now, mode: Mode::Lenient, fresh };
        let here = state.scope(scope);
        let namespace = |n: u8| {
            let found = here.namespaces().nth(n.into());
            found.map_or("ns-none".into(), |entry| entry.namespace().id.to_string())
        };
        let service = |n: u8| {
            let found = here.services_after(None).nth(n.into());
            found.map_or("srv-none".into(), |entry| entry.service().id.to_string())
        };
        match *step {
            Step::CreateHttp(name) => changes(namespaces::create_http(
                &CreateHttpNamespaceRequest::new(format!("n{name}")),
                &context,
            )),
            Step::CreatePrivate(name, vpc) => {
                let request = CreatePrivateDnsNamespaceRequest::new(format!("n{name}"), format!("vpc-{vpc}"));
                changes(namespaces::create_private_dns(&request, &context))
            }
            Step::DeleteNamespace(n) => {
                changes(namespaces::delete(&DeleteNamespaceRequest::new(namespace(n)), &context))
            }
            Step::CreateService(n, name) => {
                let id = namespace(n);
                let dns = here.namespace(&id).is_some_and(|entry| entry.namespace().folds_case());
                let mut request = CreateServiceRequest::new(["web", "Web", "db", "."][usize::from(name)])
                    .with_namespace_id(id)
                    .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
                request.dns_config = dns.then(|| DnsConfigInput::new([(RecordType::A, 60)]));
                changes(services::create(&request, &context))
            }
            Step::DeleteService(s) => {
                changes(services::delete(&DeleteServiceRequest::new(service(s)), &context))
            }
            Step::Register(s, i, well) => {
                let request = RegisterInstanceRequest::new(service(s), format!("i-{i}"))
                    .with_attribute("AWS_INSTANCE_IPV4", format!("10.0.0.{i}"))
                    .with_attribute("AWS_INIT_HEALTH_STATUS", if well { "HEALTHY" } else { "UNHEALTHY" });
                changes(instances::register(&request, &context))
            }
            Step::Deregister(s, i) => {
                let request = DeregisterInstanceRequest::new(service(s), format!("i-{i}"));
                changes(instances::deregister(&request, &context))
            }
            Step::SetHealth(s, i, well) => {
                let status = if well { CustomHealthStatus::Healthy } else { CustomHealthStatus::Unhealthy };
                let entry = here.services_after(None).nth(s.into())?;
                let found = entry.instances().get(&format!("i-{i}"))?;
                let health = found.health().on(HealthEvent::Set(status), now);
                let (service, id) = (entry.service().id.clone(), found.instance().id.clone());
                Some(ChangeSet::new(scope.clone(), now).changing(Change::PutHealth { service, id, health }))
            }
            Step::Wait => None,
        }
    }

    /// A registry without indexes.
    #[derive(Default)]
    struct Naive {
        namespaces: BTreeMap<NamespaceId, Arc<Namespace>>,
        services: BTreeMap<ServiceId, Arc<Service>>,
        instances: BTreeMap<(ServiceId, InstanceId), (Arc<Instance>, Health)>,
    }

    impl Naive {
        fn apply(&mut self, change: &Change) {
            match change.clone() {
                Change::PutNamespace(namespace) => {
                    self.namespaces.insert(namespace.id.clone(), namespace);
                }
                Change::DeleteNamespace(id) => drop(self.namespaces.remove(&id)),
                Change::PutService(service) => drop(self.services.insert(service.id.clone(), service)),
                Change::DeleteService(id) => drop(self.services.remove(&id)),
                Change::PutInstance { service, instance, health } => {
                    self.instances.insert((service, instance.id.clone()), (instance, health));
                }
                Change::DeleteInstance { service, id } => drop(self.instances.remove(&(service, id))),
                Change::PutHealth { service, id, health } => {
                    if let Some(entry) = self.instances.get_mut(&(service, id)) {
                        entry.1 = health;
                    }
                }
            }
        }

        fn assert_same(&self, scope: &ScopeState) {
            let namespaces: Vec<_> = scope.namespaces().map(NamespaceEntry::namespace).collect();
            assert_eq!(namespaces, self.namespaces.values().collect::<Vec<_>>());
            let mut services: Vec<_> = scope.services_after(None).map(ServiceEntry::service).collect();
            services.sort_by(|a, b| a.id.cmp(&b.id));
            assert_eq!(services, self.services.values().collect::<Vec<_>>());
            let mut count = 0;
            for ((service, id), (instance, health)) in &self.instances {
                let entry = scope.service(service.as_str()).unwrap().instances().get(id.as_str()).unwrap();
                assert_eq!((entry.instance(), entry.health()), (instance, *health));
                count += 1;
            }
            assert_eq!(count, scope.services_after(None).map(|entry| entry.instances().len()).sum::<usize>());
        }
    }

    impl State {
        /// Checks that the indexes agree with the entities and that every entity has its parent.
        fn check(&self) {
            for (_, scope) in self.scopes() {
                scope.check(self.revision);
            }
        }
    }

    impl ScopeState {
        fn check(&self, now: Revision) {
            assert_eq!(self.namespaces_by_age.len(), self.namespaces.len());
            assert_eq!(self.http_names.len(), self.namespaces.len());
            assert_eq!(self.services_by_age.len(), self.services.len());
            let mut names = Vec::new();
            for (id, entry) in &self.namespaces {
                let namespace = &entry.namespace;
                assert_eq!(*id, namespace.id);
                assert!(entry.revision <= now);
                assert!(self.namespaces_by_age.contains(&(entry.age, id.clone())));
                assert_eq!(self.http_names.get(namespace.http_name.as_str()), Some(id));
                for (name, id) in &entry.services {
                    let child = &self.services.get(id).unwrap().service;
                    assert_eq!(
                        (&child.namespace_id, &unique_name(namespace, &child.name)),
                        (&namespace.id, name)
                    );
                }
                names.push(match &namespace.kind {
                    NamespaceKind::DnsPrivate { vpc, .. } => {
                        format!("{vpc} {}", namespace.name.as_str().to_lowercase())
                    }
                    kind => format!("{:?} {}", kind.namespace_type(), namespace.name),
                });
            }
            let children: usize = self.namespaces.values().map(NamespaceEntry::service_count).sum();
            assert_eq!(children, self.services.len(), "every service has its parent");
            names.sort();
            assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
            for (id, entry) in &self.services {
                assert_eq!(*id, entry.service.id);
                assert!(entry.revision <= now);
                assert!(self.services_by_age.contains(&(entry.age, id.clone())));
                assert!(entry.instances.iter().all(|instance| instance.revision <= now));
                entry.instances.check();
            }
        }
    }

    proptest! {
        /// After each step every index agrees with the entities, and these are those of a registry without indexes.
        #[test]
        fn the_indexes_agree_after_every_step(steps in prop::collection::vec(step(), 1..60)) {
            let (scope, ids) = (Scope::default(), SequentialIds::default());
            let (mut state, mut naive) = (State::new(), Naive::default());
            let (mut all, mut now) = (ChangeSet::new(scope.clone(), Timestamp::default()), 0);
            for step in &steps {
                now += u64::from(matches!(step, Step::Wait));
                let moment = Timestamp::from_millis(now);
                let Some(set) = plan(step, &state, &scope, moment, &Fresh::draw(&ids)) else { continue };
                let before = state.clone();
                state = state.apply(&set).unwrap();
                state.check();
                let grows = u64::from(!set.changes.is_empty());
                prop_assert_eq!(state.revision().as_u64(), before.revision().as_u64() + grows);
                for change in &set.changes {
                    naive.apply(change);
                    let service = match change {
                        Change::PutInstance { service, .. } | Change::DeleteInstance { service, .. } => (service, true),
                        Change::PutHealth { service, .. } => (service, false),
                        _ => continue,
                    };
                    let revision = |state: &State| state.scope(&scope).service(service.0.as_str()).unwrap().instances_revision();
                    prop_assert_eq!(revision(&state) > revision(&before), service.1);
                    prop_assert!(revision(&state) >= revision(&before));
                }
                naive.assert_same(state.scope(&scope));
                all.changes.extend(set.changes);
            }
            // Stored together, the changes lead to the same; and every prefix of them is a legal state.
            for end in 0..=all.changes.len() {
                let mut prefix = all.clone();
                prefix.changes.truncate(end);
                let reached = State::new().apply(&prefix);
                prop_assert!(reached.is_ok(), "{:?}", reached.err());
                reached.unwrap().check();
            }
            naive.assert_same(State::new().apply(&all).unwrap().scope(&scope));
        }
    }

    #[test]
    fn children_without_parents_and_parents_with_children_are_illegal() {
        let (scope, ids) = (Scope::default(), SequentialIds::default());
        let mut states = vec![State::new()];
        let mut sets = Vec::new();
        for step in [Step::CreateHttp(0), Step::CreateService(0, 0), Step::Register(0, 0, true)] {
            let state = states.last().unwrap();
            let set = plan(&step, state, &scope, Timestamp::default(), &Fresh::draw(&ids)).unwrap();
            states.push(state.apply(&set).unwrap());
            sets.push(ChangeSet { preconditions: Vec::new(), ..set });
        }
        let namespace = states[1].scope(&scope).namespaces().next().unwrap().namespace().clone();
        let service = states[2].scope(&scope).services_after(None).next().unwrap().service().clone();
        let alone = |change: Change| ChangeSet::new(scope.clone(), Timestamp::default()).changing(change);
        let illegal = [
            (&states[0], sets[1].clone()),
            (&states[1], sets[2].clone()),
            (&states[2], alone(Change::DeleteNamespace(namespace.id.clone()))),
            (&states[3], alone(Change::DeleteService(service.id.clone()))),
        ];
        for (state, set) in illegal {
            assert!(matches!(state.apply(&set), Err(Unmet::Parent(_))), "{:?}", set.changes);
        }
        // What is gone already can go again.
        let gone = InstanceId::parse("i-9").unwrap();
        for change in [
            Change::DeleteNamespace(NamespaceId::parse("ns-none").unwrap()),
            Change::DeleteService(ServiceId::parse("srv-none").unwrap()),
            Change::DeleteInstance { service: service.id.clone(), id: gone },
        ] {
            states[3].apply(&alone(change)).unwrap().check();
        }
        assert_eq!(namespace.kind.namespace_type(), NamespaceType::Http);
    }
}
