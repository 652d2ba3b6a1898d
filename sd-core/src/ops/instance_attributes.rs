//! The attributes of instances: which ones a service requires, which ones it allows, and what they mean.
//!
//! Sources: "RegisterInstance" in the API Reference, and "Values that you specify when you register or update a service
//! instance" in the Developer Guide. The texts of refusals are AWS's own where behaviour.md says so.

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::{
    api::error::{Error, rule},
    model::{
        Attributes, Endpoint, Namespace, NamespaceType, RecordType, RoutingPolicy, Service,
        constraint::{self, Text, shortened},
        endpoint::reserved::{self, ALIAS, CNAME, EC2, INIT_HEALTH, IPV4, IPV6, PORT},
    },
    settings::mode::{Leniency, Mode},
};

/// The most custom attributes of an instance.
const MAX_CUSTOM: usize = 30;
/// The most characters of all keys and values of an instance together.
const MAX_TOTAL: usize = 5000;

/// The constraints of the keys and values of attributes in the service model.
pub(super) const ATTRIBUTES: (&Text, &Text) = (constraint::ATTR_KEY, constraint::ATTR_VALUE);
/// The range of a number of entries that the service model does not limit.
pub(super) const ANY: (usize, usize) = (0, usize::MAX);

type Given = BTreeMap<String, String>;

/// Parses the reserved attributes and checks them against the service. The service model's constraints were checked
/// before.
pub(super) fn parse(
    given: &Given,
    service: &Service,
    namespace: &Namespace,
    mode: Mode,
) -> Result<(Attributes, Endpoint), Error> {
    check_limits(given, namespace, mode)?;
    let endpoint = Endpoint::of(given).map_err(|unreadable| rule("attributes", unreadable.to_string()))?;
    check_ec2(given, namespace)?;
    check_alias(given, service)?;
    // The addresses and ports of a load balancer and of an EC2 instance are not attributes.
    if endpoint.alias.is_none() && !given.contains_key(EC2) {
        check_required(&endpoint, service)?;
        check_routable(&endpoint, service, mode)?;
    }
    let pairs = given.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let attributes = Attributes::from_sorted(&pairs)
        .ok_or(Error::Internal("the attributes are within the limit but cannot be stored"))?;
    Ok((attributes, endpoint))
}

fn is_reserved(key: &str) -> bool {
    reserved::ALL.contains(&key)
}

/// Checks the number of attributes, their size and their keys.
fn check_limits(given: &Given, namespace: &Namespace, mode: Mode) -> Result<(), Error> {
    let is_unknown = |key: &&String| {
        key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("AWS_"))
            && !reserved::ALL.iter().any(|known| known.eq_ignore_ascii_case(key))
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
    // The texts are ASCII, so octets are characters.
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

/// Sorts keys in the order in which AWS lists them in its texts: that of a Java hash set.
fn in_order_of_java(mut keys: Vec<&str>) -> Vec<&str> {
    // Java's table has a power of two of buckets and is at most three quarters full.
    let buckets = (keys.len() + keys.len().div_ceil(3)).next_power_of_two().max(16);
    let bucket = |key: &&str| {
        let hash = key.bytes().fold(0_u32, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into()));
        (hash ^ hash >> 16) as usize & (buckets - 1)
    };
    keys.sort_by_cached_key(bucket);
    keys
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

/// Checks that the attributes that the service's records and its health check need are there.
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
    if service.health_check.route53().is_some() && endpoint.port.is_none() {
        return Err(rule("attributes", "A port must be supplied in order to register this instance."));
    }
    Ok(())
}

/// Refuses private and documentation addresses where Route 53 checks: its checkers are on the internet and cannot reach
/// them.
fn check_routable(endpoint: &Endpoint, service: &Service, mode: Mode) -> Result<(), Error> {
    let forbidden = |address: &Ipv4Addr| address.is_private() || address.is_documentation();
    match endpoint.ipv4.filter(forbidden) {
        Some(address)
            if service.health_check.route53().is_some()
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
    fn keys_are_listed_in_the_order_seen_on_aws() {
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
