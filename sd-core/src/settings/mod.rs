//! What a handle depends on: time, chance, identifiers, and how much is accepted and allowed.

pub mod clock;
pub(crate) mod id_source;
pub mod mode;
pub mod quotas;
pub mod random;
pub(crate) mod timing;
