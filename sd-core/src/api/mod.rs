//! The words of the API: its requests, responses and errors.

pub(crate) mod call;
pub mod error;
pub(crate) mod modelled;
pub mod request;
pub mod response;
