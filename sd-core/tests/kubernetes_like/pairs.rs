//! The pairs of requests that the protocol was checked for, each on two replicas, and some beside the collector. Whatever the
//! schedule and the faults, both answers are those of one order or the other, and the end agrees with them.

use sd_core::{
    Error, ErrorCode, Scope, ScopedCloudMap, State,
    model::CustomHealthStatus,
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, DeleteNamespaceRequest,
        DeleteServiceRequest, DeregisterInstanceRequest, RegisterInstanceRequest, Tag, TagResourceRequest,
    },
    state::{NamespaceEntry, ServiceEntry},
};

use crate::{
    races::{Answer, Request, Stage, outcome, race, request, schedules},
    stress::service_request,
};

fn namespaces(state: &State) -> usize {
    state.scope(&Scope::default()).namespaces().count()
}

fn service(state: &State) -> Option<ServiceEntry> {
    let here = state.scope(&Scope::default());
    here.namespaces().flat_map(|entry| here.services_of(entry)).next().cloned()
}

fn instances(state: &State) -> usize {
    service(state).map_or(0, |entry| entry.instances().len())
}

/// Runs a pair with a share of the schedules, after `before`. Every end must be allowed.
fn pair(
    before: Option<&Request>,
    requests: [&Request; 2],
    is_allowed: impl Fn(&[Answer; 2], &State) -> bool,
) {
    for (seed, schedule) in schedules().step_by(5) {
        let (answers, state) = race(seed, schedule, before, requests);
        assert!(is_allowed(&answers, &state), "seed {seed}, {schedule:?}: {answers:?}, {state:#?}");
    }
}

fn create_http(name: &'static str) -> Request {
    request(move |api, _| async move {
        let started = api.create_http_namespace(CreateHttpNamespaceRequest::new(name)).await?;
        outcome(&api, &started)
    })
}

fn create_zone(name: &'static str) -> Request {
    request(move |api, _| async move {
        let started =
            api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new(name, "vpc-1")).await?;
        outcome(&api, &started)
    })
}

async fn empty_and_delete(api: &ScopedCloudMap, stage: &Stage) -> Result<(), Error> {
    api.delete_service(DeleteServiceRequest::new(&stage.service.id)).await?;
    let request = DeleteNamespaceRequest::new(stage.namespace.as_str());
    let started = api.delete_namespace(request).await?;
    outcome(api, &started)
}

fn delete_service() -> Request {
    request(
        |api, stage| async move { api.delete_service(DeleteServiceRequest::new(&stage.service.id)).await },
    )
}

fn register() -> Request {
    request(|api, stage| async move {
        let request = RegisterInstanceRequest::new(&stage.service.id, "i-1").with_attribute("version", "1");
        let started = api.register_instance(request.with_creator_request_id("token")).await?;
        outcome(&api, &started)
    })
}

fn register_again() -> Request {
    request(|api, stage| async move {
        let request = RegisterInstanceRequest::new(&stage.service.id, "i-1").with_attribute("version", "2");
        let started = api.register_instance(request).await?;
        outcome(&api, &started)
    })
}

fn deregister() -> Request {
    request(|api, stage| async move {
        let request = DeregisterInstanceRequest::new(&stage.service.id, "i-1");
        let started = api.deregister_instance(request).await?;
        outcome(&api, &started)
    })
}

fn report() -> Request {
    request(|api, stage| async move {
        api.set_health(&stage.service.id, "i-1", CustomHealthStatus::Unhealthy).await.map(drop)
    })
}

fn tag(key: &'static str) -> Request {
    request(move |api, stage| async move {
        let request =
            TagResourceRequest::new(stage.service.arn().as_str()).with_tags([Tag::new(key, "value")]);
        api.tag_resource(request).await.map(drop)
    })
}

fn collect() -> Request {
    request(|_, stage| async move {
        // What it cannot reach it collects another time.
        let _ = stage.core.sweep(200).await;
        Ok(())
    })
}

fn is_or(answer: &Answer, code: ErrorCode) -> bool {
    answer.is_ok() || *answer == Err(code)
}

#[test]
fn namespaces_of_two_kinds_share_a_name() {
    pair(None, [&create_http("new.local"), &create_zone("new.local")], |answers, state| {
        *answers == [Ok(()), Ok(())] && namespaces(state) == 3
    });
}

