//! For doors only: what `sd-dns` and `sd-http` need beside the handles. It may change in any release.
//!
//! An embedder needs none of it.

mod latency;

pub use latency::Latency;

pub use crate::{
    choice::Permutation,
    dns::records::{Pool, Selection, is_routable, precedence, select},
    ops::discovery::FoundInstances,
};

use crate::{Action, Error, Request, ScopedCloudMap, model::Instance, request::DiscoverInstancesRequest};

/// [`discover_instances`](ScopedCloudMap::discover_instances) without copies: the closure encodes what stands in the state.
///
/// # Errors
/// Those of [`discover_instances`](ScopedCloudMap::discover_instances).
pub fn discover_instances_with<R>(
    cloud_map: &ScopedCloudMap,
    request: &DiscoverInstancesRequest,
    encode: impl FnOnce(&FoundInstances<'_>) -> R,
) -> Result<R, Error> {
    cloud_map.discover_instances_with(request, encode)
}

/// Calls `read` with a handle, after any [delay](crate::Fault::delay) that holds this call back. If the request names an
/// operation or entity by its id and the state does not have it, the registry [looks](crate::Registry::refresh) first.
///
/// Writes need no such call: they wait and look by themselves.
pub async fn hold_back<Q: Clone + Into<Request> + Sync, R>(
    cloud_map: &ScopedCloudMap,
    action: Action,
    request: &Q,
    read: impl FnOnce(&ScopedCloudMap) -> R + Send,
) -> R {
    cloud_map.hold_back(action, request, read).await
}

/// The constant part of an instance's wire encoding, made at its first use and kept with the instance.
///
/// There is one slot, which belongs to the door of the AWS protocols. `encode` must be the same function at every call.
pub fn wire_fragment(instance: &Instance, encode: impl FnOnce(&Instance) -> Box<[u8]>) -> &[u8] {
    instance.wire.get(|| encode(instance))
}
