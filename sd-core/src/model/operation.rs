use std::fmt;

use crate::model::{InstanceId, NamespaceId, OperationId, Scope, ServiceId, Timestamp};

/// The record of a request that the API answers before it is done, to be polled by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Where it happened.
    pub scope: Scope,
    /// Its id.
    pub id: OperationId,
    /// What was asked for.
    pub kind: OperationType,
    /// How far it is.
    pub status: OperationStatus,
    /// Why it failed; only with `FAIL`.
    pub error: Option<Box<OperationError>>,
    /// What it changes.
    pub targets: OperationTargets,
    /// The namespace that this is in, or is.
    pub namespace: NamespaceId,
    /// When it was submitted.
    pub created: Timestamp,
    /// When its status changed last.
    pub updated: Timestamp,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum OperationType {
    /// `CREATE_NAMESPACE`
    CreateNamespace,
    /// `DELETE_NAMESPACE`
    DeleteNamespace,
    /// `UPDATE_NAMESPACE`
    UpdateNamespace,
    /// `UPDATE_SERVICE`
    UpdateService,
    /// `REGISTER_INSTANCE`
    RegisterInstance,
    /// `DEREGISTER_INSTANCE`
    DeregisterInstance,
}

impl OperationType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CreateNamespace,
        Self::DeleteNamespace,
        Self::UpdateNamespace,
        Self::UpdateService,
        Self::RegisterInstance,
        Self::DeregisterInstance,
    ];

    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateNamespace => "CREATE_NAMESPACE",
            Self::DeleteNamespace => "DELETE_NAMESPACE",
            Self::UpdateNamespace => "UPDATE_NAMESPACE",
            Self::UpdateService => "UPDATE_SERVICE",
            Self::RegisterInstance => "REGISTER_INSTANCE",
            Self::DeregisterInstance => "DEREGISTER_INSTANCE",
        }
    }
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum OperationStatus {
    /// Accepted.
    Submitted,
    /// Under way.
    Pending,
    /// Done.
    Success,
    /// Given up; [`Operation::error`] says why.
    Fail,
}

impl OperationStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Submitted, Self::Pending, Self::Success, Self::Fail];

    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::Pending => "PENDING",
            Self::Success => "SUCCESS",
            Self::Fail => "FAIL",
        }
    }
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationError {
    /// The code.
    pub code: OperationErrorCode,
    /// A sentence for people.
    pub message: String,
}

impl OperationError {
    /// Boxed, since hardly any operation has one.
    pub(crate) fn new(code: OperationErrorCode, message: String) -> Box<Self> {
        Box::new(Self { code, message })
    }
}

/// The codes of failed operations (API Reference, Operation). The engine itself knows one reason to fail; the others come
/// of a [`Fault`](crate::Fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationErrorCode {
    /// The caller may not do it.
    AccessDenied,
    /// The zone of a namespace cannot be made.
    CannotCreateHostedZone,
    /// The caller's credentials ran out meanwhile.
    ExpiredToken,
    /// The zone of the namespace is gone.
    HostedZoneNotFound,
    /// The service is at fault.
    InternalFailure,
    /// Route 53 does not take the records.
    InvalidChangeBatch,
    /// Route 53 is asked too often.
    ThrottledRequest,
}

impl OperationErrorCode {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AccessDenied,
        Self::CannotCreateHostedZone,
        Self::ExpiredToken,
        Self::HostedZoneNotFound,
        Self::InternalFailure,
        Self::InvalidChangeBatch,
        Self::ThrottledRequest,
    ];

    /// The API's spelling.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "ACCESS_DENIED",
            Self::CannotCreateHostedZone => "CANNOT_CREATE_HOSTED_ZONE",
            Self::ExpiredToken => "EXPIRED_TOKEN",
            Self::HostedZoneNotFound => "HOSTED_ZONE_NOT_FOUND",
            Self::InternalFailure => "INTERNAL_FAILURE",
            Self::InvalidChangeBatch => "INVALID_CHANGE_BATCH",
            Self::ThrottledRequest => "THROTTLED_REQUEST",
        }
    }
}

impl fmt::Display for OperationErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an operation changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the API has operations on these three")]
pub enum OperationTargets {
    /// A namespace.
    Namespace(NamespaceId),
    /// A service.
    Service(ServiceId),
    /// An instance of a service.
    Instance(ServiceId, InstanceId),
}

impl OperationTargets {
    /// The service among them.
    pub(crate) fn service(&self) -> Option<&ServiceId> {
        match self {
            Self::Namespace(_) => None,
            Self::Service(service) | Self::Instance(service, _) => Some(service),
        }
    }

    /// The pairs of the API's `Targets` map.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let (first, second) = match self {
            Self::Namespace(id) => (("NAMESPACE", id.as_str()), None),
            Self::Service(id) => (("SERVICE", id.as_str()), None),
            Self::Instance(service, id) => (("INSTANCE", id.as_str()), Some(("SERVICE", service.as_str()))),
        };
        std::iter::once(first).chain(second)
    }
}
