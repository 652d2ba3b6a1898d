//! Entities and operations as the engine makes them, and the change sets of the rules.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    api::request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
        CreateServiceRequest, DeleteNamespaceRequest, DnsConfigChange, DnsConfigInput, DnsNamespaceChange,
        HealthCheckConfigInput, HealthCheckCustomConfigInput, RegisterInstanceRequest, ServiceChange,
        UpdatePrivateDnsNamespaceRequest, UpdateServiceRequest,
    },
    cloud_map::{SyncCloudMap, SyncScopedCloudMap},
    model::{
        CustomHealthStatus, EntityKey, Health, HealthCheck, HealthCheckType, HealthEvent, Incarnation,
        Instance, InstanceId, Namespace, NamespaceName, Operation, RecordType, Scope, Service, Timestamp,
        UniqueKey,
    },
    settings::{clock::ManualClock, timing::Timing},
    state::{
        ScopeState, ServiceEntry, State,
        change::{Change, ChangeSet, PendingOperation, Precondition},
    },
    store::{
        cell::{StateCell, StateWriter},
        registry::{CommitError, Immediate, Registry},
    },
};

/// When the rules take place.
pub(super) const NOW: u64 = 1_700_000_000_000;

/// A registry on which the engine makes entities for the registry under test.
#[derive(Debug)]
struct Workbench {
    writer: StateWriter,
    /// What was committed.
    sets: Mutex<Vec<ChangeSet>>,
}

#[async_trait]
impl Registry for Workbench {
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        self.sets.lock().unwrap().push(changes.clone());
        self.writer.publish(&changes).map(drop)
    }
}

impl Immediate for Workbench {}

/// What an engine that starts with these entities shows after a request.
fn made(start: Vec<Change>, request: impl FnOnce(&SyncScopedCloudMap)) -> Arc<Workbench> {
    made_in(Timing::instant(), start, request)
}

fn made_in(timing: Timing, start: Vec<Change>, request: impl FnOnce(&SyncScopedCloudMap)) -> Arc<Workbench> {
    let workbench = Arc::new(Workbench { writer: StateWriter::new(State::new()), sets: Mutex::default() });
    workbench.writer.publish(&set(start)).unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(NOW)));
    let engine = SyncCloudMap::builder(Arc::clone(&workbench)).clock(clock).timing(timing).build_sync();
    request(&engine.at(Scope::default()));
    workbench
}

fn made_namespace(request: impl FnOnce(&SyncScopedCloudMap)) -> Namespace {
    let state = made(vec![], request).cell().load().clone();
    (**here(&state).namespaces().next().unwrap().namespace()).clone()
}

/// An HTTP namespace.
pub(super) fn namespace(name: &str) -> Namespace {
    made_namespace(|api| {
        api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap();
    })
}

/// A namespace with a zone in a VPC.
pub(super) fn zone(name: &str, vpc: &str) -> Namespace {
    made_namespace(|api| {
        api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new(name, vpc)).unwrap();
    })
}

/// A public namespace that a request with this token created. Its `HttpName` is of its own, so that there can
/// be several.
pub(super) fn public(name: &str, token: &str) -> Namespace {
    let namespace = made_namespace(|api| {
        let request = CreatePublicDnsNamespaceRequest::new(name).with_creator_request_id(token);
        api.create_public_dns_namespace(request).unwrap();
    });
    Namespace { http_name: NamespaceName::parse(&format!("{name}-{token}")).unwrap(), ..namespace }
}

/// A service whose instances have custom health.
pub(super) fn service(namespace: &Namespace, name: &str) -> Service {
    let made = made(vec![put_namespace(namespace)], |api| {
        let mut request = CreateServiceRequest::new(name)
            .with_namespace_id(&namespace.id)
            .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
        request.dns_config = namespace.folds_case().then(|| DnsConfigInput::new([(RecordType::A, 60)]));
        api.create_service(request).unwrap();
    });
    let state = made.cell().load().clone();
    let entry = here(&state).namespaces().next().unwrap();
    (**here(&state).services_of(entry).next().unwrap().service()).clone()
}

/// An instance, whose `version` is an attribute.
pub(super) fn instance(namespace: &Namespace, service: &Service, id: &str, version: &str) -> Instance {
    let made = made(vec![put_namespace(namespace), put_service(service)], |api| {
        let request = RegisterInstanceRequest::new(&service.id, id)
            .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
            .with_attribute("version", version);
        api.register_instance(request).unwrap();
    });
    let state = made.cell().load().clone();
    (**entry(&state, service).unwrap().instances().get(id).unwrap().instance()).clone()
}

