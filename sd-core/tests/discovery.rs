//! DiscoverInstances.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use std::{collections::BTreeSet, sync::Arc};

use common::{Engine, code, custom_check, dns, dns_service, invalid, map, one_violation};
use sd_core::{
    Clock, ErrorCode, Scope,
    model::{HealthStatus, RecordType::A, Service},
    request::{
        CreateServiceRequest, DeleteServiceRequest, DeregisterInstanceRequest, DiscoverInstancesRequest,
        DiscoverInstancesRevisionRequest as Revision, DnsConfigChange, ServiceChange, UpdateServiceRequest,
    },
};

const WELL: (&str, &str) = ("AWS_INIT_HEALTH_STATUS", "HEALTHY");
const ILL: (&str, &str) = ("AWS_INIT_HEALTH_STATUS", "UNHEALTHY");

fn web() -> DiscoverInstancesRequest {
    DiscoverInstancesRequest::new("api", "web")
}

/// An engine with the HTTP namespace `api` and its services `web`, with a custom check, and `plain`, without one. Each
/// service has these instances.
fn filled(instances: &[(&str, &[(&str, &str)])]) -> Engine {
    let engine = Engine::new();
    let namespace = engine.http("api");
    let request = |name: &str| CreateServiceRequest::new(name).with_namespace_id(&namespace.id);
    let services: [Arc<Service>; 2] = [
        engine.service(request("web").with_health_check_custom_config(custom_check())),
        engine.service(request("plain")),
    ];
    for service in &services {
        for (id, attributes) in instances {
            engine.register(service, id, attributes);
        }
    }
    engine
}

#[test]
fn found_instances_have_names_health_and_all_attributes() {
    let engine = filled(&[("i-1", &[ILL, ("AWS_INSTANCE_IPV4", "10.0.0.1"), ("color", "blue")])]);
    let found = engine.api.discover_instances(web().with_health_status("ALL")).unwrap();
    assert_eq!((found.namespace_name.as_str(), found.service_name.as_str()), ("api", "web"));
    let instance = &found.instances[0];
    assert_eq!((instance.id.as_str(), instance.health), ("i-1", HealthStatus::Unhealthy));
    let attributes = [ILL, ("AWS_INSTANCE_IPV4", "10.0.0.1"), ("color", "blue")];
    assert_eq!(instance.attributes.iter().collect::<Vec<_>>(), attributes);
    let plain = engine.api.discover_instances(DiscoverInstancesRequest::new("api", "plain")).unwrap();
    assert_eq!(plain.instances[0].health, HealthStatus::Unknown, "without a check nothing is known");
}

#[test]
fn the_health_filter_follows_the_table() {
    let all = ["ill-1", "ill-2", "well"];
    let (ill, well) = (["ill-1", "ill-2"], ["well"]);
    let mixed = filled(&[("ill-1", &[ILL]), ("ill-2", &[ILL]), ("well", &[WELL])]);
    let cases: [(Option<&str>, &[&str]); 5] = [
        (None, &well),
        (Some("HEALTHY"), &well),
        (Some("UNHEALTHY"), &ill),
        (Some("ALL"), &all),
        (Some("HEALTHY_OR_ELSE_ALL"), &well),
    ];
    for (filter, expected) in cases {
        let ask = |service: &str| {
            let mut request = DiscoverInstancesRequest::new("api", service);
            request.health_status = filter.map(Into::into);
            // The choice by number and the choice by attribute give the same.
            let direct = mixed.discover(&request);
            assert_eq!(mixed.discover(&request.with_query_parameters(map(&[]))), direct);
            direct
        };
        assert_eq!(ask("web"), expected, "{filter:?}");
        assert_eq!(ask("plain"), all, "without a check the filter says nothing: {filter:?}");
    }
    let none_is_well = filled(&[("ill-1", &[ILL]), ("ill-2", &[ILL])]);
    assert_eq!(none_is_well.discover(&web()), [""; 0], "discovery does not fail open");
    assert_eq!(none_is_well.discover(&web().with_health_status("HEALTHY_OR_ELSE_ALL")), ill);
}

