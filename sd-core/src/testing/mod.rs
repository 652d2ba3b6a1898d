//! What tests need: faults to inject, and the journal of calls.

pub(crate) mod fault;
pub(crate) mod journal;
