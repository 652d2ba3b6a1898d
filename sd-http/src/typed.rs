//! The typed handles behind JSON bodies, so that a test case written as JSON plays through them as well.

use sd_core::{Action, ScopedCloudMap, SyncScopedCloudMap};

use crate::{
    dispatch::{decode, dispatch, encode},
    error::Failure,
    protocol::Protocol,
    wire::error::ErrorBody,
};

/// Calls an operation of the asynchronous handle. Request and response are bodies of awsJson1.1.
///
/// # Errors
/// The body of the error.
pub async fn call(cloud_map: &ScopedCloudMap, action: Action, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    dispatch(Protocol::Json, action, cloud_map, request).await.map_err(|failure| error_body(&failure))
}

/// Calls an operation of the synchronous handle, as [`call`] does.
///
/// # Errors
/// As for [`call`].
pub fn call_sync(cloud_map: &SyncScopedCloudMap, action: Action, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    dispatch_sync(action, cloud_map, request).map_err(|failure| error_body(&failure))
}

macro_rules! dispatch_sync {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        fn dispatch_sync(
            action: Action,
            cloud_map: &SyncScopedCloudMap,
            body: &[u8],
        ) -> Result<Vec<u8>, Failure> {
            let protocol = Protocol::Json;
            match action {
                $(Action::$write => encode(protocol, &cloud_map.$wm(decode(protocol, body)?)?),)*
                $(Action::$read => encode(protocol, &cloud_map.$rm(&decode(protocol, body)?)?),)*
            }
        }
    };
}

sd_core::for_each_action!(dispatch_sync);

fn error_body(failure: &Failure) -> Vec<u8> {
    let body = match failure {
        Failure::Protocol(error) => {
            Protocol::Json.encode(&ErrorBody::new(Protocol::Json, error.code(), &error.to_string()))
        }
        Failure::Api(error) => {
            Protocol::Json.encode(&ErrorBody::of(Protocol::Json, error, &error.to_string()))
        }
    };
    body.unwrap_or_default()
}
