//! A container: a local process, and its health check.

use std::sync::Arc;

use sd_core::model::HealthStatus;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    Ecs,
    model::Task,
    process::Process,
    settings::{Clock, Settings},
    task_definitions::{ContainerDefinition, HealthCheck},
};

/// How long a container has between SIGTERM and SIGKILL unless its definition says otherwise, in seconds.
const STOP_TIMEOUT: u32 = 30;

/// What happens to a container.
#[derive(Debug)]
pub(super) enum Report {
    Started,
    Health(HealthStatus),
    Exited(i32),
    /// It cannot be started.
    Failed(String),
}

/// Tells a task what happens to one of its containers.
#[derive(Debug)]
pub(super) struct Reporter {
    pub(super) place: usize,
    pub(super) to: mpsc::Sender<(usize, Report)>,
}

impl Reporter {
    async fn say(&self, report: Report) {
        // The task ends after its containers.
        let _ = self.to.send((self.place, report)).await;
    }
}

/// Runs a container until it exits, or until it is stopped.
pub(super) async fn run(ecs: Arc<Ecs>, task: Task, reporter: Reporter, mut stop: watch::Receiver<bool>) {
    let (settings, clock) = (&ecs.settings, &ecs.clock);
    let Some(definition) = task.definition.containers.get(reporter.place) else { return };
    let environment = environment(definition, &task);
    let started = match definition.argv(settings) {
        Ok(argv) => Process::start(settings, &argv, &environment).await,
        Err(reason) => Err(reason),
    };
    let mut process = match started {
        Ok(process) => process,
        Err(reason) => return reporter.say(Report::Failed(reason)).await,
    };
    reporter.say(Report::Started).await;
    let check = async {
        if let Some(check) = &definition.health_check {
            let command = check.argv(&task.address.to_string());
            check_health(check, command, settings, clock, &environment, &reporter).await;
        }
        std::future::pending::<()>().await;
    };
    let exited = tokio::select! {
        code = process.ended() => Some(code),
        _ = stop.wait_for(|stop| *stop) => None,
        () = check => None,
    };
    let code = match exited {
        Some(code) => code,
        None => end(process, clock, definition.stop_timeout.unwrap_or(STOP_TIMEOUT)).await,
    };
    reporter.say(Report::Exited(code)).await;
}

/// The environment of the process: as defined, its address, and the host name of the task, in the form of an Elastic Network
/// Interface's.
fn environment(definition: &ContainerDefinition, task: &Task) -> Vec<(String, String)> {
    let defined = definition.environment.iter();
    let defined = defined.map(|variable| (variable.name.clone(), variable.value.clone()));
    let address = task.address.to_string();
    let host_name = format!("ip-{}.{}.compute.internal", address.replace('.', "-"), task.scope.region());
    defined.chain([("ECS_TASK_ADDRESS".to_owned(), address), ("HOSTNAME".to_owned(), host_name)]).collect()
}

async fn end(mut process: Process, clock: &Clock, stop_timeout: u32) -> i32 {
    process.terminate().await;
    match timeout(clock.seconds(stop_timeout), process.ended()).await {
        Ok(code) => code,
        Err(_) => {
            process.kill();
            process.ended().await
        }
    }
}

/// Checks the health of a container as long as it runs, and reports changes.
async fn check_health(
    check: &HealthCheck,
    command: Option<Vec<String>>,
    settings: &Settings,
    clock: &Clock,
    environment: &[(String, String)],
    reporter: &Reporter,
) {
    let Some(command) = command else { return };
    let start_period = Instant::now() + clock.seconds(check.start_period.unwrap_or(0));
    let (mut known, mut failures, mut has_succeeded) = (HealthStatus::Unknown, 0, false);
    loop {
        sleep(clock.seconds(check.interval)).await;
        let is_starting = !has_succeeded && Instant::now() < start_period;
        let succeeded = succeeds(check, &command, settings, clock, environment).await;
        if succeeded {
            (failures, has_succeeded) = (0, true);
        } else if !is_starting {
            failures += 1;
        }
        let health = match (succeeded, failures >= check.retries) {
            (true, _) => HealthStatus::Healthy,
            (false, true) => HealthStatus::Unhealthy,
            (false, false) => known,
        };
        if health != known {
            known = health;
            reporter.say(Report::Health(health)).await;
        }
    }
}

/// Runs the command once. At the timeout, it is killed with all that it forked.
async fn succeeds(
    check: &HealthCheck,
    command: &[String],
    settings: &Settings,
    clock: &Clock,
    environment: &[(String, String)],
) -> bool {
    let Ok(mut process) = Process::start(settings, command, environment).await else { return false };
    if let Ok(code) = timeout(clock.seconds(check.timeout), process.ended()).await {
        return code == 0;
    }
    process.kill();
    process.ended().await;
    false
}
