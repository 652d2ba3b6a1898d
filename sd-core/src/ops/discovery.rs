//! DiscoverInstances and DiscoverInstancesRevision: instances by the names of their namespace and service.

use std::{borrow::Cow, collections::BTreeMap, ops::Range, sync::Arc};

use super::{
    ReadContext,
    check::Check,
    find_namespace,
    instance_attributes::{ANY, ATTRIBUTES},
};
use crate::{
    api::{
        error::Error,
        request::{DiscoverInstancesRequest, DiscoverInstancesRevisionRequest},
        response::{DiscoveredInstance, DiscoveredInstances, DiscoveredRevision},
    },
    choice,
    dns::explanation::{Candidate, Explanation, LeftOut, Outcome},
    model::{
        HealthCheck, HealthStatus, Instance, InstancesRevision, NamespaceName, ServiceName, Signature,
        constraint,
    },
    settings::random::RandomSource,
    state::{InstanceEntry, Instances, NamespaceEntry, ServiceEntry},
};

/// The API's `HealthStatusFilter`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HealthFilter {
    Healthy,
    Unhealthy,
    All,
    HealthyOrElseAll,
}

const HEALTH_FILTERS: &[&str] = &["HEALTHY", "UNHEALTHY", "ALL", "HEALTHY_OR_ELSE_ALL"];

/// A checked discovery request, with the namespace and the service that it names.
struct Question<'r, 's> {
    namespace: &'s NamespaceEntry,
    service_name: ServiceName,
    /// `None` if it does not exist: AWS then answers without instances, although the model lists ServiceNotFound.
    service: Option<&'s ServiceEntry>,
    health: HealthFilter,
    /// The query parameters.
    query: Wanted<'r>,
    /// The query parameters and the optional parameters together.
    both: Wanted<'r>,
    limit: usize,
}

fn question<'r, 's>(
    request: &'r DiscoverInstancesRequest,
    context: &'s ReadContext<'_>,
) -> Result<Question<'r, 's>, Error> {
    let mut check = Check::default();
    let names = names(&mut check, request.namespace_name.as_deref(), request.service_name.as_deref());
    let max_results = check.range("maxResults", request.max_results, 1, 1000).unwrap_or(100);
    for (member, parameters) in
        [("queryParameters", &request.query_parameters), ("optionalParameters", &request.optional_parameters)]
    {
        check.map(member, parameters.as_ref(), ANY, ATTRIBUTES);
    }
    let filters =
        [HealthFilter::Healthy, HealthFilter::Unhealthy, HealthFilter::All, HealthFilter::HealthyOrElseAll];
    let health = check
        .one_of("healthStatus", request.health_status.as_deref(), HEALTH_FILTERS, &filters)
        .unwrap_or(HealthFilter::Healthy);
    let owner = check.owner_account(request.owner_account.as_deref());
    let (namespace_name, service_name) = check.finish(names)?;
    let limit = usize::try_from(max_results).unwrap_or(usize::MAX);

    let namespace = namespace(namespace_name, owner, context)?;
    let service = context.here().service_by_name(namespace, service_name.as_str());
    Ok(Question {
        namespace,
        health: service.map_or(health, |service| effective(health, service)),
        service_name,
        service,
        query: Wanted::all_of([&request.query_parameters]),
        both: Wanted::all_of([&request.query_parameters, &request.optional_parameters]),
        limit,
    })
}

pub(crate) fn discover(
    request: &DiscoverInstancesRequest,
    context: &ReadContext<'_>,
) -> Result<DiscoveredInstances, Error> {
    find(request, context).map(FoundInstances::copied)
}

/// The response of DiscoverInstances, by reference into the state.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FoundInstances<'a> {
    /// The `HttpName` of the namespace.
    pub namespace_name: &'a NamespaceName,
    /// The name of the service.
    pub service_name: Cow<'a, ServiceName>,
    /// Grows with every register and deregister of the service.
    pub instances_revision: InstancesRevision,
    instances: Vec<&'a InstanceEntry>,
}

