use std::collections::BTreeSet;

use super::{
    Instance, Namespace, PendingOperation, RestoreError, Service, VERSION, reading::Reading, record,
};
use crate::{
    model::{self, NamespaceName},
    state::State,
};

record! {
    /// Everything that a state consists of. [`State::restore`] makes the state again.
    #[derive(Default)]
    pub struct Facts {
        /// The revision of the last change. The restored state begins here, or at the highest place if that is above it.
        pub revision: u64,
        /// The highest instances revision of the scopes that hold nothing any more.
        pub last_instances_revision: u64,
        /// What scopes keep beside their entities. A scope without anything to keep may be left out.
        pub scopes: Vec<Scope>,
        /// The namespaces of all scopes, in any order.
        pub namespaces: Vec<Namespace>,
        /// The services of all namespaces, in any order.
        pub services: Vec<Service>,
        /// The instances of all services, in any order.
        pub instances: Vec<Instance>,
        /// The operations that are under way, in any order.
        pub pending: Vec<PendingOperation>,
    }
}

record! {
    /// What a scope keeps beside its entities.
    pub struct Scope {
        /// The version of this form.
        pub version: u16,
        /// The account: 12 digits.
        pub account: String,
        /// The Region.
        pub region: String,
        /// The highest instances revision of its deleted services: a service that is created again begins above it.
        pub last_instances_revision: u64,
        /// The `HttpName`s of deleted namespaces, oldest first; the newest 1,000 are kept.
        #[cfg_attr(feature = "stored", serde(default, skip_serializing_if = "Vec::is_empty"))]
        pub former_names: Vec<String>,
    }
}

impl Facts {
    /// The facts of a state, sorted by their ids.
    ///
    /// What is due but has not taken effect is a fact as well: the restored state lets it take effect.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let mut facts = Self {
            revision: state.revision().as_u64(),
            last_instances_revision: state.last_instances_revision().as_u64(),
            ..Self::default()
        };
        let scopes: BTreeSet<_> =
            state.scopes().map(|(scope, _)| scope).chain(state.remembered_scopes()).collect();
        for scope in scopes {
            let here = state.scope(scope);
            facts.scopes.extend(Scope::of(state, scope));
            facts.namespaces.extend(here.namespaces().map(Namespace::of_entry));
            for service in here.services() {
                facts.services.push(Service::of_entry(service));
                let id = &service.service().id;
                let mut instances: Vec<_> = service.instances().iter().collect();
                instances.sort_unstable_by_key(|entry| &entry.instance().id);
                facts
                    .instances
                    .extend(instances.into_iter().map(|entry| Instance::of_entry(scope, id, entry)));
            }
            let pending = here.all_in_flight();
            facts
                .pending
                .extend(pending.map(|found| PendingOperation::of(&found.pending, found.age.place())));
        }
        facts
    }

    /// The highest place of anything.
    pub(crate) fn highest_place(&self) -> u64 {
        let namespaces = self.namespaces.iter().map(|namespace| namespace.place);
        let services = self.services.iter().map(|service| service.place);
        let instances = self.instances.iter().map(|instance| instance.place);
        let pending = self.pending.iter().map(|pending| pending.operation.place);
        namespaces.chain(services).chain(instances).chain(pending).max().unwrap_or(0)
    }
}

impl Scope {
    /// What a scope keeps in this state; `None` if it has nothing and keeps nothing.
    #[must_use]
    pub fn of(state: &State, scope: &model::Scope) -> Option<Self> {
        let record = Self {
            version: VERSION,
            account: scope.account().to_string(),
            region: scope.region().to_string(),
            last_instances_revision: state.scope(scope).last_instances_revision().as_u64(),
            former_names: state.former_names(scope).map(str::to_owned).collect(),
        };
        (state.has_scope(scope) || !record.former_names.is_empty()).then_some(record)
    }

    /// The scope and the names.
    pub(crate) fn restore(&self) -> Result<(model::Scope, Vec<NamespaceName>), RestoreError> {
        let reading = Reading::of("scope", &self.account, self.version)?;
        let names =
            self.former_names.iter().map(|name| reading.read("former_names", name, NamespaceName::parse));
        Ok((reading.scope(&self.account, &self.region)?, names.collect::<Result<_, _>>()?))
    }
}
