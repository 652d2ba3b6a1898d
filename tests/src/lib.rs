//! Tests that need several crates: the doors against each other, and that the documents are true.

#![forbid(unsafe_code)]

pub mod largest;
pub mod model;
pub mod scenarios;

/// The examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
