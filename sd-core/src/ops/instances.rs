//! Instances: registering, describing, listing and deregistering them.

use std::sync::Arc;

use super::{
    Plan, ReadContext, Starting, WriteContext,
    check::Check,
    find_service,
    instance_attributes::{self, ANY, ATTRIBUTES},
    instance_health, instance_stays,
    page::{PageRequest, page_of_instances},
    service_lives,
};
use crate::{
    api::{
        error::{Error, rule},
        request::{
            DeregisterInstanceRequest, GetInstanceRequest, ListInstancesRequest, RegisterInstanceRequest,
        },
        response::{InstanceDescription, InstancePage, OperationStarted},
    },
    model::{
        CustomHealthStatus, Endpoint, EntityKey, HealthCheck, HealthEvent, Instance, InstanceId,
        OperationError, OperationErrorCode, OperationTargets, OperationType, RecordType, UniqueKey,
        action::Action, constraint,
    },
    settings::{mode::Leniency, quotas::Quota},
    state::{
        InstanceEntry, ServiceEntry,
        change::{Change, PendingOperation, Precondition},
        keeps_health,
    },
};

pub(crate) fn register(
    request: &RegisterInstanceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    register_for(None, request, context)
}

/// A host that registers instances, and what it knows of one.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a> {
    /// The owner of its instances.
    pub(crate) owner: &'a Arc<str>,
    /// The instance's health. Counts only with a custom health check.
    pub(crate) health: Option<CustomHealthStatus>,
}

/// Registers an instance that then belongs to the host. Without a host, a replaced instance keeps its owner.
pub(super) fn register_for(
    host: Option<Host<'_>>,
    request: &RegisterInstanceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let mut check = Check::default();
    let service = check.reference("serviceId", request.service_id.as_deref());
    let id = check.required("instanceId", request.instance_id.as_deref(), constraint::INSTANCE_ID);
    let creator_request_id = check.creator_request_id(request.creator_request_id.as_deref());
    let given = check.required_map("attributes", request.attributes.as_ref(), ANY, ATTRIBUTES);
    let ((service, id), given) = check.finish(service.zip(id).zip(given))?;
    let id = InstanceId::of_checked(id);

    let here = context.here();
    let entry = find_service(here, context.scope, service)?;
    let service = entry.service();
    let parent = here
        .namespace(service.namespace_id.as_str())
        .ok_or(Error::Internal("the namespace of a service is missing"))?;
    let namespace = parent.namespace();
    let (attributes, endpoint) = instance_attributes::parse(given, service, namespace, context.mode)?;

    let key = EntityKey::Instance(service.id.clone(), id.clone());
    let claims = vec![UniqueKey::Target(key.clone())];
    let same = |found: &Instance| {
        creator_request_id.is_some()
            && found.creator_request_id == creator_request_id
            && found.attributes == attributes
    };
    let replays = |pending: &PendingOperation| {
        let registers =
            |change: &Change| matches!(change, Change::PutInstance { instance, .. } if same(instance));
        pending.effect.iter().any(registers)
    };
    if let Some(started) = context.check_idle(&claims, replays)? {
        let mut plan = context.started_before(started);
        plan.changes = plan.changes.map(|changes| changes.requiring(service_lives(service)));
        return Ok(plan);
    }
    let before = entry.instances().get(id.as_str());
    if let Some(before) = before
        && same(before.instance())
    {
        let targets = OperationTargets::Instance(service.id.clone(), id);
        let operation = before.instance().registered_by.clone();
        let started = OperationStarted::new(operation, namespace.id.clone(), targets);
        let relying = context.changes().requiring_all(instance_stays(entry, before));
        return Ok(Plan::unchanged(relying, started));
    }
    if before.is_none() {
        context.check_quota(Quota::InstancesPerService, || entry.expected_instances())?;
        context.check_quota(Quota::InstancesPerNamespace, || here.expected_instances(parent))?;
    }
    let owner = host.map(|host| host.owner);
    let kept = before.filter(|before| keeps_health(&service.health_check, before, &endpoint));
    let shared = shared_address(&id, &endpoint, entry, context);
    let error = shared.map(|other| {
        OperationError::new(
            OperationErrorCode::InvalidChangeBatch,
            format!("Instance {} of the service has the same address.", other.id),
        )
    });
    if let (Some(_), Some(error)) = (owner, &error) {
        // A host would retry forever, so the request is refused instead of starting an operation that fails.
        return Err(rule("attributes", error.message.clone()));
    }
    let starting = Starting {
        action: Action::RegisterInstance,
        kind: OperationType::RegisterInstance,
        targets: OperationTargets::Instance(service.id.clone(), id.clone()),
        namespace: namespace.id.clone(),
        error,
        claims,
    };
    let instance = Instance {
        id,
        attributes,
        endpoint,
        created: before.map_or(context.now, |before| before.instance().created),
        creator_request_id,
        registered_by: context.fresh.operation_id(context.now),
        created_by_account: context.scope.account().clone(),
        owner: owner.or(before.and_then(|before| before.instance().owner.as_ref())).cloned(),
        incarnation: before.map_or(context.fresh.incarnation(), |before| before.instance().incarnation),
        wire: Default::default(),
    };
    let health = kept.map_or_else(
        || instance_health::initial(service, namespace, &instance, context.health_start),
        InstanceEntry::health,
    );
    let health = match host.and_then(|host| host.health) {
        Some(status) if service.health_check == HealthCheck::Custom => {
            health.on(HealthEvent::Set(status), context.now)
        }
        _ => health,
    };
    // The registration depends on the instance that it replaces: its owner, token, health and position in lists.
    let relied_on = match before {
        Some(before) => Precondition::At(key, before.revision()),
        None => Precondition::Free(UniqueKey::Id(key)),
    };
    let changes = context
        .changes()
        // The attributes were checked against these records and this health check.
        .requiring(Precondition::At(EntityKey::Service(service.id.clone()), entry.revision()))
        .requiring(relied_on)
        .changing(Change::PutInstance { service: service.id.clone(), instance: Arc::new(instance), health });
    Ok(context.conclude(starting, changes))
}

