//! What the ECS depends on: its program and its time.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use sd_core::ecs::Drain;
use tokio::time::Instant;

/// Settings of the emulator.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The program of the emulator, which also supervises the commands of tasks.
    pub program: PathBuf,
    /// How long a second of ECS takes, in intervals, timeouts and pauses. The default is a second.
    pub second: Duration,
    /// A directory of programs that stand for images: `registry/web:latest` is `web`. By default there are no images.
    pub images: Option<PathBuf>,
    /// How long a task goes on after it left discovery.
    pub drain: Drain,
    /// How many tasks there may be at once: each has an address, from 127.42.0.1 on. The default is 65,534.
    pub addresses: u16,
}

impl Settings {
    /// Settings with this program.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            second: Duration::from_secs(1),
            images: None,
            drain: Drain::None,
            addresses: 0xfffe,
        }
    }

    /// Sets how long a second of ECS takes.
    #[must_use]
    pub fn with_second(self, second: Duration) -> Self {
        Self { second, ..self }
    }
}

/// The time, as tokio has it, so that a test can stop it.
#[derive(Debug)]
pub(super) struct Clock {
    started: (Instant, SystemTime),
    second: Duration,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
    pub(super) fn new(second: Duration) -> Self {
        Self { started: (Instant::now(), SystemTime::now()), second }
    }

    /// The time as the API shows it, in seconds since 1970.
    pub(super) fn now(&self) -> f64 {
        let (instant, time) = self.started;
        let time = time + instant.elapsed();
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |time| time.as_millis() as f64 / 1000.0)
    }

    /// How long so many seconds of ECS are.
    pub(super) fn seconds(&self, seconds: u32) -> Duration {
        self.second.saturating_mul(seconds)
    }
}
