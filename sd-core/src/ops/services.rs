//! Services: creating, describing, listing and deleting them.

use std::sync::Arc;

use super::{
    Plan, ReadContext, WriteContext,
    check::Check,
    filters::{self, Checked, Only},
    find_namespace, find_service,
    page::{PageRequest, page},
    service_lives,
    service_settings::SettingsMembers,
    tags::new_tags,
};
use crate::{
    api::{
        error::{Error, InUse, rule},
        request::{
            CreateServiceRequest, DeleteServiceRequest, DnsConfigInput, GetServiceRequest,
            HealthCheckCustomConfigInput, ListServicesRequest,
        },
        response::{Page, ServiceDescription},
    },
    model::{
        DnsConfig, DnsRecord, EntityKey, Fingerprint, Namespace, NamespaceType, RecordType, RoutingPolicy,
        Service, ServiceAttributes, ServiceId, ServiceKind, ServiceName, UniqueKey, action::Action,
        constraint,
    },
    state::{
        ServiceEntry,
        change::{Change, Precondition},
    },
};

const SETTINGS: SettingsMembers = SettingsMembers::OF_CREATION;
const ROUTING_POLICIES: &[&str] = &["MULTIVALUE", "WEIGHTED"];

pub(crate) fn create(
    request: &CreateServiceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<ServiceDescription>, Error> {
    let mut check = Check::default();
    let name = check.required("name", request.name.as_deref(), constraint::SERVICE_NAME);
    check.text("namespaceId", request.namespace_id.as_deref(), constraint::ARN);
    let creator_request_id = check.creator_request_id(request.creator_request_id.as_deref());
    let description = check.description("description", request.description.as_deref());
    let dns = request.dns_config.as_ref().and_then(|input| dns_config(&mut check, input));
    let route53 =
        request.health_check_config.as_ref().and_then(|input| SETTINGS.route53_check(&mut check, input));
    check_custom(&mut check, request.health_check_custom_config.as_ref());
    let tags = check.tags(request.tags.as_deref());
    let http_only = check.one_of("type", request.service_type.as_deref(), &["HTTP"], &[()]).is_some();
    let name = check.finish(name)?;
    let tags = new_tags(tags, name)?;
    let name = ServiceName::of_checked(name);

    let given = namespace_id(request)?;
    let entry = find_namespace(context.here(), context.scope, given)?;
    let namespace = entry.namespace();
    let parent = EntityKey::Namespace(namespace.id.clone());
    let target = UniqueKey::Target(parent.clone());
    let stays = match context.here().claimed_by(&target) {
        None => Precondition::Free(target),
        Some(deletion) if deletion.action == Action::DeleteNamespace => {
            return Err(Error::NamespaceNotFound(given.to_owned()));
        }
        // An update is under way. No deletion begins before it ends, and its end changes the namespace's revision.
        Some(_) => Precondition::At(parent.clone(), entry.revision()),
    };
    let kind = service_kind(namespace, dns, http_only)?;
    let custom = request.health_check_custom_config.is_some();
    let health_check = SETTINGS.health_check(namespace, &kind, route53, custom, context)?;

    let dns = match &kind {
        ServiceKind::Http => None,
        ServiceKind::DnsHttp(config) => Some(config),
    };
    let created_as = Fingerprint::of_service(
        namespace.id.as_str(),
        name.as_str(),
        dns,
        &health_check,
        description.as_deref(),
        &tags,
    );
    let service = Service {
        scope: context.scope.clone(),
        id: free_id(namespace, &name, context),
        namespace_id: namespace.id.clone(),
        name,
        kind,
        health_check,
        description,
        tags,
        attributes: ServiceAttributes::default(),
        created: context.now,
        creator_request_id,
        incarnation: context.fresh.incarnation(),
        created_as,
        dns_name: Default::default(),
    };
    if let Some(existing) = context.here().service_by_name(entry, service.name.as_str()) {
        return taken(existing, &service, context);
    }
    let key = EntityKey::Service(service.id.clone());
    let service_name = UniqueKey::service_name(namespace, &service.name);
    let service = Arc::new(service);
    let changes = context
        .changes()
        .requiring(Precondition::Live(parent, namespace.incarnation))
        .requiring(stays)
        .requiring(Precondition::Free(service_name))
        .requiring(Precondition::Free(UniqueKey::Id(key)))
        .changing(Change::PutService(Arc::clone(&service)));
    Ok(Plan::commit(changes, ServiceDescription::new(service, 0)))
}

/// The id that is derived from the name. If a service has it that was renamed in the backend's store, not by the API, the
/// next derived id.
fn free_id(namespace: &Namespace, name: &ServiceName, context: &WriteContext<'_>) -> ServiceId {
    let derived = |attempt| ServiceId::derive_again(&namespace.id, name, namespace.folds_case(), attempt);
    let is_free = |id: &ServiceId| {
        let found = context.here().service(id.as_str()).map(ServiceEntry::service);
        found.is_none_or(|found| {
            found.namespace_id == namespace.id
                && namespace.unique_name(&found.name) == namespace.unique_name(name)
        })
    };
    (0..u32::MAX).map(derived).find(is_free).unwrap_or_else(|| derived(u32::MAX))
}

/// Answers a request whose name is taken. The request that created the service (same token, same members) gets the service;
/// any other is refused.
fn taken(
    existing: &ServiceEntry,
    wanted: &Service,
    context: &WriteContext<'_>,
) -> Result<Plan<ServiceDescription>, Error> {
    let found = existing.service();
    let replay = wanted.creator_request_id.is_some()
        && wanted.creator_request_id == found.creator_request_id
        && wanted.created_as == found.created_as;
    if replay {
        let relying = context.changes().requiring(service_lives(found));
        return Ok(Plan::unchanged(relying, describe(existing)));
    }
    Err(Error::ServiceAlreadyExists {
        service_id: found.id.clone(),
        service_arn: found.arn(),
        creator_request_id: found.creator_request_id.clone(),
    })
}

/// The namespace of the request: `NamespaceId`, the deprecated `DnsConfig.NamespaceId`, or both if they agree.
fn namespace_id(request: &CreateServiceRequest) -> Result<&str, Error> {
    let deprecated = request.dns_config.as_ref().and_then(|config| config.namespace_id.as_deref());
    match (request.namespace_id.as_deref(), deprecated) {
        (Some(id), None) | (None, Some(id)) => Ok(id),
        (Some(top), Some(nested)) => {
            let id = top.rsplit('/').next().unwrap_or(top);
            if top == nested || id == nested {
                Ok(top)
            } else {
                Err(rule(
                    "dnsConfig.namespaceId",
                    "NamespaceId and DnsConfig.NamespaceId name different namespaces.",
                ))
            }
        }
        (None, None) => Err(rule("namespaceId", "Service namespace id cannot be null")),
    }
}

/// A checked `DnsConfig`. The policy is optional.
struct DnsInput {
    routing_policy: Option<RoutingPolicy>,
    records: Vec<DnsRecord>,
}

fn dns_config(check: &mut Check, input: &DnsConfigInput) -> Option<DnsInput> {
    check.text("dnsConfig.namespaceId", input.namespace_id.as_deref(), constraint::RESOURCE_ID);
    let routing_policy = check.one_of(
        "dnsConfig.routingPolicy",
        input.routing_policy.as_deref(),
        ROUTING_POLICIES,
        &[RoutingPolicy::Multivalue, RoutingPolicy::Weighted],
    );
    let records = SETTINGS.dns_records(check, input.dns_records.as_deref())?;
    Some(DnsInput { routing_policy, records })
}

fn check_custom(check: &mut Check, input: Option<&HealthCheckCustomConfigInput>) {
    let threshold = input.and_then(|input| input.failure_threshold);
    check.range("healthCheckCustomConfig.failureThreshold", threshold, 1, 10);
}

/// How the service's instances can be found, from the namespace's type and the request.
fn service_kind(namespace: &Namespace, dns: Option<DnsInput>, http_only: bool) -> Result<ServiceKind, Error> {
    let http = http_only || namespace.kind.namespace_type() == NamespaceType::Http;
    let dns = match (http, dns) {
        (true, None) => return Ok(ServiceKind::Http),
        (true, Some(_)) if http_only => {
            return Err(rule(
                "dnsConfig",
                "When you create a service with a type of HTTP, you can't include a DnsConfig element.",
            ));
        }
        (true, Some(_)) => {
            return Err(rule(
                "dnsConfig",
                "When you create a service using a namespace that has a type of HTTP, you can't include a DnsConfig element.",
            ));
        }
        (false, None) => {
            return Err(rule(
                "dnsConfig",
                "A service in a DNS namespace needs a DnsConfig element, or the type HTTP.",
            ));
        }
        (false, Some(dns)) => dns,
    };
    SETTINGS.check_records(&dns.records)?;
    let cname = dns.records.iter().any(|record| record.kind == RecordType::Cname);
    let policy = dns.routing_policy.unwrap_or(RoutingPolicy::Multivalue);
    if cname && policy != RoutingPolicy::Weighted {
        return Err(rule(
            "dnsConfig.routingPolicy",
            "WEIGHTED routing policy must be used with DNS Record Type CNAME",
        ));
    }
    Ok(ServiceKind::DnsHttp(DnsConfig::new(policy, dns.records)))
}

pub(crate) fn delete(request: &DeleteServiceRequest, context: &WriteContext<'_>) -> Result<Plan<()>, Error> {
    let mut check = Check::default();
    let id = check.reference("id", request.id.as_deref());
    let id = check.finish(id)?;
    let entry = find_service(context.here(), context.scope, id)?;
    if entry.is_in_use() {
        return Err(Error::ResourceInUse(InUse::ServiceHasInstances));
    }
    let service = entry.service();
    let key = EntityKey::Service(service.id.clone());
    let changes = context
        .changes()
        .requiring(Precondition::Live(key.clone(), service.incarnation))
        .requiring(Precondition::Childless(key))
        .changing(Change::DeleteService(service.id.clone()));
    Ok(Plan::commit(changes, ()))
}

pub(crate) fn get(
    request: &GetServiceRequest,
    context: &ReadContext<'_>,
) -> Result<ServiceDescription, Error> {
    let mut check = Check::default();
    let id = check.reference("id", request.id.as_deref());
    let id = check.finish(id)?;
    find_service(context.here(), context.scope, id).map(describe)
}

fn describe(entry: &ServiceEntry) -> ServiceDescription {
    ServiceDescription::new(Arc::clone(entry.service()), entry.instances().len())
}

pub(crate) fn list(
    request: &ListServicesRequest,
    context: &ReadContext<'_>,
) -> Result<Page<ServiceDescription>, Error> {
    const LIST: &str = "ListServices";
    let mut check = Check::default();
    let token = check.next_token(request.next_token.as_deref());
    let max_results = check.max_results(request.max_results);
    let filters =
        filters::checked(&mut check, request.filters.as_deref(), &["NAMESPACE_ID", "RESOURCE_OWNER"]);
    let filter = ServiceFilter::of(check.finish(filters)?, context)?;
    let page_request = PageRequest::new(LIST, context.scope, token, max_results)?;
    let after = page_request.after(|id| ServiceId::parse(id).ok());
    let entries = context.here().services_after(after.as_ref());
    let is_wanted = |entry: &&ServiceEntry| filter.matches(entry.service());
    let page = page(LIST, context.scope, &page_request, entries, is_wanted, |entry| {
        (entry.age(), entry.service().id.as_str())
    });
    Ok(page.map(describe))
}

/// The conditions of ListServices, merged.
struct ServiceFilter<'r> {
    namespace: Only<'r>,
    /// Whether the caller's own services match. No other account shares any.
    own: bool,
}

impl<'r> ServiceFilter<'r> {
    fn of(filters: Vec<Checked<'r>>, context: &ReadContext<'_>) -> Result<Self, Error> {
        let mut merged = Self { namespace: Only::default(), own: true };
        for filter in filters {
            if filter.name == "RESOURCE_OWNER" {
                merged.own &= filter.own()?;
            } else {
                merged.namespace.and_id(&filter, "namespace", context)?;
            }
        }
        Ok(merged)
    }

    fn matches(&self, service: &Service) -> bool {
        self.own && self.namespace.matches(service.namespace_id.as_str())
    }
}
