//! The report of DNS.

use std::{collections::BTreeMap, time::Duration};

use sd_core::{Scope, model::NamespaceId};
use sd_dns::{Counters, HiddenZone, NameTable};
use serde::Serialize;

/// The report of DNS on the admin port, `GET /_sd/dns`: the zones that never answer, because another zone has
/// their name, and the counters of the answers.
///
/// ```json
/// {
///     "hidden_zones": [
///         {
///             "name": "app.local.",
///             "namespace": {"account": "…", "region": "…", "id": "…"},
///             "answering": {"account": "…", "region": "…", "id": "…"}
///         }
///     ],
///     "answers": {"udp": 0, "tcp": 0, …}
/// }
/// ```
///
/// The members of `answers` are those of [`Counters`]. `microseconds` is the duration of all answers together;
/// `by_microseconds` has pairs of an upper bound (`null` for the last) and the number of answers below it.
#[derive(Debug, Serialize)]
pub struct DnsReport {
    hidden_zones: Vec<Hidden>,
    answers: Answers,
}

impl DnsReport {
    /// The report of this table, and of the server that answers from it.
    #[must_use]
    pub fn new(table: &NameTable, counters: &Counters) -> Self {
        let hidden_zones = table.hidden_zones().iter().map(Hidden::new).collect();
        Self { hidden_zones, answers: Answers::new(counters) }
    }
}

#[derive(Debug, Serialize)]
struct Hidden {
    name: String,
    namespace: Place,
    answering: Place,
}

/// Where a namespace is.
#[derive(Debug, Serialize)]
struct Place {
    account: String,
    region: String,
    id: String,
}

impl Hidden {
    fn new(zone: &HiddenZone) -> Self {
        let place = |scope: &Scope, id: &NamespaceId| Place {
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

#[derive(Debug, Serialize)]
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
    microseconds: u64,
    by_microseconds: Vec<(Option<u64>, u64)>,
}

impl Answers {
    fn new(counters: &Counters) -> Self {
        let latency = &counters.latency;
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).ok();
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
