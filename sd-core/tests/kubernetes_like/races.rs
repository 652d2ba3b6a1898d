//! Two requests at the same time on two replicas, in hundreds of interleavings: one of the two is refused, with the right error.

use std::sync::{Arc, Mutex};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Change, ChangeSet, CloudMap, CommitError, Error, ErrorCode, Registry, Scope, ScopedCloudMap, State,
    SyncCloudMap, Timestamp,
    conformance::BoxFuture,
    model::{EntityKey, InstanceId, OperationStatus, Service, UniqueKey},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, DeleteNamespaceRequest,
        DeleteServiceRequest, GetOperationRequest, RegisterInstanceRequest, Tag, TagResourceRequest,
    },
    response::OperationStarted,
    state::{NamespaceEntry, Precondition},
};

use crate::{
    mirror::Seen,
    objects::{Entity, Kind, service_name, slot_name},
    replica::{Core, KubernetesLike},
    stress::{finish, poll, service_request},
    witness::illegal,
    world::{Outage, SeededIds, Watch, Weather, World},
};

/// The number of random schedules.
const SEEDS: u64 = 80;

/// The order in which the two requests are polled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Schedule {
    /// Polls one request this often, then the other one this often, then the first to its end, then the other.
    Turns { first: usize, polls: [usize; 2] },
    /// A random order, with faults.
    Chance { faults: u8 },
}

/// Every schedule with at most two changes before one of the two is done, and some by chance.
pub(crate) fn schedules() -> impl Iterator<Item = (u64, Schedule)> {
    let turns = (0..2).flat_map(|first| {
        (0..28).flat_map(move |one| (1..9).map(move |other| Schedule::Turns { first, polls: [one, other] }))
    });
    let chance =
        (0..SEEDS).map(|seed| (seed, Schedule::Chance { faults: if seed % 2 == 0 { 0 } else { 20 } }));
    turns.map(|turns| (0, turns)).chain(chance)
}

pub(crate) type Answer = Result<(), ErrorCode>;
type Committed = Result<(), CommitError>;
pub(crate) type Request = Box<dyn Fn(ScopedCloudMap, Stage) -> BoxFuture<'static, Result<(), Error>>>;

/// Namespace `app` with service `web`, by their ids, and the first replica's engine.
#[derive(Clone)]
pub(crate) struct Stage {
    cloud_map: CloudMap,
    pub(crate) core: Arc<Core>,
    pub(crate) namespace: String,
    pub(crate) service: Arc<Service>,
}

pub(crate) fn request<F>(act: impl Fn(ScopedCloudMap, Stage) -> F + 'static) -> Request
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    Box::new(move |api, stage| Box::pin(act(api, stage)))
}

/// The result of an operation.
pub(crate) fn outcome(api: &ScopedCloudMap, started: &OperationStarted) -> Result<(), Error> {
    let request = GetOperationRequest::new(&started.operation_id);
    let operation = api.get_operation(&request)?;
    let failed = operation.status == OperationStatus::Fail;
    if failed { Err(Error::OperationNotFound(operation.id.to_string())) } else { Ok(()) }
}

/// Two replicas that show the same state.
struct Meeting {
    registries: [Arc<KubernetesLike>; 2],
    apis: [ScopedCloudMap; 2],
    stage: Stage,
}

impl Meeting {
    fn new(world: &Arc<World>, seed: u64) -> Self {
        let registries = [(); 2].map(|()| KubernetesLike::open(world));
        let engine = |index: usize| {
            let ids = SeededIds::new(2 * seed + index as u64);
            CloudMap::builder(Arc::clone(&registries[index])).ids(ids).build()
        };
        let engines = [engine(0), engine(1)];
        let apis = engines.each_ref().map(|engine| engine.at(Scope::default()));
        let [cloud_map, _] = engines;
        let core = Arc::clone(registries[0].core());
        let (api, cell) = (apis[0].clone(), registries[0].cell().clone());
        let stage = finish(async move {
            api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
            let first = cell.load().scope(&Scope::default()).namespaces().next().unwrap().namespace().clone();
            let created = api.create_service(service_request("web", first.id.as_str(), false)).await.unwrap();
            Stage { cloud_map, core, namespace: first.id.to_string(), service: created.service }
        });
        let meeting = Self { registries, apis, stage };
        meeting.follow();
        meeting
    }

    /// Both follow their watches to the end.
    fn follow(&self) {
        for registry in &self.registries {
            for kind in Kind::ALL {
                registry.core().follow(kind, usize::MAX);
            }
        }
    }
}

