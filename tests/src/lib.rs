//! Tests across crates: doors are compared with each other, documents with the code.

#![forbid(unsafe_code)]

pub mod largest;
pub mod model;
pub mod scenarios;

/// The examples of README.md.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
