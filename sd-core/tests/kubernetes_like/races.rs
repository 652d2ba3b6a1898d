//! Two requests at the same time on two replicas, in hundreds of interleavings: one of them yields, and says so.

use std::sync::{Arc, Mutex};

use sd_core::{
    CloudMap, Error, ErrorCode, Registry, Scope, ScopedCloudMap, State,
    conformance::BoxFuture,
    model::{OperationStatus, Service},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, DeleteNamespaceRequest, DeleteServiceRequest,
        GetOperationRequest, RegisterInstanceRequest,
    },
    response::OperationStarted,
};

use crate::{
    objects::Kind,
    replica::KubernetesLike,
    stress::{SeededIds, finish, poll, service_request},
    witness::illegal,
    world::{Watch, Weather, World},
};

const SEEDS: u64 = 150;

type Answer = Result<(), ErrorCode>;
type Request = Box<dyn Fn(ScopedCloudMap, Stage) -> BoxFuture<'static, Result<(), Error>>>;

/// Namespace `app` with service `web`, by their ids.
#[derive(Clone)]
struct Stage {
    namespace: String,
    service: Arc<Service>,
}

fn request<F>(act: impl Fn(ScopedCloudMap, Stage) -> F + 'static) -> Request
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    Box::new(move |api, stage| Box::pin(act(api, stage)))
}

/// What an operation comes to.
fn outcome(api: &ScopedCloudMap, started: &OperationStarted) -> Result<(), Error> {
    let request = GetOperationRequest::new(started.operation_id.as_str());
    let operation = api.get_operation(&request)?;
    let failed = operation.status == OperationStatus::Fail;
    if failed { Err(Error::OperationNotFound(operation.id.to_string())) } else { Ok(()) }
}

/// One run: the answers, and the state that both replicas come to.
fn race(seed: u64, faults: u8, requests: [&Request; 2]) -> ([Answer; 2], State) {
    let weather = |faults| Weather { faults, in_a_row: 2, watch: Watch::Lags };
    let world = World::new(seed, weather(0));
    let registries = [(); 2].map(|()| KubernetesLike::open(&world));
    let engine = |index: usize| {
        let ids = SeededIds::new(2 * seed + index as u64);
        CloudMap::builder(Arc::clone(&registries[index])).ids(ids).build().at(Scope::default())
    };
    let apis = [engine(0), engine(1)];
    let (api, cell) = (apis[0].clone(), registries[0].cell().clone());
    let stage = finish(async move {
        api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
        let first = cell.load().scope(&Scope::default()).namespaces().next().unwrap().namespace().clone();
        let created = api.create_service(service_request("web", first.id.as_str(), false)).await.unwrap();
        Stage { namespace: first.id.to_string(), service: created.service }
    });
    let follow = || {
        for registry in &registries {
            Kind::ALL.map(|kind| registry.core().follow(kind, usize::MAX));
        }
    };
    follow();
    world.set_weather(weather(faults));
    let answers: [Arc<Mutex<Option<Answer>>>; 2] = Default::default();
    let mut racing: Vec<BoxFuture<'static, ()>> = Vec::new();
    for index in 0..2 {
        let (asked, told) = (requests[index](apis[index].clone(), stage.clone()), Arc::clone(&answers[index]));
        racing.push(Box::pin(async move {
            let answer = asked.await.map_err(|error| error.code());
            *told.lock().unwrap() = Some(answer);
        }));
    }
    // One may be quicker than the other.
    let quick = world.below(9);
    while !racing.is_empty() {
        let next = usize::from(racing.len() > 1 && world.below(8) >= quick);
        if poll(&mut racing[next]) {
            drop(racing.remove(next));
        }
    }
    world.set_weather(Weather::default());
    world.land_all();
    follow();
    let states = registries.map(|registry| registry.cell().load().clone());
    assert!(states[0].diff(&states[1]).is_empty(), "seed {seed}: {:?}", states[0].diff(&states[1]));
    assert_eq!(illegal(&states[0], &Scope::default()), None, "seed {seed}");
    let answers = answers.map(|answer| answer.lock().unwrap().take().expect("both are done"));
    (answers, states[0].clone())
}

