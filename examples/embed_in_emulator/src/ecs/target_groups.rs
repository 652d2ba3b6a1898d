//! Tasks of services with `loadBalancers` as targets of target groups. This is the part of ELBv2 that ECS calls; there are no
//! load balancers and no API.

use std::{
    collections::BTreeMap,
    error::Error,
    net::{IpAddr, SocketAddrV4},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use sd_core::{
    Scope,
    model::{DnsName, HealthStatus, RecordType},
};
use sd_dns::{AliasAddresses, AliasResolver};

use super::{
    listeners::{Answer, Listener},
    model::{LoadBalancer, Status, Task},
    refusal::{Refusal, is_set},
    task_definitions::{ContainerDefinition, PortMapping, TaskDefinition},
};

/// How many load balancers a service has at most.
const MOST: usize = 5;
/// The TTL of a load balancer's addresses, in seconds.
const TTL: u32 = 60;

/// The targets of all target groups. A target group exists while it has targets.
#[derive(Debug, Default)]
pub(crate) struct TargetGroups {
    /// By the ARN of the target group, and by address.
    groups: Mutex<BTreeMap<String, BTreeMap<SocketAddrV4, Target>>>,
}

/// A target: a port of a task.
#[derive(Clone, Copy, Debug)]
struct Target {
    health: TargetHealth,
    /// The newest change of the task that is known.
    moment: u64,
}

/// The state of a target, as DescribeTargetHealth calls it. Nothing checks targets here: their health is that of the task's
/// containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TargetHealth {
    Initial,
    Healthy,
    Unhealthy,
    /// Deregistered, while the task still runs. There is no deregistration delay.
    Draining,
    /// Not in the target group any more. Kept until the next listing, so that an older listing does not bring it back.
    Unused,
}

impl TargetGroups {
    /// The targets of a target group that requests go to: the healthy ones, or all that are registered if none is healthy, as
    /// ELBv2 does.
    pub(crate) fn targets(&self, arn: &str) -> Vec<SocketAddrV4> {
        self.lock().get(arn).map(in_use).unwrap_or_default()
    }

