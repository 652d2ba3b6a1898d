//! Life cycles: creation, change and deletion.

use aws_sdk_servicediscovery::{
    Error,
    types::{
        CustomHealthStatus, DnsConfig, DnsConfigChange, DnsRecord, FilterCondition, HealthStatus,
        HttpNamespaceChange, NamespaceType, OperationStatus, OperationType, PrivateDnsNamespaceChange,
        PrivateDnsNamespaceProperties, PrivateDnsNamespacePropertiesChange, PrivateDnsPropertiesMutable,
        PrivateDnsPropertiesMutableChange, RecordType, RoutingPolicy, ServiceChange, ServiceFilter,
        ServiceFilterName, Soa, SoaChange, Tag,
    },
};

use crate::world::{World, namespace_of, polled, refused};

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

pub(crate) async fn namespace_http(world: World) {
    let (sd, name) = (&world.sd, world.name("http"));
    let call = sd.create_http_namespace().name(&name).creator_request_id("token").description("d");
    let started = call.tags(tag("k", "v")).send().await.unwrap();
    let operation = polled(sd, started.operation_id()).await;
    assert_eq!(operation.r#type(), Some(&OperationType::CreateNamespace));
    let id = namespace_of(sd, started.operation_id()).await;
    let namespace = sd.get_namespace().id(&id).send().await.unwrap().namespace.unwrap();
    assert_eq!((namespace.name(), namespace.description()), (Some(name.as_str()), Some("d")));
    assert_eq!(namespace.r#type(), Some(&NamespaceType::Http));
    let properties = namespace.properties().unwrap().http_properties().unwrap();
    assert_eq!(properties.http_name(), Some(name.as_str()));
    let change = HttpNamespaceChange::builder().description("e").build().unwrap();
    let started = sd.update_http_namespace().id(&id).namespace(change).send().await.unwrap();
    polled(sd, started.operation_id()).await;
    let namespace = sd.get_namespace().id(&id).send().await.unwrap().namespace.unwrap();
    assert_eq!(namespace.description(), Some("e"));
    let started = sd.delete_namespace().id(&id).send().await.unwrap();
    polled(sd, started.operation_id()).await;
    let error = refused(sd.get_namespace().id(&id).send().await);
    assert!(matches!(error, Error::NamespaceNotFound(_)), "{error:?}");
}

pub(crate) async fn namespace_private(world: World) {
    let (sd, name) = (&world.sd, format!("{}.local", world.name("private")));
    let soa = PrivateDnsPropertiesMutable::builder().soa(Soa::builder().ttl(30).build().unwrap()).build();
    let properties = PrivateDnsNamespaceProperties::builder().dns_properties(soa).build();
    let call = sd.create_private_dns_namespace().name(name).vpc("vpc-1").properties(properties);
    let id = namespace_of(sd, call.send().await.unwrap().operation_id()).await;
    let ttl = async || {
        let namespace = sd.get_namespace().id(&id).send().await.unwrap().namespace.unwrap();
        let dns = namespace.properties.unwrap().dns_properties.unwrap();
        assert!(dns.hosted_zone_id().is_some());
        dns.soa().unwrap().ttl()
    };
    assert_eq!(ttl().await, 30);
    let soa = SoaChange::builder().ttl(40).build().unwrap();
    let dns = PrivateDnsPropertiesMutableChange::builder().soa(soa).build();
    let properties = PrivateDnsNamespacePropertiesChange::builder().dns_properties(dns).build();
    let change = PrivateDnsNamespaceChange::builder().properties(properties).build();
    let started = sd.update_private_dns_namespace().id(&id).namespace(change).send().await.unwrap();
    polled(sd, started.operation_id()).await;
    assert_eq!(ttl().await, 40);
    let started = sd.delete_namespace().id(&id).send().await.unwrap();
    polled(sd, started.operation_id()).await;
}

pub(crate) async fn namespace_public(world: World) {
    let (sd, name) = (&world.sd, format!("{}.example", world.name("public")));
    let started = sd.create_public_dns_namespace().name(name).send().await.unwrap();
    let id = namespace_of(sd, started.operation_id()).await;
    let namespace = sd.get_namespace().id(&id).send().await.unwrap().namespace.unwrap();
    assert_eq!(namespace.r#type(), Some(&NamespaceType::DnsPublic));
    let started = sd.delete_namespace().id(&id).send().await.unwrap();
    polled(sd, started.operation_id()).await;
}

pub(crate) async fn operation_poll(world: World) {
    let started = world.timed.create_http_namespace().name(world.name("slow")).send().await.unwrap();
    let call = world.timed.get_operation().operation_id(started.operation_id().unwrap());
    let first = call.send().await.unwrap().operation.unwrap();
    assert!(
        matches!(first.status(), Some(OperationStatus::Submitted | OperationStatus::Pending)),
        "{first:?}"
    );
    polled(&world.timed, started.operation_id()).await;
}

pub(crate) async fn service(world: World) {
    let (sd, name) = (&world.sd, format!("{}.local", world.name("zone")));
    let started = sd.create_private_dns_namespace().name(name).vpc("vpc-1").send().await.unwrap();
    let namespace = namespace_of(sd, started.operation_id()).await;
    let records = |ttl| {
        let record = |kind| DnsRecord::builder().r#type(kind).ttl(ttl).build().unwrap();
        Some(vec![record(RecordType::A), record(RecordType::Srv)])
    };
    let config = DnsConfig::builder().routing_policy(RoutingPolicy::Multivalue).set_dns_records(records(60));
    let call = sd.create_service().name("web").namespace_id(&namespace).dns_config(config.build().unwrap());
    let id = call.send().await.unwrap().service.unwrap().id.unwrap();
    let ttls = async || {
        let service = sd.get_service().id(&id).send().await.unwrap().service.unwrap();
        service.dns_config.unwrap().dns_records.iter().map(DnsRecord::ttl).collect::<Vec<_>>()
    };
    assert_eq!(ttls().await, [60, 60]);
    let change = DnsConfigChange::builder().set_dns_records(records(5)).build().unwrap();
    let change = ServiceChange::builder().dns_config(change).build();
    let started = sd.update_service().id(&id).service(change).send().await.unwrap();
    polled(sd, started.operation_id()).await;
    assert_eq!(ttls().await, [5, 5]);
    let filter = ServiceFilter::builder().name(ServiceFilterName::NamespaceId).values(&namespace);
    let filter = filter.condition(FilterCondition::Eq).build().unwrap();
    let found = sd.list_services().filters(filter).send().await.unwrap();
    assert_eq!(found.services().iter().map(|service| service.id()).collect::<Vec<_>>(), [Some(id.as_str())]);
    sd.delete_service().id(&id).send().await.unwrap();
    let error = refused(sd.get_service().id(&id).send().await);
    assert!(matches!(error, Error::ServiceNotFound(_)), "{error:?}");
}

pub(crate) async fn service_attributes(world: World) {
    let (sd, (service, ..)) = (&world.sd, world.service().await);
    let call = sd.update_service_attributes().service_id(&service);
    call.attributes("a", "1").attributes("b", "2").send().await.unwrap();
    sd.delete_service_attributes().service_id(&service).attributes("a").send().await.unwrap();
    let found = sd.get_service_attributes().service_id(&service).send().await.unwrap();
    let found = found.service_attributes.unwrap().attributes.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [("b".to_owned(), "2".to_owned())]);
}

pub(crate) async fn instance(world: World) {
    let (sd, (service, ..)) = (&world.sd, world.service().await);
    for stage in ["blue", "green"] {
        world.register(&service, "i-1", &[("stage", stage)]).await;
        let found = sd.get_instance().service_id(&service).instance_id("i-1").send().await.unwrap();
        assert_eq!(found.instance.unwrap().attributes.unwrap()["stage"], stage);
    }
    let found = sd.list_instances().service_id(&service).send().await.unwrap();
    assert_eq!(found.instances().iter().map(|instance| instance.id()).collect::<Vec<_>>(), [Some("i-1")]);
    let started = sd.deregister_instance().service_id(&service).instance_id("i-1").send().await.unwrap();
    polled(sd, started.operation_id()).await;
    let error = refused(sd.get_instance().service_id(&service).instance_id("i-1").send().await);
    assert!(matches!(error, Error::InstanceNotFound(_)), "{error:?}");
}

pub(crate) async fn instance_health(world: World) {
    let (sd, (service, ..)) = (&world.sd, world.service().await);
    world.register(&service, "i-1", &[("a", "b")]).await;
    let call = sd.update_instance_custom_health_status().service_id(&service).instance_id("i-1");
    call.status(CustomHealthStatus::Unhealthy).send().await.unwrap();
    let found = sd.get_instances_health_status().service_id(&service).send().await.unwrap();
    assert_eq!(found.status().unwrap()["i-1"], HealthStatus::Unhealthy);
}

pub(crate) async fn tags(world: World) {
    let sd = &world.sd;
    let call = sd.create_http_namespace().name(world.name("tagged")).tags(tag("k", "v"));
    let id = namespace_of(sd, call.send().await.unwrap().operation_id()).await;
    let arn = sd.get_namespace().id(id).send().await.unwrap().namespace.unwrap().arn.unwrap();
    sd.tag_resource().resource_arn(&arn).tags(tag("l", "w")).send().await.unwrap();
    let found = sd.list_tags_for_resource().resource_arn(&arn).send().await.unwrap();
    assert_eq!(found.tags(), [tag("k", "v"), tag("l", "w")]);
    sd.untag_resource().resource_arn(&arn).tag_keys("k").send().await.unwrap();
    let found = sd.list_tags_for_resource().resource_arn(&arn).send().await.unwrap();
    assert_eq!(found.tags(), [tag("l", "w")]);
}

pub(crate) async fn idempotency(world: World) {
    let (sd, name) = (&world.sd, world.name("once"));
    let create = || sd.create_http_namespace().name(&name).creator_request_id("token").send();
    let (first, again) = (create().await.unwrap(), create().await.unwrap());
    assert_eq!(first.operation_id(), again.operation_id());
    let namespace = namespace_of(sd, first.operation_id()).await;
    let create = async || {
        let call = sd.create_service().name("web").namespace_id(&namespace).creator_request_id("token");
        call.send().await.unwrap().service.unwrap().id.unwrap()
    };
    let service = create().await;
    assert_eq!(create().await, service);
    let register = async || {
        let call = sd.register_instance().service_id(&service).instance_id("i").attributes("a", "b");
        call.creator_request_id("token").send().await.unwrap().operation_id
    };
    assert_eq!(register().await, register().await);
}
