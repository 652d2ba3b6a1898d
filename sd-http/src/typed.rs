//! The typed handles behind JSON bodies, so that a test case written as JSON plays through them as well.

use sd_core::{Action, Request, ScopedCloudMap, SyncScopedCloudMap, request};

use crate::{
    dispatch::{decode, encode},
    error::Failure,
    protocol::Protocol,
    wire::error::ErrorBody,
};

/// Calls an operation of the asynchronous handle. Request and response are bodies of awsJson1.1.
///
/// # Errors
/// The body of the error.
pub async fn call(cloud_map: &ScopedCloudMap, action: Action, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    let answer = async {
        let request = decode_request(action, request)?;
        encode(Protocol::Json, &cloud_map.call(request).await?)
    };
    answer.await.map_err(|failure: Failure| error_body(&failure))
}

/// Calls an operation of the synchronous handle, as [`call`] does.
///
/// # Errors
/// As for [`call`].
pub fn call_sync(cloud_map: &SyncScopedCloudMap, action: Action, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    let answer = || encode(Protocol::Json, &cloud_map.call(decode_request(action, request)?)?);
    answer().map_err(|failure: Failure| error_body(&failure))
}

macro_rules! decode_request {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        fn decode_request(action: Action, body: &[u8]) -> Result<Request, Failure> {
            Ok(match action {
                $(Action::$write => decode::<request::$wq>(Protocol::Json, body)?.into(),)*
                $(Action::$read => decode::<request::$rq>(Protocol::Json, body)?.into(),)*
            })
        }
    };
}

sd_core::for_each_action!(decode_request);

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
