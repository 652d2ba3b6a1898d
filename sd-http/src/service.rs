//! The API as a tower service: decode, call the core, encode.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, ORIGIN, RETRY_AFTER},
    request::Parts,
};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use sd_core::{Action, CloudMap, Error, Scope, ScopedCloudMap, request};
use tower_service::Service;
use tracing::{Instrument, Span};

use crate::{
    caller::{Caller, CredentialScope, scope_of},
    error::{ProtocolError, retry_after, status},
    origin::{self, Origin, Origins, Page},
    protocol::{Protocol, SMITHY_PROTOCOL, TARGET, path_operation, service},
    reset,
    wire::{
        error::ErrorBody,
        request::FromWire,
        response::{self, is_void},
    },
};

/// The name of the service in credential scopes.
const SIGNING_NAME: &str = "servicediscovery";

/// The header with the id of a request, which SDKs print with errors.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The most octets of a request's body.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// The most octets of a body that are read if the request is refused.
const DROP_LIMIT: usize = 16 * BODY_LIMIT;

/// AWS Cloud Map's HTTP API, awsJson1.1 and rpc-v2-cbor, as a [`tower_service::Service`].
///
/// The operation is in the header `X-Amz-Target` (awsJson1.1), or in the last four segments of the path
/// (rpc-v2-cbor). A request is answered in its own protocol. Any method, `Host` and path are accepted from
/// programs: an SDK puts `data-` before the host of two operations, and an endpoint may have a path.
/// Signatures are read, for the account and Region (see [`Caller`]), and never verified.
///
/// Pages in browsers are refused with 403 before their body is read, unless they are from a loopback name or
/// address (`localhost`, names below it, `127.0.0.0/8`, `::1`) or from an [allowed
/// origin](Self::with_allowed_origins). A request is refused if it has an `Origin` that is another one,
/// `null`, or more than one; if it has none, but a `Sec-Fetch-Site: cross-site`; or if it is a GET or HEAD,
/// with which browsers omit `Origin`, and its `Host` is neither a loopback name nor an IP address. So a name
/// that is pointed at this machine (DNS rebinding) gives a page no access. Allowed pages get the answers of
/// CORS.
///
/// A request that names no operation and whose path is `/moto-api/reset` is not of AWS's API: as a POST it
/// deletes everything ([`CloudMap::reset`]), for tests that did so with moto's server. A host that passes on
/// only what is [claimed](Self::claims) does not have it.
#[derive(Clone)]
pub struct CloudMapService {
    cloud_map: CloudMap,
    default_scope: Arc<Scope>,
    origins: Origins,
}

impl CloudMapService {
    /// The API over this handle. A request that tells neither account nor Region is for 123456789012 in
    /// us-east-1.
    #[must_use]
    pub fn new(cloud_map: CloudMap) -> Self {
        Self { cloud_map, default_scope: Arc::default(), origins: Origins::default() }
    }

    /// Sets the scope of requests that tell neither account nor Region.
    #[must_use]
    pub fn with_default_scope(mut self, scope: Scope) -> Self {
        self.default_scope = Arc::new(scope);
        self
    }

    /// Sets the origins whose pages may call, besides loopback names and addresses.
    #[must_use]
    pub fn with_allowed_origins(mut self, origins: impl IntoIterator<Item = Origin>) -> Self {
        self.origins = origins.into_iter().collect();
        self
    }

    /// Whether a request is meant for Cloud Map: by its target, its path or the service that it is signed
    /// for. For hosts that emulate several services on one port.
    #[must_use]
    pub fn claims<B>(request: &Request<B>) -> bool {
        let target = request.headers().get(&TARGET).and_then(|target| target.to_str().ok());
        match target {
            Some(target) => target.starts_with(concat!(service!(), ".")),
            None => {
                path_operation(request.uri().path()).is_some()
                    || CredentialScope::of(request.headers())
                        .is_some_and(|scope| scope.service == SIGNING_NAME)
            }
        }
    }

