//! Pages in browsers, and where they are from.
//!
//! Any page may send a POST without headers of its own to any address, loopback too, and it is carried out although the page
//! cannot read the answer. The API is safe from that where it asks for a header, which a browser asks about first; the rest
//! looks at the page's origin, which a browser tells (RFC 6454 section 7, Fetch Standard section 3.2) and other clients do not.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Uri, header::ORIGIN};

/// The origin of a request by a page of another machine.
pub(crate) fn foreign(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get_all(ORIGIN).iter().find(|origin| !is_loopback(origin))
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
