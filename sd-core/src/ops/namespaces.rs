//! Namespaces: creating, describing, listing and deleting them.

use std::sync::Arc;

use super::{
    Plan, ReadContext, Starting, WriteContext,
    check::Check,
    find_namespace,
    page::{asked, page},
};
use crate::{
    action::Action,
    change::{Change, EntityKey, PendingOperation, Precondition, UniqueKey},
    constraint::Constraint,
    error::{Error, InUse, rule},
    ids::{CreatorRequestId, HostedZoneId, NamespaceId, VpcId, name_hash},
    model::{
        HostedZone, Namespace, NamespaceKind, NamespaceType, OperationError, OperationErrorCode,
        OperationTargets, OperationType, Tags,
    },
    name::NamespaceName,
    quotas::Quota,
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
        DeleteNamespaceRequest, DnsNamespaceProperties, Filter, GetNamespaceRequest, ListNamespacesRequest,
    },
    response::{NamespaceDescription, OperationStarted, Page},
    state::NamespaceEntry,
};

/// The SOA TTL of a private zone if the request gives none, in seconds: what AWS was seen to give.
const PRIVATE_SOA_TTL: u32 = 15;

/// The same of a public zone.
const PUBLIC_SOA_TTL: u32 = 60;

/// What the create requests have in common, checked.
struct Common {
    name: NamespaceName,
    creator_request_id: Option<CreatorRequestId>,
    description: Option<Arc<str>>,
    tags: Tags,
}

pub(crate) fn create_http(
    request: &CreateHttpNamespaceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let mut check = Check::default();
    let name = check.required("name", request.name.as_deref(), NamespaceName::parse);
    let creator_request_id = check.creator_request_id(request.creator_request_id.as_deref());
    let description = check.description(request.description.as_deref());
    let tags = check.tags(request.tags.as_deref(), request.name.as_deref())?;
    let name = check.finish(name)?;
    let common = Common { name, creator_request_id, description, tags };

    let replayed =
        |namespace: &Namespace| namespace.kind == NamespaceKind::Http && is_replay(namespace, &common, None);
    if let Some(started) =
        context.check_idle(&[UniqueKey::namespace_in_creation(&common.name)], creates(replayed))?
    {
        return Ok(Plan::nothing(started));
    }
    match context.here().http_namespace(common.name.as_str()) {
        Some(namespace) if replayed(namespace) => Ok(replay(namespace)),
        Some(namespace) => Err(Error::NamespaceAlreadyExists {
            namespace_id: namespace.id.clone(),
            creator_request_id: namespace.creator_request_id.clone(),
        }),
        None => {
            let free = UniqueKey::HttpNamespace(common.name.as_str().into());
            create(Action::CreateHttpNamespace, common, NamespaceKind::Http, Some(free), context)
        }
    }
}

pub(crate) fn create_private_dns(
    request: &CreatePrivateDnsNamespaceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let mut check = Check::default();
    let name = check.required("name", request.name.as_deref(), NamespaceName::parse_private);
    let vpc = check.required("vpc", request.vpc.as_deref(), VpcId::parse);
    let creator_request_id = check.creator_request_id(request.creator_request_id.as_deref());
    let description = check.description(request.description.as_deref());
    let soa_ttl = soa_ttl(&mut check, request.properties.as_ref(), &IN_REQUEST).unwrap_or(PRIVATE_SOA_TTL);
    let tags = check.tags(request.tags.as_deref(), request.name.as_deref())?;
    let (name, vpc) = check.finish(name.zip(vpc))?;
    let common = Common { name, creator_request_id, description, tags };

    let replayed = |namespace: &Namespace| match &namespace.kind {
        NamespaceKind::DnsPrivate { vpc: found, .. } => {
            *found == vpc && is_replay(namespace, &common, Some(soa_ttl))
        }
        NamespaceKind::Http | NamespaceKind::DnsPublic { .. } => false,
    };
    if let Some(started) =
        context.check_idle(&[UniqueKey::namespace_in_creation(&common.name)], creates(replayed))?
    {
        return Ok(Plan::nothing(started));
    }
    let found = context.here().zone_in_vpc(vpc.as_str(), common.name.as_str());
    if let Some((namespace, zone)) = found.and_then(|namespace| Some((namespace, namespace.hosted_zone()?))) {
        if replayed(namespace) {
            return Ok(replay(namespace));
        }
        return Ok(conflicting_zone(&common.name, &vpc, namespace, &zone.id, context));
    }
    let zone = HostedZone::new(context.fresh.hosted_zone_id(), soa_ttl);
    let free = UniqueKey::zone(&vpc, &common.name);
    let kind = NamespaceKind::DnsPrivate { vpc, zone };
    create(Action::CreatePrivateDnsNamespace, common, kind, Some(free), context)
}

