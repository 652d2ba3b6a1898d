//! What exists: namespaces, services, instances, operations, tags. Immutable values without behaviour beyond construction.

mod attributes;
mod derived;
mod instance;
mod namespace;
mod operation;
mod pairs;
mod service;

pub use attributes::Attributes;
pub(crate) use attributes::Signature;
pub use instance::{Endpoint, Instance};
pub use namespace::{HostedZone, Namespace, NamespaceKind, NamespaceType};
pub use operation::{
    Operation, OperationError, OperationErrorCode, OperationStatus, OperationTargets, OperationType,
};
pub use pairs::{ServiceAttributes, Tags};
pub use service::{DnsConfig, DnsRecord, RecordType, RoutingPolicy, Service, ServiceKind};
