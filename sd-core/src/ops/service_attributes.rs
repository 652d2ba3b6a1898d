//! The attributes of services, not of their instances: reading, adding and removing them.

use std::sync::Arc;

use super::{Plan, ReadContext, WriteContext, check::Check, find_service};
use crate::{
    api::{
        error::Error,
        request::{
            DeleteServiceAttributesRequest, GetServiceAttributesRequest, UpdateServiceAttributesRequest,
        },
        response::ServiceAttributesDescription,
    },
    model::{EntityKey, Service, ServiceAttributes, constraint},
    state::{
        ServiceEntry,
        change::{Change, Precondition},
    },
};

/// The most attributes of a service and of a request (API Reference, ServiceAttributes and UpdateServiceAttributes).
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
    let texts = (constraint::SERVICE_ATTRIBUTE_KEY, constraint::SERVICE_ATTRIBUTE_VALUE);
    let given = check.required_map("attributes", request.attributes.as_ref(), (1, PER_SERVICE), texts);
    let (id, given) = check.finish(id.zip(given))?;
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
    let keys = check.required_texts(
        "attributes",
        request.attributes.as_deref(),
        (1, PER_SERVICE),
        constraint::SERVICE_ATTRIBUTE_KEY,
    );
    let (id, keys) = check.finish(id.zip(keys))?;
    let entry = find_service(context.here(), context.scope, id)?;
    Ok(put(entry, entry.service().attributes.without(keys), context))
}

/// The plan that gives the service these attributes. It conflicts with any other change of the service.
fn put(entry: &ServiceEntry, attributes: ServiceAttributes, context: &WriteContext<'_>) -> Plan<()> {
    let unchanged = Precondition::At(EntityKey::Service(entry.service().id.clone()), entry.revision());
    let changes = context.changes().requiring(unchanged);
    if attributes == entry.service().attributes {
        return Plan::unchanged(changes, ());
    }
    let service = Arc::new(Service { attributes, ..Service::clone(entry.service()) });
    Plan::commit(changes.changing(Change::PutService(service)), ())
}
