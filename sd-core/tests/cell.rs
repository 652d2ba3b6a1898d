//! The cell: what is published, who is told, and in which order.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{Engine, registration};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Attached, Change, ChangeSet, Clock, CommitError, Mode, Observer, Scope, State, StateCell, StateWriter,
    SyncScopedCloudMap, Timestamp, Timing,
    model::{EntityKey, Incarnation, Namespace, NamespaceId, OperationStatus, RecordType::A, UniqueKey},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, DeleteNamespaceRequest,
        DeregisterInstanceRequest, GetNamespaceRequest, GetOperationRequest, ListNamespacesRequest,
        ListOperationsRequest,
    },
    state::Precondition,
};

/// Writes down what it is told, and panics on demand.
#[derive(Default)]
struct Recorder {
    told: Mutex<Vec<String>>,
    sets: Mutex<Vec<Vec<Change>>>,
    panics: AtomicBool,
    panics_in_rebuild: AtomicBool,
    /// The cell that it watches, to see what others see while it is told.
    cell: Mutex<Option<StateCell>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// What it was told since it was asked last.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

impl Observer for Recorder {
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]) {
        if let Some(cell) = &*self.cell.lock().unwrap() {
            assert_eq!(cell.load().revision(), new.revision(), "others see the new state by now");
        }
        let line =
            changes.iter().map(|change| describe(change, old, new, scope)).collect::<Vec<_>>().join(", ");
        let (from, to) = (old.revision().as_u64(), new.revision().as_u64());
        self.told.lock().unwrap().push(format!("{from}>{to} {line}"));
        self.sets.lock().unwrap().push(changes.to_vec());
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as asked");
    }

    fn rebuild(&self, new: &State) {
        assert!(!self.panics_in_rebuild.swap(false, Ordering::SeqCst), "as asked");
        self.told.lock().unwrap().push(format!("rebuild {}", new.revision().as_u64()));
    }
}

/// A change, and whether the states before and after have its entity.
fn describe(change: &Change, old: &State, new: &State, scope: &Scope) -> String {
    let has = |state: &State| match change {
        Change::PutNamespace(namespace) => state.scope(scope).namespace(namespace.id.as_str()).is_some(),
        Change::DeleteNamespace(id) => state.scope(scope).namespace(id.as_str()).is_some(),
        Change::PutService(service) => state.scope(scope).service(service.id.as_str()).is_some(),
        Change::DeleteService(id) => state.scope(scope).service(id.as_str()).is_some(),
        Change::PutInstance { service, instance, .. } => {
            instances(state, scope, service.as_str(), instance.id.as_str())
        }
        Change::DeleteInstance { service, id } | Change::PutHealth { service, id, .. } => {
            instances(state, scope, service.as_str(), id.as_str())
        }
        Change::BeginOperation(_) | Change::EndOperation(_) => false,
    };
    let name = format!("{change:?}").split(['(', ' ']).next().unwrap().to_owned();
    format!("{name} {}{}", u8::from(has(old)), u8::from(has(new)))
}

fn instances(state: &State, scope: &Scope, service: &str, id: &str) -> bool {
    state.scope(scope).service(service).is_some_and(|entry| entry.instances().get(id).is_some())
}

fn cell(engine: &Engine) -> StateCell {
    engine.cloud_map.cloud_map().cell().clone()
}

/// A namespace as the engine makes it.
fn namespace(name: &str) -> Namespace {
    (*Engine::new().http(name)).clone()
}

fn putting(namespace: &Namespace, preconditions: Vec<Precondition>) -> ChangeSet {
    let mut set = ChangeSet::new(Scope::default(), Timestamp::from_millis(1));
    set.preconditions = preconditions;
    set.changes = vec![Change::PutNamespace(Arc::new(namespace.clone()))];
    set
}

#[test]
fn an_observer_is_rebuilt_when_it_is_attached_then_told_each_change_once_and_in_order() {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    let recorder = Arc::new(Recorder::default());
    *recorder.cell.lock().unwrap() = Some(cell(&engine));
    let _attached = cell(&engine).attach(recorder.clone());
    assert_eq!(recorder.told(), ["rebuild 1"]);
    let service = engine.dns_service(&namespace, "web", &[A]);
    for address in ["10.0.0.1", "10.0.0.2"] {
        engine.register(&service, "i-1", &[("AWS_INSTANCE_IPV4", address)]);
    }
    engine.api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "i-1")).unwrap();
    engine.api.delete_service(sd_core::request::DeleteServiceRequest::new(&service.id)).unwrap();
    engine.api.delete_namespace(DeleteNamespaceRequest::new(&namespace.id)).unwrap();
    assert_eq!(
        recorder.told(),
        [
            "1>2 PutService 01",
            "2>3 PutInstance 01",
            "3>4 PutInstance 11",
            "4>5 DeleteInstance 10",
            "5>6 DeleteService 10",
            "6>7 DeleteNamespace 10",
        ]
    );
}

