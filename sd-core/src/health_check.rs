//! Route 53 health checks as values: what a check asks, what its result means, and when results change a status.
//!
//! Nothing here has sockets. A prober, such as that of `sd-http`, sends what a [`CheckTarget`] says, counts the results in a
//! [`Tally`], and commits the statuses that the tally comes to by
//! [`put_checked_health`](crate::ScopedCloudMap::put_checked_health).
//!
//! # Precedence
//! The newest event decides, in this order of the state:
//! 1. [`set_health`](crate::ScopedCloudMap::set_health) takes effect at once, whatever the health check. A pending report is
//!    dropped, and results count from zero.
//! 2. A custom report (UpdateInstanceCustomHealthStatus), only with a custom check, takes effect after its delay.
//! 3. Results of a Route 53 check, only with such a check, take effect when as many consecutive ones
//!    contradict the status as its threshold says.
//!
//! A service has either a custom or a Route 53 check, so 2 and 3 never meet.
//!
//! Sources: HealthCheckConfig and RegisterInstance in the API Reference; "How Route 53 determines whether a health check is
//! healthy" and "Values that you specify when you create or update health checks" in the Route 53 Developer Guide.
//!
//! ```
//! # use sd_backend_memory::MemoryRegistry;
//! use sd_core::{
//!     Scope, SyncCloudMap,
//!     health_check::Check,
//!     model::HealthCheckType,
//! # request::*,
//! };
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
//! # let api = cloud_map.at(Scope::default());
//! # let app = api.create_private_dns_namespace(CreatePrivateDnsNamespaceRequest::new("app.local", "vpc-1"))?;
//! # let web = CreateServiceRequest::new("web")
//! #     .with_namespace_id(app.namespace_id)
//! #     .with_dns_config(DnsConfigInput::new([(sd_core::model::RecordType::A, 60)]))
//! #     .with_health_check_config(HealthCheckConfigInput::new(HealthCheckType::Http).with_resource_path("health"));
//! # let web = api.create_service(web)?.id.clone();
//! # let instance = RegisterInstanceRequest::new(&web, "web-1");
//! # let instance = instance.with_attribute("AWS_INSTANCE_IPV4", "10.0.0.1").with_attribute("AWS_INSTANCE_PORT", "8080");
//! # api.register_instance(instance)?;
//! let state = cloud_map.cloud_map().state();
//! let check = Check::of(&state, &Scope::default(), web.as_str(), "web-1").unwrap();
//! let target = check.target().unwrap();
//! assert_eq!(target.address.to_string(), "10.0.0.1:8080");
//! assert_eq!((&*target.host, &*target.path), ("web.app.local:8080", "/health"));
//! # Ok::<(), sd_core::Error>(())
//! ```

use std::{
    fmt::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU8,
    sync::Arc,
    time::Duration,
};

use crate::{
    dns::service_name,
    model::{
        CustomHealthStatus, Health, HealthCheckConfig, HealthCheckType, HealthEvent, Instance, InstanceId,
        Namespace, OperationId, RecordType, Scope, Service, ServiceId, Timestamp,
    },
    state::{InstanceEntry, State},
};

/// The time to connect of a TCP check.
pub const TCP_CONNECT: Duration = Duration::from_secs(10);
/// The time to connect of an HTTP or HTTPS check, TLS included.
pub const HTTP_CONNECT: Duration = Duration::from_secs(4);
/// The time from the connection of an HTTP or HTTPS check to the end of the response's head.
pub const HTTP_STATUS: Duration = Duration::from_secs(2);

/// Whether an HTTP status means healthy: 200–399. A redirect is healthy and is not followed.
#[must_use]
pub const fn is_healthy_status(status: u16) -> bool {
    matches!(status, 200..400)
}

/// The Route 53 health check of an instance, as a state has it.
#[derive(Clone, Copy, Debug)]
pub struct Check<'s> {
    service: &'s Arc<Service>,
    namespace: &'s Arc<Namespace>,
    entry: &'s InstanceEntry,
    config: &'s HealthCheckConfig,
}

