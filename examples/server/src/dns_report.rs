//! The report of DNS on the admin port.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Json, Router, http::StatusCode, routing::get};
use sd_dns::{Counters, DnsServer, HiddenZone, NameTable};
use serde::Serialize;

/// The DNS server, until it drains.
#[derive(Clone)]
pub(crate) struct Running(Arc<Mutex<Option<DnsServer>>>);

impl Running {
    pub(crate) fn new(server: DnsServer) -> Self {
        Self(Arc::new(Mutex::new(Some(server))))
    }

    /// Takes the server out, to shut it down.
    pub(crate) fn take(&self) -> Option<DnsServer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn counters(&self) -> Option<Counters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(DnsServer::counters)
    }
}

/// `GET /_sd/dns`: zones that never answer, because another zone has their name, and counters of answers. 503
/// while the server drains.
pub(crate) fn routes(table: NameTable, server: Running) -> Router {
    let report = move || async move {
        let counters = server.counters().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let hidden_zones = table.hidden_zones().iter().map(Hidden::new).collect();
        Ok::<_, StatusCode>(Json(Report { hidden_zones, answers: Answers::new(&counters) }))
    };
    Router::new().route("/_sd/dns", get(report))
}

#[derive(Serialize)]
struct Report {
    hidden_zones: Vec<Hidden>,
    answers: Answers,
}

#[derive(Serialize)]
struct Hidden {
    name: String,
    namespace: Place,
    answering: Place,
}

/// A namespace.
#[derive(Serialize)]
struct Place {
    account: String,
    region: String,
    id: String,
}

impl Hidden {
    fn new(zone: &HiddenZone) -> Self {
        let place = |scope: &sd_core::Scope, id: &sd_core::ids::NamespaceId| Place {
            account: scope.account().to_string(),
            region: scope.region().to_string(),
            id: id.to_string(),
        };
        Self {
            name: zone.name.to_string(),
            namespace: place(&zone.scope, &zone.namespace),
            answering: place(&zone.answering_scope, &zone.answering_namespace),
        }
    }
}

/// As in [`Counters`].
#[derive(Serialize)]
struct Answers {
    udp: u64,
    tcp: u64,
    forwarded: u64,
    cache_hits: u64,
    cache_misses: u64,
    unsent: u64,
    by_type: BTreeMap<u16, u64>,
    by_rcode: BTreeMap<u16, u64>,
    by_zone: BTreeMap<String, u64>,
    ignored: u64,
    /// Duration of all answers together.
    microseconds: u64,
    /// Upper bound of the duration in microseconds, and the number of answers from the bound before up to
    /// this one.
    by_microseconds: Vec<(Option<u64>, u64)>,
}

impl Answers {
    fn new(counters: &Counters) -> Self {
        let latency = &counters.latency;
        let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).ok();
        Self {
            udp: counters.udp,
            tcp: counters.tcp,
            forwarded: counters.forwarded,
            cache_hits: counters.cache_hits,
            cache_misses: counters.cache_misses,
            unsent: counters.unsent,
            by_type: counters.by_type.clone(),
            by_rcode: counters.by_rcode.clone(),
            by_zone: counters.by_zone.iter().map(|(name, count)| (name.to_string(), *count)).collect(),
            ignored: counters.ignored,
            microseconds: micros(latency.sum()).unwrap_or(u64::MAX),
            by_microseconds: latency.buckets().map(|(bound, count)| (micros(bound), count)).collect(),
        }
    }
}
