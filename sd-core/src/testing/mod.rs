//! For tests: fault injection and the journal of calls.

pub(crate) mod fault;
pub(crate) mod journal;
