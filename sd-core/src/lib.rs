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
//! | `stored` | serde's traits for the records of [`stored`] |
//!
//! # Where to look
//! | you want to | look at |
//! |---|---|
//! | call the API | [`CloudMap`], [`SyncCloudMap`]; [`request`], [`response`], [`error`] |
//! | fill a registry for a test | [`blueprint`], [`Faults`], [`Journal`], [`ManualClock`] |
//! | read what exists | [`model`], [`state`] |
//! | control time, chance and limits | [`settings`] |
//! | know what DNS answers, and why | [`dns`] |
//! | check the health of instances | [`health_check`] |
//! | write a backend | [`store`], [`stored`], `conformance` |

#![forbid(unsafe_code)]

pub mod model;
pub mod settings;
pub mod state;
pub mod stored;

mod api;
pub mod dns;
pub mod health_check;
pub mod store;

mod ops;

mod cloud_map;
mod testing;

pub mod blueprint;

#[cfg(feature = "conformance")]
pub mod conformance;

pub mod door;

mod choice;
mod waiting;

pub use api::{
    call::{Request, Response},
    error::{self, Error, ErrorCode},
    request, response,
};
pub use blueprint::Blueprint;
pub use cloud_map::{
    CloudMap, CloudMapBuilder, DesiredInstance, RefusedInstance, ScopedCloudMap, SyncCloudMap,
    SyncScopedCloudMap, SyncedInstance, SyncedInstances,
};
pub use model::{Scope, Timestamp, action::Action};
pub use settings::{Clock, ManualClock, Mode, Quotas, RandomIds, SequentialIds, SystemClock, Timing};
pub use state::{Change, ChangeSet, State};
pub use store::{
    Attached, CommitError, Immediate, Observer, OperationLog, Registry, StateCell, StateRef, StateWriter,
    Subscription,
};
pub use testing::{
    fault::{Fault, Faults},
    journal::{Call, Journal},
};