/// Another instance with the same address: Route 53 refuses two records with the same name, type and value.
///
/// This looks at every instance of the service, so only `Strict` pays for it. It is not a precondition of the commit, so
/// concurrent requests may register one address twice.
fn shared_address<'s>(
    id: &InstanceId,
    endpoint: &Endpoint,
    entry: &'s ServiceEntry,
    context: &'s WriteContext<'_>,
) -> Option<&'s Instance> {
    if context.mode.allows(Leniency::SharedAddress) {
        return None;
    }
    let service = entry.service();
    let has = |kind| service.dns_config().is_some_and(|config| config.ttl(kind).is_some());
    let (ipv4, ipv6) =
        (endpoint.ipv4.filter(|_| has(RecordType::A)), endpoint.ipv6.filter(|_| has(RecordType::Aaaa)));
    let shares = |other: &Instance| {
        other.id != *id
            && (ipv4.is_some() && other.endpoint.ipv4 == ipv4
                || ipv6.is_some() && other.endpoint.ipv6 == ipv6)
    };
    if ipv4.is_none() && ipv6.is_none() {
        return None;
    }
    let arriving = context.here().all_in_flight().flat_map(|under_way| &under_way.pending.effect);
    let arriving = arriving.filter_map(|change| match change {
        Change::PutInstance { service: of, instance, .. } if *of == service.id => Some(instance),
        _ => None,
    });
    let registered = entry.instances().iter().map(InstanceEntry::instance);
    registered.chain(arriving).map(|instance| &**instance).find(|other| shares(other))
}

pub(crate) fn deregister(
    request: &DeregisterInstanceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let mut check = Check::default();
    let service = check.reference("serviceId", request.service_id.as_deref());
    let id = check.resource_id("instanceId", request.instance_id.as_deref());
    let (service, id) = check.finish(service.zip(id))?;
    let entry = find_service(context.here(), context.scope, service)?;
    let service = &entry.service().id;
    if let Ok(id) = InstanceId::parse(id) {
        // The instance may not exist yet: its first registration may still be under way.
        let target = UniqueKey::Target(EntityKey::Instance(service.clone(), id));
        context.check_idle(&[target], |_| false)?;
    }
    let instance = find_instance(entry, id)?.instance();
    let key = EntityKey::Instance(service.clone(), instance.id.clone());
    let starting = Starting {
        action: Action::DeregisterInstance,
        kind: OperationType::DeregisterInstance,
        targets: OperationTargets::Instance(service.clone(), instance.id.clone()),
        namespace: entry.service().namespace_id.clone(),
        error: None,
        claims: vec![UniqueKey::Target(key.clone())],
    };
    let changes = context
        .changes()
        .requiring(Precondition::Live(key, instance.incarnation))
        .changing(Change::DeleteInstance { service: service.clone(), id: instance.id.clone() });
    Ok(context.conclude(starting, changes))
}

pub(super) fn find_instance<'s>(entry: &'s ServiceEntry, id: &str) -> Result<&'s InstanceEntry, Error> {
    entry.instances().get(id).ok_or_else(|| Error::InstanceNotFound {
        instance_id: id.to_owned(),
        service_id: entry.service().id.to_string(),
    })
}

pub(crate) fn get(
    request: &GetInstanceRequest,
    context: &ReadContext<'_>,
) -> Result<InstanceDescription, Error> {
    let mut check = Check::default();
    let service = check.reference("serviceId", request.service_id.as_deref());
    let id = check.resource_id("instanceId", request.instance_id.as_deref());
    let (service, id) = check.finish(service.zip(id))?;
    // Terraform's provider treats only InstanceNotFound as the deletion of an instance, also if its service was deleted.
    let entry = find_service(context.here(), context.scope, service).map_err(|_| {
        Error::InstanceNotFound { instance_id: id.to_owned(), service_id: service.to_owned() }
    })?;
    let instance = Arc::clone(find_instance(entry, id)?.instance());
    Ok(InstanceDescription::new(context.scope.account().clone(), instance))
}

pub(crate) fn list(request: &ListInstancesRequest, context: &ReadContext<'_>) -> Result<InstancePage, Error> {
    let mut check = Check::default();
    let service = check.reference("serviceId", request.service_id.as_deref());
    let token = check.next_token(request.next_token.as_deref());
    let max_results = check.max_results(request.max_results);
    let service = check.finish(service)?;
    let entry = find_service(context.here(), context.scope, service)?;
    // A token belongs to the list of one service, whether the request has its id or its ARN.
    let list = entry.service().id.as_str();
    let page_request = PageRequest::new(list, context.scope, token, max_results)?;
    let page = page_of_instances(list, context.scope, &page_request, entry);
    let page = page.map(|entry| Arc::clone(entry.instance()));
    Ok(InstancePage::new(context.scope.account().clone(), page))
}
