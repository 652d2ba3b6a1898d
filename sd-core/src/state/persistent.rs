//! The persistent collections that the state is made of. Their crate is named here only, and in no public signature.

pub(super) use imbl::{OrdMap, OrdSet};
