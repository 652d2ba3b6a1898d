//! Reports on the checks of a service, and probes on request.

use std::{fmt, io, net::SocketAddr, sync::Arc};

use sd_core::{
    Scope, State,
    health_check::{Check, CheckTarget, NotChecked},
    model::{HealthCheckConfig, HealthStatus, ServiceId},
};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    ProberHandle,
    entry::{Entry, Key},
    failure::Failure,
    history::CheckResult,
    probe::{Phases, Setup, probe, request},
};

/// How many probes on request may be in flight.
pub(super) const ON_REQUEST: usize = 64;

/// The checks of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ServiceChecks {
    /// The service's id.
    pub service: String,
    /// `HTTP`, `HTTPS` or `TCP`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The path that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_path: Option<String>,
    /// How many consecutive results change a status.
    pub failure_threshold: u8,
    /// The instances in the order of their ids.
    pub instances: Vec<InstanceChecks>,
    /// How many more instances there are than the report has.
    pub more: usize,
}

/// The checks of an instance.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InstanceChecks {
    /// The instance's id.
    pub instance: String,
    /// The status in effect.
    pub status: &'static str,
    /// The address that is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<SocketAddr>,
    /// Why nothing is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_checked: Option<String>,
    /// How many consecutive results contradict the status.
    pub contrary: u8,
    /// The last results, at most 20, the newest first.
    pub results: Vec<CheckResult>,
    /// The last failures, at most 5, the newest first.
    pub failures: Vec<CheckResult>,
}

/// One probe on request. Displays as text for people, a line for each phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Probe {
    /// The service's id.
    pub service: String,
    /// The instance's id.
    pub instance: String,
    /// The address that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<SocketAddr>,
    /// `HTTP`, `HTTPS` or `TCP`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The header `Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The status of the response, or 0 for a TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why the check failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why nothing was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_checked: Option<String>,
    /// How long it took.
    #[serde(flatten)]
    pub phases: Phases,
}

/// Why there is no report or no probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// There is no such service.
    #[error("no service {0:?}: expected an id, an ARN, NAME.NAMESPACE, or a name that only one service has")]
    NoService(String),
    /// The service has no such instance.
    #[error("service {0} has no instance {1:?}")]
    NoInstance(String, String),
    /// Its instances are not checked.
    #[error("service {0} has no HealthCheckConfig, so its instances are not probed")]
    NoHealthCheck(String),
    /// This machine cannot probe.
    #[error("cannot probe: {0}")]
    Io(#[from] io::Error),
}

impl ProberHandle {
    /// The checks of a service and the last results. `service` is an id, an ARN, `NAME.NAMESPACE`, or a name that only one
    /// service of the scope has. `instance` leaves only one instance, and `limit` bounds how many there are.
    ///
    /// # Errors
    /// There is no such service or instance, or it has no Route 53 check.
    pub fn report(
        &self,
        scope: &Scope,
        service: &str,
        instance: Option<&str>,
        limit: usize,
    ) -> Result<ServiceChecks, ProbeError> {
        let shared = &self.running.shared;
        let state = shared.cloud_map.state();
        let id = find(&state, scope, service)?;
        let config = config(&state, scope, &id)?;
        let mut entries = match instance {
            None => shared.table.entries_of(&(scope.clone(), id.clone())),
            Some(instance) => {
                let key = key(&state, scope, &id, instance)?;
                // An instance that was registered just now has no entry yet.
                shared.table.get(&key).into_iter().collect()
            }
        };
        let all = entries.len();
        let by_id = |entry: &Arc<Entry>| entry.key.instance.clone();
        if limit < all {
            entries.select_nth_unstable_by_key(limit, by_id);
            entries.truncate(limit);
        }
        entries.sort_unstable_by_key(by_id);
        let instances: Vec<_> = entries.iter().filter_map(|entry| instance_checks(entry, &state)).collect();
        Ok(ServiceChecks {
            service: id.to_string(),
            kind: config.kind.as_str(),
            resource_path: config.resource_path.as_deref().map(str::to_owned),
            failure_threshold: config.failure_threshold.get(),
            instances,
            more: all - entries.len(),
        })
    }

    /// Probes the instances of a service, or one of them, now, and counts nothing: at most `limit` instances, in the order of
    /// their ids. At most 64 of these probes are in flight at a time, in all calls together.
    ///
    /// # Errors
    /// Those of [`report`](Self::report), and this machine cannot probe.
    pub async fn probe(
        &self,
        scope: &Scope,
        service: &str,
        instance: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Probe>, ProbeError> {
        let shared = &self.running.shared;
        let keys = {
            let state = shared.cloud_map.state();
            let id = find(&state, scope, service)?;
            config(&state, scope, &id)?;
            match instance {
                Some(instance) => vec![key(&state, scope, &id, instance)?],
                None => {
                    let entry = state.scope(scope).service(id.as_str());
                    let instances = entry.into_iter().flat_map(|entry| entry.instances().iter());
                    let mut instances: Vec<_> = instances.map(|entry| entry.instance().id.clone()).collect();
                    instances.sort_unstable();
                    instances.truncate(limit);
                    let key = |instance| Key { scope: scope.clone(), service: id.clone(), instance };
                    instances.into_iter().map(key).collect()
                }
            }
        };
        let mut tasks = JoinSet::new();
        for (place, key) in keys.into_iter().enumerate() {
            let shared = Arc::clone(shared);
            tasks.spawn(async move {
                let _permit = shared.on_request.acquire().await.ok()?;
                // It may have been deregistered meanwhile.
                let asked = key.check(&shared.cloud_map.state()).map(|check| Asked::of(&check))?;
                Some(asked.probe(&key, &shared.setup).await.map(|probe| (place, probe)))
            });
        }
        let mut probes = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            probes.extend(ended.map_err(io::Error::other)?.transpose()?);
        }
        probes.sort_unstable_by_key(|(place, _)| *place);
        Ok(probes.into_iter().map(|(_, probe)| probe).collect())
    }
}

