//! The attributes of an instance: what a service's instances must have, what they may have, and what that means.
//!
//! The rules are those of "RegisterInstance" in the API Reference and of "Values that you specify when you register or
//! update a service instance" in the Developer Guide.

use std::{collections::BTreeMap, num::NonZeroU16};

use super::check::Check;
use crate::{
    constraint::{self, Constraint},
    error::{Error, rule},
    health::{CustomHealthStatus, HealthCheck},
    model::{Attributes, Endpoint, Namespace, NamespaceType, RecordType, RoutingPolicy, Service},
    name::DnsName,
};

const IPV4: &str = "AWS_INSTANCE_IPV4";
const IPV6: &str = "AWS_INSTANCE_IPV6";
const PORT: &str = "AWS_INSTANCE_PORT";
const CNAME: &str = "AWS_INSTANCE_CNAME";
const ALIAS: &str = "AWS_ALIAS_DNS_NAME";
const EC2: &str = "AWS_EC2_INSTANCE_ID";
const INIT_HEALTH: &str = "AWS_INIT_HEALTH_STATUS";
const RESERVED: [&str; 7] = [IPV4, IPV6, PORT, CNAME, ALIAS, EC2, INIT_HEALTH];

/// The most custom attributes of an instance.
const MAX_CUSTOM: usize = 30;
/// The most characters of all keys and values of an instance.
const MAX_TOTAL: usize = 5000;

type Given = BTreeMap<String, String>;

/// Checks the form of the keys and values of `member`, which is a map of attributes.
pub(super) fn check_form(check: &mut Check, member: &str, given: &Given) {
    for (key, value) in given {
        if let Err(broken) = attribute_key(key) {
            check.violated(format!("{member}.key"), Some(key), broken);
        }
        if let Err(broken) = attribute_value(value) {
            check.violated(format!("{member}.{key}"), Some(value), broken);
        }
    }
}

fn attribute_key(key: &str) -> Result<(), Constraint> {
    constraint::length(key, 0, 255)?;
    constraint::bytes(key, "^[a-zA-Z0-9!-~]+$", |b| b.is_ascii_graphic())
}

/// Empty, or printable ASCII with blanks and tabs, not beginning with one.
fn attribute_value(value: &str) -> Result<(), Constraint> {
    const PATTERN: &str = "^([a-zA-Z0-9!-~][ \\ta-zA-Z0-9!-~]*){0,1}[a-zA-Z0-9!-~]{0,1}$";
    if value.is_empty() {
        return Ok(());
    }
    constraint::length(value, 0, 1024)?;
    constraint::bytes(value, PATTERN, |b| b.is_ascii_graphic() || b == b' ' || b == b'\t')?;
    if value.starts_with([' ', '\t']) { Err(Constraint::Pattern(PATTERN)) } else { Ok(()) }
}

/// Reads the reserved attributes, once the form is right, and checks them against the service.
pub(super) fn parse(
    given: &Given,
    service: &Service,
    namespace: &Namespace,
) -> Result<(Attributes, Endpoint), Error> {
    let custom = given.keys().filter(|key| !RESERVED.contains(&key.as_str())).count();
    if custom > MAX_CUSTOM {
        return Err(rule(
            "attributes",
            format!("An instance can have at most {MAX_CUSTOM} custom attributes."),
        ));
    }
    let total: usize = given.iter().map(|(key, value)| key.len() + value.len()).sum();
    if total > MAX_TOTAL {
        return Err(rule(
            "attributes",
            format!(
                "The keys and values of all attributes can have at most {MAX_TOTAL} characters together."
            ),
        ));
    }
    let mut check = Check::default();
    let endpoint = Endpoint {
        ipv4: read(&mut check, given, IPV4, "be an IPv4 address", |text| text.parse().ok()),
        ipv6: read(&mut check, given, IPV6, "be an IPv6 address", |text| text.parse().ok()),
        port: given.get(PORT).and_then(|text| port(text)),
        cname: read(&mut check, given, CNAME, "be a domain name", domain_name),
        alias: read(&mut check, given, ALIAS, "be a domain name", domain_name),
        initial_health: match service.health_check {
            HealthCheck::Custom => {
                read(&mut check, given, INIT_HEALTH, "be HEALTHY or UNHEALTHY", initial_health)
            }
            // It means nothing to the other checks, and is kept like a custom attribute.
            HealthCheck::None | HealthCheck::Route53(_) => None,
        },
    };
    check.finish(Some(()))?;
    if endpoint.port.is_none() && given.contains_key(PORT) {
        // The service's own sentence, as a client reports it of the port 0.
        return Err(rule("attributes", "A valid port number must be supplied."));
    }
    check_alias(given, service)?;
    check_ec2(given, namespace)?;
    // A load balancer and an EC2 instance have their addresses and ports elsewhere.
    if endpoint.alias.is_none() && !given.contains_key(EC2) {
        check_required(&endpoint, service)?;
    }
    let pairs = given.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let attributes =
        Attributes::from_sorted(&pairs).ok_or(Error::Internal("attributes within the limit do not fit"))?;
    Ok((attributes, endpoint))
}

