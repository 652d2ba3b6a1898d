//! The admin port: operates the process, apart from the API that it emulates.

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use sd_core::CloudMap;
use serde::Serialize;

use crate::{readiness::Readiness, reset::reset};

/// The state of the process, for liveness probes.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    revision: u64,
}

/// The state of the process, for readiness probes.
#[derive(Serialize)]
struct Ready {
    status: &'static str,
}

/// The routes of the admin port (feature `admin`).
///
/// | route | answer |
/// |---|---|
/// | `GET /_sd/health` | liveness: 200 and `{"status": "ok", "revision": …}` |
/// | `GET /_sd/ready` | readiness: 200 and `{"status": "ready"}`; 503 with `starting` or `draining`, as [`Readiness`] says |
/// | `POST /_sd/reset` | 200 and `{"status": "ok"}` once everything is deleted ([`CloudMap::reset`]) |
#[derive(Clone, Debug)]
#[must_use = "call `into_router`"]
pub struct AdminRoutes {
    cloud_map: CloudMap,
    readiness: Readiness,
    more: Router,
}

impl AdminRoutes {
    /// The routes over this handle and this switch.
    pub fn new(cloud_map: CloudMap, readiness: Readiness) -> Self {
        Self { cloud_map, readiness, more: Router::new() }
    }

    /// Adds the routes of a host.
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.more = self.more.merge(routes);
        self
    }

    /// The routes, for an [`HttpServer`](crate::HttpServer) or any other server of tower services.
    pub fn into_router(self) -> Router {
        let Self { cloud_map, readiness, more } = self;
        let reset_all = cloud_map.clone();
        let reset =
            move |headers: HeaderMap| async move { reset(&reset_all, &headers).await.map(Body::from) };
        let health = move || async move {
            Json(Health { status: "ok", revision: cloud_map.state().revision().as_u64() })
        };
        let ready = move || async move {
            let status = match readiness.is_ready() {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, Json(Ready { status: readiness.status() }))
        };
        more.route("/_sd/health", get(health))
            .route("/_sd/ready", get(ready))
            .route("/_sd/reset", post(reset))
    }
}