pub(crate) fn create_public_dns(
    request: &CreatePublicDnsNamespaceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let mut check = Check::default();
    let name = check.required("name", request.name.as_deref(), NamespaceName::parse_public);
    let creator_request_id = check.creator_request_id(request.creator_request_id.as_deref());
    let description = check.description(request.description.as_deref());
    let soa_ttl = soa_ttl(&mut check, request.properties.as_ref(), &IN_REQUEST).unwrap_or(PUBLIC_SOA_TTL);
    let tags = check.tags(request.tags.as_deref(), request.name.as_deref())?;
    let name = check.finish(name)?;
    let common = Common { name, creator_request_id, description, tags };

    let replayed = |namespace: &Namespace| match &namespace.kind {
        NamespaceKind::DnsPublic { .. } => is_replay(namespace, &common, Some(soa_ttl)),
        NamespaceKind::Http | NamespaceKind::DnsPrivate { .. } => false,
    };
    if let Some(started) =
        context.check_idle(&[UniqueKey::namespace_in_creation(&common.name)], creates(replayed))?
    {
        return Ok(Plan::nothing(started));
    }
    let mut namespaces = context.here().namespaces().map(NamespaceEntry::namespace);
    if let Some(namespace) = namespaces.find(|namespace| replayed(namespace)) {
        return Ok(replay(namespace));
    }
    let kind = NamespaceKind::DnsPublic { zone: HostedZone::new(context.fresh.hosted_zone_id(), soa_ttl) };
    // Route 53 allows several public zones of one name, but one request creates one of them.
    let key =
        common.creator_request_id.as_ref().map(|token| UniqueKey::public_namespace(&common.name, token));
    // Taken, it belongs to another request that was sent with the same token.
    let free = key.filter(|key| context.here().is_free(key));
    create(Action::CreatePublicDnsNamespace, common, kind, free, context)
}

/// Where an SOA TTL stands in a request, for what is said of it.
pub(super) struct SoaMembers {
    dns_properties: &'static str,
    soa: &'static str,
    ttl: &'static str,
}

macro_rules! soa_members_in {
    ($path:literal) => {
        SoaMembers {
            dns_properties: concat!($path, "properties.dnsProperties"),
            soa: concat!($path, "properties.dnsProperties.sOA"),
            ttl: concat!($path, "properties.dnsProperties.sOA.tTL"),
        }
    };
}

/// Of the creations.
const IN_REQUEST: SoaMembers = soa_members_in!("");
/// Of the updates.
pub(super) const IN_CHANGE: SoaMembers = soa_members_in!("namespace.");

/// `Properties.DnsProperties.SOA.TTL`: every level is required once its parent is given.
pub(super) fn soa_ttl(
    check: &mut Check,
    properties: Option<&DnsNamespaceProperties>,
    members: &SoaMembers,
) -> Option<u32> {
    let dns = properties?.dns_properties.as_ref();
    if dns.is_none() {
        check.violated(members.dns_properties, None, Constraint::NotNull);
    }
    let soa = dns?.soa.as_ref();
    if soa.is_none() {
        check.violated(members.soa, None, Constraint::NotNull);
    }
    let ttl = check.required_range(members.ttl, soa?.ttl, 0, i64::from(i32::MAX))?;
    u32::try_from(ttl).ok()
}