#[test]
fn what_changes_nothing_is_not_told() {
    let engine = Engine::new();
    let request = CreateHttpNamespaceRequest::new("api").with_creator_request_id("token");
    engine.api.create_http_namespace(request.clone()).unwrap();
    engine.private("app.local");
    let recorder = Arc::new(Recorder::default());
    let _attached = cell(&engine).attach(recorder.clone());
    let before = recorder.told();
    engine.api.create_http_namespace(request).unwrap();
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("a b")).unwrap_err();
    let fails = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    engine.api.create_private_dns_namespace(fails).unwrap();
    assert_eq!((before, recorder.told()), (vec!["rebuild 2".to_owned()], vec![]));
    assert_eq!(cell(&engine).load().revision().as_u64(), 2);
}

#[test]
fn an_observer_is_told_until_it_is_detached() {
    let engine = Engine::new();
    let recorder = Arc::new(Recorder::default());
    let attached = cell(&engine).attach(recorder.clone());
    engine.http("a");
    drop(attached);
    engine.http("b");
    assert_eq!(recorder.told(), ["rebuild 0", "0>1 PutNamespace 01"]);
    assert_eq!(Arc::strong_count(&recorder), 1, "and is let go of");
    // Detaching from a cell that is gone is fine.
    let attached = cell(&engine).attach(recorder);
    drop(engine);
    drop(attached);
}

#[test]
fn an_observer_that_panics_is_rebuilt_and_the_others_are_told() {
    let engine = Engine::new();
    let [first, bad, last] = [(); 3].map(|()| Arc::new(Recorder::default()));
    let _attached = [&first, &bad, &last].map(|recorder| cell(&engine).attach(recorder.clone()));
    bad.panics.store(true, Ordering::SeqCst);
    engine.http("a");
    engine.http("b");
    let change = |from: u64| format!("{from}>{} PutNamespace 01", from + 1);
    for good in [&first, &last] {
        assert_eq!(good.told(), ["rebuild 0".into(), change(0), change(1)]);
    }
    assert_eq!(bad.told(), ["rebuild 0".into(), change(0), "rebuild 1".into(), change(1)]);
}

#[test]
fn a_panic_in_a_rebuild_hurts_nobody_else() {
    let engine = Engine::new();
    let recorder = Arc::new(Recorder::default());
    recorder.panics_in_rebuild.store(true, Ordering::SeqCst);
    let _attached = cell(&engine).attach(recorder.clone());
    engine.http("a");
    assert_eq!(recorder.told(), ["0>1 PutNamespace 01"]);
}

/// Counts namespaces as they come, and panics at the first.
#[derive(Debug, Default)]
struct Counting {
    namespaces: AtomicUsize,
    has_panicked: AtomicBool,
}

impl Observer for Counting {
    fn changed(&self, _: &State, _: &State, _: &Scope, changes: &[Change]) {
        let put = changes.iter().filter(|change| matches!(change, Change::PutNamespace(_))).count();
        assert!(put == 0 || self.has_panicked.swap(true, Ordering::SeqCst), "as asked");
        self.namespaces.fetch_add(put, Ordering::SeqCst);
    }

    fn rebuild(&self, new: &State) {
        let found = new.scopes().map(|(_, here)| here.namespaces().count()).sum();
        self.namespaces.store(found, Ordering::SeqCst);
    }
}

#[test]
fn an_observer_that_was_rebuilt_is_not_told_what_it_has_already() {
    let operation = Duration::from_secs(5);
    let engine = Engine::timed(Timing::instant().with_operation(operation));
    for account in ["000000000001", "000000000002", "000000000003"] {
        let api = engine.cloud_map.at(Scope::parse(account, "us-east-1").unwrap());
        api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
    }
    let [counting, other] = [(); 2].map(|()| Arc::new(Counting::default()));
    other.has_panicked.store(true, Ordering::SeqCst);
    let _attached = [&counting, &other].map(|observer| cell(&engine).attach(observer.clone()));
    // All three are due at once, in three scopes.
    engine.clock.advance(operation);
    cell(&engine).advance(engine.clock.now());
    assert!(counting.has_panicked.load(Ordering::SeqCst));
    assert_eq!(counting.namespaces.load(Ordering::SeqCst), 3);
    assert_eq!(other.namespaces.load(Ordering::SeqCst), 3);
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
    engine.clock.advance(operation);
    cell(&engine).advance(engine.clock.now());
    assert_eq!(counting.namespaces.load(Ordering::SeqCst), 4);
}

