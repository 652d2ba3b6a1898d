//! The writes that sets lead to: a store of records that does them holds what the cell shows, at every moment.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use sd_core::{
    Change, ChangeSet, Clock, CloudMap, CommitError, Immediate, ManualClock, OperationLog, Registry, Scope,
    SequentialIds, State, StateCell, StateWriter, SyncCloudMap, SyncScopedCloudMap, Timestamp, Timing,
    model::{CustomHealthStatus, HealthCheck, HealthCheckType, NamespaceId, RecordType},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
        DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest, DnsConfigChange,
        DnsConfigInput, HealthCheckConfigInput, HealthCheckCustomConfigInput, RegisterInstanceRequest,
        ServiceChange, Tag, TagResourceRequest, UpdateInstanceCustomHealthStatusRequest,
        UpdateServiceRequest,
    },
    store::Written,
    stored::{Facts, Operation, Record, Write},
};

/// Records as JSON, by key.
type Records = BTreeMap<String, String>;

fn write(records: &mut Records, write: &Write) {
    match write {
        Write::Put(record) => {
            drop(records.insert(record.key(), serde_json::to_string(record).unwrap()));
        }
        Write::Delete(key) => drop(records.remove(key)),
        Write::DeleteAll(prefix) => records.retain(|key, _| !key.starts_with(prefix)),
    }
}

fn read(records: &Records) -> StateWriter {
    let records = records.iter().map(|(key, text)| {
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record.key(), *key);
        record
    });
    let (facts, finished) = Facts::of_records(records).unwrap();
    let state = State::restore(facts).unwrap();
    StateWriter::restored(state, finished, OperationLog::CAPACITY).unwrap()
}

/// What a cell consists of at a moment.
fn shown(cell: &StateCell, now: Timestamp) -> (Facts, Vec<Operation>) {
    cell.advance(now);
    let mut finished = cell.operations().stored();
    finished.sort_by(|one, other| one.id.cmp(&other.id));
    (Facts::of(&cell.load()), finished)
}

fn without_places((mut facts, mut finished): (Facts, Vec<Operation>)) -> (Facts, Vec<Operation>) {
    facts.revision = 0;
    facts.namespaces.iter_mut().for_each(|namespace| namespace.place = 0);
    facts.services.iter_mut().for_each(|service| service.place = 0);
    facts.instances.iter_mut().for_each(|instance| instance.place = 0);
    facts.pending.iter_mut().for_each(|pending| pending.operation.place = 0);
    finished.iter_mut().for_each(|operation| operation.place = 0);
    (facts, finished)
}

/// A registry that keeps its records in a map, and how many writes its last set took.
#[derive(Debug)]
struct Mapped {
    writer: StateWriter,
    store: Mutex<(Records, Written)>,
    /// The cell gets to this moment while each set is stored.
    meanwhile: Mutex<Timestamp>,
    writes: Mutex<usize>,
}

impl Mapped {
    fn open(records: Records) -> Self {
        let writer = read(&records);
        let written = Written::new(writer.cell().load().clone());
        let store = Mutex::new((records, written));
        Self { writer, store, meanwhile: Mutex::default(), writes: Mutex::default() }
    }

    fn records(&self) -> Records {
        self.store.lock().unwrap().0.clone()
    }
}

#[async_trait]
impl Registry for Mapped {
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        let mut store = self.store.lock().unwrap();
        let (records, written) = &mut *store;
        let checked = self.writer.check(changes)?;
        let writes = written.writes(&checked);
        self.writer.cell().advance(*self.meanwhile.lock().unwrap());
        for next in writes.writes() {
            write(records, next);
            // Every prefix can be restored.
            read(records);
        }
        *self.writes.lock().unwrap() = writes.writes().len();
        *written = writes.into_written();
        checked.publish();
        Ok(())
    }
}

impl Immediate for Mapped {}

