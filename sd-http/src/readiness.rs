//! The readiness of the process, for probes of load balancers and orchestrators.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// A switch that says whether the process is ready for requests, for `GET /_sd/ready`.
///
/// It goes from *starting* to *ready* to *draining*, and never back. Clones share it. Liveness is separate:
/// `GET /_sd/health` answers 200 while the admin port is served.
///
/// ```
/// let readiness = sd_http::Readiness::new();
/// assert!(!readiness.is_ready());
/// readiness.ready();
/// assert!(readiness.is_ready());
/// readiness.draining();
/// assert!(!readiness.is_ready());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// A switch at *starting*.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets *ready*: every server is bound. Does nothing after [`draining`](Self::draining).
    pub fn ready(&self) {
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Sets *draining*, for good. Call it before the servers drain, and drain the admin port last, so that probes
    /// see it.
    pub fn draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }

    /// Whether the switch is at *ready*.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }

    /// The state, as `GET /_sd/ready` reports it.
    pub(crate) fn status(&self) -> &'static str {
        match self.0.load(Ordering::Acquire) {
            STARTING => "starting",
            READY => "ready",
            _ => "draining",
        }
    }
}
