//! The code under test of the fuzzer, and its checks. The binary `sd-fuzz` mutates a corpus by a seed.

mod contents;
mod dns;
mod target;

pub use target::{LONGEST_MESSAGE, Target, Work};
