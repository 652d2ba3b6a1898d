//! Fault injection and the journal of calls.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use common::{Engine, code, woken::Woken};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Action, Clock, CloudMap, Error, ErrorCode, Fault, ManualClock, Request, Scope, Timing,
    error::InUse,
    model::{OperationErrorCode, OperationStatus},
    request::{
        CreateHttpNamespaceRequest, CreateServiceRequest, DeleteServiceRequest, DeregisterInstanceRequest,
        DiscoverInstancesRequest, DiscoverInstancesRevisionRequest, GetNamespaceRequest,
        ListInstancesRequest, ListNamespacesRequest, RegisterInstanceRequest,
    },
};

fn journaled() -> Engine {
    Engine::configured(MemoryRegistry::new(), |builder| builder.journal(3))
}

fn faulty(fault: Fault) -> Engine {
    let engine = Engine::new();
    engine.cloud_map.cloud_map().faults().inject(fault);
    engine
}

fn list(engine: &Engine) -> Result<usize, Error> {
    engine.api.list_namespaces(ListNamespacesRequest::new()).map(|page| page.items.len())
}

fn create(engine: &Engine, name: &str) -> Result<String, Error> {
    let started = engine.api.create_http_namespace(CreateHttpNamespaceRequest::new(name));
    started.map(|started| started.operation_id.as_str().to_owned())
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_fault_refuses_one_call_which_changes_nothing() {
    let engine = faulty(Fault::error(Action::CreateHttpNamespace, Error::Contention));
    assert_eq!(code(create(&engine, "app")), ErrorCode::ServiceUnavailable);
    assert_eq!(list(&engine).unwrap(), 0);
    create(&engine, "app").unwrap();
    assert!(engine.cloud_map.cloud_map().faults().open().is_empty());
}

#[test]
fn a_fault_applies_to_the_given_number_of_calls() {
    let engine = faulty(Fault::throttle(Action::ListNamespaces).times(2));
    let faults = engine.cloud_map.cloud_map().faults();
    assert_eq!(code(list(&engine)), ErrorCode::ThrottlingException);
    assert_eq!(faults.open().len(), 1);
    assert_eq!(code(list(&engine)), ErrorCode::ThrottlingException);
    assert_eq!(list(&engine).unwrap(), 0);

    faults.inject(Fault::throttle(Action::ListNamespaces).always());
    (0..5).for_each(|_| assert!(list(&engine).unwrap_err().is_retryable()));
    faults.clear();
    list(&engine).unwrap();
    faults.inject(Fault::throttle(Action::ListNamespaces).times(0));
    list(&engine).unwrap();
}

#[test]
fn a_throttled_discovery_has_the_error_of_the_service_model() {
    let engine = Engine::new();
    for action in Action::ALL {
        engine.cloud_map.cloud_map().faults().inject(Fault::throttle(*action));
    }
    let discovered = engine.api.discover_instances(DiscoverInstancesRequest::default());
    assert_eq!(code(discovered), ErrorCode::RequestLimitExceeded);
    let revision = engine.api.discover_instances_revision(DiscoverInstancesRevisionRequest::default());
    assert_eq!(code(revision), ErrorCode::RequestLimitExceeded);
    assert_eq!(
        code(engine.api.get_namespace(GetNamespaceRequest::default())),
        ErrorCode::ThrottlingException
    );
}

#[test]
fn the_oldest_fault_of_an_action_applies_first() {
    let engine = faulty(Fault::error(Action::ListNamespaces, Error::Contention));
    let faults = engine.cloud_map.cloud_map().faults();
    faults.inject(Fault::throttle(Action::ListNamespaces));
    faults.inject(Fault::error(Action::DeleteService, Error::ResourceInUse(InUse::ServiceHasInstances)));
    create(&engine, "app").unwrap();
    assert_eq!(code(list(&engine)), ErrorCode::ServiceUnavailable);
    assert_eq!(code(list(&engine)), ErrorCode::ThrottlingException);
    // The fault comes before any check of the request.
    let deleted = engine.api.delete_service(DeleteServiceRequest::new("srv-none"));
    assert_eq!(code(deleted), ErrorCode::ResourceInUse);
}

#[test]
fn a_fault_can_be_limited_to_one_scope() {
    let elsewhere = Scope::parse("210987654321", "eu-west-1").unwrap();
    let engine = faulty(Fault::throttle(Action::ListNamespaces).at(elsewhere.clone()));
    list(&engine).unwrap();
    let listed = engine.cloud_map.at(elsewhere).list_namespaces(ListNamespacesRequest::new());
    assert_eq!(code(listed), ErrorCode::ThrottlingException);
}

#[test]
fn a_failing_operation_ends_at_its_usual_time_without_effect() {
    for timing in [Timing::instant(), Timing::aws()] {
        let engine = Engine::timed(timing);
        engine.cloud_map.cloud_map().faults().inject(Fault::fail_operation(
            Action::CreateHttpNamespace,
            OperationErrorCode::AccessDenied,
            "no",
        ));
        let id = create(&engine, "app").unwrap();
        if timing == Timing::aws() {
            assert_eq!(engine.operation(&id).status, OperationStatus::Submitted);
            // It claims the name like any other operation.
            assert_eq!(code(create(&engine, "app")), ErrorCode::DuplicateRequest);
            engine.clock.advance(Duration::from_secs(3));
        }
        let operation = engine.operation(&id);
        assert_eq!(operation.status, OperationStatus::Fail);
        let error = operation.error.as_ref().unwrap();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("ACCESS_DENIED", "no"));
        assert_eq!(list(&engine).unwrap(), 0);
        create(&engine, "app").unwrap();
    }
}