/// The result of a run: the answers, and the final state of both replicas.
pub(crate) fn race(
    seed: u64,
    schedule: Schedule,
    before: Option<&Request>,
    requests: [&Request; 2],
) -> ([Answer; 2], State) {
    let weather = |faults| Weather { faults, in_a_row: 2, watch: Watch::Lags };
    let world = World::new(seed, weather(0));
    let meeting = Meeting::new(&world, seed);
    let Meeting { registries, apis, stage } = &meeting;
    if let Some(before) = before {
        let asked = before(apis[0].clone(), stage.clone());
        finish(async move { asked.await.unwrap() });
        meeting.follow();
    }
    if let Schedule::Chance { faults } = schedule {
        world.set_weather(weather(faults));
    }
    let answers: [Arc<Mutex<Option<Answer>>>; 2] = Default::default();
    let mut racing = [0, 1].map(|index| {
        let (asked, told) =
            (requests[index](apis[index].clone(), stage.clone()), Arc::clone(&answers[index]));
        let race: BoxFuture<'static, ()> = Box::pin(async move {
            let answer = asked.await.map_err(|error| error.code());
            *told.lock().unwrap() = Some(answer);
        });
        race
    });
    let is_done = |index: usize| answers[index].lock().unwrap().is_some();
    let mut turn = |index: usize, polls: usize| {
        for _ in 0..polls {
            if is_done(index) || poll(&mut racing[index]) {
                break;
            }
        }
    };
    match schedule {
        Schedule::Turns { first, polls } => {
            turn(first, polls[0]);
            turn(1 - first, polls[1]);
            turn(first, usize::MAX);
        }
        Schedule::Chance { .. } => {
            // Either may finish first.
            let quick = world.below(9);
            while !is_done(0) && !is_done(1) {
                turn(usize::from(world.below(8) >= quick), 1);
            }
        }
    }
    turn(0, usize::MAX);
    turn(1, usize::MAX);
    world.set_weather(Weather::default());
    world.land_all();
    meeting.follow();
    let states = [0, 1].map(|index: usize| registries[index].cell().load().clone());
    assert!(states[0].diff(&states[1]).is_empty(), "seed {seed}: {:?}", states[0].diff(&states[1]));
    assert_eq!(illegal(&states[0], &Scope::default()), None, "seed {seed}");
    let answers = answers.map(|answer| answer.lock().unwrap().take().expect("both are done"));
    (answers, states[0].clone())
}

/// Runs a race with every seed. Each run must have one of the expected results, and each result must occur.
fn both_ways(requests: &[Request; 2], loser: [ErrorCode; 2], check: impl Fn(&State, usize) -> bool) {
    let mut won = [0, 0];
    for (seed, schedule) in schedules() {
        let (answers, state) = race(seed, schedule, None, [&requests[0], &requests[1]]);
        let winner = match &answers {
            [Ok(()), Err(code)] if *code == loser[1] => 0,
            [Err(code), Ok(())] if *code == loser[0] => 1,
            _ => panic!("seed {seed}, {schedule:?}: {answers:?}"),
        };
        assert!(check(&state, winner), "seed {seed}, {schedule:?}: {answers:?}");
        won[winner] += 1;
    }
    assert!(won.iter().all(|won| *won > 0), "always the same: {won:?}");
}

fn services(state: &State) -> usize {
    state.scope(&Scope::default()).namespaces().map(NamespaceEntry::service_count).sum()
}

fn namespaces(state: &State) -> usize {
    state.scope(&Scope::default()).namespaces().count()
}

#[test]
fn a_service_is_deleted_or_registered_into() {
    let delete = request(|api, stage| async move {
        api.delete_service(DeleteServiceRequest::new(&stage.service.id)).await
    });
    let register = request(|api, stage| async move {
        let request = RegisterInstanceRequest::new(&stage.service.id, "i-1");
        let started = api.register_instance(request.with_attribute("version", "1")).await?;
        outcome(&api, &started)
    });
    both_ways(
        &[delete, register],
        [ErrorCode::ResourceInUse, ErrorCode::ServiceNotFound],
        |state, winner| services(state) == winner,
    );
}

