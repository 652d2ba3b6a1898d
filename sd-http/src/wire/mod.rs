//! The shapes of the API as they are on the wire. They carry names and types; the rules are the core's.

pub(crate) mod error;
mod instances;
pub(crate) mod request;
pub(crate) mod response;
