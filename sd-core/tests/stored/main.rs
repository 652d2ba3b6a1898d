//! The stored form: files of each version are read, and what is wrong in one is named.

#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

mod written;

use std::{sync::Arc, time::Duration};

use sd_backend_memory::MemoryRegistry;
use sd_core::{
    CloudMap, ManualClock, Scope, SequentialIds, State, SyncCloudMap, Timing,
    model::{HealthCheckType, HealthStart, HealthStatus, RecordType, RoutingPolicy},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
        CreateServiceRequest, DeleteNamespaceRequest, DeregisterInstanceRequest, DiscoverInstancesRequest,
        DnsConfigInput, GetOperationRequest, HealthCheckConfigInput, HealthCheckCustomConfigInput,
        HttpNamespaceChange, ListNamespacesRequest, RegisterInstanceRequest, Tag, TagResourceRequest,
        UpdateHttpNamespaceRequest, UpdateInstanceCustomHealthStatusRequest, UpdateServiceAttributesRequest,
    },
    stored::{Change, Facts, Operation, RestoreError},
};
use serde_json::Value;

/// The form of version 1. It is never changed: a registry that was stored with it is read by every later version.
const VERSION_1: &str = include_str!("version-1.json");

/// What is stored of a registry.
type Stored = (Facts, Vec<Operation>);

fn stored(cloud_map: &CloudMap) -> Stored {
    (Facts::of(&cloud_map.state()), cloud_map.cell().operations().stored())
}

fn restore((facts, finished): Stored) -> Result<MemoryRegistry, RestoreError> {
    MemoryRegistry::restored(State::restore(facts)?, finished)
}

/// A registry with a record of every kind, with and without each member that may be absent.
fn filled() -> SyncCloudMap {
    let clock = Arc::new(ManualClock::default());
    let cloud_map = SyncCloudMap::builder(MemoryRegistry::new())
        .clock(Arc::clone(&clock))
        .ids(SequentialIds::default())
        .timing(Timing::aws())
        .build_sync();
    let api = cloud_map.at(Scope::default());
    let pass = || clock.advance(Duration::from_secs(120));

    api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap();
    pass();
    api.create_http_namespace(CreateHttpNamespaceRequest::new("old")).unwrap();
    let private = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1");
    api.create_private_dns_namespace(private.with_creator_request_id("token")).unwrap();
    api.create_public_dns_namespace(CreatePublicDnsNamespaceRequest::new("example.com")).unwrap();
    pass();
    let namespace = |name: &str| {
        let all = api.list_namespaces(ListNamespacesRequest::new()).unwrap().items;
        all.into_iter().find(|found| found.namespace.name.as_str() == name).unwrap().namespace.clone()
    };
    let (app, local) = (namespace("app"), namespace("app.local"));
    api.delete_namespace(DeleteNamespaceRequest::new(namespace("old").id.as_str())).unwrap();
    let mut change = HttpNamespaceChange::default();
    change.description = Some("words".to_owned());
    let update = UpdateHttpNamespaceRequest::new(app.id.as_str()).with_namespace(change);
    api.update_http_namespace(update.with_updater_request_id("again")).unwrap();
    let tag = TagResourceRequest::new(app.arn().as_str()).with_tags([Tag::new("key", "value")]);
    api.tag_resource(tag).unwrap();
    pass();

    let create = |namespace: &str, name: &str| CreateServiceRequest::new(name).with_namespace_id(namespace);
    let plain = api.create_service(create(app.id.as_str(), "plain")).unwrap().service.clone();
    let records = DnsConfigInput::new([(RecordType::A, 60), (RecordType::Srv, 0)]);
    let custom = create(local.id.as_str(), "Web")
        .with_dns_config(records)
        .with_health_check_custom_config(HealthCheckCustomConfigInput::default())
        .with_creator_request_id("token")
        .with_description("words");
    let web = api.create_service(custom).unwrap().service.clone();
    let weighted = DnsConfigInput::new([(RecordType::Aaaa, 5)]).with_routing_policy(RoutingPolicy::Weighted);
    let checked = create(namespace("example.com").id.as_str(), "checked")
        .with_dns_config(weighted)
        .with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Https));
    api.create_service(checked).unwrap();
    let attributes = UpdateServiceAttributesRequest::new(plain.id.as_str()).with_attribute("key", "value");
    api.update_service_attributes(attributes).unwrap();

    let register = |service: &str, id: &str| {
        RegisterInstanceRequest::new(service, id)
            .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
            .with_attribute("AWS_INSTANCE_PORT", "80")
    };
    let first = register(web.id.as_str(), "i-1").with_attribute("AWS_INIT_HEALTH_STATUS", "UNHEALTHY");
    api.register_instance(first.with_creator_request_id("token")).unwrap();
    api.register_instance(register(web.id.as_str(), "i-2").with_attribute("version", "2")).unwrap();
    api.register_instance(register(plain.id.as_str(), "i-1")).unwrap();
    pass();
    api.update_instance_custom_health_status(UpdateInstanceCustomHealthStatusRequest::new(
        web.id.as_str(),
        "i-2",
        "UNHEALTHY",
    ))
    .unwrap();
    api.register_instance(register(web.id.as_str(), "i-3")).unwrap();
    api.deregister_instance(DeregisterInstanceRequest::new(plain.id.as_str(), "i-1")).unwrap();
    api.create_http_namespace(CreateHttpNamespaceRequest::new("next")).unwrap();
    cloud_map
}

