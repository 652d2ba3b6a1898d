//! A task: its life from PROVISIONING to STOPPED. [`next`] says when it goes on.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    Ecs, container,
    container::Report,
    listeners::Answer,
    model::{Status, Stop, StopCode, Task},
    scheduler::event,
    tasks,
};

/// How many reports of containers wait for the driver.
const REPORTS: usize = 16;

struct Driver {
    ecs: Arc<Ecs>,
    arn: String,
    reports: mpsc::Receiver<(usize, Report)>,
    /// Given to containers when they start, and dropped then, so that `reports` ends with the last container.
    reporter: Option<mpsc::Sender<(usize, Report)>>,
    stop_containers: watch::Sender<bool>,
    /// The refusal that the service has an event about.
    refusal: Option<String>,
}

/// Runs a task until it is STOPPED.
pub(super) async fn run(ecs: Arc<Ecs>, task: Task) {
    let (reporter, reports) = mpsc::channel(REPORTS);
    let stop_containers = watch::Sender::new(false);
    let (arn, reporter) = (task.arn.clone(), Some(reporter));
    let mut driver = Driver { ecs, arn, reports, reporter, stop_containers, refusal: None };
    let wake = Arc::clone(&task.wake);
    loop {
        let Some(task) = driver.task() else { return };
        let answer = driver.ecs.listeners.changed(&task).await;
        driver.say_why(&task, &answer);
        if let Some(status) = next(&task, &answer) {
            driver.enter(&task, status);
            if status == Status::Stopped {
                driver.announce_end().await;
                return;
            }
            continue;
        }
        tokio::select! {
            Some((place, report)) = driver.reports.recv() => driver.note(&task, place, report),
            () = wake.notified() => {}
            () = pause(&answer, driver.ecs.clock.seconds(1)) => {}
        }
    }
}

/// The status that follows, if the task need not wait.
fn next(task: &Task, answer: &Answer) -> Option<Status> {
    let has_started = task.containers.iter().all(|container| container.status != Status::Pending);
    let has_ended = task.containers.iter().all(|container| container.status == Status::Stopped);
    let (is_to_stop, may_go_on) = (task.stop.is_some(), matches!(answer, Answer::GoOn));
    match task.status {
        Status::Provisioning if is_to_stop => Some(Status::Deprovisioning),
        Status::Provisioning => Some(Status::Pending),
        Status::Pending if is_to_stop => Some(Status::Stopping),
        Status::Pending if has_started => Some(Status::Activating),
        Status::Activating | Status::Running if is_to_stop => Some(Status::Deactivating),
        Status::Activating if may_go_on => Some(Status::Running),
        Status::Deactivating if !matches!(answer, Answer::Wait(_)) => Some(Status::Stopping),
        Status::Stopping if has_ended => Some(Status::Deprovisioning),
        Status::Deprovisioning => Some(Status::Stopped),
        _ => None,
    }
}

/// Until the listeners are asked again, if they have something to wait for.
async fn pause(answer: &Answer, second: Duration) {
    match answer {
        Answer::GoOn => std::future::pending().await,
        Answer::Refused(_) => sleep(second).await,
        Answer::Wait(time) => sleep((*time).min(second)).await,
    }
}

impl Driver {
    fn task(&self) -> Option<Task> {
        self.ecs.lock().tasks.get(&self.arn).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut Task)) {
        self.ecs.lock().change_task(&self.arn, change);
        self.ecs.changed.notify_one();
    }

    fn enter(&mut self, task: &Task, status: Status) {
        let now = self.ecs.clock.now();
        match status {
            Status::Pending => self.start_containers(task),
            Status::Stopping => drop(self.stop_containers.send(true)),
            _ => {}
        }
        self.change(|task| {
            task.status = status;
            match status {
                Status::Running => task.times.started_at = Some(now),
                Status::Deactivating => task.times.stopping_at = Some(now),
                Status::Deprovisioning => task.times.execution_stopped_at = Some(now),
                Status::Stopped => {
                    task.times.stopped_at = Some(now);
                    task.containers.iter_mut().for_each(|container| container.status = Status::Stopped);
                }
                _ => {}
            }
        });
    }

    /// Adds an event to the service when the task has to wait because of a refusal.
    fn say_why(&mut self, task: &Task, answer: &Answer) {
        let refusal = match answer {
            Answer::Refused(reason) => Some(reason.clone()),
            Answer::GoOn | Answer::Wait(_) => None,
        };
        if let Some(reason) = refusal.as_ref().filter(|_| self.refusal != refusal) {
            let mut state = self.ecs.lock();
            if let Some(service) = task.service_arn().and_then(|arn| state.services.get_mut(&arn)) {
                event(&self.ecs.clock, service, &format!("(task {}) was refused: {reason}", task.id));
            }
        }
        self.refusal = refusal;
    }

    fn start_containers(&mut self, task: &Task) {
        let Some(reporter) = self.reporter.take() else { return };
        for place in 0..task.containers.len() {
            let reporter = container::Reporter { place, to: reporter.clone() };
            let stop = self.stop_containers.subscribe();
            tokio::spawn(container::run(Arc::clone(&self.ecs), task.clone(), reporter, stop));
        }
    }

    /// Notes what a container says. A task ends with each of its essential containers.
    fn note(&self, task: &Task, place: usize, report: Report) {
        let Some(definition) = task.definition.containers.get(place) else { return };
        let stop = match &report {
            Report::Failed(reason) if definition.essential => Some(Stop {
                code: StopCode::TaskFailedToStart,
                reason: format!("CannotStartContainerError: {reason}"),
                is_failure: true,
            }),
            Report::Exited(_) if definition.essential => Some(Stop {
                code: StopCode::EssentialContainerExited,
                reason: "Essential container in task exited".to_owned(),
                is_failure: true,
            }),
            _ => None,
        };
        self.change(|task| {
            let Some(container) = task.containers.get_mut(place) else { return };
            match report {
                Report::Started => container.status = Status::Running,
                Report::Health(health) => container.health = health,
                Report::Exited(code) => {
                    container.status = Status::Stopped;
                    container.exit_code = Some(code);
                }
                Report::Failed(reason) => {
                    container.status = Status::Stopped;
                    container.reason = Some(format!("CannotStartContainerError: {reason}"));
                }
            }
        });
        if let Some(stop) = stop {
            tasks::stop(&mut self.ecs.lock(), &self.arn, stop);
            self.ecs.changed.notify_one();
        }
    }

    /// Tells the listeners that the task has ended. Nobody waits for their answer.
    async fn announce_end(&self) {
        if let Some(task) = self.task() {
            let _ = timeout(self.ecs.clock.seconds(5), self.ecs.listeners.changed(&task)).await;
        }
    }
}
