//! Two handles on one store, of which each may lag behind the other.

use std::sync::Arc;

use super::{
    Bench, Subject,
    delays::DUE,
    entities::{
        Tree, creation, deletion, entry, has, here, ids, instance_key, live, namespace_key, pending,
        put_health, put_namespace, put_service, registration, relying, service_key, set, update,
    },
    witness::{Journal, commit, refused, state},
};
use crate::{
    api::{
        error::ErrorCode,
        request::{
            CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreateServiceRequest,
            DeleteNamespaceRequest, DeleteServiceRequest, DeregisterInstanceRequest,
            HealthCheckCustomConfigInput, RegisterInstanceRequest, Tag, TagResourceRequest,
        },
    },
    cloud_map::{CloudMap, ScopedCloudMap},
    model::{
        CustomHealthStatus, EntityKey, HealthStatus, Namespace, OperationId, OperationStatus, RecordType,
        Scope, Service, ServiceId, Tags, Timestamp, UniqueKey,
    },
    state::{
        State,
        change::{Change, ChangeSet, Precondition},
    },
    store::registry::{Lookup, Registry},
};

/// Later than the operations of the rules are due.
const AFTER: Timestamp = Timestamp::from_millis(DUE.as_millis() + 1);

async fn refresh(registry: &Arc<dyn Registry>, facts: impl IntoIterator<Item = Lookup>) {
    let facts: Vec<_> = facts.into_iter().collect();
    let result = registry.refresh(&Scope::default(), &facts).await;
    assert!(result.is_ok(), "{result:?} for {facts:?}");
}

/// Engines over the handles.
fn engines<const N: usize>(handles: [&Arc<dyn Registry>; N]) -> [ScopedCloudMap; N] {
    handles.map(|handle| CloudMap::new(Arc::clone(handle)).at(Scope::default()))
}

fn tags() -> Tags {
    Tags::new([("key".to_owned(), "value".to_owned())].into())
}

fn tagged(service: &Service) -> Service {
    Service { tags: tags(), ..service.clone() }
}

fn service_at(state: &State, service: &Service) -> Precondition {
    Precondition::At(service_key(service), entry(state, service).unwrap().revision())
}

fn instance_at(state: &State, service: &Service, id: &str) -> Precondition {
    let found = entry(state, service).unwrap().instances().get(id).unwrap().revision();
    Precondition::At(instance_key(service, id), found)
}

pub(super) async fn a_registration_is_refused_after_its_service_has_changed(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    commit(&two, set(tree.changes())).await;
    let known = service_at(&state(&two), &tree.service);
    let is_free = || Precondition::Free(UniqueKey::Id(instance_key(&tree.service, "a")));
    commit(one, relying(vec![live(&tree.service)], vec![put_service(&tagged(&tree.service))])).await;
    let register = |known| relying(vec![known, is_free()], vec![tree.put("a")]);
    refused(&two, register(known)).await;
    let shown = state(&two);
    assert_eq!(
        entry(&shown, &tree.service).unwrap().service().tags,
        tags(),
        "the refusal does not show the change"
    );
    for handle in [one, &two, &subject.another().await] {
        commit(handle, relying(vec![is_free()], vec![])).await;
    }
    commit(&two, register(service_at(&state(&two), &tree.service))).await;
    assert_eq!(ids(&state(&two), &tree.service), ["a"]);
}

pub(super) async fn a_repeated_request_is_refused_after_its_service_is_deleted(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    commit(&two, set(vec![put_namespace(&tree.namespace)])).await;
    for is_back in [false, true] {
        commit(&two, set(vec![put_service(&tree.service), tree.put("a")])).await;
        let known = instance_at(&state(&two), &tree.service, "a");
        let repeated = || relying(vec![known.clone(), live(&tree.service)], vec![]);
        commit(&two, repeated()).await;
        let deletion = vec![
            super::entities::delete_instance(&tree.service, "a"),
            Change::DeleteService(tree.service.id.clone()),
        ];
        commit(one, relying(vec![live(&tree.service)], deletion)).await;
        if is_back {
            let incarnation = super::entities::reborn(tree.service.incarnation);
            let next = Service { incarnation, ..tree.service.clone() };
            commit(one, set(vec![put_service(&next), tree.put("a")])).await;
        }
        refused(&two, repeated()).await;
        let shown = state(&two);
        let found = entry(&shown, &tree.service).map(|entry| entry.service().incarnation);
        assert_ne!(found, Some(tree.service.incarnation), "the refusal does not show the deletion");
    }
}

