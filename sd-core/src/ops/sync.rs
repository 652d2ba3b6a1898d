//! Keeps a service's instances in step with what a host runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Plan, WriteContext, find_service, instance_health, instance_stays,
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
    let registered = of_owner(entry, owner).map(|found| &found.instance().id);
    let arriving = arriving_for(here, owner).filter(|(service, _)| **service == entry.service().id);
    registered.chain(arriving.map(|(_, id)| id)).cloned().collect()
}

/// Where an instance that a host wants stands.
pub(crate) enum Standing<'s> {
    /// It is registered as the host wants it.
    InStep(&'s InstanceEntry),
    /// This operation registers it so.
    Arriving(&'s PendingOperation),
    /// Something is to be done, or refused.
    Differs,
}

/// Where an instance stands in a state, which may be older than what the registry has stored.
pub(crate) fn standing<'s>(
    here: &'s ScopeState,
    entry: &'s ServiceEntry,
    (id, attributes): (&str, &BTreeMap<String, String>),
    owner: &str,
) -> Standing<'s> {
    let has_wanted = |found: &Instance| {
        let mut pairs = found.attributes.iter().zip(attributes);
        found.attributes.len() == attributes.len()
            && pairs.all(|((key, value), wanted)| (key, value) == (wanted.0.as_str(), wanted.1.as_str()))
    };
    let is_wanted = |found: &Instance| found.owner.as_deref() == Some(owner) && has_wanted(found);
    if let Some(other) = under_way(here, entry, id) {
        let mut arriving = other.effect.iter().filter_map(put_instance);
        return match arriving.any(|(_, instance)| is_wanted(instance)) {
            true => Standing::Arriving(other),
            false => Standing::Differs,
        };
    }
    match entry.instances().get(id) {
        Some(found) if is_wanted(found.instance()) => Standing::InStep(found),
        _ => Standing::Differs,
    }
}

/// Whether the owner has the instance in a state: it is registered or being registered, and not being deregistered.
pub(crate) fn has(here: &ScopeState, entry: &ServiceEntry, id: &str, owner: &str) -> bool {
    let is_own = |instance: &Instance| instance.owner.as_deref() == Some(owner);
    match under_way(here, entry, id) {
        Some(other) => other.effect.iter().filter_map(put_instance).any(|(_, instance)| is_own(instance)),
        None => entry.instances().get(id).is_some_and(|found| is_own(found.instance())),
    }
}

/// The registered instances of the owner in the scope, with their services.
pub(crate) fn registered_by<'s>(
    here: &'s ScopeState,
    owner: &'s str,
) -> impl Iterator<Item = (&'s ServiceEntry, &'s InstanceEntry)> {
    here.services().flat_map(move |entry| of_owner(entry, owner).map(move |found| (entry, found)))
}

fn of_owner<'s>(entry: &'s ServiceEntry, owner: &'s str) -> impl Iterator<Item = &'s InstanceEntry> {
    entry.instances().iter().filter(move |found| found.instance().owner.as_deref() == Some(owner))
}

/// The instances of the owner in the scope that are being registered, with their services.
pub(crate) fn arriving_for<'s>(
    here: &'s ScopeState,
    owner: &'s str,
) -> impl Iterator<Item = (&'s ServiceId, &'s InstanceId)> {
    let arriving =
        here.all_in_flight().flat_map(|under_way| &under_way.pending.effect).filter_map(put_instance);
    let owned = arriving.filter(move |(_, instance)| instance.owner.as_deref() == Some(owner));
    owned.map(|(service, instance)| (service, &instance.id))
}

/// The operation under way on an instance.
fn under_way<'s>(here: &'s ScopeState, entry: &ServiceEntry, id: &str) -> Option<&'s PendingOperation> {
    here.all_in_flight().next()?;
    here.claimed_by(&UniqueKey::Target(instance_key(entry, &InstanceId::parse(id).ok()?)))
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
    // The registration itself reports an invalid request.
    let (Some(id), Some(attributes)) = (request.instance_id.as_deref(), &request.attributes) else {
        return Ok(None);
    };
    match standing(here, entry, (id, attributes), owner) {
        Standing::Arriving(other) => Ok(Some(pending(other, entry, context))),
        Standing::InStep(found) => Ok(Some(context.changes().requiring_all(instance_stays(entry, found)))),
        Standing::Differs if under_way(here, entry, id).is_some() => Ok(None),
        Standing::Differs => match entry.instances().get(id) {
            Some(found) if found.instance().owner.as_ref() != Some(owner) => {
                Err(rule("instanceId", format!("The instance {id} was not registered by the owner {owner}.")))
            }
            _ => Ok(None),
        },
    }
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
