//! The pages in browsers that may call, and their answers.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Builder};
use http_body_util::{BodyExt, Full};
use sd_backend_memory::MemoryRegistry;
use sd_core::{CloudMap, Scope, request::ListNamespacesRequest};
use sd_http::{AdminRoutes, CloudMapService, Origin, Readiness};
use tower_service::Service;

const SERVICE: &str = "Route53AutoNaming_v20170314";

/// The API and the admin port, with one origin allowed.
struct Doors {
    cloud_map: CloudMap,
    api: CloudMapService,
}

impl Doors {
    fn new() -> Self {
        let cloud_map = CloudMap::new(MemoryRegistry::new());
        let api = CloudMapService::new(cloud_map.clone()).with_allowed_origins(allowed());
        Self { cloud_map, api }
    }

    async fn send(&mut self, request: Builder, body: &str) -> Response<Bytes> {
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let (parts, body) = if request.uri().path().starts_with("/_sd/") {
            let routes = AdminRoutes::new(self.cloud_map.clone(), Readiness::new());
            let mut admin = routes.with_allowed_origins(allowed()).into_router();
            let (parts, body) = admin.call(request).await.unwrap().into_parts();
            (parts, body.collect().await.unwrap().to_bytes())
        } else {
            let (parts, body) = self.api.call(request).await.unwrap().into_parts();
            (parts, body.collect().await.unwrap().to_bytes())
        };
        Response::from_parts(parts, body)
    }

    fn namespaces(&self) -> usize {
        let all = ListNamespacesRequest::new();
        self.cloud_map.at(Scope::default()).list_namespaces(&all).unwrap().items.len()
    }
}

fn allowed() -> [Origin; 1] {
    ["https://console.example".parse().unwrap()]
}

/// A request in every protocol and on every route. Each would change or reveal something.
fn requests() -> Vec<(Builder, &'static str)> {
    let target = |method, uri: &str| {
        let operation = if method == Method::GET { "ListNamespaces" } else { "CreateHttpNamespace" };
        Request::builder().method(method).uri(uri).header("x-amz-target", format!("{SERVICE}.{operation}"))
    };
    let path = format!("/service/{SERVICE}/operation/ListNamespaces");
    vec![
        (target(Method::POST, "/"), r#"{"Name":"a"}"#),
        (target(Method::GET, "/"), ""),
        (Request::post(path.as_str()), ""),
        (Request::post(path.as_str()).header("smithy-protocol", "rpc-v2-cbor"), ""),
        (Request::post("/moto-api/reset"), ""),
        (Request::post("/_sd/reset"), ""),
        (Request::get("/_sd/health"), ""),
        (Request::get("/_sd/ready"), ""),
    ]
}

#[tokio::test]
async fn requests_of_foreign_pages_are_refused_on_every_route_and_in_every_protocol() {
    let mut doors = Doors::new();
    for (host, header, value) in [
        // DNS rebinding: the page's own name is pointed here.
        ("evil.example:5373", "origin", "http://evil.example:5373"),
        ("localhost:5373", "origin", "http://evil.example"),
        ("localhost:5373", "origin", "null"),
        ("localhost:5373", "origin", "http://console.example"),
        ("localhost:5373", "sec-fetch-site", "cross-site"),
    ] {
        for (request, body) in requests() {
            let name = format!("{:?} {header}: {value}", request.uri_ref());
            let answer = doors.send(request.header("host", host).header(header, value), body).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}");
            assert!(!answer.headers().contains_key("access-control-allow-origin"), "{name}");
        }
        let ask = Request::options("/").header("host", host).header(header, value);
        let answer = doors.send(ask.header("access-control-request-method", "POST"), "").await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{header}: {value}");
    }
    assert_eq!(doors.namespaces(), 0);
}

#[tokio::test]
async fn reads_without_an_origin_need_a_host_that_cannot_be_rebound() {
    let mut doors = Doors::new();
    for (method, host, status) in [
        ("GET", "evil.example:5373", 403),
        ("HEAD", "evil.example", 403),
        ("GET", "localhost:5373", 200),
        ("GET", "10.0.0.7:5373", 200),
        ("POST", "cloudmap:5373", 200),
    ] {
        let ask = Request::builder().method(method).header("host", host);
        let ask = ask.header("x-amz-target", format!("{SERVICE}.ListNamespaces"));
        assert_eq!(doors.send(ask, "").await.status(), status, "{method} {host}");
    }
}

#[tokio::test]
async fn allowed_pages_may_call_and_read_the_answer() {
    let mut doors = Doors::new();
    for origin in ["http://localhost:3000", "https://console.example"] {
        for (request, body) in requests() {
            let answer = doors.send(request.header("host", "localhost").header("origin", origin), body).await;
            assert_ne!(answer.status(), StatusCode::FORBIDDEN);
            let headers = answer.headers();
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert!(headers["access-control-expose-headers"].to_str().unwrap().contains("x-amzn-requestid"));
            assert_eq!(headers["vary"], "origin");
        }
        for path in ["/", "/_sd/reset"] {
            let ask = Request::options(path).header("origin", origin);
            let ask = ask
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "content-type,x-amz-target")
                .header("access-control-request-private-network", "true");
            let answer = doors.send(ask, "").await;
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
            let headers = answer.headers();
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(headers["access-control-allow-methods"], "POST");
            assert_eq!(headers["access-control-allow-headers"], "content-type,x-amz-target");
            assert_eq!(headers["access-control-allow-private-network"], "true");
        }
    }
}
