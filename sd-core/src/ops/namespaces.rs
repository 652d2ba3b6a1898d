//! Namespaces: creating, describing, listing and deleting them.

use std::sync::Arc;

use super::{
    Plan, ReadContext, Starting, WriteContext,
    check::{Check, shared_members},
    filters::{self, Among, Checked, Only},
    find_namespace, namespace_lives,
    page::{PageRequest, page},
    tags::new_tags,
};
use crate::{
    api::{
        error::{Error, InUse},
        request::{
            CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
            DeleteNamespaceRequest, DnsNamespaceProperties, GetNamespaceRequest, ListNamespacesRequest,
        },
        response::{NamespaceDescription, OperationStarted, Page},
    },
    model::{
        CreatorRequestId, EntityKey, Fingerprint, HostedZone, HostedZoneId, Namespace, NamespaceId,
        NamespaceKind, NamespaceName, NamespaceType, OperationError, OperationErrorCode, OperationTargets,
        OperationType, Tags, UniqueKey, VpcId, action::Action, constraint, ids::name_hash,
    },
    settings::{mode::Leniency, quotas::Quota},
    state::{
        NamespaceEntry,
        change::{Change, PendingOperation, Precondition},
    },
};

/// The default SOA TTL of a private zone, in seconds, as seen on AWS.
const PRIVATE_SOA_TTL: u32 = 15;

/// The default SOA TTL of a public zone, in seconds.
const PUBLIC_SOA_TTL: u32 = 60;