/// Whether the namespace came from the same request: same token, same members, whatever was changed since.
fn is_replay(namespace: &Namespace, request: &Common, soa_ttl: Option<u32>) -> bool {
    let created = namespace.as_created();
    request.creator_request_id.is_some()
        && created.creator_request_id == request.creator_request_id
        && created.name == request.name
        && created.description == request.description
        && created.tags == request.tags
        && created.hosted_zone().map(|zone| zone.soa_ttl) == soa_ttl
}

fn replay(namespace: &Namespace) -> Plan<OperationStarted> {
    Plan::nothing(OperationStarted::new(namespace.created_by.clone()))
}

/// Whether an operation creates a namespace that `is_wanted`.
fn creates(is_wanted: impl Fn(&Namespace) -> bool) -> impl Fn(&PendingOperation) -> bool {
    move |pending| {
        pending.effect.iter().any(|change| matches!(change, Change::PutNamespace(found) if is_wanted(found)))
    }
}

fn create(
    action: Action,
    common: Common,
    kind: NamespaceKind,
    free: Option<UniqueKey>,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    context.quotas.check(Quota::Namespaces, || context.here().expected_namespaces())?;
    let id = context.fresh.namespace_id();
    let http_name = free_http_name(&common.name, &id, context);
    let starting = Starting {
        action,
        kind: OperationType::CreateNamespace,
        targets: OperationTargets::Namespace(id.clone()),
        namespace: id.clone(),
        error: None,
        // One namespace of a name is created at a time, across types, as Terraform's logs of DuplicateRequest
        // show.
        claims: vec![UniqueKey::namespace_in_creation(&common.name)],
    };
    let namespace = Namespace {
        scope: context.scope.clone(),
        id: id.clone(),
        name: common.name,
        http_name: http_name.clone(),
        kind,
        description: common.description,
        tags: common.tags,
        created: context.now,
        creator_request_id: common.creator_request_id,
        created_by: context.fresh.operation_id(context.now),
        updater_request_id: None,
        updated_by: None,
        incarnation: context.fresh.incarnation(),
        created_as: None,
        zone_name: Default::default(),
    };
    let mut changes = context
        .changes()
        .requiring(Precondition::Free(UniqueKey::Id(EntityKey::Namespace(id))))
        .requiring(Precondition::Free(UniqueKey::HttpName(http_name.as_str().into())))
        .changing(Change::PutNamespace(Arc::new(namespace)));
    changes.preconditions.extend(free.map(Precondition::Free));
    Ok(context.conclude(starting, changes))
}

/// The name itself, or with a hash where another namespace is known by it (API Reference, HttpProperties).
fn free_http_name(name: &NamespaceName, id: &NamespaceId, context: &WriteContext<'_>) -> NamespaceName {
    if context.here().namespace_by_http_name(name.as_str()).is_none() {
        return name.clone();
    }
    let hash = name_hash(id);
    let room = 1024 - hash.len() - 1;
    let plain = name.as_str();
    // Names are ASCII, so every index is a boundary.
    let hashed = format!("{}-{hash}", &plain[..plain.len().min(room)]);
    NamespaceName::parse(&hashed).unwrap_or_else(|_| name.clone())
}

/// A second zone of the same name in a VPC is accepted, and its operation fails, as Terraform's provider has seen it.
fn conflicting_zone(
    name: &NamespaceName,
    vpc: &VpcId,
    other: &Namespace,
    zone: &HostedZoneId,
    context: &WriteContext<'_>,
) -> Plan<OperationStarted> {
    let region = context.scope.region();
    let error = OperationError::new(
        OperationErrorCode::CannotCreateHostedZone,
        format!(
            "The VPC {vpc} in region {region} has already been associated with the hosted zone {zone} with the same \
             domain name. (Service: AmazonRoute53; Status Code: 400; Error Code: ConflictingDomainExists)"
        ),
    );
    let id = context.fresh.namespace_id();
    let starting = Starting {
        action: Action::CreatePrivateDnsNamespace,
        kind: OperationType::CreateNamespace,
        targets: OperationTargets::Namespace(id.clone()),
        namespace: id,
        error: Some(error),
        claims: vec![UniqueKey::namespace_in_creation(name)],
    };
    // It fails because the other one is there.
    let other = Precondition::Live(EntityKey::Namespace(other.id.clone()), other.incarnation);
    context.conclude(starting, context.changes().requiring(other))
}

