//! The checks, by the ids of `tests/clients/checks.json`.

mod discovery;
mod errors;
mod life_cycles;
mod limits;
mod pages;
mod wire;

use std::pin::Pin;

use crate::world::World;

type Check = Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! checks {
    ($($id:literal => $module:ident::$check:ident,)*) => {
        /// All checks that can run here. Checks of sockets need sockets.
        pub(crate) fn all(world: &World) -> Vec<(&'static str, Check)> {
            let checks: Vec<(&'static str, Check)> = vec![$(($id, Box::pin($module::$check(world.clone())))),*];
            checks.into_iter().filter(|(id, _)| world.has_sockets || !id.starts_with("wire.")).collect()
        }
    };
}

checks! {
    "namespace.http" => life_cycles::namespace_http,
    "namespace.private" => life_cycles::namespace_private,
    "namespace.public" => life_cycles::namespace_public,
    "operation.poll" => life_cycles::operation_poll,
    "service.lifecycle" => life_cycles::service,
    "service.attributes" => life_cycles::service_attributes,
    "instance.lifecycle" => life_cycles::instance,
    "instance.health" => life_cycles::instance_health,
    "tags" => life_cycles::tags,
    "idempotency" => life_cycles::idempotency,
    "discover.instances" => discovery::instances,
    "discover.parameters" => discovery::parameters,
    "discover.health" => discovery::health,
    "error.namespace-exists" => errors::namespace_exists,
    "error.service-exists" => errors::service_exists,
    "error.duplicate-request" => errors::duplicate_request,
    "error.in-use" => errors::in_use,
    "error.not-found" => errors::not_found,
    "error.invalid-input" => errors::invalid_input,
    "error.too-many-tags" => errors::too_many_tags,
    "error.limit" => errors::limit,
    "pages.namespaces" => pages::namespaces,
    "pages.services" => pages::services,
    "pages.instances" => pages::instances,
    "pages.health" => pages::health,
    "pages.operations" => pages::operations,
    "unicode" => limits::unicode,
    "limits.max-results" => limits::max_results,
    "limits.attribute" => limits::attribute,
    "limits.body" => limits::body,
    "wire.keep-alive" => wire::keep_alive,
    "wire.ipv6" => wire::ipv6,
    "wire.proxy" => wire::proxy,
    "wire.expect-continue" => wire::expect_continue,
}
