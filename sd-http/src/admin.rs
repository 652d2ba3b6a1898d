//! The admin port: what operates the process, apart from what it emulates.

use axum::{Json, Router, routing::get};
use sd_core::CloudMap;
use serde::Serialize;

/// The state of the process, for probes.
#[derive(Serialize)]
struct Health {
    status: &'static str,
    revision: u64,
}

/// The routes of the admin port: `GET /_sd/health`, 200 while the process serves.
pub fn admin_routes(cloud_map: CloudMap) -> Router {
    let health =
        move || async move { Json(Health { status: "ok", revision: cloud_map.state().revision().as_u64() }) };
    Router::new().route("/_sd/health", get(health))
}
