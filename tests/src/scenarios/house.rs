//! A registry of its own for a case and a door, in which nothing is left to chance.

use std::sync::Arc;

use sd_backend_memory::MemoryRegistry;
use sd_core::{ManualClock, Mode, SyncCloudMap, ids::SequentialIds, random::SeededRandom};

use super::Case;

/// An engine over memory, with a clock that stands still, identifiers that count up and seeded choices: whatever door is
/// taken, the answers are the same.
#[derive(Debug)]
#[non_exhaustive]
pub struct House {
    /// The handle that every door is made from.
    pub cloud_map: SyncCloudMap,
    /// Its clock.
    pub clock: Arc<ManualClock>,
}

impl House {
    /// An empty one with the settings of the case.
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
