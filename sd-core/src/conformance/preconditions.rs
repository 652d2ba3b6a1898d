//! What a set relies on: each kind of precondition in both directions, and what a refusal leaves.

use std::sync::Arc;

use super::{
    Bench,
    entities::{
        Tree, delete_instance, free, has, instance_key, live, namespace, namespace_key, operation, public,
        put_health, put_instance, put_namespace, put_service, reborn, relying, service, service_key, set,
        zone,
    },
    witness::{Journal, Waiter, commit, refused, state},
};
use crate::{
    model::{
        CreatorRequestId, CustomHealthStatus, EntityKey, Incarnation, Namespace, NamespaceName, ServiceId,
        UniqueKey, VpcId,
    },
    state::change::{Change, Precondition},
    store::registry::Registry,
};

/// Asserts that the precondition holds.
async fn holds(registry: &Arc<dyn Registry>, precondition: Precondition) {
    commit(registry, relying(vec![precondition], vec![])).await;
}

/// Asserts that the precondition does not hold, and that nothing is stored.
async fn fails(registry: &Arc<dyn Registry>, precondition: Precondition) {
    let bystander = namespace("bystander");
    refused(registry, relying(vec![precondition.clone()], vec![put_namespace(&bystander)])).await;
    assert!(!has(&state(registry), &bystander), "stored in spite of {precondition:?}");
}

/// A tree with instance `a`, its entities and their incarnations.
struct Stand {
    tree: Tree,
    entities: [(EntityKey, Incarnation); 3],
}

impl Stand {
    fn new() -> Self {
        let tree = Tree::new();
        let entities = [
            (namespace_key(&tree.namespace), tree.namespace.incarnation),
            (service_key(&tree.service), tree.service.incarnation),
            (instance_key(&tree.service, "a"), Incarnation(7)),
        ];
        Self { tree, entities }
    }

    /// What creates all, the instance with the incarnation that `entities` says.
    fn changes(&self) -> Vec<Change> {
        let mut instance = self.tree.instance("a");
        instance.incarnation = self.entities[2].1;
        let mut changes = self.tree.changes();
        changes.push(put_instance(&self.tree.service, &instance));
        changes
    }

    fn deletions(&self) -> Vec<Change> {
        vec![
            delete_instance(&self.tree.service, "a"),
            Change::DeleteService(self.tree.service.id.clone()),
            Change::DeleteNamespace(self.tree.namespace.id.clone()),
        ]
    }

    /// The same entities, created again.
    fn reborn(self) -> Self {
        let Self { mut tree, mut entities } = self;
        for (_, incarnation) in &mut entities {
            *incarnation = reborn(*incarnation);
        }
        tree.namespace.incarnation = entities[0].1;
        tree.service.incarnation = entities[1].1;
        Self { tree, entities }
    }
}

pub(super) async fn live_holds_for_the_entity_that_is_there(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, stand) = (subject.registry(), Stand::new());
    commit(registry, set(stand.changes())).await;
    for (key, incarnation) in &stand.entities {
        holds(registry, Precondition::Live(key.clone(), *incarnation)).await;
    }
    // With a change, and after the entity was changed.
    let mut described = stand.tree.service.clone();
    described.description = Some("changed".into());
    let described = put_service(&described);
    commit(registry, relying(vec![live(&stand.tree.service)], vec![described])).await;
    holds(registry, live(&stand.tree.service)).await;
}

pub(super) async fn live_fails_for_another_incarnation(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, first) = (subject.registry(), Stand::new());
    commit(registry, set(first.changes())).await;
    let before = first.entities.clone();
    commit(registry, set(first.deletions())).await;
    let second = first.reborn();
    commit(registry, set(second.changes())).await;
    for ((key, first), (_, second)) in before.into_iter().zip(second.entities) {
        fails(registry, Precondition::Live(key.clone(), first)).await;
        holds(registry, Precondition::Live(key, second)).await;
    }
}

pub(super) async fn live_fails_for_a_deleted_entity(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, stand) = (subject.registry(), Stand::new());
    for (key, incarnation) in &stand.entities {
        fails(registry, Precondition::Live(key.clone(), *incarnation)).await;
    }
    commit(registry, set(stand.changes())).await;
    commit(registry, set(stand.deletions())).await;
    for (key, incarnation) in &stand.entities {
        fails(registry, Precondition::Live(key.clone(), *incarnation)).await;
    }
}

