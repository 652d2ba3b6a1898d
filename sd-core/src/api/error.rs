//! The errors of the API and their texts.
//!
//! ```
//! # use sd_backend_memory::MemoryRegistry;
//! # use sd_core::{Scope, SyncCloudMap};
//! use sd_core::{Error, ErrorCode, request::CreateHttpNamespaceRequest};
//!
//! # let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
//! # cloud_map.create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
//! match cloud_map.create_http_namespace(CreateHttpNamespaceRequest::new("app")) {
//!     Err(Error::NamespaceAlreadyExists { namespace_id, .. }) => println!("{namespace_id} has the name"),
//!     # Ok(_) => panic!(),
//!     other => drop(other?),
//! }
//!
//! // Everything that is wrong with a request is in one error.
//! let error = cloud_map.create_http_namespace(CreateHttpNamespaceRequest::default()).unwrap_err();
//! assert_eq!(error.code(), ErrorCode::InvalidInput);
//! assert!(!error.is_retryable());
//! # Ok::<(), Error>(())
//! ```

use std::{borrow::Cow, error::Error as StdError, fmt, time::Duration};

pub use crate::model::constraint::{Constraint, Text, Violation, Violations};
use crate::{
    model::{Arn, CreatorRequestId, NamespaceId, OperationId, ServiceId, action::Action},
    settings::quotas::{Quota, Rate},
};

/// Why a request failed.
///
/// One variant for each error of the API model, then what the model leaves to the service as a whole.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A member breaks a rule. Nothing was changed; send another request.
    #[error("{0}")]
    InvalidInput(InvalidInput),
    /// The namespace's name is taken.
    #[error("Namespace {namespace_id} already exists.")]
    NamespaceAlreadyExists {
        /// The namespace that has the name.
        namespace_id: NamespaceId,
        /// The token that it was created with.
        creator_request_id: Option<CreatorRequestId>,
    },
    /// The service's name is taken.
    #[error("Service already exists.")]
    ServiceAlreadyExists {
        /// The service that has the name.
        service_id: ServiceId,
        /// Its ARN.
        service_arn: Arn,
        /// The token that it was created with.
        creator_request_id: Option<CreatorRequestId>,
    },
    /// Another operation on the same target is in progress.
    #[error("Another operation of type {action} and id {duplicate_operation_id} is in progress")]
    DuplicateRequest {
        /// The request that started the other operation.
        action: Action,
        /// The other operation.
        duplicate_operation_id: OperationId,
    },
    /// No such namespace in this account and Region.
    #[error("Namespace not found")]
    NamespaceNotFound(String),
    /// No such service in this account and Region.
    #[error("Service not found")]
    ServiceNotFound(String),
    /// No such instance in the service.
    #[error("Instance not found")]
    InstanceNotFound {
        /// The id that the request gave.
        instance_id: String,
        /// The service, as the request named it.
        service_id: String,
    },
    /// The service has no custom health check, so there is nothing to report to.
    #[error("Service has no custom health check")]
    CustomHealthNotFound(ServiceId),
    /// No such operation in this account and Region.
    #[error("Operation not found")]
    OperationNotFound(String),
    /// No namespace or service of this account and Region has this ARN.
    #[error("Resource not found")]
    ResourceNotFound(String),
    /// The resource still holds others.
    #[error("{0}")]
    ResourceInUse(InUse),
    /// The account has as many as its quota. Delete some, or choose other [`Quotas`](crate::Quotas).
    #[error("the quota of {most} {quota} is reached")]
    ResourceLimitExceeded {
        /// What is limited.
        quota: Quota,
        /// To how many.
        most: usize,
    },
    /// The account asks for an operation more often than its quota. The request can be sent again, later.
    #[error("too many requests for {}: after {} at once there can be one every {:?}", .0.action, .0.burst, .0.interval)]
    RequestLimitExceeded(&'static Rate),
    /// There are too many requests for an operation whose rate AWS does not publish. The request can be sent again, later.
    #[error("Rate exceeded")]
    Throttling(Action),
    /// The service may not have as many attributes as that.
    #[error("a service has at most 30 attributes, and service {service_id} would have {count}")]
    ServiceAttributesLimitExceeded {
        /// The service.
        service_id: ServiceId,
        /// How many attributes it would have.
        count: usize,
    },
    /// The resource may not have as many tags as that.
    #[error("a resource has at most 50 tags, and {resource_name} would have {count}")]
    TooManyTags {
        /// The resource: its ARN, or of one that is being created, its name.
        resource_name: String,
        /// How many tags it would have.
        count: usize,
    },
    /// The backend cannot be reached now. The request can be sent again.
    #[error("the registry's backend is unavailable")]
    Unavailable {
        /// When to try again.
        retry_after: Option<Duration>,
        /// What the backend says.
        #[source]
        source: Option<SharedError>,
    },
    /// Other writers changed the same resource again and again. The request can be sent again.
    #[error("the resource changes too fast for this request, try again")]
    Contention,
    /// The backend will not store what was decided.
    #[error("the registry's backend refuses to store {key}: {reason}")]
    Rejected {
        /// What it refuses.
        key: String,
        /// Why.
        reason: String,
    },
    /// A promise between the parts of this library is broken.
    #[error("internal fault: {0}")]
    Internal(&'static str),
}

/// A cause that can be told to several callers.
pub type SharedError = std::sync::Arc<dyn StdError + Send + Sync>;

impl Error {
    /// The code, for callers that match on it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidInput(_) => ErrorCode::InvalidInput,
            Self::NamespaceAlreadyExists { .. } => ErrorCode::NamespaceAlreadyExists,
            Self::ServiceAlreadyExists { .. } => ErrorCode::ServiceAlreadyExists,
            Self::DuplicateRequest { .. } => ErrorCode::DuplicateRequest,
            Self::NamespaceNotFound(_) => ErrorCode::NamespaceNotFound,
            Self::ServiceNotFound(_) => ErrorCode::ServiceNotFound,
            Self::InstanceNotFound { .. } => ErrorCode::InstanceNotFound,
            Self::CustomHealthNotFound(_) => ErrorCode::CustomHealthNotFound,
            Self::OperationNotFound(_) => ErrorCode::OperationNotFound,
            Self::ResourceNotFound(_) => ErrorCode::ResourceNotFoundException,
            Self::ResourceInUse(_) => ErrorCode::ResourceInUse,
            Self::ResourceLimitExceeded { .. } => ErrorCode::ResourceLimitExceeded,
            Self::RequestLimitExceeded(_) => ErrorCode::RequestLimitExceeded,
            Self::Throttling(_) => ErrorCode::ThrottlingException,
            Self::ServiceAttributesLimitExceeded { .. } => ErrorCode::ServiceAttributesLimitExceededException,
            Self::TooManyTags { .. } => ErrorCode::TooManyTagsException,
            Self::Unavailable { .. } | Self::Contention => ErrorCode::ServiceUnavailable,
            Self::Rejected { .. } | Self::Internal(_) => ErrorCode::InternalFailure,
        }
    }

    /// Whether the same request can succeed if it is sent again unchanged.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::Contention
                | Self::DuplicateRequest { .. }
                | Self::RequestLimitExceeded(_)
                | Self::Throttling(_)
        )
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident,)*) => {
        /// The code of an error, in the API's spelling.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $code,)*
        }

        impl ErrorCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The API's spelling.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => stringify!($code),)*
                }
            }
        }
    };
}

