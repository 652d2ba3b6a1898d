//! DiscoverInstances: finding instances by the names of their namespace and service.

use std::collections::BTreeMap;

use super::{ReadContext, check::Check, endpoint::check_form, find_namespace};
use crate::{
    constraint,
    error::Error,
    health::{HealthCheck, HealthStatus},
    model::Attributes,
    name::ServiceName,
    random::Permutation,
    request::DiscoverInstancesRequest,
    response::DiscoveredInstances,
    state::{InstanceEntry, InstancesRevision, NamespaceEntry, ServiceEntry},
};

/// Which instances are wanted, by their health.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HealthFilter {
    Healthy,
    Unhealthy,
    All,
    HealthyOrElseAll,
}

const HEALTH_FILTERS: &[&str] = &["HEALTHY", "UNHEALTHY", "ALL", "HEALTHY_OR_ELSE_ALL"];

pub(crate) fn discover(
    request: &DiscoverInstancesRequest,
    context: &ReadContext<'_>,
) -> Result<DiscoveredInstances, Error> {
    let mut check = Check::default();
    let namespace_name = check.required("namespaceName", request.namespace_name.as_deref(), |text| {
        constraint::length(text, 1, 1024)?;
        constraint::bytes(text, "^[!-~]{1,1024}$", |b| b.is_ascii_graphic())?;
        Ok(text.to_owned())
    });
    let service_name = check.required("serviceName", request.service_name.as_deref(), ServiceName::parse);
    let max_results = check.range("maxResults", request.max_results, 1, 1000).unwrap_or(100);
    let filters =
        [HealthFilter::Healthy, HealthFilter::Unhealthy, HealthFilter::All, HealthFilter::HealthyOrElseAll];
    let health = check
        .one_of("healthStatus", request.health_status.as_deref(), HEALTH_FILTERS, &filters)
        .unwrap_or(HealthFilter::Healthy);
    let owner = check.owner_account(request.owner_account.as_deref());
    for (member, parameters) in
        [("queryParameters", &request.query_parameters), ("optionalParameters", &request.optional_parameters)]
    {
        if let Some(parameters) = parameters {
            check_form(&mut check, member, parameters);
        }
    }
    let (namespace_name, service_name) = check.finish(namespace_name.zip(service_name))?;
    let limit = usize::try_from(max_results).unwrap_or(usize::MAX);

    if !context.owns(owner.as_ref()) {
        return Err(Error::NamespaceNotFound(namespace_name));
    }
    let entry = namespace(&namespace_name, context)?;
    let found = |instances, revision, name: &ServiceName| DiscoveredInstances {
        namespace_name: entry.namespace().http_name.clone(),
        service_name: name.clone(),
        instances,
        instances_revision: revision,
    };
    // AWS finds a service that is not there empty, although the model lists ServiceNotFound.
    let Some(service) = context.here().service_by_name(entry, service_name.as_str()) else {
        return Ok(found(Vec::new(), InstancesRevision::default(), &service_name));
    };
    let instances = match (&request.query_parameters, &request.optional_parameters) {
        (None, None) => by_health(service, health, limit, context),
        (query, optional) => {
            by_attributes(service, health, query.as_ref(), optional.as_ref(), limit, context)
        }
    };
    let instances =
        instances.into_iter().map(|entry| (entry.instance().clone(), entry.health().status())).collect();
    Ok(found(instances, service.instances_revision(), &service.service().name))
}

/// The namespace of an `HttpName`, or of an ARN: a name never begins with `arn:`.
fn namespace<'s>(name: &str, context: &'s ReadContext<'_>) -> Result<&'s NamespaceEntry, Error> {
    if name.starts_with("arn:") {
        return find_namespace(context.here(), context.scope, name);
    }
    context.here().namespace_by_http_name(name).ok_or_else(|| Error::NamespaceNotFound(name.to_owned()))
}

/// Without a health check the filter says nothing.
fn effective(filter: HealthFilter, service: &ServiceEntry) -> HealthFilter {
    match service.service().health_check {
        HealthCheck::None => HealthFilter::All,
        HealthCheck::Custom | HealthCheck::Route53(_) => filter,
    }
}

/// Picks at random by number, so that the cost is that of the answer and not of the service.
fn by_health<'s>(
    service: &'s ServiceEntry,
    filter: HealthFilter,
    limit: usize,
    context: &ReadContext<'_>,
) -> Vec<&'s InstanceEntry> {
    let instances = service.instances();
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let healthy = || {
        let order = Permutation::new(count(instances.healthy_len()), context.random);
        order.take(limit).filter_map(|number| instances.nth_healthy(number)).collect()
    };
    let all = || {
        let order = Permutation::new(count(instances.len()), context.random);
        order.take(limit).filter_map(|number| instances.nth(number)).collect()
    };
    match effective(filter, service) {
        HealthFilter::Healthy => healthy(),
        HealthFilter::HealthyOrElseAll if instances.healthy_len() > 0 => healthy(),
        HealthFilter::All | HealthFilter::HealthyOrElseAll => all(),
        HealthFilter::Unhealthy => {
            let unhealthy: Vec<_> = instances.iter().filter(|entry| !is_healthy(entry)).collect();
            sample(&unhealthy, limit, context)
        }
    }
}

fn is_healthy(entry: &InstanceEntry) -> bool {
    entry.health().status() == HealthStatus::Healthy
}

/// Query parameters, then health, then optional parameters, which count only if something has them all.
fn by_attributes<'s>(
    service: &'s ServiceEntry,
    filter: HealthFilter,
    query: Option<&BTreeMap<String, String>>,
    optional: Option<&BTreeMap<String, String>>,
    limit: usize,
    context: &ReadContext<'_>,
) -> Vec<&'s InstanceEntry> {
    let has_all = |attributes: &Attributes, wanted: Option<&BTreeMap<String, String>>| {
        wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| attributes.get(key) == Some(value)))
    };
    let mut candidates: Vec<_> =
        service.instances().iter().filter(|entry| has_all(&entry.instance().attributes, query)).collect();
    match effective(filter, service) {
        HealthFilter::All => {}
        HealthFilter::Healthy => candidates.retain(|entry| is_healthy(entry)),
        HealthFilter::Unhealthy => candidates.retain(|entry| !is_healthy(entry)),
        HealthFilter::HealthyOrElseAll => {
            if candidates.iter().any(|entry| is_healthy(entry)) {
                candidates.retain(|entry| is_healthy(entry));
            }
        }
    }
    if optional.is_some_and(|wanted| !wanted.is_empty()) {
        let matching: Vec<_> = candidates
            .iter()
            .copied()
            .filter(|entry| has_all(&entry.instance().attributes, optional))
            .collect();
        if !matching.is_empty() {
            candidates = matching;
        }
    }
    sample(&candidates, limit, context)
}

fn sample<'s>(
    candidates: &[&'s InstanceEntry],
    limit: usize,
    context: &ReadContext<'_>,
) -> Vec<&'s InstanceEntry> {
    let order = Permutation::new(u32::try_from(candidates.len()).unwrap_or(u32::MAX), context.random);
    order.take(limit).map(|number| candidates[number as usize]).collect()
}
