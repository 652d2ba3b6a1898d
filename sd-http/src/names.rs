//! Names that the protocols fix: of the service, and of headers.

use http::HeaderName;

/// The name of the service in the service model: the prefix of `X-Amz-Target`, a segment of the path.
pub(crate) const SERVICE: &str = "Route53AutoNaming_v20170314";

/// The namespace of the service model's shapes, in which its errors are.
pub(crate) const SHAPES: &str = "com.amazonaws.servicediscovery";

/// The name of the service in credential scopes.
pub(crate) const SIGNING_NAME: &str = "servicediscovery";

/// The header that names the protocol, on requests and on responses.
pub(crate) static SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");

/// The header that names the operation in awsJson1.1.
pub(crate) static TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// The header with the id of a request, which SDKs print with errors.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
