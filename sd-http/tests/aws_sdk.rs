//! The HTTP client for aws-sdk-rust, called as the SDK's runtime calls it. `examples/cargo_test` and
//! `tests/clients/rust` use it with the SDK itself.

#![cfg(feature = "aws-sdk")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use aws_smithy_runtime_api::client::{
    http::HttpConnector,
    orchestrator::{HttpRequest, HttpResponse},
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Action, CloudMap, Fault, ManualClock, Scope,
    model::{AccountId, Region},
    request::ListNamespacesRequest,
};
use sd_http::{BODY_LIMIT, Caller, CloudMapService, aws_sdk::InProcess};
use serde_json::{Value, json};

const ENDPOINT: &str = "https://servicediscovery.us-east-1.amazonaws.com";

fn request(action: Action, body: impl Into<SdkBody>) -> HttpRequest {
    let target = format!("Route53AutoNaming_v20170314.{action}");
    let request = http::Request::post(ENDPOINT).header("X-Amz-Target", target);
    HttpRequest::try_from(request.body(body.into()).unwrap()).unwrap()
}

fn create(name: &str) -> HttpRequest {
    request(Action::CreateHttpNamespace, json!({"Name": name}).to_string())
}

fn json(response: &HttpResponse) -> Value {
    serde_json::from_slice(response.body().bytes().unwrap()).unwrap()
}

fn names(cloud_map: &CloudMap, scope: Scope) -> Vec<String> {
    let namespaces = cloud_map.at(scope).list_namespaces(ListNamespacesRequest::new()).unwrap();
    namespaces.items.iter().map(|item| item.namespace.name.to_string()).collect()
}

/// A body in these pieces, the last of which may be an error.
struct Pieces(Vec<io::Result<&'static str>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.0.remove(0);
        Poll::Ready(Some(piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes())))))
    }
}

#[tokio::test]
async fn every_endpoint_reaches_cloud_map() {
    let client = InProcess::new(CloudMap::new(MemoryRegistry::new()));
    for endpoint in [
        "https://data-servicediscovery.eu-west-1.amazonaws.com",
        "http://data-localhost:1",
        "http://127.0.0.1:9/some/path",
        "http://no-such-host.invalid/",
    ] {
        let mut request = request(Action::ListNamespaces, "{}");
        request.set_uri(endpoint).unwrap();
        let response = client.call(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{endpoint}");
        assert_eq!(response.headers().get("content-type"), Some("application/x-amz-json-1.1"));
        assert_eq!(json(&response), json!({"Namespaces": []}), "{endpoint}");
    }
}

#[tokio::test]
async fn api_errors_are_http_responses() {
    let client = InProcess::new(CloudMap::new(MemoryRegistry::new()));
    let response = client.call(request(Action::GetNamespace, r#"{"Id": "ns-1"}"#)).await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    assert_eq!(json(&response)["__type"], "NamespaceNotFound");
    let response = client.call(request(Action::GetNamespace, vec![b' '; BODY_LIMIT + 1])).await.unwrap();
    assert_eq!(response.status().as_u16(), 413);
}

#[tokio::test]
async fn the_scope_comes_from_the_signature_the_caller_or_the_service() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let scope =
        |account, region| Scope::new(AccountId::parse(account).unwrap(), Region::parse(region).unwrap());
    let default = scope("111122223333", "eu-north-1");
    let client = InProcess::from(CloudMapService::new(cloud_map.clone()).with_default_scope(default.clone()));
    let mut signed = create("signed");
    signed.headers_mut().insert(
        "authorization",
        "AWS4-HMAC-SHA256 Credential=210987654321/20260101/eu-west-1/servicediscovery/aws4_request",
    );
    let mut called = create("called");
    called.add_extension(Caller::new(scope("444455556666", "us-west-2")));
    for request in [signed, called, create("plain")] {
        assert_eq!(client.call(request).await.unwrap().status().as_u16(), 200);
    }
    assert_eq!(names(&cloud_map, scope("210987654321", "eu-west-1")), ["signed"]);
    assert_eq!(names(&cloud_map, scope("444455556666", "us-west-2")), ["called"]);
    assert_eq!(names(&cloud_map, default), ["plain"]);
}

#[tokio::test]
async fn bodies_may_arrive_in_pieces() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let body = Pieces(vec![Ok(r#"{"Name":"#), Ok(r#" "app"}"#)]);
    let response = InProcess::new(cloud_map.clone())
        .call(request(Action::CreateHttpNamespace, SdkBody::from_body_1_x(body)))
        .await
        .unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(names(&cloud_map, Scope::default()), ["app"]);
}

#[tokio::test]
async fn a_failing_body_is_an_error_and_changes_nothing() {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    let body = Pieces(vec![Ok(r#"{"Name": "app"}"#), Err(io::Error::other("disk failed"))]);
    let error = InProcess::new(cloud_map.clone())
        .call(request(Action::CreateHttpNamespace, SdkBody::from_body_1_x(body)))
        .await
        .unwrap_err();
    assert!(error.is_io());
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "disk failed");
    assert!(names(&cloud_map, Scope::default()).is_empty());
}

#[tokio::test]
async fn a_call_that_the_sdk_drops_never_happens() {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = CloudMap::builder(MemoryRegistry::new()).clock(Arc::clone(&clock)).build();
    let client = InProcess::new(cloud_map.clone());
    cloud_map.faults().inject(Fault::delay(Action::CreateHttpNamespace, &clock, Duration::from_secs(60)));
    {
        let mut held = pin!(client.call(create("late")));
        assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    clock.advance(Duration::from_secs(60));
    client.call(create("next")).await.unwrap();
    assert_eq!(names(&cloud_map, Scope::default()), ["next"]);
}
