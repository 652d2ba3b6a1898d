//! Collects what a handle depends on.

use std::sync::Arc;

use super::{CloudMap, Inner};
use crate::{
    cloud_map::throttle::Throttle,
    settings::{
        clock::{Clock, SystemClock},
        id_source::{IdSource, RandomIds},
        mode::Mode,
        quotas::Quotas,
        random::{RandomSource, ThreadRandom},
        timing::Timing,
    },
    store::registry::Registry,
    testing::{fault::Faults, journal::Journal},
};

/// Collects what a [`CloudMap`] depends on.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct CloudMapBuilder {
    inner: Inner,
}

impl CloudMapBuilder {
    pub(super) fn new(registry: Arc<dyn Registry>) -> Self {
        let inner = Inner {
            registry,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            random: Arc::new(ThreadRandom),
            mode: Mode::default(),
            timing: Timing::default(),
            quotas: Quotas::default(),
            throttle: Throttle::default(),
            faults: Faults::default(),
            journal: Journal::keeping(0),
        };
        Self { inner }
    }

    /// Where the time comes from; by default the system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.inner.clock = Arc::new(clock);
        self
    }

    /// Where identifiers come from; by default they are random.
    pub fn ids(mut self, ids: impl IdSource) -> Self {
        self.inner.ids = Arc::new(ids);
        self
    }

    /// Where random choices come from; by default a generator that the operating system seeds.
    pub fn random(mut self, random: impl RandomSource) -> Self {
        self.inner.random = Arc::new(random);
        self
    }

    /// What happens to requests that AWS refuses; by default [`Mode::Lenient`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.inner.mode = mode;
        self
    }

    /// How long operations and reports of health take; by default [`Timing::instant`].
    pub fn timing(mut self, timing: Timing) -> Self {
        self.inner.timing = timing;
        self
    }

    /// How much an account may have and how often it may ask; by default [`Quotas::none`].
    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.inner.quotas = quotas;
        self
    }

    /// How many calls the journal keeps, the newest; by default none.
    pub fn journal(mut self, calls: usize) -> Self {
        self.inner.journal = Journal::keeping(calls);
        self
    }

    /// The handle.
    #[must_use]
    pub fn build(self) -> CloudMap {
        CloudMap { inner: Arc::new(self.inner) }
    }
}
