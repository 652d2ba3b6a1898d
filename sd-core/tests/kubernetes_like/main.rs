//! A backend as hard as Kubernetes, in a test: the conformance suite over it, races, and seeded runs with faults, crashes
//! and watches that lag. How it keeps its promises stands at the top of `replica.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the parts of a test may fail loudly")]

mod commit;
mod conformance;
mod half_way;
mod history;
mod look;
mod mirror;
mod objects;
mod pairs;
mod parents;
mod plan;
mod races;
mod regressions;
mod replica;
mod reset;
mod store;
mod stress;
mod witness;
mod world;