#[test]
fn a_namespace_is_deleted_or_a_service_created_in_it() {
    let empty_and_delete = request(|api, stage| async move {
        api.delete_service(DeleteServiceRequest::new(&stage.service.id)).await?;
        let started = api.delete_namespace(DeleteNamespaceRequest::new(stage.namespace)).await?;
        outcome(&api, &started)
    });
    let create = request(|api, stage| async move {
        api.create_service(service_request("api", &stage.namespace, false)).await.map(drop)
    });
    let loser = [ErrorCode::ResourceInUse, ErrorCode::NamespaceNotFound];
    both_ways(&[empty_and_delete, create], loser, |state, winner| {
        namespaces(state) == winner && services(state) == winner
    });
}

#[test]
fn a_namespace_is_created_once() {
    let create = || {
        request(|api, _| async move {
            let started = api.create_http_namespace(CreateHttpNamespaceRequest::new("new")).await?;
            outcome(&api, &started)
        })
    };
    let loser = [ErrorCode::NamespaceAlreadyExists; 2];
    both_ways(&[create(), create()], loser, |state, _| namespaces(state) == 2);
}

#[test]
fn a_service_is_created_once() {
    let create = || {
        request(|api, stage| async move {
            api.create_service(service_request("new", &stage.namespace, false)).await.map(drop)
        })
    };
    both_ways(&[create(), create()], [ErrorCode::ServiceAlreadyExists; 2], |state, _| services(state) == 2);
}

#[test]
fn a_zone_is_created_once() {
    let create = |name: &'static str| {
        request(move |api, _| async move {
            let request = CreatePrivateDnsNamespaceRequest::new(name, "vpc-1");
            let started = api.create_private_dns_namespace(request).await?;
            outcome(&api, &started)
        })
    };
    // The loser's operation fails. `outcome` has its error.
    let loser = [ErrorCode::OperationNotFound; 2];
    both_ways(&[create("new.local"), create("New.local")], loser, |state, _| namespaces(state) == 2);
}

#[test]
fn registrations_do_not_meet() {
    let register = |id: &'static str| {
        request(move |api, stage| async move {
            let request = RegisterInstanceRequest::new(&stage.service.id, id);
            api.register_instance(request.with_attribute("version", "1")).await.map(drop)
        })
    };
    for (seed, schedule) in schedules() {
        let (answers, state) = race(seed, schedule, None, [&register("i-1"), &register("i-2")]);
        assert_eq!(answers, [Ok(()), Ok(())], "seed {seed}, {schedule:?}");
        let here = state.scope(&Scope::default());
        let service = here.namespaces().flat_map(|entry| here.services_of(entry)).next().unwrap();
        assert_eq!(service.instances().len(), 2, "seed {seed}, {schedule:?}");
    }
}

#[test]
fn a_reset_takes_what_is_registered_beside_it() {
    let reset = request(|_, stage| async move { stage.cloud_map.reset().await });
    let register = request(|api, stage| async move {
        let request = RegisterInstanceRequest::new(&stage.service.id, "i-1");
        api.register_instance(request.with_attribute("version", "1")).await.map(drop)
    });
    let mut first = [0, 0];
    for (seed, schedule) in schedules() {
        let (answers, state) = race(seed, schedule, None, [&reset, &register]);
        match answers {
            [Ok(()), Ok(())] => first[1] += 1,
            [Ok(()), Err(ErrorCode::ServiceNotFound)] => first[0] += 1,
            _ => panic!("seed {seed}, {schedule:?}: {answers:?}"),
        }
        assert_eq!(state.scopes().count(), 0, "seed {seed}, {schedule:?}");
    }
    assert!(first.iter().all(|first| *first > 0), "always the same: {first:?}");
}