/// Calls a function at the first change.
struct Once(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Once {
    fn attached(cell: &StateCell, act: impl FnOnce() + Send + 'static) -> Attached {
        cell.attach(Arc::new(Self(Mutex::new(Some(Box::new(act))))))
    }
}

impl std::fmt::Debug for Once {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Once")
    }
}

impl Observer for Once {
    fn changed(&self, _: &State, _: &State, _: &Scope, _: &[Change]) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }

    fn rebuild(&self, _: &State) {}
}

/// What the reads of an API say, while two creations of namespaces are due.
fn read(api: &SyncScopedCloudMap) -> (usize, Vec<OperationStatus>) {
    let listed = api.list_operations(ListOperationsRequest::new()).unwrap().items;
    let status = |id: &str| api.get_operation(GetOperationRequest::new(id)).unwrap().status;
    assert!(listed.iter().all(|listed| status(listed.id.as_str()) == listed.status));
    let namespaces = api.list_namespaces(ListNamespacesRequest::new()).unwrap().items.len();
    (namespaces, listed.iter().map(|listed| listed.status).collect())
}

/// Lets an act read during a publication in which everything becomes due. What was read, and what was
/// published after it.
fn read_during_a_publication(reading: impl FnOnce(Box<dyn FnOnce() + Send>) + Send + 'static) {
    let operation = Duration::from_secs(5);
    let engine = Engine::timed(Timing::instant().with_operation(operation));
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("one")).unwrap();
    let answer = Arc::new(Mutex::new(None));
    let (api, clock, told) = (engine.api.clone(), Arc::clone(&engine.clock), Arc::clone(&answer));
    let _attached = Once::attached(&cell(&engine), move || {
        clock.advance(operation);
        reading(Box::new(move || *told.lock().unwrap() = Some(read(&api))));
    });
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("two")).unwrap();
    assert_eq!(answer.lock().unwrap().take(), Some((2, vec![OperationStatus::Success; 2])));
    // Whoever had the lock has published what the read was answered with.
    assert_eq!(cell(&engine).load().scope(&Scope::default()).namespaces().count(), 2);
    assert_eq!(cell(&engine).operations().len(), 2);
    assert_eq!(cell(&engine).next_deadline(), None);
}

#[test]
fn an_observer_reads_what_is_due() {
    read_during_a_publication(|read| read());
}

#[test]
fn a_read_does_not_wait_for_the_observers_of_another_thread() {
    // The observer ends only after the other thread has read.
    read_during_a_publication(|read| std::thread::spawn(read).join().unwrap());
}

#[test]
fn reads_publish_what_is_due_for_the_observers() {
    let operation = Duration::from_secs(5);
    let engine = Engine::timed(Timing::instant().with_operation(operation));
    let recorder = Arc::new(Recorder::default());
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("one")).unwrap();
    let _attached = cell(&engine).attach(recorder.clone());
    engine.clock.advance(operation);
    recorder.told();
    engine.api.list_namespaces(ListNamespacesRequest::new()).unwrap();
    assert_eq!(recorder.told(), ["1>2 PutNamespace 01"]);
}

#[test]
fn a_conflict_publishes_nothing() {
    let (writer, one, two) = (StateWriter::new(State::new()), namespace("one"), namespace("two"));
    let key = EntityKey::Namespace(one.id.clone());
    let recorder = Arc::new(Recorder::default());
    writer.publish(&putting(&one, vec![])).unwrap();
    let _attached = writer.cell().attach(recorder.clone());
    let revision = writer.cell().load().revision();
    for precondition in [
        Precondition::Live(key.clone(), Incarnation(u64::MAX)),
        Precondition::Live(EntityKey::Namespace(NamespaceId::parse("ns-none").unwrap()), one.incarnation),
        Precondition::Free(UniqueKey::Id(key.clone())),
        Precondition::Free(UniqueKey::HttpName("one".into())),
    ] {
        let holds = Precondition::Live(key.clone(), one.incarnation);
        let set = putting(&two, vec![holds, precondition.clone()]);
        assert!(matches!(writer.publish(&set), Err(CommitError::Conflict)), "{precondition:?}");
    }
    assert_eq!(recorder.told(), [format!("rebuild {}", revision.as_u64())]);
    assert_eq!(writer.cell().load().revision(), revision);
    assert!(writer.cell().operations().is_empty());
}

