//! API errors as the SDK's own types.

use std::time::Instant;

use aws_sdk_servicediscovery::{
    Error,
    types::{CustomHealthStatus, Tag},
};

use crate::world::{World, namespace_of, refused};

pub(crate) async fn namespace_exists(world: World) {
    let (sd, name) = (&world.sd, world.name("taken"));
    let create = |token| sd.create_http_namespace().name(&name).creator_request_id(token).send();
    let id = namespace_of(sd, create("first").await.unwrap().operation_id()).await;
    let Error::NamespaceAlreadyExists(error) = refused(create("second").await) else {
        panic!("expected NamespaceAlreadyExists")
    };
    assert_eq!((error.namespace_id(), error.creator_request_id()), (Some(id.as_str()), Some("first")));
}

pub(crate) async fn service_exists(world: World) {
    let (namespace, _) = world.namespace().await;
    let create = |token| {
        let call = world.sd.create_service().name("web").namespace_id(&namespace);
        call.creator_request_id(token).send()
    };
    let service = create("first").await.unwrap().service.unwrap();
    let Error::ServiceAlreadyExists(error) = refused(create("second").await) else {
        panic!("expected ServiceAlreadyExists")
    };
    assert_eq!((error.service_id(), error.creator_request_id()), (service.id(), Some("first")));
}

pub(crate) async fn duplicate_request(world: World) {
    // The first operation takes three seconds. On a busy machine the second request may come later, hence a second try.
    let begun = Instant::now();
    loop {
        let name = world.name("slow");
        let create = || world.timed.create_http_namespace().name(&name).send();
        let first = create().await.unwrap();
        match refused(create().await) {
            Error::DuplicateRequest(error) => {
                return assert_eq!(error.duplicate_operation_id(), first.operation_id());
            }
            error => assert!(
                matches!(error, Error::NamespaceAlreadyExists(_)) && begun.elapsed().as_secs() < 60,
                "{error:?}"
            ),
        }
    }
}

pub(crate) async fn in_use(world: World) {
    let (namespace, _) = world.namespace().await;
    world.sd.create_service().name("web").namespace_id(&namespace).send().await.unwrap();
    let error = refused(world.sd.delete_namespace().id(namespace).send().await);
    assert!(matches!(error, Error::ResourceInUse(_)), "{error:?}");
}

pub(crate) async fn not_found(world: World) {
    let sd = &world.sd;
    let (namespace, _) = world.namespace().await;
    let service =
        sd.create_service().name("web").namespace_id(namespace).send().await.unwrap().service.unwrap();
    let service = service.id().unwrap();
    world.register(service, "i-1", &[("a", "b")]).await;
    let error = refused(sd.get_namespace().id("ns-none").send().await);
    assert!(matches!(error, Error::NamespaceNotFound(_)), "{error:?}");
    let error = refused(sd.get_service().id("srv-none").send().await);
    assert!(matches!(error, Error::ServiceNotFound(_)), "{error:?}");
    let error = refused(sd.get_instance().service_id(service).instance_id("i-none").send().await);
    assert!(matches!(error, Error::InstanceNotFound(_)), "{error:?}");
    let error = refused(sd.get_operation().operation_id("none").send().await);
    assert!(matches!(error, Error::OperationNotFound(_)), "{error:?}");
    let arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-none";
    let error = refused(sd.list_tags_for_resource().resource_arn(arn).send().await);
    assert!(matches!(error, Error::ResourceNotFoundException(_)), "{error:?}");
    let call = sd.update_instance_custom_health_status().service_id(service).instance_id("i-1");
    let error = refused(call.status(CustomHealthStatus::Healthy).send().await);
    assert!(matches!(error, Error::CustomHealthNotFound(_)), "{error:?}");
}

pub(crate) async fn invalid_input(world: World) {
    let error = refused(world.sd.create_http_namespace().name("with a space").send().await);
    let Error::InvalidInput(error) = error else { panic!("{error:?}") };
    assert!(error.message().unwrap().contains("'name'"), "{error:?}");
}

pub(crate) async fn too_many_tags(world: World) {
    let (sd, (namespace, _)) = (&world.sd, world.namespace().await);
    let arn = sd.get_namespace().id(namespace).send().await.unwrap().namespace.unwrap().arn.unwrap();
    let tag = |number: u32| Tag::builder().key(format!("k{number}")).value("v").build().unwrap();
    let fifty = (0..50).map(tag).collect();
    sd.tag_resource().resource_arn(&arn).set_tags(Some(fifty)).send().await.unwrap();
    let error = refused(sd.tag_resource().resource_arn(&arn).tags(tag(50)).send().await);
    let Error::TooManyTagsException(error) = error else { panic!("{error:?}") };
    assert_eq!(error.resource_name(), Some(arn.as_str()));
}

pub(crate) async fn limit(world: World) {
    let create = || world.quotas.create_http_namespace().name(world.name("many")).send();
    for _ in 0..50 {
        create().await.unwrap();
    }
    let error = refused(create().await);
    assert!(matches!(error, Error::ResourceLimitExceeded(_)), "{error:?}");
}
