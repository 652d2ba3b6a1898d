//! What the changes do.

use super::{
    Bench,
    entities::{
        NOW, Tree, delete_instance, entry, has, here, ids, instance, namespace, put_health, put_instance,
        put_namespace, put_service, service, set,
    },
    witness::{Journal, assert_legal, commit, state},
};
use crate::{
    model::{
        CustomHealthStatus, HealthCheck, HealthStatus, Instance, InstanceId, NamespaceId, NamespaceName,
        Service, ServiceId, Timestamp,
    },
    state::{InstanceEntry, NamespaceEntry, State, change::Change},
    store::registry::CommitError,
};

fn found<'a>(state: &'a State, tree: &Tree, id: &str) -> &'a InstanceEntry {
    entry(state, &tree.service).and_then(|entry| entry.instances().get(id)).expect("the instance is there")
}

pub(super) async fn changes_are_applied_in_order(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    let version = |version| instance(&tree.namespace, &tree.service, "a", version);
    let put = |instance: &Instance| put_instance(&tree.service, instance);
    let (first, second) = (version("first"), version("second"));
    let delete = || delete_instance(&tree.service, "a");
    for (changes, last) in [
        (vec![put(&first), put(&second)], Some("second")),
        (vec![put(&second), put(&first)], Some("first")),
        (vec![put(&second), delete()], None),
        (vec![put(&first), delete(), put(&second)], Some("second")),
        (vec![delete(), put(&first)], Some("first")),
    ] {
        let shown = format!("{changes:?}");
        commit(registry, set(changes)).await;
        let state = state(registry);
        let found = entry(&state, &tree.service).and_then(|entry| entry.instances().get("a"));
        let found = found.map(|found| found.instance().attributes.get("version"));
        assert_eq!(found, last.map(Some), "after {shown}");
    }
    let unhealthy = put_health(&tree.service, "a", CustomHealthStatus::Unhealthy);
    let healthy = put_health(&tree.service, "a", CustomHealthStatus::Healthy);
    commit(registry, set(vec![healthy, unhealthy])).await;
    assert_eq!(found(&state(registry), &tree, "a").health().status(), HealthStatus::Unhealthy);
}

pub(super) async fn a_tree_is_created_and_deleted_in_one_set(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let mut creation = tree.changes();
    creation.push(tree.put("a"));
    let deletion = vec![
        delete_instance(&tree.service, "a"),
        Change::DeleteService(tree.service.id.clone()),
        Change::DeleteNamespace(tree.namespace.id.clone()),
    ];
    for _ in 0..2 {
        commit(registry, set(creation.clone())).await;
        assert_eq!(ids(&state(registry), &tree.service), ["a"]);
        commit(registry, set(deletion.clone())).await;
        let state = state(registry);
        assert!(!has(&state, &tree.namespace) && entry(&state, &tree.service).is_none());
    }
}

pub(super) async fn a_put_namespace_replaces_it_and_keeps_its_services(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let mut changes = tree.changes();
    changes.push(tree.put("a"));
    commit(registry, set(changes)).await;
    let mut changed = tree.namespace.clone();
    changed.description = Some("changed".into());
    changed.http_name = NamespaceName::parse("app-changed").unwrap();
    commit(registry, set(vec![put_namespace(&changed)])).await;
    let state = state(registry);
    assert!(has(&state, &changed));
    assert_eq!(here(&state).namespaces().count(), 1);
    let by_name = |name| here(&state).namespace_by_http_name(name).map(NamespaceEntry::service_count);
    assert_eq!((by_name("app"), by_name("app-changed")), (None, Some(1)));
    assert_eq!(ids(&state, &tree.service), ["a"]);
    assert_legal(&state);
}

pub(super) async fn a_put_service_replaces_it_and_keeps_its_instances(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a"), tree.put("b")])).await;
    let mut changed = tree.service.clone();
    changed.description = Some("changed".into());
    commit(registry, set(vec![put_service(&changed)])).await;
    let state = state(registry);
    assert_eq!(entry(&state, &tree.service).map(|entry| &**entry.service()), Some(&changed));
    assert_eq!(here(&state).namespaces().next().unwrap().service_count(), 1);
    assert_eq!(ids(&state, &tree.service), ["a", "b"]);
    assert_legal(&state);
}

