//! Whether the process is ready, for probes of load balancers and orchestrators.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

/// Whether a process is ready for requests: the switch behind `GET /_sd/ready`.
///
/// Clones share the switch. It starts as *starting*. Liveness is separate: `GET /_sd/health` answers 200 as
/// long as the admin port is served.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Readiness {
    /// A switch that is on *starting*.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reports *ready* from now on: every server is bound. Does nothing once [`draining`](Self::draining) was
    /// called.
    pub fn ready(&self) {
        let _ = self.0.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Reports *draining* from now on, for good. Call it before the servers drain, and drain the admin port
    /// last, so that probes see it.
    pub fn draining(&self) {
        self.0.store(DRAINING, Ordering::Release);
    }

    /// Whether the process is ready.
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
