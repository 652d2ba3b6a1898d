//! The conformance suite for the memory registry, by itself and behind trait objects.

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

sd_core::conformance_tests! { fresh: fresh, block_on: block_on, no_faults, no_restart, immediate, fork }

/// `Arc<dyn Immediate>` is a registry too.
mod shared {
    use super::*;

    sd_core::conformance_tests! {
        fresh: || async {
            let registry: Arc<dyn Immediate> = Arc::new(MemoryRegistry::new());
            Subject::immediate(Arc::new(registry))
        },
        block_on: block_on,
        no_faults,
        no_restart,
        immediate,
    }
}

/// So is `Arc<dyn Registry>`.
mod unknown {
    use super::*;

    sd_core::conformance_tests! {
        fresh: || async {
            let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
            Subject::new(Arc::new(registry))
        },
        block_on: block_on,
        no_faults,
        no_restart,
    }
}
