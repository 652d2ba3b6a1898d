use std::fmt;

use crate::model::{InstanceId, NamespaceId, OperationId, Scope, ServiceId, Timestamp};

/// An operation of the API: the record of a request that is answered before it is done, to be polled by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// The account and Region.
    pub scope: Scope,
    /// The id.
    pub id: OperationId,
    /// The type.
    pub kind: OperationType,
    /// The status.
    pub status: OperationStatus,
    /// Why it failed; `None` unless the status is `FAIL`.
    pub error: Option<Box<OperationError>>,
    /// The resource that it changes.
    pub targets: OperationTargets,
    /// The namespace of that resource, or the namespace itself.
    pub namespace: NamespaceId,
    /// When it was submitted.
    pub created: Timestamp,
    /// When its status changed last.
    pub updated: Timestamp,
}

/// The type of an operation.
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
    /// All types.
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

/// The status of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the API's enumeration")]
pub enum OperationStatus {
    /// Accepted.
    Submitted,
    /// Under way.
    Pending,
    /// Done: its effect can be seen.
    Success,
    /// Failed without effect; [`Operation::error`] says why.
    Fail,
}

impl OperationStatus {
    /// All statuses.
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
    /// The message, for people.
    pub message: String,
}

impl OperationError {
    /// Boxed, because few operations have one.
    pub(crate) fn new(code: OperationErrorCode, message: String) -> Box<Self> {
        Box::new(Self { code, message })
    }
}

/// The error codes of failed operations (API Reference, Operation). The engine itself gives `CannotCreateHostedZone`,
/// `InvalidChangeBatch` and `InternalFailure`; the others are for [faults](crate::Fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationErrorCode {
    /// The caller lacks permission.
    AccessDenied,
    /// The zone of a namespace cannot be created.
    CannotCreateHostedZone,
    /// The caller's credentials expired during the operation.
    ExpiredToken,
    /// The zone of the namespace was deleted.
    HostedZoneNotFound,
    /// An error in the service.
    InternalFailure,
    /// Route 53 refuses the records.
    InvalidChangeBatch,
    /// Route 53 throttles the requests.
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

/// The resource that an operation changes.
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
    /// The service that it changes, or whose instance.
    pub(crate) fn service(&self) -> Option<&ServiceId> {
        match self {
            Self::Namespace(_) => None,
            Self::Service(service) | Self::Instance(service, _) => Some(service),
        }
    }

    /// The entries of the API's `Targets` map: type and id.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let (first, second) = match self {
            Self::Namespace(id) => (("NAMESPACE", id.as_str()), None),
            Self::Service(id) => (("SERVICE", id.as_str()), None),
            Self::Instance(service, id) => (("INSTANCE", id.as_str()), Some(("SERVICE", service.as_str()))),
        };
        std::iter::once(first).chain(second)
    }
}