pub(crate) fn delete(
    request: &DeleteNamespaceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let mut check = Check::default();
    let id = check.reference("id", request.id.as_deref());
    let id = check.finish(id)?;
    let entry = find_namespace(context.here(), context.scope, id)?;
    if entry.service_count() > 0 {
        return Err(Error::ResourceInUse(InUse::NamespaceHasServices));
    }
    let namespace = entry.namespace();
    let key = EntityKey::Namespace(namespace.id.clone());
    let claims = vec![UniqueKey::Target(key.clone())];
    context.check_idle(&claims, |_| false)?;
    let starting = Starting {
        action: Action::DeleteNamespace,
        kind: OperationType::DeleteNamespace,
        targets: OperationTargets::Namespace(namespace.id.clone()),
        namespace: namespace.id.clone(),
        error: None,
        claims,
    };
    let changes = context
        .changes()
        .requiring(Precondition::Live(key.clone(), namespace.incarnation))
        .requiring(Precondition::Childless(key))
        .changing(Change::DeleteNamespace(namespace.id.clone()));
    Ok(context.conclude(starting, changes))
}

pub(crate) fn get(
    request: &GetNamespaceRequest,
    context: &ReadContext<'_>,
) -> Result<NamespaceDescription, Error> {
    let mut check = Check::default();
    let id = check.reference("id", request.id.as_deref());
    let id = check.finish(id)?;
    find_namespace(context.here(), context.scope, id).map(describe)
}

fn describe(entry: &NamespaceEntry) -> NamespaceDescription {
    NamespaceDescription::new(Arc::clone(entry.namespace()), entry.service_count())
}

pub(crate) fn list(
    request: &ListNamespacesRequest,
    context: &ReadContext<'_>,
) -> Result<Page<NamespaceDescription>, Error> {
    const LIST: &str = "ListNamespaces";
    let mut check = Check::default();
    let asked = asked(&mut check, request.next_token.as_deref(), request.max_results);
    let filters = filters(&mut check, request.filters.as_deref().unwrap_or_default());
    let filters = check.finish(filters)??;
    let page_request = asked.of(LIST, context.scope)?;
    let after =
        page_request.after.as_ref().and_then(|(created, id)| Some((*created, NamespaceId::parse(id).ok()?)));
    let entries = context
        .here()
        .namespaces_after(after.as_ref())
        .filter(|entry| filters.iter().all(|filter| filter.matches(entry.namespace())));
    let page = page(LIST, context.scope, &page_request, entries, |entry| {
        (entry.age(), entry.namespace().id.as_str())
    });
    Ok(page.map(describe))
}

/// A condition of ListNamespaces.
enum NamespaceFilter<'r> {
    /// The type is one of these.
    Type(Vec<NamespaceType>),
    Name(Matcher<'r>),
    HttpName(Matcher<'r>),
    /// Own namespaces, or those that others share: there are none.
    Owner {
        own: bool,
    },
}

/// How a filter compares texts.
enum Matcher<'r> {
    Eq(&'r str),
    BeginsWith(&'r str),
}

impl Matcher<'_> {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Eq(value) => text == *value,
            Self::BeginsWith(value) => text.starts_with(value),
        }
    }
}

impl NamespaceFilter<'_> {
    fn matches(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Type(types) => types.contains(&namespace.kind.namespace_type()),
            Self::Name(matcher) => matcher.matches(namespace.name.as_str()),
            Self::HttpName(matcher) => matcher.matches(namespace.http_name.as_str()),
            Self::Owner { own } => *own,
        }
    }
}

