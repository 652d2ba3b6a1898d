//! Services: [`reconcile`] compares what a service is to be with its tasks, and starts and stops tasks. It looks at nothing
//! else, so it may run at any time.

use std::{sync::Arc, time::Duration};

use sd_core::{Scope, model::HealthStatus};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::{
    Ecs,
    model::{Deployment, Event, Owner, Rollout, Service, ServiceStatus, Status, Stop, StopCode, Task},
    settings::Clock,
    state::State,
    tasks::{NewTask, stop},
};

const EVENTS: usize = 100;
/// The longest pause before the next start after tasks that failed, in seconds. AWS's is about as long.
const LONGEST_PAUSE: u32 = 900;
/// A service is steady after its tasks have run for so many seconds, so that one that exits at once does not complete a
/// deployment. AWS takes longer.
const STEADY: u32 = 5;
/// A task that ran for so many seconds before it failed causes no pause.
const LONG_LIFE: u32 = 60;

/// Reconciles services, whenever something has changed or a pause has ended.
pub(super) async fn run(ecs: Arc<Ecs>) {
    loop {
        let next = reconcile_all(&ecs);
        let pause = async {
            match next {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = ecs.changed.notified() => {}
            () = pause => {}
        }
    }
}

/// Reconciles the services that may not be as desired. Returns when to look again even if nothing changes.
fn reconcile_all(ecs: &Arc<Ecs>) -> Option<Instant> {
    let mut state = ecs.lock();
    let (now, mut arns) = (Instant::now(), std::mem::take(&mut state.touched));
    let due = state.services.iter().filter(|(_, service)| service.look_at.is_some_and(|time| time <= now));
    arns.extend(due.map(|(arn, _)| arn.clone()));
    for arn in arns {
        // Taken out, because reading the tasks and changing the service need the same state.
        let Some(mut service) = state.services.remove(&arn) else { continue };
        let is_living = service.status != ServiceStatus::Inactive;
        service.look_at = if is_living { reconcile(ecs, &mut state, &mut service) } else { None };
        let is_over = is_living && service.status == ServiceStatus::Inactive;
        state.services.insert(arn.clone(), service);
        if is_over {
            state.service_ended(&arn);
        }
    }
    state.services.values().filter_map(|service| service.look_at).min()
}

/// The tasks of a service that have not stopped.
struct Tasks {
    /// Those that are to run, of the newest deployment and of the others.
    new: Vec<Task>,
    old: Vec<Task>,
    /// Those that are to stop.
    stopping: Vec<Task>,
}

/// One service. Returns when to look again even if nothing changes.
fn reconcile(ecs: &Arc<Ecs>, state: &mut State, service: &mut Service) -> Option<Instant> {
    let scope = scope_of(&service.arn)?;
    let clock = &ecs.clock;
    count_failures(clock, state, service);
    stop_unhealthy(clock, state, service);
    if breaks(service) {
        give_up(clock, service);
    }

    let Tasks { mut new, mut old, stopping } = tasks(state, service);
    let (now, desired) = (Instant::now(), service.desired_count as usize);
    let percents = service.percents;
    let minimum = (desired * percents.minimum_healthy as usize).div_ceil(100);
    let maximum = desired * percents.maximum as usize / 100;

    // Stop what is too much: first what serves nobody yet, then as many as the minimum allows.
    let mut healthy = new.iter().chain(&old).filter(|task| task.is_healthy()).count();
    let mut surplus = Vec::new();
    new.sort_by_key(|task| (task.status, task.is_healthy(), task.moment));
    surplus.extend(new.drain(..new.len().saturating_sub(desired)));
    healthy -= surplus.iter().filter(|task| task.is_healthy()).count();
    let mut kept = Vec::new();
    for task in old.drain(..) {
        if !task.is_healthy() {
            surplus.push(task);
        } else if healthy > minimum {
            healthy -= 1;
            surplus.push(task);
        } else {
            kept.push(task);
        }
    }
    stop_surplus(clock, state, service, &surplus);

    // Start what is missing.
    let primary = service.primary();
    let room = maximum.saturating_sub(new.len() + kept.len());
    let missing = desired.saturating_sub(new.len()).min(room);
    let may_start = primary.rollout != Rollout::Failed;
    let pause = primary.next_start.filter(|time| *time > now);
    if missing > 0 && may_start && pause.is_none() {
        new.extend(start(ecs, state, &scope, service, missing));
    }

    let is_done = kept.is_empty() && surplus.is_empty() && stopping.is_empty();
    remove_ended(service, &kept, &surplus, &stopping);
    // Read once: a task has run long enough for both, or for neither. Otherwise nothing would look again.
    let time = clock.now();
    settle(clock, service, &new, is_done, time);
    let pause = pause.filter(|_| missing > 0);
    [pause, grace_ends(clock, service, &new), steady_at(clock, service, &new, time)]
        .into_iter()
        .flatten()
        .min()
}

fn tasks(state: &State, service: &Service) -> Tasks {
    let id = &service.primary().id;
    let living = state.tasks_of_service(&service.arn).filter(|task| task.status != Status::Stopped).cloned();
    let (running, stopping): (Vec<_>, _) = living.partition(|task| task.stop.is_none());
    let (new, old) = running.into_iter().partition(|task| task.is_of(id));
    Tasks { new, old, stopping }
}

/// The account and Region of an ARN.
fn scope_of(arn: &str) -> Option<Scope> {
    let mut parts = arn.split(':').skip(3);
    let (region, account) = (parts.next()?, parts.next()?);
    Scope::parse(account, region).ok()
}

/// Takes notice of tasks that are to stop because they failed: they delay the next start, and may end the deployment. ECS
/// counts tasks that do not reach RUNNING or are unhealthy. Here, tasks that exit during the deployment count as well.
fn count_failures(clock: &Clock, state: &mut State, service: &mut Service) {
    let tasks = state.tasks_of_service(&service.arn);
    let failed = tasks.filter(|task| !task.is_counted && is_failure(task));
    let failed: Vec<_> = failed.cloned().collect();
    for task in failed {
        state.change_task(&task.arn, |task| task.is_counted = true);
        let Some(deployment) = service.deployments.iter_mut().find(|deployment| task.is_of(&deployment.id))
        else {
            continue;
        };
        let ran_long =
            task.times.started_at.is_some_and(|started| has_run(clock, started, LONG_LIFE, clock.now()));
        deployment.failures = if ran_long { 0 } else { deployment.failures + 1 };
        if deployment.rollout == Rollout::InProgress {
            deployment.failed_tasks += 1;
        }
        // 0 s, 1 s, 3 s, 7 s and so on.
        let doubled = 1_u32 << deployment.failures.saturating_sub(1).min(10);
        let pause = (doubled - 1).min(LONGEST_PAUSE);
        deployment.next_start = Some(Instant::now() + clock.seconds(pause));
        if deployment.failures == 3 {
            event(clock, service, "is unable to consistently start tasks successfully.");
        }
    }
}

fn is_failure(task: &Task) -> bool {
    task.stop.as_ref().is_some_and(|stop| stop.is_failure)
}

/// Stops tasks that are UNHEALTHY after the grace period, so that they are replaced.
fn stop_unhealthy(clock: &Clock, state: &mut State, service: &mut Service) {
    let grace_period = service.health_check_grace_period;
    let tasks = state.tasks_of_service(&service.arn).filter(|task| {
        task.stop.is_none()
            && task.health() == HealthStatus::Unhealthy
            && task.times.started_at.is_some_and(|started| has_run(clock, started, grace_period, clock.now()))
    });
    let tasks: Vec<_> = tasks.map(|task| (task.arn.clone(), task.id.clone())).collect();
    for (arn, id) in tasks {
        let reason = "Task failed container health checks".to_owned();
        stop(state, &arn, Stop { code: StopCode::ServiceSchedulerInitiated, reason, is_failure: true });
        event(clock, service, &format!("(task {id}) failed container health checks."));
    }
    count_failures(clock, state, service);
}

/// When the grace period of the next unhealthy task ends.
fn grace_ends(clock: &Clock, service: &Service, tasks: &[Task]) -> Option<Instant> {
    let unhealthy = tasks.iter().filter(|task| task.health() == HealthStatus::Unhealthy);
    let started = unhealthy.filter_map(|task| task.times.started_at).min_by(f64::total_cmp)?;
    Some(later(clock, started, service.health_check_grace_period))
}

/// When the newest task will have run long enough, unless that was noted.
fn steady_at(clock: &Clock, service: &Service, tasks: &[Task], now: f64) -> Option<Instant> {
    let started = tasks.iter().filter_map(|task| task.times.started_at).max_by(f64::total_cmp)?;
    (!service.is_steady && !has_run(clock, started, STEADY, now)).then(|| later(clock, started, STEADY))
}

/// Whether so many seconds have passed since it was started.
fn has_run(clock: &Clock, started: f64, seconds: u32, now: f64) -> bool {
    now - started >= clock.seconds(seconds).as_secs_f64()
}

/// The time so many seconds after this time. At least a millisecond from now, because times are rounded to it.
fn later(clock: &Clock, started: f64, seconds: u32) -> Instant {
    let left = clock.seconds(seconds).as_secs_f64() - (clock.now() - started);
    Instant::now() + Duration::from_secs_f64(left.max(0.001))
}

/// Whether so many tasks have failed that the circuit breaker ends the deployment: half of the desired count, 3 to 200.
fn breaks(service: &Service) -> bool {
    let threshold = service.desired_count.div_ceil(2).clamp(3, 200);
    let primary = service.primary();
    service.circuit_breaker.enable
        && primary.rollout == Rollout::InProgress
        && primary.failed_tasks >= threshold
}

/// Ends the newest deployment, and goes back to the last one that was completed if there is one and the caller wants it.
fn give_up(clock: &Clock, service: &mut Service) {
    let failed = service.primary().id.clone();
    if let Some(primary) = service.deployments.first_mut() {
        primary.rollout = Rollout::Failed;
        primary.reason = "ECS deployment circuit breaker: tasks failed to start.".to_owned();
        primary.updated_at = clock.now();
    }
    event(clock, service, &format!("(deployment {failed}) deployment failed: tasks failed to start."));
    let last =
        service.last_completed.clone().filter(|last| service.circuit_breaker.rollback && last.id != failed);
    let Some(mut last) = last else { return };
    let id = last.id.clone();
    service.deployments.retain(|deployment| deployment.id != id);
    last.rollout = Rollout::InProgress;
    last.reason = format!("ECS deployment circuit breaker: rolling back to deploymentId {id}.");
    (last.failed_tasks, last.failures, last.next_start) = (0, 0, None);
    last.updated_at = clock.now();
    service.deployments.insert(0, last);
    event(clock, service, &format!("rolling back to deployment {id}."));
}

fn stop_surplus(clock: &Clock, state: &mut State, service: &mut Service, surplus: &[Task]) {
    for task in surplus {
        let reason = match service.status {
            ServiceStatus::Active if !task.is_of(&service.primary().id) => {
                format!("Scaling activity initiated by deployment {}", service.primary().id)
            }
            _ => format!(
                "Scaling activity initiated by (deployment {})",
                task.started_by().unwrap_or_default()
            ),
        };
        stop(state, &task.arn, Stop { code: StopCode::ServiceSchedulerInitiated, reason, is_failure: false });
    }
    events_of(clock, service, "has stopped", "running tasks", surplus);
}

/// Events about tasks, ten in each.
fn events_of(clock: &Clock, service: &mut Service, what: &str, tasks: &str, of: &[Task]) {
    for tasks_of_event in of.chunks(10) {
        let ids: Vec<_> = tasks_of_event.iter().map(|task| format!("(task {})", task.id)).collect();
        event(clock, service, &format!("{what} {} {tasks}: {}.", ids.len(), ids.join(" ")));
    }
}

fn start(ecs: &Arc<Ecs>, state: &mut State, scope: &Scope, service: &mut Service, count: usize) -> Vec<Task> {
    let primary = service.primary();
    let started: Vec<Task> = (0..count)
        .map_while(|_| {
            let owner = Owner::Service { name: service.name.clone(), deployment: primary.id.clone() };
            let (cluster, spec) = (service.cluster.as_str(), &primary.spec);
            ecs.start_task(state, NewTask { scope, cluster, spec, owner, tags: json!([]) })
        })
        .collect();
    if started.is_empty() {
        event(&ecs.clock, service, "was unable to place a task. Reason: RESOURCE:ENI.");
    }
    events_of(&ecs.clock, service, "has started", "tasks", &started);
    started
}

/// Forgets older deployments whose tasks have all ended.
fn remove_ended(service: &mut Service, kept: &[Task], surplus: &[Task], stopping: &[Task]) {
    let mut place = 0;
    service.deployments.retain(|deployment| {
        place += 1;
        let mut tasks = kept.iter().chain(surplus).chain(stopping);
        place == 1 || tasks.any(|task| task.is_of(&deployment.id))
    });
}

/// Notes that a deployment is completed, that the service is steady, or that it has ended.
fn settle(clock: &Clock, service: &mut Service, new: &[Task], is_done: bool, now: f64) {
    let healthy = new.iter().filter(|task| task.is_healthy()).count();
    let have_run =
        |task: &Task| task.times.started_at.is_some_and(|started| has_run(clock, started, STEADY, now));
    let is_full = healthy == new.len() && healthy == service.desired_count as usize;
    let is_steady = is_done && is_full && new.iter().all(have_run);
    if service.status == ServiceStatus::Draining {
        if new.is_empty() && is_done {
            service.status = ServiceStatus::Inactive;
        }
        return;
    }
    if is_steady && service.primary().rollout == Rollout::InProgress {
        complete(clock, service);
    }
    if is_steady && !service.is_steady {
        event(clock, service, "has reached a steady state.");
    }
    service.is_steady = is_steady;
}

fn complete(clock: &Clock, service: &mut Service) {
    let Some(Deployment { id, rollout, reason, updated_at, .. }) = service.deployments.first_mut() else {
        return;
    };
    let id = id.clone();
    *rollout = Rollout::Completed;
    *reason = format!("ECS deployment {id} completed.");
    *updated_at = clock.now();
    service.last_completed = service.deployments.first().cloned();
    event(clock, service, &format!("(deployment {id}) deployment completed."));
}

pub(super) fn event(clock: &Clock, service: &mut Service, what: &str) {
    let id = format!("{:032x}", fastrand::u128(..));
    let message = format!("(service {}) {what}", service.name);
    service.events.push_front(Event { id, at: clock.now(), message });
    service.events.truncate(EVENTS);
}

#[cfg(test)]
mod tests;
