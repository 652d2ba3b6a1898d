use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};

use super::{CustomHealthStatus, DnsName};

pub(crate) mod reserved {
    //! The keys of the reserved attributes (API Reference, RegisterInstance).

    pub(crate) const IPV4: &str = "AWS_INSTANCE_IPV4";
    pub(crate) const IPV6: &str = "AWS_INSTANCE_IPV6";
    pub(crate) const PORT: &str = "AWS_INSTANCE_PORT";
    pub(crate) const CNAME: &str = "AWS_INSTANCE_CNAME";
    pub(crate) const ALIAS: &str = "AWS_ALIAS_DNS_NAME";
    pub(crate) const EC2: &str = "AWS_EC2_INSTANCE_ID";
    pub(crate) const INIT_HEALTH: &str = "AWS_INIT_HEALTH_STATUS";
    pub(crate) const ALL: [&str; 7] = [IPV4, IPV6, PORT, CNAME, ALIAS, EC2, INIT_HEALTH];
}

/// What the reserved attributes of an instance say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// `AWS_INSTANCE_IPV4`
    pub ipv4: Option<Ipv4Addr>,
    /// `AWS_INSTANCE_IPV6`
    pub ipv6: Option<Ipv6Addr>,
    /// `AWS_INSTANCE_PORT`, 1–65535
    pub port: Option<NonZeroU16>,
    /// `AWS_INSTANCE_CNAME`
    pub cname: Option<DnsName>,
    /// `AWS_ALIAS_DNS_NAME`
    pub alias: Option<DnsName>,
    /// `AWS_INIT_HEALTH_STATUS`
    pub initial_health: Option<CustomHealthStatus>,
}

type Given = BTreeMap<String, String>;

/// A reserved attribute has a value that cannot be read. Displays AWS's own text where one is known.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UnreadableAttribute(String);

impl Endpoint {
    /// Reads the reserved attributes. Registering and restoring an instance both do it here.
    pub(crate) fn of(given: &Given) -> Result<Self, UnreadableAttribute> {
        Ok(Self {
            ipv4: read(given, reserved::IPV4, "an IPv4 address", |text| text.parse().ok())?,
            ipv6: read(given, reserved::IPV6, "an IPv6 address", |text| text.parse().ok())?,
            port: port(given)?,
            cname: read(given, reserved::CNAME, "a domain name", domain_name)?,
            alias: read(given, reserved::ALIAS, "a domain name", domain_name)?,
            initial_health: initial_health(given)?,
        })
    }
}

fn read<T>(
    given: &Given,
    key: &'static str,
    form: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, UnreadableAttribute> {
    let Some(text) = given.get(key) else { return Ok(None) };
    let broken = || UnreadableAttribute(format!("{key} must be {form}: {text}"));
    parse(text).ok_or_else(broken).map(Some)
}

/// Digits only: Rust's own parser would take a sign.
fn port(given: &Given) -> Result<Option<NonZeroU16>, UnreadableAttribute> {
    let Some(text) = given.get(reserved::PORT) else { return Ok(None) };
    let port = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| UnreadableAttribute("A valid port number must be supplied.".to_owned())).map(Some)
}

/// A domain name other than the root.
fn domain_name(text: &str) -> Option<DnsName> {
    DnsName::parse(text).ok().filter(|name| *name != DnsName::root())
}

/// Checked for every service, although only a custom check makes use of it.
fn initial_health(given: &Given) -> Result<Option<CustomHealthStatus>, UnreadableAttribute> {
    match given.get(reserved::INIT_HEALTH).map(String::as_str) {
        None => Ok(None),
        Some("HEALTHY") => Ok(Some(CustomHealthStatus::Healthy)),
        Some("UNHEALTHY") => Ok(Some(CustomHealthStatus::Unhealthy)),
        Some(other) => Err(UnreadableAttribute(format!(
            "No enum constant com.amazon.route53.autonaming.model.InitHealthStatus.{other}"
        ))),
    }
}
