//! Errors on the wire: the status is a function of the protocol and the code.

use http::StatusCode;
use sd_core::{Error, ErrorCode};

/// What is wrong with a request before it is one: it has no operation, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error(
        "the request names no operation: awsJson1.1 needs a header X-Amz-Target: Route53AutoNaming_v20170314.<Operation>"
    )]
    NoTarget,
    #[error("there is no operation {0} in AWS Cloud Map 2017-03-14")]
    UnknownOperation(String),
    #[error(
        "the protocol {0} is not in this build, which speaks awsJson1.1 (a header X-Amz-Target and a JSON body)"
    )]
    UnknownProtocol(&'static str),
    #[error("the body cannot be read: {0}")]
    Serialization(String),
    #[error("the body has more than {0} octets")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    Timeout,
    #[error("the body ended before its length")]
    Incomplete,
}

impl ProtocolError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NoTarget | Self::UnknownOperation(_) | Self::UnknownProtocol(_) => {
                "UnknownOperationException"
            }
            Self::Serialization(_) | Self::Incomplete => "SerializationException",
            Self::TooLarge(_) => "RequestEntityTooLargeException",
            Self::Timeout => "RequestTimeoutException",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::NoTarget
            | Self::UnknownOperation(_)
            | Self::UnknownProtocol(_)
            | Self::Serialization(_)
            | Self::Incomplete => StatusCode::BAD_REQUEST,
        }
    }
}

/// The status of an error under awsJson1.1: 400 for all that the API models, and what HTTP says for what
/// is not the caller's fault.
pub(crate) fn json_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::InternalFailure => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// When to send the request again, in seconds, if the error says so.
pub(crate) fn retry_after(error: &Error) -> Option<u64> {
    match error {
        Error::Unavailable { retry_after, .. } => Some(retry_after.map_or(1, |after| after.as_secs().max(1))),
        Error::Contention => Some(1),
        _ => None,
    }
}
