//! Counts what a server answers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashbrown::HashMap;
use sd_core::{door::Latency, model::DnsName};

use crate::{
    name_table::{ZoneKey, Zones},
    wire::{Rcode, Transport},
};

/// What a [`DnsServer`](crate::DnsServer) has answered since it was bound: a plain value, taken by
/// [`DnsServer::counters`](crate::DnsServer::counters).
///
/// All numbers only grow while the server runs, except for those of a deleted zone, which leave
/// [`by_zone`](Self::by_zone).
///
/// # Examples
/// ```
/// use sd_dns::Counters;
///
/// let counters = Counters::default();
/// let responses = counters.udp + counters.tcp;
/// assert_eq!(responses, counters.latency.count());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Responses over UDP.
    pub udp: u64,
    /// Responses over TCP.
    pub tcp: u64,
    /// Responses by QTYPE, such as 1 for A. Responses to messages without a readable question have none. At most 1,000
    /// types above 259 are counted for each worker.
    pub by_type: BTreeMap<u16, u64>,
    /// Responses by response code, such as 3 for NXDOMAIN (RFC 6895 section 2.3).
    pub by_rcode: BTreeMap<u16, u64>,
    /// Responses by the zone of QNAME. Only zones that answer now are listed. REFUSED and forwarded queries have no
    /// zone.
    pub by_zone: BTreeMap<DnsName, u64>,
    /// Responses with records of an upstream, from the [`Forwarder`](crate::Forwarder)'s cache or not. They are among
    /// the responses above.
    pub forwarded: u64,
    /// Cache hits of the [`Forwarder`](crate::Forwarder), summed over all servers that share it. A CNAME chain may need
    /// several lookups.
    pub cache_hits: u64,
    /// Cache misses of the [`Forwarder`](crate::Forwarder), summed over all servers that share it: each waited for an
    /// upstream.
    pub cache_misses: u64,
    /// Messages without a response: those shorter than a header, responses, and those from a source that cannot be a
    /// client, such as a multicast address or port 0.
    pub ignored: u64,
    /// UDP responses that the system refused to send. They are among the responses above.
    pub unsent: u64,
    /// How long responses took, from the query's arrival at the server to the response's hand-over to the system. Responses
    /// of one batch all count as long as the batch.
    pub latency: Latency,
}

/// What is counted of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseSummary {
    /// `None` if the message has no readable question.
    pub(crate) qtype: Option<u16>,
    /// The zone of QNAME.
    pub(crate) zone: Option<ZoneKey>,
    pub(crate) rcode: u16,
    /// Whether it has records of an upstream.
    pub(crate) forwarded: bool,
}

/// The counters of one worker. Only the worker writes them, and it locks them once for a batch.
#[derive(Debug)]
pub(crate) struct WorkerCounters(Mutex<Counts>);

impl WorkerCounters {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Counts::new()))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of this worker alone, without zones.
    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> Counters {
        let (mut counts, zones) = (Counts::new(), Zones::default());
        counts.merge(&self.lock(), &zones);
        counts.snapshot(&zones)
    }
}

/// [`Counters`] as they are counted.
#[derive(Debug)]
pub(crate) struct Counts {
    udp: u64,
    tcp: u64,
    /// By QTYPE: an array for the low numbers, which nearly all queries have.
    types: [u64; Self::LOW_TYPES],
    high_types: HashMap<u16, u64>,
    rcodes: [u64; Self::RCODES],
    /// Entries of deleted zones are dropped when there are more than [`Self::max_zones`].
    zones: HashMap<ZoneKey, u64>,
    forwarded: u64,
    ignored: u64,
    unsent: u64,
    latency: Latency,
}

impl Counts {
    const LOW_TYPES: usize = 260;
    const RCODES: usize = Rcode::BadVers as usize + 1;
    /// Bounds the memory that clients can fill with unassigned types.
    const MAX_HIGH_TYPES: usize = 1000;

