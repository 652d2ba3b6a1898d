//! Creating, describing, listing and deleting services.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{
    Engine, code, custom_check, dns, dns_service, invalid,
    one_service::{HTTP, PRIVATE, create, web, web_a},
    one_violation, route53_check, ruled, weighted,
};
use sd_core::{
    Clock, Error, ErrorCode,
    model::{
        HealthCheck,
        RecordType::{self, A, Aaaa, Cname, Srv},
        RoutingPolicy, ServiceKind,
    },
    request::{
        CreateServiceRequest, DeleteServiceRequest, DeregisterInstanceRequest, DnsConfigInput,
        GetServiceRequest,
    },
};

#[test]
fn a_created_service_is_described_with_its_effective_configuration() {
    let engine = Engine::new();
    let now = engine.clock.now();
    let namespace = engine.private(PRIVATE);
    let request = dns_service(&namespace, "web", dns(&[Srv, A]))
        .with_description("the web")
        .with_creator_request_id("token")
        .with_health_check_custom_config(custom_check());
    let created = engine.api.create_service(request).unwrap();
    let service = &created.service;
    assert_eq!(service.namespace_id, namespace.id);
    assert!(service.created > now);
    assert_eq!((service.description.as_deref(), created.instance_count), (Some("the web"), 0));
    assert_eq!(service.health_check, HealthCheck::Custom);
    let ServiceKind::DnsHttp(config) = &service.kind else { panic!("{service:?}") };
    assert_eq!(config.routing_policy, RoutingPolicy::Multivalue, "the default");
    let records: Vec<_> = config.records.iter().map(|record| (record.kind, record.ttl)).collect();
    assert_eq!(records, [(Srv, 60), (A, 60)], "in the order of the request");
    assert_eq!(engine.api.get_service(GetServiceRequest::new(service.arn().as_str())).unwrap(), created);
}

#[test]
fn the_namespace_id_may_be_at_the_top_or_in_the_dns_config() {
    let engine = Engine::new();
    let (here, other) = (engine.private(PRIVATE), engine.private("other.local"));
    let (id, arn) = (here.id.to_string(), here.arn().to_string());
    let (id, arn, other) = (Some(id.as_str()), Some(arn.as_str()), Some(other.id.as_str()));
    let create = |name: &str, top: Option<&str>, nested: Option<&str>| {
        let mut config = dns(&[A]);
        config.namespace_id = nested.map(str::to_owned);
        let mut request = CreateServiceRequest::new(name).with_dns_config(config);
        request.namespace_id = top.map(str::to_owned);
        engine.api.create_service(request)
    };
    for (name, top, nested) in
        [("a", id, None), ("b", None, id), ("c", id, id), ("d", arn, id), ("e", arn, None)]
    {
        assert_eq!(create(name, top, nested).unwrap().service.namespace_id, here.id, "{name}");
        assert_eq!(code(create(name, None, id)), ErrorCode::ServiceAlreadyExists);
    }
    assert_eq!(ruled(create("f", id, other)), "dnsConfig.namespaceId");
    assert_eq!(invalid(create("f", None, None)), "Service namespace id cannot be null");
    assert_eq!(code(create("f", Some("ns-none"), None)), ErrorCode::NamespaceNotFound);
}