codes! {
    /// A member breaks a rule.
    InvalidInput,
    /// The namespace's name is taken.
    NamespaceAlreadyExists,
    /// The service's name is taken.
    ServiceAlreadyExists,
    /// Another operation on the same target is in progress.
    DuplicateRequest,
    /// No such namespace.
    NamespaceNotFound,
    /// No such service.
    ServiceNotFound,
    /// No such instance.
    InstanceNotFound,
    /// The service has no custom health check.
    CustomHealthNotFound,
    /// No such operation.
    OperationNotFound,
    /// No resource of this ARN.
    ResourceNotFoundException,
    /// The resource still holds others.
    ResourceInUse,
    /// Too many of a resource.
    ResourceLimitExceeded,
    /// Too many requests.
    RequestLimitExceeded,
    /// Too many requests, of an operation whose model has no error of its own for that.
    ThrottlingException,
    /// Too many attributes of a service.
    ServiceAttributesLimitExceededException,
    /// Too many tags.
    TooManyTagsException,
    /// The service cannot answer now.
    ServiceUnavailable,
    /// The service is at fault.
    InternalFailure,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a request's members.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidInput {
    /// Members outside the lengths, ranges, patterns and enumerations of the service model.
    Constraints(Violations),
    /// A rule of Cloud Map that the model cannot express.
    Rule {
        /// The path of the member that breaks it, in lower camel case.
        member: &'static str,
        /// The rule, as a sentence.
        rule: Cow<'static, str>,
    },
}

impl fmt::Display for InvalidInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constraints(violations) => violations.fmt(f),
            Self::Rule { rule, .. } => f.write_str(rule),
        }
    }
}

impl From<InvalidInput> for Error {
    fn from(reason: InvalidInput) -> Self {
        Self::InvalidInput(reason)
    }
}

/// A rule between members is broken.
pub(crate) fn rule(member: &'static str, rule: impl Into<Cow<'static, str>>) -> Error {
    InvalidInput::Rule { member, rule: rule.into() }.into()
}

/// Why a resource cannot be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InUse {
    /// The namespace has services.
    NamespaceHasServices,
    /// The service has instances.
    ServiceHasInstances,
}

impl fmt::Display for InUse {
    /// The service's own sentences, as clients report them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NamespaceHasServices => {
                "Namespace has associated services; delete the services before deleting the namespace"
            }
            Self::ServiceHasInstances => {
                "Service contains registered instances; delete the instances before deleting the service"
            }
        })
    }
}
