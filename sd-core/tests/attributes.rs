//! The attributes that instances must have, may have and cannot have.

#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail loudly")]

mod common;

use common::{Engine, custom_check, dns, dns_service, invalid, registration, route53_check, ruled, weighted};
use sd_core::{
    Error,
    model::RecordType::{self, A, Aaaa, Cname, Srv},
    request::CreateServiceRequest,
};

/// Keys and values.
type Pairs = &'static [(&'static str, &'static str)];

const IPV4: (&str, &str) = ("AWS_INSTANCE_IPV4", "10.0.0.1");
const IPV6: (&str, &str) = ("AWS_INSTANCE_IPV6", "2001:db8::1");
const PORT: (&str, &str) = ("AWS_INSTANCE_PORT", "8080");
const CNAME: (&str, &str) = ("AWS_INSTANCE_CNAME", "example.com");
const ALIAS: (&str, &str) = ("AWS_ALIAS_DNS_NAME", "lb.elb.amazonaws.com");
const EC2: (&str, &str) = ("AWS_EC2_INSTANCE_ID", "i-0abc");
const WELL: (&str, &str) = ("AWS_INIT_HEALTH_STATUS", "HEALTHY");
const CUSTOM: (&str, &str) = ("color", "blue");

/// The kinds of services that the rules distinguish.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Records(&'static [RecordType]),
    Weighted(&'static [RecordType]),
    /// With an A record and a Route 53 check.
    CheckedA,
    /// In an HTTP namespace.
    Http,
    /// In an HTTP namespace, with a Route 53 check.
    CheckedHttp,
    /// In an HTTP namespace, with a custom check.
    CustomHttp,
    /// Of type HTTP, in a DNS namespace.
    HttpInDns,
}

/// Registers these attributes in a fresh service of this kind.
fn register(kind: Kind, attributes: &[(&str, &str)]) -> Result<(), Error> {
    let engine = Engine::new();
    let (private, http) = (engine.private("app.local"), engine.http("api"));
    let in_http = || CreateServiceRequest::new("web").with_namespace_id(&http.id);
    let service = engine.service(match kind {
        Kind::Records(records) => dns_service(&private, "web", dns(records)),
        Kind::Weighted(records) => dns_service(&private, "web", weighted(records)),
        Kind::CheckedA => {
            dns_service(&private, "web", dns(&[A])).with_health_check_config(route53_check("TCP", None, None))
        }
        Kind::Http => in_http(),
        Kind::CheckedHttp => in_http().with_health_check_config(route53_check("TCP", None, None)),
        Kind::CustomHttp => in_http().with_health_check_custom_config(custom_check()),
        Kind::HttpInDns => {
            CreateServiceRequest::new("web").with_namespace_id(&private.id).with_service_type("HTTP")
        }
    });
    engine.api.register_instance(registration(&service, "i-1", attributes)).map(drop)
}

