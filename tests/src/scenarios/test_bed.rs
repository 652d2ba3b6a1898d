//! A deterministic engine for one case and one door.

use std::sync::Arc;

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    ManualClock, Mode, SyncCloudMap,
    settings::{SeededRandom, SequentialIds},
};

use super::Case;

/// An engine in memory with a manual clock, sequential ids and seeded random choices, so that every door gives the same
/// answers.
#[derive(Debug)]
#[non_exhaustive]
pub struct TestBed {
    /// The handle behind every door.
    pub cloud_map: SyncCloudMap,
    /// The clock of the handle.
    pub clock: Arc<ManualClock>,
}

impl TestBed {
    /// An empty registry with the settings of the case.
    #[must_use]
    pub fn new(case: &Case, mode: Mode) -> Self {
        let clock = Arc::new(ManualClock::default());
        let cloud_map = SyncCloudMap::builder(MemoryRegistry::new())
            .clock(Arc::clone(&clock))
            .ids(SequentialIds::default())
            .random(SeededRandom::new(1))
            .mode(mode)
            .timing(case.timing())
            .quotas(case.quotas())
            .build_sync();
        Self { cloud_map, clock }
    }
}