#[test]
fn query_parameters_narrow_before_health_and_optional_parameters_after() {
    let engine = filled(&[
        ("blue-1", &[("color", "blue"), ("size", "1"), WELL]),
        ("blue-2", &[("color", "blue"), ("size", "2"), ILL]),
        ("red-1", &[("color", "red"), ("size", "1"), WELL]),
    ]);
    let ask = |query: &[(&str, &str)], optional: &[(&str, &str)], health: &str| {
        let request = web().with_query_parameters(map(query)).with_optional_parameters(map(optional));
        engine.discover(&request.with_health_status(health))
    };
    let (blue, red, size_1, size_2) = (("color", "blue"), ("color", "red"), ("size", "1"), ("size", "2"));
    // All query parameters must match. Keys and values are case-sensitive.
    assert_eq!(ask(&[blue], &[], "ALL"), ["blue-1", "blue-2"]);
    assert_eq!(ask(&[blue, size_1], &[], "ALL"), ["blue-1"]);
    for nothing in [("color", "Blue"), ("Color", "blue"), ("color", ""), ("shape", "round")] {
        assert_eq!(ask(&[nothing], &[], "ALL"), [""; 0], "{nothing:?}");
    }
    assert_eq!(ask(&[ILL], &[], "ALL"), ["blue-2"], "reserved keys match too");
    // Optional parameters count if an instance that passes the health filter has them all.
    assert_eq!(ask(&[], &[size_2], "ALL"), ["blue-2"]);
    assert_eq!(ask(&[], &[size_2], "HEALTHY"), ["blue-1", "red-1"]);
    assert_eq!(ask(&[], &[red, size_2], "ALL"), ["blue-1", "blue-2", "red-1"]);
    assert_eq!(ask(&[blue], &[red], "ALL"), ["blue-1", "blue-2"]);
    // The health of the instances that match the query decides, not that of all instances.
    assert_eq!(ask(&[size_2], &[], "HEALTHY_OR_ELSE_ALL"), ["blue-2"]);
    assert_eq!(ask(&[size_2], &[], "HEALTHY"), [""; 0]);
}

#[test]
fn more_instances_than_the_maximum_are_chosen_at_random() {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http("api"), "web");
    for i in 0..120 {
        engine.register(&service, &format!("i-{i}"), &[("odd", if i % 2 == 1 { "yes" } else { "no" })]);
    }
    let count = |request: DiscoverInstancesRequest| engine.discover(&request).len();
    assert_eq!(count(web()), 100);
    assert_eq!(count(web().with_max_results(1000)), 120);
    assert_eq!(count(web().with_max_results(7)), 7);
    let odd = map(&[("odd", "yes")]);
    assert_eq!(count(web().with_max_results(7).with_query_parameters(odd.clone())), 7);
    assert_eq!(count(web().with_query_parameters(odd)), 60);

    let order = || {
        let found = engine.api.discover_instances(web().with_max_results(5)).unwrap();
        found.instances.iter().map(|instance| instance.id.to_string()).collect::<Vec<_>>()
    };
    let orders: BTreeSet<_> = (0..10).map(|_| order()).collect();
    assert_eq!(orders.len(), 10, "each call draws anew");
    let seen: BTreeSet<_> = (0..400).flat_map(|_| order()).collect();
    assert_eq!(seen.len(), 120, "each instance has its chance");
}

#[test]
fn services_are_found_by_http_name_and_by_arn() {
    let engine = Engine::new();
    let namespace = engine.private("App.local");
    let service = engine.service(dns_service(&namespace, "Web", dns(&[A])));
    engine.register(&service, "i-1", &[("AWS_INSTANCE_IPV4", "10.0.0.1")]);
    let ask = |namespace: &str, service: &str| {
        engine.api.discover_instances(DiscoverInstancesRequest::new(namespace, service))
    };
    for (name, service) in [("App.local", "Web"), ("App.local", "wEB"), (namespace.arn().as_str(), "web")] {
        let found = ask(name, service).unwrap();
        assert_eq!(found.instances.len(), 1, "{name} {service}");
        assert_eq!((found.namespace_name.as_str(), found.service_name.as_str()), ("App.local", "Web"));
    }
    let foreign = namespace.arn().as_str().replace("us-east-1", "eu-west-1");
    for unknown in ["other", "app.local", "arn:nonsense", foreign.as_str(), namespace.id.as_str()] {
        assert_eq!(code(ask(unknown, "web")), ErrorCode::NamespaceNotFound, "{unknown}");
    }
    let other = engine.cloud_map.at(Scope::parse("210987654321", "us-east-1").unwrap());
    let request = DiscoverInstancesRequest::new("App.local", "web");
    assert_eq!(code(other.discover_instances(&request)), ErrorCode::NamespaceNotFound);
}

