//! The API as a tower service.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, ORIGIN},
    request::Parts,
};
use http_body::Body;
use http_body_util::Full;
use sd_core::{Action, CloudMap, Scope, ScopedCloudMap};
use tower_service::Service;
use tracing::Instrument;

use crate::{
    answer,
    caller::{Caller, CredentialScope, scope_of},
    counters::{RequestCounters, RequestCounts},
    dispatch::dispatch,
    error::{Failure, ProtocolError},
    names::{REQUEST_ID, SERVICE, SIGNING_NAME, SMITHY_PROTOCOL, TARGET},
    observe::Observed,
    origin::{self, Origin, Origins, Page},
    protocol::{Protocol, path_operation},
    read::{discard, read},
    reset,
};

/// AWS Cloud Map's HTTP API, awsJson1.1 and rpc-v2-cbor, as a [`tower_service::Service`].
///
/// Clones share their state. The service never fails: every fault is an answer.
///
/// **Protocols.** The operation is in the header `X-Amz-Target` (awsJson1.1), or in the last four segments of
/// the path (rpc-v2-cbor). A request is answered in its own protocol. Programs may send any method, `Host` and
/// path: an SDK puts `data-` before the host of two operations, and an endpoint may have a path. Signatures are
/// read for the account and Region (see [`Caller`]), and never verified. A body has at most [`BODY_LIMIT`]
/// octets.
///
/// **Browsers.** Pages are refused with 403 unless they are from a loopback name or address (`localhost`, names
/// below it, `127.0.0.0/8`, `::1`) or from an [allowed origin](Self::with_allowed_origins), which CORS lets read
/// the answer. A request is refused
///
/// - with an `Origin` that is not allowed, is `null`, or is there twice,
/// - without an `Origin`, but with `Sec-Fetch-Site: cross-site`,
/// - as a GET or HEAD without an `Origin`, if its `Host` is neither a loopback name nor an IP address. Browsers
///   omit `Origin` there, so the request may come from a page whose name is pointed at this machine (DNS
///   rebinding).
///
/// **Reset.** A POST to `/moto-api/reset` that names no operation deletes everything ([`CloudMap::reset`]), for
/// tests that were written for moto's server. Requests to that path are not [claimed](Self::claims).
///
/// [`BODY_LIMIT`]: crate::BODY_LIMIT
#[derive(Clone)]
pub struct CloudMapService {
    cloud_map: CloudMap,
    default_scope: Arc<Scope>,
    origins: Origins,
    counts: Arc<RequestCounts>,
}

impl CloudMapService {
    /// The API over this handle. Requests without an account or a Region are for 123456789012 or us-east-1.
    #[must_use]
    pub fn new(cloud_map: CloudMap) -> Self {
        Self {
            cloud_map,
            default_scope: Arc::default(),
            origins: Origins::default(),
            counts: Arc::new(RequestCounts::new()),
        }
    }

    /// Sets the account of requests without an account, and the Region of requests without a Region.
    #[must_use]
    pub fn with_default_scope(mut self, scope: Scope) -> Self {
        self.default_scope = Arc::new(scope);
        self
    }