/// A registration requires that its service is unchanged when the slot is stored, not only when it is planned.
#[test]
fn a_registration_is_older_than_an_update_of_its_service_or_yields() {
    let mut outcomes = [0, 0];
    for (seed, schedule) in schedules().filter(|(_, schedule)| matches!(schedule, Schedule::Turns { .. })) {
        let world = World::new(seed, Weather { watch: Watch::Never, ..Weather::default() });
        let meeting = Meeting::new(&world, seed);
        let service = Arc::clone(&meeting.stage.service);
        let (id, key) = (InstanceId::parse("i-1").unwrap(), EntityKey::Service(service.id.clone()));
        let [mut update, mut register] = [(); 2].map(|()| ChangeSet::new(Scope::default(), AT));
        let known = [0, 1].map(|index: usize| {
            let state = meeting.registries[index].cell().load();
            state.scope(&Scope::default()).service(service.id.as_str()).unwrap().revision()
        });
        update.preconditions = vec![Precondition::At(key.clone(), known[0])];
        update.changes = vec![Change::PutService(changed(&meeting, &service))];
        register.preconditions = vec![
            Precondition::At(key, known[1]),
            Precondition::Free(UniqueKey::Id(EntityKey::Instance(service.id.clone(), id.clone()))),
        ];
        register.changes = vec![instance(&meeting, &service)];
        let answers: [Arc<Mutex<Option<Committed>>>; 2] = Default::default();
        let mut racing = [(0, update), (1, register)].map(|(index, set)| {
            let (to, told) = (Arc::clone(&meeting.registries[index]), Arc::clone(&answers[index]));
            let race: BoxFuture<'static, ()> = Box::pin(async move {
                let answer = to.commit(set).await;
                *told.lock().unwrap() = Some(answer);
            });
            race
        });
        let Schedule::Turns { first, polls } = schedule else { continue };
        for (index, polls) in
            [(first, polls[0]), (1 - first, polls[1]), (first, usize::MAX), (1 - first, usize::MAX)]
        {
            for _ in 0..polls {
                if answers[index].lock().unwrap().is_some() || poll(&mut racing[index]) {
                    break;
                }
            }
        }
        let [updated, registered] = answers.map(|answer| answer.lock().unwrap().take().unwrap());
        let case = format!("{schedule:?}: {updated:?}, {registered:?}");
        assert!(updated.is_ok(), "{case}");
        let (parent, slot) = {
            let store = world.store.lock().unwrap();
            let parent = Seen::of(store.get(&service_name(&Scope::default(), &service.id)).unwrap());
            let slot = store.get(&slot_name(&Scope::default(), parent.spec.life, &id)).map(Seen::of);
            (parent.version, slot)
        };
        let is_there = slot.as_ref().is_some_and(|slot| slot.spec.entity != Entity::None);
        match registered {
            Ok(()) => assert!(is_there && slot.is_some_and(|slot| slot.version < parent), "{case}"),
            Err(CommitError::Conflict) => {
                assert!(!is_there, "{case}");
                let shown = meeting.registries[1].cell().load().clone();
                let shown =
                    shown.scope(&Scope::default()).service(service.id.as_str()).unwrap().service().clone();
                assert_ne!(shown, service, "it is refused, and not seen: {case}");
            }
            Err(error) => panic!("{error:?}, {case}"),
        }
        outcomes[usize::from(is_there)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 0), "always the same: {outcomes:?}");
}

/// A registration's replica crashes once its slot is stored. Another replica answers the same request again while the service
/// is deleted.
#[test]
fn a_replay_on_another_replica_and_a_deletion_are_not_both_done() {
    let (mut replayed_first, mut deleted_first) = (0, 0);
    for (before, stored, between) in (8..24).flat_map(|before| {
        (4..10).flat_map(move |stored| (0..10).map(move |between| (before, stored, between)))
    }) {
        let case =
            format!("{before} polls of the deletion, {stored} of the registration, {between} of the replay");
        let world = World::new(0, Weather { watch: Watch::Never, ..Weather::default() });
        let meeting = Meeting::new(&world, 0);
        let service = meeting.stage.service.id.to_string();
        let third = KubernetesLike::open(&world);
        let replayer =
            CloudMap::builder(Arc::clone(&third)).ids(SeededIds::new(7)).build().at(Scope::default());
        let answers: [Arc<Mutex<Option<Answer>>>; 2] = Default::default();
        let [deleted, replayed] = answers.clone();
        let [one, two] = meeting.apis.clone();
        let request = RegisterInstanceRequest::new(service.as_str(), "i-1")
            .with_attribute("version", "1")
            .with_creator_request_id("token");
        let mut deletion: BoxFuture<'static, ()> = Box::pin(async move {
            let answer = one.delete_service(DeleteServiceRequest::new(service)).await;
            *deleted.lock().unwrap() = Some(answer.map_err(|error| error.code()));
        });
        let again = request.clone();
        let mut registration: BoxFuture<'static, ()> =
            Box::pin(async move { drop(two.register_instance(request).await) });
        let mut replay: BoxFuture<'static, ()> = Box::pin(async move {
            let answer = replayer.register_instance(again).await;
            *replayed.lock().unwrap() = Some(answer.map(drop).map_err(|error| error.code()));
        });
        let is_done = |index: usize| answers[index].lock().unwrap().is_some();
        for _ in 0..before {
            let _ = is_done(0) || poll(&mut deletion);
        }
        for _ in 0..stored {
            if poll(&mut registration) {
                break;
            }
        }
        // Its replica is never polled again.
        drop(registration);
        for kind in Kind::ALL {
            third.core().follow(kind, usize::MAX);
        }
        for _ in 0..between {
            let _ = is_done(1) || poll(&mut replay);
        }
        while !is_done(0) {
            poll(&mut deletion);
        }
        while !is_done(1) {
            poll(&mut replay);
        }
        let [deleted, replayed] = answers.map(|answer| answer.lock().unwrap().take().unwrap());
        match (&deleted, &replayed) {
            (Ok(()), Err(ErrorCode::ServiceNotFound)) => deleted_first += 1,
            (Err(ErrorCode::ResourceInUse), Ok(())) => replayed_first += 1,
            _ => panic!("{case}: {deleted:?}, {replayed:?}"),
        }
    }
    assert!(replayed_first > 0 && deleted_first > 0, "{replayed_first}, {deleted_first}");
}

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The service with a tag.
fn changed(meeting: &Meeting, service: &Arc<Service>) -> Arc<Service> {
    let made = fork(meeting);
    let request = TagResourceRequest::new(service.arn().as_str()).with_tags([Tag::new("key", "value")]);
    made.at(Scope::default()).tag_resource(request).unwrap();
    let state = made.cloud_map().state();
    Arc::clone(state.scope(&Scope::default()).service(service.id.as_str()).unwrap().service())
}

