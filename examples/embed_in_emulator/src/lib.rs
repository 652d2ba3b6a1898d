//! An emulator of AWS with two services: an ECS of its own, as small as it can be, and the Cloud Map of `sd`.
//!
//! What it takes to have Cloud Map in it is here: [`answer`] passes Cloud Map's requests on, and says for whom they are. How
//! ECS registers its tasks is in `ecs.rs`, and where the sockets are in `main.rs`.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    response::Response,
};
use sd_core::{
    CloudMap, Scope,
    ids::{AccountId, Region},
};
use sd_http::{Caller, CloudMapService};
use tower_service::Service;

mod ecs;

/// All that the emulator has. Clones share it.
#[derive(Clone, Debug)]
pub struct Emulator {
    cloud_map: CloudMapService,
    ecs: Arc<ecs::Ecs>,
}

impl Emulator {
    /// An emulator without tasks, over this Cloud Map.
    pub fn new(cloud_map: CloudMap) -> Self {
        Self { cloud_map: CloudMapService::new(cloud_map.clone()), ecs: Arc::new(ecs::Ecs::new(cloud_map)) }
    }
}

/// Every request, whatever its path: AWS's JSON protocols name the operation in a header.
pub fn router(emulator: Emulator) -> Router {
    Router::new().fallback(answer).with_state(emulator)
}

async fn answer(State(mut emulator): State<Emulator>, mut request: Request) -> Response {
    let scope = scope(request.headers());
    if CloudMapService::claims(&request) {
        // Accounts are the emulator's matter: Cloud Map is told, and does not look at the signature.
        request.extensions_mut().insert(Caller::new(scope));
        let Ok(answer) = emulator.cloud_map.call(request).await;
        return answer.map(Body::new);
    }
    emulator.ecs.answer(&scope, request).await
}

/// Who has which account, as an emulator might know it: here by the access key.
const ACCOUNTS: [(&str, &str); 2] = [("web", "111122223333"), ("billing", "444455556666")];

/// The account and Region of a request: its signature has `Credential=<access key>/<date>/<region>/...`.
fn scope(headers: &HeaderMap) -> Scope {
    let default = Scope::default();
    let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()).unwrap_or_default();
    let mut credential = header.split_once("Credential=").map_or("", |(_, rest)| rest).split('/');
    let key = credential.next();
    let account = ACCOUNTS.iter().find(|(known, _)| Some(*known) == key);
    let account = account.and_then(|(_, account)| AccountId::parse(account).ok());
    let region = credential.nth(1).and_then(|region| Region::parse(region).ok());
    Scope::new(
        account.unwrap_or_else(|| default.account().clone()),
        region.unwrap_or_else(|| default.region().clone()),
    )
}