    /// Sets the origins whose pages may call, besides loopback names and addresses. Replaces those set before.
    #[must_use]
    pub fn with_allowed_origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.origins = origins.into_iter().collect();
        self
    }

    /// Whether a request is for Cloud Map, by its target, its path, or the service that it is signed for. For
    /// hosts that emulate several services on one port.
    #[must_use]
    pub fn claims<B>(request: &Request<B>) -> bool {
        let target = request.headers().get(&TARGET).and_then(|target| target.to_str().ok());
        match target {
            Some(target) => target.strip_prefix(SERVICE).is_some_and(|rest| rest.starts_with('.')),
            None => {
                path_operation(request.uri().path()).is_some()
                    || CredentialScope::of(request.headers())
                        .is_some_and(|scope| scope.service == SIGNING_NAME)
            }
        }
    }

    /// What this service and its clones have answered until now. Reading costs a few microseconds and holds up
    /// no request.
    #[must_use]
    pub fn counters(&self) -> RequestCounters {
        self.counts.read()
    }

    /// Answers a request. Its head is read before the future exists, so that the future does not keep it.
    pub(crate) fn answer<B: Body>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Response<Bytes>> + use<B> {
        let (parts, body) = request.into_parts();
        let id = answer::request_id();
        let page = self.origins.page(&parts.headers);
        let protocol = Protocol::of(&parts.headers, parts.uri.path());
        let head = self.head(protocol, parts, &page);
        let observed = Observed::begin(&self.counts, &id, protocol, head.asked());
        let span = observed.span().clone();
        let answer = async move {
            let mut response = match head.answer(protocol, body).await {
                Ok(response) => {
                    observed.answered(response.body().len());
                    response
                }
                Err(failure) => {
                    observed.refused(&failure, &id, head.asked());
                    answer::failure(protocol, &failure)
                }
            };
            let headers = response.headers_mut();
            headers.insert(REQUEST_ID.clone(), id);
            if let Page::Allowed(origin) = page {
                origin::share(headers, origin);
            }
            response
        };
        answer.instrument(span)
    }

    /// What the head of a request asks for.
    fn head(&self, protocol: Protocol, parts: Parts, page: &Page) -> Head {
        match page {
            Page::Foreign => return Head::Refused(ProtocolError::ForeignPage),
            Page::Allowed(_) => {
                if let Some(response) = origin::preflight(&parts) {
                    return Head::Preflight(response.map(|()| Bytes::new()));
                }
            }
            Page::None => {}
        }
        if is_reset(&parts) {
            return Head::Reset(self.cloud_map.clone(), parts.method);
        }
        match self.operation(protocol, &parts) {
            Ok((action, cloud_map)) => Head::Operation(action, cloud_map),
            Err(error) => Head::Refused(error),
        }
    }

    /// The operation that a request is for, and the scope.
    fn operation(
        &self,
        protocol: Protocol,
        parts: &Parts,
    ) -> Result<(Action, ScopedCloudMap), ProtocolError> {
        if !parts.headers.contains_key(ORIGIN) && origin::may_be_rebound(parts) {
            return Err(ProtocolError::UnknownHost);
        }
        let action = protocol.action(&parts.headers, parts.uri.path())?;
        let scope = match parts.extensions.get::<Caller>() {
            Some(caller) => caller.scope.clone(),
            None => scope_of(&parts.headers, &self.default_scope),
        };
        Ok((action, self.cloud_map.at(scope)))
    }
}

/// What the head of a request asks for.
enum Head {
    Operation(Action, ScopedCloudMap),
    Refused(ProtocolError),
    Reset(CloudMap, Method),
    /// A browser asks whether a page may send a request.
    Preflight(Response<Bytes>),
}

impl Head {
    /// The operation and the scope, if the request has them.
    fn asked(&self) -> Option<(Action, &Scope)> {
        match self {
            Self::Operation(action, cloud_map) => Some((*action, cloud_map.scope())),
            _ => None,
        }
    }

    async fn answer<B: Body>(&self, protocol: Protocol, body: B) -> Result<Response<Bytes>, Failure> {
        match self {
            Self::Operation(action, cloud_map) => {
                let body = read(body).await?;
                let response = dispatch(protocol, *action, cloud_map, &body).await?;
                Ok(answer::success(protocol, *action, response))
            }
            Self::Refused(error) => {
                discard(body).await;
                Err(error.clone().into())
            }
            Self::Reset(cloud_map, method) => {
                // A request that is cut off changes nothing. What its body holds does not matter.
                read(body).await?;
                if method == Method::POST { reset::reset(cloud_map).await } else { Ok(method_not_allowed()) }
            }
            Self::Preflight(response) => Ok(response.clone()),
        }
    }
}

/// Whether it is a request of moto's API, not of AWS's.
fn is_reset(parts: &Parts) -> bool {
    parts.uri.path() == reset::PATH
        && ![&TARGET, &SMITHY_PROTOCOL].iter().any(|header| parts.headers.contains_key(*header))
}

fn method_not_allowed() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

impl fmt::Debug for CloudMapService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudMapService").field("default_scope", &self.default_scope).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for CloudMapService
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answer = self.answer(request);
        Box::pin(async move { Ok(answer.await.map(Full::new)) })
    }
}