#[test]
fn the_form_of_this_version_does_not_change() {
    let text = serde_json::to_string_pretty(&stored(filled().cloud_map())).unwrap() + "\n";
    if text != VERSION_1 {
        // To look at the difference, and to make the file of a new version.
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("stored.json");
        std::fs::write(&path, text).unwrap();
        panic!("what is stored has changed, see {}", path.display());
    }
}

#[test]
fn version_1_is_read() {
    let registry = restore(serde_json::from_str(VERSION_1).unwrap()).unwrap();
    let clock = Arc::new(ManualClock::default());
    clock.advance(Duration::from_secs(480));
    let cloud_map =
        SyncCloudMap::builder(registry).clock(Arc::clone(&clock)).timing(Timing::aws()).build_sync();
    let api = cloud_map.at(Scope::default());
    let healthy = |expected: &[&str]| {
        let found = api.discover_instances(DiscoverInstancesRequest::new("app.local", "web")).unwrap();
        let mut healthy: Vec<_> = found
            .instances
            .iter()
            .filter(|instance| instance.health != HealthStatus::Unhealthy)
            .map(|instance| instance.id.as_str())
            .collect();
        healthy.sort_unstable();
        assert_eq!(healthy, expected);
    };
    healthy(&["i-2"]);
    // The report and the registration that were under way take effect at their moments.
    clock.advance(Duration::from_secs(60));
    healthy(&["i-3"]);
    // A token is replayed, an operation is found.
    let token = CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1").with_creator_request_id("token");
    let started = api.create_private_dns_namespace(token).unwrap();
    let operation = api.get_operation(GetOperationRequest::new(started.operation_id.as_str())).unwrap();
    assert_eq!(operation.status.as_str(), "SUCCESS");
    // The names of deleted namespaces are remembered.
    let names: Vec<_> = stored(cloud_map.cloud_map()).0.scopes[0].former_names.clone();
    assert_eq!(names, ["old"]);
}

/// Calls `with` with a copy of the document for each member of it, and the member's path.
fn for_each_member(document: &Value, with: &mut dyn FnMut(&str)) {
    fn walk(value: &Value, path: &str, with: &mut dyn FnMut(&str)) {
        match value {
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, item)| walk(item, &format!("{path}/{n}"), with));
            }
            Value::Object(members) => {
                members.iter().for_each(|(name, member)| walk(member, &format!("{path}/{name}"), with));
            }
            _ => with(path),
        }
    }
    walk(document, "", with);
}

fn restore_value(document: Value) -> Result<MemoryRegistry, String> {
    let stored: Stored = serde_json::from_value(document).map_err(|error| error.to_string())?;
    restore(stored).map_err(|error| error.to_string())
}

#[test]
fn a_damaged_member_is_refused_or_harmless() {
    let document: Value = serde_json::from_str(VERSION_1).unwrap();
    // Texts that are free: nothing in them can be wrong.
    let free = ["description", "message", "owner", "creatorRequestId", "updaterRequestId"];
    for_each_member(&document, &mut |path| {
        let mut damaged = document.clone();
        let member = damaged.pointer_mut(path).unwrap();
        let is_text = member.is_string();
        *member = if is_text { Value::from("\u{7} ".repeat(2000)) } else { Value::from(u64::MAX) };
        let result = restore_value(damaged);
        let name = path.rsplit('/').next().unwrap();
        assert!(result.is_err() || !is_text || free.contains(&name), "{path} may be anything");
    });
}

/// What is changed, how, and what the error says.
type Case<'c> = (&'c str, &'c dyn Fn(&mut Stored), String);