impl<'s> Check<'s> {
    /// The check of this instance; `None` if it does not exist or its service has no Route 53 check.
    #[must_use]
    pub fn of(state: &'s State, scope: &Scope, service: &str, instance: &str) -> Option<Self> {
        let here = state.scope(scope);
        let service_entry = here.service(service)?;
        let service = service_entry.service();
        let config = service.health_check.route53()?;
        let namespace = here.namespace(service.namespace_id.as_str())?.namespace();
        let entry = service_entry.instances().get(instance)?;
        Some(Self { service, namespace, entry, config })
    }

    /// The instance.
    #[must_use]
    pub fn instance(&self) -> &'s Arc<Instance> {
        self.entry.instance()
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &'s Arc<Service> {
        self.service
    }

    /// The service's namespace.
    #[must_use]
    pub fn namespace(&self) -> &'s Arc<Namespace> {
        self.namespace
    }

    /// The settings of the check.
    #[must_use]
    pub fn config(&self) -> &'s HealthCheckConfig {
        self.config
    }

    /// The health of the instance.
    #[must_use]
    pub fn health(&self) -> Health {
        self.entry.health()
    }

    /// What consecutive results are about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let (service, instance) = (self.service, self.entry.instance());
        Subject {
            scope: service.scope.clone(),
            service: service.id.clone(),
            instance: instance.id.clone(),
            registered_by: instance.registered_by.clone(),
            config: self.config.clone(),
        }
    }

    /// Whether this is the check that the results were about.
    #[must_use]
    pub fn is_about(&self, subject: &Subject) -> bool {
        *self.config == subject.config
            && self.entry.instance().registered_by == subject.registered_by
            && self.entry.instance().id == subject.instance
            && self.service.id == subject.service
    }

    /// What the check asks.
    ///
    /// # Errors
    /// Why the instance is not checked.
    pub fn target(&self) -> Result<CheckTarget, NotChecked> {
        CheckTarget::of(self.service, self.namespace, self.entry.instance(), self.config)
    }
}

/// What consecutive results are about: an instance as it was registered, and its check. A new registration or another check
/// starts over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subject {
    /// The account and Region.
    pub scope: Scope,
    /// The service.
    pub service: ServiceId,
    /// The instance.
    pub instance: InstanceId,
    /// The operation that registered the instance last.
    pub registered_by: OperationId,
    /// The settings of the check.
    pub config: HealthCheckConfig,
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckTarget {
    /// The protocol.
    pub kind: HealthCheckType,
    /// Where to connect.
    pub address: SocketAddr,
    /// The value of the header `Host`: the service's DNS name, or the address in an HTTP namespace; with the port unless it is
    /// the default one. Empty for TCP.
    pub host: Box<str>,
    /// The server name for TLS: the service's DNS name. `None` for other checks and without a DNS name.
    pub server_name: Option<Box<str>>,
    /// The path and query of the request, with a leading slash. Octets that are not printable ASCII are percent-encoded.
    /// Empty for TCP.
    pub path: Box<str>,
}