/// The registration of `i-1`.
fn instance(meeting: &Meeting, service: &Arc<Service>) -> Change {
    let made = fork(meeting);
    let request = RegisterInstanceRequest::new(service.id.as_str(), "i-1").with_attribute("version", "1");
    made.at(Scope::default()).register_instance(request).unwrap();
    let state = made.cloud_map().state();
    let entry = state.scope(&Scope::default()).service(service.id.as_str()).unwrap();
    let found = entry.instances().get("i-1").unwrap();
    let (service, instance) = (service.id.clone(), Arc::clone(found.instance()));
    Change::PutInstance { service, instance, health: found.health() }
}

/// An engine of its own that starts with what the first replica shows.
fn fork(meeting: &Meeting) -> SyncCloudMap {
    SyncCloudMap::new(MemoryRegistry::fork(meeting.registries[0].cell()))
}

/// The registration is stored, and its replica cannot read anything afterwards.
#[test]
fn a_registration_that_cannot_look_for_its_service_is_not_acknowledged() {
    let mut doubted = 0;
    for (before, between) in (0..28).flat_map(|before| (1..8).map(move |between| (before, between))) {
        let case = format!("{before} polls of the deletion, {between} of the registration");
        let world = World::new(0, Weather { watch: Watch::Never, ..Weather::default() });
        let meeting = Meeting::new(&world, 0);
        let service = meeting.stage.service.id.to_string();
        let answers: [Arc<Mutex<Option<Answer>>>; 2] = Default::default();
        let [deleted, registered] = answers.clone();
        let [left, right] = meeting.apis.clone();
        let (one, two) = (service.clone(), service);
        let mut deletion: BoxFuture<'static, ()> = Box::pin(async move {
            let answer = left.delete_service(DeleteServiceRequest::new(one)).await;
            *deleted.lock().unwrap() = Some(answer.map_err(|error| error.code()));
        });
        let mut registration: BoxFuture<'static, ()> = Box::pin(async move {
            let request = RegisterInstanceRequest::new(two, "i-1").with_attribute("version", "1");
            let answer = right.register_instance(request).await;
            *registered.lock().unwrap() = Some(answer.map(drop).map_err(|error| error.code()));
        });
        let is_done = |index: usize| answers[index].lock().unwrap().is_some();
        for _ in 0..before {
            let _ = is_done(0) || poll(&mut deletion);
        }
        for _ in 0..between {
            let _ = is_done(1) || poll(&mut registration);
        }
        world.fail_after(0, Outage::Lost);
        while !is_done(1) {
            poll(&mut registration);
        }
        world.mend();
        while !is_done(0) {
            poll(&mut deletion);
        }
        let [deleted, registered] = answers.map(|answer| answer.lock().unwrap().take().expect("it is done"));
        assert!(deleted.is_err() || registered.is_err(), "{case}: both are done");
        doubted += usize::from(registered.is_err() && deleted.is_ok());
    }
    assert!(doubted > 0);
}