#[test]
fn an_error_names_the_entity_and_the_member() {
    let refused = |change: &dyn Fn(&mut Stored)| {
        let mut stored: Stored = serde_json::from_str(VERSION_1).unwrap();
        change(&mut stored);
        restore(stored).map(drop).unwrap_err().to_string()
    };
    let stored: Stored = serde_json::from_str(VERSION_1).unwrap();
    let (namespace, service) = (&stored.0.namespaces[0].id, &stored.0.services[0].id);
    let instance = &stored.0.instances[0];
    let cases: [Case<'_>; 12] = [
        (
            "a later version",
            &|(facts, _)| facts.namespaces[0].version = 2,
            format!(
                "namespace {namespace}: version: 2 is newer than 1, the newest that this release of sd-core reads"
            ),
        ),
        (
            "no version",
            &|(facts, _)| facts.instances[0].version = 0,
            format!(
                "instance {} of service {}: version: 0 is not a version",
                instance.id, instance.service_id
            ),
        ),
        (
            "no account",
            &|(facts, _)| facts.namespaces[0].account.clear(),
            format!("namespace {namespace}: account: "),
        ),
        (
            "twice",
            &|(facts, _)| facts.namespaces.push(facts.namespaces[0].clone()),
            format!("namespace {namespace}: id: it is stored twice"),
        ),
        (
            "no parent",
            &|(facts, _)| facts.services[0].namespace_id = "ns-none".into(),
            format!("service {service}: namespace_id: namespace ns-none does not exist"),
        ),
        (
            "no service",
            &|(facts, _)| facts.instances[0].service_id = "srv-none".into(),
            "of service srv-none: service_id: service srv-none does not exist".into(),
        ),
        (
            "a port",
            &|(facts, _)| drop(facts.instances[0].attributes.insert("AWS_INSTANCE_PORT".into(), "0".into())),
            "attributes: A valid port number must be supplied.".into(),
        ),
        (
            "two healths",
            &|(facts, _)| {
                (facts.instances[0].health.report_due, facts.instances[0].health.contrary_results) =
                    (Some(1), Some(1));
            },
            "health: ".into(),
        ),
        (
            "healthy without a result",
            &|(facts, _)| {
                let health = &mut facts.instances[0].health;
                (health.status, health.awaits_first_result) = ("HEALTHY".into(), true);
                (health.report_due, health.contrary_results) = (None, None);
            },
            "health: ".into(),
        ),
        (
            "a claim",
            &|(facts, _)| facts.pending[0].claims = vec!["none".into()],
            "claims: \"none\": not the text of a unique key".into(),
        ),
        (
            "another scope",
            &|(facts, _)| {
                let effect = facts.pending.iter_mut().flat_map(|pending| &mut pending.effect);
                effect.for_each(|change| {
                    if let Change::PutNamespace(namespace) = change {
                        namespace.region = "elsewhere".into();
                    }
                });
            },
            "effect: it changes another scope".into(),
        ),
        (
            "an operation",
            &|(_, finished)| finished[0].status = "DONE".into(),
            "status: unknown value \"DONE\"".into(),
        ),
    ];
    for (name, change, expected) in cases {
        let error = refused(change);
        assert!(error.starts_with("cannot restore ") && error.contains(&expected), "{name}: {error}");
    }
}

#[test]
fn the_wait_for_a_first_result_is_stored() {
    let start = HealthStart::Unknown;
    let cloud_map = SyncCloudMap::builder(MemoryRegistry::new()).health_start(start).build_sync();
    let api = cloud_map.at(Scope::default());
    let app = api.create_http_namespace(CreateHttpNamespaceRequest::new("app")).unwrap().namespace_id;
    let check = HealthCheckConfigInput::new(HealthCheckType::Tcp);
    let web = CreateServiceRequest::new("web").with_namespace_id(app).with_health_check_config(check);
    let web = api.create_service(web).unwrap().id.clone();
    let instance = RegisterInstanceRequest::new(&web, "a")
        .with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1")
        .with_attribute("AWS_INSTANCE_PORT", "80");
    api.register_instance(instance).unwrap();
    let before = stored(cloud_map.cloud_map());
    assert!(before.0.instances[0].health.awaits_first_result);
    let json = serde_json::to_string(&before).unwrap();
    let registry = restore(serde_json::from_str(&json).unwrap()).unwrap();
    assert_eq!(stored(&CloudMap::new(registry)), before);
}

#[test]
fn instances_revisions_and_places_go_on_above_the_stored_ones() {
    let before = stored(filled().cloud_map());
    let registry = restore(before.clone()).unwrap();
    // A clock that stands before what was stored.
    let cloud_map = SyncCloudMap::builder(registry).clock(ManualClock::default()).build_sync();
    let api = cloud_map.at(Scope::default());
    let service = before.0.services.iter().find(|service| service.name == "plain").unwrap();
    let register =
        RegisterInstanceRequest::new(&*service.id, "i-9").with_attribute("AWS_INSTANCE_IPV4", "10.0.0.9");
    api.register_instance(register).unwrap();
    let after = stored(cloud_map.cloud_map()).0;
    let again = after.services.iter().find(|found| found.id == service.id).unwrap();
    assert!(again.instances_revision > service.instances_revision);
    let place = |facts: &Facts| facts.instances.iter().map(|instance| instance.place).max().unwrap();
    assert!(place(&after) > before.0.revision, "{} {}", place(&after), before.0.revision);
}