#[test]
fn a_change_set_is_published_as_a_whole_or_not_at_all() {
    let (writer, one) = (StateWriter::new(State::new()), namespace("one"));
    let engine = Engine::new();
    let orphan = engine.http_service(&engine.http("elsewhere"), "web");
    let mut other = (*orphan).clone();
    other.namespace_id = NamespaceId::parse("ns-none").unwrap();
    let mut set = putting(&one, vec![]);
    set.changes.push(Change::PutService(Arc::new(other)));
    // Planning again would lead to the same, so that it is no conflict.
    match writer.publish(&set) {
        Err(CommitError::Rejected { key, reason }) => {
            assert_eq!(key, "namespace ns-none");
            assert!(reason.contains("namespace ns-none does not exist"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(writer.cell().load().scopes().count(), 0);
}

#[test]
fn a_change_set_meets_the_state_of_its_moment() {
    let (writer, engine) = (StateWriter::new(State::new()), Engine::timed(Timing::aws()));
    let recorder = Arc::new(Recorder::default());
    let _attached = cell(&engine).attach(recorder.clone());
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("late")).unwrap();
    let begun = recorder.sets.lock().unwrap().pop().unwrap();
    let [Change::BeginOperation(pending)] = &begun[..] else { panic!("{begun:?}") };
    let mut set = ChangeSet::new(Scope::default(), pending.operation.created);
    set.changes.clone_from(&begun);
    writer.publish(&set).unwrap();

    let key = UniqueKey::HttpName("late".into());
    let mut claim = ChangeSet::new(Scope::default(), Timestamp::from_millis(pending.due.as_millis() - 1));
    claim.preconditions = vec![Precondition::Free(key)];
    writer.publish(&claim).unwrap();
    claim.at = pending.due;
    assert!(matches!(writer.publish(&claim), Err(CommitError::Conflict)), "it has taken effect");
    assert!(writer.cell().operations().get(pending.operation.id.as_str()).is_some());
}

#[test]
fn an_operation_that_ended_elsewhere_comes_to_nothing_here() {
    let engine = Engine::timed(Timing::aws());
    let recorder = Arc::new(Recorder::default());
    let _attached = cell(&engine).attach(recorder.clone());
    engine.api.create_http_namespace(CreateHttpNamespaceRequest::new("late")).unwrap();
    let begun = recorder.sets.lock().unwrap().pop().unwrap();
    let [Change::BeginOperation(pending)] = &begun[..] else { panic!("{begun:?}") };

    let writer = StateWriter::new(State::new());
    let mut set = ChangeSet::new(Scope::default(), pending.operation.created);
    // Told twice, as by a store that is listed again, it is under way once.
    set.changes =
        vec![begun[0].clone(), begun[0].clone(), Change::EndOperation(pending.operation.id.clone())];
    writer.publish(&set).unwrap();
    assert_eq!(writer.cell().next_deadline(), None);
    let mut claim = ChangeSet::new(Scope::default(), pending.operation.created);
    claim.preconditions = pending.claims.iter().cloned().map(Precondition::Free).collect();
    writer.publish(&claim).unwrap();
    writer.cell().advance(pending.due);
    assert!(writer.cell().operations().is_empty());
    assert_eq!(writer.cell().load().scope(&Scope::default()).namespaces().count(), 0);
}

#[test]
fn forks_do_not_see_each_other() {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http("shared"), "web");
    engine.register(&service, "before", &[]);
    let recorder = Arc::new(Recorder::default());
    let _attached = cell(&engine).attach(recorder.clone());
    let fork = Engine::over(MemoryRegistry::fork(&cell(&engine)), Mode::Lenient);
    let copy = Engine::over(MemoryRegistry::from_state((*cell(&engine).load()).clone()), Mode::Lenient);
    assert_eq!(cell(&fork).operations().len(), 2);
    assert!(cell(&copy).operations().is_empty());
    assert_eq!(recorder.told().len(), 1);

    let engines = [("original", &engine), ("fork", &fork), ("copy", &copy)];
    for (name, engine) in engines {
        engine.api.register_instance(registration(&service, name, &[])).unwrap();
    }
    for (name, engine) in engines {
        let state = cell(engine)
            .load()
            .scope(&Scope::default())
            .service(service.id.as_str())
            .unwrap()
            .instances()
            .clone();
        let mut ids: Vec<_> = state.iter().map(|entry| entry.instance().id.to_string()).collect();
        ids.sort();
        let mut expected = ["before", name];
        expected.sort_unstable();
        assert_eq!(ids, expected);
    }
    assert_eq!(recorder.told().len(), 1, "observers stay with the original");
}

#[test]
fn a_state_that_is_held_does_not_change() {
    let engine = Engine::new();
    let before = cell(&engine).load();
    let namespace = engine.http("app");
    assert!(before.scope(&Scope::default()).namespace(namespace.id.as_str()).is_none());
    assert!(cell(&engine).load().scope(&Scope::default()).namespace(namespace.id.as_str()).is_some());
}

#[test]
fn a_write_is_seen_by_every_handle_when_it_returns() {
    let engine = Engine::new();
    let others = [
        engine.cloud_map.cloud_map().at(Scope::default()),
        engine.cloud_map.cloud_map().clone().at(Scope::default()),
    ];
    for i in 0..50 {
        let namespace = engine.http(&format!("app-{i}"));
        for other in &others {
            other.get_namespace(GetNamespaceRequest::new(&namespace.id)).unwrap();
        }
    }
}

#[test]
fn observers_see_writes_of_several_threads_one_after_the_other() {
    let writer: Arc<StateWriter> = Arc::new(StateWriter::new(State::new()));
    let recorder = Arc::new(Recorder::default());
    *recorder.cell.lock().unwrap() = Some(writer.cell().clone());
    let _attached = writer.cell().attach(recorder.clone());
    let template = namespace("app");
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let (writer, template) = (&writer, &template);
            threads.spawn(move || {
                for i in 0..50 {
                    let mut namespace = template.clone();
                    namespace.id = NamespaceId::parse(&format!("ns-{thread}-{i}")).unwrap();
                    writer.publish(&putting(&namespace, vec![])).unwrap();
                }
            });
        }
    });
    let expected: Vec<_> = (0..200).map(|i| format!("{i}>{} PutNamespace 01", i + 1)).collect();
    assert_eq!(recorder.told()[1..], expected);
}

