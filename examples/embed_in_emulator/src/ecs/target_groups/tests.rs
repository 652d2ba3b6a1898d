use sd_core::Scope;
use serde_json::{Value, json};

use super::*;
use crate::ecs::{
    input,
    testing::{checked_task, entered, target_group, task},
};

/// The state of the only target of the target group `web`.
fn health(target_groups: &TargetGroups) -> Option<TargetHealth> {
    let groups = target_groups.lock();
    let targets = groups.get(&target_group("web"))?;
    assert!(targets.len() <= 1, "{targets:?}");
    targets.values().next().map(|target| target.health)
}

fn targets(target_groups: &TargetGroups) -> Vec<String> {
    target_groups.targets(&target_group("web")).iter().map(ToString::to_string).collect()
}

async fn resolved(target_groups: &TargetGroups, name: &str) -> Result<Vec<String>, String> {
    let found = target_groups.resolve(&DnsName::parse(name).unwrap(), RecordType::A).await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.addresses.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_task_is_a_target_from_activating_until_deactivating() {
    let target_groups = TargetGroups::default();
    let mut task = task(None);
    for (status, expected, is_used) in [
        (Status::Provisioning, None, false),
        (Status::Pending, None, false),
        (Status::Activating, Some(TargetHealth::Initial), true),
        (Status::Running, Some(TargetHealth::Healthy), true),
        (Status::Deactivating, Some(TargetHealth::Draining), false),
        (Status::Stopping, Some(TargetHealth::Draining), false),
        (Status::Deprovisioning, Some(TargetHealth::Draining), false),
        (Status::Stopped, Some(TargetHealth::Unused), false),
    ] {
        task = entered(&task, status);
        assert_eq!(target_groups.changed(&task).await, Answer::GoOn);
        assert_eq!(health(&target_groups), expected, "{status:?}");
        let used: &[&str] = if is_used { &["127.42.0.1:80"] } else { &[] };
        assert_eq!(targets(&target_groups), used, "{status:?}");
    }
    target_groups.all(task.moment, &[task]).await;
    assert_eq!(health(&target_groups), None);
}

#[tokio::test]
async fn a_listing_repairs_what_was_lost() {
    let target_groups = TargetGroups::default();
    let running = entered(&task(None), Status::Running);
    target_groups.all(running.moment, std::slice::from_ref(&running)).await;
    assert_eq!(health(&target_groups), Some(TargetHealth::Healthy));
    let deactivating = entered(&running, Status::Deactivating);
    target_groups.all(deactivating.moment, std::slice::from_ref(&deactivating)).await;
    assert_eq!(health(&target_groups), Some(TargetHealth::Draining));
    target_groups.all(running.moment + 2, &[]).await;
    assert_eq!(health(&target_groups), None);
}

#[tokio::test]
async fn a_listing_changes_nothing_that_is_newer() {
    let target_groups = TargetGroups::default();
    let running = entered(&task(None), Status::Running);
    let stopped = entered(&running, Status::Stopped);
    target_groups.changed(&running).await;
    target_groups.all(running.moment - 1, &[]).await;
    assert_eq!(health(&target_groups), Some(TargetHealth::Healthy));
    target_groups.changed(&stopped).await;
    target_groups.all(running.moment, std::slice::from_ref(&running)).await;
    target_groups.changed(&running).await;
    assert_eq!(health(&target_groups), Some(TargetHealth::Unused));
}

#[tokio::test]
async fn requests_go_to_healthy_targets_unless_there_is_none() {
    let target_groups = TargetGroups::default();
    let first = entered(&checked_task(HealthStatus::Healthy), Status::Running);
    let mut second = entered(&checked_task(HealthStatus::Unhealthy), Status::Running);
    second.address = [127, 42, 0, 2].into();
    target_groups.changed(&first).await;
    target_groups.changed(&second).await;
    assert_eq!(targets(&target_groups), ["127.42.0.1:80"]);
    let mut unhealthy = entered(&second, Status::Running);
    unhealthy.address = first.address;
    target_groups.changed(&unhealthy).await;
    assert_eq!(targets(&target_groups), ["127.42.0.1:80", "127.42.0.2:80"]);
}

#[tokio::test]
async fn the_name_of_a_load_balancer_says_its_target_group_and_region() {
    let target_groups = TargetGroups::default();
    let mut task = entered(&task(None), Status::Running);
    task.load_balancers[0].target_group_arn = target_group("Web-App");
    target_groups.changed(&task).await;
    let region = Scope::default().region().to_string();
    for (label, region, is_found) in [
        ("web-app-1234567890", region.as_str(), true),
        ("Web-App-1", region.as_str(), true),
        ("web-app", region.as_str(), false),
        ("web-app-1-2", region.as_str(), false),
        ("web-app-1", "eu-north-1", false),
    ] {
        let name = format!("{label}.{region}.elb.amazonaws.com");
        let lower = name.to_lowercase();
        let no_targets = format!("the load balancer {lower}. has no targets");
        let expected = if is_found { Ok(vec!["127.42.0.1".to_owned()]) } else { Err(no_targets) };
        assert_eq!(resolved(&target_groups, &name).await, expected);
    }
    for name in
        ["example.com", "elb.amazonaws.com", "web-app-1.elb.amazonaws.com", "web.eu-west-1.elb.amazonaws.com"]
    {
        assert_eq!(
            resolved(&target_groups, name).await,
            Err(format!("{name}. is not the name of a load balancer"))
        );
    }
}

#[tokio::test]
async fn load_balancers_are_checked() {
    let definition = task(None).definition;
    let good = json!({"targetGroupArn": target_group("web"), "containerName": "web", "containerPort": 80});
    let with = |member: &str, value: Value| {
        let mut changed = good.clone();
        changed[member] = value;
        json!([good, changed])
    };
    let arn = "Unable to assume role and validate the specified targetGroupArn. Please verify that the ECS service role being \
               passed has the proper permissions.";
    let classic =
        "This emulator does not support loadBalancerName, because it has no Classic Load Balancers.";
    for (given, message) in [
        (with("containerName", json!("no")), "The container no does not exist in the task definition."),
        (with("containerName", json!("")), "A load balancer must have a containerName."),
        (with("containerPort", json!(81)), "The container web did not have a container port 81 defined."),
        (
            with("containerPort", json!(65616)),
            "The container web did not have a container port 65616 defined.",
        ),
        (json!(vec![&good; 6]), "load balancers can have at most 5 items."),
        (with("loadBalancerName", json!("web")), classic),
        (
            with("advancedConfiguration", json!({"roleArn": "r"})),
            "This emulator does not support advancedConfiguration.",
        ),
        (with("targetGroupArn", json!("arn:aws:elasticloadbalancing:...")), arn),
        (with("targetGroupArn", json!(target_group("web").replace("elasticloadbalancing", "ecs"))), arn),
        (with("targetGroupArn", json!(target_group("web").replace("0123456789abcdef", ""))), arn),
        (with("targetGroupArn", json!(target_group(""))), arn),
        (with("targetGroupArn", json!(target_group("web").replace("targetgroup", "loadbalancer"))), arn),
        (
            with(
                "targetGroupArn",
                json!(target_group("web").replace(Scope::default().region().as_str(), "eu-north-1")),
            ),
            arn,
        ),
        (
            with(
                "targetGroupArn",
                json!(target_group("web").replace(Scope::default().account().as_str(), "999999999999")),
            ),
            arn,
        ),
    ] {
        let parsed: Vec<LoadBalancer> = input(&given).unwrap();
        let refusal = validate(&Scope::default(), &parsed, &definition).unwrap_err();
        assert_eq!(refusal.message, message, "{given}");
    }
    let parsed: Vec<LoadBalancer> = input(&json!(vec![&good; 5])).unwrap();
    assert!(validate(&Scope::default(), &parsed, &definition).is_ok());
}