impl<'a> FoundInstances<'a> {
    /// The instances, each with the health status in effect.
    pub fn instances(&self) -> impl ExactSizeIterator<Item = (&'a Arc<Instance>, HealthStatus)> + Clone {
        self.instances.iter().map(|entry| (entry.instance(), entry.health().status()))
    }

    fn copied(self) -> DiscoveredInstances {
        DiscoveredInstances {
            namespace_name: self.namespace_name.clone(),
            instances: self.instances.iter().map(|entry| DiscoveredInstance::of(entry)).collect(),
            service_name: self.service_name.into_owned(),
            instances_revision: self.instances_revision,
        }
    }
}

/// [`discover`] without copying what it finds.
pub(crate) fn find<'s>(
    request: &DiscoverInstancesRequest,
    context: &'s ReadContext<'_>,
) -> Result<FoundInstances<'s>, Error> {
    let Question { namespace, service_name, service, health, query, both, limit } =
        question(request, context)?;
    let namespace_name = &namespace.namespace().http_name;
    let Some(service) = service else {
        return Ok(FoundInstances {
            namespace_name,
            service_name: Cow::Owned(service_name),
            instances: Vec::new(),
            instances_revision: InstancesRevision::default(),
        });
    };
    let choice = Choice { instances: service.instances(), random: context.random };
    let candidates = choice.candidates(health, &query);
    // Optional parameters count only if an instance has them all.
    let mut instances = choice.pick(candidates.clone(), &both, limit);
    if instances.is_empty() && query.attributes != both.attributes {
        instances = choice.pick(candidates, &query, limit);
    }
    Ok(FoundInstances {
        namespace_name,
        service_name: Cow::Borrowed(&service.service().name),
        instances,
        instances_revision: service.instances_revision(),
    })
}

/// Explains the answer of [`discover`].
pub(crate) fn explain(
    request: &DiscoverInstancesRequest,
    context: &ReadContext<'_>,
) -> Result<Explanation, Error> {
    let Question { namespace, service, health, query, both, limit, .. } = question(request, context)?;
    let mut explanation = Explanation::new(Outcome::NoService, limit);
    explanation.namespace = Some(Arc::clone(namespace.namespace()));
    let Some(service) = service else { return Ok(explanation) };
    explanation.outcome = Outcome::Answered;
    let choice = Choice { instances: service.instances(), random: context.random };
    let wanted_health = choice.candidates(health, &query);
    let optional_count = choice.instances.range(wanted_health.clone()).any(|entry| both.is_met_by(entry));
    let all = 0..u32::try_from(choice.instances.len()).unwrap_or(u32::MAX);
    for (number, entry) in all.clone().zip(choice.instances.range(all)) {
        let left_out = if !query.is_met_by(entry) {
            Some(LeftOut::QueryParameters)
        } else if !wanted_health.contains(&number) {
            Some(LeftOut::Health)
        } else if optional_count && !both.is_met_by(entry) {
            Some(LeftOut::OptionalParameters)
        } else {
            None
        };
        explanation.candidates.push(Candidate::new(service, entry, left_out));
    }
    Ok(explanation)
}

pub(crate) fn revision(
    request: &DiscoverInstancesRevisionRequest,
    context: &ReadContext<'_>,
) -> Result<DiscoveredRevision, Error> {
    let mut check = Check::default();
    let names = names(&mut check, request.namespace_name.as_deref(), request.service_name.as_deref());
    let owner = check.owner_account(request.owner_account.as_deref());
    let (namespace_name, service_name) = check.finish(names)?;
    let entry = namespace(namespace_name, owner, context)?;
    let service = context
        .here()
        .service_by_name(entry, service_name.as_str())
        .ok_or_else(|| Error::ServiceNotFound(service_name.to_string()))?;
    Ok(DiscoveredRevision::new(service.instances_revision()))
}

