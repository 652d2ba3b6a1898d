//! Sets that a backend checks, stores, and publishes after that.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use sd_core::{
    Change, ChangeSet, CommitError, Immediate, ManualClock, Observer, Registry, Scope, State, StateCell,
    StateWriter, SyncCloudMap, SyncScopedCloudMap, Timestamp, Timing,
    model::{CustomHealthStatus, NamespaceId, RecordType::A, ServiceId},
    request::{
        CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceRequest,
        DeregisterInstanceRequest, DnsConfigChange, DnsConfigInput, DnsNamespaceChange,
        HealthCheckCustomConfigInput, RegisterInstanceRequest, ServiceChange, Tag, TagResourceRequest,
        UpdatePrivateDnsNamespaceRequest, UpdateServiceRequest,
    },
    state::Precondition,
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
/// When the operations that take their time are over.
const AFTER: Timestamp = Timestamp::from_millis(1_700_000_010_000);

/// Stores nothing while it is told to keep sets back.
#[derive(Debug)]
struct Store {
    writer: StateWriter,
    kept_back: Mutex<Option<Vec<ChangeSet>>>,
}

#[async_trait]
impl Registry for Store {
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        if let Some(sets) = &mut *self.kept_back.lock().unwrap() {
            sets.push(changes);
            return Err(CommitError::Unavailable { retry_after: None, source: "kept back".into() });
        }
        self.writer.publish(&changes).map(drop)
    }
}

impl Immediate for Store {}

/// A store, with handles whose operations are over at once and after five seconds. It has services `plain` and `checked`, with
/// an instance `a` each, in a private namespace.
struct Stage {
    store: Arc<Store>,
    at_once: SyncScopedCloudMap,
    slow: SyncScopedCloudMap,
    namespace: NamespaceId,
    plain: ServiceId,
    checked: ServiceId,
}

impl Stage {
    fn new() -> Self {
        let store = Store { writer: StateWriter::new(State::new()), kept_back: Mutex::default() };
        let store = Arc::new(store);
        let handle = |timing: Timing| {
            let clock = Arc::new(ManualClock::at(NOW));
            SyncCloudMap::builder(Arc::clone(&store))
                .clock(clock)
                .timing(timing)
                .build_sync()
                .at(Scope::default())
        };
        let (at_once, slow) =
            (handle(Timing::instant()), handle(Timing::instant().with_operation(Duration::from_secs(5))));
        let request = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        at_once.create_private_dns_namespace(request).unwrap();
        let state = store.cell().load();
        let namespace = state.scope(&Scope::default()).namespaces().next().unwrap().namespace().id.clone();
        let create = |name: &str, checked: bool| {
            let mut request = CreateServiceRequest::new(name).with_namespace_id(namespace.as_str());
            request.dns_config = Some(DnsConfigInput::new([(A, 60)]));
            request.health_check_custom_config = checked.then(HealthCheckCustomConfigInput::default);
            at_once.create_service(request).unwrap().service.id.clone()
        };
        let (plain, checked) = (create("plain", false), create("checked", true));
        let stage = Self { store, at_once, slow, namespace, plain, checked };
        for service in [&stage.plain, &stage.checked] {
            stage.at_once.register_instance(registration(service, "a", "1")).unwrap();
        }
        stage
    }

    /// The set that a request comes to; nothing is stored.
    fn set(&self, request: impl FnOnce()) -> ChangeSet {
        *self.store.kept_back.lock().unwrap() = Some(Vec::new());
        request();
        let sets = self.store.kept_back.lock().unwrap().take().unwrap();
        sets.into_iter().next().unwrap()
    }

    fn tag_namespace(&self) {
        let arn = {
            let state = self.store.cell().load();
            let here = state.scope(&Scope::default());
            here.namespace(self.namespace.as_str()).unwrap().namespace().arn()
        };
        let request = TagResourceRequest::new(arn.as_str()).with_tags([Tag::new("key", "value")]);
        let _ = self.at_once.tag_resource(request);
    }

    fn deregister(api: &SyncScopedCloudMap, service: &ServiceId) {
        let _ = api.deregister_instance(DeregisterInstanceRequest::new(service.as_str(), "a"));
    }

    fn delete_services(&self) {
        for service in [&self.plain, &self.checked] {
            Self::deregister(&self.at_once, service);
            self.at_once.delete_service(DeleteServiceRequest::new(service.as_str())).unwrap();
        }
    }