pub(super) async fn a_finished_operation_is_found_by_every_handle(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two) = (subject.registry(), subject.another().await);
    let [api] = engines([one]);
    let mut finished: Vec<(OperationId, OperationStatus)> = Vec::new();
    let is_found = async |registry: &Arc<dyn Registry>, (id, status): &(OperationId, OperationStatus)| {
        refresh(registry, [Lookup::Operation(id.clone())]).await;
        let found = registry.cell().operations().get(id.as_str());
        assert_eq!(found.map(|operation| operation.status), Some(*status), "{id}");
    };
    let started = api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
    finished.push((started.operation_id, OperationStatus::Success));
    is_found(&two, &finished[0]).await;
    let namespace = here(&state(one)).namespaces().next().unwrap().namespace().id.to_string();
    let request = CreateServiceRequest::new("web").with_namespace_id(namespace.as_str());
    let service = api.create_service(request).await.unwrap().service.id.to_string();
    let request = RegisterInstanceRequest::new(service.as_str(), "a").with_attribute("version", "1");
    finished.push((api.register_instance(request).await.unwrap().operation_id, OperationStatus::Success));
    is_found(&two, &finished[1]).await;
    let request = DeregisterInstanceRequest::new(service.as_str(), "a");
    finished.push((api.deregister_instance(request).await.unwrap().operation_id, OperationStatus::Success));
    is_found(&two, &finished[2]).await;
    api.delete_service(DeleteServiceRequest::new(service.as_str())).await.unwrap();
    let started = api.delete_namespace(DeleteNamespaceRequest::new(namespace)).await.unwrap();
    finished.push((started.operation_id, OperationStatus::Success));
    // The second one fails, without a namespace of its own.
    for status in [OperationStatus::Success, OperationStatus::Fail] {
        let request = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
        let started = api.create_private_dns_namespace(request).await.unwrap();
        finished.push((started.operation_id, status));
    }
    let three = subject.another().await;
    for handle in [&two, &three] {
        for operation in &finished[3..] {
            is_found(handle, operation).await;
        }
    }
    let registration = &finished[1];
    is_found(&two, registration).await;
}

pub(super) async fn a_namespace_under_deletion_takes_no_service(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    commit(&two, set(vec![put_namespace(&tree.namespace)])).await;
    commit(one, deletion(&tree.namespace)).await;
    let key = namespace_key(&tree.namespace);
    let create = || {
        let lives = Precondition::Live(key.clone(), tree.namespace.incarnation);
        let stays = Precondition::Free(UniqueKey::Target(key.clone()));
        relying(vec![lives, stays], vec![put_service(&tree.service)])
    };
    refused(&two, create()).await;
    assert_eq!(two.cell().next_deadline(), Some(DUE), "the refusal does not show the deletion");
    let mut late = create();
    late.at = DUE;
    refused(&two, late).await;
    for handle in [one, &two, &subject.another().await] {
        refresh(handle, [Lookup::Entity(key.clone())]).await;
        handle.cell().advance(DUE);
        assert_eq!(here(&state(handle)).namespaces().count(), 0);
    }
}

/// What every handle shows after the operation of `begun` is due and another handle has stored `next` upon it.
async fn assert_effect_is_kept(
    subject: &Subject,
    begun: ChangeSet,
    key: EntityKey,
    next: impl Fn(&State) -> (Precondition, Change),
    is_kept: impl Fn(&State) -> bool,
) {
    let (one, two) = (subject.registry(), subject.another().await);
    let id = pending(&begun).operation.id.clone();
    let facts = || [Lookup::Entity(key.clone()), Lookup::Operation(id.clone())];
    commit(one, begun).await;
    refresh(&two, facts()).await;
    two.cell().advance(AFTER);
    let (precondition, change) = next(&state(&two));
    let mut upon_it = relying(vec![precondition], vec![change]);
    upon_it.at = AFTER;
    commit(&two, upon_it).await;
    for handle in [&two, one, &subject.another().await] {
        refresh(handle, facts()).await;
        handle.cell().advance(AFTER);
        assert!(is_kept(&state(handle)), "the effect on {key} or the next write is lost");
        assert!(handle.cell().operations().get(id.as_str()).is_some(), "the operation on {key} is lost");
    }
}