    /// The addresses behind a load balancer.
    fn addresses(&self, region: &str, name: &str) -> Vec<IpAddr> {
        let groups = self.lock();
        let named = groups.iter().filter(|(arn, _)| {
            // A DNS name has no upper case, and does not tell the account.
            parts(arn).is_some_and(|arn| arn.region == region && arn.name.eq_ignore_ascii_case(name))
        });
        named.flat_map(|(_, targets)| in_use(targets)).map(|target| IpAddr::V4(*target.ip())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<SocketAddrV4, Target>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Listener for TargetGroups {
    async fn changed(&self, task: &Task) -> Answer {
        note(&mut self.lock(), task);
        Answer::GoOn
    }

    async fn all(&self, moment: u64, tasks: &[Task]) {
        let mut groups = self.lock();
        // The listing is all that there was at its moment. What is newer stays.
        groups.retain(|_, targets| {
            targets.retain(|_, target| target.moment > moment);
            !targets.is_empty()
        });
        let living = tasks.iter().filter(|task| task.status != Status::Stopped);
        living.for_each(|task| note(&mut groups, task));
    }
}

/// Notes what a task is like, unless something newer is known.
fn note(groups: &mut BTreeMap<String, BTreeMap<SocketAddrV4, Target>>, task: &Task) {
    let health = match task.status {
        Status::Provisioning | Status::Pending => return,
        Status::Running if task.health() == HealthStatus::Unhealthy => TargetHealth::Unhealthy,
        Status::Running if task.is_healthy() => TargetHealth::Healthy,
        Status::Activating | Status::Running => TargetHealth::Initial,
        Status::Deactivating | Status::Stopping | Status::Deprovisioning => TargetHealth::Draining,
        Status::Stopped => TargetHealth::Unused,
    };
    let new = Target { health, moment: task.moment };
    for balancer in &task.load_balancers {
        let Some(port) = port(balancer, &task.definition) else { continue };
        let targets = groups.entry(balancer.target_group_arn.clone()).or_default();
        let target = targets.entry(SocketAddrV4::new(task.address, port.container_port)).or_insert(new);
        if target.moment <= new.moment {
            *target = new;
        }
    }
}

fn in_use(targets: &BTreeMap<SocketAddrV4, Target>) -> Vec<SocketAddrV4> {
    let are = |healths: &[TargetHealth]| -> Vec<_> {
        let targets = targets.iter().filter(|(_, target)| healths.contains(&target.health));
        targets.map(|(address, _)| *address).collect()
    };
    let healthy = are(&[TargetHealth::Healthy]);
    if healthy.is_empty() { are(&[TargetHealth::Initial, TargetHealth::Unhealthy]) } else { healthy }
}

/// Checks the load balancers of a service.
///
/// # Errors
/// ECS's. The texts that are not marked as ours were seen at AWS (cdk-preflight, 2026, and reports of users).
pub(super) fn validate(
    scope: &Scope,
    load_balancers: &[LoadBalancer],
    definition: &TaskDefinition,
) -> Result<(), Refusal> {
    if load_balancers.len() > MOST {
        return Err(Refusal::parameter(format!("load balancers can have at most {MOST} items.")));
    }
    for balancer in load_balancers {
        let LoadBalancer { target_group_arn, container_name, container_port, .. } = balancer;
        if is_set(&balancer.load_balancer_name) {
            return Err(Refusal::unsupported("loadBalancerName, because it has no Classic Load Balancers"));
        }
        if is_set(&balancer.advanced_configuration) {
            return Err(Refusal::unsupported("advancedConfiguration"));
        }
        if container_name.is_empty() {
            return Err(Refusal::parameter("A load balancer must have a containerName.")); // Our text.
        }
        if container(balancer, definition).is_none() {
            let text = format!("The container {container_name} does not exist in the task definition.");
            return Err(Refusal::parameter(text));
        }
        if port(balancer, definition).is_none() {
            let rule = format!("did not have a container port {container_port} defined");
            return Err(Refusal::parameter(format!("The container {container_name} {rule}.")));
        }
        let is_here =
            |arn: Parts| arn.region == scope.region().as_str() && arn.account == scope.account().as_str();
        if !parts(target_group_arn).is_some_and(is_here) {
            // What AWS says of target groups that do not exist.
            return Err(Refusal::parameter(
                "Unable to assume role and validate the specified targetGroupArn. Please verify that the ECS service role \
                 being passed has the proper permissions.",
            ));
        }
    }
    Ok(())
}

fn container<'a>(balancer: &LoadBalancer, definition: &'a TaskDefinition) -> Option<&'a ContainerDefinition> {
    definition.containers.iter().find(|container| container.name == balancer.container_name)
}

fn port<'a>(balancer: &LoadBalancer, definition: &'a TaskDefinition) -> Option<&'a PortMapping> {
    let mut ports = container(balancer, definition)?.port_mappings.iter();
    ports.find(|port| i32::from(port.container_port) == balancer.container_port)
}

/// What the ARN of a target group says.
struct Parts<'a> {
    region: &'a str,
    account: &'a str,
    name: &'a str,
}

/// The parts of `arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID`.
fn parts(arn: &str) -> Option<Parts<'_>> {
    let mut parts = arn.splitn(6, ':');
    let parts: [_; 6] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let ["arn", _, "elasticloadbalancing", region, account, target_group] = parts else { return None };
    let (name, id) = target_group.strip_prefix("targetgroup/")?.split_once('/')?;
    (!name.is_empty() && !id.is_empty()).then_some(Parts { region, account, name })
}

/// The load balancer `NAME-ANYTHING.REGION.elb.amazonaws.com` is taken to forward to the target group NAME of any account, and
/// has the addresses of its targets.
#[async_trait]
impl AliasResolver for TargetGroups {
    async fn resolve(
        &self,
        target: &DnsName,
        _: RecordType,
    ) -> Result<AliasAddresses, Box<dyn Error + Send + Sync>> {
        let text = target.to_string();
        let (name, region) =
            load_balancer(&text).ok_or_else(|| format!("{target} is not the name of a load balancer"))?;
        let addresses = self.addresses(region, name);
        if addresses.is_empty() {
            return Err(format!("the load balancer {target} has no targets").into());
        }
        Ok(AliasAddresses::new(TTL, addresses))
    }
}

/// The name and the Region in the DNS name of a load balancer.
fn load_balancer(dns_name: &str) -> Option<(&str, &str)> {
    let (label, region) = dns_name.strip_suffix(".elb.amazonaws.com.")?.split_once('.')?;
    let (name, _) = label.rsplit_once('-')?;
    Some((name, region))
}

#[cfg(test)]
mod tests;
