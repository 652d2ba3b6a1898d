//! Requests and responses of any operation, for callers that learn the operation at run time.

use std::sync::Arc;

use super::{
    request::*,
    response::{
        DiscoveredInstances, DiscoveredRevision, InstanceDescription, InstanceHealth, InstancePage,
        NamespaceDescription, OperationStarted, OperationSummary, Page, ServiceAttributesDescription,
        ServiceDescription,
    },
};
use crate::model::{Operation, Tags, action::Action};

macro_rules! calls {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        /// A request of any operation of the API, for [`call`](crate::ScopedCloudMap::call).
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are the API's own")]
        #[allow(clippy::exhaustive_enums, reason = "the operations of the API")]
        pub enum Request {
            $($write($wq),)*
            $($read($rq),)*
        }

        impl Request {
            /// The operation.
            #[must_use]
            pub fn action(&self) -> Action {
                match self {
                    $(Self::$write(_) => Action::$write,)*
                    $(Self::$read(_) => Action::$read,)*
                }
            }
        }

        $(impl From<$wq> for Request {
            fn from(request: $wq) -> Self {
                Self::$write(request)
            }
        })*
        $(impl From<$rq> for Request {
            fn from(request: $rq) -> Self {
                Self::$read(request)
            }
        })*

        /// The response to a [`Request`], from [`call`](crate::ScopedCloudMap::call).
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are the API's own")]
        #[allow(clippy::exhaustive_enums, reason = "the operations of the API")]
        pub enum Response {
            $($write($wr),)*
            $($read($rr),)*
        }

        impl Response {
            /// The operation.
            #[must_use]
            pub fn action(&self) -> Action {
                match self {
                    $(Self::$write(_) => Action::$write,)*
                    $(Self::$read(_) => Action::$read,)*
                }
            }
        }
    };
}

crate::for_each_action!(calls);
