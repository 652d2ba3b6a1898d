//! Time as a dependency. No other file of this crate reads the system's clock.

use std::{
    fmt,
    future::poll_fn,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    model::Timestamp,
    waiting::{Place, Waiting},
};

/// Where the time comes from.
///
/// # For implementers
/// - Every call of a handle asks for the time, on its caller's thread and while the library holds no lock.
///   [`keep_time`](crate::CloudMap::keep_time) asks as well, on its task.
/// - [`now`](Self::now) returns at once. It does not block, does not panic, and calls neither the handle nor its registry.
/// - Time may stand still, jump and go back. What has taken effect stays in effect, and revisions go on growing. Until the
///   clock reaches the moments of what is under way, nothing more takes effect, and what is created is dated before what was
///   there.
/// - Handles on one registry, and replicas of one store, should have clocks that agree: each brings the state to its own time.
///
/// ```
/// use sd_core::{Clock, Timestamp};
///
/// /// A clock that stands at the epoch.
/// #[derive(Debug)]
/// struct Stopped;
///
/// impl Clock for Stopped {
///     fn now(&self) -> Timestamp {
///         Timestamp::from_millis(0)
///     }
/// }
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that moves only when [`advance`](Self::advance) is called, for tests without waiting.
#[derive(Debug)]
pub struct ManualClock {
    millis: AtomicU64,
    waiting: Waiting,
}

impl ManualClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn at(moment: Timestamp) -> Self {
        Self { millis: AtomicU64::new(moment.as_millis()), waiting: Waiting::default() }
    }

    /// Moves the clock forward, in whole milliseconds and at most to the last representable time, and wakes the tasks that
    /// wait for it.
    pub fn advance(&self, duration: Duration) {
        let later = |millis| Some(Timestamp::from_millis(millis).after(duration).as_millis());
        let _ = self.millis.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
        self.waiting.wake();
    }

    /// Waits until the clock shows this time or a later one. Dropping the future loses nothing.
    pub async fn reached(&self, moment: Timestamp) {
        let mut place = Place::among(&self.waiting);
        poll_fn(|context| {
            place.wait(context.waker());
            // Read the clock after registering, so that no advance is missed.
            if self.now() >= moment { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Default for ManualClock {
    /// Shows 1 600 000 000 s since the Unix epoch: 2020-09-13T12:26:40Z.
    fn default() -> Self {
        Self::at(Timestamp::from_millis(1_600_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::SeqCst))
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Timestamp {
        C::now(self)
    }
}