    fn report(&self) {
        let _ = self.at_once.set_health(self.checked.as_str(), "a", CustomHealthStatus::Unhealthy);
    }
}

fn registration(service: &ServiceId, id: &str, version: &str) -> RegisterInstanceRequest {
    RegisterInstanceRequest::new(service.as_str(), id)
        .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
        .with_attribute("version", version)
}

/// Every set that is told, and whether it leads on from the one before.
#[derive(Debug, Default)]
struct Chain(Mutex<Vec<(State, State)>>);

impl Observer for Chain {
    fn changed(&self, old: &State, new: &State, _: &Scope, _: &[Change]) {
        self.0.lock().unwrap().push((old.clone(), new.clone()));
    }

    fn rebuild(&self, _: &State) {}
}

/// Publishes a set before what is due takes effect, and after: both must come to the same.
#[track_caller]
fn assert_time_is_no_conflict(stage: &Stage, set: &ChangeSet, conflicts: bool) {
    let before = stage.store.cell().fork();
    before.publish(set).unwrap();
    before.cell().advance(AFTER);

    let after = stage.store.cell().fork();
    let chain = Arc::new(Chain::default());
    let _attached = after.cell().attach(Arc::clone(&chain) as Arc<dyn Observer>);
    let checked = after.check(set.clone()).unwrap();
    assert!(chain.0.lock().unwrap().is_empty(), "a check publishes nothing");
    after.cell().advance(AFTER);
    let again = after.cell().fork().publish(set);
    assert_eq!(matches!(again, Err(CommitError::Conflict)), conflicts, "{again:?}");
    checked.publish();

    let (before, after) = (before.cell(), after.cell());
    assert_eq!(before.load().diff(&after.load()), []);
    assert_eq!(after.load().diff(&before.load()), []);
    assert_eq!(before.operations().len(), after.operations().len());
    assert_eq!(after.next_deadline(), None);
    let told = chain.0.lock().unwrap().clone();
    assert!(told.windows(2).all(|pair| pair[0].1.revision() == pair[1].0.revision()), "a gap");
}

#[test]
fn a_stored_set_counts_though_its_target_is_updated_in_between() {
    let stage = Stage::new();
    let change = DnsNamespaceChange::default().with_description("changed");
    let request = UpdatePrivateDnsNamespaceRequest::new(stage.namespace.as_str()).with_namespace(change);
    stage.slow.update_private_dns_namespace(request).unwrap();
    assert_time_is_no_conflict(&stage, &stage.set(|| stage.tag_namespace()), true);
}

#[test]
fn a_stored_set_does_not_bring_back_what_is_deleted_in_between() {
    let stage = Stage::new();
    stage.delete_services();
    stage.slow.delete_namespace(DeleteNamespaceRequest::new(stage.namespace.as_str())).unwrap();
    assert_time_is_no_conflict(&stage, &stage.set(|| stage.tag_namespace()), true);

    let stage = Stage::new();
    Stage::deregister(&stage.slow, &stage.checked);
    assert_time_is_no_conflict(&stage, &stage.set(|| stage.report()), true);
}

#[test]
fn a_stored_report_stays_with_the_registration_that_it_is_about() {
    let stage = Stage::new();
    let again = registration(&stage.checked, "a", "2");
    stage.slow.register_instance(again).unwrap();
    assert_time_is_no_conflict(&stage, &stage.set(|| stage.report()), true);

    // The new registration says where health begins, so that the report of before does not count.
    let stage = Stage::new();
    let again = registration(&stage.checked, "a", "2").with_attribute("AWS_INIT_HEALTH_STATUS", "HEALTHY");
    stage.slow.register_instance(again).unwrap();
    assert_time_is_no_conflict(&stage, &stage.set(|| stage.report()), true);
}

#[test]
fn a_stored_registration_counts_though_its_service_is_updated_in_between() {
    let stage = Stage::new();
    let change =
        ServiceChange::default().with_dns_config(DnsConfigChange::new([(A, 5)])).with_description("changed");
    let request = UpdateServiceRequest::new(stage.plain.as_str()).with_service(change);
    stage.slow.update_service(request).unwrap();
    let set = stage.set(|| drop(stage.at_once.register_instance(registration(&stage.plain, "b", "1"))));
    assert_time_is_no_conflict(&stage, &set, true);
}

