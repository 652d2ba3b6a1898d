//! Updates of namespaces: the description, and the SOA TTL of a zone. What a request leaves out does not change.

use std::sync::Arc;

use super::{
    Plan, Starting, WriteContext,
    check::Check,
    find_namespace,
    namespaces::{SoaMembers, soa_ttl},
};
use crate::{
    api::{
        error::{Error, rule},
        request::{
            DnsNamespaceChange, UpdateHttpNamespaceRequest, UpdatePrivateDnsNamespaceRequest,
            UpdatePublicDnsNamespaceRequest,
        },
        response::OperationStarted,
    },
    model::{
        EntityKey, Namespace, NamespaceType, OperationTargets, OperationType, UniqueKey, UpdaterRequestId,
        action::Action,
    },
    state::change::{Change, PendingOperation, Precondition},
};

const NAMESPACE: &str = "namespace";
const DESCRIPTION: &str = "namespace.description";

/// The checked members of an update.
struct Update {
    updater_request_id: Option<UpdaterRequestId>,
    description: Option<Arc<str>>,
    soa_ttl: Option<u32>,
}

pub(crate) fn http(
    request: &UpdateHttpNamespaceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let mut check = Check::default();
    let id = check.reference("id", request.id.as_deref());
    let updater_request_id = check.updater_request_id(request.updater_request_id.as_deref());
    let change = check.given(NAMESPACE, request.namespace.as_ref());
    let given = change.and_then(|change| change.description.as_deref());
    if change.is_some() && given.is_none() {
        check.missing(DESCRIPTION);
    }
    let description = check.description(DESCRIPTION, given);
    let id = check.finish(id)?;
    let update = Update { updater_request_id, description, soa_ttl: None };
    change_namespace(Action::UpdateHttpNamespace, NamespaceType::Http, id, update, context)
}

pub(crate) fn private_dns(
    request: &UpdatePrivateDnsNamespaceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let (id, update) =
        dns(request.id.as_deref(), request.updater_request_id.as_deref(), request.namespace.as_ref())?;
    change_namespace(Action::UpdatePrivateDnsNamespace, NamespaceType::DnsPrivate, id, update, context)
}

pub(crate) fn public_dns(
    request: &UpdatePublicDnsNamespaceRequest,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let (id, update) =
        dns(request.id.as_deref(), request.updater_request_id.as_deref(), request.namespace.as_ref())?;
    change_namespace(Action::UpdatePublicDnsNamespace, NamespaceType::DnsPublic, id, update, context)
}

/// Checks the members of an update of a private or public DNS namespace.
fn dns<'r>(
    id: Option<&'r str>,
    updater_request_id: Option<&str>,
    change: Option<&DnsNamespaceChange>,
) -> Result<(&'r str, Update), Error> {
    let mut check = Check::default();
    let id = check.reference("id", id);
    let updater_request_id = check.updater_request_id(updater_request_id);
    let change = check.given(NAMESPACE, change);
    let description = check.description(DESCRIPTION, change.and_then(|change| change.description.as_deref()));
    let soa_ttl =
        soa_ttl(&mut check, change.and_then(|change| change.properties.as_ref()), &SoaMembers::OF_UPDATE);
    let id = check.finish(id)?;
    Ok((id, Update { updater_request_id, description, soa_ttl }))
}

impl Update {
    /// The namespace after the update.
    fn of(&self, namespace: &Namespace) -> Namespace {
        let mut namespace = namespace.clone();
        if let Some(description) = &self.description {
            namespace.description = Some(Arc::clone(description)).filter(|text| !text.is_empty());
        }
        if let (Some(zone), Some(ttl)) = (namespace.kind.hosted_zone_mut(), self.soa_ttl) {
            zone.soa_ttl = ttl;
        }
        namespace
    }

    /// Whether the same request has updated the namespace: same token, and the update would change nothing.
    fn is_replay(&self, namespace: &Namespace) -> bool {
        self.updater_request_id.is_some()
            && namespace.updater_request_id == self.updater_request_id
            && self.of(namespace) == *namespace
    }
}

fn change_namespace(
    action: Action,
    kind: NamespaceType,
    id: &str,
    update: Update,
    context: &WriteContext<'_>,
) -> Result<Plan<OperationStarted>, Error> {
    let entry = find_namespace(context.here(), context.scope, id)?;
    let before = entry.namespace();
    let found = before.kind.namespace_type();
    if found != kind {
        let (found, kind) = (found.as_str(), kind.as_str());
        return Err(rule(
            "id",
            format!("{action} updates namespaces of type {kind}, and {id} is one of type {found}."),
        ));
    }
    let key = EntityKey::Namespace(before.id.clone());
    let claims = vec![UniqueKey::Target(key.clone())];
    let replays = |pending: &PendingOperation| {
        let updates =
            |change: &Change| matches!(change, Change::PutNamespace(found) if update.is_replay(found));
        pending.effect.iter().any(updates)
    };
    if let Some(started) = context.check_idle(&claims, replays)? {
        return Ok(context.started_before(started));
    }
    if let Some(operation) = before.updated_by.as_ref().filter(|_| update.is_replay(before)) {
        let targets = OperationTargets::Namespace(before.id.clone());
        let relying = context.changes().requiring(Precondition::At(key, entry.revision()));
        let started = OperationStarted::new(operation.clone(), before.id.clone(), targets);
        return Ok(Plan::unchanged(relying, started));
    }
    let starting = Starting {
        action,
        kind: OperationType::UpdateNamespace,
        targets: OperationTargets::Namespace(before.id.clone()),
        namespace: before.id.clone(),
        error: None,
        claims,
    };
    let updated = update.of(before);
    let namespace = Arc::new(Namespace {
        updated_by: Some(context.fresh.operation_id(context.now)),
        updater_request_id: update.updater_request_id,
        ..updated
    });
    let changes = context
        .changes()
        .requiring(Precondition::At(key, entry.revision()))
        .changing(Change::PutNamespace(namespace));
    Ok(context.conclude(starting, changes))
}
