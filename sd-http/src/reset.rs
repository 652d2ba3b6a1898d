//! Starting over through HTTP: who may, and what they are told.

use std::net::IpAddr;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, ORIGIN},
};
use sd_core::CloudMap;

use crate::{protocol::Protocol, service::api_error};

/// Where the API port resets everything: the path of moto's server, so that tests that came from there go on working.
pub(crate) const PATH: &str = "/moto-api/reset";

/// Deletes everything. The answer is that of moto's server.
///
/// Any page in a browser may send a POST without headers of its own to any address, loopback too, and it is carried out
/// although the page cannot read the answer. The API is safe from that by the headers that it asks for, or looks at the
/// origin as this does. A browser tells the page's origin (RFC 6454 section 7, Fetch Standard section 3.2), so only pages of this machine may;
/// other clients send none.
pub(crate) async fn reset(cloud_map: &CloudMap, headers: &HeaderMap) -> Response<Bytes> {
    if let Some(origin) = foreign_origin(headers) {
        tracing::warn!(?origin, "a page of another machine may not reset");
        let message = "a reset is not for pages of other machines: the origin must be a loopback address";
        return answer(StatusCode::FORBIDDEN, message, "text/plain");
    }
    match cloud_map.reset().await {
        Ok(()) => answer(StatusCode::OK, r#"{"status": "ok"}"#, "application/json"),
        Err(error) => api_error(Protocol::Json, &error),
    }
}

/// The origin of a request by a page of another machine.
pub(crate) fn foreign_origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get_all(ORIGIN).iter().find(|origin| !is_loopback(origin))
}

fn answer(status: StatusCode, body: &'static str, content_type: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Whether an origin is a page of this machine. `null`, which hides where the page is from, is none.
fn is_loopback(origin: &HeaderValue) -> bool {
    let uri = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let Some(host) = uri.as_ref().filter(|uri| uri.scheme().is_some()).and_then(Uri::host) else {
        return false;
    };
    let host = host.to_ascii_lowercase();
    // All names below localhost are loopback (RFC 6761 section 6.3).
    host == "localhost"
        || host.ends_with(".localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_this_machine_are_known() {
        for origin in [
            "http://localhost",
            "http://LOCALHOST:3000",
            "https://app.localhost:8443",
            "http://127.0.0.1:5373",
            "http://127.9.9.9",
            "http://[::1]:5373",
        ] {
            assert!(is_loopback(&HeaderValue::from_static(origin)), "{origin}");
        }
        for origin in [
            "null",
            "",
            "localhost",
            "file://",
            "http://example.com",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://10.0.0.1",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com",
            "http://[::2]",
        ] {
            assert!(!is_loopback(&HeaderValue::from_static(origin)), "{origin}");
        }
        assert!(!is_loopback(&HeaderValue::from_bytes(b"http://localhost\xff").unwrap()));
    }
}