/// A finished operation.
pub(super) fn operation() -> Arc<Operation> {
    let mut id = None;
    let made = made(vec![], |api| {
        let started = api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
        id = Some(started.operation_id);
    });
    made.cell().operations().get(id.unwrap().as_str()).expect("a request without delays has finished")
}

/// How long [`creation`] and [`registration`] are under way.
pub(super) const DELAY: u64 = 5000;

/// What the engine commits for a request that ends after [`DELAY`].
fn begun(start: Vec<Change>, request: impl FnOnce(&SyncScopedCloudMap)) -> ChangeSet {
    let timing = Timing::instant().with_operation(Duration::from_millis(DELAY));
    let made = made_in(timing, start, request);
    let mut set = made.sets.lock().unwrap().pop().expect("the request was committed");
    let state = made.cell().load().clone();
    for precondition in &mut set.preconditions {
        // Each registry counts its revisions by itself.
        if let Precondition::At(key, _) = precondition {
            let incarnation = match key {
                EntityKey::Namespace(id) => {
                    here(&state).namespace(id.as_str()).unwrap().namespace().incarnation
                }
                EntityKey::Service(id) => here(&state).service(id.as_str()).unwrap().service().incarnation,
                EntityKey::Instance(..) => continue,
            };
            *precondition = Precondition::Live(key.clone(), incarnation);
        }
    }
    set
}

/// The creation of an HTTP namespace, which is under way for a while.
pub(super) fn creation(name: &str) -> ChangeSet {
    begun(vec![], |api| drop(api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).unwrap()))
}

/// The deletion of a namespace, which is under way for a while.
pub(super) fn deletion(namespace: &Namespace) -> ChangeSet {
    begun(vec![put_namespace(namespace)], |api| {
        drop(api.delete_namespace(DeleteNamespaceRequest::new(namespace.id.as_str())).unwrap());
    })
}

/// The registration of an instance, which is under way for a while.
pub(super) fn registration(tree: &Tree, id: &str) -> ChangeSet {
    begun(tree.changes(), |api| {
        let request = RegisterInstanceRequest::new(&tree.service.id, id).with_attribute("version", "1");
        drop(api.register_instance(request).unwrap());
    })
}

/// The update of a service in a zone, which is under way for a while: it gets a check and other TTLs.
pub(super) fn update(tree: &Tree) -> ChangeSet {
    begun(tree.changes(), |api| {
        let change = ServiceChange::default()
            .with_dns_config(DnsConfigChange::new([(RecordType::A, 5)]))
            .with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Tcp));
        drop(api.update_service(UpdateServiceRequest::new(&tree.service.id).with_service(change)).unwrap());
    })
}

/// The update of a namespace with a zone, which is under way for a while: it gets a description.
pub(super) fn namespace_update(tree: &Tree) -> ChangeSet {
    begun(tree.changes(), |api| {
        let change = DnsNamespaceChange::default().with_description("changed");
        let request = UpdatePrivateDnsNamespaceRequest::new(&tree.namespace.id).with_namespace(change);
        drop(api.update_private_dns_namespace(request).unwrap());
    })
}

/// The operation that a set begins.
pub(super) fn pending(set: &ChangeSet) -> Arc<PendingOperation> {
    let begun = set.changes.iter().find_map(|change| match change {
        Change::BeginOperation(pending) => Some(Arc::clone(pending)),
        _ => None,
    });
    begun.expect("a request with a delay begins an operation")
}

/// The same entity, created again.
pub(super) fn reborn(incarnation: Incarnation) -> Incarnation {
    Incarnation(!incarnation.0)
}

/// A set of the default scope that relies on nothing.
pub(super) fn set(changes: Vec<Change>) -> ChangeSet {
    relying(vec![], changes)
}

/// A set of the default scope.
pub(super) fn relying(preconditions: Vec<Precondition>, changes: Vec<Change>) -> ChangeSet {
    let mut set = ChangeSet::new(Scope::default(), Timestamp::from_millis(NOW));
    set.preconditions = preconditions;
    set.changes = changes;
    set
}

/// Another scope than the default one.
pub(super) fn elsewhere() -> Scope {
    Scope::parse("210987654321", "eu-west-1").unwrap()
}

pub(super) fn put_namespace(namespace: &Namespace) -> Change {
    Change::PutNamespace(Arc::new(namespace.clone()))
}

pub(super) fn put_service(service: &Service) -> Change {
    Change::PutService(Arc::new(service.clone()))
}

