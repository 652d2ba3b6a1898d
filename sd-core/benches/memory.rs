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

/// With their operations, 100,000 of which are kept.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn instances_100_000(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(100_000usize)).bench(|| Filled::with(100_000));
}

#[divan::bench]
fn fresh_cloud_map() -> SyncCloudMap {
    SyncCloudMap::new(MemoryRegistry::new())
}
