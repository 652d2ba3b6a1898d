//! Services, as callers create, change, delete and see them. The scheduler does the rest.

use std::{
    collections::VecDeque,
    io::{Write, stderr},
};

use sd_core::{Scope, ecs::RegistryWarning};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Ecs,
    model::{
        CircuitBreaker, Deployment, DeploymentSpec, LoadBalancer, Percents, Rollout, Service,
        ServiceRegistry, ServiceStatus,
    },
    refusal::{Refusal, is_set, page},
    show::show_service,
    state::{State, arn},
    target_groups,
};

/// In seconds, as at AWS.
const LONGEST_GRACE_PERIOD: u32 = i32::MAX.cast_unsigned();

/// The members that CreateService and UpdateService share.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settings {
    task_definition: Option<String>,
    desired_count: Option<u32>,
    launch_type: Option<String>,
    network_configuration: Option<Value>,
    service_registries: Option<Vec<ServiceRegistry>>,
    load_balancers: Option<Vec<LoadBalancer>>,
    health_check_grace_period_seconds: Option<u32>,
    #[serde(default)]
    deployment_configuration: DeploymentConfiguration,
    #[serde(default)]
    force_new_deployment: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeploymentConfiguration {
    deployment_circuit_breaker: Option<CircuitBreaker>,
    minimum_healthy_percent: Option<u32>,
    maximum_percent: Option<u32>,
    #[serde(default)]
    strategy: Value,
    #[serde(default)]
    alarms: Value,
}