pub(super) async fn at_holds_until_the_entity_changes(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, stand) = (subject.registry(), Stand::new());
    let mut known = Vec::new();
    for (change, (key, _)) in stand.changes().into_iter().zip(&stand.entities) {
        commit(registry, set(vec![change])).await;
        known.push(Precondition::At(key.clone(), state(registry).revision()));
    }
    commit(registry, set(vec![put_namespace(&namespace("other")), stand.tree.put("b")])).await;
    for precondition in known {
        holds(registry, precondition).await;
    }
}

pub(super) async fn at_fails_after_the_entity_has_changed(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, stand) = (subject.registry(), Stand::new());
    let put_again: Vec<_> = stand.changes();
    let mut before = Vec::new();
    for (change, (key, _)) in put_again.iter().zip(&stand.entities) {
        commit(registry, set(vec![change.clone()])).await;
        before.push(Precondition::At(key.clone(), state(registry).revision()));
    }
    let mut after = Vec::new();
    for (change, (key, _)) in put_again.iter().zip(&stand.entities) {
        commit(registry, set(vec![change.clone()])).await;
        after.push(Precondition::At(key.clone(), state(registry).revision()));
    }
    for (before, after) in before.into_iter().zip(&after) {
        fails(registry, before).await;
        holds(registry, after.clone()).await;
    }
    // A change of health is one of the instance.
    let unhealthy = put_health(&stand.tree.service, "a", CustomHealthStatus::Unhealthy);
    commit(registry, set(vec![unhealthy])).await;
    fails(registry, after[2].clone()).await;
    commit(registry, set(stand.deletions())).await;
    for precondition in after {
        fails(registry, precondition).await;
    }
}

/// Something that only one entity may have.
struct Uniqueness {
    key: UniqueKey,
    /// Changes that the set relies on.
    before: Vec<Change>,
    take: Vec<Change>,
    release: Vec<Change>,
    /// Keys that are free all the time.
    others: Vec<UniqueKey>,
}

impl Uniqueness {
    async fn check(self, bench: &Bench) {
        let subject = bench.fresh().await;
        let registry = subject.registry();
        let (key, others) = (Precondition::Free(self.key), self.others.into_iter().map(Precondition::Free));
        let others: Vec<_> = others.collect();
        commit(registry, set(self.before)).await;
        for _ in 0..2 {
            holds(registry, key.clone()).await;
            commit(registry, relying(vec![key.clone()], self.take.clone())).await;
            fails(registry, key.clone()).await;
            for other in &others {
                holds(registry, other.clone()).await;
            }
            commit(registry, set(self.release.clone())).await;
        }
        holds(registry, key).await;
    }
}

fn delete(namespace: &Namespace) -> Change {
    Change::DeleteNamespace(namespace.id.clone())
}

pub(super) async fn a_free_id_is_free_until_it_is_taken(bench: &Bench) {
    let stand = Stand::new();
    let (creations, deletions) = (stand.changes(), stand.deletions());
    for (index, (key, _)) in stand.entities.iter().enumerate() {
        let uniqueness = Uniqueness {
            key: UniqueKey::Id(key.clone()),
            before: creations[..index].to_vec(),
            take: vec![creations[index].clone()],
            release: vec![deletions[2 - index].clone()],
            others: vec![UniqueKey::Id(instance_key(&stand.tree.service, "other"))],
        };
        uniqueness.check(bench).await;
    }
}

pub(super) async fn a_free_http_name_is_free_until_it_is_taken(bench: &Bench) {
    for namespace in [namespace("app"), zone("app", "vpc-1")] {
        let uniqueness = Uniqueness {
            key: UniqueKey::HttpName("app".into()),
            before: vec![],
            take: vec![put_namespace(&namespace)],
            release: vec![delete(&namespace)],
            others: vec![UniqueKey::HttpName("App".into()), UniqueKey::HttpName("other".into())],
        };
        uniqueness.check(bench).await;
    }
}

pub(super) async fn a_free_http_namespace_is_free_until_it_is_taken(bench: &Bench) {
    let (zone, mut namespace) = (zone("app", "vpc-1"), namespace("app"));
    // As the engine names it where the plain name is taken.
    namespace.http_name = NamespaceName::parse("app-hash").unwrap();
    let uniqueness = Uniqueness {
        key: UniqueKey::HttpNamespace("app".into()),
        before: vec![put_namespace(&zone)],
        take: vec![put_namespace(&namespace)],
        release: vec![delete(&namespace)],
        others: vec![UniqueKey::HttpNamespace("app-hash".into()), UniqueKey::HttpNamespace("other".into())],
    };
    uniqueness.check(bench).await;
}