/// The key of an instance that exists.
fn key(state: &State, scope: &Scope, service: &ServiceId, instance: &str) -> Result<Key, ProbeError> {
    let entry =
        state.scope(scope).service(service.as_str()).and_then(|entry| entry.instances().get(instance));
    let entry = entry.ok_or_else(|| ProbeError::NoInstance(service.to_string(), instance.to_owned()))?;
    let instance = entry.instance().id.clone();
    Ok(Key { scope: scope.clone(), service: service.clone(), instance })
}

/// What a probe on request asks.
struct Asked {
    kind: &'static str,
    target: Result<CheckTarget, NotChecked>,
}

impl Asked {
    fn of(check: &Check<'_>) -> Self {
        Self { kind: check.config().kind.as_str(), target: check.target() }
    }

    async fn probe(self, key: &Key, setup: &Setup) -> Result<Probe, io::Error> {
        let mut answer = Probe {
            service: key.service.to_string(),
            instance: key.instance.to_string(),
            target: None,
            kind: self.kind,
            host: None,
            path: None,
            status: None,
            failure: None,
            not_checked: None,
            phases: Phases::default(),
        };
        match self.target {
            Ok(target) => {
                let probed = probe(&target, &request(&target, "on-request"), setup, None).await?;
                answer.target = Some(target.address);
                answer.host = Some(target.host.into()).filter(|host: &String| !host.is_empty());
                answer.path = Some(target.path.into()).filter(|path: &String| !path.is_empty());
                (answer.status, answer.failure, answer.phases) =
                    (probed.result.ok(), probed.result.err(), probed.phases);
            }
            Err(reason) => answer.not_checked = Some(reason.to_string()),
        }
        Ok(answer)
    }
}

fn instance_checks(entry: &Entry, state: &State) -> Option<InstanceChecks> {
    let health = entry.key.check(state)?.health();
    let known = entry.known();
    Some(InstanceChecks {
        instance: entry.key.instance.to_string(),
        status: HealthStatus::as_str(health.status()),
        target: known.target.as_ref().ok().map(|target| target.address),
        not_checked: known.target.as_ref().err().map(ToString::to_string),
        contrary: known.tally.contrary(),
        results: known.history.results(),
        failures: known.history.failures(),
    })
}

fn config<'s>(state: &'s State, scope: &Scope, id: &ServiceId) -> Result<&'s HealthCheckConfig, ProbeError> {
    let entry = state.scope(scope).service(id.as_str());
    let config = entry.and_then(|entry| entry.service().health_check.route53());
    config.ok_or_else(|| ProbeError::NoHealthCheck(id.to_string()))
}

/// The service with this id, ARN, `NAME.NAMESPACE` or name.
fn find(state: &State, scope: &Scope, text: &str) -> Result<ServiceId, ProbeError> {
    let here = state.scope(scope);
    let id = text.rsplit_once(":service/").map_or(text, |(_, id)| id);
    if let Some(entry) = here.service(id) {
        return Ok(entry.service().id.clone());
    }
    let full_name = text.trim_end_matches('.');
    let mut found = here.namespaces().filter_map(|entry| {
        let namespace = entry.namespace().name.as_str().trim_end_matches('.');
        let in_namespace = || {
            let at = full_name.len().checked_sub(namespace.len())?;
            let (name, end) = (full_name.get(..at)?, full_name.get(at..)?);
            let name = name.strip_suffix('.').filter(|_| end.eq_ignore_ascii_case(namespace))?;
            here.service_by_name(entry, name)
        };
        here.service_by_name(entry, text).or_else(in_namespace)
    });
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry.service().id.clone()),
        _ => Err(ProbeError::NoService(text.to_owned())),
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: ", self.instance, self.service)?;
        if let Some(reason) = &self.not_checked {
            return write!(f, "not checked: {reason}");
        }
        match (self.failure, self.status) {
            (Some(failure), _) => write!(f, "unhealthy, {failure}")?,
            (None, Some(0) | None) => f.write_str("healthy")?,
            (None, Some(status)) => write!(f, "healthy, status {status}")?,
        }
        write!(f, "\n  {}", self.kind)?;
        if let Some(target) = self.target {
            write!(f, " {target}")?;
        }
        if let (Some(host), Some(path)) = (&self.host, &self.path) {
            write!(f, " GET {path}, Host: {host}")?;
        }
        let Phases { connect, tls, first_byte, status } = self.phases;
        for (name, micros) in
            [("connect", connect), ("TLS", tls), ("first byte", first_byte), ("status", status)]
        {
            if let Some(micros) = micros {
                write!(f, "\n  {name:<10} {}.{:03} ms", micros / 1000, micros % 1000)?;
            }
        }
        Ok(())
    }
}