    async fn reset<B: Body>(&self, parts: &Parts, body: B) -> Response<Bytes> {
        // A request that is cut off changes nothing; what is in the body does not matter.
        if let Err(error) = read(body).await {
            return protocol_error(Protocol::Json, &error);
        }
        if parts.method == Method::POST {
            return reset::reset(&self.cloud_map).await;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        response
    }

    /// The head of a request is read at once, so that it is not kept while the answer is made.
    pub(crate) fn answer<B: Body>(
        &self,
        request: Request<B>,
    ) -> impl Future<Output = Response<Bytes>> + use<B> {
        let (parts, body) = request.into_parts();
        let id = request_id();
        let page = self.origins.page(&parts.headers);
        let head = self.head(parts, &page);
        let span = head.span(&id);
        let answer = async move {
            let mut response = match head {
                Head::Asked(asked) => asked.answer(body).await,
                Head::Refused(protocol, error) => {
                    discard(body).await;
                    tracing::debug!(%error, "refused");
                    protocol_error(protocol, &error)
                }
                Head::Reset(service, parts) => service.reset(&parts, body).await,
                Head::Preflight(response) => response,
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

    fn head(&self, parts: Parts, page: &Page) -> Head {
        match page {
            Page::Foreign => {
                let protocol = Protocol::of(&parts.headers, parts.uri.path());
                return Head::Refused(protocol, ProtocolError::ForeignPage);
            }
            Page::Allowed(_) => {
                if let Some(response) = origin::preflight(&parts) {
                    return Head::Preflight(response.map(|()| Bytes::new()));
                }
            }
            Page::None => {}
        }
        if is_reset(&parts) { Head::Reset(self.clone(), Box::new(parts)) } else { self.asked(&parts) }
    }

    /// What the head of a request asks for.
    fn asked(&self, parts: &Parts) -> Head {
        let path = parts.uri.path();
        let protocol = Protocol::of(&parts.headers, path);
        if !parts.headers.contains_key(ORIGIN) && origin::may_be_rebound(parts) {
            return Head::Refused(protocol, ProtocolError::UnknownHost);
        }
        let scope = match parts.extensions.get::<Caller>() {
            Some(caller) => caller.scope.clone(),
            None => scope_of(&parts.headers, &self.default_scope),
        };
        match protocol.action(&parts.headers, path) {
            Ok(action) => Head::Asked(Asked { protocol, action, cloud_map: self.cloud_map.at(scope) }),
            Err(error) => Head::Refused(protocol, error),
        }
    }
}

/// What the head of a request asks for.
enum Head {
    Asked(Asked),
    Refused(Protocol, ProtocolError),
    Reset(CloudMapService, Box<Parts>),
    /// A browser asks for a page.
    Preflight(Response<Bytes>),
}

impl Head {
    /// The span of everything that the request does.
    fn span(&self, id: &HeaderValue) -> Span {
        let id = id.to_str().unwrap_or_default();
        match self {
            Self::Asked(Asked { action, cloud_map, .. }) => {
                tracing::debug_span!("request", id, %action, scope = %cloud_map.scope())
            }
            _ => tracing::debug_span!("request", id),
        }
    }
}

/// An operation, whose request is still to be read.
struct Asked {
    protocol: Protocol,
    action: Action,
    cloud_map: ScopedCloudMap,
}

impl Asked {
    async fn answer<B: Body>(self, body: B) -> Response<Bytes> {
        let Self { protocol, action, cloud_map } = self;
        let body = match read(body).await {
            Ok(body) => body,
            Err(error) => return protocol_error(protocol, &error),
        };
        match dispatch(protocol, action, &cloud_map, &body).await {
            Ok(body) => {
                tracing::debug!(octets = body.len(), "answered");
                success(protocol, action, body)
            }
            Err(Failure::Protocol(error)) => protocol_error(protocol, &error),
            Err(Failure::Api(error)) => {
                tracing::debug!(code = %error.code(), %error, "refused");
                api_error(protocol, &error)
            }
        }
    }
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

/// Whether it is the one request that is not of AWS's API.
fn is_reset(parts: &Parts) -> bool {
    parts.uri.path() == reset::PATH
        && ![&TARGET, &SMITHY_PROTOCOL].iter().any(|header| parts.headers.contains_key(*header))
}

/// Why there is no response.
pub(crate) enum Failure {
    Protocol(ProtocolError),
    Api(Error),
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Api(error)
    }
}

/// Reads a body. What is beyond the limit is read to be dropped, up to a point: a client that is still
/// sending when the connection closes never sees why.
pub(crate) async fn read<B: Body>(body: B) -> Result<Bytes, ProtocolError> {
    let mut body = pin!(body);
    let mut kept = Bytes::new();
    let mut more = BytesMut::new();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(ProtocolError::Incomplete);
        };
        let Ok(mut data) = frame.into_data() else { continue };
        let first = read == 0;
        read += data.remaining();
        if read > DROP_LIMIT {
            break;
        } else if read > BODY_LIMIT {
            more = BytesMut::new();
        } else if first {
            // Most bodies are one piece, which is not copied.
            kept = data.copy_to_bytes(data.remaining());
        } else {
            if more.is_empty() {
                more.extend_from_slice(&kept);
            }
            more.put(data);
        }
    }
    match read {
        0..=BODY_LIMIT if more.is_empty() => Ok(kept),
        0..=BODY_LIMIT => Ok(more.freeze()),
        _ => Err(ProtocolError::TooLarge(BODY_LIMIT)),
    }
}

/// Reads the body of a request that is refused, up to [`DROP_LIMIT`]: a client that is still sending when the
/// connection closes never sees why.
pub(crate) async fn discard<B: Body>(body: B) {
    let mut body = pin!(body);
    let mut read = 0;
    while read <= DROP_LIMIT
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Buf::remaining);
    }
}

