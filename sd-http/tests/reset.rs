//! Resets over HTTP: by the path of moto's server and on the admin port.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use sd_backend_memory::MemoryRegistry;
use sd_core::{
    CloudMap, Scope,
    request::{CreateHttpNamespaceRequest, ListNamespacesRequest, ListOperationsRequest},
};
use sd_http::{AdminRoutes, CloudMapService, Readiness};
use tower_service::Service;

/// One registry behind both ports, with a namespace in each of two accounts.
struct Doors {
    cloud_map: CloudMap,
    api: CloudMapService,
}

const MOTO: &str = "/moto-api/reset";
const ADMIN: &str = "/_sd/reset";

fn scopes() -> [Scope; 2] {
    [Scope::default(), Scope::parse("210987654321", "eu-west-1").unwrap()]
}

impl Doors {
    fn new() -> Self {
        let cloud_map = CloudMap::new(MemoryRegistry::new());
        Self { api: CloudMapService::new(cloud_map.clone()), cloud_map }
    }

    async fn fill(&self) {
        for scope in scopes() {
            let request = CreateHttpNamespaceRequest::new("app");
            self.cloud_map.at(scope).create_http_namespace(request).await.unwrap();
        }
    }

    /// The number of namespaces and operations.
    fn count(&self) -> usize {
        let count = |scope| {
            let api = self.cloud_map.at(scope);
            api.list_namespaces(ListNamespacesRequest::new()).unwrap().items.len()
                + api.list_operations(ListOperationsRequest::new()).unwrap().items.len()
        };
        scopes().map(count).iter().sum()
    }

    async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let (parts, body) = match path {
            ADMIN => {
                let answer = AdminRoutes::new(self.cloud_map.clone(), Readiness::new())
                    .into_router()
                    .call(request)
                    .await
                    .unwrap();
                let (parts, body) = answer.into_parts();
                (parts, body.collect().await.unwrap().to_bytes())
            }
            _ => {
                let (parts, body) = self.api.call(request).await.unwrap().into_parts();
                (parts, body.collect().await.unwrap().to_bytes())
            }
        };
        Response::from_parts(parts, body)
    }
}

#[tokio::test]
async fn a_post_deletes_everything_in_all_accounts() {
    let mut doors = Doors::new();
    for path in [MOTO, ADMIN] {
        doors.fill().await;
        assert_eq!(doors.count(), 4);
        // The second request finds nothing to delete.
        for _ in 0..2 {
            let answer = doors.send(Method::POST, path, &[]).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()["content-type"], "application/json");
            assert_eq!(answer.body(), r#"{"status": "ok"}"#);
            assert_eq!(doors.count(), 0);
        }
    }
}

#[tokio::test]
async fn other_methods_delete_nothing() {
    let mut doors = Doors::new();
    doors.fill().await;
    for path in [MOTO, ADMIN] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let answer = doors.send(method.clone(), path, &[]).await;
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.headers()["allow"], "POST");
        }
    }
    assert_eq!(doors.count(), 4);
}

#[tokio::test]
async fn pages_of_foreign_origins_delete_nothing() {
    let mut doors = Doors::new();
    doors.fill().await;
    for path in [MOTO, ADMIN] {
        for origin in ["http://example.com", "null"] {
            let answer = doors.send(Method::POST, path, &[("origin", origin)]).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin} {path}");
        }
        let both = [("origin", "http://localhost"), ("origin", "http://example.com")];
        assert_eq!(doors.send(Method::POST, path, &both).await.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(doors.count(), 4);
    let answer = doors.send(Method::POST, MOTO, &[("origin", "http://localhost:3000")]).await;
    assert_eq!((answer.status(), doors.count()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn an_api_request_to_the_reset_path_is_an_api_request() {
    let mut doors = Doors::new();
    doors.fill().await;
    let target = [("x-amz-target", "Route53AutoNaming_v20170314.ListNamespaces")];
    let answer = doors.send(Method::POST, MOTO, &target).await;
    assert!(answer.body().starts_with(br#"{"Namespaces":[{"#), "{answer:?}");
    let cbor = [("smithy-protocol", "rpc-v2-cbor")];
    assert_eq!(doors.send(Method::POST, MOTO, &cbor).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(doors.count(), 4);
    // A host does not take it for a Cloud Map request.
    assert!(!CloudMapService::claims(&Request::post(MOTO).body(()).unwrap()));
}