pub(super) async fn a_put_service_with_another_check_starts_health_anew(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a"), tree.put("b")])).await;
    commit(registry, set(vec![put_health(&tree.service, "a", CustomHealthStatus::Unhealthy)])).await;
    let unchecked = Service { health_check: HealthCheck::None, ..tree.service.clone() };
    let statuses = |registry| {
        let state = state(registry);
        assert_legal(&state);
        let instances = entry(&state, &tree.service).unwrap().instances();
        let status = |id| instances.get(id).map(|found| found.health().status());
        (["a", "b", "c"].map(status), instances.healthy_len())
    };
    // The same check says nothing new.
    commit(registry, set(vec![put_service(&tree.service)])).await;
    let (healthy, unknown) = (Some(HealthStatus::Healthy), Some(HealthStatus::Unknown));
    assert_eq!(statuses(registry), ([Some(HealthStatus::Unhealthy), healthy, None], 1));
    commit(registry, set(vec![put_service(&unchecked)])).await;
    assert_eq!(statuses(registry), ([unknown, unknown, None], 2));
    // What was decided before is stored as the service is now.
    let late = put_health(&tree.service, "b", CustomHealthStatus::Unhealthy);
    commit(registry, set(vec![tree.put("c"), late])).await;
    assert_eq!(statuses(registry), ([unknown; 3], 3));
    commit(registry, set(vec![put_service(&tree.service)])).await;
    assert_eq!(statuses(registry), ([healthy; 3], 3));
}

pub(super) async fn a_put_instance_replaces_it(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a"), tree.put("b")])).await;
    let unhealthy = put_health(&tree.service, "a", CustomHealthStatus::Unhealthy);
    commit(registry, set(vec![unhealthy])).await;
    let changed = instance(&tree.namespace, &tree.service, "a", "changed");
    commit(registry, set(vec![put_instance(&tree.service, &changed)])).await;
    let state = state(registry);
    assert_eq!(**found(&state, &tree, "a").instance(), changed);
    assert_eq!(found(&state, &tree, "a").health().status(), HealthStatus::Healthy);
    assert_eq!(ids(&state, &tree.service), ["a", "b"]);
    assert_legal(&state);
}

pub(super) async fn put_health_changes_the_health_only(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a"), tree.put("b")])).await;
    let before = state(registry);
    for (status, expected, routable) in [
        (CustomHealthStatus::Unhealthy, HealthStatus::Unhealthy, 1),
        (CustomHealthStatus::Healthy, HealthStatus::Healthy, 2),
    ] {
        commit(registry, set(vec![put_health(&tree.service, "a", status)])).await;
        let after = state(registry);
        assert_eq!(found(&after, &tree, "a").health().status(), expected);
        assert_eq!(found(&after, &tree, "a").instance(), found(&before, &tree, "a").instance());
        assert_eq!(found(&after, &tree, "b").health().status(), HealthStatus::Healthy);
        assert_eq!(entry(&after, &tree.service).unwrap().instances().healthy_len(), routable);
    }
}

pub(super) async fn deleting_twice_succeeds(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let absent = [
        Change::DeleteNamespace(NamespaceId::parse("ns-none").unwrap()),
        Change::DeleteService(ServiceId::parse("srv-none").unwrap()),
        delete_instance(&tree.service, "none"),
        put_health(&tree.service, "none", CustomHealthStatus::Unhealthy),
        Change::DeleteInstance {
            service: ServiceId::parse("srv-none").unwrap(),
            id: InstanceId::parse("a").unwrap(),
        },
    ];
    commit(registry, set(absent.to_vec())).await;
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![tree.put("a"), tree.put("b"), delete_instance(&tree.service, "b")])).await;
    let before = state(registry);
    for change in absent {
        commit(registry, set(vec![change])).await;
    }
    commit(registry, set(vec![delete_instance(&tree.service, "b")])).await;
    let after = state(registry);
    assert!(has(&after, &tree.namespace));
    assert_eq!(ids(&after, &tree.service), ["a"]);
    let revision = |state| entry(state, &tree.service).unwrap().instances_revision();
    assert_eq!(revision(&after), revision(&before), "nothing was deregistered");
    // With something else in the same set.
    let changes = vec![delete_instance(&tree.service, "b"), tree.put("c")];
    commit(registry, set(changes)).await;
    assert_eq!(ids(&state(registry), &tree.service), ["a", "c"]);
}

