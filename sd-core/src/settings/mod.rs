//! The settings of a handle: clock, random source, id source, mode, timing and quotas.
//!
//! A test chooses them so that every run is the same, and nothing waits:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{
//!     ManualClock, Mode, Quotas, Scope, SequentialIds, SyncCloudMap, Timing,
//!     model::OperationStatus,
//!     request::{CreateHttpNamespaceRequest, GetOperationRequest},
//!     settings::SeededRandom,
//! };
//!
//! let clock = Arc::new(ManualClock::default());
//! let cloud_map = SyncCloudMap::builder(MemoryRegistry::new())
//!     .clock(Arc::clone(&clock))
//!     .ids(SequentialIds::default())
//!     .random(SeededRandom::new(1))
//!     .mode(Mode::Strict)
//!     .timing(Timing::aws())
//!     .quotas(Quotas::aws())
//!     .build_sync()
//!     .at(Scope::default());
//!
//! let app = cloud_map.create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
//! let operation = GetOperationRequest::new(app.operation_id);
//! assert_eq!(cloud_map.get_operation(&operation)?.status, OperationStatus::Submitted);
//! clock.advance(Duration::from_secs(3));
//! assert_eq!(cloud_map.get_operation(&operation)?.status, OperationStatus::Success);
//! # Ok::<(), sd_core::Error>(())
//! ```

pub(crate) mod clock;
pub(crate) mod id_source;
pub(crate) mod mode;
pub(crate) mod quotas;
pub(crate) mod random;
pub(crate) mod timing;

pub use clock::{Clock, ManualClock, SystemClock};
pub use id_source::{IdSource, RandomIds, SequentialIds};
pub use mode::{DIFFERENCES, Difference, Leniency, Mode};
pub use quotas::{Quota, Quotas, RATES, RESOURCES, Rate, ResourceQuota};
pub use random::{RandomSource, SeededRandom, ThreadRandom};
pub use timing::Timing;
