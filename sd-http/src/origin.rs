//! The pages in browsers that may call.
//!
//! Any page can send requests to any address, loopback too. A page whose owner points its name at this machine
//! (DNS rebinding) can read the answers as well. Browsers name the origin of the page in `Origin` (RFC 6454
//! section 7), except with GET and HEAD to the page's own site. Other clients do not send it. So a request with
//! an `Origin` that is not allowed is refused, in every protocol and on every route, whatever its `Host`.

use std::{net::IpAddr, str::FromStr, sync::Arc};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
    },
    request::Parts,
};

/// The origin of a page: scheme, host and port (RFC 6454), such as `https://console.example` or
/// `http://10.0.0.7:3000`. There are no wildcards.
///
/// ```
/// use sd_http::Origin;
///
/// let origin: Origin = "https://console.example".parse()?;
/// assert_eq!(origin, "HTTPS://console.example:443/".parse()?);
/// assert!("https://console.example/path".parse::<Origin>().is_err());
/// # Ok::<(), sd_http::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(
    /// As browsers send it (RFC 6454 section 6.2): in lower case, without the default port of the scheme.
    HeaderValue,
);

/// A text is not an [`Origin`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid origin {0:?}: expected SCHEME://HOST[:PORT]")]
pub struct InvalidOrigin(String);

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = || InvalidOrigin(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(invalid());
        };
        let host = authority.host();
        if uri.path().len() > 1 || uri.query().is_some() || authority.as_str().contains('@') || host == "*" {
            return Err(invalid());
        }
        let port =
            authority.port_u16().filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)));
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let origin = format!("{scheme}://{host}{port}").to_ascii_lowercase();
        HeaderValue::try_from(origin).map(Self).map_err(|_| invalid())
    }
}

/// The origins whose pages may call: loopback names and addresses, and a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins(Arc<[Origin]>);

/// The page that sends a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// No page, or a page that a browser does not name.
    None,
    /// A page that may call.
    Allowed(HeaderValue),
    /// A page that may not call.
    Foreign,
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
static ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

impl FromIterator<Origin> for Origins {
    fn from_iter<I: IntoIterator<Item = Origin>>(origins: I) -> Self {
        Self(origins.into_iter().collect())
    }
}

impl Origins {
    /// The page that sends a request with these headers. `Origin: null`, which hides the origin, is foreign.
    pub(crate) fn page(&self, headers: &HeaderMap) -> Page {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) if self.allow(origin) => Page::Allowed(origin.clone()),
            (Some(_), _) => Page::Foreign,
            // Browsers omit Origin where the page cannot read the answer, such as for an image.
            (None, _) if headers.get(&SEC_FETCH_SITE).is_some_and(|site| site == "cross-site") => {
                Page::Foreign
            }
            (None, _) => Page::None,
        }
    }

    fn allow(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|allowed| allowed.0 == origin) || is_loopback(origin)
    }
}

/// Whether a request without an `Origin` may come from a page whose name is pointed at this machine: GET or
/// HEAD, and a `Host` that is neither a loopback name nor an address.
pub(crate) fn may_be_rebound(parts: &Parts) -> bool {
    let host = parts.uri.host().or_else(|| {
        let host = parts.headers.get(HOST)?.to_str().ok()?;
        Some(host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name }))
    });
    let safe = matches!(parts.method, Method::GET | Method::HEAD);
    safe && host.is_some_and(|host| !is_loopback_host(host) && address(host).is_none())
}

/// Whether an origin is this machine.
fn is_loopback(origin: &HeaderValue) -> bool {
    let uri = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    uri.as_ref().filter(|uri| uri.scheme().is_some()).and_then(Uri::host).is_some_and(is_loopback_host)
}

/// Names below `localhost` are loopback (RFC 6761 section 6.3).
fn is_loopback_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || address(&host).is_some_and(|address| address.is_loopback())
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// The answer to the CORS preflight of an allowed page (Fetch Standard), or `None` if the request is not one.
pub(crate) fn preflight(parts: &Parts) -> Option<Response<()>> {
    if parts.method != Method::OPTIONS {
        return None;
    }
    let method = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if let Some(names) = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    if parts.headers.contains_key(&REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK.clone(), HeaderValue::from_static("true"));
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    Some(response)
}

