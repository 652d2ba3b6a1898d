//! The bodies of errors: a code, a message, and the members of some errors.

use std::borrow::Cow;

use sd_core::Error;
use serde::Serialize;

use crate::{names::SHAPES, protocol::Protocol};

/// The body of an error.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    shape: Cow<'a, str>,
    /// The member `Message` of the service model.
    message: &'a str,
    /// The message again, as `message`, in CBOR only: clients read this name from errors that their model lacks (Smithy
    /// RPC v2 CBOR).
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    plain_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creator_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate_operation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_name: Option<&'a str>,
}

impl<'a> ErrorBody<'a> {
    /// A body with a code and a message, as every error has them.
    pub(crate) fn new(protocol: Protocol, code: &'a str, message: &'a str) -> Self {
        match protocol {
            Protocol::Json => Self { shape: code.into(), message, ..Self::default() },
            // "This value of this component MUST contain the error's absolute shape-id" (Smithy RPC v2 CBOR).
            Protocol::Cbor => Self {
                shape: format!("{SHAPES}#{code}").into(),
                message,
                plain_message: Some(message),
                ..Self::default()
            },
        }
    }

    /// The body of an error of the API.
    pub(crate) fn of(protocol: Protocol, error: &'a Error, message: &'a str) -> Self {
        let body = Self::new(protocol, error.code().as_str(), message);
        match error {
            Error::NamespaceAlreadyExists { namespace_id, creator_request_id } => Self {
                namespace_id: Some(namespace_id.as_str()),
                creator_request_id: creator_request_id.as_ref().map(AsRef::as_ref),
                ..body
            },
            Error::ServiceAlreadyExists { service_id, service_arn, creator_request_id } => Self {
                service_id: Some(service_id.as_str()),
                service_arn: Some(service_arn.as_str()),
                creator_request_id: creator_request_id.as_ref().map(AsRef::as_ref),
                ..body
            },
            Error::DuplicateRequest { duplicate_operation_id, .. } => {
                Self { duplicate_operation_id: Some(duplicate_operation_id.as_str()), ..body }
            }
            Error::TooManyTags { resource_name, .. } => Self { resource_name: Some(resource_name), ..body },
            _ => body,
        }
    }
}
