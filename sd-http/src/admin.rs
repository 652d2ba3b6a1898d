//! The admin port: what operates the process, apart from what it emulates.

use axum::{
    Json, Router,
    body::Body,
    http::HeaderMap,
    routing::{get, post},
};
use sd_core::CloudMap;
use serde::Serialize;

use crate::reset::reset;

/// The state of the process, for probes.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    revision: u64,
}

/// The routes of the admin port (feature `admin`).
///
/// | route | answer |
/// |---|---|
/// | `GET /_sd/health` | 200 while the process serves |
/// | `POST /_sd/reset` | 200 and `{"status": "ok"}` once everything is deleted ([`CloudMap::reset`]); 403 to a page in a browser that is not from a loopback address |
pub fn admin_routes(cloud_map: CloudMap) -> Router {
    let reset_all = cloud_map.clone();
    let reset = move |headers: HeaderMap| async move { reset(&reset_all, &headers).await.map(Body::from) };
    let health =
        move || async move { Json(Health { status: "ok", revision: cloud_map.state().revision().as_u64() }) };
    Router::new().route("/_sd/health", get(health)).route("/_sd/reset", post(reset))
}