    /// The most entries for these zones. Dropping takes time for each entry, so it happens rarely.
    fn max_zones(zones: &Zones) -> usize {
        2 * zones.keys_len() + 64
    }

    pub(crate) fn new() -> Self {
        Self {
            udp: 0,
            tcp: 0,
            types: [0; Self::LOW_TYPES],
            high_types: HashMap::new(),
            rcodes: [0; Self::RCODES],
            zones: HashMap::new(),
            forwarded: 0,
            ignored: 0,
            unsent: 0,
            latency: Latency::default(),
        }
    }

    /// Counts a response. `zones` are the current zones.
    pub(crate) fn responded(&mut self, transport: Transport, response: ResponseSummary, zones: &Zones) {
        match transport {
            Transport::Udp => self.udp += 1,
            Transport::Tcp => self.tcp += 1,
        }
        if let Some(qtype) = response.qtype {
            match self.types.get_mut(usize::from(qtype)) {
                Some(count) => *count += 1,
                None => {
                    let is_known = self.high_types.contains_key(&qtype);
                    if is_known || self.high_types.len() < Self::MAX_HIGH_TYPES {
                        *self.high_types.entry(qtype).or_default() += 1;
                    }
                }
            }
        }
        if let Some(count) = self.rcodes.get_mut(usize::from(response.rcode)) {
            *count += 1;
        }
        self.forwarded += u64::from(response.forwarded);
        if let Some(zone) = response.zone {
            *self.zones.entry(zone).or_default() += 1;
            self.drop_deleted(zones);
        }
    }

    /// Drops the entries of deleted zones if there are too many entries.
    fn drop_deleted(&mut self, zones: &Zones) {
        if self.zones.len() > Self::max_zones(zones) {
            self.zones.retain(|zone, _| zones.has_key(*zone));
        }
    }

    pub(crate) fn ignored(&mut self) {
        self.ignored += 1;
    }

    pub(crate) fn unsent(&mut self) {
        self.unsent += 1;
    }

    pub(crate) fn took(&mut self, took: Duration, responses: usize) {
        if responses > 0 {
            self.latency.add(took, responses as u64);
        }
    }

    /// Adds the counts of another worker. `zones` are the current zones.
    pub(crate) fn merge(&mut self, other: &Self, zones: &Zones) {
        self.udp += other.udp;
        self.tcp += other.tcp;
        let add =
            |all: &mut [u64], more: &[u64]| all.iter_mut().zip(more).for_each(|(sum, count)| *sum += count);
        add(&mut self.types, &other.types);
        add(&mut self.rcodes, &other.rcodes);
        self.latency.merge(&other.latency);
        for (qtype, count) in &other.high_types {
            *self.high_types.entry(*qtype).or_default() += count;
        }
        for (zone, count) in &other.zones {
            *self.zones.entry(*zone).or_default() += count;
        }
        self.drop_deleted(zones);
        self.forwarded += other.forwarded;
        self.ignored += other.ignored;
        self.unsent += other.unsent;
    }

