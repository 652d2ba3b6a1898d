//! What DNS answers, and why.

pub mod explanation;
pub mod records;
