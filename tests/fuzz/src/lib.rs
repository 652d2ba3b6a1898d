//! The code under test of the fuzzers, and its checks. `sd-fuzz` mutates a corpus by a seed; the targets in `libfuzzer` follow
//! coverage.

mod contents;
mod dns;
mod target;

pub use target::{LONGEST_MESSAGE, Target, Work};
