//! Subscriptions: no change is missed, several changes are reported as one, and no task is woken without a change.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use common::{Engine, woken::Woken};
use sd_core::{Scope, State, Subscription};

/// Polls once: the number of namespaces in the newest state, if it has changed.
fn poll(subscription: &mut Subscription, waker: &Waker) -> Option<usize> {
    let mut future = pin!(subscription.changed());
    match future.as_mut().poll(&mut Context::from_waker(waker)) {
        Poll::Ready(state) => Some(namespaces(&state)),
        Poll::Pending => None,
    }
}

fn namespaces(state: &State) -> usize {
    state.scope(&Scope::default()).namespaces().count()
}

#[test]
fn a_change_wakes_and_is_reported_once() {
    let engine = Engine::new();
    let (woken, waker) = Woken::new();
    engine.http("before");
    let mut subscription = engine.cloud_map.cloud_map().cell().subscribe();
    assert_eq!(poll(&mut subscription, &waker), None);
    engine.http("one");
    assert_eq!(woken.times(), 1);
    assert_eq!(poll(&mut subscription, &waker), Some(2));
    assert_eq!(poll(&mut subscription, &waker), None);
}

/// A waker that panics.
struct Broken;

impl Wake for Broken {
    fn wake(self: Arc<Self>) {
        panic!("as asked");
    }
}

#[test]
fn a_waker_that_panics_does_not_affect_others() {
    let engine = Engine::new();
    let (woken, good) = Woken::new();
    let mut subscriptions = [(); 3].map(|()| engine.cloud_map.cloud_map().cell().subscribe());
    for (subscription, waker) in subscriptions.iter_mut().zip([&good, &Waker::from(Arc::new(Broken)), &good])
    {
        assert_eq!(poll(subscription, waker), None);
    }
    engine.http("one");
    assert_eq!(woken.times(), 2);
    for subscription in &mut subscriptions {
        assert_eq!(poll(subscription, &good), Some(1));
    }
}

#[test]
fn changes_between_two_waits_are_reported_as_one() {
    let engine = Engine::new();
    let waker = Waker::noop();
    let mut subscription = engine.cloud_map.cloud_map().cell().subscribe();
    for name in ["one", "two", "three"] {
        engine.http(name);
    }
    assert_eq!(poll(&mut subscription, waker), Some(3));
    assert_eq!(poll(&mut subscription, waker), None);
}

#[test]
fn dropping_a_future_or_a_subscription_loses_no_change_and_leaves_no_waker() {
    let engine = Engine::new();
    let (woken, waker) = Woken::new();
    let cell = engine.cloud_map.cloud_map().cell();
    let (mut kept, mut dropped) = (cell.subscribe(), cell.subscribe());
    // Each task polls twice and is woken once.
    for _ in 0..2 {
        assert_eq!(poll(&mut kept, &waker), None);
        assert_eq!(poll(&mut dropped, &waker), None);
    }
    drop(dropped);
    engine.http("one");
    assert_eq!(woken.times(), 1);
    assert_eq!(poll(&mut kept, &waker), Some(1));
}

#[test]
fn a_refused_request_wakes_no_task() {
    let engine = Engine::new();
    engine.http("one");
    let (woken, waker) = Woken::new();
    let mut subscription = engine.cloud_map.cloud_map().cell().subscribe();
    assert_eq!(poll(&mut subscription, &waker), None);
    let again = sd_core::request::CreateHttpNamespaceRequest::new("one");
    engine.api.create_http_namespace(again).unwrap_err();
    assert_eq!(woken.times(), 0);
    assert_eq!(poll(&mut subscription, &waker), None);
}

#[test]
fn a_writer_and_a_waiter_never_miss_each_other() {
    let engine = Engine::new();
    let mut subscription = engine.cloud_map.cloud_map().cell().subscribe();
    std::thread::scope(|threads| {
        let waiter = threads.spawn(move || {
            // Park the thread until it is woken, like a small runtime.
            struct Unpark(std::thread::Thread);
            impl Wake for Unpark {
                fn wake(self: Arc<Self>) {
                    self.0.unpark();
                }
            }
            let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
            let mut last = 0;
            while last < 300 {
                match poll(&mut subscription, &waker) {
                    Some(count) => {
                        assert!(count > last);
                        last = count;
                    }
                    None => std::thread::park(),
                }
            }
        });
        for i in 0..300 {
            engine.http(&format!("n-{i}"));
        }
        waiter.join().unwrap();
    });
}
