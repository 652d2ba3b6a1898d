//! Who is told of each change of a task: discovery and target groups, which direct traffic to tasks.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use super::{model::Task, settings::Clock};

/// How long a listener may take, in seconds.
const LIMIT: u32 = 5;

/// Directs traffic to tasks. It hears of each change of a task in order, but not in the order of other tasks' changes.
#[async_trait]
pub(super) trait Listener: Debug + Send + Sync {
    /// A task is like this. It is told again while the answer is that the task has to wait.
    async fn changed(&self, task: &Task) -> Answer;

    /// All tasks are like this, and the newest change is this one. It repairs what went wrong before.
    async fn all(&self, moment: u64, tasks: &[Task]);
}

/// Whether a task may leave ACTIVATING or DEACTIVATING.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    GoOn,
    /// It waits in ACTIVATING. In DEACTIVATING it goes on, because a task that is to stop must not run forever; the next
    /// listing repairs what is left.
    Refused(String),
    /// It waits for this time.
    Wait(Duration),
}

#[derive(Debug)]
pub(super) struct Listeners {
    listeners: Vec<Arc<dyn Listener>>,
    limit: Duration,
}

impl Listeners {
    pub(super) fn new(listeners: Vec<Arc<dyn Listener>>, clock: &Clock) -> Self {
        Self { listeners, limit: clock.seconds(LIMIT).max(Duration::from_secs(LIMIT.into())) }
    }

    /// Tells all listeners, at the same time. A task may go on if all say so.
    pub(super) async fn changed(&self, task: &Task) -> Answer {
        let tell = |listener: &Arc<dyn Listener>| {
            let (listener, task, limit) = (Arc::clone(listener), task.clone(), self.limit);
            // A task of its own, so that a listener that panics does not disturb the others.
            tokio::spawn(async move { timeout(limit, listener.changed(&task)).await })
        };
        let told: Vec<_> = self.listeners.iter().map(tell).collect();
        let mut all = Answer::GoOn;
        for answer in told {
            let answer = match answer.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Answer::Refused("no answer".to_owned()),
                Err(_) => Answer::Refused("a listener panicked".to_owned()),
            };
            all = all.max(answer);
        }
        all
    }

    /// Tells all listeners of all tasks.
    pub(super) async fn all(&self, moment: u64, tasks: &Arc<[Task]>) {
        let tell = |listener: &Arc<dyn Listener>| {
            let (listener, tasks, limit) = (Arc::clone(listener), Arc::clone(tasks), self.limit);
            tokio::spawn(async move { timeout(limit, listener.all(moment, &tasks)).await })
        };
        let told: Vec<_> = self.listeners.iter().map(tell).collect();
        for told in told {
            let _ = told.await;
        }
    }
}

#[cfg(test)]
mod tests;