pub(super) async fn an_impossible_set_leaves_a_legal_prefix(bench: &Bench) {
    let tree = Tree::new();
    let put = tree.put("a");
    let (orphan, gone) = (service(&namespace("other"), "orphan"), Tree::new());
    let impossible = [
        put_service(&orphan),
        gone.put("orphan"),
        Change::DeleteNamespace(tree.namespace.id.clone()),
        Change::DeleteService(tree.service.id.clone()),
    ];
    for impossible in impossible {
        let subject = bench.fresh().await;
        let registry = subject.registry();
        let mut start = tree.changes();
        start.push(put.clone());
        commit(registry, set(start)).await;
        let (journal, _attached) = Journal::attached(registry);
        let (before, after) = (namespace("before"), namespace("after"));
        let changes = vec![put_namespace(&before), impossible.clone(), put_namespace(&after)];
        let result = registry.commit(set(changes)).await;
        // A conflict would be planned again, with the same result.
        assert!(matches!(result, Err(CommitError::Rejected { .. })), "{impossible:?}: {result:?}");
        let states = journal.sets().into_iter().map(|set| set.new).chain([state(registry)]);
        for state in states {
            assert_legal(&state);
            assert!(!has(&state, &after), "stored after {impossible:?}");
            assert!(has(&state, &tree.namespace));
            assert_eq!(ids(&state, &tree.service), ["a"]);
        }
        commit(registry, set(vec![put_namespace(&after)])).await;
        assert!(has(&state(registry), &after), "the registry goes on");
    }
}

pub(super) async fn every_published_state_is_legal(bench: &Bench) {
    let subject = bench.fresh().await;
    let registry = subject.registry();
    let (journal, _attached) = Journal::attached(registry);
    let trees: Vec<_> = (0..3)
        .map(|i| {
            let namespace = namespace(&format!("app-{i}"));
            let service = service(&namespace, "web");
            Tree { namespace, service }
        })
        .collect();
    let mut count = 0;
    for round in 0..2_u64 {
        for tree in &trees {
            let delete = |id| delete_instance(&tree.service, id);
            let sets = [
                vec![put_namespace(&tree.namespace)],
                vec![put_service(&tree.service), tree.put("a")],
                vec![tree.put("b"), tree.put("c")],
                vec![put_health(&tree.service, "b", CustomHealthStatus::Unhealthy)],
                vec![delete("a"), tree.put("b")],
                vec![
                    put_health(&tree.service, "c", CustomHealthStatus::Unhealthy),
                    put_namespace(&tree.namespace),
                ],
                vec![delete("b"), delete("c"), Change::DeleteService(tree.service.id.clone())],
                vec![Change::DeleteNamespace(tree.namespace.id.clone())],
            ];
            // The last tree stays.
            let end = if round == 1 { 6 } else { sets.len() };
            for changes in sets.into_iter().take(end) {
                let mut set = set(changes);
                set.at = Timestamp::from_millis(NOW + round);
                commit(registry, set).await;
                count += 1;
            }
        }
    }
    journal.assert_unbroken();
    let sets = journal.sets();
    assert_eq!(sets.len(), count);
    for set in sets {
        assert_legal(&set.new);
    }
    for tree in &trees {
        assert_eq!(ids(&state(registry), &tree.service), ["b", "c"]);
    }
}