/// Lets an allowed page read an answer (CORS).
pub(crate) fn share(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    let exposed = "x-amzn-requestid, retry-after, smithy-protocol";
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(origins: &Origins, headers: &[(&'static str, &[u8])]) -> Page {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        origins.page(&map)
    }

    #[test]
    fn pages_of_loopback_may_call() {
        let origins = Origins::default();
        for origin in [
            "http://localhost",
            "http://LOCALHOST:3000",
            "https://app.localhost:8443",
            "http://127.0.0.1:5373",
            "http://127.9.9.9",
            "http://[::1]:5373",
        ] {
            let allowed = Page::Allowed(HeaderValue::from_static(origin));
            assert_eq!(page(&origins, &[("origin", origin.as_bytes())]), allowed);
            let seen = [("sec-fetch-site", b"cross-site".as_slice()), ("origin", origin.as_bytes())];
            assert_eq!(page(&origins, &seen), allowed);
        }
    }

    #[test]
    fn other_pages_may_not_call() {
        for origin in [
            b"null".as_slice(),
            b"",
            b"localhost",
            b"file://",
            b"http://example.com",
            b"http://localhost.example.com",
            b"http://notlocalhost",
            b"http://10.0.0.1",
            b"http://127.0.0.1.example.com",
            b"http://127.0.0.1@example.com",
            b"http://[::2]",
            b"http://localhost\xff",
        ] {
            assert_eq!(page(&Origins::default(), &[("origin", origin)]), Page::Foreign, "{origin:?}");
        }
        let both = [("origin", b"http://localhost".as_slice()), ("origin", b"http://localhost")];
        assert_eq!(page(&Origins::default(), &both), Page::Foreign);
        assert_eq!(page(&Origins::default(), &[("sec-fetch-site", b"cross-site")]), Page::Foreign);
    }

    #[test]
    fn requests_without_an_origin_come_from_no_page() {
        assert_eq!(page(&Origins::default(), &[]), Page::None);
        for site in ["none", "same-origin", "same-site"] {
            let headers = [("sec-fetch-site", site.as_bytes())];
            assert_eq!(page(&Origins::default(), &headers), Page::None);
        }
    }

    #[test]
    fn listed_pages_may_call() {
        let listed = ["HTTPS://Console.Example:443/", "http://10.0.0.7:3000"];
        let origins: Origins = listed.iter().map(|origin| origin.parse::<Origin>().unwrap()).collect();
        for (origin, allowed) in [
            ("https://console.example", true),
            ("http://10.0.0.7:3000", true),
            ("http://console.example", false),
            ("https://console.example:8443", false),
            ("https://a.console.example", false),
            ("http://10.0.0.7", false),
        ] {
            let page = page(&origins, &[("origin", origin.as_bytes())]);
            assert_eq!(page != Page::Foreign, allowed, "{origin}");
        }
    }

    #[test]
    fn origins_have_no_path_and_no_wildcard() {
        for text in
            ["", "*", "null", "example.com", "http://*", "http://a/b", "http://a?b", "http://u@a", "a b"]
        {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin(text.to_owned())));
        }
    }

    #[test]
    fn reads_that_may_be_rebound_are_detected() {
        for (method, host, rebound) in [
            ("GET", "evil.example:5373", true),
            ("HEAD", "evil.example", true),
            ("POST", "evil.example:5373", false),
            ("GET", "localhost:5373", false),
            ("GET", "data-app.localhost", false),
            ("GET", "127.0.0.1:5373", false),
            ("GET", "10.0.0.1", false),
            ("GET", "[::1]:5373", false),
            ("GET", "[::1]", false),
        ] {
            let request = http::Request::builder().method(method).uri("/").header("host", host);
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(may_be_rebound(&parts), rebound, "{method} {host}");
            let request = http::Request::builder().method(method).uri(format!("http://{host}/"));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(may_be_rebound(&parts), rebound, "{method} {host}");
        }
    }
}
