//! Health: reporting it, and telling it.

use super::{
    Plan, ReadContext, WriteContext,
    check::Check,
    find_service,
    instances::find_instance,
    page::{asked, page_of_instances},
};
use crate::{
    change::{Change, EntityKey, Precondition},
    constraint::{self, Constraint},
    error::Error,
    health::{CustomHealthStatus, HealthCheck, HealthEvent},
    request::{GetInstancesHealthStatusRequest, UpdateInstanceCustomHealthStatusRequest},
    response::{InstanceHealth, Page},
    state::{InstanceEntry, ServiceEntry},
};

pub(crate) fn update(
    request: &UpdateInstanceCustomHealthStatusRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<()>, Error> {
    const STATUSES: &[&str] = &["HEALTHY", "UNHEALTHY"];
    let mut check = Check::default();
    let service = check.reference("serviceId", request.service_id.as_deref());
    let id = check.resource_id("instanceId", request.instance_id.as_deref());
    if request.status.is_none() {
        check.violated("status", None, Constraint::NotNull);
    }
    let values = [CustomHealthStatus::Healthy, CustomHealthStatus::Unhealthy];
    let status = check.one_of("status", request.status.as_deref(), STATUSES, &values);
    let ((service, id), status) = check.finish(service.zip(id).zip(status))?;

    let entry = find_service(context.here(), context.scope, service)?;
    let service = entry.service();
    if service.health_check != HealthCheck::Custom {
        return Err(Error::CustomHealthNotFound(service.id.clone()));
    }
    let instance = find_instance(entry, id)?;
    let event = HealthEvent::Reported { status, delay: context.timing.custom_health() };
    Ok(happened(event, entry, instance, context))
}

/// What a host knows of an instance that is checked, by whatever check: it takes effect at once.
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

/// The plan of something that happened to an instance's health.
fn happened(
    event: HealthEvent,
    entry: &ServiceEntry,
    instance: &InstanceEntry,
    context: &WriteContext<'_>,
) -> Plan<()> {
    let health = instance.health().on(event, context.now);
    if health == instance.health() {
        return Plan::nothing(());
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
    if let Some([]) = request.instances.as_deref() {
        check.violated("instances", Some("[]"), Constraint::MinLength(1));
    }
    for id in request.instances.as_deref().unwrap_or_default() {
        check.parsed("instances.member", Some(id), |text| constraint::length(text, 0, 64));
    }
    let asked = asked(&mut check, request.next_token.as_deref(), request.max_results);
    let service = check.finish(service)?;
    let entry = find_service(context.here(), context.scope, service)?;
    // A token belongs to the list of one service, by whatever name.
    let list = format!("health of {}", entry.service().id);
    let page_request = asked.of(&list, context.scope)?;
    let wanted = request.instances.as_deref();
    for id in wanted.unwrap_or_default() {
        find_instance(entry, id)?;
    }
    let is_wanted = |entry: &InstanceEntry| {
        wanted.is_none_or(|ids| ids.iter().any(|id| id == entry.instance().id.as_str()))
    };
    let page = page_of_instances(&list, context.scope, &page_request, entry, is_wanted);
    Ok(page.map(InstanceHealth::of))
}
