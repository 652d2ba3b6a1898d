//! An AWS emulator with two services on one port: a small ECS of its own, and Cloud Map from `sd`.
//!
//! This file embeds Cloud Map: [`answer`] passes Cloud Map requests on, and says which account they belong to.
//!
//! | file | holds |
//! |---|---|
//! | `main.rs` | the sockets |
//! | `ecs.rs` | the ECS: its operations, by name |
//! | `ecs/discovery.rs` | **tasks as instances of Cloud Map: all that ECS has to do for it** |
//! | `ecs/target_groups.rs` | tasks as targets of ELBv2, and the addresses behind a load balancer's name |
//! | `ecs/listeners.rs` | listeners to changes of tasks: discovery and target groups, which do not disturb each other |
//! | `ecs/state.rs` | clusters, task definitions, services and tasks, in memory |
//! | `ecs/clusters.rs`, `task_definitions.rs`, `services.rs`, `tasks.rs` | the operations, which change what is desired |
//! | `ecs/scheduler.rs` | a service: compares what is desired with the tasks, and starts and stops tasks |
//! | `ecs/task_driver.rs` | a task: its life from PROVISIONING to STOPPED |
//! | `ecs/container.rs`, `ecs/process.rs` | a container: a local process, and its health check |
//! | `supervisor.rs` | what ends the processes of a killed emulator |
//! | `registry_file.rs` | a file that keeps Cloud Map's registry over a restart |

use std::{net::SocketAddrV4, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, header::AUTHORIZATION},
    response::Response,
};
use sd_core::{
    CloudMap, Scope,
    model::{AccountId, Region},
};
use sd_dns::AliasResolver;
use sd_http::{Caller, CloudMapService};
use tower_service::Service;

mod ecs;
pub mod registry_file;
pub mod supervisor;

pub use ecs::Settings;

/// The services of the emulator. Clones share them.
#[derive(Clone, Debug)]
pub struct Emulator {
    cloud_map: CloudMapService,
    ecs: Arc<ecs::Ecs>,
}

impl Emulator {
    /// An emulator with this Cloud Map and no tasks. It runs its tasks until the tokio runtime ends.
    pub fn new(cloud_map: CloudMap, settings: Settings) -> Self {
        Self { cloud_map: CloudMapService::new(cloud_map.clone()), ecs: ecs::Ecs::start(cloud_map, settings) }
    }

    /// The targets of a target group that requests go to: ports of tasks.
    pub fn targets(&self, target_group_arn: &str) -> Vec<SocketAddrV4> {
        self.ecs.target_groups.targets(target_group_arn)
    }

    /// The resolver of load balancers' names, so that an instance with `AWS_ALIAS_DNS_NAME` has the addresses of tasks.
    pub fn aliases(&self) -> impl AliasResolver + use<> {
        Arc::clone(&self.ecs.target_groups)
    }
}

/// Routes every path to the same handler, because AWS's JSON protocols name the operation in a header.
pub fn router(emulator: Emulator) -> Router {
    Router::new().fallback(answer).with_state(emulator)
}

async fn answer(State(mut emulator): State<Emulator>, mut request: Request) -> Response {
    let scope = scope(request.headers());
    if CloudMapService::claims(&request) {
        // The emulator decides the account. Cloud Map then ignores the signature.
        request.extensions_mut().insert(Caller::new(scope));
        let Ok(answer) = emulator.cloud_map.call(request).await;
        return answer.map(Body::new);
    }
    emulator.ecs.answer(&scope, request).await
}

/// The accounts of the emulator, by access key.
const ACCOUNTS: [(&str, &str); 2] = [("web", "111122223333"), ("billing", "444455556666")];

/// The account and Region of a request. Its signature contains `Credential=<access key>/<date>/<region>/...`.
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