#[test]
fn a_service_requires_the_attributes_of_its_records_and_health_check() {
    use Kind::{CheckedA, CheckedHttp, CustomHttp, Http, HttpInDns, Records, Weighted};
    let accepted: &[(Kind, Pairs)] = &[
        (Records(&[A]), &[IPV4]),
        (Records(&[A]), &[IPV4, IPV6, PORT, CUSTOM]),
        (Records(&[Aaaa]), &[IPV6]),
        (Records(&[A, Aaaa]), &[IPV4]),
        (Records(&[A, Aaaa]), &[IPV6]),
        (Records(&[A, Aaaa]), &[IPV4, IPV6]),
        (Records(&[Srv]), &[IPV4, PORT]),
        (Records(&[Srv]), &[IPV6, PORT]),
        (Records(&[Srv, A]), &[IPV4, PORT]),
        (Weighted(&[Cname]), &[CNAME]),
        (Weighted(&[A]), &[ALIAS]),
        (Weighted(&[A, Aaaa]), &[ALIAS, WELL, CUSTOM]),
        (CheckedA, &[IPV4, PORT]),
        (CheckedHttp, &[IPV4, PORT]),
        (Http, &[]),
        (Http, &[IPV4, IPV6, PORT, CNAME, CUSTOM]),
        (Http, &[EC2, WELL]),
        (Http, &[EC2, CUSTOM]),
        (CustomHttp, &[WELL]),
        (HttpInDns, &[]),
        (HttpInDns, &[("AWS_INSTANCE_ID", "unknown ones are custom")]),
    ];
    for (kind, attributes) in accepted {
        assert!(register(*kind, attributes).is_ok(), "{kind:?} {attributes:?}");
    }
    let ipv4 = "Required attribute(s) AWS_INSTANCE_IPV4 are missing.";
    let port = "A port must be supplied in order to register this instance.";
    let address = "At least one of AWS_INSTANCE_IPV4 AWS_INSTANCE_IPV6 is required.";
    let weighted = "ALIAS instance can be registered only in services with WEIGHTED routing policy";
    let ec2 =
        "AWS_EC2_INSTANCE_ID provided in namespace type DNS_PRIVATE. It is only supported in HTTP namespace";
    let refused: &[(Kind, Pairs, &str)] = &[
        (Records(&[A]), &[], ipv4),
        (Records(&[A]), &[IPV6], ipv4),
        (Records(&[Aaaa]), &[IPV4], "Required attribute(s) AWS_INSTANCE_IPV6 are missing."),
        (Records(&[A, Aaaa]), &[PORT], address),
        (Records(&[Srv]), &[IPV4], "Required attribute(s) AWS_INSTANCE_PORT are missing."),
        (Records(&[Srv]), &[PORT], address),
        (Records(&[Srv]), &[], "Required attribute(s) AWS_INSTANCE_PORT are missing."),
        (Records(&[Srv, A]), &[IPV6, PORT], ipv4),
        (
            Records(&[Srv, A]),
            &[IPV6],
            "Required attribute(s) AWS_INSTANCE_IPV4 AWS_INSTANCE_PORT are missing.",
        ),
        (Weighted(&[Cname]), &[IPV4], "Required attribute(s) AWS_INSTANCE_CNAME are missing."),
        (CheckedA, &[IPV4], port),
        (CheckedHttp, &[IPV4], port),
        (Records(&[A]), &[ALIAS], weighted),
        (Weighted(&[Cname]), &[ALIAS], "AWS_ALIAS_DNS_NAME needs a service with A or AAAA records only."),
        (Weighted(&[A]), &[ALIAS, IPV4], "AWS_ALIAS_DNS_NAME can't be combined with AWS_INSTANCE_IPV4."),
        (Weighted(&[A]), &[ALIAS, PORT], "AWS_ALIAS_DNS_NAME can't be combined with AWS_INSTANCE_PORT."),
        (Records(&[A]), &[IPV4, EC2], ec2),
        (HttpInDns, &[EC2], ec2),
        (
            Http,
            &[EC2, IPV4],
            "Invalid combination of attributes received. AWS_EC2_INSTANCE_ID is not supported with [AWS_INSTANCE_IPV4].",
        ),
        (Http, &[ALIAS], weighted),
    ];
    for (kind, attributes, expected) in refused {
        assert_eq!(invalid(register(*kind, attributes)), *expected, "{kind:?} {attributes:?}");
    }
}

