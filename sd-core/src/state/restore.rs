//! A state from its facts.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{InstancesRevision, Revision, ScopeState, State};
use crate::{
    model::{Scope, Timestamp},
    stored::{Facts, RestoreError},
};

impl State {
    /// The state that consists of these facts: it answers every question as the one that they were made of.
    ///
    /// Instances revisions go on above the stored ones, page tokens and tokens of requests are known, and what was delayed
    /// takes effect at its moment.
    ///
    /// # Errors
    /// The entity and the member that cannot be read, or that contradicts another record: a parent that does not exist, a
    /// name or a claim that two have.
    pub fn restore(facts: Facts) -> Result<Self, RestoreError> {
        let mut state = Self {
            revision: Revision::from_u64(facts.revision.max(facts.highest_place())),
            last_instances_revision: InstancesRevision::from_u64(facts.last_instances_revision),
            ..Self::default()
        };
        let mut scopes: BTreeMap<Scope, ScopeState> = BTreeMap::new();
        let former_names = Arc::make_mut(&mut state.former_names);
        for record in &facts.scopes {
            let (scope, names) = record.restore()?;
            names.iter().for_each(|name| former_names.insert(&scope, &name.as_str().into()));
            scopes.entry(scope).or_default().last_instances_revision =
                InstancesRevision::from_u64(record.last_instances_revision);
        }
        for record in facts.namespaces {
            let revision = Revision::from_u64(record.place);
            let namespace = record.restore()?;
            let here = scopes.entry(namespace.scope.clone()).or_default();
            let wrong = |member, reason: String| contradiction("namespace", &namespace.id, member, reason);
            if here.namespaces.contains_key(&namespace.id) {
                return Err(wrong("id", "it is stored twice".to_owned()));
            }
            if let Some(other) = here.http_names.get(namespace.http_name.as_str()) {
                return Err(wrong("http_name", format!("namespace {other} has it")));
            }
            here.put_namespace(&Arc::new(namespace), revision);
        }
        for record in facts.services {
            let (revision, instances_revision) = (record.place, record.instances_revision);
            let service = record.restore()?;
            let here = scopes.entry(service.scope.clone()).or_default();
            let wrong = |member, reason: String| contradiction("service", &service.id, member, reason);
            if here.services.contains_key(&service.id) {
                return Err(wrong("id", "it is stored twice".to_owned()));
            }
            let Some(namespace) = here.namespaces.get(&service.namespace_id) else {
                return Err(wrong(
                    "namespace_id",
                    format!("namespace {} does not exist", service.namespace_id),
                ));
            };
            if let Some(other) = here.service_by_name(namespace, service.name.as_str()) {
                return Err(wrong("name", format!("service {} has it", other.service().id)));
            }
            let (id, service) = (service.id.clone(), Arc::new(service));
            here.put_service(&service, Revision::from_u64(revision), Timestamp::default()).map_err(
                |key| contradiction("service", &id, "namespace_id", format!("{key} does not exist")),
            )?;
            if let Some(entry) = here.services.get_mut(&id) {
                Arc::make_mut(entry).instances_revision = InstancesRevision::from_u64(instances_revision);
            }
        }
        for record in facts.instances {
            let (scope, revision) = (record.scope()?, Revision::from_u64(record.place));
            let (service, instance, health) = record.restore()?;
            let here = scopes.entry(scope).or_default();
            let named = format!("{} of service {service}", instance.id);
            let wrong = |member, reason: String| contradiction("instance", &named, member, reason);
            let Some(entry) = here.services.get_mut(&service) else {
                return Err(wrong("service_id", format!("service {service} does not exist")));
            };
            if entry.instances.get(instance.id.as_str()).is_some() {
                return Err(wrong("id", "it is stored twice".to_owned()));
            }
            let entry = Arc::make_mut(entry);
            let health = health.under(&entry.service.health_check, instance.endpoint.initial_health);
            let id = instance.id.clone();
            entry.instances.put(Arc::new(instance), health, revision);
            here.move_health_deadline(&service, &id, None, Some(health));
        }
        for record in facts.pending {
            let revision = Revision::from_u64(record.operation.place);
            let pending = record.restore()?;
            let id = pending.operation.id.clone();
            let here = scopes.entry(pending.operation.scope.clone()).or_default();
            let wrong = |member, reason: String| contradiction("pending operation", &id, member, reason);
            if here.in_flight(id.as_str()).is_some() {
                return Err(wrong("id", "it is stored twice".to_owned()));
            }
            if let Some(other) = pending.claims.iter().find_map(|claim| here.claimed_by(claim)) {
                return Err(wrong("claims", format!("operation {} has one of them", other.operation.id)));
            }
            here.begin(&Arc::new(pending), revision)
                .map_err(|key| wrong("target", format!("{key} does not exist")))?;
        }
        let nothing = ScopeState::default();
        for (scope, here) in scopes {
            state.replace(&scope, &nothing, here);
        }
        Ok(state)
    }
}

fn contradiction(kind: &str, id: &dyn fmt::Display, member: &'static str, reason: String) -> RestoreError {
    RestoreError { entity: format!("{kind} {id}"), member, reason }
}
