//! Tags of namespaces and services: setting, removing and listing them.
//!
//! Requests name the resource by its ARN. An id, or the ARN of another kind of resource, another account or another Region,
//! is not found.

use std::{collections::BTreeMap, sync::Arc};

use super::{Plan, ReadContext, WriteContext, check::Check, own_id};
use crate::{
    api::{
        error::{Error, rule},
        request::{ListTagsForResourceRequest, TagResourceRequest, UntagResourceRequest},
    },
    model::{EntityKey, Namespace, Scope, Service, Tags, constraint},
    state::{
        NamespaceEntry, ScopeState, ServiceEntry,
        change::{Change, Precondition},
    },
};

/// The most tags of a resource (API Reference, TooManyTagsException).
const PER_RESOURCE: usize = 50;

/// A resource that can have tags.
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

    /// The plan that gives the resource these tags. It conflicts with any other change of the resource.
    fn retag(&self, tags: Tags, context: &WriteContext<'_>) -> Plan<()> {
        let is_same = tags == *self.tags();
        let (key, revision, change) = match self {
            Self::Namespace(entry) => {
                let namespace = Arc::new(Namespace { tags, ..Namespace::clone(entry.namespace()) });
                let key = EntityKey::Namespace(namespace.id.clone());
                (key, entry.revision(), Change::PutNamespace(namespace))
            }
            Self::Service(entry) => {
                let service = Arc::new(Service { tags, ..Service::clone(entry.service()) });
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

/// Checks a required ARN. The format is not validated; a malformed ARN is simply not found.
fn resource_arn<'v>(check: &mut Check, value: Option<&'v str>) -> Option<&'v str> {
    check.required("resourceARN", value, constraint::AMAZON_RESOURCE_NAME)
}

fn find<'s>(state: &'s ScopeState, scope: &Scope, arn: &str) -> Result<Resource<'s>, Error> {
    let own = |kind| own_id(scope, arn, kind).filter(|_| arn.starts_with("arn:"));
    let namespace = || own("namespace").and_then(|id| state.namespace(id)).map(Resource::Namespace);
    let service = || own("service").and_then(|id| state.service(id)).map(Resource::Service);
    namespace().or_else(service).ok_or_else(|| Error::ResourceNotFound(arn.to_owned()))
}

/// The tags of a new resource, after [`Check::tags`].
pub(super) fn new_tags(given: Option<BTreeMap<String, String>>, resource_name: &str) -> Result<Tags, Error> {
    let given = given.unwrap_or_default();
    check_tag_keys(&given)?;
    limited(Tags::new(given), resource_name)
}

/// Refuses keys that begin with `aws:`, which are reserved (API Reference, Tag).
fn check_tag_keys(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    let is_reserved = |key: &str| key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"));
    match tags.keys().find(|key| is_reserved(key)) {
        None => Ok(()),
        Some(key) => Err(rule("tags", format!("Tag keys that begin with aws: are reserved: {key}"))),
    }
}

/// Refuses more tags than a resource may have.
fn limited(tags: Tags, resource_name: &str) -> Result<Tags, Error> {
    if tags.len() > PER_RESOURCE {
        return Err(Error::TooManyTags { resource_name: resource_name.to_owned(), count: tags.len() });
    }
    Ok(tags)
}
