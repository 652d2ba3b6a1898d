//! Looks at every state that a replica publishes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use sd_core::{
    Attached, Change, Observer, Registry, Scope, State,
    model::{NamespaceKind, Revision, Service},
    state::{NamespaceEntry, ServiceEntry},
};

/// An observer that collects violations. It does not panic, because the cell catches panics of observers.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    last: Mutex<Option<Revision>>,
    complaints: Mutex<Vec<String>>,
}

impl Witness {
    pub(crate) fn of(registry: &Arc<impl Registry>) -> (Arc<Self>, Attached) {
        let witness = Arc::new(Self::default());
        let attached = registry.cell().attach(Arc::clone(&witness) as Arc<dyn Observer>);
        (witness, attached)
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }
}

impl Observer for Witness {
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]) {
        let last = self.last.lock().unwrap().replace(new.revision());
        let mut complaints = self.complaints.lock().unwrap();
        // Effects that are due in several scopes are reported once for each scope, with the same two states.
        if last.is_some_and(|last| last != old.revision() && last != new.revision()) {
            complaints.push(format!("a gap before {:?}", new.revision()));
        }
        complaints.extend(illegal(new, scope).map(|what| format!("{what} after {changes:?}")));
    }

    fn rebuild(&self, new: &State) {
        *self.last.lock().unwrap() = Some(new.revision());
    }
}

/// The violations in a state.
pub(crate) fn illegal(state: &State, scope: &Scope) -> Option<String> {
    let here = state.scope(scope);
    let (mut names, mut services) = (BTreeSet::new(), BTreeSet::new());
    for entry in here.namespaces() {
        let namespace = entry.namespace();
        let mut taken = vec![format!("http name {}", namespace.http_name)];
        match &namespace.kind {
            NamespaceKind::Http => taken.push(format!("http namespace {}", namespace.name)),
            NamespaceKind::DnsPrivate { vpc, .. } => {
                taken.push(format!("zone {} in {vpc}", namespace.name.as_str().to_lowercase()));
            }
            NamespaceKind::DnsPublic { .. } => {}
        }
        for name in taken {
            if !names.insert(name.clone()) {
                return Some(format!("two namespaces have the {name}"));
            }
        }
        let found = here.namespace_by_http_name(namespace.http_name.as_str()).map(NamespaceEntry::namespace);
        if found != Some(namespace) {
            return Some(format!("{} is not found by its name", namespace.id));
        }
        if here.services_of(entry).count() != entry.service_count() {
            return Some(format!("{} counts services that are not there", namespace.id));
        }
        for service in here.services_of(entry).map(ServiceEntry::service) {
            let Service { id, namespace_id, .. } = &**service;
            if *namespace_id != namespace.id || !services.insert(id.clone()) {
                return Some(format!("{id} is in two namespaces"));
            }
        }
    }
    None
}