pub(super) async fn a_write_to_a_due_target_keeps_the_effect(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::new());
    commit(registry, set(tree.changes())).await;
    let registration = registration(&tree, "a");
    let report = |state: &State| {
        let change = put_health(&tree.service, "a", CustomHealthStatus::Unhealthy);
        (instance_at(state, &tree.service, "a"), change)
    };
    let is_unhealthy = |state: &State| {
        let found = entry(state, &tree.service).and_then(|entry| entry.instances().get("a"));
        found.is_some_and(|found| found.health().status() == HealthStatus::Unhealthy)
    };
    let key = instance_key(&tree.service, "a");
    assert_effect_is_kept(&subject, registration, key, report, is_unhealthy).await;

    let subject = bench.fresh().await;
    let (registry, tree) = (subject.registry(), Tree::in_zone());
    commit(registry, set(tree.changes())).await;
    let mut begun = update(&tree);
    begun.preconditions.clear();
    let tag = |state: &State| {
        let found = entry(state, &tree.service).unwrap();
        (service_at(state, &tree.service), put_service(&tagged(found.service())))
    };
    let has_both = |state: &State| {
        let found = entry(state, &tree.service).unwrap().service();
        found.dns_config().unwrap().ttl(RecordType::A) == Some(5) && found.tags == tags()
    };
    assert_effect_is_kept(&subject, begun, service_key(&tree.service), tag, has_both).await;

    let subject = bench.fresh().await;
    let begun = creation("late");
    let created = match &pending(&begun).effect[..] {
        [Change::PutNamespace(namespace)] => (**namespace).clone(),
        effect => panic!("{effect:?}"),
    };
    let changed = Namespace { tags: tags(), ..created.clone() };
    let tag = |state: &State| {
        let found = here(state).namespace(created.id.as_str()).unwrap().revision();
        (Precondition::At(namespace_key(&created), found), put_namespace(&changed))
    };
    assert_effect_is_kept(&subject, begun, namespace_key(&created), tag, |state| has(state, &changed)).await;
}

pub(super) async fn a_refresh_shows_what_another_handle_has_stored(bench: &Bench) {
    let subject = bench.fresh().await;
    let (one, two, tree) = (subject.registry(), subject.another().await, Tree::new());
    let (journal, _attached) = Journal::attached(&two);
    let entity = |key: EntityKey| [Lookup::Entity(key)];
    commit(one, set(tree.changes())).await;
    refresh(&two, entity(namespace_key(&tree.namespace))).await;
    assert!(has(&state(&two), &tree.namespace));
    refresh(&two, entity(service_key(&tree.service))).await;
    assert!(entry(&state(&two), &tree.service).is_some());
    commit(one, relying(vec![live(&tree.service)], vec![tree.put("a")])).await;
    refresh(&two, entity(instance_key(&tree.service, "a"))).await;
    assert_eq!(ids(&state(&two), &tree.service), ["a"]);
    commit(one, set(vec![super::entities::delete_instance(&tree.service, "a")])).await;
    refresh(&two, [Lookup::Children(service_key(&tree.service))]).await;
    assert_eq!(ids(&state(&two), &tree.service), [""; 0]);
    let begun = registration(&tree, "b");
    commit(one, begun.clone()).await;
    let operation = &pending(&begun).operation.id;
    refresh(&two, [Lookup::Operation(operation.clone())]).await;
    assert!(here(&state(&two)).in_flight(operation.as_str()).is_some());
    one.cell().advance(AFTER);
    let mut emptied = set(vec![
        super::entities::delete_instance(&tree.service, "b"),
        Change::DeleteService(tree.service.id.clone()),
    ]);
    emptied.at = AFTER;
    commit(one, emptied).await;
    refresh(&two, [Lookup::Children(namespace_key(&tree.namespace))]).await;
    assert!(entry(&state(&two), &tree.service).is_none());
    commit(one, set(vec![Change::DeleteNamespace(tree.namespace.id.clone())])).await;
    refresh(&two, entity(namespace_key(&tree.namespace))).await;
    assert_eq!(here(&state(&two)).namespaces().count(), 0);
    journal.assert_unbroken();
    // A missing entity is not an error.
    refresh(&two, entity(service_key(&tree.service))).await;
    refresh(&two, []).await;
}