#[test]
fn records_and_routing_policies_can_be_combined_as_in_the_table() {
    let records = "dnsConfig.dnsRecords";
    let policy = "dnsConfig.routingPolicy";
    let accepted: [DnsConfigInput; 11] = [
        dns(&[A]),
        dns(&[Aaaa]),
        dns(&[A, Aaaa]),
        dns(&[Srv]),
        dns(&[Srv, A]),
        dns(&[Srv, Aaaa]),
        weighted(&[A]),
        weighted(&[Aaaa]),
        weighted(&[A, Aaaa]),
        weighted(&[Srv]),
        weighted(&[Cname]),
    ];
    for config in accepted {
        let created = create(PRIVATE, web().with_dns_config(config.clone())).unwrap();
        assert_eq!(created.service.kind.as_str(), "DNS_HTTP", "{config:?}");
    }
    let refused: [(DnsConfigInput, &str); 8] = [
        (dns(&[]), records),
        (dns(&[A, A]), records),
        (dns(&[Srv, A, Srv]), records),
        (weighted(&[Cname, Cname]), records),
        (weighted(&[Cname, A]), records),
        (weighted(&[Srv, Cname]), records),
        (dns(&[Cname]), policy),
        (dns(&[Cname]).with_routing_policy(RoutingPolicy::Multivalue), policy),
    ];
    for (config, member) in refused {
        assert_eq!(ruled(create(PRIVATE, web().with_dns_config(config.clone()))), member, "{config:?}");
    }
}

#[test]
fn the_type_follows_from_the_namespace_and_the_request() {
    let in_http = "When you create a service using a namespace that has a type of HTTP, you can't include a DnsConfig element.";
    let of_http = "When you create a service with a type of HTTP, you can't include a DnsConfig element.";
    assert_eq!(create(HTTP, web()).unwrap().service.kind, ServiceKind::Http);
    assert_eq!(create(HTTP, web().with_service_type("HTTP")).unwrap().service.kind, ServiceKind::Http);
    assert_eq!(create(PRIVATE, web().with_service_type("HTTP")).unwrap().service.kind, ServiceKind::Http);
    assert_eq!(invalid(create(HTTP, web_a())), in_http);
    assert_eq!(invalid(create(PRIVATE, web_a().with_service_type("HTTP"))), of_http);
    assert_eq!(ruled(create(PRIVATE, web())), "dnsConfig");
    for reserved in ["DNS", "DNS_HTTP"] {
        let expected = one_violation("type", Some(reserved), "satisfy enum value set: [HTTP]");
        assert_eq!(invalid(create(PRIVATE, web_a().with_service_type(reserved))), expected);
    }
}

#[test]
fn members_are_checked() {
    let ttl = |ttl: Option<i64>| {
        let mut config = dns(&[A]);
        config.dns_records.as_mut().unwrap()[0].ttl = ttl;
        web().with_dns_config(config)
    };
    let record = |kind: Option<&str>| {
        let mut config = dns(&[A]);
        config.dns_records.as_mut().unwrap()[0].kind = kind.map(Into::into);
        web().with_dns_config(config)
    };
    let mut policy = dns(&[A]);
    policy.routing_policy = Some("SIMPLE".into());
    let check =
        |kind: &str, threshold| web_a().with_health_check_config(route53_check(kind, None, threshold));
    let custom = |threshold| {
        let mut config = custom_check();
        config.failure_threshold = Some(threshold);
        web_a().with_health_check_custom_config(config)
    };
    let path =
        |len: usize| web_a().with_health_check_config(route53_check("HTTP", Some(&"p".repeat(len)), None));
    for accepted in
        [ttl(Some(0)), ttl(Some(2_147_483_647)), check("TCP", Some(10)), custom(1), custom(10), path(255)]
    {
        assert!(create(PRIVATE, accepted.clone()).is_ok(), "{accepted:?}");
    }

    const TTL: &str = "dnsConfig.dnsRecords.1.member.tTL";
    const KIND: &str = "dnsConfig.dnsRecords.1.member.type";
    const THRESHOLD: &str = "healthCheckConfig.failureThreshold";
    const CUSTOM: &str = "healthCheckCustomConfig.failureThreshold";
    let without_records = web().with_dns_config(DnsConfigInput::default());
    let policy = web().with_dns_config(policy);
    let long = "p".repeat(256);
    let cases = [
        (CreateServiceRequest::default(), "name", None, "not be null"),
        (ttl(None), TTL, None, "not be null"),
        (ttl(Some(-1)), TTL, Some("-1"), "have value greater than or equal to 0"),
        (ttl(Some(1 << 31)), TTL, Some("2147483648"), "have value less than or equal to 2147483647"),
        (record(None), KIND, None, "not be null"),
        (record(Some("TXT")), KIND, Some("TXT"), "satisfy enum value set: [SRV, A, AAAA, CNAME]"),
        (without_records, "dnsConfig.dnsRecords", None, "not be null"),
        (policy, "dnsConfig.routingPolicy", Some("SIMPLE"), "satisfy enum value set: [MULTIVALUE, WEIGHTED]"),
        (
            check("ICMP", None),
            "healthCheckConfig.type",
            Some("ICMP"),
            "satisfy enum value set: [HTTP, HTTPS, TCP]",
        ),
        (check("TCP", Some(0)), THRESHOLD, Some("0"), "have value greater than or equal to 1"),
        (check("TCP", Some(11)), THRESHOLD, Some("11"), "have value less than or equal to 10"),
        (custom(11), CUSTOM, Some("11"), "have value less than or equal to 10"),
        (path(256), "healthCheckConfig.resourcePath", Some(&*long), "have length less than or equal to 255"),
    ];
    for (request, member, value, must) in cases {
        assert_eq!(invalid(create(PRIVATE, request)), one_violation(member, value, must));
    }
}

