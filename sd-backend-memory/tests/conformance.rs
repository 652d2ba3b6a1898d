//! The rules that every backend keeps, for a registry in memory and for a shared one.

mod common;

use std::sync::Arc;

use common::block_on;
use sd_backend_memory::MemoryRegistry;
use sd_core::{Immediate, Registry, conformance::Subject};

async fn fresh() -> Subject {
    let registry = Arc::new(MemoryRegistry::new());
    let original = Arc::clone(&registry);
    Subject::immediate(registry).forked_by(move || Arc::new(MemoryRegistry::fork(original.cell())))
}

sd_core::conformance_tests! { fresh: fresh, block_on: block_on, immediate, fork }

/// An `Arc` of a registry is a registry.
mod shared {
    use super::*;

    sd_core::conformance_tests! {
        fresh: || async {
            let registry: Arc<dyn Immediate> = Arc::new(MemoryRegistry::new());
            Subject::immediate(Arc::new(registry))
        },
        block_on: block_on,
        immediate,
    }
}

/// As one whose type is not known.
mod unknown {
    use super::*;

    sd_core::conformance_tests! {
        fresh: || async {
            let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
            Subject::new(Arc::new(registry))
        },
        block_on: block_on,
    }
}