#[test]
fn an_operation_that_is_over_before_it_is_stored_takes_effect() {
    let stage = Stage::new();
    Stage::deregister(&stage.slow, &stage.checked);
    let set = stage.set(|| drop(stage.slow.register_instance(registration(&stage.plain, "b", "1"))));
    assert_time_is_no_conflict(&stage, &set, false);
}

#[test]
fn what_others_store_in_between_stays() {
    // They have deleted what the set puts, or the parent of it.
    let stage = Stage::new();
    let set = stage.set(|| drop(stage.at_once.register_instance(registration(&stage.plain, "b", "1"))));
    let checked = stage.store.writer.check(set).unwrap();
    Stage::deregister(&stage.at_once, &stage.plain);
    stage.at_once.delete_service(DeleteServiceRequest::new(stage.plain.as_str())).unwrap();
    checked.publish();
    let state = stage.store.cell().load().clone();
    assert!(state.scope(&Scope::default()).service(stage.plain.as_str()).is_none());

    // They have written another value, which was stored later.
    let stage = Stage::new();
    let set = stage.set(|| drop(stage.at_once.register_instance(registration(&stage.plain, "a", "mine"))));
    let other = stage.set(|| drop(stage.at_once.register_instance(registration(&stage.checked, "b", "1"))));
    let (mine, beside) = (stage.store.writer.check(set).unwrap(), stage.store.writer.check(other).unwrap());
    stage.at_once.register_instance(registration(&stage.plain, "a", "theirs")).unwrap();
    mine.publish();
    beside.publish();
    let state = stage.store.cell().load().clone();
    let here = state.scope(&Scope::default());
    let found = here.service(stage.plain.as_str()).unwrap().instances().get("a").unwrap().instance().clone();
    assert_eq!(found.attributes.get("version"), Some("theirs"));
    // Two that were checked at once into different services are both there.
    assert!(here.service(stage.checked.as_str()).unwrap().instances().get("b").is_some());
}

#[test]
fn publishing_returns_the_revision_of_the_changes() {
    let stage = Stage::new();
    let writer = &stage.store.writer;
    let set = stage.set(|| stage.tag_namespace());
    let fork = writer.cell().fork();
    let revisions = [
        (fork.publish(&set).unwrap(), fork.cell()),
        (writer.check(set.clone()).unwrap().publish(), writer.cell()),
    ];
    for (revision, cell) in revisions {
        let state = cell.load();
        let found = state.scope(&set.scope).namespace(stage.namespace.as_str()).unwrap();
        assert_eq!((revision, revision), (state.revision(), found.revision()));
    }
    // Without a change it is the one that is there.
    let mut nothing = ChangeSet::new(Scope::default(), NOW);
    let revision = writer.cell().load().revision();
    assert_eq!(writer.publish(&nothing).unwrap(), revision);
    assert_eq!(writer.check(nothing.clone()).unwrap().publish(), revision);
    assert_eq!(writer.cell().load().revision(), revision);
    let unmet = sd_core::model::EntityKey::Namespace(NamespaceId::parse("ns-none").unwrap());
    nothing.preconditions = vec![Precondition::At(unmet, revision)];
    assert!(matches!(writer.check(nothing), Err(CommitError::Conflict)));
}

#[test]
fn a_checked_set_is_published_whole_in_part_or_not_at_all() {
    let stage = Stage::new();
    let writer = &stage.store.writer;
    let mut set = stage.set(|| drop(stage.at_once.register_instance(registration(&stage.plain, "b", "1"))));
    let second = stage.set(|| drop(stage.at_once.register_instance(registration(&stage.checked, "b", "1"))));
    set.changes.extend(second.changes);
    let operation = set.operation.clone().unwrap();
    let shown = || {
        let state = writer.cell().load();
        let has = |service: &ServiceId| {
            let here = state.scope(&Scope::default());
            here.service(service.as_str()).unwrap().instances().get("b").is_some()
        };
        let is_logged = writer.cell().operations().get(operation.id.as_str()).is_some();
        (has(&stage.plain), has(&stage.checked), is_logged)
    };
    drop(writer.check(set.clone()).unwrap());
    assert_eq!(shown(), (false, false, false));
    writer.check(set.clone()).unwrap().publish_prefix(1);
    assert_eq!(shown(), (true, false, false));
    set.preconditions.clear();
    writer.check(set).unwrap().publish();
    assert_eq!(shown(), (true, true, true));
}