pub(super) fn put_instance(service: &Service, instance: &Instance) -> Change {
    Change::PutInstance {
        service: service.id.clone(),
        instance: Arc::new(instance.clone()),
        health: Health::initial(&service.health_check, None),
    }
}

pub(super) fn delete_instance(service: &Service, id: &str) -> Change {
    Change::DeleteInstance { service: service.id.clone(), id: InstanceId::parse(id).unwrap() }
}

pub(super) fn put_health(service: &Service, id: &str, status: CustomHealthStatus) -> Change {
    let health = Health::initial(&service.health_check, None);
    let health = health.on(HealthEvent::Set(status), Timestamp::from_millis(NOW));
    Change::PutHealth { service: service.id.clone(), id: InstanceId::parse(id).unwrap(), health }
}

pub(super) fn namespace_key(namespace: &Namespace) -> EntityKey {
    EntityKey::Namespace(namespace.id.clone())
}

pub(super) fn service_key(service: &Service) -> EntityKey {
    EntityKey::Service(service.id.clone())
}

pub(super) fn instance_key(service: &Service, id: &str) -> EntityKey {
    EntityKey::Instance(service.id.clone(), InstanceId::parse(id).unwrap())
}

/// That the id of this namespace is free.
pub(super) fn free(namespace: &Namespace) -> Precondition {
    Precondition::Free(UniqueKey::Id(namespace_key(namespace)))
}

/// That the service is this one.
pub(super) fn live(service: &Service) -> Precondition {
    Precondition::Live(service_key(service), service.incarnation)
}

/// A namespace with a service.
pub(super) struct Tree {
    pub(super) namespace: Namespace,
    pub(super) service: Service,
}

impl Tree {
    pub(super) fn new() -> Self {
        let namespace = namespace("app");
        let service = service(&namespace, "web");
        Self { namespace, service }
    }

    /// A namespace with a zone, with a service that is not checked.
    pub(super) fn in_zone() -> Self {
        let namespace = zone("app.local", "vpc-1");
        let service = Service { health_check: HealthCheck::None, ..service(&namespace, "web") };
        Self { namespace, service }
    }

    /// What creates it.
    pub(super) fn changes(&self) -> Vec<Change> {
        vec![put_namespace(&self.namespace), put_service(&self.service)]
    }

    pub(super) fn instance(&self, id: &str) -> Instance {
        instance(&self.namespace, &self.service, id, "1")
    }

    /// What registers an instance.
    pub(super) fn put(&self, id: &str) -> Change {
        put_instance(&self.service, &self.instance(id))
    }

    /// As [`put`](Self::put), for many: made once, then renamed.
    pub(super) fn put_all(&self, ids: impl IntoIterator<Item = String>) -> Vec<Change> {
        let template = self.instance("template");
        let named = |id: String| Instance { id: InstanceId::parse(&id).unwrap(), ..template.clone() };
        ids.into_iter().map(|id| put_instance(&self.service, &named(id))).collect()
    }
}

/// The default scope.
pub(super) fn here(state: &State) -> &ScopeState {
    state.scope(&Scope::default())
}

pub(super) fn entry<'a>(state: &'a State, service: &Service) -> Option<&'a ServiceEntry> {
    here(state).service(service.id.as_str())
}

/// Whether the state has the namespace, with this value.
pub(super) fn has(state: &State, namespace: &Namespace) -> bool {
    here(state).namespace(namespace.id.as_str()).is_some_and(|entry| **entry.namespace() == *namespace)
}

/// The ids of the instances of a service, sorted.
pub(super) fn ids(state: &State, service: &Service) -> Vec<String> {
    let mut ids: Vec<_> = entry(state, service)
        .map(|entry| entry.instances().iter().map(|entry| entry.instance().id.to_string()).collect())
        .unwrap_or_default();
    ids.sort();
    ids
}

/// Two namespaces of a number, which a set creates or deletes together.
pub(super) fn pair(number: usize) -> [Namespace; 2] {
    ["left", "right"].map(|side| namespace(&format!("{side}-{number}")))
}

/// Whether the state has both namespaces of each pair or none.
pub(super) fn is_whole(state: &State) -> bool {
    let side = |side: &str| {
        let names = here(state).namespaces().map(|entry| entry.namespace().name.as_str());
        let mut numbers: Vec<_> = names.filter_map(|name| name.strip_prefix(side)).collect();
        numbers.sort_unstable();
        numbers
    };
    side("left-") == side("right-")
}