pub(crate) fn decode<T: FromWire>(protocol: Protocol, body: &[u8]) -> Result<T, Failure> {
    Ok(T::from_wire(protocol.decode(body)?))
}

pub(crate) fn encode<T: response::Body>(protocol: Protocol, response: &T) -> Result<Vec<u8>, Failure> {
    Ok(response.encode(protocol)?)
}

/// Reads, and passes what was found to a closure.
macro_rules! read {
    // An answer of a hundred instances is written from what stands in the state.
    (discover_instances $cloud_map:expr, $request:expr, $use_it:expr) => {
        $cloud_map.discover_instances_with($request, $use_it)?
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
                    // What a write keeps while it waits would make every answer's allocation a large one.
                    encode(protocol, &Box::pin(cloud_map.$wm(request)).await?)
                })*
                $(Action::$read => {
                    let request: request::$rq = decode(protocol, body)?;
                    let read = |cloud_map: &ScopedCloudMap| {
                        read!($rm cloud_map, &request, |response| encode(protocol, response))
                    };
                    cloud_map.hold_back(action, &request, read).await
                })*
            }
        }
    };
}

sd_core::for_each_action!(dispatch);

/// "Responses for operations with no defined output type MUST NOT contain bodies" (Smithy RPC v2 CBOR,
/// Responses).
fn success(protocol: Protocol, action: Action, body: Vec<u8>) -> Response<Bytes> {
    let void = protocol == Protocol::Cbor && is_void(action);
    let mut response = response(protocol, StatusCode::OK, if void { Vec::new() } else { body });
    if void {
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response
}

fn response(protocol: Protocol, status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, protocol.content_type());
    if protocol == Protocol::Cbor {
        headers.insert(SMITHY_PROTOCOL.clone(), HeaderValue::from_static("rpc-v2-cbor"));
    }
    response
}

/// An answer of the server itself.
pub(crate) fn server_error(protocol: Protocol, error: &ProtocolError) -> Response<Bytes> {
    let mut response = protocol_error(protocol, error);
    response.headers_mut().insert(REQUEST_ID.clone(), request_id());
    response
}

/// A random UUID. It is not a secret.
fn request_id() -> HeaderValue {
    let uuid = uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = uuid.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

pub(crate) fn api_error(protocol: Protocol, error: &Error) -> Response<Bytes> {
    let message = error.to_string();
    let body = ErrorBody::of(protocol, error, &message);
    let mut response = error_response(protocol, status(protocol, error.code()), &body);
    if let Some(seconds) = retry_after(error) {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if let Some(cause) = std::error::Error::source(error) {
        tracing::warn!(%error, %cause, "a request failed");
    }
    response
}

pub(crate) fn protocol_error(protocol: Protocol, error: &ProtocolError) -> Response<Bytes> {
    let message = error.to_string();
    let body = ErrorBody::new(protocol, error.code(), &message);
    let mut response = error_response(protocol, error.status(), &body);
    if *error == ProtocolError::TooManyConnections {
        response.headers_mut().insert(RETRY_AFTER, 1.into());
    }
    response
}

fn error_response(protocol: Protocol, status: StatusCode, body: &ErrorBody<'_>) -> Response<Bytes> {
    response(protocol, status, protocol.encode(body).unwrap_or_default())
}