    /// The public form, without the forwarder's counters. `zones` are the current zones.
    pub(crate) fn snapshot(self, zones: &Zones) -> Counters {
        let low = (0..).zip(self.types).filter(|(_, count)| *count > 0);
        let by_zone = zones.names().filter_map(|(key, name)| Some((name, *self.zones.get(&key)?)));
        Counters {
            udp: self.udp,
            tcp: self.tcp,
            by_type: low.chain(self.high_types).collect(),
            by_rcode: (0..).zip(self.rcodes).filter(|(_, count)| *count > 0).collect(),
            by_zone: by_zone.collect(),
            forwarded: self.forwarded,
            cache_hits: 0,
            cache_misses: 0,
            ignored: self.ignored,
            unsent: self.unsent,
            latency: self.latency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_is_twice_as_wide_as_the_one_before() {
        let mut latency = Latency::default();
        for (nanos, responses) in [(999, 1), (1000, 2), (1999, 3), (2000, 4), (4_000_000, 5), (u64::MAX, 6)] {
            latency.add(Duration::from_nanos(nanos), responses);
        }
        let found: Vec<_> = latency.buckets().filter(|(_, count)| *count > 0).collect();
        let micros = Duration::from_micros;
        let expected =
            [(micros(1), 1), (micros(2), 5), (micros(4), 4), (micros(4096), 5), (Duration::MAX, 6)];
        assert_eq!(found, expected);
        assert_eq!(latency.count(), 21);
        assert!(latency.sum() > Duration::from_nanos(u64::MAX));
    }

    fn name(key: ZoneKey) -> DnsName {
        DnsName::parse(&format!("zone-{key}.local")).unwrap()
    }

    fn response(zone: ZoneKey) -> ResponseSummary {
        ResponseSummary { qtype: Some(1), zone: Some(zone), rcode: Rcode::NoError.into(), forwarded: false }
    }

    #[test]
    fn counts_of_workers_add_up_and_high_types_are_bounded() {
        let zones = Zones::with_keys([3, 4]);
        let mut sum = Counts::new();
        for _ in 0..2 {
            let mut counts = Counts::new();
            for qtype in 0..5000 {
                let response = ResponseSummary {
                    qtype: Some(qtype),
                    zone: Some(3),
                    rcode: Rcode::NxDomain.into(),
                    forwarded: true,
                };
                counts.responded(Transport::Udp, response, &zones);
            }
            counts.responded(
                Transport::Tcp,
                ResponseSummary { qtype: None, zone: None, rcode: Rcode::BadVers.into(), forwarded: false },
                &zones,
            );
            counts.ignored();
            counts.unsent();
            counts.took(Duration::from_secs(1), 7);
            sum.merge(&counts, &zones);
        }
        let counters = sum.snapshot(&zones);
        assert_eq!((counters.udp, counters.tcp), (10_000, 2));
        assert_eq!((counters.forwarded, counters.ignored, counters.unsent), (10_000, 2, 2));
        assert_eq!(counters.by_type.len(), Counts::LOW_TYPES + Counts::MAX_HIGH_TYPES);
        assert!(counters.by_type.values().all(|count| *count == 2));
        assert_eq!(counters.by_rcode, [(3, 10_000), (16, 2)].into());
        assert_eq!(counters.by_zone, [(name(3), 10_000)].into());
        assert_eq!((counters.latency.count(), counters.latency.sum()), (14, Duration::from_secs(14)));
    }

    #[test]
    fn counts_of_deleted_zones_are_dropped_and_the_others_stay() {
        // Like a test suite that creates, queries and deletes one zone after the other, beside zones that stay.
        let (mut counts, mut closed) = (Counts::new(), Counts::new());
        let mut most = 0;
        for key in 10..500 {
            let zones = Zones::with_keys([1, 2, key]);
            for zone in [1, key] {
                counts.responded(Transport::Udp, response(zone), &zones);
            }
            let mut worker = Counts::new();
            worker.responded(Transport::Udp, response(key), &zones);
            closed.merge(&worker, &zones);
            most = most.max(counts.zones.len()).max(closed.zones.len());
        }
        assert!(most <= 2 * 3 + 64, "{most}");
        let zones = Zones::with_keys([1, 2]);
        counts.responded(Transport::Udp, response(2), &zones);
        assert_eq!(counts.snapshot(&zones).by_zone, [(name(1), 490), (name(2), 1)].into());
    }

    #[test]
    fn counts_of_deleted_zones_are_dropped_rarely() {
        let zones = Zones::with_keys(0..100);
        let mut counts = Counts::new();
        let mut entries = Vec::new();
        for key in 0..300 {
            counts.responded(Transport::Udp, response(key), &zones);
            entries.push(counts.zones.len());
        }
        // A drop takes time for each entry. The next one comes after 164 more zones.
        assert_eq!(entries[..264], (1..=264).collect::<Vec<_>>());
        assert_eq!(entries[264..], (100..136).collect::<Vec<_>>());
    }
}