/// The filters, if their members are right; then whether they go together.
#[allow(clippy::type_complexity, reason = "members first, rules between them after")]
fn filters<'r>(check: &mut Check, filters: &'r [Filter]) -> Option<Result<Vec<NamespaceFilter<'r>>, Error>> {
    const NAMES: &[&str] = &["TYPE", "NAME", "HTTP_NAME", "RESOURCE_OWNER"];
    let mut parsed = Vec::with_capacity(filters.len());
    for filter in filters {
        parsed.push(members(check, filter, NAMES));
    }
    let parsed: Option<Vec<_>> = parsed.into_iter().collect();
    Some(parsed?.into_iter().map(namespace_filter).collect())
}

fn namespace_filter((name, condition, values): FilterMembers<'_>) -> Result<NamespaceFilter<'_>, Error> {
    const TYPES: [NamespaceType; 3] =
        [NamespaceType::Http, NamespaceType::DnsPublic, NamespaceType::DnsPrivate];
    let matcher = match (name, condition) {
        ("RESOURCE_OWNER", _) => {
            return Ok(NamespaceFilter::Owner { own: resource_owner(condition, values)? });
        }
        (_, "EQ") => Matcher::Eq(single(values)?),
        (_, "BEGINS_WITH") => Matcher::BeginsWith(single(values)?),
        _ => {
            return Err(rule(
                "filters.member.condition",
                format!("The filter {name} takes EQ or BEGINS_WITH."),
            ));
        }
    };
    Ok(match name {
        "NAME" => NamespaceFilter::Name(matcher),
        "HTTP_NAME" => NamespaceFilter::HttpName(matcher),
        _ => {
            let types: Vec<_> = TYPES.into_iter().filter(|kind| matcher.matches(kind.as_str())).collect();
            if types.is_empty() {
                return Err(rule(
                    "filters.member.values",
                    "The filter TYPE takes HTTP, DNS_PUBLIC or DNS_PRIVATE.",
                ));
            }
            NamespaceFilter::Type(types)
        }
    })
}

/// Name, condition and values of a filter.
pub(super) type FilterMembers<'r> = (&'r str, &'r str, &'r [String]);

/// Checks the members of a filter by themselves. A condition that is absent is EQ.
pub(super) fn members<'r>(
    check: &mut Check,
    filter: &'r Filter,
    names: &'static [&'static str],
) -> Option<FilterMembers<'r>> {
    const CONDITIONS: &[&str] = &["EQ", "IN", "BETWEEN", "BEGINS_WITH"];
    if filter.name.is_none() {
        check.violated("filters.member.name", None, Constraint::NotNull);
    }
    let name = check.one_of("filters.member.name", filter.name.as_deref(), names, names);
    let condition =
        check.one_of("filters.member.condition", filter.condition.as_deref(), CONDITIONS, CONDITIONS);
    let condition = match (&filter.condition, condition) {
        (None, _) => Some("EQ"),
        (Some(_), condition) => condition,
    };
    let values = filter.values.as_deref();
    if values.is_none() {
        check.violated("filters.member.values", None, Constraint::NotNull);
    }
    for value in values.unwrap_or_default() {
        check.parsed("filters.member.values.member", Some(value), |value| {
            crate::constraint::length(value, 1, 255)
        });
    }
    Some((name?, condition?, values?))
}

/// The one value that EQ and BEGINS_WITH take.
pub(super) fn single(values: &[String]) -> Result<&str, Error> {
    match values {
        [value] => Ok(value),
        _ => Err(rule("filters.member.values", "The conditions EQ and BEGINS_WITH take one value.")),
    }
}

/// Whether a RESOURCE_OWNER filter wants the caller's own resources.
pub(super) fn resource_owner(condition: &str, values: &[String]) -> Result<bool, Error> {
    if condition != "EQ" {
        return Err(rule("filters.member.condition", "The filter RESOURCE_OWNER takes EQ."));
    }
    match single(values)? {
        "SELF" => Ok(true),
        "OTHER_ACCOUNTS" => Ok(false),
        _ => Err(rule("filters.member.values", "The filter RESOURCE_OWNER takes SELF or OTHER_ACCOUNTS.")),
    }
}
