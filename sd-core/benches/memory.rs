//! The memory of the engine, with the name table of the DNS door attached: `cargo bench -p sd-core --bench memory`.
//!
//! The bytes in use are those of "alloc" and "grow" less those of "dealloc".

#![allow(clippy::unwrap_used, reason = "a bench may fail loudly")]
#![allow(missing_docs, reason = "the names of the benches say what they measure")]

mod filled;

use divan::{AllocProfiler, Bencher, counter::ItemsCount};
use filled::Filled;
use sd_backend_memory::MemoryRegistry;
use sd_core::SyncCloudMap;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// `operations` is the capacity of the log of finished operations; the default is 100,000.
#[divan::bench(args = [1, 100_000], sample_count = 1, sample_size = 1)]
fn instances_100_000(bencher: Bencher<'_, '_>, operations: usize) {
    let filled = || Filled::in_registry(MemoryRegistry::keeping(operations), 100_000);
    bencher.counter(ItemsCount::new(100_000usize)).bench(filled);
}

#[divan::bench]
fn fresh_cloud_map() -> SyncCloudMap {
    SyncCloudMap::new(MemoryRegistry::new())
}
