//! Keeps a service's instances in step with what a host runs.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Plan, WriteContext, find_service, instance_attributes, instance_health, instance_stays,
    instances::{Host, deregister, register_for},
    service_lives,
};
use crate::{
    api::{
        error::{Error, rule},
        request::{DeregisterInstanceRequest, RegisterInstanceRequest},
        response::OperationStarted,
    },
    model::{EntityKey, HealthCheck, HealthEvent, Instance, InstanceId, OperationId, ServiceId, UniqueKey},
    state::{
        InstanceEntry, ScopeState, ServiceEntry,
        change::{Change, ChangeSet, PendingOperation, Precondition},
    },
};

/// The operation that one instance needed, if any.
type Step = Option<OperationId>;

/// The ids of a service's instances that an owner has registered or is registering.
pub(crate) fn owned(here: &ScopeState, entry: &ServiceEntry, owner: &str) -> BTreeSet<InstanceId> {
    let instances = entry.instances().iter().map(InstanceEntry::instance);
    let of_service = |id: &ServiceId| *id == entry.service().id;
    let arriving = here.all_in_flight().flat_map(|under_way| &under_way.pending.effect);
    let arriving = arriving.filter_map(put_instance).filter(|(service, _)| of_service(service));
    let arriving = arriving.map(|(_, instance)| instance);
    let owned = instances.chain(arriving).filter(|instance| instance.owner.as_deref() == Some(owner));
    owned.map(|instance| instance.id.clone()).collect()
}

/// Registers an instance for a host, unless it is already registered as requested or such a registration is under way. Sets
/// the health that the host knows.
pub(crate) fn put(
    request: &RegisterInstanceRequest,
    host: Host<'_>,
    context: &WriteContext<'_>,
) -> Result<Plan<Step>, Error> {
    let Some(relying) = in_step(request, host.owner, context)? else {
        return Ok(stepped(register_for(Some(host), request, context)?));
    };
    let service = request.service_id.as_deref().unwrap_or_default();
    let entry = find_service(context.here(), context.scope, service)?;
    let found = entry.instances().get(request.instance_id.as_deref().unwrap_or_default());
    match (found, host.health) {
        (Some(found), Some(status)) if entry.service().health_check == HealthCheck::Custom => {
            let plan = instance_health::happened(HealthEvent::Set(status), entry, found, context);
            Ok(Plan { changes: plan.changes, response: None })
        }
        _ => Ok(Plan::unchanged(relying, None)),
    }
}

/// What has to hold for an instance to be in step, or about to be; `None` if it is not.
fn in_step(
    request: &RegisterInstanceRequest,
    owner: &Arc<str>,
    context: &WriteContext<'_>,
) -> Result<Option<ChangeSet>, Error> {
    let here = context.here();
    let entry = find_service(here, context.scope, request.service_id.as_deref().unwrap_or_default())?;
    let service = entry.service();
    // The registration itself reports an invalid request.
    let id = request.instance_id.as_deref().and_then(|id| InstanceId::parse(id).ok());
    let namespace = here.namespace(service.namespace_id.as_str());
    let (Some(id), Some(attributes), Some(namespace)) = (id, &request.attributes, namespace) else {
        return Ok(None);
    };
    let Ok((attributes, _)) =
        instance_attributes::parse(attributes, service, namespace.namespace(), context.mode)
    else {
        return Ok(None);
    };
    let as_wanted = |found: &Instance| found.attributes == attributes && found.owner.as_ref() == Some(owner);
    if let Some(other) = here.claimed_by(&UniqueKey::Target(instance_key(entry, &id))) {
        let is_arriving =
            other.effect.iter().filter_map(put_instance).any(|(_, instance)| as_wanted(instance));
        return Ok(is_arriving.then(|| pending(other, entry, context)));
    }
    let Some(found) = entry.instances().get(id.as_str()) else {
        return Ok(None);
    };
    let relying = context.changes().requiring_all(instance_stays(entry, found));
    let found = found.instance();
    if found.owner.as_ref() != Some(owner) {
        return Err(rule(
            "instanceId",
            format!("The instance {id} was not registered by the owner {owner}."),
        ));
    }
    Ok(as_wanted(found).then_some(relying))
}

/// Deregisters an instance of the owner. Does nothing if the instance does not exist, is being deregistered, or has another
/// owner. Refused while the owner's first registration of it is under way, like DeregisterInstance.
pub(crate) fn remove(
    request: &DeregisterInstanceRequest,
    owner: &str,
    context: &WriteContext<'_>,
) -> Result<Plan<Step>, Error> {
    let here = context.here();
    let entry = find_service(here, context.scope, request.service_id.as_deref().unwrap_or_default())?;
    let id = request.instance_id.as_deref().unwrap_or_default();
    let Some(found) = entry.instances().get(id) else {
        let Ok(id) = InstanceId::parse(id) else { return Ok(Plan::nothing(None)) };
        let key = instance_key(entry, &id);
        let other = here.claimed_by(&UniqueKey::Target(key.clone()));
        let mut arriving = other.iter().flat_map(|other| &other.effect).filter_map(put_instance);
        return if arriving.any(|(_, instance)| instance.owner.as_deref() == Some(owner)) {
            deregister(request, context).map(stepped)
        } else {
            let is_gone = [Precondition::Free(UniqueKey::Id(key)), service_lives(entry.service())];
            Ok(Plan::unchanged(context.changes().requiring_all(is_gone), None))
        };
    };
    let relying = context.changes().requiring_all(instance_stays(entry, found));
    let found = found.instance();
    if found.owner.as_deref() != Some(owner) {
        return Ok(Plan::unchanged(relying, None));
    }
    if let Some(other) = here.claimed_by(&UniqueKey::Target(instance_key(entry, &found.id)))
        && other.effect.iter().any(|change| matches!(change, Change::DeleteInstance { .. }))
    {
        return Ok(Plan::unchanged(pending(other, entry, context), None));
    }
    Ok(stepped(deregister(request, context)?))
}

/// That an operation on an instance of the service is under way.
fn pending(operation: &PendingOperation, entry: &ServiceEntry, context: &WriteContext<'_>) -> ChangeSet {
    let pending = Precondition::Pending(operation.operation.id.clone());
    context.changes().requiring(pending).requiring(service_lives(entry.service()))
}

fn put_instance(change: &Change) -> Option<(&ServiceId, &Arc<Instance>)> {
    match change {
        Change::PutInstance { service, instance, .. } => Some((service, instance)),
        _ => None,
    }
}

fn instance_key(entry: &ServiceEntry, id: &InstanceId) -> EntityKey {
    EntityKey::Instance(entry.service().id.clone(), id.clone())
}

fn stepped(plan: Plan<OperationStarted>) -> Plan<Step> {
    Plan { changes: plan.changes, response: Some(plan.response.operation_id) }
}
