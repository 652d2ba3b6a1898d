//! Collects what a handle depends on.

use std::sync::{Arc, Mutex};

use super::{CloudMap, Inner, SyncCloudMap};
use crate::{
    cloud_map::throttle::Throttle,
    model::HealthStart,
    settings::{
        clock::{Clock, SystemClock},
        id_source::{IdSource, RandomIds},
        mode::Mode,
        quotas::Quotas,
        random::{RandomSource, ThreadRandom},
        timing::Timing,
    },
    store::registry::{Immediate, Registry},
    testing::{fault::Faults, journal::Journal},
};

/// Collects what a [`CloudMap`] or [`SyncCloudMap`] depends on.
///
/// ```
/// # use sd_backend_memory::MemoryRegistry;
/// use std::sync::Arc;
///
/// use sd_core::{CloudMap, ManualClock, Mode, settings::SeededRandom};
///
/// let clock = Arc::new(ManualClock::default());
/// let cloud_map = CloudMap::builder(MemoryRegistry::new())
///     .clock(Arc::clone(&clock))
///     .random(SeededRandom::new(1))
///     .mode(Mode::Strict)
///     .build_sync();
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct CloudMapBuilder<R> {
    registry: R,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    random: Arc<dyn RandomSource>,
    mode: Mode,
    timing: Timing,
    quotas: Quotas,
    health_start: HealthStart,
    journal: usize,
}

impl<R: Registry> CloudMapBuilder<R> {
    pub(super) fn new(registry: R) -> Self {
        Self {
            registry,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            random: Arc::new(ThreadRandom),
            mode: Mode::default(),
            timing: Timing::default(),
            quotas: Quotas::default(),
            health_start: HealthStart::default(),
            journal: 0,
        }
    }

    /// Where the time comes from; by default [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where identifiers come from; by default [`RandomIds`].
    pub fn ids(mut self, ids: impl IdSource) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// Where random choices come from; by default [`ThreadRandom`].
    pub fn random(mut self, random: impl RandomSource) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// How to treat requests that AWS refuses; by default [`Mode::Lenient`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How long operations and reports of health take; by default [`Timing::instant`].
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// How much an account may have and how often it may ask; by default [`Quotas::none`].
    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.quotas = quotas;
        self
    }

    /// The status of instances with a Route 53 health check until its first result; by default [`HealthStart::Healthy`]. It
    /// takes effect when an instance is registered or its service gets a health check. Instances that are not checked, such
    /// as aliases, are HEALTHY.
    pub fn health_start(mut self, start: HealthStart) -> Self {
        self.health_start = start;
        self
    }

    /// How many calls the journal keeps, the newest; by default none.
    pub fn journal(mut self, calls: usize) -> Self {
        self.journal = calls;
        self
    }

    /// The handle.
    #[must_use]
    pub fn build(self) -> CloudMap {
        let Self { registry, clock, ids, random, mode, timing, quotas, health_start, journal } = self;
        let inner = Inner {
            registry: Arc::new(registry),
            clock,
            ids,
            random,
            mode,
            timing,
            quotas,
            health_start,
            health_reasons: Mutex::default(),
            throttle: Throttle::default(),
            faults: Faults::default(),
            journal: Journal::keeping(journal),
        };
        CloudMap { inner: Arc::new(inner) }
    }

    /// The handle without asynchrony.
    #[must_use]
    pub fn build_sync(self) -> SyncCloudMap
    where
        R: Immediate,
    {
        SyncCloudMap { cloud_map: self.build() }
    }
}