/// The checked members that all create requests have.
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
    let name = check.required("name", request.name.as_deref(), constraint::NAMESPACE_NAME_HTTP);
    let creator_request_id = check.creator_request_id(request.creator_request_id.as_deref());
    let description = check.description("description", request.description.as_deref());
    let tags = check.tags(request.tags.as_deref());
    let name = check.finish(name)?;
    let tags = new_tags(tags, name)?;
    let common = Common { name: NamespaceName::of_checked(name), creator_request_id, description, tags };

    let replayed =
        |namespace: &Namespace| namespace.kind == NamespaceKind::Http && is_replay(namespace, &common, None);
    if let Some(started) =
        context.check_idle(&[UniqueKey::namespace_in_creation(&common.name)], creates(replayed))?
    {
        return Ok(context.started_before(started));
    }
    match context.here().http_namespace(common.name.as_str()) {
        Some(namespace) if replayed(namespace) => Ok(replay(namespace, context)),
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
    let name = check.required("name", request.name.as_deref(), constraint::NAMESPACE_NAME_PRIVATE);
    let creator_request_id = check.creator_request_id(request.creator_request_id.as_deref());
    let description = check.description("description", request.description.as_deref());
    let vpc = check.required("vpc", request.vpc.as_deref(), constraint::RESOURCE_ID);
    let tags = check.tags(request.tags.as_deref());
    let soa_ttl =
        soa_ttl(&mut check, request.properties.as_ref(), &SoaMembers::OF_CREATION).unwrap_or(PRIVATE_SOA_TTL);
    let (name, vpc) = check.finish(name.zip(vpc))?;
    let vpc = VpcId::of_checked(vpc);
    let tags = new_tags(tags, name)?;
    let common = Common { name: NamespaceName::of_checked(name), creator_request_id, description, tags };

    let replayed = |namespace: &Namespace| match &namespace.kind {
        NamespaceKind::DnsPrivate { vpc: found, .. } => {
            *found == vpc && is_replay(namespace, &common, Some(soa_ttl))
        }
        NamespaceKind::Http | NamespaceKind::DnsPublic { .. } => false,
    };
    if let Some(started) =
        context.check_idle(&[UniqueKey::namespace_in_creation(&common.name)], creates(replayed))?
    {
        return Ok(context.started_before(started));
    }
    let found = context.here().zone_in_vpc(vpc.as_str(), common.name.as_str());
    if let Some((namespace, zone)) = found.and_then(|namespace| Some((namespace, namespace.hosted_zone()?))) {
        if replayed(namespace) {
            return Ok(replay(namespace, context));
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
    let name = check.required("name", request.name.as_deref(), constraint::NAMESPACE_NAME_PUBLIC);
    let creator_request_id = check.creator_request_id(request.creator_request_id.as_deref());
    let description = check.description("description", request.description.as_deref());
    let tags = check.tags(request.tags.as_deref());
    let soa_ttl =
        soa_ttl(&mut check, request.properties.as_ref(), &SoaMembers::OF_CREATION).unwrap_or(PUBLIC_SOA_TTL);
    let name = check.finish(name)?;
    let tags = new_tags(tags, name)?;
    let common = Common { name: NamespaceName::of_checked(name), creator_request_id, description, tags };

    let replayed = |namespace: &Namespace| match &namespace.kind {
        NamespaceKind::DnsPublic { .. } => is_replay(namespace, &common, Some(soa_ttl)),
        NamespaceKind::Http | NamespaceKind::DnsPrivate { .. } => false,
    };
    if let Some(started) =
        context.check_idle(&[UniqueKey::namespace_in_creation(&common.name)], creates(replayed))?
    {
        return Ok(context.started_before(started));
    }
    let mut namespaces = context.here().namespaces().map(NamespaceEntry::namespace);
    if let Some(namespace) = namespaces.find(|namespace| replayed(namespace)) {
        return Ok(replay(namespace, context));
    }
    let kind = NamespaceKind::DnsPublic { zone: HostedZone::new(context.fresh.hosted_zone_id(), soa_ttl) };
    // Route 53 allows several public zones with one name, but one request creates only one of them.
    let key =
        common.creator_request_id.as_ref().map(|token| UniqueKey::public_namespace(&common.name, token));
    // If the key is taken, a different request was sent with the same token.
    let free = key.filter(|key| context.here().is_free(key));
    create(Action::CreatePublicDnsNamespace, common, kind, free, context)
}

shared_members! {
    /// The paths, in a request, of an SOA TTL and of the structures around it.
    SoaMembers {
        dns_properties: "properties.dnsProperties",
        soa: "properties.dnsProperties.sOA",
        ttl: "properties.dnsProperties.sOA.tTL",
    } in updates inside "namespace"
}

/// `Properties.DnsProperties.SOA.TTL`: every level is required once its parent is given.
pub(super) fn soa_ttl(
    check: &mut Check,
    properties: Option<&DnsNamespaceProperties>,
    members: &SoaMembers,
) -> Option<u32> {
    let dns = properties?.dns_properties.as_ref();
    if dns.is_none() {
        check.missing(members.dns_properties);
    }
    let soa = dns?.soa.as_ref();
    if soa.is_none() {
        check.missing(members.soa);
    }
    let ttl = check.required_range(members.ttl, soa?.ttl, 0, i64::from(i32::MAX))?;
    u32::try_from(ttl).ok()
}

impl Common {
    fn fingerprint(&self, soa_ttl: Option<u32>) -> Fingerprint {
        Fingerprint::of_namespace(self.name.as_str(), self.description.as_deref(), &self.tags, soa_ttl)
    }
}

/// Whether the same request created the namespace: same token, same members. Later changes do not matter.
fn is_replay(namespace: &Namespace, request: &Common, soa_ttl: Option<u32>) -> bool {
    request.creator_request_id.is_some()
        && namespace.creator_request_id == request.creator_request_id
        && namespace.created_as == request.fingerprint(soa_ttl)
}

fn replay(namespace: &Namespace, context: &WriteContext<'_>) -> Plan<OperationStarted> {
    let relying = context.changes().requiring(namespace_lives(namespace));
    let (id, targets) = (namespace.id.clone(), OperationTargets::Namespace(namespace.id.clone()));
    Plan::unchanged(relying, OperationStarted::new(namespace.created_by.clone(), id, targets))
}

/// Whether an operation creates a namespace for which `is_wanted` is true.
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
    context.check_quota(Quota::Namespaces, || context.here().expected_namespaces())?;
    let id = context.fresh.namespace_id();
    let (http_name, holder) = free_http_name(&common.name, &id, context);
    let starting = Starting {
        action,
        kind: OperationType::CreateNamespace,
        targets: OperationTargets::Namespace(id.clone()),
        namespace: id.clone(),
        error: None,
        // Only one namespace of a name is created at a time, across types, as Terraform's logs of DuplicateRequest show.
        claims: vec![UniqueKey::namespace_in_creation(&common.name)],
    };
    let created_as = common.fingerprint(kind.hosted_zone().map(|zone| zone.soa_ttl));
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
        created_as,
        zone_name: Default::default(),
    };
    let mut changes = context
        .changes()
        .requiring(Precondition::Free(UniqueKey::Id(EntityKey::Namespace(id))))
        .requiring(Precondition::Free(UniqueKey::HttpName(http_name.as_str().into())))
        .changing(Change::PutNamespace(Arc::new(namespace)));
    changes.preconditions.extend(free.map(Precondition::Free));
    // Without the holder, the namespace would get the plain name.
    changes.preconditions.extend(holder.map(namespace_lives));
    Ok(context.conclude(starting, changes))
}

