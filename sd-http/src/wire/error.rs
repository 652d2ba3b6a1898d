//! Errors: the code, a sentence, and the members that some errors have.

use sd_core::Error;
use serde::Serialize;

/// The body of an error. The text stands under both names that clients look for.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    message: &'a str,
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
    /// A body with the two members that every error has.
    pub(crate) fn new(code: &'a str, message: &'a str) -> Self {
        Self { code, message, ..Self::default() }
    }

    /// The body of an error of the API.
    pub(crate) fn of(error: &'a Error, message: &'a str) -> Self {
        let body = Self::new(error.code().as_str(), message);
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
