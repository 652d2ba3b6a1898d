//! The SDK's paginators with pages of two.

use aws_sdk_servicediscovery::types::{
    FilterCondition, NamespaceFilter, NamespaceFilterName, OperationFilter, OperationFilterName,
    ServiceFilter, ServiceFilterName,
};

use crate::world::{World, namespace_of};

const FIVE: [&str; 5] = ["i-0", "i-1", "i-2", "i-3", "i-4"];

pub(crate) async fn namespaces(world: World) {
    let (prefix, mut made) = (world.name("paged"), Vec::new());
    for number in 0..5 {
        let started =
            world.sd.create_http_namespace().name(format!("{prefix}-{number}")).send().await.unwrap();
        made.push(namespace_of(&world.sd, started.operation_id()).await);
    }
    let filter = NamespaceFilter::builder().name(NamespaceFilterName::Name).values(prefix);
    let filter = filter.condition(FilterCondition::BeginsWith).build().unwrap();
    let pages = world.sd.list_namespaces().filters(filter).into_paginator().page_size(2).send();
    let pages = pages.collect::<Result<Vec<_>, _>>().await.unwrap();
    assert!(pages.len() >= 3);
    let found = pages.iter().flat_map(|page| page.namespaces()).map(|namespace| namespace.id().unwrap());
    assert_eq!(found.collect::<Vec<_>>(), made);
}

pub(crate) async fn services(world: World) {
    let ((namespace, _), mut made) = (world.namespace().await, Vec::new());
    for number in 0..5 {
        let call = world.sd.create_service().name(format!("s-{number}")).namespace_id(&namespace);
        made.push(call.send().await.unwrap().service.unwrap().id.unwrap());
    }
    let filter =
        ServiceFilter::builder().name(ServiceFilterName::NamespaceId).values(namespace).build().unwrap();
    let pages = world.sd.list_services().filters(filter).into_paginator().page_size(2).send();
    let pages = pages.collect::<Result<Vec<_>, _>>().await.unwrap();
    assert!(pages.len() >= 3);
    let found = pages.iter().flat_map(|page| page.services()).map(|service| service.id().unwrap());
    assert_eq!(found.collect::<Vec<_>>(), made);
}

pub(crate) async fn instances(world: World) {
    let call = world.sd.list_instances().service_id(world.five_instances().await);
    let pages = call.into_paginator().page_size(2).send().collect::<Result<Vec<_>, _>>().await.unwrap();
    assert!(pages.len() >= 3);
    let found = pages.iter().flat_map(|page| page.instances()).map(|instance| instance.id().unwrap());
    assert_eq!(found.collect::<Vec<_>>(), FIVE);
}

pub(crate) async fn health(world: World) {
    let call = world.sd.get_instances_health_status().service_id(world.five_instances().await);
    let pages = call.into_paginator().page_size(2).send().collect::<Result<Vec<_>, _>>().await.unwrap();
    assert!(pages.iter().all(|page| page.status().is_none_or(|status| status.len() <= 2)));
    let found = pages.into_iter().flat_map(|page| page.status.unwrap_or_default().into_keys());
    let mut found: Vec<_> = found.collect();
    found.sort();
    assert_eq!(found, FIVE);
}

pub(crate) async fn operations(world: World) {
    let filter = |name, value: &str| {
        let filter = OperationFilter::builder().name(name).values(value).condition(FilterCondition::Eq);
        filter.build().unwrap()
    };
    let call = world.sd.list_operations().filters(filter(OperationFilterName::Type, "REGISTER_INSTANCE"));
    let call = call.filters(filter(OperationFilterName::ServiceId, &world.five_instances().await));
    let pages = call.into_paginator().page_size(2).send().collect::<Result<Vec<_>, _>>().await.unwrap();
    let mut found: Vec<_> =
        pages.iter().flat_map(|page| page.operations()).map(|operation| operation.id().unwrap()).collect();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 5);
}
