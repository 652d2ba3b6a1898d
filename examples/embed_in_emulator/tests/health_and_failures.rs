//! How services treat tasks that are not healthy, or fail.

mod support;

use std::{fs, time::Duration};

use sd_backend_memory::MemoryRegistry;
use sd_core::CloudMap;
use serde_json::{Value, json};
use support::{Client, is_stable, marker, until};

fn seconds(task: &Value, member: &str) -> f64 {
    task[member].as_f64().unwrap()
}

#[tokio::test]
async fn failures_in_the_start_period_do_not_count() {
    let mut settings = Client::settings();
    // A start period of 30 s.
    settings.second = Duration::from_millis(100);
    let client = Client::with(&CloudMap::new(MemoryRegistry::new()), settings, "web");
    let file = std::env::temp_dir().join(format!("started-{}", marker()));
    let log = file.with_extension("log");
    let command = format!("echo >> {}; test -e {}", log.display(), file.display());
    let check = json!({"command": ["CMD-SHELL", command], "interval": 5, "retries": 1, "startPeriod": 300});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    let task = client.run("web").await;
    // The third check begins after the result of the second.
    let are_checked = async || fs::read(&log).is_ok_and(|log| log.len() >= 3);
    until("no three checks", are_checked).await;
    assert_eq!(client.task_until(&task, |_| true).await["healthStatus"], "UNKNOWN");
    fs::write(&file, "").unwrap();
    client.task_until(&task, |task| task["healthStatus"] == "HEALTHY").await;
    // After a success they count.
    fs::remove_file(&file).unwrap();
    client.task_until(&task, |task| task["healthStatus"] == "UNHEALTHY").await;
    fs::remove_file(&log).unwrap();
}

#[tokio::test]
async fn unhealthy_tasks_are_kept_until_the_grace_period_ends() {
    let client = Client::fresh();
    let check = json!({"command": ["CMD", "false"], "interval": 5, "retries": 1});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    // 2 s.
    let grace_period = 100;
    client.serve("web", 1, json!({"healthCheckGracePeriodSeconds": grace_period})).await;
    client.service_until("web", |service| service["runningCount"] == 1).await;
    let task = client.tasks_of("web").await[0].clone();
    client.task_until(&task, |task| task["healthStatus"] == "UNHEALTHY").await;
    let task = client.task_until(&task, |task| task["lastStatus"] == "STOPPED").await;
    assert_eq!(task["stoppedReason"], "Task failed container health checks");
    let ran = seconds(&task, "stoppingAt") - seconds(&task, "startedAt");
    let least = f64::from(grace_period) * 0.02;
    assert!(ran >= least - 0.001, "it ran for {ran} s, not for at least {least} s");
}

#[tokio::test]
async fn a_change_of_the_grace_period_takes_effect_at_once() {
    let client = Client::fresh();
    let check = json!({"command": ["CMD", "false"], "interval": 5, "retries": 1});
    client.define("web", json!({"command": ["sleep", "1000"], "healthCheck": check})).await;
    client.serve("web", 1, json!({"healthCheckGracePeriodSeconds": 1_000_000})).await;
    client.service_until("web", |service| service["runningCount"] == 1).await;
    let task = client.tasks_of("web").await[0].clone();
    client.task_until(&task, |task| task["healthStatus"] == "UNHEALTHY").await;
    // The scheduler has seen the unhealthy task when it starts another.
    client.ecs("UpdateService", json!({"service": "web", "desiredCount": 2})).await;
    client.service_until("web", |service| service["runningCount"] == 2).await;
    assert_eq!(client.task_until(&task, |_| true).await["desiredStatus"], "RUNNING");
    client.ecs("UpdateService", json!({"service": "web", "healthCheckGracePeriodSeconds": 0})).await;
    client.task_until(&task, |task| task["lastStatus"] == "STOPPED").await;
}

#[tokio::test]
async fn each_failure_delays_the_next_task_longer() {
    let client = Client::fresh();
    client.define("web", json!({"command": ["sh", "-c", "exit 1"]})).await;
    client.serve("web", 1, json!({})).await;
    let is_enough = |listed: &Value| listed["taskArns"].as_array().unwrap().len() >= 6;
    let stopped = client.until("ListTasks", json!({"desiredStatus": "STOPPED"}), is_enough).await;
    let mut tasks = client.ecs("DescribeTasks", json!({"tasks": stopped["taskArns"]})).await["tasks"].clone();
    let tasks = tasks.as_array_mut().unwrap();
    tasks.sort_by(|a, b| seconds(a, "createdAt").total_cmp(&seconds(b, "createdAt")));
    let pauses: Vec<_> = tasks
        .windows(2)
        .map(|pair| seconds(&pair[1], "createdAt") - seconds(&pair[0], "createdAt"))
        .collect();
    for (pause, least) in pauses.iter().zip([0, 1, 3, 7, 15]) {
        // Times have milliseconds, and a second has 20 of them.
        assert!(
            *pause >= f64::from(least) * 0.02 - 0.001,
            "{pauses:?} s, of which one is below {least} * 20 ms"
        );
    }
    let gives_notice = |service: &Value| {
        service["events"]
            .to_string()
            .contains("(service web) is unable to consistently start tasks successfully.")
    };
    client.service_until("web", gives_notice).await;
    // A new deployment has no failures.
    client.define("web", json!({"command": ["sleep", "1000"]})).await;
    client.ecs("UpdateService", json!({"service": "web", "taskDefinition": "web"})).await;
    client.service_until("web", is_stable).await;
}
