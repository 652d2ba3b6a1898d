//! The admin port: operates the process, apart from the API that it emulates.

use std::{collections::BTreeMap, fmt, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use sd_core::CloudMap;
use serde::Serialize;

use crate::{
    answer,
    error::ProtocolError,
    origin::{self, Origin, Origins, Page},
    protocol::Protocol,
    read::discard,
    readiness::Readiness,
    reset::reset,
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

/// Makes a report, unless there is nothing to report.
type Report = Arc<dyn Fn() -> Option<Response> + Send + Sync>;

/// The routes of the admin port (feature `admin`).
///
/// | route | answer |
/// |---|---|
/// | `GET /_sd/health` | liveness: 200 and `{"status": "ok", "revision": …}` |
/// | `GET /_sd/ready` | readiness, as [`Readiness`] says: 200 (`ready`) or 503 (`starting`, `draining`) |
/// | `GET /_sd/NAME` | 200 and the [report](Self::with_report) of this name, as JSON |
/// | `POST /_sd/reset` | 200 and `{"status": "ok"}` once everything is deleted ([`CloudMap::reset`]) |
///
/// These routes and those of the [host](Self::with_routes) refuse pages in browsers (403) by `Origin` and
/// `Sec-Fetch-Site`, as [`CloudMapService`](crate::CloudMapService) does. They accept a GET with any `Host`,
/// because probes and scrapers send any. So a page whose name is pointed at the port (DNS rebinding) can read
/// what GETs answer, but cannot change anything.
///
/// ```
/// use sd_backend_memory::MemoryRegistry;
/// use sd_core::CloudMap;
/// use sd_http::{AdminRoutes, CloudMapService, HttpServer, Readiness};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let cloud_map = CloudMap::new(MemoryRegistry::new());
/// let readiness = Readiness::new();
/// let service = CloudMapService::new(cloud_map.clone());
/// let api = HttpServer::bind("127.0.0.1:0", service.clone()).await?;
///
/// let connections = api.meter();
/// let routes = AdminRoutes::new(cloud_map, readiness.clone())
///     .with_report("requests", move || Some(service.counters()))
///     .with_report("connections", move || Some(connections.counters()));
/// let admin = HttpServer::bind("127.0.0.1:0", routes.into_router()).await?;
/// readiness.ready();
/// # Ok::<(), sd_http::BindError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
#[must_use = "call `into_router`"]
pub struct AdminRoutes {
    cloud_map: CloudMap,
    readiness: Readiness,
    reports: BTreeMap<String, Report>,
    more: Router,
    origins: Origins,
}

impl AdminRoutes {
    /// The routes that report on this Cloud Map and reset it, and report on this readiness.
    pub fn new(cloud_map: CloudMap, readiness: Readiness) -> Self {
        let (reports, more, origins) = (BTreeMap::new(), Router::new(), Origins::default());
        Self { cloud_map, readiness, reports, more, origins }
    }

    /// Adds a report: `GET /_sd/NAME` answers with the value that the function returns, as JSON, or with 503 if
    /// it returns `None`, such as while a server drains. A report replaces another one of the same name. The
    /// names `health`, `ready` and `reset` are taken, and a report under one of them is never asked for.
    ///
    /// The function runs for each request, on the server's runtime: it should not block.
    pub fn with_report<T: Serialize>(
        mut self,
        name: impl Into<String>,
        report: impl Fn() -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let report = move || report().map(|value| Json(value).into_response());
        self.reports.insert(name.into(), Arc::new(report));
        self
    }

    /// Adds the routes of a host.
    ///
    /// # Panics
    /// A route is there already, as with [`Router::merge`].
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.more = self.more.merge(routes);
        self
    }

    /// Sets the origins whose pages may call, besides loopback names and addresses. Replaces those set before.
    pub fn with_allowed_origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.origins = origins.into_iter().collect();
        self
    }

    /// The routes, for an [`HttpServer`](crate::HttpServer) or any other server of tower services.
    ///
    /// # Panics
    /// A route of the [host](Self::with_routes) is one of these routes.
    pub fn into_router(self) -> Router {
        let Self { cloud_map, readiness, reports, more, origins } = self;
        let reset_all = cloud_map.clone();
        let reset = move || async move {
            match reset(&reset_all).await {
                Ok(response) => response.map(Body::from),
                Err(failure) => {
                    tracing::warn!(error = %failure, "reset failed");
                    answer::failure(Protocol::Json, &failure).map(Body::from)
                }
            }
        };
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
        let report = move |Path(name): Path<String>| async move {
            let report = reports.get(&name).ok_or(StatusCode::NOT_FOUND)?;
            report().ok_or(StatusCode::SERVICE_UNAVAILABLE)
        };
        more.route("/_sd/health", get(health))
            .route("/_sd/ready", get(ready))
            .route("/_sd/reset", post(reset))
            .route("/_sd/{report}", get(report))
            .layer(middleware::from_fn(move |request, next| guard(origins.clone(), request, next)))
    }
}

impl fmt::Debug for AdminRoutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reports: Vec<_> = self.reports.keys().collect();
        f.debug_struct("AdminRoutes").field("reports", &reports).finish_non_exhaustive()
    }
}

/// Refuses pages that may not call, and answers those that may as CORS requires.
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
