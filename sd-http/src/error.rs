//! Errors on the wire: the status is a function of the protocol and the code.

use http::StatusCode;
use sd_core::{Error, ErrorCode};

use crate::protocol::{Protocol, service};

/// What is wrong with a request before it is one: it has no operation, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error(
        "the request names no operation: awsJson1.1 needs a header X-Amz-Target: {}.<Operation>, rpc-v2-cbor a path \
         /service/{}/operation/<Operation>",
        service!(),
        service!()
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

/// The status of an error. For what is not the caller's fault it is what HTTP says. The errors of the service
/// model have 400 under awsJson1.1 (API Reference) and the status of their trait `httpError` under
/// rpc-v2-cbor.
pub(crate) fn status(protocol: Protocol, code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::InternalFailure => StatusCode::INTERNAL_SERVER_ERROR,
        _ if protocol == Protocol::Json => StatusCode::BAD_REQUEST,
        _ => modelled_status(code.as_str()),
    }
}

/// The trait `httpError` of an error, by its name in the service model.
fn modelled_status(name: &str) -> StatusCode {
    match name {
        "CustomHealthNotFound"
        | "InstanceNotFound"
        | "NamespaceNotFound"
        | "OperationNotFound"
        | "ResourceNotFoundException"
        | "ServiceNotFound" => StatusCode::NOT_FOUND,
        "DuplicateRequest" | "ResourceInUse" => StatusCode::CONFLICT,
        "RequestLimitExceeded" => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// When to send the request again, in seconds, if the error says so.
pub(crate) fn retry_after(error: &Error) -> Option<u64> {
    match error {
        // Whole seconds, none of which is too early.
        Error::Unavailable { retry_after: Some(after), .. } => {
            Some(after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1))
        }
        Error::Unavailable { retry_after: None, .. } => Some(1),
        Error::Contention => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../docs/behaviour.md");

    /// The rows of the table with this head, without their last cell, which is prose.
    fn rows(head: &str) -> BTreeSet<&'static str> {
        let table = PAGE.lines().skip_while(|line| !line.starts_with(head)).skip(2);
        let rows = table.take_while(|line| line.starts_with('|'));
        rows.map(|row| row.trim_end_matches(" |").rsplit_once(" | ").unwrap().0).collect()
    }

    #[test]
    fn the_page_about_behaviour_has_every_code_with_its_statuses() {
        let of = |code: &ErrorCode| {
            let [json, cbor] =
                [Protocol::Json, Protocol::Cbor].map(|protocol| status(protocol, *code).as_u16());
            format!("| {code} | {json} | {cbor}")
        };
        let codes: BTreeSet<_> = ErrorCode::ALL.iter().map(of).collect();
        assert_eq!(codes, rows("| code | awsJson1.1 |").into_iter().map(str::to_owned).collect());

        let errors = [
            ProtocolError::NoOperation,
            ProtocolError::UnknownOperation(String::new()),
            ProtocolError::UnknownProtocol(String::new()),
            ProtocolError::TwoProtocols,
            ProtocolError::ForeignPage,
            ProtocolError::UnknownHost,
            ProtocolError::Serialization(String::new()),
            ProtocolError::TooLarge(0),
            ProtocolError::Timeout,
            ProtocolError::Incomplete,
            ProtocolError::TooManyConnections,
        ];
        let of = |error: &ProtocolError| format!("| {} | {}", error.code(), error.status().as_u16());
        let codes: BTreeSet<_> = errors.iter().map(of).collect();
        assert_eq!(codes, rows("| code | status |").into_iter().map(str::to_owned).collect());
    }
}
