//! The errors that the service model lists for each operation.

use super::error::ErrorCode;
use crate::model::action::Action;

/// Passes the codes of the errors of an operation to a macro. `tests/shapes` compares them with botocore's model.
macro_rules! with_errors_of {
    ($callback:ident, CreateHttpNamespace) => {
        $callback!(
            DuplicateRequest,
            InvalidInput,
            NamespaceAlreadyExists,
            ResourceLimitExceeded,
            TooManyTagsException
        )
    };
    ($callback:ident, CreatePrivateDnsNamespace) => {
        $callback!(
            DuplicateRequest,
            InvalidInput,
            NamespaceAlreadyExists,
            ResourceLimitExceeded,
            TooManyTagsException
        )
    };
    ($callback:ident, CreatePublicDnsNamespace) => {
        $callback!(
            DuplicateRequest,
            InvalidInput,
            NamespaceAlreadyExists,
            ResourceLimitExceeded,
            TooManyTagsException
        )
    };
    ($callback:ident, CreateService) => {
        $callback!(
            InvalidInput,
            NamespaceNotFound,
            ResourceLimitExceeded,
            ServiceAlreadyExists,
            TooManyTagsException
        )
    };
    ($callback:ident, DeleteNamespace) => {
        $callback!(DuplicateRequest, InvalidInput, NamespaceNotFound, ResourceInUse)
    };
    ($callback:ident, DeleteService) => {
        $callback!(InvalidInput, ResourceInUse, ServiceNotFound)
    };
    ($callback:ident, DeleteServiceAttributes) => {
        $callback!(InvalidInput, ServiceNotFound)
    };
    ($callback:ident, DeregisterInstance) => {
        $callback!(DuplicateRequest, InstanceNotFound, InvalidInput, ResourceInUse, ServiceNotFound)
    };
    ($callback:ident, DiscoverInstances) => {
        $callback!(InvalidInput, NamespaceNotFound, RequestLimitExceeded, ServiceNotFound)
    };
    ($callback:ident, DiscoverInstancesRevision) => {
        $callback!(InvalidInput, NamespaceNotFound, RequestLimitExceeded, ServiceNotFound)
    };
    ($callback:ident, GetInstance) => {
        $callback!(InstanceNotFound, InvalidInput, ServiceNotFound)
    };
    ($callback:ident, GetInstancesHealthStatus) => {
        $callback!(InstanceNotFound, InvalidInput, ServiceNotFound)
    };
    ($callback:ident, GetNamespace) => {
        $callback!(InvalidInput, NamespaceNotFound)
    };
    ($callback:ident, GetOperation) => {
        $callback!(InvalidInput, OperationNotFound)
    };
    ($callback:ident, GetService) => {
        $callback!(InvalidInput, ServiceNotFound)
    };
    ($callback:ident, GetServiceAttributes) => {
        $callback!(InvalidInput, ServiceNotFound)
    };
    ($callback:ident, ListInstances) => {
        $callback!(InvalidInput, ServiceNotFound)
    };
    ($callback:ident, ListNamespaces) => {
        $callback!(InvalidInput)
    };
    ($callback:ident, ListOperations) => {
        $callback!(InvalidInput)
    };
    ($callback:ident, ListServices) => {
        $callback!(InvalidInput)
    };
    ($callback:ident, ListTagsForResource) => {
        $callback!(InvalidInput, ResourceNotFoundException)
    };
    ($callback:ident, RegisterInstance) => {
        $callback!(DuplicateRequest, InvalidInput, ResourceInUse, ResourceLimitExceeded, ServiceNotFound)
    };
    ($callback:ident, TagResource) => {
        $callback!(InvalidInput, ResourceNotFoundException, TooManyTagsException)
    };
    ($callback:ident, UntagResource) => {
        $callback!(InvalidInput, ResourceNotFoundException)
    };
    ($callback:ident, UpdateHttpNamespace) => {
        $callback!(DuplicateRequest, InvalidInput, NamespaceNotFound, ResourceInUse)
    };
    ($callback:ident, UpdateInstanceCustomHealthStatus) => {
        $callback!(CustomHealthNotFound, InstanceNotFound, InvalidInput, ServiceNotFound)
    };
    ($callback:ident, UpdatePrivateDnsNamespace) => {
        $callback!(DuplicateRequest, InvalidInput, NamespaceNotFound, ResourceInUse)
    };
    ($callback:ident, UpdatePublicDnsNamespace) => {
        $callback!(DuplicateRequest, InvalidInput, NamespaceNotFound, ResourceInUse)
    };
    ($callback:ident, UpdateService) => {
        $callback!(DuplicateRequest, InvalidInput, ServiceNotFound)
    };
    ($callback:ident, UpdateServiceAttributes) => {
        $callback!(InvalidInput, ServiceAttributesLimitExceededException, ServiceNotFound)
    };
}
pub(crate) use with_errors_of;

/// A list of errors for the documentation of an operation.
macro_rules! error_list {
    ($($code:ident),*) => {
        concat!($("- [`Error::", $crate::api::modelled::variant!($code), "`]\n"),*)
    };
}
pub(crate) use error_list;

/// The variant of `Error` that has a code.
macro_rules! variant {
    (ResourceNotFoundException) => {
        "ResourceNotFound"
    };
    (ServiceAttributesLimitExceededException) => {
        "ServiceAttributesLimitExceeded"
    };
    (TooManyTagsException) => {
        "TooManyTags"
    };
    ($code:ident) => {
        stringify!($code)
    };
}
pub(crate) use variant;

macro_rules! codes {
    ($($code:ident),*) => { &[$(ErrorCode::$code),*] };
}

macro_rules! declare {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        impl Action {
            /// The codes of the errors that the service model lists for the operation, in alphabetical order. Besides these
            /// any operation may end in `ServiceUnavailable`, `InternalFailure` or `ThrottlingException`.
            #[must_use]
            pub fn errors(self) -> &'static [ErrorCode] {
                match self {
                    $(Self::$write => with_errors_of!(codes, $write),)*
                    $(Self::$read => with_errors_of!(codes, $read),)*
                }
            }
        }
    };
}

crate::for_each_action!(declare);
