//! Injected faults, on the wire.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use sd_backend_memory::MemoryRegistry;
use sd_core::{Action, CloudMap, Error, Fault, ManualClock};
use sd_http::CloudMapService;
use serde_json::{Value, json};
use tower_service::Service;

fn call(cloud_map: &CloudMap, action: Action) -> impl Future<Output = Response<Full<Bytes>>> {
    let target = format!("Route53AutoNaming_v20170314.{action}");
    let request = Request::post("/").header("X-Amz-Target", target);
    let answer =
        CloudMapService::new(cloud_map.clone()).call(request.body(Full::<Bytes>::from("{}")).unwrap());
    async move { answer.await.unwrap() }
}

async fn body(response: Response<Full<Bytes>>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test]
async fn throttling_is_answered_as_a_common_error() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    cloud_map.faults().inject(Fault::throttle(Action::ListNamespaces));
    let response = call(&cloud_map, Action::ListNamespaces).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body = body(response).await;
    assert_eq!(body["__type"], "ThrottlingException");
    assert_eq!(body["Message"], "Rate exceeded");
}

#[tokio::test]
async fn an_unavailable_backend_says_when_to_retry() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    // Rounded up to whole seconds.
    for (millis, seconds) in [(7000, "7"), (6001, "7"), (0, "1")] {
        let retry_after = Some(Duration::from_millis(millis));
        let away = Error::Unavailable { retry_after, source: None };
        cloud_map.faults().inject(Fault::error(Action::ListNamespaces, away));
        let response = call(&cloud_map, Action::ListNamespaces).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], seconds);
    }
}

#[tokio::test]
async fn a_delay_holds_back_reads() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = CloudMap::builder(MemoryRegistry::new()).clock(Arc::clone(&clock)).journal(10).build();
    for action in [Action::ListNamespaces, Action::DiscoverInstances, Action::CreateHttpNamespace] {
        cloud_map.journal().clear();
        cloud_map.faults().inject(Fault::delay(action, &clock, Duration::from_secs(60)));
        let mut held = pin!(call(&cloud_map, action));
        let mut poll = || held.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        // Other requests are not held back.
        assert_eq!(call(&cloud_map, Action::ListServices).await.status(), StatusCode::OK);
        let journal = || {
            let calls = cloud_map.journal().calls().into_iter();
            calls.map(|call| (call.request.action(), call.outcome.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(journal(), [(action, false), (Action::ListServices, true)]);
        clock.advance(Duration::from_secs(60));
        assert!(matches!(poll(), Poll::Ready(_)));
        assert_eq!(journal(), [(action, true), (Action::ListServices, true)]);
    }
    assert!(cloud_map.faults().open().is_empty());
    assert_eq!(body(call(&cloud_map, Action::ListNamespaces).await).await, json!({"Namespaces": []}));
}
