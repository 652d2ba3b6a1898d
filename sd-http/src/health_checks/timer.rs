//! Time as the prober needs it.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use sd_core::{Clock, ManualClock, Timestamp};
use tokio::time::Instant;

/// The time by which a prober schedules probes, ends those that take too long, and measures their phases.
///
/// By default it is tokio's. With a [`ManualClock`] a test decides when time passes: a probe is due, or has
/// waited too long, when the test advances the clock.
pub trait Timer: fmt::Debug + Send + Sync + 'static {
    /// The time since a fixed moment. It never goes back.
    fn now(&self) -> Duration;

    /// Waits until [`now`](Self::now) is this time or later.
    fn sleep_until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<T: Timer + ?Sized> Timer for Arc<T> {
    fn now(&self) -> Duration {
        T::now(self)
    }

    fn sleep_until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        T::sleep_until(self, moment)
    }
}

/// In whole milliseconds.
impl Timer for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(Clock::now(self).as_millis())
    }

    fn sleep_until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let millis = u64::try_from(moment.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Box::pin(self.reached(Timestamp::from_millis(millis)))
    }
}

/// Tokio's time, since the timer was made.
#[derive(Debug)]
pub(super) struct TokioTimer(Instant);

impl TokioTimer {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Timer for TokioTimer {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep_until(&self, moment: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep_until(self.0 + moment))
    }
}