#[test]
fn reserved_attributes_have_a_format() {
    let cases: &[(&str, &[&str], &[&str], &str)] = &[
        (
            "AWS_INSTANCE_IPV4",
            &["0.0.0.0", "255.255.255.255"],
            &["", "10.0.0", "10.0.0.256", "10.0.0.01", "::1", "host"],
            "an IPv4 address",
        ),
        (
            "AWS_INSTANCE_IPV6",
            &["::", "::ffff:10.0.0.1", "FE80::1"],
            &["", "10.0.0.1", "fe80::1%eth0", "g::"],
            "an IPv6 address",
        ),
        ("AWS_INSTANCE_CNAME", &["a", "example.com", "example.com."], &["", ".", "a..b"], "a domain name"),
        ("AWS_ALIAS_DNS_NAME", &[], &["", "a..b"], "a domain name"),
    ];
    for (key, good, bad, must) in cases {
        for value in *good {
            assert!(register(Kind::CustomHttp, &[(key, value)]).is_ok(), "{key}={value}");
        }
        for value in *bad {
            let expected = format!("{key} must be {must}: {value}");
            assert_eq!(invalid(register(Kind::CustomHttp, &[(key, value)])), expected, "{key}");
        }
    }
    for port in ["1", "65535"] {
        assert!(register(Kind::Http, &[("AWS_INSTANCE_PORT", port)]).is_ok(), "{port}");
    }
    for port in ["", "0", "65536", "+1", "-1", "http", "1.5"] {
        let refused = invalid(register(Kind::Http, &[("AWS_INSTANCE_PORT", port)]));
        assert_eq!(refused, "A valid port number must be supplied.", "{port}");
    }
    assert!(register(Kind::Weighted(&[A]), &[ALIAS]).is_ok());
    // The initial status is checked for every service, with or without a health check.
    for kind in [Kind::CustomHttp, Kind::Http] {
        for status in ["HEALTHY", "UNHEALTHY"] {
            assert!(register(kind, &[("AWS_INIT_HEALTH_STATUS", status)]).is_ok());
        }
        for status in ["", "healthy", "UNKNOWN"] {
            assert_eq!(
                invalid(register(kind, &[("AWS_INIT_HEALTH_STATUS", status)])),
                format!("No enum constant com.amazon.route53.autonaming.model.InitHealthStatus.{status}")
            );
        }
    }
}

#[test]
fn keys_and_values_match_their_patterns() {
    let (long_key, long_value) = ("k".repeat(255), "v".repeat(1024));
    for (key, value) in [
        ("!~", ""),
        (&long_key, "v"),
        ("k", &long_value),
        ("k", "in the\tmiddle"),
        ("k", "at the end "),
        ("AWS_", "unknown"),
    ] {
        assert!(register(Kind::Http, &[(key, value)]).is_ok(), "{key}={value}");
    }
    for (key, value) in [
        ("", "v"),
        ("a b", "v"),
        ("é", "v"),
        (&format!("{long_key}k"), "v"),
        ("k", " leading"),
        ("k", "\tleading"),
        ("k", "line\nbreak"),
        ("k", "é"),
        ("k", &format!("{long_value}v")),
    ] {
        let text = invalid(register(Kind::Http, &[(key, value)]));
        assert!(text.contains(" at 'attributes' failed to satisfy constraint: Map "), "{text}");
    }
}

#[test]
fn attributes_are_limited_in_number_and_size() {
    let keys: Vec<String> = (0..31).map(|i| format!("k{i:02}")).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    let reserved = [IPV4, IPV6, PORT, CNAME, WELL];
    assert!(register(Kind::Http, &[&pairs[..30], &reserved[..]].concat()).is_ok());
    let many = invalid(register(Kind::Http, &pairs));
    assert!(
        many.starts_with("Too many attributes provided: [k30, k11, ") && many.ends_with("limit is 30"),
        "{many}"
    );

    // Five keys of one character, with values that fill up the total.
    let sized = |total: usize| {
        let value = "v".repeat(1000 - 1);
        let last = "v".repeat(total - 4 * 1000 - 1);
        let pairs = [("a", &value), ("b", &value), ("c", &value), ("d", &value), ("e", &last)];
        register(Kind::Http, &pairs.map(|(key, value)| (key, value.as_str())))
    };
    assert!(sized(5000).is_ok());
    assert_eq!(ruled(sized(5001)), "attributes");
}
