//! Starting over through HTTP: who may, and what they are told.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use sd_core::CloudMap;

use crate::{origin, protocol::Protocol, service::api_error};

/// Where the API port resets everything: the path of moto's server, so that tests that came from there go on working.
pub(crate) const PATH: &str = "/moto-api/reset";

/// Deletes everything. The answer is that of moto's server.
///
/// Of the pages in browsers only those of this machine may: see [`origin`].
pub(crate) async fn reset(cloud_map: &CloudMap, headers: &HeaderMap) -> Response<Bytes> {
    if let Some(origin) = origin::foreign(headers) {
        tracing::warn!(?origin, "a page of another machine may not reset");
        let message = "a reset is not for pages of other machines: the origin must be a loopback address";
        return answer(StatusCode::FORBIDDEN, message, "text/plain");
    }
    match cloud_map.reset().await {
        Ok(()) => answer(StatusCode::OK, r#"{"status": "ok"}"#, "application/json"),
        Err(error) => api_error(Protocol::Json, &error),
    }
}

fn answer(status: StatusCode, body: &'static str, content_type: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