impl CheckTarget {
    /// What the check of this instance asks.
    ///
    /// With an IPv4 address and an IPv6 address the IPv4 address decides, unless the service has AAAA records only.
    ///
    /// # Errors
    /// Why the instance is not checked.
    pub fn of(
        service: &Service,
        namespace: &Namespace,
        instance: &Instance,
        config: &HealthCheckConfig,
    ) -> Result<Self, NotChecked> {
        let endpoint = &instance.endpoint;
        if endpoint.alias.is_some() {
            return Err(NotChecked::Alias);
        }
        let has = |kind| service.dns_config().is_some_and(|config| config.ttl(kind).is_some());
        let only_ipv6 = has(RecordType::Aaaa) && !has(RecordType::A) && !has(RecordType::Srv);
        let (ipv4, ipv6) = (endpoint.ipv4.map(IpAddr::V4), endpoint.ipv6.map(IpAddr::V6));
        let ip = if only_ipv6 { ipv6.or(ipv4) } else { ipv4.or(ipv6) };
        let ip =
            ip.ok_or(if endpoint.cname.is_some() { NotChecked::Cname } else { NotChecked::NoAddress })?;
        let port = endpoint.port.ok_or(NotChecked::NoPort)?.get();
        let (kind, address) = (config.kind, SocketAddr::new(ip, port));
        let default_port = match kind {
            HealthCheckType::Tcp => {
                return Ok(Self {
                    kind,
                    address,
                    host: Box::default(),
                    server_name: None,
                    path: Box::default(),
                });
            }
            HealthCheckType::Http => 80,
            HealthCheckType::Https => 443,
        };
        let name = service_name(service, namespace).and_then(Result::ok).map(|name| name.to_string());
        let name = name.as_deref().map(|name| name.trim_end_matches('.')).filter(|name| !name.is_empty());
        let mut host = match (name, ip) {
            (Some(name), _) => name.to_owned(),
            (None, IpAddr::V4(ip)) => ip.to_string(),
            (None, IpAddr::V6(ip)) => format!("[{ip}]"),
        };
        if port != default_port {
            let _ = write!(host, ":{port}");
        }
        Ok(Self {
            kind,
            address,
            host: host.into(),
            server_name: name.filter(|_| kind == HealthCheckType::Https).map(Box::from),
            path: request_target(config.resource_path.as_deref().unwrap_or_default()),
        })
    }

    /// Whether the address is one that serves a machine's metadata, or another link-local one, or none that a host can have.
    /// Probers on a machine in a cloud must not ask these for anybody who can register an instance.
    #[must_use]
    pub fn is_link_local(&self) -> bool {
        const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
        let v4 = |ip: Ipv4Addr| ip.is_link_local() || ip.is_unspecified();
        match self.address.ip() {
            IpAddr::V4(ip) => v4(ip),
            IpAddr::V6(ip) => {
                ip.is_unicast_link_local()
                    || ip.is_unspecified()
                    || ip == METADATA
                    || ip.to_ipv4_mapped().is_some_and(v4)
            }
        }
    }
}

/// The request target for a path. It cannot break the request: blanks and control characters are encoded.
fn request_target(path: &str) -> Box<str> {
    let mut target = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        target.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            target.push(char::from(byte));
        } else {
            let _ = write!(target, "%{byte:02X}");
        }
    }
    target.into()
}

/// Why an instance of a service with a Route 53 check is not checked. Such an instance is HEALTHY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotChecked {
    /// It is an alias (`AWS_ALIAS_DNS_NAME`), with which no check is associated.
    Alias,
    /// It has only `AWS_INSTANCE_CNAME`.
    Cname,
    /// It has no IP address.
    NoAddress,
    /// It has no port, which instances need only since their service got its check.
    NoPort,
}

impl fmt::Display for NotChecked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alias => "aliases are not checked",
            Self::Cname => "instances with AWS_INSTANCE_CNAME are not checked",
            Self::NoAddress => "the instance has no IP address",
            Self::NoPort => "the instance has no AWS_INSTANCE_PORT",
        })
    }
}

/// The results of a check so far: they are counted here, and only what they come to is stored.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// The health in the state when the last result was counted.
    stored: Health,
    /// The same with the results since.
    counted: Health,
}

impl Tally {
    /// No results, for an instance with this health.
    #[must_use]
    pub fn new(stored: Health) -> Self {
        Self { stored, counted: stored }
    }

    /// Counts a result. `stored` is the health that the state has now; if another caller has changed it, counting starts over.
    /// Returns the status to store, if the result changes it. Until that is stored, each such result returns it again.
    #[must_use = "a change of the status is to be stored"]
    pub fn count(
        &mut self,
        stored: Health,
        result: CustomHealthStatus,
        threshold: NonZeroU8,
    ) -> Option<CustomHealthStatus> {
        if stored != self.stored {
            *self = Self::new(stored);
        }
        // Results have no delays, so that the time does not matter.
        let event = HealthEvent::Checked { result, threshold };
        let counted = self.counted.on(event, Timestamp::from_millis(0));
        if counted.status() == stored.status() {
            self.counted = counted;
            return None;
        }
        Some(result)
    }

