//! Decodes a body for its operation, calls the core, encodes the response.

use sd_core::{Action, ScopedCloudMap, door, request};

use crate::{
    error::Failure,
    protocol::Protocol,
    wire::{request::FromWire, response},
};

pub(crate) fn decode<T: FromWire>(protocol: Protocol, body: &[u8]) -> Result<T, Failure> {
    Ok(T::from_wire(protocol.decode(body)?))
}

pub(crate) fn encode<T: response::Body>(protocol: Protocol, response: &T) -> Result<Vec<u8>, Failure> {
    Ok(response.encode(protocol)?)
}

/// Reads, and passes what was found to a closure.
macro_rules! read {
    // DiscoverInstances is answered often and at length: it is encoded from the state, without a copy.
    (discover_instances $cloud_map:expr, $request:expr, $use_it:expr) => {
        door::discover_instances_with($cloud_map, $request, $use_it)?
    };
    ($method:ident $cloud_map:expr, $request:expr, $use_it:expr) => {
        ($use_it)(&$cloud_map.$method($request)?)
    };
}

macro_rules! dispatch {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        /// Decodes the body for the operation, calls it, encodes its response.
        pub(crate) async fn dispatch(
            protocol: Protocol,
            action: Action,
            cloud_map: &ScopedCloudMap,
            body: &[u8],
        ) -> Result<Vec<u8>, Failure> {
            match action {
                $(Action::$write => {
                    let request: request::$wq = decode(protocol, body)?;
                    // Boxed, because a write keeps more while it waits than a read, for which the same future is
                    // allocated.
                    encode(protocol, &Box::pin(cloud_map.$wm(request)).await?)
                })*
                $(Action::$read => {
                    let request: request::$rq = decode(protocol, body)?;
                    let read = |cloud_map: &ScopedCloudMap| {
                        read!($rm cloud_map, &request, |response| encode(protocol, response))
                    };
                    door::hold_back(cloud_map, action, &request, read).await
                })*
            }
        }
    };
}

sd_core::for_each_action!(dispatch);
