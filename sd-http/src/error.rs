//! Why a request has no response: the errors of this crate, beside those of the core.

use http::StatusCode;
use sd_core::{Error, ErrorCode};

use crate::names::SERVICE;

/// A request that has no operation or that cannot be read, and a request that the server gives up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error(
        "the request names no operation: awsJson1.1 needs a header X-Amz-Target: {SERVICE}.<Operation>, rpc-v2-cbor a \
         path /service/{SERVICE}/operation/<Operation>"
    )]
    NoOperation,
    #[error("there is no operation {0} in AWS Cloud Map 2017-03-14")]
    UnknownOperation(String),
    #[error(
        "the protocol {0} is not one of AWS Cloud Map's: send awsJson1.1 (a header X-Amz-Target and a JSON body) or \
         rpc-v2-cbor (a header smithy-protocol: rpc-v2-cbor and a CBOR body)"
    )]
    UnknownProtocol(String),
    #[error(
        "the request is of two protocols: rpc-v2-cbor has its operation in the path, without a header X-Amz-Target"
    )]
    TwoProtocols,
    #[error("pages of this origin may not call: allow the origin in the server's settings")]
    ForeignPage,
    #[error("GET and HEAD need a loopback name or an IP address as host: use POST")]
    UnknownHost,
    #[error("the body cannot be read: {0}")]
    Serialization(String),
    #[error("the body has more than {0} octets")]
    TooLarge(usize),
    #[error("the request took too long: its body did not arrive in time, or its answer was not ready")]
    Timeout,
    #[error("the body ended before its length")]
    Incomplete,
    #[error("the server has as many connections as it takes: close some, or try again later")]
    TooManyConnections,
}

impl ProtocolError {
    /// The codes that the service model does not have.
    pub(crate) const CODES: [&str; 6] = [
        "UnknownOperationException",
        "AccessDeniedException",
        "MalformedHttpRequestException",
        "SerializationException",
        "RequestEntityTooLargeException",
        "RequestTimeoutException",
    ];

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoOperation | Self::UnknownOperation(_) | Self::UnknownProtocol(_) => {
                "UnknownOperationException"
            }
            Self::ForeignPage | Self::UnknownHost => "AccessDeniedException",
            Self::TwoProtocols => "MalformedHttpRequestException",
            Self::Serialization(_) | Self::Incomplete => "SerializationException",
            Self::TooLarge(_) => "RequestEntityTooLargeException",
            Self::Timeout => "RequestTimeoutException",
            Self::TooManyConnections => ErrorCode::ServiceUnavailable.as_str(),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::ForeignPage | Self::UnknownHost => StatusCode::FORBIDDEN,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyConnections => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoOperation
            | Self::UnknownOperation(_)
            | Self::UnknownProtocol(_)
            | Self::TwoProtocols
            | Self::Serialization(_)
            | Self::Incomplete => StatusCode::BAD_REQUEST,
        }
    }
}

/// Why a request has no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error(transparent)]
    Api(#[from] Error),
}

impl Failure {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Protocol(error) => error.code(),
            Self::Api(error) => error.code().as_str(),
        }
    }
}