#[test]
fn what_a_backend_finds_is_published_as_what_differs() {
    let (stored, writer) = (Engine::new(), StateWriter::new(State::new()));
    let recorder = Arc::new(Recorder::default());
    let _attached = writer.cell().attach(recorder.clone());
    assert_eq!(recorder.told(), ["rebuild 0"]);
    let namespace = stored.http("app");
    let service = stored.http_service(&namespace, "web");
    let find = |finished: &[_]| {
        let found = cell(&stored).load().clone();
        writer.reconcile(&found, Timestamp::from_millis(1), finished).unwrap();
        assert_eq!(writer.cell().load().diff(&found), vec![]);
    };
    find(&[]);
    assert_eq!(recorder.told(), ["0>1 PutNamespace 01, PutService 01"]);
    stored.register(&service, "i-1", &[]);
    stored.register(&service, "i-2", &[]);
    let finished = stored.operation(namespace.created_by.as_str());
    find(std::slice::from_ref(&finished));
    find(std::slice::from_ref(&finished));
    assert_eq!(recorder.told(), ["1>2 PutInstance 01, PutInstance 01"], "and nothing when nothing is new");
    assert_eq!(writer.cell().operations().get(finished.id.as_str()), Some(finished));
    assert_eq!(writer.cell().operations().len(), 1);
}

#[test]
fn what_has_passed_is_not_undone_by_finding_its_facts_again() {
    let stored = Engine::timed(Timing::instant().with_operation(Duration::from_secs(5)));
    stored.api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
    let facts = cell(&stored).load().clone();
    let (due, writer) = (facts.next_deadline().unwrap(), StateWriter::new(State::new()));
    let now = Timestamp::default();
    writer.reconcile(&facts, now, &[]).unwrap();
    assert_eq!(writer.cell().next_deadline(), Some(due));
    writer.cell().advance(due);
    let recorder = Arc::new(Recorder::default());
    let _attached = writer.cell().attach(recorder.clone());
    recorder.told();
    // The store still says that it is under way, and this listing is from before it was due.
    for _ in 0..2 {
        writer.reconcile(&facts, now, &[]).unwrap();
    }
    assert_eq!(recorder.told(), [""; 0]);
    assert_eq!((writer.cell().next_deadline(), writer.cell().operations().len()), (None, 1));
    assert_eq!(writer.cell().load().scope(&Scope::default()).namespaces().count(), 1);
    // Whoever lists it only when it is due has its operation in the log too.
    let late = StateWriter::new(State::new());
    late.reconcile(&facts, due, &[]).unwrap();
    assert_eq!(late.cell().load().diff(&writer.cell().load()), vec![]);
    assert_eq!(late.cell().operations().len(), 1);
}