#[test]
fn a_name_is_free_after_its_namespace_is_deleted() {
    let delete = request(|api, stage| async move { empty_and_delete(&api, &stage).await });
    pair(None, [&delete, &create_http("app")], |answers, state| {
        answers[0].is_ok()
            && is_or(&answers[1], ErrorCode::NamespaceAlreadyExists)
            && namespaces(state) == usize::from(answers[1].is_ok())
    });
}

#[test]
fn a_service_is_deleted_by_one_of_two() {
    pair(None, [&delete_service(), &delete_service()], |answers, state| {
        answers.iter().any(Result::is_ok)
            && answers.iter().all(|answer| is_or(answer, ErrorCode::ServiceNotFound))
            && service(state).is_none()
    });
}

#[test]
fn a_service_is_created_again_after_its_deletion() {
    let create = request(|api, stage| async move {
        api.create_service(service_request("web", &stage.namespace, false)).await.map(drop)
    });
    pair(None, [&delete_service(), &create], |answers, state| {
        answers[0].is_ok()
            && is_or(&answers[1], ErrorCode::ServiceAlreadyExists)
            && service(state).is_some() == answers[1].is_ok()
    });
}

#[test]
fn an_update_and_a_deletion_of_a_service_meet() {
    pair(None, [&tag("one"), &delete_service()], |answers, state| {
        is_or(&answers[0], ErrorCode::ResourceNotFoundException)
            && answers[1].is_ok()
            && service(state).is_none()
    });
}

#[test]
fn no_update_of_two_is_lost() {
    pair(None, [&tag("one"), &tag("two")], |answers, state| {
        let tags = service(state).map(|entry| entry.service().tags.iter().count());
        *answers == [Ok(()), Ok(())] && tags == Some(2)
    });
}

#[test]
fn one_token_registers_once() {
    pair(None, [&register(), &register()], |answers, state| {
        *answers == [Ok(()), Ok(())] && instances(state) == 1
    });
}

#[test]
fn a_registration_again_and_a_deregistration_meet() {
    pair(Some(&register()), [&register_again(), &deregister()], |answers, state| {
        let version = service(state).and_then(|entry| {
            let found = entry.instances().get("i-1")?;
            Some(found.instance().attributes.get("version").unwrap_or_default().to_owned())
        });
        *answers == [Ok(()), Ok(())] && version.is_none_or(|version| version == "2")
    });
}

#[test]
fn an_instance_is_deregistered_by_one_of_two() {
    pair(Some(&register()), [&deregister(), &deregister()], |answers, state| {
        answers.iter().any(Result::is_ok)
            && answers.iter().all(|answer| is_or(answer, ErrorCode::InstanceNotFound))
            && instances(state) == 0
    });
}

#[test]
fn a_report_and_a_deregistration_meet() {
    pair(Some(&register()), [&report(), &deregister()], |answers, state| {
        is_or(&answers[0], ErrorCode::InstanceNotFound) && answers[1].is_ok() && instances(state) == 0
    });
}

#[test]
fn a_report_and_an_update_of_the_service_are_both_kept() {
    pair(Some(&register()), [&report(), &tag("one")], |answers, state| {
        let entry = service(state);
        let healthy = entry.as_ref().map(|entry| entry.instances().healthy_len());
        let tags = entry.map(|entry| entry.service().tags.iter().count());
        *answers == [Ok(()), Ok(())] && (healthy, tags) == (Some(0), Some(1))
    });
}

#[test]
fn a_replay_and_a_deregistration_meet() {
    pair(Some(&register()), [&register(), &deregister()], |answers, state| {
        *answers == [Ok(()), Ok(())] && instances(state) <= 1
    });
}

#[test]
fn the_collector_disturbs_no_request() {
    let create = request(|api, stage| async move {
        api.create_service(service_request("api", &stage.namespace, false)).await.map(drop)
    });
    for beside in [create, register(), create_zone("new.local"), create_http("new")] {
        pair(None, [&beside, &collect()], |answers, state| {
            *answers == [Ok(()), Ok(())] && namespaces(state) + instances(state) >= 1
        });
    }
    let delete = request(|api, stage| async move { empty_and_delete(&api, &stage).await });
    pair(None, [&delete, &collect()], |answers, state| {
        *answers == [Ok(()), Ok(())]
            && state.scope(&Scope::default()).namespaces().map(NamespaceEntry::service_count).sum::<usize>()
                == 0
    });
}
