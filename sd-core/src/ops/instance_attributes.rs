//! The attributes of an instance: which ones a service's instances need, which ones they may have, and what they mean.
//!
//! The rules are those of "RegisterInstance" in the API Reference and of "Values that you specify when you register or
//! update a service instance" in the Developer Guide. The texts of refusals are AWS's own where behaviour.md says so.

use std::{collections::BTreeMap, net::Ipv4Addr, num::NonZeroU16};

use crate::{
    api::error::{Error, rule},
    model::{
        Attributes, CustomHealthStatus, DnsName, Endpoint, HealthCheck, Namespace, NamespaceType, RecordType,
        RoutingPolicy, Service,
        constraint::{self, Text, shortened},
    },
    settings::mode::{Leniency, Mode},
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

/// The constraints of the keys and values of attributes in the service model.
pub(super) const ATTRIBUTES: (&Text, &Text) = (constraint::ATTR_KEY, constraint::ATTR_VALUE);
/// The service model has no limit on the number of attributes.
pub(super) const ANY: (usize, usize) = (0, usize::MAX);

type Given = BTreeMap<String, String>;

/// Reads the reserved attributes, once the form is right, and checks them against the service.
pub(super) fn parse(
    given: &Given,
    service: &Service,
    namespace: &Namespace,
    mode: Mode,
) -> Result<(Attributes, Endpoint), Error> {
    check_limits(given, namespace, mode)?;
    let endpoint = Endpoint {
        ipv4: read(given, IPV4, "an IPv4 address", |text| text.parse().ok())?,
        ipv6: read(given, IPV6, "an IPv6 address", |text| text.parse().ok())?,
        port: port(given)?,
        cname: read(given, CNAME, "a domain name", domain_name)?,
        alias: read(given, ALIAS, "a domain name", domain_name)?,
        initial_health: initial_health(given)?.filter(|_| service.health_check == HealthCheck::Custom),
    };
    check_ec2(given, namespace)?;
    check_alias(given, service)?;
    // A load balancer and an EC2 instance have their addresses and ports elsewhere.
    if endpoint.alias.is_none() && !given.contains_key(EC2) {
        check_required(&endpoint, service)?;
        check_routable(&endpoint, service, mode)?;
    }
    let pairs = given.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let attributes =
        Attributes::from_sorted(&pairs).ok_or(Error::Internal("attributes within the limit do not fit"))?;
    Ok((attributes, endpoint))
}

fn is_reserved(key: &str) -> bool {
    RESERVED.contains(&key)
}

/// How many attributes there are, how long, and under which keys.
fn check_limits(given: &Given, namespace: &Namespace, mode: Mode) -> Result<(), Error> {
    let is_unknown = |key: &&String| {
        key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("AWS_"))
            && !RESERVED.iter().any(|known| known.eq_ignore_ascii_case(key))
    };
    if !mode.allows(Leniency::UnknownAwsAttributes)
        && let Some(key) = given.keys().find(is_unknown)
    {
        let text = format!("Invalid attribute: [{key}]. [aws_] prefix is reserved for AWS attributes.");
        return Err(rule("attributes", text));
    }
    let custom = || given.keys().map(String::as_str).filter(|key| !is_reserved(key));
    if custom().count() > MAX_CUSTOM {
        let keys = shortened(in_order_of_java(custom().collect()).join(", "));
        return Err(rule(
            "attributes",
            format!("Too many attributes provided: [{keys}]. The current limit is {MAX_CUSTOM}"),
        ));
    }
    // ASCII, so octets are characters.
    let total: usize = given.iter().map(|(key, value)| key.len() + value.len()).sum();
    if total > MAX_TOTAL {
        return Err(rule(
            "attributes",
            format!(
                "Instance attributes too large. Maximum allowed size of all attributes is {MAX_TOTAL} characters."
            ),
        ));
    }
    if given.is_empty()
        && namespace.kind.namespace_type() == NamespaceType::Http
        && !mode.allows(Leniency::NoAttributes)
    {
        return Err(rule("attributes", "An instance in an HTTP namespace needs at least one attribute."));
    }
    Ok(())
}

/// Keys in the order of the hash set in which the service keeps them, which shows in its text.
fn in_order_of_java(mut keys: Vec<&str>) -> Vec<&str> {
    // A table of a power of two, at most three quarters full.
    let buckets = (keys.len() + keys.len().div_ceil(3)).next_power_of_two().max(16);
    let bucket = |key: &&str| {
        let hash = key.bytes().fold(0_u32, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into()));
        (hash ^ hash >> 16) as usize & (buckets - 1)
    };
    keys.sort_by_cached_key(bucket);
    keys
}

fn read<T>(
    given: &Given,
    key: &'static str,
    form: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(text) = given.get(key) else { return Ok(None) };
    let broken = || rule("attributes", format!("{key} must be {form}: {text}"));
    parse(text).ok_or_else(broken).map(Some)
}

/// Digits only: Rust's own parser would take a sign.
fn port(given: &Given) -> Result<Option<NonZeroU16>, Error> {
    let Some(text) = given.get(PORT) else { return Ok(None) };
    let port = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| rule("attributes", "A valid port number must be supplied.")).map(Some)
}

