//! Answers: statuses, headers and bodies of successes and errors.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use sd_core::{Action, Error, ErrorCode};

use crate::{
    error::{Failure, ProtocolError},
    names::{REQUEST_ID, SMITHY_PROTOCOL},
    protocol::Protocol,
    wire::{error::ErrorBody, response::is_void},
};

/// The answer to an operation that succeeds.
///
/// "Responses for operations with no defined output type MUST NOT contain bodies" (Smithy RPC v2 CBOR,
/// Responses).
pub(crate) fn success(protocol: Protocol, action: Action, body: Vec<u8>) -> Response<Bytes> {
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

/// The answer of the server itself to a request that its service does not answer.
pub(crate) fn server_error(protocol: Protocol, error: &ProtocolError) -> Response<Bytes> {
    let mut response = protocol_error(protocol, error);
    let id = request_id();
    tracing::debug!(id = id.to_str().unwrap_or_default(), code = error.code(), %error, "refused by the server");
    response.headers_mut().insert(REQUEST_ID.clone(), id);
    response
}

/// A random UUID. Not secret, so the generator need not be secure.
pub(crate) fn request_id() -> HeaderValue {
    let uuid = uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = uuid.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

pub(crate) fn failure(protocol: Protocol, failure: &Failure) -> Response<Bytes> {
    match failure {
        Failure::Protocol(error) => protocol_error(protocol, error),
        Failure::Api(error) => api_error(protocol, error),
    }
}

fn api_error(protocol: Protocol, error: &Error) -> Response<Bytes> {
    let message = error.to_string();
    let body = ErrorBody::of(protocol, error, &message);
    let mut response = error_response(protocol, status(protocol, error.code()), &body);
    if let Some(seconds) = retry_after(error) {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn protocol_error(protocol: Protocol, error: &ProtocolError) -> Response<Bytes> {
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

/// The status of an error. If the server is at fault, HTTP decides: 500 or 503. The errors of the service
/// model have 400 in awsJson1.1 (API Reference), and the status of their trait `httpError` in rpc-v2-cbor.
fn status(protocol: Protocol, code: ErrorCode) -> StatusCode {
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

/// The value of `Retry-After` in seconds, for errors that pass.
fn retry_after(error: &Error) -> Option<u64> {
    match error {
        // Rounded up, so that no client comes back too early.
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

    /// The rows of the table with this head. The last cell, which is prose, is left out.
    fn rows(head: &str) -> BTreeSet<&'static str> {
        let table = PAGE.lines().skip_while(|line| !line.starts_with(head)).skip(2);
        let rows = table.take_while(|line| line.starts_with('|'));
        rows.map(|row| row.trim_end_matches(" |").rsplit_once(" | ").unwrap().0).collect()
    }

    #[test]
    fn the_behaviour_page_lists_every_code_with_its_statuses() {
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
        let known: Vec<_> =
            ErrorCode::ALL.iter().map(|code| code.as_str()).chain(ProtocolError::CODES).collect();
        assert!(errors.iter().all(|error| known.contains(&error.code())), "CODES lacks a code");
        let of = |error: &ProtocolError| format!("| {} | {}", error.code(), error.status().as_u16());
        let codes: BTreeSet<_> = errors.iter().map(of).collect();
        assert_eq!(codes, rows("| code | status |").into_iter().map(str::to_owned).collect());
    }
}