/// The name itself, or the name with a hash if another namespace has or had the plain name (API Reference,
/// HttpProperties); and the namespace that has it.
fn free_http_name<'s>(
    name: &NamespaceName,
    id: &NamespaceId,
    context: &'s WriteContext<'_>,
) -> (NamespaceName, Option<&'s Namespace>) {
    let is_former = !context.mode.allows(Leniency::HttpNameOfDeletedNamespace)
        && context.state.was_http_name(context.scope, name.as_str());
    let holder = context.here().namespace_by_http_name(name.as_str());
    match holder.map(|holder| &**holder.namespace()) {
        // It is a former name, whatever becomes of the holder.
        _ if is_former => (hashed(name, id), None),
        Some(holder) => (hashed(name, id), Some(holder)),
        None => (name.clone(), None),
    }
}

/// The name with a hash of the id.
fn hashed(name: &NamespaceName, id: &NamespaceId) -> NamespaceName {
    let hash = name_hash(id);
    let room = 1024 - hash.len() - 1;
    let plain = name.as_str();
    // Names are ASCII, so every index is a character boundary.
    let hashed = format!("{}-{hash}", &plain[..plain.len().min(room)]);
    NamespaceName::parse(&hashed).unwrap_or_else(|_| name.clone())
}

/// The plan of a second zone with the same name in a VPC: the request is accepted and its operation fails, as seen by
/// Terraform's provider.
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
             domain name. (Service: AmazonRoute53; Status Code: 400; Error Code: ConflictingDomainExists; Request ID: {}; \
             Proxy: null)",
            context.fresh.request_id()
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
    // The failure depends on the other namespace.
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
    const NAMES: &[&str] = &["TYPE", "NAME", "HTTP_NAME", "RESOURCE_OWNER"];
    let mut check = Check::default();
    let token = check.next_token(request.next_token.as_deref());
    let max_results = check.max_results(request.max_results);
    let filters = filters::checked(&mut check, request.filters.as_deref(), NAMES);
    let filter = NamespaceFilter::of(check.finish(filters)?)?;
    let page_request = PageRequest::new(LIST, context.scope, token, max_results)?;
    let after = page_request.after(|id| NamespaceId::parse(id).ok());
    let entries = context.here().namespaces_after(after.as_ref());
    let is_wanted = |entry: &&NamespaceEntry| filter.matches(entry.namespace());
    let page = page(LIST, context.scope, &page_request, entries, is_wanted, |entry| {
        (entry.age(), entry.namespace().id.as_str())
    });
    Ok(page.map(describe))
}

/// The conditions of ListNamespaces, merged.
struct NamespaceFilter<'r> {
    kinds: Among<NamespaceType, 3>,
    name: Only<'r>,
    http_name: Only<'r>,
    /// Whether the caller's own namespaces match. No other account shares any.
    own: bool,
}

impl<'r> NamespaceFilter<'r> {
    const TYPES: [NamespaceType; 3] =
        [NamespaceType::Http, NamespaceType::DnsPublic, NamespaceType::DnsPrivate];

    fn of(filters: Vec<Checked<'r>>) -> Result<Self, Error> {
        let mut merged = Self {
            kinds: Among::of(Self::TYPES, |_| true),
            name: Only::default(),
            http_name: Only::default(),
            own: true,
        };
        for filter in filters {
            merged.and(&filter)?;
        }
        Ok(merged)
    }

    fn and(&mut self, filter: &Checked<'r>) -> Result<(), Error> {
        if filter.name == "RESOURCE_OWNER" {
            self.own &= filter.own()?;
            return Ok(());
        }
        let mut only = Only::default();
        let texts = match filter.name {
            "NAME" => &mut self.name,
            "HTTP_NAME" => &mut self.http_name,
            _ => &mut only,
        };
        match filter.condition {
            "EQ" => texts.and_eq(filter.single()?),
            "BEGINS_WITH" => texts.and_begins_with(filter.single()?),
            _ => return Err(filter.takes("EQ or BEGINS_WITH")),
        }
        if filter.name == "TYPE" {
            let kinds = Among::of(Self::TYPES, |kind| only.matches(kind.as_str()));
            if kinds.is_empty() {
                return Err(filter.unknown_value("HTTP, DNS_PUBLIC or DNS_PRIVATE"));
            }
            self.kinds.narrow(&kinds);
        }
        Ok(())
    }

    fn matches(&self, namespace: &Namespace) -> bool {
        self.own
            && self.kinds.contains(namespace.kind.namespace_type())
            && self.name.matches(namespace.name.as_str())
            && self.http_name.matches(namespace.http_name.as_str())
    }
}
