//! Between the engine and a backend: the trait, the cell of the published state, the finished operations.

pub(crate) mod cell;
pub(crate) mod operation_log;
mod publish;
pub mod registry;
mod restored;
pub(crate) mod subscription;
