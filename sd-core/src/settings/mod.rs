//! The settings of a handle: clock, random source, id source, mode, timing and quotas.

pub mod clock;
pub(crate) mod id_source;
pub mod mode;
pub mod quotas;
pub mod random;
pub(crate) mod timing;
