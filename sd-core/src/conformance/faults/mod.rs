//! Stores that fail: a crash after a write, a write without an answer, a write or an answer that is late.

mod requests;
mod sets;
mod trials;

pub(super) use requests::*;
pub(super) use sets::*;
