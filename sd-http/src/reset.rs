//! Deletes everything, by HTTP.

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use sd_core::CloudMap;

use crate::error::Failure;

/// The path on the API port: that of moto's server, so that tests written for it go on working.
pub(crate) const PATH: &str = "/moto-api/reset";

/// Deletes everything. The answer is that of moto's server.
pub(crate) async fn reset(cloud_map: &CloudMap) -> Result<Response<Bytes>, Failure> {
    cloud_map.reset().await?;
    let mut response = Response::new(Bytes::from_static(br#"{"status": "ok"}"#));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
