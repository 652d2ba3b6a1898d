//! The settings of services, as they are created with and changed to: records and health checks.

use std::num::NonZeroU8;

use super::{WriteContext, check::Check};
use crate::{
    constraint::{self, Constraint},
    error::{Error, rule},
    health::{HealthCheck, HealthCheckConfig, HealthCheckType},
    mode::Leniency,
    model::{DnsRecord, Namespace, NamespaceType, RecordType, ServiceKind},
    request::{DnsRecordInput, HealthCheckConfigInput},
};

const RECORD_TYPES: &[&str] = &["SRV", "A", "AAAA", "CNAME"];
const HEALTH_CHECK_TYPES: &[&str] = &["HTTP", "HTTPS", "TCP"];

/// Where the settings stand in a request, for what is said of them.
pub(super) struct Members {
    dns_config: &'static str,
    pub(super) dns_records: &'static str,
    record_type: &'static str,
    record_ttl: &'static str,
    health_check_config: &'static str,
    pub(super) check_type: &'static str,
    resource_path: &'static str,
    failure_threshold: &'static str,
}

macro_rules! members_in {
    ($path:literal) => {
        Members {
            dns_config: concat!($path, "dnsConfig"),
            dns_records: concat!($path, "dnsConfig.dnsRecords"),
            record_type: concat!($path, "dnsConfig.dnsRecords.member.type"),
            record_ttl: concat!($path, "dnsConfig.dnsRecords.member.tTL"),
            health_check_config: concat!($path, "healthCheckConfig"),
            check_type: concat!($path, "healthCheckConfig.type"),
            resource_path: concat!($path, "healthCheckConfig.resourcePath"),
            failure_threshold: concat!($path, "healthCheckConfig.failureThreshold"),
        }
    };
}

/// Of CreateService.
pub(super) const IN_REQUEST: Members = members_in!("");
/// Of UpdateService.
pub(super) const IN_CHANGE: Members = members_in!("service.");

/// `HealthCheckConfig` as given.
pub(super) struct Route53Input {
    pub(super) kind: HealthCheckType,
    resource_path: Option<Box<str>>,
    failure_threshold: NonZeroU8,
}

impl Members {
    /// The records, by themselves.
    pub(super) fn dns_records(
        &self,
        check: &mut Check,
        input: Option<&[DnsRecordInput]>,
    ) -> Option<Vec<DnsRecord>> {
        if input.is_none() {
            check.violated(self.dns_records, None, Constraint::NotNull);
        }
        let mut records = Vec::new();
        for record in input? {
            if record.kind.is_none() {
                check.violated(self.record_type, None, Constraint::NotNull);
            }
            let types = [RecordType::Srv, RecordType::A, RecordType::Aaaa, RecordType::Cname];
            let kind = check.one_of(self.record_type, record.kind.as_deref(), RECORD_TYPES, &types);
            let ttl = check.required_range(self.record_ttl, record.ttl, 0, i64::from(i32::MAX));
            // Goes on after a bad record, since all that is wrong is reported.
            if let (Some(kind), Some(ttl)) = (kind, ttl.and_then(|ttl| u32::try_from(ttl).ok())) {
                records.push(DnsRecord::new(kind, ttl));
            }
        }
        Some(records)
    }

    pub(super) fn route53_check(
        &self,
        check: &mut Check,
        input: &HealthCheckConfigInput,
    ) -> Option<Route53Input> {
        if input.kind.is_none() {
            check.violated(self.check_type, None, Constraint::NotNull);
        }
        let types = [HealthCheckType::Http, HealthCheckType::Https, HealthCheckType::Tcp];
        let kind = check.one_of(self.check_type, input.kind.as_deref(), HEALTH_CHECK_TYPES, &types);
        let path = check.parsed(self.resource_path, input.resource_path.as_deref(), |path| {
            constraint::length(path, 0, 255)?;
            Ok(Box::from(path))
        });
        let threshold = check.range(self.failure_threshold, input.failure_threshold, 1, 10);
        let failure_threshold =
            threshold.and_then(|n| NonZeroU8::new(u8::try_from(n).ok()?)).unwrap_or(NonZeroU8::MIN);
        Some(Route53Input { kind: kind?, resource_path: path, failure_threshold })
    }

    /// That records were given for a service that DNS has no part in.
    pub(super) fn http_with_dns(&self) -> Error {
        rule(self.dns_config, "When you specify an HTTP service, you can't include a DnsConfig element.")
    }

    /// Whether the records go together.
    pub(super) fn check_records(&self, records: &[DnsRecord]) -> Result<(), Error> {
        let count = |kind| records.iter().filter(|record| record.kind == kind).count();
        let broken = if records.is_empty() {
            "A DnsConfig element needs at least one record."
        } else if RecordType::ALL.into_iter().any(|kind| count(kind) > 1) {
            "A DnsConfig element can have each record type only once."
        } else if count(RecordType::Cname) > 0 && records.len() > 1 {
            "A CNAME record can't be combined with records of other types."
        } else {
            return Ok(());
        };
        Err(rule(self.dns_records, broken))
    }

    /// What the instances of a service of this kind are checked by.
    pub(super) fn health_check(
        &self,
        namespace: &Namespace,
        kind: &ServiceKind,
        route53: Option<Route53Input>,
        custom: bool,
        context: &WriteContext<'_>,
    ) -> Result<HealthCheck, Error> {
        let input = match (route53, custom) {
            (Some(_), true) => {
                return Err(rule(
                    self.health_check_config,
                    "A service can have HealthCheckConfig or HealthCheckCustomConfig, not both.",
                ));
            }
            (None, true) => return Ok(HealthCheck::Custom),
            (None, false) => return Ok(HealthCheck::None),
            (Some(input), false) => input,
        };
        let cname = matches!(kind, ServiceKind::DnsHttp(config) if config.ttl(RecordType::Cname).is_some());
        if cname {
            return Err(rule(
                self.health_check_config,
                "A service with a CNAME record can't have a HealthCheckConfig element.",
            ));
        }
        if namespace.kind.namespace_type() == NamespaceType::DnsPrivate
            && !context.mode.allows(Leniency::HealthCheckConfigInPrivateNamespace)
        {
            return Err(rule(
                self.health_check_config,
                "A service in a private DNS namespace can't have a HealthCheckConfig element; use HealthCheckCustomConfig.",
            ));
        }
        let resource_path = match (input.kind, input.resource_path) {
            (HealthCheckType::Tcp, Some(_)) => {
                return Err(rule(self.resource_path, "A TCP health check can't have a ResourcePath."));
            }
            (HealthCheckType::Tcp, None) => None,
            (HealthCheckType::Http | HealthCheckType::Https, path) => {
                Some(path.unwrap_or_else(|| "/".into()))
            }
        };
        Ok(HealthCheck::Route53(HealthCheckConfig {
            kind: input.kind,
            resource_path,
            failure_threshold: input.failure_threshold,
        }))
    }
}
