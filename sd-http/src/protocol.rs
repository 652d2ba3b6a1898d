//! The two protocols of the API: which one a request speaks, where its operation is, and how bodies are read
//! and written. The shapes of the bodies are in `wire`, once for both.

use http::{HeaderMap, HeaderValue};
use sd_core::{Action, Error};
use serde::{Serialize, Serializer, de::DeserializeOwned};

use crate::{
    cbor,
    error::ProtocolError,
    names::{SERVICE, SHAPES, SMITHY_PROTOCOL, TARGET},
};

/// A protocol of the API. A request is answered in its own protocol, whatever is wrong with it, because its
/// client can read no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// awsJson1.1: the operation is in the header `X-Amz-Target`, bodies are JSON. Also the protocol of requests
    /// that name none.
    Json,
    /// rpc-v2-cbor (Smithy RPC v2 CBOR): the operation is in the path, bodies are CBOR.
    Cbor,
}

impl Protocol {
    /// Smithy's name of the protocol: `awsJson1.1` or `rpc-v2-cbor`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "awsJson1.1",
            Self::Cbor => "rpc-v2-cbor",
        }
    }

    /// The protocol of a request with these headers and this path.
    pub(crate) fn of(headers: &HeaderMap, path: &str) -> Self {
        match headers.get(&SMITHY_PROTOCOL) {
            Some(name) if name == "rpc-v2-cbor" => Self::Cbor,
            None if !headers.contains_key(&TARGET) && path_operation(path).is_some() => Self::Cbor,
            _ => Self::Json,
        }
    }

    /// The operation that a request names.
    pub(crate) fn action(self, headers: &HeaderMap, path: &str) -> Result<Action, ProtocolError> {
        let name = match self {
            Self::Json => target_operation(headers)?,
            // "Server-side implementations MUST reject such requests for security reasons" (Smithy RPC v2
            // CBOR, Requests).
            Self::Cbor if headers.contains_key(&TARGET) || headers.contains_key("x-amzn-target") => {
                return Err(ProtocolError::TwoProtocols);
            }
            Self::Cbor => path_operation(path).ok_or(ProtocolError::NoOperation)?,
        };
        Action::parse(name).ok_or_else(|| ProtocolError::UnknownOperation(name.chars().take(128).collect()))
    }

    /// Reads a body. An empty body is an empty request, which some clients send.
    pub(crate) fn decode<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, ProtocolError> {
        match self {
            Self::Json => serde_json::from_slice(if body.is_empty() { b"{}" } else { body })
                .map_err(|error| ProtocolError::Serialization(error.to_string())),
            Self::Cbor => cbor::from_slice(if body.is_empty() { &[0xa0] } else { body })
                .map_err(ProtocolError::Serialization),
        }
    }

    /// Writes a body.
    ///
    /// # Errors
    /// A map has a key that is not a text, which no response has.
    pub(crate) fn encode<T: Serialize + ?Sized>(self, body: &T) -> Result<Vec<u8>, Error> {
        match self {
            Self::Json => serde_json::to_vec(body).ok(),
            Self::Cbor => minicbor_serde::to_vec(body).ok(),
        }
        .ok_or(Error::Internal("a response cannot be encoded"))
    }

    /// The content type of bodies.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/cbor",
        })
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn target_operation(headers: &HeaderMap) -> Result<&str, ProtocolError> {
    match (headers.get(&TARGET), headers.get(&SMITHY_PROTOCOL)) {
        (Some(target), _) => target
            .to_str()
            .ok()
            .and_then(|target| target.strip_prefix(SERVICE)?.strip_prefix('.'))
            .ok_or(ProtocolError::NoOperation),
        (None, Some(name)) => {
            let name = String::from_utf8_lossy(name.as_bytes()).chars().take(128).collect();
            Err(ProtocolError::UnknownProtocol(name))
        }
        (None, None) => Err(ProtocolError::NoOperation),
    }
}

/// The operation in a path `{prefix}/service/{service}/operation/{operation}`. The service may be qualified by
/// the namespace of its model (Smithy RPC v2 CBOR, Requests).
pub(crate) fn path_operation(path: &str) -> Option<&str> {
    let (rest, operation) = path.rsplit_once("/operation/")?;
    let (_, service) = rest.rsplit_once("/service/")?;
    let service = service.strip_prefix(SHAPES).and_then(|name| name.strip_prefix('.')).unwrap_or(service);
    (service == SERVICE && !operation.contains('/')).then_some(operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_four_segments_of_a_path_name_the_operation() {
        for path in [
            "/service/Route53AutoNaming_v20170314/operation/GetService",
            "/a/prefix/service/Route53AutoNaming_v20170314/operation/GetService",
            "/service/x/operation/y/service/Route53AutoNaming_v20170314/operation/GetService",
            "/service/com.amazonaws.servicediscovery.Route53AutoNaming_v20170314/operation/GetService",
        ] {
            assert_eq!(path_operation(path), Some("GetService"), "{path}");
        }
        for path in [
            "/",
            "/service/Route53AutoNaming_v20170314/operation",
            "/service/Route53AutoNaming_v20170314/operation/GetService/more",
            "/service/AmazonSSM/operation/GetService",
            "/myservice/Route53AutoNaming_v20170314/operation/",
        ] {
            assert_eq!(path_operation(path), None, "{path}");
        }
    }
}