/// Checks the names of a namespace and a service.
fn names<'r>(
    check: &mut Check,
    namespace_name: Option<&'r str>,
    service_name: Option<&str>,
) -> Option<(&'r str, ServiceName)> {
    let namespace_name = check.required("namespaceName", namespace_name, constraint::NAMESPACE_NAME);
    let service_name = check.required("serviceName", service_name, constraint::SERVICE_NAME);
    namespace_name.zip(service_name.map(ServiceName::of_checked))
}

/// The namespace with this `HttpName` or ARN: a name never begins with `arn:`.
fn namespace<'s>(
    name: &str,
    owner: Option<&str>,
    context: &'s ReadContext<'_>,
) -> Result<&'s NamespaceEntry, Error> {
    if !context.owns(owner) {
        return Err(Error::NamespaceNotFound(name.to_owned()));
    }
    if name.starts_with("arn:") {
        return find_namespace(context.here(), context.scope, name);
    }
    context.here().namespace_by_http_name(name).ok_or_else(|| Error::NamespaceNotFound(name.to_owned()))
}

/// Without a health check the filter has no effect.
fn effective(filter: HealthFilter, service: &ServiceEntry) -> HealthFilter {
    match service.service().health_check {
        HealthCheck::None => HealthFilter::All,
        HealthCheck::Custom | HealthCheck::Route53(_) => filter,
    }
}

/// Attributes that an instance must all have.
struct Wanted<'r> {
    attributes: Vec<(&'r str, &'r str)>,
    signature: Signature,
}

impl<'r> Wanted<'r> {
    fn all_of<const N: usize>(parameters: [&'r Option<BTreeMap<String, String>>; N]) -> Self {
        let pairs = parameters.into_iter().flatten().flatten();
        let attributes: Vec<_> = pairs.map(|(key, value)| (&**key, &**value)).collect();
        let signature = Signature::of(attributes.iter().copied());
        Self { attributes, signature }
    }

    fn is_met_by(&self, entry: &InstanceEntry) -> bool {
        entry.has(&self.attributes, self.signature)
    }
}

/// Chooses among the instances of a service.
struct Choice<'a> {
    instances: &'a Instances,
    random: &'a dyn RandomSource,
}

impl<'a> Choice<'a> {
    /// The numbers of the instances that pass the health filter.
    fn candidates(&self, filter: HealthFilter, query: &Wanted<'_>) -> Range<u32> {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let (healthy, all) = (count(self.instances.healthy_len()), count(self.instances.len()));
        match filter {
            HealthFilter::Healthy => 0..healthy,
            HealthFilter::Unhealthy => healthy..all,
            HealthFilter::All => 0..all,
            HealthFilter::HealthyOrElseAll => {
                let is_any_healthy = self.instances.range(0..healthy).any(|entry| query.is_met_by(entry));
                0..if is_any_healthy { healthy } else { all }
            }
        }
    }

    /// Picks at most `limit` instances at random. Without parameters the cost depends on the answer, not on the number of
    /// instances.
    fn pick(&self, candidates: Range<u32>, wanted: &Wanted<'_>, limit: usize) -> Vec<&'a InstanceEntry> {
        let (instances, random) = (self.instances, self.random);
        if wanted.attributes.is_empty() {
            let chosen = choice::choose(limit, candidates.end - candidates.start, random);
            // Every number has an instance, so `filter_map` drops nothing.
            let mut picked = Vec::with_capacity(chosen.len());
            picked.extend(chosen.iter().filter_map(|number| instances.nth(candidates.start + number)));
            return picked;
        }
        // An instance with the signature may still lack the attributes. That is checked only for instances that are drawn.
        let alike: Vec<_> =
            instances.range(candidates).filter(|entry| entry.is_like(wanted.signature)).collect();
        choice::shuffled(alike, random).filter(|entry| wanted.is_met_by(entry)).take(limit).collect()
    }
}