/// Sends a random request, or lets time pass. Refusals are as good as anything.
fn step(random: &mut fastrand::Rng, cloud_map: &SyncCloudMap, clock: &ManualClock) {
    let scope = if random.u8(..4) == 0 {
        Scope::parse("210987654321", "eu-west-1").unwrap()
    } else {
        Scope::default()
    };
    let api: SyncScopedCloudMap = cloud_map.at(scope.clone());
    let state = cloud_map.state();
    let here = state.scope(&scope);
    let namespaces: Vec<_> = here.namespaces().map(|found| found.namespace().clone()).collect();
    let services: Vec<_> = here.services().map(|found| found.service().id.to_string()).collect();
    let instances: Vec<_> = here
        .services()
        .flat_map(|found| found.instances().iter().map(move |entry| (found, entry)))
        .map(|(found, entry)| (found.service().id.to_string(), entry.instance().id.to_string()))
        .collect();
    let n = random.u8(..4);
    let namespace = (!namespaces.is_empty()).then(|| namespaces[random.usize(..namespaces.len())].clone());
    let service = (!services.is_empty()).then(|| services[random.usize(..services.len())].clone());
    let instance = (!instances.is_empty()).then(|| instances[random.usize(..instances.len())].clone());
    match (random.u8(..17), namespace, service, instance) {
        (0, ..) => {
            let request = CreateHttpNamespaceRequest::new(format!("n{n}"));
            drop(api.create_http_namespace(request.with_creator_request_id(format!("t{}", random.u8(..4)))));
        }
        (1, ..) => {
            let request = CreatePrivateDnsNamespaceRequest::new(format!("n{n}"), format!("vpc-{}", n % 2));
            drop(api.create_private_dns_namespace(request));
        }
        (2 | 3, Some(namespace), ..) => {
            let mut request =
                CreateServiceRequest::new(format!("s{n}")).with_namespace_id(namespace.id.as_str());
            if n > 1 {
                request = request.with_health_check_custom_config(HealthCheckCustomConfigInput::default());
            }
            if namespace.hosted_zone().is_some() {
                request = request.with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]));
            }
            drop(api.create_service(request));
        }
        (4..=7, _, Some(service), _) => {
            let request = RegisterInstanceRequest::new(service, format!("i/{n}"));
            let address = format!("10.0.0.{}", random.u8(..3));
            drop(api.register_instance(request.with_attribute("AWS_INSTANCE_IPV4", address)));
        }
        (8, .., Some((service, id))) => {
            drop(api.deregister_instance(DeregisterInstanceRequest::new(service, id)));
        }
        (9 | 10, .., Some((service, id))) => {
            let status = if n == 0 { CustomHealthStatus::Healthy } else { CustomHealthStatus::Unhealthy };
            let request = UpdateInstanceCustomHealthStatusRequest::new(service, id, status);
            drop(api.update_instance_custom_health_status(request));
        }
        (11, _, Some(service), _) => drop(api.delete_service(DeleteServiceRequest::new(service))),
        (12, Some(namespace), ..) => {
            drop(api.delete_namespace(DeleteNamespaceRequest::new(namespace.id.as_str())));
        }
        (13, _, Some(service), _) => {
            let mut change = ServiceChange::default().with_description(format!("d{n}"));
            if n > 1 {
                change = change.with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Tcp));
                change = change.with_dns_config(DnsConfigChange::new([(RecordType::A, 5)]));
            }
            drop(api.update_service(UpdateServiceRequest::new(service).with_service(change)));
        }
        (14, Some(namespace), ..) => {
            let request = TagResourceRequest::new(namespace.arn().to_string());
            drop(api.tag_resource(request.with_tags([Tag::new("k", n.to_string())])));
        }
        (15, ..) if random.u8(..12) == 0 => cloud_map.reset().unwrap(),
        _ => clock.advance(Duration::from_millis(n.into())),
    }
}

