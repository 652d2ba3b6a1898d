//! Updates of services: the description, the TTLs of records, the Route 53 health check. Records and a health check that a
//! request leaves out are deleted (API Reference, UpdateService).

use std::sync::Arc;

use super::{
    Plan, Starting, WriteContext, check::Check, find_service, instance_health,
    service_settings::SettingsMembers,
};
use crate::{
    api::{
        error::{Error, rule},
        request::UpdateServiceRequest,
        response::OperationStarted,
    },
    model::{
        DnsConfig, DnsRecord, EntityKey, Health, HealthCheck, HealthStart, Namespace, NamespaceType,
        OperationTargets, OperationType, Service, ServiceKind, UniqueKey, action::Action,
    },
    state::{
        ServiceEntry,
        change::{Change, Precondition},
    },
};

const SETTINGS: SettingsMembers = SettingsMembers::OF_UPDATE;

pub(crate) fn update(
    request: &UpdateServiceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let mut check = Check::default();
    let id = check.reference("id", request.id.as_deref());
    let change = request.service.as_ref();
    if change.is_none() {
        check.missing("service");
    }
    let description = change.and_then(|change| change.description.as_deref());
    let description = check.description("service.description", description);
    let dns = change.and_then(|change| change.dns_config.as_ref());
    let records = dns.and_then(|dns| SETTINGS.dns_records(&mut check, dns.dns_records.as_deref()));
    let route53 = change.and_then(|change| change.health_check_config.as_ref());
    let route53 = route53.and_then(|input| SETTINGS.route53_check(&mut check, input));
    let id = check.finish(id)?;

    let here = context.here();
    let entry = find_service(here, context.scope, id)?;
    let before = entry.service();
    let namespace = here
        .namespace(before.namespace_id.as_str())
        .ok_or(Error::Internal("the namespace of a service is missing"))?
        .namespace();
    if namespace.kind.namespace_type() == NamespaceType::Http {
        return Err(rule("id", "A service in an HTTP namespace can't be updated."));
    }
    let kind = remaining(&before.kind, records)?;
    if let (HealthCheck::Route53(check), Some(input)) = (&before.health_check, &route53)
        && check.kind != input.kind
    {
        return Err(rule(SETTINGS.check_type, "Type of health check cannot be changed"));
    }
    let custom = before.health_check == HealthCheck::Custom;
    let health_check = SETTINGS.health_check(namespace, &kind, route53, custom, context)?;

    let key = EntityKey::Service(before.id.clone());
    let claims = vec![UniqueKey::Target(key.clone())];
    context.check_idle(&claims, |_| false)?;
    let starting = Starting {
        action: Action::UpdateService,
        kind: OperationType::UpdateService,
        targets: OperationTargets::Service(before.id.clone()),
        namespace: namespace.id.clone(),
        error: None,
        claims,
    };
    let mut service = Service { kind, health_check, ..Service::clone(before) };
    if let Some(text) = description {
        service.description = Some(text).filter(|text| !text.is_empty());
    }
    let service = Arc::new(service);
    let mut changes = context
        .changes()
        .requiring(Precondition::At(key, entry.revision()))
        .changing(Change::PutService(Arc::clone(&service)));
    if before.health_check == HealthCheck::None && context.health_start != HealthStart::Healthy {
        changes.changes.extend(starts(entry, &service, namespace, context.health_start));
    }
    Ok(context.conclude(starting, changes))
}

/// The health of the instances of a service that gets a health check, where it is not what the check alone says.
fn starts(
    entry: &ServiceEntry,
    service: &Service,
    namespace: &Namespace,
    start: HealthStart,
) -> impl Iterator<Item = Change> {
    entry.instances().iter().filter_map(move |entry| {
        let instance = entry.instance();
        let health = instance_health::initial(service, namespace, instance, start);
        let usual = Health::initial(&service.health_check, instance.endpoint.initial_health);
        (health != usual).then(|| Change::PutHealth {
            service: service.id.clone(),
            id: instance.id.clone(),
            health,
        })
    })
}

/// How instances can be found with the records that remain. Without a `DnsConfig`, only by the API.
fn remaining(before: &ServiceKind, records: Option<Vec<DnsRecord>>) -> Result<ServiceKind, Error> {
    let (config, records) = match (before, records) {
        (_, None) => return Ok(ServiceKind::Http),
        (ServiceKind::Http, Some(_)) => return Err(SETTINGS.http_with_dns()),
        (ServiceKind::DnsHttp(config), Some(records)) => (config, records),
    };
    SETTINGS.check_records(&records)?;
    if records.iter().any(|record| config.ttl(record.kind).is_none()) {
        let kinds = |records: &[DnsRecord]| {
            records.iter().map(|record| record.kind.as_str()).collect::<Vec<_>>().join(", ")
        };
        return Err(rule(
            SETTINGS.dns_records,
            format!(
                "The record types in the request must be the same as those present in the existing service. Records in \
                 the existing service are [{}], but the records in the request are [{}]. The record types of a service \
                 cannot be changed.",
                kinds(&config.records),
                kinds(&records)
            ),
        ));
    }
    Ok(ServiceKind::DnsHttp(DnsConfig::new(config.routing_policy, records)))
}