#[test]
fn http_namespaces_distinguish_services_by_case() {
    let engine = filled(&[("i-1", &[])]);
    assert_eq!(engine.discover(&DiscoverInstancesRequest::new("api", "Web")), [""; 0]);
    assert_eq!(
        code(engine.api.discover_instances(DiscoverInstancesRequest::new("API", "web"))),
        ErrorCode::NamespaceNotFound
    );
}

#[test]
fn an_unknown_service_in_a_known_namespace_has_no_instances() {
    let engine = filled(&[]);
    let unknown = engine.api.discover_instances(DiscoverInstancesRequest::new("api", "nothing")).unwrap();
    assert!(unknown.instances.is_empty());
    assert_eq!(unknown.instances_revision.as_u64(), 0);
    let empty = engine.api.discover_instances(web()).unwrap();
    assert!(empty.instances.is_empty());
    assert!(empty.instances_revision.as_u64() > 0);
}

#[test]
fn the_instances_revision_grows_only_with_registrations_and_deregistrations() {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http("api"), "web");
    let revision = || engine.api.discover_instances(web()).unwrap().instances_revision.as_u64();
    let register = |id: &str| {
        engine.api.register_instance(common::registration(&service, id, &[])).unwrap();
        revision()
    };
    // The clock does not move, so each change adds 1.
    let first = register("i-1");
    assert!(first >= engine.clock.now().as_millis());
    assert_eq!(register("i-2"), first + 1);
    assert_eq!(register("i-2"), first + 2, "registering again is a change");
    engine.api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "i-1")).unwrap();
    assert_eq!(revision(), first + 3);
    assert_eq!(
        code(engine.api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "i-1"))),
        ErrorCode::InstanceNotFound
    );
    engine.http_service(&engine.http("other"), "web");
    assert_eq!(revision(), first + 3);
    engine.clock.advance(std::time::Duration::from_secs(1000));
    assert_eq!(register("i-3"), engine.clock.now().as_millis());
    assert!(revision() < 1 << 53);
}

#[test]
fn discover_instances_revision_answers_the_revision_of_a_discovery() {
    let engine = Engine::new();
    let namespace = engine.private("app.local");
    let request = |name: &str| Revision::new("app.local", name);
    let alone = |request: &Revision| {
        engine.api.discover_instances_revision(request).map(|found| found.instances_revision)
    };
    let both = || {
        let alone = alone(&request("web")).unwrap();
        let with = engine.api.discover_instances(DiscoverInstancesRequest::new("app.local", "web")).unwrap();
        assert_eq!(alone, with.instances_revision);
        alone
    };
    let service = engine.dns_service(&namespace, "web", &[A]);
    let mut last = both();
    for address in ["10.0.0.1", "10.0.0.2"] {
        engine.register(&service, "i-1", &[("AWS_INSTANCE_IPV4", address)]);
        assert!(both() > last);
        last = both();
    }
    let change = ServiceChange::default().with_dns_config(DnsConfigChange::new([(A, 1)]));
    let update = UpdateServiceRequest::new(&service.id).with_service(change);
    engine.api.update_service(update).unwrap();
    assert_eq!(both(), last, "other TTLs are no registration");
    engine.api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "i-1")).unwrap();
    assert!(both() > last);
    last = both();
    // DNS namespaces ignore case. The namespace may be named by its ARN.
    assert_eq!(alone(&request("WEB")).unwrap(), last);
    let arn = namespace.arn().to_string();
    let by_arn = Revision::new(&arn, "web").with_owner_account("123456789012");
    assert_eq!(alone(&by_arn).unwrap(), last);
    // A later service with the same name starts above it.
    engine.api.delete_service(DeleteServiceRequest::new(&service.id)).unwrap();
    assert_eq!(code(alone(&request("web"))), ErrorCode::ServiceNotFound);
    let found = engine.api.discover_instances(DiscoverInstancesRequest::new("app.local", "web")).unwrap();
    assert_eq!(found.instances_revision.as_u64(), 0);
    engine.dns_service(&namespace, "web", &[A]);
    assert!(both() > last);
}