pub(super) async fn a_free_zone_is_free_until_it_is_taken(bench: &Bench) {
    let http = namespace("app.local");
    let in_vpc = |vpc: &str, name: &str| {
        UniqueKey::zone(&VpcId::parse(vpc).unwrap(), &NamespaceName::parse(name).unwrap())
    };
    // With the root's dot it is the same zone.
    for (taken, name) in [("App.Local", "app.local."), ("App.Local.", "app.local")] {
        let zone = zone(taken, "vpc-1");
        let uniqueness = Uniqueness {
            key: in_vpc("vpc-1", name),
            before: vec![put_namespace(&http)],
            take: vec![put_namespace(&zone)],
            release: vec![delete(&zone)],
            others: vec![
                in_vpc("vpc-2", "app.local"),
                in_vpc("vpc-1", "local"),
                in_vpc("vpc-1", "web.app.local"),
            ],
        };
        uniqueness.check(bench).await;
    }
}

pub(super) async fn a_free_public_namespace_is_free_until_it_is_taken(bench: &Bench) {
    let key = |name: &str, token: &str| {
        let (name, token) = (NamespaceName::parse(name).unwrap(), CreatorRequestId::parse(token).unwrap());
        UniqueKey::public_namespace(&name, &token)
    };
    let public = public("App.Example", "token");
    let other = super::entities::public("app.example", "another");
    let private = zone("app.example", "vpc-1");
    let uniqueness = Uniqueness {
        key: key("app.example", "token"),
        before: vec![put_namespace(&other), put_namespace(&private)],
        take: vec![put_namespace(&public)],
        release: vec![delete(&public)],
        others: vec![key("app.example", "third"), key("web.app.example", "token")],
    };
    uniqueness.check(bench).await;
}

pub(super) async fn a_free_service_name_is_free_until_it_is_taken(bench: &Bench) {
    let other = namespace("other");
    // Names are compared without case where DNS is available.
    for (parent, name, key, free) in
        [(namespace("app"), "Web", "Web", "web"), (zone("app", "vpc-1"), "Web", "web", "web2")]
    {
        let child = service(&parent, name);
        let uniqueness = Uniqueness {
            key: UniqueKey::ServiceName(parent.id.clone(), key.into()),
            before: vec![put_namespace(&parent), put_namespace(&other)],
            take: vec![put_service(&child)],
            release: vec![Change::DeleteService(child.id.clone())],
            others: vec![
                UniqueKey::ServiceName(other.id.clone(), key.into()),
                UniqueKey::ServiceName(parent.id.clone(), free.into()),
            ],
        };
        uniqueness.check(bench).await;
    }
}

pub(super) async fn a_namespace_is_childless_without_services(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree, other) = (subject.registry(), Tree::new(), namespace("other"));
    let childless = |namespace: &Namespace| Precondition::Childless(namespace_key(namespace));
    commit(registry, set(vec![put_namespace(&tree.namespace), put_namespace(&other)])).await;
    holds(registry, childless(&tree.namespace)).await;
    commit(registry, relying(vec![childless(&tree.namespace)], vec![put_service(&tree.service)])).await;
    fails(registry, childless(&tree.namespace)).await;
    holds(registry, childless(&other)).await;
    commit(registry, set(vec![Change::DeleteService(tree.service.id.clone())])).await;
    commit(registry, relying(vec![childless(&tree.namespace)], vec![delete(&tree.namespace)])).await;
}

pub(super) async fn a_service_is_childless_without_instances(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    let other = service(&tree.namespace, "other");
    let childless = |id: &ServiceId| Precondition::Childless(EntityKey::Service(id.clone()));
    let id = &tree.service.id;
    commit(registry, set(tree.changes())).await;
    commit(registry, set(vec![put_service(&other)])).await;
    holds(registry, childless(id)).await;
    commit(registry, relying(vec![childless(id)], vec![tree.put("a")])).await;
    fails(registry, childless(id)).await;
    holds(registry, childless(&other.id)).await;
    commit(registry, set(vec![delete_instance(&tree.service, "a")])).await;
    commit(registry, relying(vec![childless(id)], vec![Change::DeleteService(id.clone())])).await;
}

pub(super) async fn every_precondition_of_a_set_must_hold(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree, new) = (subject.registry(), Tree::new(), namespace("new"));
    commit(registry, set(tree.changes())).await;
    let good = [live(&tree.service), free(&new)];
    commit(registry, relying(good.to_vec(), vec![])).await;
    for place in 0..=good.len() {
        let mut preconditions = good.to_vec();
        preconditions.insert(place, free(&tree.namespace));
        refused(registry, relying(preconditions, vec![put_namespace(&new)])).await;
        assert!(!has(&state(registry), &new), "place {place}");
    }
    commit(registry, relying(good.to_vec(), vec![put_namespace(&new)])).await;
    assert!(has(&state(registry), &new));
}