/// A domain name other than the root.
fn domain_name(text: &str) -> Option<DnsName> {
    DnsName::parse(text).ok().filter(|name| *name != DnsName::root())
}

/// Checked for every service, although only a custom check makes use of it.
fn initial_health(given: &Given) -> Result<Option<CustomHealthStatus>, Error> {
    match given.get(INIT_HEALTH).map(String::as_str) {
        None => Ok(None),
        Some("HEALTHY") => Ok(Some(CustomHealthStatus::Healthy)),
        Some("UNHEALTHY") => Ok(Some(CustomHealthStatus::Unhealthy)),
        Some(other) => Err(rule(
            "attributes",
            format!("No enum constant com.amazon.route53.autonaming.model.InitHealthStatus.{other}"),
        )),
    }
}

fn check_alias(given: &Given, service: &Service) -> Result<(), Error> {
    if !given.contains_key(ALIAS) {
        return Ok(());
    }
    let weighted = service.dns_config().filter(|dns| dns.routing_policy == RoutingPolicy::Weighted);
    let Some(dns) = weighted else {
        return Err(rule(
            "attributes",
            "ALIAS instance can be registered only in services with WEIGHTED routing policy",
        ));
    };
    if let Some(other) = [IPV4, IPV6, PORT, CNAME].into_iter().find(|key| given.contains_key(*key)) {
        return Err(rule("attributes", format!("{ALIAS} can't be combined with {other}.")));
    }
    if !dns.records.iter().all(|record| record.kind.is_address()) {
        return Err(rule("attributes", format!("{ALIAS} needs a service with A or AAAA records only.")));
    }
    Ok(())
}

fn check_ec2(given: &Given, namespace: &Namespace) -> Result<(), Error> {
    if !given.contains_key(EC2) {
        return Ok(());
    }
    let kind = namespace.kind.namespace_type();
    if kind != NamespaceType::Http {
        let kind = kind.as_str();
        return Err(rule(
            "attributes",
            format!("{EC2} provided in namespace type {kind}. It is only supported in HTTP namespace"),
        ));
    }
    let others = given.keys().filter(|key| is_reserved(key) && ![EC2, INIT_HEALTH].contains(&key.as_str()));
    let others: Vec<_> = others.map(String::as_str).collect();
    if !others.is_empty() {
        let others = in_order_of_java(others).join(", ");
        return Err(rule(
            "attributes",
            format!("Invalid combination of attributes received. {EC2} is not supported with [{others}]."),
        ));
    }
    Ok(())
}

/// What the service's records and its health check need.
fn check_required(endpoint: &Endpoint, service: &Service) -> Result<(), Error> {
    let has = |kind| service.dns_config().is_some_and(|config| config.ttl(kind).is_some());
    let (a, aaaa, srv) = (has(RecordType::A), has(RecordType::Aaaa), has(RecordType::Srv));
    let missing: Vec<_> = RecordType::ALL
        .into_iter()
        .filter(|kind| has(*kind))
        .filter_map(|kind| {
            let (key, is_missing) = match kind {
                RecordType::A => (IPV4, !aaaa && endpoint.ipv4.is_none()),
                RecordType::Aaaa => (IPV6, !a && endpoint.ipv6.is_none()),
                RecordType::Cname => (CNAME, endpoint.cname.is_none()),
                RecordType::Srv => (PORT, endpoint.port.is_none()),
            };
            is_missing.then_some(key)
        })
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(" ");
        return Err(rule("attributes", format!("Required attribute(s) {missing} are missing.")));
    }
    if (srv || a && aaaa) && endpoint.ipv4.is_none() && endpoint.ipv6.is_none() {
        return Err(rule("attributes", format!("At least one of {IPV4} {IPV6} is required.")));
    }
    if matches!(service.health_check, HealthCheck::Route53(_)) && endpoint.port.is_none() {
        return Err(rule("attributes", "A port must be supplied in order to register this instance."));
    }
    Ok(())
}

/// Route 53's checkers are on the internet: they cannot reach private addresses and those of documentation.
fn check_routable(endpoint: &Endpoint, service: &Service, mode: Mode) -> Result<(), Error> {
    let forbidden = |address: &Ipv4Addr| address.is_private() || address.is_documentation();
    match endpoint.ipv4.filter(forbidden) {
        Some(address)
            if matches!(service.health_check, HealthCheck::Route53(_))
                && !mode.allows(Leniency::PrivateAddressInCheckedService) =>
        {
            Err(rule("attributes", format!("IPv4 address {address} is forbidden for healthChecks")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_order_in_which_the_service_was_seen_to_list_them() {
        let keys: Vec<_> = (0..=30).map(|n| format!("k{n}")).collect();
        let mut sorted: Vec<_> = keys.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        assert_eq!(
            in_order_of_java(sorted).join(", "),
            "k30, k11, k10, k13, k12, k15, k14, k17, k16, k19, k18, k0, k1, k2, k20, k3, k4, k22, k5, k21, k6, k24, k7, \
             k23, k8, k26, k9, k25, k28, k27, k29"
        );
    }
}
