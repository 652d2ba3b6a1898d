//! For doors only: what `sd-dns` and `sd-http` need beside the handles. It may change in any release.
//!
//! An embedder needs none of it. Of the handles, [`hold_back`](crate::ScopedCloudMap::hold_back),
//! [`discover_instances_with`](crate::ScopedCloudMap::discover_instances_with) and
//! [`Instance::wire_fragment`](crate::model::Instance::wire_fragment) are for doors too.

mod latency;

pub use latency::Latency;

pub use crate::{
    choice::Permutation,
    dns::records::{Pool, Selection, is_routable, precedence, select},
};
