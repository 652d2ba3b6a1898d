//! The routes of the admin port about health checks.

use axum::{
    Json, Router,
    extract::Query,
    http::{HeaderMap, StatusCode, header::ACCEPT},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use sd_core::{
    Scope,
    model::{AccountId, Region},
};
use serde::Deserialize;

use super::{ProbeError, ProberHandle};

/// The most instances of one answer.
const MAX_INSTANCES: usize = 1000;
/// How many instances an answer has if the request does not say.
const INSTANCES: usize = 100;

/// What a request is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    service: Option<String>,
    instance: Option<String>,
    limit: Option<usize>,
    account: Option<String>,
    region: Option<String>,
}

impl Wanted {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(INSTANCES).clamp(1, MAX_INSTANCES)
    }

    /// The scope that is asked about, where these members are not given as in the default one.
    fn scope(&self, default: &Scope) -> Result<Scope, String> {
        let account =
            self.account.as_deref().map(AccountId::parse).transpose().map_err(|error| error.to_string())?;
        let region =
            self.region.as_deref().map(Region::parse).transpose().map_err(|error| error.to_string())?;
        Ok(Scope::new(
            account.unwrap_or_else(|| default.account().clone()),
            region.unwrap_or_else(|| default.region().clone()),
        ))
    }
}

impl ProberHandle {
    /// Routes for [`AdminRoutes::with_routes`](crate::AdminRoutes::with_routes) (feature `admin`).
    ///
    /// | route | answer |
    /// |---|---|
    /// | `GET /_sd/health-checks` | 200 and the [counters](Self::counters) |
    /// | `GET /_sd/health-checks?service=` | 200 and the [report](Self::report) |
    /// | `POST /_sd/probe?service=` | 200 and the results of [probes](Self::probe) now, as JSON, or as text if that is what the request accepts |
    ///
    /// Both take `instance`, `limit` (1–1000, by default 100), and `account` and `region` for another scope than the default
    /// one. Errors are 400 and 404 with a text.
    pub fn routes(&self, default: Scope) -> Router {
        let (handle, scope) = (self.clone(), default.clone());
        let report = move |Query(wanted): Query<Wanted>| async move {
            let Some(service) = &wanted.service else { return Json(handle.counters()).into_response() };
            let scope = match wanted.scope(&scope) {
                Ok(scope) => scope,
                Err(error) => return (StatusCode::BAD_REQUEST, error).into_response(),
            };
            match handle.report(&scope, service, wanted.instance.as_deref(), wanted.limit()) {
                Ok(report) => Json(report).into_response(),
                Err(error) => refusal(&error),
            }
        };
        let handle = self.clone();
        let probe = move |Query(wanted): Query<Wanted>, headers: HeaderMap| async move {
            let Some(service) = &wanted.service else {
                return (StatusCode::BAD_REQUEST, "the parameter `service` is missing").into_response();
            };
            let scope = match wanted.scope(&default) {
                Ok(scope) => scope,
                Err(error) => return (StatusCode::BAD_REQUEST, error).into_response(),
            };
            let probes = handle.probe(&scope, service, wanted.instance.as_deref(), wanted.limit()).await;
            match probes {
                Ok(probes) if headers.get(ACCEPT).is_some_and(|accepted| accepted == "text/plain") => {
                    probes.iter().map(|probe| format!("{probe}\n")).collect::<String>().into_response()
                }
                Ok(probes) => Json(probes).into_response(),
                Err(error) => refusal(&error),
            }
        };
        Router::new().route("/_sd/health-checks", get(report)).route("/_sd/probe", post(probe))
    }
}

fn refusal(error: &ProbeError) -> Response {
    let status = match error {
        ProbeError::NoService(_) | ProbeError::NoInstance(..) => StatusCode::NOT_FOUND,
        ProbeError::NoHealthCheck(_) => StatusCode::BAD_REQUEST,
        ProbeError::Io(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{error}\n")).into_response()
}
