//! Registries that are marked [`Immediate`].

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::{
    Bench, Subject,
    entities::{Tree, free, operation, relying, service_key, set},
};
use crate::{
    api::request::{
        CreateHttpNamespaceRequest, CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceRequest,
        DeregisterInstanceRequest, DiscoverInstancesRequest, RegisterInstanceRequest,
    },
    cloud_map::SyncCloudMap,
    model::Scope,
    store::registry::{CommitError, Immediate, Lookup},
};

fn claimed(subject: &Subject) -> Arc<dyn Immediate> {
    subject.immediate.clone().expect("the factory says `Subject::immediate`")
}

pub(super) async fn a_commit_is_done_at_its_first_poll(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (claimed(&subject), Tree::new());
    let once = |set| match pin!(registry.commit(set)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("a registry that is marked Immediate has waited"),
    };
    let mut empty = set(vec![]);
    empty.operation = Some(operation());
    assert!(once(empty).is_ok());
    for id in ["a", "b"] {
        assert!(once(set(tree.changes())).is_ok());
        assert!(once(set(vec![tree.put(id)])).is_ok());
        let refused = once(relying(vec![free(&tree.namespace)], vec![]));
        assert!(matches!(refused, Err(CommitError::Conflict)), "{refused:?}");
    }
}

pub(super) async fn refresh_and_pause_are_done_at_their_first_poll(bench: &Bench) {
    let subject = bench.fresh().await;
    let (registry, tree) = (claimed(&subject), Tree::new());
    let mut context = Context::from_waker(Waker::noop());
    let (scope, facts) = (Scope::default(), [Lookup::Entity(service_key(&tree.service))]);
    let looked = pin!(registry.refresh(&scope, &facts)).poll(&mut context);
    assert!(matches!(looked, Poll::Ready(Ok(()))), "{looked:?}");
    assert!(pin!(registry.pause(1)).poll(&mut context).is_ready(), "it has waited");
}

pub(super) async fn requests_work_without_a_runtime(bench: &Bench) {
    let subject = bench.fresh().await;
    let api = SyncCloudMap::new(claimed(&subject)).at(Scope::default());
    let app = api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
    let request = CreateServiceRequest::new("web").with_namespace_id(&app.namespace_id);
    let service = api.create_service(request).unwrap();
    let request = RegisterInstanceRequest::new(&service.id, "a").with_attribute("version", "1");
    api.register_instance(request).unwrap();
    let found = api.discover_instances(DiscoverInstancesRequest::new("app", "web")).unwrap();
    assert_eq!(found.instances.len(), 1);
    api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "a")).unwrap();
    api.delete_service(DeleteServiceRequest::new(&service.id)).unwrap();
    api.delete_namespace(DeleteNamespaceRequest::new(app.namespace_id)).unwrap();
}

pub(super) async fn a_backend_without_faults_waits_for_nothing(bench: &Bench) {
    let subject = bench.fresh().await;
    assert!(subject.faults.is_none(), "the factory offers faults: the test says `faults`, not `no_faults`");
    let tree = Tree::new();
    let stored = pin!(subject.registry().commit(set(tree.changes())))
        .poll(&mut Context::from_waker(Waker::noop()))
        .map(|result| result.is_ok());
    assert_eq!(stored, Poll::Ready(true), "a backend that waits has a store, which can fail");
}