impl Ecs {
    pub(super) fn create_service(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let settings: Settings = super::input(input)?;
        check_members(&settings, input)?;
        let name = super::text(input, "serviceName")?;
        let is_valid = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        if !(1..=255).contains(&name.len()) || !name.chars().all(is_valid) {
            return Err(Refusal::parameter("Invalid service name.")); // Our text.
        }
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, input["cluster"].as_str())?;
        match state.service(scope, &cluster, name).map(|service| service.status) {
            Ok(ServiceStatus::Active) => {
                return Err(Refusal::parameter("Creation of service was not idempotent."));
            }
            Ok(ServiceStatus::Draining) => {
                return Err(Refusal::parameter("Unable to Start a service that is still Draining."));
            }
            Ok(ServiceStatus::Inactive) | Err(_) => {}
        }
        let definition = settings.task_definition.as_deref();
        let definition = definition.ok_or_else(|| Refusal::parameter("TaskDefinition can not be blank."))?;
        let desired_count = settings.desired_count;
        let desired_count =
            desired_count.ok_or_else(|| Refusal::parameter("The desired count is missing."))?; // Our text.
        let spec = DeploymentSpec {
            definition: state.definition(scope, definition)?,
            launch_type: settings.launch_type.clone().unwrap_or_else(|| "EC2".to_owned()),
            network: settings.network_configuration.clone().unwrap_or_default(),
            registries: settings.service_registries.clone().unwrap_or_default(),
            load_balancers: settings.load_balancers.clone().unwrap_or_default(),
        };
        let warnings = self.check_spec(scope, &spec)?;
        let mut service = Service {
            arn: arn(scope, "service", &format!("{cluster}/{name}")),
            name: name.to_owned(),
            cluster,
            status: ServiceStatus::Active,
            desired_count,
            percents: Percents { minimum_healthy: 100, maximum: 200 },
            circuit_breaker: CircuitBreaker::default(),
            health_check_grace_period: 0,
            deployments: vec![self.deployment(spec)],
            last_completed: None,
            events: VecDeque::new(),
            is_steady: false,
            look_at: None,
            created_at: self.clock.now(),
            tags: super::list(&input["tags"]),
        };
        change_settings(&mut service, &settings)?;
        let arn = service.arn.clone();
        state.services.insert(arn.clone(), service);
        let answer = self.answer_with_service(&mut state, scope, &arn);
        drop(state);
        warn(&warnings);
        Ok(answer)
    }

    pub(super) fn update_service(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let settings: Settings = super::input(input)?;
        check_members(&settings, input)?;
        let given = super::text(input, "service")?;
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, input["cluster"].as_str())?;
        let service = state.service(scope, &cluster, given)?;
        if service.status != ServiceStatus::Active {
            return Err(Refusal::new("ServiceNotActiveException", "Service was not ACTIVE."));
        }
        let (arn, old) = (service.arn.clone(), service.primary().spec.clone());
        let mut new = old.clone();
        if let Some(definition) = &settings.task_definition {
            new.definition = state.definition(scope, definition)?;
        }
        new.network = settings.network_configuration.clone().unwrap_or(new.network);
        new.registries = settings.service_registries.clone().unwrap_or(new.registries);
        new.load_balancers = settings.load_balancers.clone().unwrap_or(new.load_balancers);
        let is_same = new.definition.arn == old.definition.arn
            && new.network == old.network
            && new.registries == old.registries
            && new.load_balancers == old.load_balancers;
        let is_new_deployment = !is_same || settings.force_new_deployment;
        let warnings = if is_new_deployment { self.check_spec(scope, &new)? } else { Vec::new() };
        if let Some(service) = state.services.get_mut(&arn) {
            change_settings(service, &settings)?;
            if is_new_deployment {
                service.deployments.insert(0, self.deployment(new));
            }
            service.desired_count = settings.desired_count.unwrap_or(service.desired_count);
            service.is_steady = false;
        }
        let answer = self.answer_with_service(&mut state, scope, &arn);
        drop(state);
        warn(&warnings);
        Ok(answer)
    }

    pub(super) fn delete_service(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let given = super::text(input, "service")?;
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, input["cluster"].as_str())?;
        let service = state.service(scope, &cluster, given)?;
        if service.status == ServiceStatus::Inactive {
            return Err(Refusal::new("ServiceNotFoundException", "Service not found."));
        }
        if service.desired_count > 0 && input["force"] != true {
            let text = "The service cannot be stopped while it is scaled above 0.";
            return Err(Refusal::parameter(text));
        }
        let arn = service.arn.clone();
        if let Some(service) = state.services.get_mut(&arn) {
            service.status = ServiceStatus::Draining;
            service.desired_count = 0;
        }
        Ok(self.answer_with_service(&mut state, scope, &arn))
    }

    pub(super) fn describe_services(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let given = super::texts(input, "services", 10)?;
        if given.is_empty() {
            return Err(Refusal::parameter("Services cannot be empty."));
        }
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, input["cluster"].as_str())?;
        let (mut services, mut failures) = (Vec::new(), Vec::new());
        for given in given {
            match state.service(scope, &cluster, &given) {
                Ok(service) => services.push(show_service(&state, scope, service)),
                Err(_) => {
                    let arn = arn(scope, "service", &format!("{cluster}/{given}"));
                    failures.push(super::missing(&given, &arn));
                }
            }
        }
        Ok(json!({"services": services, "failures": failures}))
    }

    pub(super) fn list_services(&self, scope: &Scope, input: &Value) -> Result<Value, Refusal> {
        let mut state = self.lock();
        let cluster = state.cluster_name(scope, input["cluster"].as_str())?;
        let launch_type = input["launchType"].as_str();
        let services = state.services_of(scope, &cluster).filter(|service| {
            service.status != ServiceStatus::Inactive
                && launch_type.is_none_or(|wanted| wanted == service.primary().spec.launch_type)
        });
        page("serviceArns", services.map(|service| service.arn.clone()), input)
    }

    fn answer_with_service(&self, state: &mut State, scope: &Scope, arn: &str) -> Value {
        state.touched.insert(arn.to_owned());
        self.changed.notify_one();
        json!({"service": state.services.get(arn).map(|service| show_service(state, scope, service))})
    }

    fn deployment(&self, spec: DeploymentSpec) -> Deployment {
        let id = format!("ecs-svc/{:019}", fastrand::u64(..10_u64.pow(19)));
        let reason = format!("ECS deployment {id} in progress.");
        let (created_at, updated_at) = (self.clock.now(), self.clock.now());
        let (failed_tasks, failures, next_start) = (0, 0, None);
        let rollout = Rollout::InProgress;
        Deployment { id, spec, rollout, reason, failed_tasks, failures, next_start, created_at, updated_at }
    }

    fn check_spec(&self, scope: &Scope, spec: &DeploymentSpec) -> Result<Vec<RegistryWarning>, Refusal> {
        check_placement(spec)?;
        target_groups::validate(scope, &spec.load_balancers, &spec.definition)?;
        self.discovery.validate(scope, &spec.registries, &spec.definition, &spec.launch_type)
    }
}