fn read<T>(
    check: &mut Check,
    given: &Given,
    key: &'static str,
    format: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let text = given.get(key)?;
    let parsed = parse(text);
    if parsed.is_none() {
        check.violated(format!("attributes.{key}"), Some(text), Constraint::Format(format));
    }
    parsed
}

/// Digits only: Rust's own parser would take a sign.
fn port(text: &str) -> Option<NonZeroU16> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A domain name other than the root.
fn domain_name(text: &str) -> Option<DnsName> {
    DnsName::parse(text).ok().filter(|name| *name != DnsName::root())
}

fn initial_health(text: &str) -> Option<CustomHealthStatus> {
    match text {
        "HEALTHY" => Some(CustomHealthStatus::Healthy),
        "UNHEALTHY" => Some(CustomHealthStatus::Unhealthy),
        _ => None,
    }
}

fn check_alias(given: &Given, service: &Service) -> Result<(), Error> {
    if !given.contains_key(ALIAS) {
        return Ok(());
    }
    if let Some(other) = [IPV4, IPV6, PORT, CNAME].into_iter().find(|key| given.contains_key(*key)) {
        return Err(rule("attributes", format!("{ALIAS} can't be combined with {other}.")));
    }
    let fits = service.dns_config().is_some_and(|dns| {
        dns.routing_policy == RoutingPolicy::Weighted
            && dns.records.iter().all(|record| matches!(record.kind, RecordType::A | RecordType::Aaaa))
    });
    if !fits {
        return Err(rule(
            "attributes",
            format!("{ALIAS} needs a service with A or AAAA records and the routing policy WEIGHTED."),
        ));
    }
    Ok(())
}

fn check_ec2(given: &Given, namespace: &Namespace) -> Result<(), Error> {
    if !given.contains_key(EC2) {
        return Ok(());
    }
    if namespace.kind.namespace_type() != NamespaceType::Http {
        return Err(rule("attributes", format!("{EC2} is for services in HTTP namespaces.")));
    }
    if let Some(other) = given.keys().find(|key| ![EC2, INIT_HEALTH].contains(&key.as_str())) {
        return Err(rule(
            "attributes",
            format!("{EC2} can be combined with {INIT_HEALTH} only, not with {other}."),
        ));
    }
    Ok(())
}

/// What the service's records and its health check need.
fn check_required(endpoint: &Endpoint, service: &Service) -> Result<(), Error> {
    let missing = |key: &str, of: &str| Err(rule("attributes", format!("{key} is required for {of}.")));
    let has = |kind| service.dns_config().is_some_and(|config| config.ttl(kind).is_some());
    let (a, aaaa) = (has(RecordType::A), has(RecordType::Aaaa));
    if a && aaaa && endpoint.ipv4.is_none() && endpoint.ipv6.is_none() {
        return missing("AWS_INSTANCE_IPV4 or AWS_INSTANCE_IPV6", "a service with A and AAAA records");
    }
    if a && !aaaa && endpoint.ipv4.is_none() {
        return missing(IPV4, "a service with an A record");
    }
    if aaaa && !a && endpoint.ipv6.is_none() {
        return missing(IPV6, "a service with an AAAA record");
    }
    if has(RecordType::Srv) {
        if endpoint.port.is_none() {
            return missing(PORT, "a service with an SRV record");
        }
        if endpoint.ipv4.is_none() && endpoint.ipv6.is_none() {
            return missing("AWS_INSTANCE_IPV4 or AWS_INSTANCE_IPV6", "a service with an SRV record");
        }
    }
    if has(RecordType::Cname) && endpoint.cname.is_none() {
        return missing(CNAME, "a service with a CNAME record");
    }
    if matches!(service.health_check, HealthCheck::Route53(_)) && endpoint.port.is_none() {
        return missing(PORT, "a service with a HealthCheckConfig element");
    }
    Ok(())
}
