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
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use sd_core::{Action, CloudMap, Error, Scope, ScopedCloudMap};
use tower_service::Service;

use crate::{
    caller::{Caller, CredentialScope, scope_of},
    error::{ProtocolError, json_status, retry_after},
    wire::{error::ErrorBody, request::FromWire, response::ToJson},
};

/// The prefix of the operation in `X-Amz-Target`.
const TARGET_PREFIX: &str = "Route53AutoNaming_v20170314.";
/// The path of rpc-v2-cbor requests.
const CBOR_PATH: &str = "/service/Route53AutoNaming_v20170314/operation/";
/// The name of the service in credential scopes.
const SIGNING_NAME: &str = "servicediscovery";

const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const CBOR: HeaderValue = HeaderValue::from_static("application/cbor");

/// The most octets of a request's body.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// The most octets of a body that is too long that are read before the connection is closed.
const DROP_LIMIT: usize = 16 * BODY_LIMIT;

/// AWS Cloud Map's HTTP API, awsJson1.1, as a [`tower_service::Service`].
///
/// Any method, `Host` and path are accepted: an SDK puts `data-` before the host of two operations, and an endpoint may
/// have a path. What counts is the header `X-Amz-Target`. Signatures are read, for the account and Region (see
/// [`Caller`]), and never verified.
#[derive(Clone)]
pub struct CloudMapService {
    cloud_map: CloudMap,
    default_scope: Arc<Scope>,
}

impl CloudMapService {
    /// The API over this handle. A request that tells neither account nor Region is for 123456789012 in us-east-1.
    #[must_use]
    pub fn new(cloud_map: CloudMap) -> Self {
        Self { cloud_map, default_scope: Arc::default() }
    }

    /// Sets the scope of requests that tell neither account nor Region.
    #[must_use]
    pub fn with_default_scope(mut self, scope: Scope) -> Self {
        self.default_scope = Arc::new(scope);
        self
    }

    /// Whether a request is meant for Cloud Map: by its target, its path or the service that it is signed for. For hosts
    /// that emulate several services on one port.
    #[must_use]
    pub fn claims<B>(request: &Request<B>) -> bool {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        match target {
            Some(target) => target.starts_with(TARGET_PREFIX),
            None => {
                request.uri().path().contains(CBOR_PATH)
                    || CredentialScope::of(request.headers())
                        .is_some_and(|scope| scope.service == SIGNING_NAME)
            }
        }
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Bytes>
    where
        B: Body,
    {
        let (parts, body) = request.into_parts();
        if is_cbor(&parts.headers, parts.uri.path()) {
            return cbor_error(&ProtocolError::UnknownProtocol("rpc-v2-cbor"));
        }
        let scope = match parts.extensions.get::<Caller>() {
            Some(caller) => caller.scope.clone(),
            None => scope_of(&parts.headers, &self.default_scope),
        };
        let action = match action(&parts.headers) {
            Ok(action) => action,
            Err(error) => return protocol_error(&error),
        };
        let body = match read(body).await {
            Ok(body) => body,
            Err(error) => return protocol_error(&error),
        };
        let span = tracing::debug_span!("request", %action, %scope);
        match dispatch(action, &self.cloud_map.at(scope), &body).await {
            Ok(body) => {
                span.in_scope(|| tracing::debug!(octets = body.len(), "answered"));
                response(StatusCode::OK, JSON, body)
            }
            Err(Failure::Protocol(error)) => protocol_error(&error),
            Err(Failure::Api(error)) => {
                span.in_scope(|| tracing::debug!(code = %error.code(), %error, "refused"));
                api_error(&error)
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
        let answer = self.clone().answer(request);
        Box::pin(async move { Ok(answer.await.map(Full::new)) })
    }
}

/// Why there is no response.
enum Failure {
    Protocol(ProtocolError),
    Api(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Api(error)
    }
}

/// Reads a body. What is beyond the limit is read to be dropped, up to a point: a client that is still sending when the
/// connection closes never sees why.
async fn read<B: Body>(body: B) -> Result<Bytes, ProtocolError> {
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

fn action(headers: &HeaderMap) -> Result<Action, ProtocolError> {
    let target = headers.get("x-amz-target").ok_or(ProtocolError::NoTarget)?;
    let target = String::from_utf8_lossy(target.as_bytes());
    let name = target.strip_prefix(TARGET_PREFIX).ok_or(ProtocolError::NoTarget)?;
    Action::parse(name).ok_or_else(|| ProtocolError::UnknownOperation(name.chars().take(128).collect()))
}

/// An empty body is an empty request, as some clients send it.
fn decode<T: FromWire>(body: &[u8]) -> Result<T, Failure> {
    let body = if body.is_empty() { b"{}" } else { body };
    match serde_json::from_slice(body) {
        Ok(wire) => Ok(T::from_wire(wire)),
        Err(error) => Err(Failure::Protocol(ProtocolError::Serialization(error.to_string()))),
    }
}

fn encode<T: ToJson>(response: &T) -> Result<Vec<u8>, Failure> {
    response.to_json().map_err(|_| Error::Internal("a response cannot be encoded").into())
}

macro_rules! dispatch {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
        absent { $($absent:ident,)* }
    ) => {
        /// Decodes the body for the operation, calls it, encodes its response.
        async fn dispatch(action: Action, cloud_map: &ScopedCloudMap, body: &[u8]) -> Result<Vec<u8>, Failure> {
            match action {
                $(Action::$write => encode(&cloud_map.$wm(decode(body)?).await?),)*
                $(Action::$read => encode(&cloud_map.$rm(&decode(body)?)?),)*
                $(Action::$absent)|* => Err(Error::NotInThisBuild(action).into()),
            }
        }
    };
}

sd_core::for_each_action!(dispatch);

fn response(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert("x-amzn-requestid", request_id());
    response
}

/// A random UUID. Nobody guesses it, nobody needs to be kept from it.
fn request_id() -> HeaderValue {
    let uuid = uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = uuid.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn api_error(error: &Error) -> Response<Bytes> {
    let message = error.to_string();
    let mut response = json_error(json_status(error.code()), &ErrorBody::of(error, &message));
    if let Some(seconds) = retry_after(error) {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if let Some(cause) = std::error::Error::source(error) {
        tracing::warn!(%error, %cause, "a request failed");
    }
    response
}

pub(crate) fn protocol_error(error: &ProtocolError) -> Response<Bytes> {
    json_error(error.status(), &ErrorBody::new(error.code(), &error.to_string()))
}

fn json_error(status: StatusCode, body: &ErrorBody<'_>) -> Response<Bytes> {
    response(status, JSON, serde_json::to_vec(body).unwrap_or_default())
}

fn is_cbor(headers: &HeaderMap, path: &str) -> bool {
    headers.contains_key("smithy-protocol")
        || (path.contains(CBOR_PATH) && !headers.contains_key("x-amz-target"))
}

/// A client that speaks CBOR can read nothing else, not even an error.
fn cbor_error(error: &ProtocolError) -> Response<Bytes> {
    let mut encoder = minicbor::Encoder::new(Vec::new());
    let (code, message) = (error.code(), error.to_string());
    // Writing into a vector cannot fail.
    let _ = (|| encoder.map(2)?.str("__type")?.str(code)?.str("message")?.str(&message)?.ok())();
    let mut response = response(error.status(), CBOR, encoder.into_writer());
    response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    response
}