/// Runs random histories. With `races`, time passes while sets are stored.
fn histories(timing: Timing, races: bool) {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let clock = Arc::new(ManualClock::default());
        let ids = Arc::new(SequentialIds::default());
        let open = |records| {
            let registry = Arc::new(Mapped::open(records));
            let cloud_map = CloudMap::builder(Arc::clone(&registry)).clock(Arc::clone(&clock));
            (registry, cloud_map.ids(Arc::clone(&ids)).timing(timing).build_sync())
        };
        let (mut registry, mut cloud_map) = open(Records::new());
        for number in 0..80 {
            let what = format!("seed {seed}, step {number}");
            if races {
                let later = clock.now().after(Duration::from_millis(random.u64(..4)));
                *registry.meanwhile.lock().unwrap() = later;
            }
            step(&mut random, &cloud_map, &clock);
            // An empty set in between would hide what the next one has to store.
            let is_flushed = random.bool();
            if races {
                let passed = *registry.meanwhile.lock().unwrap();
                clock.advance(Duration::from_millis(
                    passed.as_millis().saturating_sub(clock.now().as_millis()),
                ));
            }
            let now = clock.now();
            let cell = registry.cell();
            // After a crash it is as if nothing had happened.
            let (mut crashed, live) = (shown(read(&registry.records()).cell(), now), shown(cell, now));
            if races {
                // A reset did not know of an effect that came between its check and its publication.
                assert!(crashed.0.last_instances_revision <= live.0.last_instances_revision, "{what}");
                crashed.0.last_instances_revision = live.0.last_instances_revision;
            }
            if timing == Timing::instant() && !races {
                assert_eq!(crashed, live, "{what}");
                let records = registry.records();
                for operation in &live.1 {
                    let record = Record::Operation(Box::new(operation.clone()));
                    assert_eq!(records[&record.key()], serde_json::to_string(&record).unwrap(), "{what}");
                }
            }
            assert_eq!(without_places(crashed), without_places(live.clone()), "{what}");
            if !is_flushed {
                continue;
            }
            // The next set stores what has happened by itself, with the places that are shown.
            at_once(registry.commit(ChangeSet::new(Scope::default(), now))).unwrap();
            let restored = read(&registry.records());
            assert_eq!(Facts::of(&restored.cell().load()), live.0, "{what}");
            assert_eq!(shown(restored.cell(), now), live, "{what}");
            if random.u8(..20) == 0 {
                (registry, cloud_map) = open(registry.records());
                assert_eq!(shown(registry.cell(), now), live, "{what}");
            }
        }
    }
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(done) = std::pin::pin!(future).poll(&mut context) else {
        panic!("it waits for nothing")
    };
    done
}

fn slow() -> Timing {
    let timing = Timing::aws().with_operation(Duration::from_millis(3));
    timing.with_custom_health(Duration::from_millis(5))
}

#[test]
fn writes_lead_to_what_the_cell_shows() {
    histories(Timing::instant(), false);
}

#[test]
fn writes_lead_to_what_the_cell_shows_when_operations_take_time() {
    histories(slow(), false);
}

#[test]
fn writes_lead_to_what_the_cell_shows_when_time_passes_while_they_are_stored() {
    histories(slow(), true);
}

#[test]
fn the_writes_of_a_registration_do_not_grow_with_the_service() {
    let registry = Arc::new(Mapped::open(Records::new()));
    let api = SyncCloudMap::new(Arc::clone(&registry)).at(Scope::default());
    let app = api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap().namespace_id;
    let web = api.create_service(CreateServiceRequest::new("web").with_namespace_id(app)).unwrap().id.clone();
    for number in 0..50 {
        let request = RegisterInstanceRequest::new(&web, format!("i-{number}"));
        api.register_instance(request.with_attribute("version", "1")).unwrap();
        // The counters, the service, the instance and the operation.
        assert_eq!(*registry.writes.lock().unwrap(), 4);
    }
}

#[test]
fn a_set_that_replaces_a_name_or_switches_a_check_is_stored() {
    let registry = Arc::new(Mapped::open(Records::new()));
    let api = SyncCloudMap::new(Arc::clone(&registry)).at(Scope::default());
    let app = api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap().namespace_id;
    let request = CreateServiceRequest::new("web").with_namespace_id(&app);
    let request = request.with_health_check_custom_config(HealthCheckCustomConfigInput::default());
    let web = api.create_service(request).unwrap().id.clone();
    api.register_instance(RegisterInstanceRequest::new(&web, "a").with_attribute("version", "1")).unwrap();
    let status = CustomHealthStatus::Unhealthy;
    api.update_instance_custom_health_status(UpdateInstanceCustomHealthStatusRequest::new(&web, "a", status))
        .unwrap();
    let commit = |changes: Vec<Change>, reset| {
        let mut set = ChangeSet::new(Scope::default(), Timestamp::default());
        (set.changes, set.reset) = (changes, reset);
        at_once(registry.commit(set)).unwrap();
        let live = shown(registry.cell(), Timestamp::default());
        assert_eq!(shown(read(&registry.records()).cell(), Timestamp::default()), live);
    };
    let state = registry.cell().load().clone();
    let here = state.scope(&Scope::default());
    // An instance forgets its health while its service is not checked.
    let custom = here.service(web.as_str()).unwrap().service().clone();
    let mut unchecked = (*custom).clone();
    unchecked.health_check = HealthCheck::None;
    commit(vec![Change::PutService(Arc::new(unchecked))], false);
    commit(vec![Change::PutService(custom)], false);
    let mut again = (**here.namespace(app.as_str()).unwrap().namespace()).clone();
    again.id = NamespaceId::parse("ns-aaaaaaaa").unwrap();
    commit(vec![Change::PutNamespace(Arc::new(again))], true);
}