#[test]
fn the_members_of_discover_instances_revision_are_checked() {
    let engine = filled(&[]);
    let ask = |request: Revision| engine.api.discover_instances_revision(&request);
    let name = "satisfy regular expression pattern: ^[!-~]{1,1024}$";
    let owner = "have length greater than or equal to 12";
    for (request, expected) in [
        (Revision::new("a b", "web"), one_violation("namespaceName", Some("a b"), name)),
        (
            Revision::new("api", "web").with_owner_account("1234"),
            one_violation("ownerAccount", Some("1234"), owner),
        ),
    ] {
        assert_eq!(invalid(ask(request)), expected);
    }
    assert!(invalid(ask(Revision::new("n".repeat(1025), "web"))).contains("at 'namespaceName' failed"));
    assert!(invalid(ask(Revision::new("api", "-"))).contains("at 'serviceName' failed"));
    assert_eq!(
        invalid(ask(Revision::default())),
        "2 validation errors detected: \
         Value null at 'namespaceName' failed to satisfy constraint: Member must not be null; \
         Value null at 'serviceName' failed to satisfy constraint: Member must not be null"
    );
    assert_eq!(code(ask(Revision::new("none", "web"))), ErrorCode::NamespaceNotFound);
    assert_eq!(code(ask(Revision::new("api", "none"))), ErrorCode::ServiceNotFound);
    let stranger = Revision::new("api", "web").with_owner_account("210987654321");
    assert_eq!(code(ask(stranger)), ErrorCode::NamespaceNotFound);
}

#[test]
fn members_are_checked() {
    let engine = filled(&[]);
    let refused = |request: DiscoverInstancesRequest| invalid(engine.api.discover_instances(&request));
    let max = |n: i64| {
        one_violation(
            "maxResults",
            Some(&n.to_string()),
            if n < 1 {
                "have value greater than or equal to 1"
            } else {
                "have value less than or equal to 1000"
            },
        )
    };
    let health = "satisfy enum value set: [HEALTHY, UNHEALTHY, ALL, HEALTHY_OR_ELSE_ALL]";
    let name = "satisfy regular expression pattern: ^[!-~]{1,1024}$";
    let key = "[satisfy constraint: [Member must have length less than or equal to 255, Member must have length greater \
               than or equal to 0, Member must satisfy regular expression pattern: ^[a-zA-Z0-9!-~]+$, Member must not be \
               null]";
    let cases = [
        (web().with_max_results(0), max(0)),
        (web().with_max_results(1001), max(1001)),
        (web().with_health_status("UNKNOWN"), one_violation("healthStatus", Some("UNKNOWN"), health)),
        (DiscoverInstancesRequest::new("a b", "web"), one_violation("namespaceName", Some("a b"), name)),
        (
            web().with_owner_account("1234"),
            one_violation("ownerAccount", Some("1234"), "have length greater than or equal to 12"),
        ),
        (
            web().with_query_parameters(map(&[("a b", "v")])),
            one_violation("queryParameters", Some("{a b=v}"), key).replace("Member must [", "Map keys must "),
        ),
        (
            web().with_optional_parameters(map(&[("a b", "v")])),
            one_violation("optionalParameters", Some("{a b=v}"), key)
                .replace("Member must [", "Map keys must "),
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(refused(request), expected);
    }
    assert!(
        refused(DiscoverInstancesRequest::default())
            .starts_with("2 validation errors detected: Value null at 'namespaceName'")
    );
    let value = refused(web().with_query_parameters(map(&[("k", " v")])));
    assert!(value.contains("Value '{k= v}' at 'queryParameters' failed"), "{value}");
    assert!(refused(DiscoverInstancesRequest::new("api", "-")).contains("at 'serviceName' failed"));
    for bound in [1, 1000] {
        engine.api.discover_instances(web().with_max_results(bound)).unwrap();
    }
}

#[test]
fn another_owner_account_has_nothing() {
    let engine = filled(&[("i-1", &[])]);
    assert_eq!(engine.discover(&web().with_owner_account("123456789012")), ["i-1"]);
    let refused = engine.api.discover_instances(web().with_owner_account("210987654321"));
    assert_eq!(code(refused), ErrorCode::NamespaceNotFound);
}
