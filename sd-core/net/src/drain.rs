//! The signal to drain.

use tokio::{sync::watch, time::Instant};

/// Tells listeners and connections to drain. Dropping it tells them to end at once.
#[derive(Debug)]
pub struct Drain(watch::Sender<Option<Instant>>);

/// Receives the signal of a [`Drain`]. Clones receive it as well.
#[derive(Clone, Debug)]
pub struct Draining(watch::Receiver<Option<Instant>>);

impl Drain {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Tells all receivers to finish by `deadline`. A later call changes the deadline of receivers that have not read the signal.
    pub fn begin(&self, deadline: Instant) {
        self.0.send_replace(Some(deadline));
    }

    /// A receiver of the signal.
    #[must_use]
    pub fn signal(&self) -> Draining {
        Draining(self.0.subscribe())
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Draining {
    /// Waits for the signal and returns the deadline: now, if the [`Drain`] was dropped. Cancel safe.
    pub async fn begun(&mut self) -> Instant {
        let deadline = self.0.wait_for(Option::is_some).await;
        deadline.ok().and_then(|deadline| *deadline).unwrap_or_else(Instant::now)
    }
}
