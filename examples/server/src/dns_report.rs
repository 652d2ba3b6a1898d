//! What DNS does, on the admin port.

use std::{collections::BTreeMap, sync::Weak};

use axum::{Json, Router, http::StatusCode, routing::get};
use sd_dns::{Counters, DnsServer, HiddenZone, NameTable};
use serde::Serialize;

/// `GET /_sd/dns`: the zones that are never answered from, because another one of their name is, and what has been answered.
pub(crate) fn routes(table: NameTable, server: Weak<DnsServer>) -> Router {
    let report = move || async move {
        // It is gone when the process is about to end.
        let server = server.upgrade().ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let hidden_zones = table.hidden_zones().iter().map(Hidden::new).collect();
        Ok::<_, StatusCode>(Json(Report { hidden_zones, answers: Answers::new(&server.counters()) }))
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

/// Where a namespace lives.
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
    unsent: u64,
    by_type: BTreeMap<u16, u64>,
    by_rcode: BTreeMap<u16, u64>,
    by_zone: BTreeMap<String, u64>,
    ignored: u64,
    /// How long all of them took together.
    microseconds: u64,
    /// How many took less than so many microseconds, and no less than the one before.
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
