//! Limits of requests: characters and sizes.

use aws_sdk_servicediscovery::{Error, error::SdkError, types::Tag};

use crate::world::{World, namespace_of, refused};

const UNICODE: &str = "Grüße, 世界 🗺";

pub(crate) async fn unicode(world: World) {
    let sd = &world.sd;
    let tag = Tag::builder().key("k").value("Grüße").build().unwrap();
    let call = sd.create_http_namespace().name(world.name("unicode")).description(UNICODE).tags(tag.clone());
    let id = namespace_of(sd, call.send().await.unwrap().operation_id()).await;
    let namespace = sd.get_namespace().id(id).send().await.unwrap().namespace.unwrap();
    assert_eq!(namespace.description(), Some(UNICODE));
    let found = sd.list_tags_for_resource().resource_arn(namespace.arn().unwrap()).send().await.unwrap();
    assert_eq!(found.tags(), [tag]);
    let (service, ..) = world.service().await;
    let call = sd.register_instance().service_id(service).instance_id("i-1").attributes("text", UNICODE);
    let error = refused(call.send().await);
    assert!(matches!(error, Error::InvalidInput(_)), "{error:?}");
}

pub(crate) async fn max_results(world: World) {
    let (_, namespace_name, service_name) = world.service().await;
    let call = world.sd.discover_instances().namespace_name(namespace_name).service_name(service_name);
    let error = refused(call.max_results(1001).send().await);
    assert!(matches!(error, Error::InvalidInput(_)), "{error:?}");
}

pub(crate) async fn attribute(world: World) {
    let (service, ..) = world.service().await;
    let call = world.sd.register_instance().service_id(service).instance_id("i-1");
    let error = refused(call.attributes("a", "x".repeat(1025)).send().await);
    assert!(matches!(error, Error::InvalidInput(_)), "{error:?}");
}

pub(crate) async fn body(world: World) {
    let call = world.sd.create_http_namespace().name(world.name("long")).description("d".repeat(3 << 19));
    let error = call.send().await.unwrap_err();
    let SdkError::ServiceError(error) = error else { panic!("{error:?}") };
    assert_eq!(error.raw().status().as_u16(), 413);
}