pub(super) async fn preconditions_are_about_the_state_before_the_set(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    // Taken by the set itself, so free; made by the set itself, so not there.
    refused(registry, relying(vec![live(&tree.service)], tree.changes())).await;
    let nothing_there = vec![
        free(&tree.namespace),
        Precondition::Free(UniqueKey::Id(service_key(&tree.service))),
        Precondition::Childless(service_key(&tree.service)),
    ];
    let mut changes = tree.changes();
    changes.push(tree.put("a"));
    commit(registry, relying(nothing_there, changes)).await;
    // Emptied by the set itself, so not childless.
    let childless = Precondition::Childless(service_key(&tree.service));
    let deletions = vec![delete_instance(&tree.service, "a"), Change::DeleteService(tree.service.id.clone())];
    refused(registry, relying(vec![childless], deletions.clone())).await;
    commit(registry, relying(vec![live(&tree.service)], deletions)).await;
}

pub(super) async fn a_set_without_changes_is_checked(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, namespace) = (subject.registry(), namespace("app"));
    commit(registry, set(vec![put_namespace(&namespace)])).await;
    for finishing in [None, Some(operation())] {
        let mut set = relying(vec![free(&namespace)], vec![]);
        set.operation = finishing;
        refused(registry, set).await;
    }
    assert!(registry.cell().operations().is_empty());
}

pub(super) async fn a_set_without_changes_notifies_nobody(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, stand) = (subject.registry(), Stand::new());
    commit(registry, set(stand.changes())).await;
    let (before, (journal, _attached)) = (state(registry).revision(), Journal::attached(registry));
    let mut waiter = Waiter::new(registry);
    assert!(waiter.ask().is_none());
    for (key, incarnation) in &stand.entities {
        let lives = Precondition::Live(key.clone(), *incarnation);
        commit(registry, relying(vec![lives], vec![])).await;
    }
    assert_eq!(state(registry).revision(), before, "the revision has grown");
    assert_eq!(journal.len(), 1, "the set reached an observer");
    assert_eq!(waiter.rung(), 0, "a waiter was woken");
    assert!(registry.cell().operations().is_empty());
}

/// One precondition of each kind, none of which holds in a registry with these entities.
fn unmet(stand: &Stand) -> Vec<Precondition> {
    let ((namespace, _), (service, _)) = (&stand.entities[0], &stand.entities[1]);
    let tree = &stand.tree;
    let name = UniqueKey::ServiceName(tree.namespace.id.clone(), tree.service.name.as_str().into());
    let free = [UniqueKey::Id(service.clone()), UniqueKey::HttpName("app".into()), name];
    let others = [
        Precondition::Live(namespace.clone(), reborn(tree.namespace.incarnation)),
        Precondition::At(namespace.clone(), crate::model::Revision::default()),
        Precondition::Childless(service.clone()),
    ];
    others.into_iter().chain(free.map(Precondition::Free)).collect()
}

pub(super) async fn a_refused_set_changes_nothing(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, stand, new) = (subject.registry(), Stand::new(), namespace("new"));
    commit(registry, set(stand.changes())).await;
    let before = state(registry).revision();
    for precondition in unmet(&stand) {
        let changes = vec![put_namespace(&new), delete_instance(&stand.tree.service, "a")];
        refused(registry, relying(vec![precondition.clone()], changes)).await;
        let after = state(registry);
        assert_eq!(after.revision(), before, "{precondition:?}");
        assert!(!has(&after, &new) && has(&after, &stand.tree.namespace), "{precondition:?}");
    }
}

pub(super) async fn a_refused_set_logs_no_operation(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, stand) = (subject.registry(), Stand::new());
    commit(registry, set(stand.changes())).await;
    for precondition in unmet(&stand) {
        let mut set = relying(vec![precondition.clone()], vec![put_namespace(&namespace("new"))]);
        set.operation = Some(operation());
        refused(registry, set).await;
        assert!(registry.cell().operations().is_empty(), "{precondition:?}");
    }
}

pub(super) async fn a_refused_set_notifies_nobody(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, stand) = (subject.registry(), Stand::new());
    commit(registry, set(stand.changes())).await;
    let (journal, _attached) = Journal::attached(registry);
    let mut waiter = Waiter::new(registry);
    assert!(waiter.ask().is_none());
    for precondition in unmet(&stand) {
        refused(registry, relying(vec![precondition], vec![put_namespace(&namespace("new"))])).await;
    }
    assert_eq!(journal.len(), 1, "the set reached an observer");
    assert_eq!(waiter.rung(), 0, "a waiter was woken");
    assert!(waiter.ask().is_none());
}
