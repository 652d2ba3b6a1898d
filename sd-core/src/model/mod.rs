//! The data model: namespaces, services, instances, operations, and the values in them.
//!
//! A value that exists is valid. What a request says as text is parsed once:
//!
//! ```
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{Blueprint, Scope, SyncCloudMap, request::DiscoverInstancesRequest};
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
//! Blueprint::new()
//!     .http_namespace("app")
//!     .http_service("web")
//!     .instance("web-1", [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("AWS_INSTANCE_PORT", "8080"), ("zone", "a")])
//!     .apply_sync(&cloud_map)?;
//!
//! let found = cloud_map.discover_instances(DiscoverInstancesRequest::new("app", "web"))?;
//! let web = &found.instances[0];
//! assert_eq!(web.attributes.get("zone"), Some("a"));
//! assert_eq!(web.endpoint.ipv4, Some([10, 0, 0, 1].into()));
//! assert_eq!(web.endpoint.port.map(u16::from), Some(8080));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
