//! Starting over through HTTP.

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use sd_core::CloudMap;

use crate::{protocol::Protocol, service::api_error};

/// Where the API port resets everything: the path of moto's server, so that tests that came from there go on
/// working.
pub(crate) const PATH: &str = "/moto-api/reset";

/// Deletes everything. The answer is that of moto's server.
pub(crate) async fn reset(cloud_map: &CloudMap) -> Response<Bytes> {
    match cloud_map.reset().await {
        Ok(()) => {
            let mut response = Response::new(Bytes::from_static(br#"{"status": "ok"}"#));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => api_error(Protocol::Json, &error),
    }
}