#[test]
fn a_registration_and_a_deregistration_can_fail() {
    let engine = Engine::new();
    let namespace = engine.http("app");
    let service =
        engine.service(CreateServiceRequest::new("web").with_namespace_id(&namespace.id)).id.clone();
    let fail = |action| {
        let fault = Fault::fail_operation(action, OperationErrorCode::InternalFailure, "no");
        engine.cloud_map.cloud_map().faults().inject(fault);
    };
    let count =
        || engine.api.list_instances(ListInstancesRequest::new(service.as_str())).unwrap().items.len();
    fail(Action::RegisterInstance);
    let register = || {
        let request = RegisterInstanceRequest::new(service.as_str(), "i-1").with_attribute("a", "b");
        engine.api.register_instance(request).unwrap()
    };
    register();
    assert_eq!(count(), 0);
    register();
    fail(Action::DeregisterInstance);
    let deregister =
        || engine.api.deregister_instance(DeregisterInstanceRequest::new(service.as_str(), "i-1")).unwrap();
    deregister();
    assert_eq!(count(), 1);
    deregister();
    assert_eq!(count(), 0);
}

#[test]
fn failing_the_operation_of_an_action_without_one_is_an_error() {
    for action in Action::ALL.iter().filter(|action| !action.starts_operation()) {
        let engine = faulty(Fault::fail_operation(*action, OperationErrorCode::AccessDenied, "no"));
        if *action == Action::ListNamespaces {
            assert!(matches!(list(&engine), Err(Error::Internal(text)) if text.contains("starts none")));
        }
    }
}

#[test]
fn a_delayed_call_runs_when_the_clock_has_advanced() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = CloudMap::builder(MemoryRegistry::new()).clock(Arc::clone(&clock)).journal(10).build();
    let api = cloud_map.at(Scope::default());
    let delay = Fault::delay(Action::CreateHttpNamespace, &clock, Duration::from_secs(5)).times(2);
    cloud_map.faults().inject(delay);

    let mut dropped = Box::pin(api.create_http_namespace(CreateHttpNamespaceRequest::new("dropped")));
    assert!(poll(dropped.as_mut()).is_pending());
    let mut call = pin!(api.create_http_namespace(CreateHttpNamespaceRequest::new("app")));
    assert!(poll(call.as_mut()).is_pending());
    assert!(cloud_map.journal().calls().iter().all(|call| call.outcome.is_none()));
    clock.advance(Duration::from_millis(4999));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(api.list_namespaces(ListNamespacesRequest::new()).unwrap().items.len(), 0);
    drop(dropped);
    clock.advance(Duration::from_millis(1));
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Ok(_))));
    let namespaces = api.list_namespaces(ListNamespacesRequest::new()).unwrap().items;
    assert_eq!(namespaces.len(), 1);
    // The call ran at the end of its delay.
    assert_eq!(namespaces[0].namespace.created.as_millis(), 1_600_000_005_000);
    let ended = cloud_map.journal().calls().iter().map(|call| call.outcome.is_some()).collect::<Vec<_>>();
    assert_eq!(ended, [false, true, true, true]);
}

#[test]
fn a_call_gets_a_delay_and_another_fault() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = CloudMap::builder(MemoryRegistry::new()).clock(Arc::clone(&clock)).build();
    let api = cloud_map.at(Scope::default());
    cloud_map.faults().inject(Fault::throttle(Action::CreateHttpNamespace));
    cloud_map.faults().inject(Fault::delay(Action::CreateHttpNamespace, &clock, Duration::from_secs(1)));
    let mut call = pin!(api.create_http_namespace(CreateHttpNamespaceRequest::new("app")));
    assert!(poll(call.as_mut()).is_pending());
    clock.advance(Duration::from_secs(1));
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(Error::Throttling(_)))));
}