#[test]
fn names_are_accepted_up_to_the_limits_of_the_pattern() {
    let label = "l".repeat(63);
    let longest = format!("{label}.{label}");
    for name in [".", "a", "_http._tcp", &label, &longest] {
        let request = CreateServiceRequest::new(name).with_dns_config(dns(&[A]));
        assert_eq!(create(PRIVATE, request).unwrap().service.name.as_str(), name);
    }
    for name in ["", "_", "a..b", "a.", "-a", &format!("{label}x"), &format!("{longest}.x")] {
        let text = invalid(create(PRIVATE, CreateServiceRequest::new(name).with_dns_config(dns(&[A]))));
        assert!(
            text.contains("at 'name' failed to satisfy constraint: Member must satisfy regular"),
            "{text}"
        );
    }
}

#[test]
fn all_violations_are_reported_at_once() {
    let mut config = dns(&[A, Aaaa]);
    config.dns_records.as_mut().unwrap()[0].ttl = Some(-5);
    config.dns_records.as_mut().unwrap()[1].kind = Some("MX".into());
    let request = CreateServiceRequest::new("a b").with_dns_config(config).with_service_type("X");
    let text = invalid(create(PRIVATE, request));
    assert!(text.starts_with("4 validation errors detected: "), "{text}");
    for member in
        ["'name'", "'dnsConfig.dnsRecords.1.member.tTL'", "'dnsConfig.dnsRecords.2.member.type'", "'type'"]
    {
        assert!(text.contains(&format!("at {member} failed")), "{member}: {text}");
    }
}

#[test]
fn a_taken_name_is_refused_with_the_service_that_has_it() {
    let engine = Engine::new();
    let namespace = engine.private(PRIVATE);
    let request = dns_service(&namespace, "web", dns(&[A])).with_creator_request_id("token");
    let first = engine.service(request.clone());
    let others = [
        dns_service(&namespace, "web", dns(&[A])),
        dns_service(&namespace, "WEB", dns(&[A])),
        dns_service(&namespace, "web", dns(&[A])).with_creator_request_id("other"),
        request.clone().with_description("same token, other members"),
    ];
    for other in others {
        let error = engine.api.create_service(other).unwrap_err();
        assert_eq!(error.to_string(), "Service already exists.");
        let Error::ServiceAlreadyExists { service_id, service_arn, creator_request_id } = error else {
            panic!()
        };
        assert_eq!((service_id, service_arn), (first.id.clone(), first.arn()));
        assert_eq!(creator_request_id, first.creator_request_id);
    }
    // A replay of the request gets the service as it is now.
    engine.register(&first, "i-1", &[("AWS_INSTANCE_IPV4", "10.0.0.1")]);
    let replayed = engine.api.create_service(request).unwrap();
    assert_eq!((replayed.service, replayed.instance_count), (first, 1));
}

