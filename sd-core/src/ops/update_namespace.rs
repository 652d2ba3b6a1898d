//! Updating namespaces: the description of each kind, the SOA TTL of a zone. What a request does not give stays.

use std::sync::Arc;

use super::{
    Plan, Starting, WriteContext,
    check::Check,
    find_namespace,
    namespaces::{IN_CHANGE, soa_ttl},
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

/// What is to change, checked.
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
    let change = required(&mut check, request.namespace.as_ref());
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

/// The members of both updates of DNS namespaces.
fn dns<'r>(
    id: Option<&'r str>,
    updater_request_id: Option<&str>,
    change: Option<&DnsNamespaceChange>,
) -> Result<(&'r str, Update), Error> {
    let mut check = Check::default();
    let id = check.reference("id", id);
    let updater_request_id = check.updater_request_id(updater_request_id);
    let change = required(&mut check, change);
    let description = check.description(DESCRIPTION, change.and_then(|change| change.description.as_deref()));
    let soa_ttl = soa_ttl(&mut check, change.and_then(|change| change.properties.as_ref()), &IN_CHANGE);
    let id = check.finish(id)?;
    Ok((id, Update { updater_request_id, description, soa_ttl }))
}

fn required<'r, T>(check: &mut Check, change: Option<&'r T>) -> Option<&'r T> {
    if change.is_none() {
        check.missing(NAMESPACE);
    }
    change
}

impl Update {
    /// The namespace with what is given.
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

    /// Whether the namespace came from the same request: same token, and everything is as it wants it.
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
        let relying = context.changes().requiring(Precondition::At(key, entry.revision()));
        return Ok(Plan::unchanged(relying, OperationStarted::new(operation.clone())));
    }
    let starting = Starting {
        action,
        kind: OperationType::UpdateNamespace,
        targets: OperationTargets::Namespace(before.id.clone()),
        namespace: before.id.clone(),
        error: None,
        claims,
    };
    let namespace = before.changed(|namespace| {
        *namespace = update.of(namespace);
        namespace.updater_request_id = update.updater_request_id;
        namespace.updated_by = Some(context.fresh.operation_id(context.now));
    });
    let changes = context
        .changes()
        .requiring(Precondition::At(key, entry.revision()))
        .changing(Change::PutNamespace(namespace));
    Ok(context.conclude(starting, changes))
}
