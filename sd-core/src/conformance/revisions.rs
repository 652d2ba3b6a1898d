//! The two counters: of the registry's states, and of a service's registrations.

use super::{
    Bench,
    entities::{
        NOW, Tree, delete_instance, entry, namespace, put_health, put_namespace, put_service, service, set,
    },
    witness::{Journal, commit, state},
};
use crate::{
    model::{CustomHealthStatus, InstancesRevision, Timestamp},
    state::{
        State,
        change::{Change, ChangeSet},
    },
};

fn revision(state: &State, tree: &Tree) -> InstancesRevision {
    entry(state, &tree.service).expect("the service is there").instances_revision()
}

fn at(millis: u64, changes: Vec<Change>) -> ChangeSet {
    let mut set = set(changes);
    set.at = Timestamp::from_millis(millis);
    set
}

pub(super) async fn state_revisions_strictly_grow(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (journal, _attached) = Journal::attached(registry);
    let mut last = state(registry).revision();
    let namespaces = ["a", "b", "c"].map(namespace);
    let creations = namespaces.iter().map(put_namespace);
    let deletions = namespaces.iter().map(|namespace| Change::DeleteNamespace(namespace.id.clone()));
    for change in creations.chain(deletions) {
        commit(registry, set(vec![change])).await;
        let now = state(registry).revision();
        assert!(now > last, "{now:?} after {last:?}");
        last = now;
    }
    journal.assert_unbroken();
}

pub(super) async fn the_instances_revision_grows_with_every_registration(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    let mut last = revision(&state(registry), &tree);
    let (put, delete) = (tree.put("a"), delete_instance(&tree.service, "a"));
    // The clock goes on, stands still, and goes back.
    for (millis, change) in [
        (NOW + 5, put.clone()),
        (NOW + 1000, put.clone()),
        (NOW + 2000, delete.clone()),
        (NOW + 2000, put.clone()),
        (NOW + 2000, put.clone()),
        (NOW, put),
        (NOW, delete),
    ] {
        commit(registry, at(millis, vec![change.clone()])).await;
        let now = revision(&state(registry), &tree);
        assert!(now > last, "{now:?} after {last:?} with {change:?}");
        assert!(now.as_u64() >= millis, "{now:?} at {millis}");
        assert!(now.as_u64() < 1 << 53, "JavaScript can read it");
        last = now;
    }
}

pub(super) async fn the_instances_revision_does_not_grow_with_health(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let other = Tree { service: service(&tree.namespace, "other"), namespace: tree.namespace.clone() };
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![put_service(&other.service), tree.put("a")])).await;
    let before = revision(&state(registry), &tree);
    for (millis, change) in (NOW + 1000..).zip([
        put_health(&tree.service, "a", CustomHealthStatus::Unhealthy),
        put_service(&tree.service),
        put_namespace(&tree.namespace),
        other.put("b"),
    ]) {
        commit(registry, at(millis, vec![change.clone()])).await;
        assert_eq!(revision(&state(registry), &tree), before, "{change:?}");
    }
}

pub(super) async fn the_instances_revision_grows_over_a_service_that_comes_back(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(vec![put_namespace(&tree.namespace)])).await;
    let mut last = InstancesRevision::default();
    // Each life is earlier than the one before by its clock.
    for millis in [NOW + 5000, NOW + 3000, NOW] {
        commit(registry, at(millis, vec![put_service(&tree.service)])).await;
        let created = revision(&state(registry), &tree);
        assert!(created > last, "{created:?} after {last:?}");
        commit(registry, at(millis, vec![tree.put("a")])).await;
        let registered = revision(&state(registry), &tree);
        assert!(registered > created, "{registered:?} after {created:?}");
        commit(registry, at(millis, vec![delete_instance(&tree.service, "a")])).await;
        last = revision(&state(registry), &tree);
        commit(registry, at(millis, vec![Change::DeleteService(tree.service.id.clone())])).await;
    }
}
