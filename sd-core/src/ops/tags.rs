//! Tags of namespaces and services: setting, removing and listing them.
//!
//! They are named by their ARNs. An id, and the ARN of anything else or of another account or Region, names no resource.

use super::{
    Plan, ReadContext, WriteContext,
    check::{Check, check_tag_keys, limited},
    own_id,
};
use crate::{
    api::{
        error::Error,
        request::{ListTagsForResourceRequest, TagResourceRequest, UntagResourceRequest},
    },
    model::{EntityKey, Scope, Tags, constraint},
    state::{
        NamespaceEntry, ScopeState, ServiceEntry,
        change::{Change, Precondition},
    },
};

/// What can have tags.
enum Resource<'s> {
    Namespace(&'s NamespaceEntry),
    Service(&'s ServiceEntry),
}

impl Resource<'_> {
    fn tags(&self) -> &Tags {
        match self {
            Self::Namespace(entry) => &entry.namespace().tags,
            Self::Service(entry) => &entry.service().tags,
        }
    }

    /// The plan that gives it these tags, unless someone else changes it in the meantime.
    fn retag(&self, tags: Tags, context: &WriteContext<'_>) -> Plan<()> {
        let is_same = tags == *self.tags();
        let (key, revision, change) = match self {
            Self::Namespace(entry) => {
                let namespace = entry.namespace().changed(|namespace| namespace.tags = tags);
                let key = EntityKey::Namespace(namespace.id.clone());
                (key, entry.revision(), Change::PutNamespace(namespace))
            }
            Self::Service(entry) => {
                let service = entry.service().changed(|service| service.tags = tags);
                let key = EntityKey::Service(service.id.clone());
                (key, entry.revision(), Change::PutService(service))
            }
        };
        let changes = context.changes().requiring(Precondition::At(key, revision));
        if is_same { Plan::unchanged(changes, ()) } else { Plan::commit(changes.changing(change), ()) }
    }
}

pub(crate) fn tag(request: &TagResourceRequest, context: &WriteContext<'_>) -> Result<Plan<()>, Error> {
    let mut check = Check::default();
    let arn = resource_arn(&mut check, request.resource_arn.as_deref());
    let given = check.required_tags(request.tags.as_deref());
    let (arn, given) = check.finish(arn.zip(given))?;
    check_tag_keys(&given)?;
    let resource = find(context.here(), context.scope, arn)?;
    let tags = limited(resource.tags().with(given), arn)?;
    Ok(resource.retag(tags, context))
}

pub(crate) fn untag(request: &UntagResourceRequest, context: &WriteContext<'_>) -> Result<Plan<()>, Error> {
    let mut check = Check::default();
    let arn = resource_arn(&mut check, request.resource_arn.as_deref());
    let keys = check.required_texts("tagKeys", request.tag_keys.as_deref(), (0, 200), constraint::TAG_KEY);
    let (arn, keys) = check.finish(arn.zip(keys))?;
    let resource = find(context.here(), context.scope, arn)?;
    Ok(resource.retag(resource.tags().without(keys), context))
}

pub(crate) fn list(request: &ListTagsForResourceRequest, context: &ReadContext<'_>) -> Result<Tags, Error> {
    let mut check = Check::default();
    let arn = resource_arn(&mut check, request.resource_arn.as_deref());
    let arn = check.finish(arn)?;
    find(context.here(), context.scope, arn).map(|resource| resource.tags().clone())
}

/// A required ARN. Its form is not checked; a malformed ARN is simply not found.
fn resource_arn<'v>(check: &mut Check, value: Option<&'v str>) -> Option<&'v str> {
    check.required("resourceARN", value, constraint::AMAZON_RESOURCE_NAME)
}

fn find<'s>(state: &'s ScopeState, scope: &Scope, arn: &str) -> Result<Resource<'s>, Error> {
    let own = |kind| own_id(scope, arn, kind).filter(|_| arn.starts_with("arn:"));
    let namespace = || own("namespace").and_then(|id| state.namespace(id)).map(Resource::Namespace);
    let service = || own("service").and_then(|id| state.service(id)).map(Resource::Service);
    namespace().or_else(service).ok_or_else(|| Error::ResourceNotFound(arn.to_owned()))
}