/// Runs a race with every seed; each must come out one way or the other, and each way must be seen.
fn both_ways(requests: [Request; 2], loser: [ErrorCode; 2], check: impl Fn(&State, usize) -> bool) {
    for faults in [0, 15] {
        let mut won = [0, 0];
        for seed in 0..SEEDS {
            let (answers, state) = race(seed, faults, [&requests[0], &requests[1]]);
            let winner = match &answers {
                [Ok(()), Err(code)] if *code == loser[1] => 0,
                [Err(code), Ok(())] if *code == loser[0] => 1,
                _ => panic!("seed {seed}, {faults} faults: {answers:?}"),
            };
            assert!(check(&state, winner), "seed {seed}, {faults} faults: {answers:?}");
            won[winner] += 1;
        }
        assert!(won.iter().all(|won| *won > 0), "always the same with {faults} faults: {won:?}");
    }
}

fn services(state: &State) -> usize {
    state.scope(&Scope::default()).namespaces().map(|entry| entry.service_count()).sum()
}

fn namespaces(state: &State) -> usize {
    state.scope(&Scope::default()).namespaces().count()
}

#[test]
fn a_service_is_deleted_or_registered_into() {
    let delete = request(|api, stage| async move {
        api.delete_service(DeleteServiceRequest::new(stage.service.id.as_str())).await
    });
    let register = request(|api, stage| async move {
        let request = RegisterInstanceRequest::new(stage.service.id.as_str(), "i-1");
        let started = api.register_instance(request.with_attribute("version", "1")).await?;
        outcome(&api, &started)
    });
    both_ways([delete, register], [ErrorCode::ResourceInUse, ErrorCode::ServiceNotFound], |state, winner| {
        services(state) == winner
    });
}

#[test]
fn a_namespace_is_deleted_or_a_service_created_in_it() {
    let empty_and_delete = request(|api, stage| async move {
        api.delete_service(DeleteServiceRequest::new(stage.service.id.as_str())).await?;
        let started = api.delete_namespace(DeleteNamespaceRequest::new(stage.namespace)).await?;
        outcome(&api, &started)
    });
    let create = request(|api, stage| async move {
        api.create_service(service_request("api", &stage.namespace, false)).await.map(drop)
    });
    let loser = [ErrorCode::ResourceInUse, ErrorCode::NamespaceNotFound];
    both_ways([empty_and_delete, create], loser, |state, winner| {
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
    both_ways([create(), create()], loser, |state, _| namespaces(state) == 2);
}

#[test]
fn a_service_is_created_once() {
    let create = || {
        request(|api, stage| async move {
            api.create_service(service_request("new", &stage.namespace, false)).await.map(drop)
        })
    };
    both_ways([create(), create()], [ErrorCode::ServiceAlreadyExists; 2], |state, _| services(state) == 2);
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
    // The loser's operation fails, as `outcome` says in its way.
    let loser = [ErrorCode::OperationNotFound; 2];
    both_ways([create("new.local"), create("New.local")], loser, |state, _| namespaces(state) == 2);
}

#[test]
fn registrations_do_not_meet() {
    let register = |id: &'static str| {
        request(move |api, stage| async move {
            let request = RegisterInstanceRequest::new(stage.service.id.as_str(), id);
            api.register_instance(request.with_attribute("version", "1")).await.map(drop)
        })
    };
    for faults in [0, 15] {
        for seed in 0..SEEDS {
            let (answers, state) = race(seed, faults, [&register("i-1"), &register("i-2")]);
            assert_eq!(answers, [Ok(()), Ok(())], "seed {seed}");
            let here = state.scope(&Scope::default());
            let service = here.namespaces().flat_map(|entry| here.services_of(entry)).next().unwrap();
            assert_eq!(service.instances().len(), 2, "seed {seed}");
        }
    }
}
