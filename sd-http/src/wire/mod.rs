//! The shapes of the API on the wire: names and types. The rules are in the core.

pub(crate) mod error;
mod instances;
pub(crate) mod request;
pub(crate) mod response;