#[test]
fn advancing_the_clock_wakes_tasks_that_wait_for_it() {
    let (woken, waker) = Woken::new();
    let clock = ManualClock::default();
    let moment = clock.now().after(Duration::from_secs(1));
    let mut reached = pin!(clock.reached(moment));
    assert!(reached.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    clock.advance(Duration::from_secs(1));
    assert_eq!(woken.times(), 1);
    assert!(reached.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn a_manual_clock_never_goes_back() {
    let clock = Arc::new(ManualClock::default());
    let mut never = pin!(clock.reached(clock.now().after(Duration::MAX)));
    assert!(poll(never.as_mut()).is_pending());
    clock.advance(Duration::MAX);
    assert!(poll(never.as_mut()).is_ready());
    let last = clock.now();
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.now(), last);
}

#[test]
fn synchronous_calls_are_not_delayed() {
    let engine = Engine::new();
    let delay = |action| Fault::delay(action, &engine.clock, Duration::from_secs(5));
    engine.cloud_map.cloud_map().faults().inject(delay(Action::CreateHttpNamespace));
    engine.cloud_map.cloud_map().faults().inject(delay(Action::ListNamespaces));
    create(&engine, "app").unwrap();
    assert_eq!(list(&engine).unwrap(), 1);
    assert_eq!(engine.cloud_map.cloud_map().faults().open().len(), 2);
}

#[test]
fn the_journal_has_the_newest_calls_with_their_outcome() {
    let engine = journaled();
    create(&engine, "app").unwrap();
    engine.clock.advance(Duration::from_secs(1));
    create(&engine, "app").unwrap_err();
    list(&engine).unwrap();
    let journal = engine.cloud_map.cloud_map().journal();
    let calls = journal.calls();
    let told: Vec<_> = calls
        .iter()
        .map(|call| {
            let refused = call.outcome.as_ref().unwrap().as_ref().err().map(Error::code);
            (call.at.as_millis() - 1_600_000_000_000, call.request.action(), refused)
        })
        .collect();
    let exists = Some(ErrorCode::NamespaceAlreadyExists);
    assert_eq!(
        told,
        [
            (0, Action::CreateHttpNamespace, None),
            (1000, Action::CreateHttpNamespace, exists),
            (1000, Action::ListNamespaces, None),
        ]
    );
    assert_eq!(calls[0].scope, Scope::default());
    assert_eq!(calls[0].request, Request::from(CreateHttpNamespaceRequest::new("app")));

    // The journal has the newest three.
    drop(engine.api.get_namespace(GetNamespaceRequest::new("ns-none")));
    assert_eq!(journal.calls().len(), 3);
    assert_eq!(journal.requests(Action::CreateHttpNamespace).len(), 1);
    assert_eq!(journal.requests(Action::GetNamespace), [GetNamespaceRequest::new("ns-none").into()]);
    journal.clear();
    assert!(journal.calls().is_empty());
    list(&engine).unwrap();
    assert_eq!(journal.calls().len(), 1);
}

#[test]
fn the_journal_is_off_by_default() {
    let engine = Engine::new();
    list(&engine).unwrap();
    assert!(engine.cloud_map.cloud_map().journal().calls().is_empty());
}

#[test]
fn a_call_that_left_the_journal_gets_no_outcome() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = CloudMap::builder(MemoryRegistry::new()).clock(Arc::clone(&clock)).journal(1).build();
    let api = cloud_map.at(Scope::default());
    cloud_map.faults().inject(Fault::delay(Action::CreateHttpNamespace, &clock, Duration::from_secs(1)));
    let mut call = pin!(api.create_http_namespace(CreateHttpNamespaceRequest::new("app")));
    assert!(poll(call.as_mut()).is_pending());
    drop(api.get_namespace(GetNamespaceRequest::new("ns-none")));
    clock.advance(Duration::from_secs(1));
    assert!(poll(call.as_mut()).is_ready());
    let calls = cloud_map.journal().calls();
    assert_eq!(calls.len(), 1);
    assert!(matches!(&calls[0].outcome, Some(Err(Error::NamespaceNotFound(_)))));
}

#[test]
fn a_fork_copies_neither_faults_nor_journal() {
    let engine = journaled();
    engine.cloud_map.cloud_map().faults().inject(Fault::throttle(Action::ListNamespaces));
    create(&engine, "app").unwrap();
    let registry = MemoryRegistry::fork(engine.cloud_map.cloud_map().cell());
    let fork = Engine::configured(registry, |builder| builder.journal(9));
    assert_eq!(list(&fork).unwrap(), 1);
    assert_eq!(fork.cloud_map.cloud_map().journal().calls().len(), 1);
}