/// Says what AWS would refuse. Nobody may hold the state meanwhile, because standard error may be slow.
fn warn(warnings: &[RegistryWarning]) {
    for warning in warnings {
        let _ = writeln!(stderr(), "warning: {warning}");
    }
}

/// Checks where tasks are to run.
pub(super) fn check_placement(spec: &DeploymentSpec) -> Result<(), Refusal> {
    let (mode, launch_type) = (&spec.definition.network_mode, &spec.launch_type);
    if !["EC2", "FARGATE", "EXTERNAL"].contains(&launch_type.as_str()) {
        return Err(Refusal::parameter("Invalid launch type.")); // Our text.
    }
    if launch_type == "FARGATE" && mode != "awsvpc" {
        let text = "Task definition does not support launch_type FARGATE.";
        return Err(Refusal::parameter(text));
    }
    match (mode == "awsvpc", is_set(&spec.network)) {
        (true, false) => Err(Refusal::parameter(
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )),
        (false, true) => Err(Refusal::parameter(
            "Network Configuration is not valid for the given networkMode of this task definition.",
        )),
        _ => Ok(()),
    }
}

/// Refuses what only other kinds of deployments have.
fn check_members(settings: &Settings, input: &Value) -> Result<(), Refusal> {
    let only = |value: &Value, supported: &str, what: &str| match value.as_str() {
        Some(other) if other != supported => Err(Refusal::unsupported(&format!("the {what} {other}"))),
        _ => Ok(()),
    };
    only(&input["schedulingStrategy"], "REPLICA", "scheduling strategy")?;
    only(&input["deploymentController"]["type"], "ECS", "deployment controller")?;
    only(&settings.deployment_configuration.strategy, "ROLLING", "deployment strategy")?;
    let breaker = &input["deploymentConfiguration"]["deploymentCircuitBreaker"];
    if is_set(&breaker["thresholdConfiguration"]) {
        return Err(Refusal::unsupported("thresholdConfiguration"));
    }
    let alarms = &settings.deployment_configuration.alarms;
    if alarms["enable"] == true { Err(Refusal::unsupported("deployment alarms")) } else { Ok(()) }
}

/// Applies settings that start no deployment.
fn change_settings(service: &mut Service, settings: &Settings) -> Result<(), Refusal> {
    let configuration = &settings.deployment_configuration;
    let percents = Percents {
        minimum_healthy: configuration.minimum_healthy_percent.unwrap_or(service.percents.minimum_healthy),
        maximum: configuration.maximum_percent.unwrap_or(service.percents.maximum),
    };
    if percents.maximum == 100 && percents.minimum_healthy == 100 {
        let text =
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.";
        return Err(Refusal::parameter(text));
    }
    // The limits are ours: as many tasks as a service with discovery may have, and what multiplies without overflow.
    let is_large = settings.desired_count.is_some_and(|count| count > 1000) || percents.maximum > 1000;
    if is_large || percents.minimum_healthy > 100 || percents.maximum < 100 {
        return Err(Refusal::parameter(
            "A service has at most 1000 tasks, a minimumHealthyPercent of 0 to 100 and a maximumPercent of 100 to 1000.",
        ));
    }
    service.percents = percents;
    service.circuit_breaker = configuration.deployment_circuit_breaker.unwrap_or(service.circuit_breaker);
    let grace_period =
        settings.health_check_grace_period_seconds.map(|seconds| seconds.min(LONGEST_GRACE_PERIOD));
    service.health_check_grace_period = grace_period.unwrap_or(service.health_check_grace_period);
    Ok(())
}
