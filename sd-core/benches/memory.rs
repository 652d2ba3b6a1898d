//! What the engine keeps, with the name table of the DNS door attached: `cargo bench -p sd-core --bench memory`.
//!
//! Bytes kept are those of "alloc" and "grow" less those of "dealloc".

#![allow(clippy::unwrap_used, reason = "a bench ends at what it does not expect")]
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

/// With the log of so many finished operations; 100,000 is the default.
#[divan::bench(args = [1, 100_000], sample_count = 1, sample_size = 1)]
fn instances_100_000(bencher: Bencher<'_, '_>, operations: usize) {
    let filled = || Filled::in_registry(MemoryRegistry::keeping(operations), 100_000);
    bencher.counter(ItemsCount::new(100_000usize)).bench(filled);
}

#[divan::bench]
fn fresh_cloud_map() -> SyncCloudMap {
    SyncCloudMap::new(MemoryRegistry::new())
}
