//! The words of the API: its requests, responses and errors.

pub mod error;
pub mod request;
pub mod response;
