//! The attributes of services themselves: reading, adding and removing them.

use super::{Plan, ReadContext, WriteContext, check::Check, find_service};
use crate::{
    change::{Change, EntityKey, Precondition},
    constraint::{self, Constraint},
    error::Error,
    model::ServiceAttributes,
    request::{DeleteServiceAttributesRequest, GetServiceAttributesRequest, UpdateServiceAttributesRequest},
    response::ServiceAttributesDescription,
    state::ServiceEntry,
};

/// The most attributes of a service, and of a request (API Reference, ServiceAttributes and UpdateServiceAttributes).
const PER_SERVICE: usize = 30;

pub(crate) fn get(
    request: &GetServiceAttributesRequest,
    context: &ReadContext<'_>,
) -> Result<ServiceAttributesDescription, Error> {
    let mut check = Check::default();
    let id = check.reference("serviceId", request.service_id.as_deref());
    let id = check.finish(id)?;
    let entry = find_service(context.here(), context.scope, id)?;
    Ok(ServiceAttributesDescription::of(entry.service()))
}

pub(crate) fn update(
    request: &UpdateServiceAttributesRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<()>, Error> {
    let mut check = Check::default();
    let id = check.reference("serviceId", request.service_id.as_deref());
    if request.attributes.is_none() {
        check.violated("attributes", None, Constraint::NotNull);
    }
    if let Some(given) = &request.attributes {
        check.entries("attributes", given.len(), (1, PER_SERVICE), "attributes");
        for (key, value) in given {
            check.parsed("attributes.key", Some(key), attribute_key);
            if let Err(broken) = constraint::length(value, 0, 1024) {
                check.violated(format!("attributes.{key}"), Some(value), broken);
            }
        }
    }
    let (id, given) = check.finish(id.zip(request.attributes.as_ref()))?;
    let entry = find_service(context.here(), context.scope, id)?;
    let service = entry.service();
    let attributes = service.attributes.with(given.clone());
    if attributes.len() > PER_SERVICE {
        let (service_id, count) = (service.id.clone(), attributes.len());
        return Err(Error::ServiceAttributesLimitExceeded { service_id, count });
    }
    Ok(put(entry, attributes, context))
}

pub(crate) fn delete(
    request: &DeleteServiceAttributesRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<()>, Error> {
    let mut check = Check::default();
    let id = check.reference("serviceId", request.service_id.as_deref());
    let keys = check.list("attributes", request.attributes.as_deref(), (1, PER_SERVICE), "keys");
    for key in keys.unwrap_or_default() {
        check.parsed("attributes.member", Some(key), attribute_key);
    }
    let (id, keys) = check.finish(id.zip(keys))?;
    let entry = find_service(context.here(), context.scope, id)?;
    Ok(put(entry, entry.service().attributes.without(keys), context))
}

fn attribute_key(key: &str) -> Result<(), Constraint> {
    constraint::length(key, 0, 255)
}

/// The plan that gives the service these attributes, unless someone else changes it in the meantime.
fn put(entry: &ServiceEntry, attributes: ServiceAttributes, context: &WriteContext<'_>) -> Plan<()> {
    if attributes == entry.service().attributes {
        return Plan::nothing(());
    }
    let service = entry.service().changed(|service| service.attributes = attributes);
    let unchanged = Precondition::At(EntityKey::Service(service.id.clone()), entry.revision());
    Plan::commit(context.changes().requiring(unchanged).changing(Change::PutService(service)), ())
}
