//! The settings of services that CreateService and UpdateService share: DNS records and health checks.

use std::num::NonZeroU8;

use super::{
    WriteContext,
    check::{Check, Entry, shared_members},
};
use crate::{
    api::{
        error::{Error, rule},
        request::{DnsRecordInput, HealthCheckConfigInput},
    },
    model::{
        DnsRecord, HealthCheck, HealthCheckConfig, HealthCheckType, Namespace, NamespaceType, RecordType,
        ServiceKind, check_records, constraint,
    },
    settings::mode::Leniency,
};

const RECORD_TYPES: &[&str; RecordType::ALL.len()] = &["SRV", "A", "AAAA", "CNAME"];
const HEALTH_CHECK_TYPES: &[&str] = &["HTTP", "HTTPS", "TCP"];

/// The default threshold of a Route 53 check.
const FAILURE_THRESHOLD: NonZeroU8 = NonZeroU8::MIN;

shared_members! {
    /// The paths of the settings in a request.
    SettingsMembers {
        dns_config: "dnsConfig",
        dns_records: "dnsConfig.dnsRecords",
        health_check_config: "healthCheckConfig",
        check_type: "healthCheckConfig.type",
        resource_path: "healthCheckConfig.resourcePath",
        failure_threshold: "healthCheckConfig.failureThreshold",
    } in updates inside "service"
}

/// A checked `HealthCheckConfig`.
pub(super) struct Route53Input {
    pub(super) kind: HealthCheckType,
    resource_path: Option<Box<str>>,
    failure_threshold: NonZeroU8,
}

impl SettingsMembers {
    /// Checks each record on its own.
    pub(super) fn dns_records(
        &self,
        check: &mut Check,
        input: Option<&[DnsRecordInput]>,
    ) -> Option<Vec<DnsRecord>> {
        if input.is_none() {
            check.missing(self.dns_records);
        }
        let mut records = Vec::new();
        for (number, record) in (1..).zip(input?) {
            let at = Entry { list: self.dns_records, number };
            let types: [_; RecordType::ALL.len()] =
                [RecordType::Srv, RecordType::A, RecordType::Aaaa, RecordType::Cname];
            let kind = check.required_one_of(at.member("type"), record.kind.as_deref(), RECORD_TYPES, &types);
            let ttl = check.required_range(at.member("tTL"), record.ttl, 0, i64::from(i32::MAX));
            // A bad record does not end the loop: all violations are reported.
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
        let types = [HealthCheckType::Http, HealthCheckType::Https, HealthCheckType::Tcp];
        let kind = check.required_one_of(self.check_type, input.kind.as_deref(), HEALTH_CHECK_TYPES, &types);
        let path = check.text(self.resource_path, input.resource_path.as_deref(), constraint::RESOURCE_PATH);
        let threshold = check.range(self.failure_threshold, input.failure_threshold, 1, 10);
        let failure_threshold =
            threshold.and_then(|n| NonZeroU8::new(u8::try_from(n).ok()?)).unwrap_or(FAILURE_THRESHOLD);
        Some(Route53Input { kind: kind?, resource_path: path.map(Box::from), failure_threshold })
    }

    /// The refusal of an update that adds records to a service that only the API discovers.
    pub(super) fn http_with_dns(&self) -> Error {
        rule(self.dns_config, "When you specify an HTTP service, you can't include a DnsConfig element.")
    }

    /// Checks that the records can be combined.
    pub(super) fn check_records(&self, records: &[DnsRecord]) -> Result<(), Error> {
        check_records(records).map_err(|unfit| rule(self.dns_records, unfit.to_string()))
    }

    /// How the health of the service's instances is determined.
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
                "Health check config must not be used. Health checks are not supported for CNAME",
            ));
        }
        if namespace.kind.namespace_type() == NamespaceType::DnsPrivate
            && !context.mode.allows(Leniency::HealthCheckConfigInPrivateNamespace)
        {
            return Err(rule(
                self.health_check_config,
                "Health check config cannot be applied to a service with private namespace",
            ));
        }
        HealthCheckConfig::new(input.kind, input.resource_path, input.failure_threshold)
            .map(HealthCheck::Route53)
            .ok_or_else(|| {
                rule(self.resource_path, "TCP health checks must not have a resource path specified.")
            })
    }
}
