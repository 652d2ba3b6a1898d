//! Account and Region of a request come from the host, the signature or the default, in both protocols.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, Scope, request::CreateHttpNamespaceRequest};
use sd_http::{Caller, CloudMapService};
use serde_json::{Value, json};
use tower_service::Service;

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Json,
    Cbor,
}

const BOTH: [Protocol; 2] = [Protocol::Json, Protocol::Cbor];

/// The sender of a request: its `Authorization` header, and the caller that the host sets.
type Sender<'a> = (Option<&'a str>, Option<&'a str>);

fn scope(text: &str) -> Scope {
    let (account, region) = text.split_once('/').unwrap();
    Scope::parse(account, region).unwrap()
}

fn signed(access_key: &str, region: &str) -> String {
    let credential = format!("{access_key}/20200913/{region}/servicediscovery/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=00")
}

/// The status and the body of an answer.
async fn send(
    service: &mut CloudMapService,
    protocol: Protocol,
    (authorization, caller): Sender<'_>,
    operation: &str,
    body: &Value,
) -> (StatusCode, String) {
    let mut request = match protocol {
        Protocol::Json => Request::post("/")
            .header("X-Amz-Target", format!("Route53AutoNaming_v20170314.{operation}"))
            .body(Full::<Bytes>::from(body.to_string())),
        Protocol::Cbor => {
            Request::post(format!("/service/Route53AutoNaming_v20170314/operation/{operation}"))
                .header("Smithy-Protocol", "rpc-v2-cbor")
                .body(Full::from(minicbor_serde::to_vec(body).unwrap()))
        }
    }
    .unwrap();
    if let Some(authorization) = authorization {
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(Caller::new(scope(caller)));
    }
    let response = service.call(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    // Both protocols contain texts verbatim.
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// The scopes with a namespace, whose name is that of its scope.
const SCOPES: [&str; 6] = [
    "123456789012/us-east-1",
    "123456789012/eu-west-1",
    "210987654321/us-east-1",
    "210987654321/eu-west-1",
    "000000000000/eu-central-1",
    "000000000000/us-east-1",
];

async fn service() -> CloudMapService {
    let cloud_map = CloudMap::new(MemoryRegistry::new());
    for name in SCOPES {
        let request = CreateHttpNamespaceRequest::new(name);
        cloud_map.at(scope(name)).create_http_namespace(request).await.unwrap();
    }
    CloudMapService::new(cloud_map)
}

/// Lists namespaces in both protocols, and asserts that the only one found is named after this scope.
async fn assert_scope(service: &mut CloudMapService, sender: Sender<'_>, expected: &str) {
    for protocol in BOTH {
        let (status, body) = send(service, protocol, sender, "ListNamespaces", &json!({})).await;
        assert_eq!(status, StatusCode::OK);
        let found: Vec<_> = SCOPES.into_iter().filter(|name| body.contains(name)).collect();
        assert_eq!(found, [expected], "{sender:?} {protocol:?}");
    }
}

#[tokio::test]
async fn the_signature_gives_the_region_and_a_twelve_digit_access_key_the_account() {
    let mut service = service().await;
    for (access_key, region, expected) in [
        ("AKIDEXAMPLE", "us-east-1", "123456789012/us-east-1"),
        ("AKIDEXAMPLE", "eu-west-1", "123456789012/eu-west-1"),
        ("123456789012", "us-east-1", "123456789012/us-east-1"),
        ("210987654321", "us-east-1", "210987654321/us-east-1"),
        ("210987654321", "eu-west-1", "210987654321/eu-west-1"),
        ("000000000000", "eu-central-1", "000000000000/eu-central-1"),
        // Not twelve digits.
        ("21098765432", "us-east-1", "123456789012/us-east-1"),
        ("2109876543210", "eu-west-1", "123456789012/eu-west-1"),
        ("21098765432x", "us-east-1", "123456789012/us-east-1"),
        ("", "eu-west-1", "123456789012/eu-west-1"),
    ] {
        assert_scope(&mut service, (Some(&signed(access_key, region)), None), expected).await;
    }
}

#[tokio::test]
async fn a_request_without_a_readable_signature_has_the_default_scope() {
    let mut service = service().await;
    let unsigned =
        [None, Some(""), Some("Bearer 210987654321"), Some("AWS4-HMAC-SHA256 Credential=210987654321")];
    for authorization in unsigned {
        assert_scope(&mut service, (authorization, None), "123456789012/us-east-1").await;
    }
    let mut service = service.with_default_scope(scope("000000000000/eu-central-1"));
    for authorization in unsigned {
        assert_scope(&mut service, (authorization, None), "000000000000/eu-central-1").await;
    }
    // A signature replaces only the parts that it contains.
    let sender = signed("AKIDEXAMPLE", "us-east-1");
    assert_scope(&mut service, (Some(&sender), None), "000000000000/us-east-1").await;
    let sender = signed("210987654321", "eu-west-1");
    assert_scope(&mut service, (Some(&sender), None), "210987654321/eu-west-1").await;
}

#[tokio::test]
async fn the_caller_set_by_the_host_wins_over_the_signature() {
    let mut service = service().await;
    for caller in SCOPES {
        assert_scope(&mut service, (None, Some(caller)), caller).await;
        let signature = signed("210987654321", "eu-west-1");
        assert_scope(&mut service, (Some(&signature), Some(caller)), caller).await;
    }
}

#[tokio::test]
async fn entities_of_one_scope_are_not_found_from_another() {
    let mut service = service().await;
    let [here, there] = [("210987654321", "us-east-1"), ("210987654321", "eu-west-1")]
        .map(|(access_key, region)| signed(access_key, region));
    for (protocol, not_found) in
        [(Protocol::Json, StatusCode::BAD_REQUEST), (Protocol::Cbor, StatusCode::NOT_FOUND)]
    {
        let listed =
            send(&mut service, Protocol::Json, (Some(&here), None), "ListNamespaces", &json!({})).await;
        let namespace = serde_json::from_str::<Value>(&listed.1).unwrap()["Namespaces"][0].clone();
        for id in [&namespace["Id"], &namespace["Arn"]] {
            let get = json!({"Id": id});
            for (sender, expected) in
                [((Some(&*here), None), StatusCode::OK), ((Some(&*there), None), not_found)]
            {
                let (status, body) = send(&mut service, protocol, sender, "GetNamespace", &get).await;
                assert_eq!(status, expected, "{body}");
                assert_eq!(body.contains("NamespaceNotFound"), expected != StatusCode::OK, "{body}");
            }
            let (status, _) =
                send(&mut service, protocol, (Some(&there), None), "DeleteNamespace", &get).await;
            assert_eq!(status, not_found);
        }
        assert_scope(&mut service, (Some(&here), None), "210987654321/us-east-1").await;
    }
}
