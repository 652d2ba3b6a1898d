//! Listeners to changes of tasks: discovery and target groups, which direct traffic to tasks.

use std::{fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::timeout;

use super::{model::Task, settings::Clock};

/// How long a listener may take, in seconds.
const LIMIT: u32 = 5;

/// Directs traffic to tasks. It gets the states of a task in their order, and may miss one that another has followed at once.
/// Those of several tasks come in any order.
#[async_trait]
pub(super) trait Listener: Debug + Send + Sync {
    /// The current state of a task, which is repeated while the answer is that the task has to wait.
    async fn changed(&self, task: &Task) -> Answer;

    /// The current states of all tasks, and the moment of the newest change. It repairs what went wrong before.
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

    /// Reports a task to all listeners, at the same time. It may go on if all say so.
    pub(super) async fn changed(&self, task: &Task) -> Answer {
        let report = |listener: &Arc<dyn Listener>| {
            let (listener, task, limit) = (Arc::clone(listener), task.clone(), self.limit);
            // A task of its own, so that a listener that panics does not disturb the others.
            tokio::spawn(async move { timeout(limit, listener.changed(&task)).await })
        };
        let answers: Vec<_> = self.listeners.iter().map(report).collect();
        let mut all = Answer::GoOn;
        for answer in answers {
            let answer = match answer.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Answer::Refused("no answer".to_owned()),
                Err(_) => Answer::Refused("a listener panicked".to_owned()),
            };
            all = all.max(answer);
        }
        all
    }

    /// Reports all tasks to all listeners.
    pub(super) async fn all(&self, moment: u64, tasks: &Arc<[Task]>) {
        let report = |listener: &Arc<dyn Listener>| {
            let (listener, tasks, limit) = (Arc::clone(listener), Arc::clone(tasks), self.limit);
            tokio::spawn(async move { timeout(limit, listener.all(moment, &tasks)).await })
        };
        let reports: Vec<_> = self.listeners.iter().map(report).collect();
        for reported in reports {
            let _ = reported.await;
        }
    }
}

#[cfg(test)]
mod tests;
