//! Between the engine and a backend: the trait, the cell of the published state, the finished operations.

pub(crate) mod cell;
pub(crate) mod operation_log;
mod publish;
pub(crate) mod registry;
mod restored;
pub(crate) mod subscription;

pub use cell::{Attached, Observer, StateCell, StateRef, StateWriter};
pub use operation_log::OperationLog;
pub use publish::Checked;
pub use registry::{CommitError, Immediate, Lookup, Registry};
pub use subscription::Subscription;
