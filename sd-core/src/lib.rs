//! AWS Cloud Map as a library.
//!
//! The whole of Cloud Map's behaviour is here, and nothing else is: no sockets, no runtime, no clock and no random numbers
//! of its own. A [`Registry`] (a backend) stores what was decided; [`CloudMap`] decides it; doors (HTTP, DNS, Python)
//! translate to and from it.
//!
//! ```
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{
//!     Scope, SyncCloudMap,
//!     model::RecordType,
//!     request::{
//!         CreatePrivateDnsNamespaceRequest, CreateServiceRequest, DiscoverInstancesRequest, DnsConfigInput,
//!         RegisterInstanceRequest,
//!     },
//! };
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new()).at(Scope::default());
//! let app = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
//! let app = cloud_map.create_private_dns_namespace(app)?;
//! let web = CreateServiceRequest::new("web")
//!     .with_namespace_id(app.namespace_id)
//!     .with_dns_config(DnsConfigInput::new([(RecordType::A, 60)]));
//! let web = cloud_map.create_service(web)?;
//! let instance = RegisterInstanceRequest::new(&web.id, "web-1").with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1");
//! cloud_map.register_instance(instance)?;
//!
//! let found = cloud_map.discover_instances(DiscoverInstancesRequest::new("app.local", "web"))?;
//! assert_eq!(found.instances[0].id.as_str(), "web-1");
//! # Ok::<(), sd_core::Error>(())
//! ```
//!
//! A [`blueprint`] makes a namespace, a service and its instances in one go, for tests.
//!
//! # Three ideas
//! - **A state is a value.** [`State`] is the whole registry at one moment, immutable and shared; every answer comes from
//!   one of them, so an answer never mixes two moments.
//! - **A request is planned, then committed.** A planner is a pure function from a state and a request to a
//!   [`ChangeSet`] with the facts that it relies on. A backend stores it if they still hold.
//! - **What is written is seen.** A commit publishes before it returns, and the observers, such as the table that DNS
//!   answers come from, are told inside it.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `conformance` | the module `conformance`: the rules for backends, as tests |
//!
//! # Where each rule is
//! The modules under `ops` hold what each operation means, [`records`] what DNS answers, [`health`] how health changes,
//! [`mode`] where more is accepted than AWS accepts, [`quotas`] how much AWS lets an account have, [`constraint`] and
//! [`error`] how refusals are worded.

#![forbid(unsafe_code)]

pub mod model;

mod settings;

mod api;

pub mod state;
mod store;
pub mod stored;

mod dns;
mod ops;

mod cloud_map;
mod testing;

pub mod blueprint;

mod choice;
mod waiting;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use api::{
    call::{Request, Response},
    error::{self, Error, ErrorCode},
    request, response,
};
pub use blueprint::Blueprint;
pub use choice::Permutation;
pub use cloud_map::{
    CloudMap, CloudMapBuilder, DesiredInstance, RefusedInstance, ScopedCloudMap, SyncCloudMap,
    SyncScopedCloudMap, SyncedInstance, SyncedInstances,
};
pub use dns::{explanation, records};
pub use model::{
    Scope, Timestamp,
    action::{self, Action},
    constraint, health, ids, name,
};
pub use settings::{
    clock::{self, Clock, ManualClock, SystemClock},
    id_source::{IdSource, RandomIds, SequentialIds},
    mode::{self, Mode},
    quotas::{self, Quotas},
    random,
    timing::Timing,
};
pub use state::{
    State,
    change::{self, Change, ChangeSet},
};
pub use store::{
    cell::{Attached, Observer, StateCell, StateRef, StateWriter},
    operation_log::OperationLog,
    registry::{self, CommitError, Immediate, Registry},
    subscription::Subscription,
};
pub use testing::{
    fault::{Fault, Faults},
    journal::{Call, Journal},
};
