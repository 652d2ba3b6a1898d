//! The admin port: operates the process, apart from the API that it emulates.

use axum::{
    Json, Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use sd_core::CloudMap;
use serde::Serialize;

use crate::{
    error::ProtocolError,
    origin::{self, Origin, Origins, Page},
    readiness::Readiness,
    reset::reset,
    service::discard,
};

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
/// | `GET /_sd/ready` | readiness, as [`Readiness`] says: 200 (`ready`) or 503 (`starting`, `draining`) |
/// | `POST /_sd/reset` | 200 and `{"status": "ok"}` once everything is deleted ([`CloudMap::reset`]) |
///
/// These routes and those of the [host](Self::with_routes) refuse pages in browsers (403) by `Origin` and
/// `Sec-Fetch-Site`, as [`CloudMapService`](crate::CloudMapService) does. They accept a GET with any `Host`,
/// as probes and scrapers send it: a page whose name is pointed at the port (DNS rebinding) can read what
/// GETs answer, and change nothing.
#[derive(Clone, Debug)]
#[must_use = "call `into_router`"]
pub struct AdminRoutes {
    cloud_map: CloudMap,
    readiness: Readiness,
    more: Router,
    origins: Origins,
}

impl AdminRoutes {
    /// The routes over this handle and this switch.
    pub fn new(cloud_map: CloudMap, readiness: Readiness) -> Self {
        Self { cloud_map, readiness, more: Router::new(), origins: Origins::default() }
    }

    /// Adds the routes of a host.
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.more = self.more.merge(routes);
        self
    }

    /// Sets the origins whose pages may call, besides loopback names and addresses.
    pub fn with_allowed_origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.origins = origins.into_iter().collect();
        self
    }

    /// The routes, for an [`HttpServer`](crate::HttpServer) or any other server of tower services.
    pub fn into_router(self) -> Router {
        let Self { cloud_map, readiness, more, origins } = self;
        let reset_all = cloud_map.clone();
        let reset = move || async move { reset(&reset_all).await.map(Body::from) };
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
            .layer(middleware::from_fn(move |request, next| guard(origins.clone(), request, next)))
    }
}

/// Refuses pages that may not call, and answers those that may as CORS asks for.
async fn guard(origins: Origins, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match origins.page(&parts.headers) {
        Page::Foreign => {
            discard(body).await;
            (StatusCode::FORBIDDEN, ProtocolError::ForeignPage.to_string()).into_response()
        }
        Page::None => next.run(Request::from_parts(parts, body)).await,
        Page::Allowed(origin) => {
            let mut response = match origin::preflight(&parts) {
                Some(response) => response.map(|()| Body::empty()),
                None => next.run(Request::from_parts(parts, body)).await,
            };
            origin::share(response.headers_mut(), origin);
            response
        }
    }
}