    /// How many consecutive results contradict the status.
    #[must_use]
    pub fn contrary(&self) -> u8 {
        self.counted.contrary_results().unwrap_or_default()
    }
}

/// Knows why instances have their health, for [explanations](crate::CloudMap::explain): a prober.
pub trait HealthReasons: fmt::Debug + Send + Sync {
    /// The reason for the health of an instance, in a few words, such as `refused, 3 failures in a row`. Returns at once.
    fn reason(&self, scope: &Scope, service: &ServiceId, instance: &InstanceId) -> Option<String>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HealthStart, HealthStatus};

    const GOOD: CustomHealthStatus = CustomHealthStatus::Healthy;
    const BAD: CustomHealthStatus = CustomHealthStatus::Unhealthy;

    fn three() -> NonZeroU8 {
        NonZeroU8::new(3).unwrap()
    }

    fn healthy() -> Health {
        Health::before_first_result(HealthStart::Healthy)
    }

    fn target(address: &str) -> CheckTarget {
        CheckTarget {
            kind: HealthCheckType::Tcp,
            address: address.parse().unwrap(),
            host: Box::default(),
            server_name: None,
            path: Box::default(),
        }
    }

    #[test]
    fn a_status_is_returned_until_it_is_stored() {
        let mut tally = Tally::new(healthy());
        let count = |tally: &mut Tally, stored, result| tally.count(stored, result, three());
        assert_eq!(count(&mut tally, healthy(), BAD), None);
        assert_eq!(count(&mut tally, healthy(), BAD), None);
        assert_eq!(tally.contrary(), 2);
        assert_eq!(count(&mut tally, healthy(), BAD), Some(BAD));
        assert_eq!(count(&mut tally, healthy(), BAD), Some(BAD), "it was not stored");
        let unhealthy = healthy().on(HealthEvent::Set(BAD), Timestamp::from_millis(0));
        assert_eq!(count(&mut tally, unhealthy, BAD), None);
        assert_eq!(count(&mut tally, unhealthy, GOOD), None);
    }

    #[test]
    fn setting_a_status_restarts_the_count() {
        let mut tally = Tally::new(healthy());
        let unhealthy = healthy().on(HealthEvent::Set(BAD), Timestamp::from_millis(0));
        for _ in 0..2 {
            assert_eq!(tally.count(healthy(), BAD, three()), None);
        }
        // Set to unhealthy by a host and back.
        assert_eq!(tally.count(unhealthy, GOOD, three()), None);
        assert_eq!(tally.count(healthy(), BAD, three()), None);
        assert_eq!(tally.contrary(), 1);
    }

    #[test]
    fn a_first_result_that_confirms_the_start_is_not_stored_and_ends_it() {
        let start = Health::before_first_result(HealthStart::Unhealthy);
        let mut tally = Tally::new(start);
        assert_eq!(tally.count(start, BAD, three()), None);
        assert_eq!(tally.count(start, GOOD, three()), None, "one of three");
        let unknown = Health::before_first_result(HealthStart::Unknown);
        assert_eq!(unknown.status(), HealthStatus::Unknown);
        assert_eq!(Tally::new(unknown).count(unknown, BAD, three()), Some(BAD));
        assert_eq!(Tally::new(unknown).count(unknown, GOOD, three()), Some(GOOD));
    }

    #[test]
    fn a_path_cannot_break_the_request() {
        assert_eq!(&*request_target("a b\r\nHost: x?q=ü#f"), "/a%20b%0D%0AHost:%20x?q=%C3%BC#f");
        assert_eq!(&*request_target(""), "/");
        assert_eq!(&*request_target("/ok?a=1"), "/ok?a=1");
    }

    #[test]
    fn addresses_of_metadata_are_told_apart() {
        let link_local = [
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "0.0.0.0:80",
            "[::]:80",
        ];
        for address in link_local {
            assert!(target(address).is_link_local(), "{address}");
        }
        for address in ["127.0.0.1:80", "10.0.0.1:80", "[::1]:80", "[fd00::1]:80", "8.8.8.8:80"] {
            assert!(!target(address).is_link_local(), "{address}");
        }
    }
}
