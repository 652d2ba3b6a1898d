//! The persistent collections of the state. Only this file names their crate, and no public signature has their types.

pub(super) use imbl::{OrdMap, OrdSet};
