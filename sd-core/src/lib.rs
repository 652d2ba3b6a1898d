//! AWS Cloud Map as a library: its operations, its rules, and the DNS records that they lead to.
//!
//! [`CloudMap`] and [`SyncCloudMap`] have the thirty operations of the API. A [`Registry`] stores what they decide; it is
//! the backend, such as `sd-backend-memory`. Doors translate a protocol into the operations: `sd-http` the AWS protocols,
//! `sd-dns` DNS. This crate has no sockets and no runtime. Clock and random numbers are [`settings`].
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
//! In a test, a [`blueprint`] makes a namespace, a service and its instances in one statement.
//!
//! # Three ideas
//! - **A state is a value.** [`State`] is the whole registry at one moment, immutable and shared. Every answer comes from
//!   one state, so it never mixes two moments.
//! - **A request is planned, then committed.** A planner is a pure function from a state and a request to a
//!   [`ChangeSet`]: changes and their preconditions. The backend stores the set if the preconditions still hold.
//! - **A write is visible when it returns.** A commit publishes the new state and calls the observers before it returns.
//!   The table that DNS answers come from is an observer.
//!
//! # Features
//! | feature | adds |
//! |---|---|
//! | `conformance` | the module `conformance`: the rules for backends as tests |
//! | `stored` | serde's traits for the records of [`stored`] |
//!
//! # Where to look
//! | to | see |
//! |---|---|
//! | call the API | [`CloudMap`], [`SyncCloudMap`]; [`request`], [`response`], [`error`] |
//! | test a program | [`blueprint`], [`Faults`], [`Journal`], [`ManualClock`] |
//! | read what exists, follow changes | [`model`], [`state`]; [`Subscription`], [`Observer`] |
//! | control time, randomness and limits | [`settings`] |
//! | learn what DNS answers, and why | [`dns`] |
//! | check the health of instances | [`health_check`] |
//! | emulate ECS | [`ecs`] |
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
pub mod ecs;

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
