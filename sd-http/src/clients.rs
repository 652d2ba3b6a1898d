//! How to configure the SDK of each language.
//!
#![doc = include_str!("../docs/clients.md")]
