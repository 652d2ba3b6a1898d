//! The random choice among records.

use std::sync::atomic::{AtomicU64, Ordering};

use sd_core::settings::{RandomSource, ThreadRandom};

/// The random number generator of one worker (SplitMix64). The choice among records must be cheap and uniform, but need not
/// be secret. Threads that share it may get the same number.
#[derive(Debug)]
pub(crate) struct WorkerRandom(AtomicU64);

impl WorkerRandom {
    /// A generator that the system seeds.
    pub(crate) fn seeded() -> Self {
        Self(AtomicU64::new(ThreadRandom.next_u64()))
    }
}

impl RandomSource for WorkerRandom {
    #[inline]
    fn next_u64(&self) -> u64 {
        let state = self.0.load(Ordering::Relaxed).wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.store(state, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
