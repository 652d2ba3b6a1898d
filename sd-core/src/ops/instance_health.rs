//! Health: custom reports, statuses set by a host, and reading it.

use std::{collections::BTreeSet, num::NonZeroU8};

use super::{
    Plan, ReadContext, WriteContext,
    check::Check,
    find_service, instance_stays,
    instances::find_instance,
    page::{PageRequest, page_of_chosen, page_of_instances},
};
use crate::{
    api::{
        error::Error,
        request::{GetInstancesHealthStatusRequest, UpdateInstanceCustomHealthStatusRequest},
        response::{InstanceHealth, Page},
    },
    health_check::{self, CheckTarget, Subject},
    model::{
        CustomHealthStatus, EntityKey, Health, HealthCheck, HealthEvent, HealthStart, Instance, Namespace,
        Service, Timestamp, constraint,
    },
    settings::timing::Timing,
    state::{
        InstanceEntry, ServiceEntry,
        change::{Change, Precondition},
    },
};

pub(crate) fn update(
    request: &UpdateInstanceCustomHealthStatusRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<()>, Error> {
    const STATUSES: &[&str] = &["HEALTHY", "UNHEALTHY"];
    let mut check = Check::default();
    let service = check.reference("serviceId", request.service_id.as_deref());
    let id = check.resource_id("instanceId", request.instance_id.as_deref());
    let values = [CustomHealthStatus::Healthy, CustomHealthStatus::Unhealthy];
    let status = check.required_one_of("status", request.status.as_deref(), STATUSES, &values);
    let ((service, id), status) = check.finish(service.zip(id).zip(status))?;

    let entry = find_service(context.here(), context.scope, service)?;
    let service = entry.service();
    if service.health_check != HealthCheck::Custom {
        return Err(Error::CustomHealthNotFound(service.id.clone()));
    }
    let instance = find_instance(entry, id)?;
    Ok(happened(reported(status, &context.timing), entry, instance, context))
}

/// Sets the status of an instance at once, whatever its health check: for hosts, which know it. Refused for a service
/// without a health check.
pub(crate) fn set(
    (service, id): (&str, &str),
    status: CustomHealthStatus,
    context: &WriteContext<'_>,
) -> Result<Plan<()>, Error> {
    let entry = find_service(context.here(), context.scope, service)?;
    if entry.service().health_check == HealthCheck::None {
        return Err(Error::CustomHealthNotFound(entry.service().id.clone()));
    }
    let instance = find_instance(entry, id)?;
    Ok(happened(HealthEvent::Set(status), entry, instance, context))
}

/// The event that a status is reported.
fn reported(status: CustomHealthStatus, timing: &Timing) -> HealthEvent {
    HealthEvent::Reported { status, delay: timing.custom_health() }
}

/// Whether a report would change the health of an instance. Only a custom check takes reports.
pub(crate) fn would_change(
    entry: &ServiceEntry,
    instance: &InstanceEntry,
    status: CustomHealthStatus,
    now: Timestamp,
    timing: &Timing,
) -> bool {
    entry.service().health_check == HealthCheck::Custom
        && instance.health().on(reported(status, timing), now) != instance.health()
}

/// Reports the status of an instance for a host, as by UpdateInstanceCustomHealthStatus. Does nothing if there is no such
/// instance, or if its service has no custom check.
pub(crate) fn report(
    (service, id): (&str, &str),
    status: CustomHealthStatus,
    context: &WriteContext<'_>,
) -> Result<Plan<()>, Error> {
    let entry = find_service(context.here(), context.scope, service)?;
    match entry.instances().get(id) {
        Some(instance) if entry.service().health_check == HealthCheck::Custom => {
            Ok(happened(reported(status, &context.timing), entry, instance, context))
        }
        _ => Ok(Plan::nothing(())),
    }
}

/// The health of an instance at its registration.
pub(super) fn initial(
    service: &Service,
    namespace: &Namespace,
    instance: &Instance,
    start: HealthStart,
) -> Health {
    match &service.health_check {
        HealthCheck::Route53(config) if CheckTarget::of(service, namespace, instance, config).is_ok() => {
            Health::before_first_result(start)
        }
        check => Health::initial(check, instance.endpoint.initial_health),
    }
}

/// Sets the status that the results of a check came to. Does nothing, and says so by `false`, if the instance was registered
/// again or deregistered, or has another check.
pub(crate) fn put_checked(
    subject: &Subject,
    status: CustomHealthStatus,
    context: &WriteContext<'_>,
) -> Result<Plan<bool>, Error> {
    let (service, instance) = (subject.service.as_str(), subject.instance.as_str());
    let check = health_check::Check::of(context.state, context.scope, service, instance);
    if !check.is_some_and(|check| check.is_about(subject)) {
        return Ok(Plan::nothing(false));
    }
    let entry = find_service(context.here(), context.scope, service)?;
    let event = HealthEvent::Checked { result: status, threshold: NonZeroU8::MIN };
    let plan = happened(event, entry, find_instance(entry, instance)?, context);
    Ok(Plan { changes: plan.changes, response: true })
}

/// The plan that applies an event to an instance's health.
pub(super) fn happened(
    event: HealthEvent,
    entry: &ServiceEntry,
    instance: &InstanceEntry,
    context: &WriteContext<'_>,
) -> Plan<()> {
    let health = instance.health().on(event, context.now);
    if health == instance.health() {
        return Plan::unchanged(context.changes().requiring_all(instance_stays(entry, instance)), ());
    }
    let (service, id) = (entry.service().id.clone(), instance.instance().id.clone());
    let key = EntityKey::Instance(service.clone(), id.clone());
    let changes = context
        .changes()
        .requiring(Precondition::At(key, instance.revision()))
        .changing(Change::PutHealth { service, id, health });
    Plan::commit(changes, ())
}

pub(crate) fn get(
    request: &GetInstancesHealthStatusRequest,
    context: &ReadContext<'_>,
) -> Result<Page<InstanceHealth>, Error> {
    let mut check = Check::default();
    let service = check.reference("serviceId", request.service_id.as_deref());
    let instances = request.instances.as_deref();
    let wanted = check.texts("instances", instances, (1, usize::MAX), constraint::RESOURCE_ID);
    let max_results = check.max_results(request.max_results);
    let token = check.next_token(request.next_token.as_deref());
    let service = check.finish(service)?;
    let entry = find_service(context.here(), context.scope, service)?;
    // A token belongs to the list of one service, whether the request has its id or its ARN.
    let list = format!("health of {}", entry.service().id);
    let page_request = PageRequest::new(&list, context.scope, token, max_results)?;
    let page = match wanted {
        None => page_of_instances(&list, context.scope, &page_request, entry),
        Some(ids) => {
            // The cost depends on the number of ids, not on the number of instances.
            let ids: BTreeSet<_> = ids.iter().map(String::as_str).collect();
            let chosen = ids.into_iter().map(|id| find_instance(entry, id)).collect::<Result<Vec<_>, _>>()?;
            page_of_chosen(&list, context.scope, &page_request, chosen)
        }
    };
    Ok(page.map(InstanceHealth::of))
}
