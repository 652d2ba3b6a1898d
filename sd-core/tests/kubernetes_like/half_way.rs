//! A set of several writes whose store fails in the middle of it.

use std::sync::{Arc, Mutex};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    Change, ChangeSet, CommitError, Observer, Registry, Scope, State, SyncCloudMap, Timestamp,
    request::{CreateHttpNamespaceRequest, RegisterInstanceRequest},
};

use crate::{
    objects::Kind,
    replica::KubernetesLike,
    stress::{finish, service_request},
    world::{Outage, Watch, Weather, World},
};

/// Every state that is published.
#[derive(Debug, Default)]
struct Album(Mutex<Vec<State>>);

impl Observer for Album {
    fn changed(&self, _: &State, new: &State, _: &Scope, _: &[Change]) {
        self.0.lock().unwrap().push(new.clone());
    }

    fn rebuild(&self, _: &State) {}
}

/// A namespace, a service and three instances, as the engine makes them.
fn tree() -> ChangeSet {
    let made = SyncCloudMap::new(MemoryRegistry::new());
    let api = made.at(Scope::default());
    api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
    let id =
        made.cloud_map().state().scope(&Scope::default()).namespaces().next().unwrap().namespace().id.clone();
    let service = api.create_service(service_request("web", id.as_str(), false)).unwrap().service;
    for id in ["i-1", "i-2", "i-3"] {
        let request = RegisterInstanceRequest::new(&service.id, id);
        api.register_instance(request.with_attribute("version", "1")).unwrap();
    }
    let mut set = ChangeSet::new(Scope::default(), Timestamp::from_millis(1));
    set.changes = State::new().diff(&made.cloud_map().state()).remove(0).1;
    set
}

/// How many changes of the set lead to this state.
fn prefix(set: &ChangeSet, state: &State) -> Option<usize> {
    (0..=set.changes.len()).find(|count| {
        let mut prefix = set.clone();
        prefix.changes.truncate(*count);
        let reached = State::new().apply(&prefix).expect("every prefix is legal");
        reached.diff(state).is_empty() && state.diff(&reached).is_empty()
    })
}

#[test]
fn a_set_that_fails_half_way_leaves_a_legal_prefix() {
    let set = tree();
    let mut prefixes = Vec::new();
    for outage in [Outage::Refused, Outage::Unanswered, Outage::Lost] {
        for requests in 0.. {
            let world = World::new(requests, Weather { watch: Watch::Never, ..Weather::default() });
            let registry = KubernetesLike::open(&world);
            let album = Arc::new(Album::default());
            let _attached = registry.cell().attach(Arc::clone(&album) as Arc<dyn Observer>);
            world.fail_after(requests, outage);
            let (to, changes) = (Arc::clone(&registry), set.clone());
            let result = finish(async move { to.commit(changes).await });
            let case = format!("{outage:?} after {requests} requests: {result:?}");
            let shown = registry.cell().load().clone();
            let left = prefix(&set, &shown).unwrap_or_else(|| panic!("no prefix is left, {case}"));
            let states = album.0.lock().unwrap().clone();
            assert!(
                states.len() <= 1 && states.iter().all(|state| prefix(&set, state) == Some(left)),
                "{case}"
            );
            if result.is_ok() {
                assert_eq!(left, set.changes.len(), "{case}");
                break;
            }
            assert!(
                matches!(result, Err(CommitError::Unavailable { .. } | CommitError::Ambiguous)),
                "{case}"
            );
            prefixes.push(left);
            world.mend();
            world.land_all();
            for kind in Kind::ALL {
                registry.core().follow(kind, usize::MAX);
            }
            let core = Arc::clone(registry.core());
            finish(async move { core.settle().await.unwrap() });
            // A write in doubt may have been stored. Every replica shows the same, and the same set can be stored.
            let found = registry.cell().load().clone();
            assert!(prefix(&set, &found) >= Some(left), "{case}");
            let newcomer = KubernetesLike::open(&world);
            assert!(newcomer.cell().load().diff(&found).is_empty(), "{case}");
            let changes = set.clone();
            finish(async move { newcomer.commit(changes).await.unwrap() });
        }
    }
    prefixes.sort_unstable();
    prefixes.dedup();
    assert!(prefixes.contains(&0) && prefixes.iter().any(|left| *left > 0), "{prefixes:?}");
}