/// A service whose instances have custom health, by its ids.
async fn create_service(api: &ScopedCloudMap, namespace: &str) -> ServiceId {
    let request = CreateServiceRequest::new("web")
        .with_namespace_id(namespace)
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default());
    api.create_service(request).await.unwrap().service.id.clone()
}

pub(super) async fn a_refusal_is_checked_in_the_store(bench: &Bench) {
    let subject = bench.fresh().await;
    let (first, second) = (subject.registry(), subject.another().await);
    let [one, two] = engines([first, &second]);
    one.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
    let namespace = here(&state(first)).namespaces().next().unwrap().namespace().id.to_string();
    // Each of them is refused by what the handle shows before it looks.
    let service = create_service(&two, &namespace).await;
    let register = RegisterInstanceRequest::new(service.as_str(), "a").with_attribute("version", "1");
    one.register_instance(register).await.unwrap();
    two.deregister_instance(DeregisterInstanceRequest::new(service.as_str(), "a")).await.unwrap();
    one.delete_service(DeleteServiceRequest::new(service.as_str())).await.unwrap();
    assert_eq!(create_service(&two, &namespace).await, service);
    let arn = here(&state(&second)).service(service.as_str()).unwrap().service().arn();
    let tag = TagResourceRequest::new(arn.as_str()).with_tags([Tag::new("key", "value")]);
    one.tag_resource(tag).await.unwrap();
    one.delete_service(DeleteServiceRequest::new(service.as_str())).await.unwrap();
    two.delete_namespace(DeleteNamespaceRequest::new(namespace.as_str())).await.unwrap();
    one.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
    // Refusals that the store confirms stay.
    let missing = two.delete_namespace(DeleteNamespaceRequest::new(namespace.as_str())).await;
    assert_eq!(missing.unwrap_err().code(), ErrorCode::NamespaceNotFound);
    let taken = two.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await;
    assert_eq!(taken.unwrap_err().code(), ErrorCode::NamespaceAlreadyExists);
}

pub(super) async fn an_answer_without_changes_is_checked(bench: &Bench) {
    let subject = bench.fresh().await;
    let (first, second) = (subject.registry(), subject.another().await);
    let [one, two] = engines([first, &second]);
    two.create_http_namespace(CreateHttpNamespaceRequest::new("app")).await.unwrap();
    let namespace = here(&state(&second)).namespaces().next().unwrap().namespace().id.to_string();
    let service = create_service(&two, &namespace).await;
    let id = service.as_str();
    let register =
        RegisterInstanceRequest::new(id, "a").with_attribute("version", "1").with_creator_request_id("token");
    let started = two.register_instance(register.clone()).await.unwrap();
    assert_eq!(two.register_instance(register.clone()).await.unwrap().operation_id, started.operation_id);
    // By this handle's cell the last report changes nothing; by the store it does.
    two.set_health(id, "a", CustomHealthStatus::Unhealthy).await.unwrap();
    one.set_health(id, "a", CustomHealthStatus::Healthy).await.unwrap();
    two.set_health(id, "a", CustomHealthStatus::Unhealthy).await.unwrap();
    let health = |handle: &Arc<dyn Registry>| {
        let state = state(handle);
        let found = here(&state).service(id).and_then(|entry| entry.instances().get("a"));
        found.map(|found| found.health().status())
    };
    let third = subject.another().await;
    let key =
        || Lookup::Entity(EntityKey::Instance(service.clone(), crate::model::InstanceId::of_checked("a")));
    refresh(&third, [key()]).await;
    assert_eq!(health(&third), Some(HealthStatus::Unhealthy));
    // The same of a registration.
    one.deregister_instance(DeregisterInstanceRequest::new(id, "a")).await.unwrap();
    let again = two.register_instance(register.clone()).await.unwrap();
    assert_ne!(again.operation_id, started.operation_id);
    refresh(&third, [key()]).await;
    assert_eq!(health(&third), Some(HealthStatus::Healthy));
    one.deregister_instance(DeregisterInstanceRequest::new(id, "a")).await.unwrap();
    one.delete_service(DeleteServiceRequest::new(id)).await.unwrap();
    let error = two.register_instance(register).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::ServiceNotFound);
}