#[test]
fn only_dns_namespaces_compare_names_without_case() {
    let engine = Engine::new();
    let (private, http) = (engine.private(PRIVATE), engine.http(HTTP));
    let create = |namespace: &sd_core::model::Namespace, name: &str| {
        let request = CreateServiceRequest::new(name).with_namespace_id(&namespace.id);
        engine.api.create_service(request.with_service_type("HTTP")).map(|created| created.service)
    };
    let (lower, upper) = (create(&http, "web").unwrap(), create(&http, "Web").unwrap());
    assert_ne!(lower.id, upper.id);
    let kept = create(&private, "Web").unwrap();
    assert_eq!(kept.name.as_str(), "Web", "the spelling is kept");
    assert_eq!(code(create(&private, "web")), ErrorCode::ServiceAlreadyExists);
}

#[test]
fn a_service_created_again_has_the_same_id() {
    let engine = Engine::new();
    let (namespace, other) = (engine.private(PRIVATE), engine.private("other.local"));
    let first = engine.dns_service(&namespace, "web", &[A]);
    assert!(first.id.as_str().starts_with("srv-") && first.id.as_str().len() == 20);
    engine.api.delete_service(DeleteServiceRequest::new(&first.id)).unwrap();
    let second = engine.dns_service(&namespace, "Web", &[A]);
    assert_eq!(second.id, first.id);
    assert_ne!(second.incarnation, first.incarnation);
    assert_ne!(engine.dns_service(&other, "web", &[A]).id, first.id);
    assert_ne!(engine.dns_service(&namespace, "web2", &[A]).id, first.id);
}

#[test]
fn a_service_with_instances_is_in_use() {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http(HTTP), "web");
    engine.register(&service, "i-1", &[]);
    let delete = || engine.api.delete_service(DeleteServiceRequest::new(service.arn().as_str()));
    let error = delete().unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceInUse);
    assert_eq!(
        error.to_string(),
        "Service contains registered instances; delete the instances before deleting the service"
    );
    engine.api.deregister_instance(DeregisterInstanceRequest::new(&service.id, "i-1")).unwrap();
    delete().unwrap();
    assert_eq!(code(delete()), ErrorCode::ServiceNotFound);
    assert_eq!(code(engine.api.get_service(GetServiceRequest::new(&service.id))), ErrorCode::ServiceNotFound);
}

#[test]
fn requests_name_a_service_by_id_or_by_an_arn_of_its_scope() {
    let engine = Engine::new();
    let service = engine.http_service(&engine.http(HTTP), "web");
    let arn = service.arn().to_string();
    for stranger in [
        arn.replace("us-east-1", "us-west-2"),
        arn.replace("123456789012", "210987654321"),
        arn.replace(":service/", ":namespace/"),
        "arn:".into(),
        "srv-aaaaaaaaaaaaaaaa".into(),
    ] {
        assert_eq!(
            code(engine.api.get_service(GetServiceRequest::new(&stranger))),
            ErrorCode::ServiceNotFound
        );
        let delete = engine.api.delete_service(DeleteServiceRequest::new(&stranger));
        assert_eq!(code(delete), ErrorCode::ServiceNotFound, "{stranger}");
    }
    let null = one_violation("id", None, "not be null");
    assert_eq!(invalid(engine.api.get_service(GetServiceRequest::default())), null);
    assert_eq!(invalid(engine.api.delete_service(DeleteServiceRequest::default())), null);
}

#[test]
fn every_record_type_has_a_name_in_the_api() {
    assert_eq!(RecordType::ALL.map(RecordType::as_str), ["A", "AAAA", "CNAME", "SRV"]);
}
