//! The data model: namespaces, services, instances, operations, and the values in them. Immutable, without behavior beyond
//! construction.

pub(crate) mod action;
mod attributes;
pub(crate) mod constraint;
mod derived;
pub(crate) mod endpoint;
mod fingerprint;
mod health;
pub(crate) mod ids;
mod instance;
pub(crate) mod name;
mod namespace;
pub(crate) mod newtype;
mod operation;
mod pairs;
mod revision;
mod service;
mod timestamp;
mod unique_key;

pub use attributes::Attributes;
pub(crate) use attributes::Signature;
pub use endpoint::Endpoint;
pub use fingerprint::Fingerprint;
pub use health::{
    CustomHealthStatus, Health, HealthCheck, HealthCheckConfig, HealthCheckType, HealthEvent, HealthStart,
    HealthStatus,
};
pub(crate) use ids::ResourceRef;
pub use ids::{
    AccountId, Arn, CreatorRequestId, HostedZoneId, Incarnation, InstanceId, NamespaceId, OperationId,
    Region, Scope, ServiceId, UpdaterRequestId, VpcId,
};
pub use instance::Instance;
pub use name::{DnsName, DnsNameError, NamespaceName, ServiceName};
pub use namespace::{HostedZone, Namespace, NamespaceKind, NamespaceType};
pub use operation::{
    Operation, OperationError, OperationErrorCode, OperationStatus, OperationTargets, OperationType,
};
pub use pairs::{ServiceAttributes, Tags};
pub(crate) use revision::Age;
pub use revision::{InstancesRevision, Revision};
pub(crate) use service::check_records;
pub use service::{DnsConfig, DnsRecord, RecordType, RoutingPolicy, Service, ServiceKind};
pub use timestamp::Timestamp;
pub use unique_key::{EntityKey, ParseUniqueKeyError, UniqueKey};
