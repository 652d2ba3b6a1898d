//! What a server has answered, in numbers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hashbrown::HashMap;
use sd_core::name::DnsName;

use crate::{
    name_table::{ZoneKey, Zones},
    wire::{Rcode, Transport},
};

/// What a [`DnsServer`](crate::DnsServer) has answered since it was bound: see
/// [`counters`](crate::DnsServer::counters).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Answers in datagrams.
    pub udp: u64,
    /// Answers in connections.
    pub tcp: u64,
    /// Answers by the type that was asked for, such as 1 for A. Those to messages without a question that can be read are
    /// in none.
    pub by_type: BTreeMap<u16, u64>,
    /// Answers by their code, such as 3 for NXDOMAIN (RFC 6895 section 2.3).
    pub by_rcode: BTreeMap<u16, u64>,
    /// Answers by the zone of the name that was asked for, of the zones that are answered from now. Those that are refused
    /// are in none.
    pub by_zone: BTreeMap<DnsName, u64>,
    /// Answers of upstreams that were passed on, from the cache of the [`Forwarder`](crate::Forwarder) or
    /// not. They are among the answers above.
    pub forwarded: u64,
    /// How often the [`Forwarder`](crate::Forwarder) had an answer in its cache, for all servers that share
    /// it. A chain of aliases may need several answers.
    pub cache_hits: u64,
    /// How often it had to wait for upstreams instead.
    pub cache_misses: u64,
    /// Messages that are not answered: shorter than a header, responses, or from an address that no answer
    /// can reach.
    pub ignored: u64,
    /// Datagrams that the system refused to send, of the answers above.
    pub unsent: u64,
    /// How long answers took.
    pub latency: Latency,
}

/// How many answers took how long, from when the query was taken from its socket to when the answer was handed to the
/// system. Answers that go together take as long as all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; Self::BUCKETS],
    sum: Duration,
}

impl Latency {
    /// The last one has no upper bound.
    const BUCKETS: usize = 24;

    /// Upper bounds, each twice the one before, from 1 µs on, with the numbers of answers that took less than this and no
    /// less than the bound before. The last one, [`Duration::MAX`], bounds nothing.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.counts.iter().enumerate().map(|(number, count)| {
            let is_last = number == Self::BUCKETS - 1;
            (if is_last { Duration::MAX } else { Duration::from_micros(1 << number) }, *count)
        })
    }

    /// How many answers there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long all of them took together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    fn add(&mut self, took: Duration, answers: u64) {
        let bits = u128::BITS - took.as_micros().leading_zeros();
        self.counts[(bits as usize).min(Self::BUCKETS - 1)] += answers;
        self.sum = self.sum.saturating_add(took.saturating_mul(u32::try_from(answers).unwrap_or(u32::MAX)));
    }
}

/// What is counted of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The type that was asked for, if there is a question.
    pub(crate) kind: Option<u16>,
    /// The zone of the name that was asked for, if it is one of ours.
    pub(crate) zone: Option<ZoneKey>,
    pub(crate) rcode: u16,
    /// Whether another server has said it.
    pub(crate) forwarded: bool,
}

/// The counters of one worker, who alone writes them: it locks them once for many answers.
#[derive(Debug)]
pub(crate) struct WorkerCounters(Mutex<Counts>);

impl WorkerCounters {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Counts::new()))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Counts {
    udp: u64,
    tcp: u64,
    /// Of the types that have names; the others are few.
    types: [u64; Self::USUAL_TYPES],
    other_types: HashMap<u16, u64>,
    rcodes: [u64; Self::RCODES],
    /// Rows of deleted zones are dropped when there are more than [`Self::max_zones`].
    zones: HashMap<ZoneKey, u64>,
    forwarded: u64,
    ignored: u64,
    unsent: u64,
    latency: Latency,
}

impl Counts {
    const USUAL_TYPES: usize = 260;
    const RCODES: usize = Rcode::BadVers as usize + 1;
    /// Bounds the memory that clients can fill with unusual types.
    const MAX_OTHER_TYPES: usize = 1000;

    /// The most rows of zones for a table: dropping rows takes as many steps as there are, so it happens
    /// rarely.
    fn max_zones(zones: &Zones) -> usize {
        2 * zones.keys_len() + 64
    }

    pub(crate) fn new() -> Self {
        Self {
            udp: 0,
            tcp: 0,
            types: [0; Self::USUAL_TYPES],
            other_types: HashMap::new(),
            rcodes: [0; Self::RCODES],
            zones: HashMap::new(),
            forwarded: 0,
            ignored: 0,
            unsent: 0,
            latency: Latency::default(),
        }
    }

    /// Counts an answer. `zones` are those that there are now.
    pub(crate) fn answered(&mut self, transport: Transport, answered: Answered, zones: &Zones) {
        match transport {
            Transport::Udp => self.udp += 1,
            Transport::Tcp => self.tcp += 1,
        }
        if let Some(kind) = answered.kind {
            match self.types.get_mut(usize::from(kind)) {
                Some(count) => *count += 1,
                None => {
                    let is_there = self.other_types.contains_key(&kind);
                    if is_there || self.other_types.len() < Self::MAX_OTHER_TYPES {
                        *self.other_types.entry(kind).or_default() += 1;
                    }
                }
            }
        }
        if let Some(count) = self.rcodes.get_mut(usize::from(answered.rcode)) {
            *count += 1;
        }
        self.forwarded += u64::from(answered.forwarded);
        if let Some(zone) = answered.zone {
            *self.zones.entry(zone).or_default() += 1;
            self.drop_deleted(zones);
        }
    }

    /// Drops the rows of deleted zones if there are too many rows.
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

    pub(crate) fn took(&mut self, took: Duration, answers: usize) {
        if answers > 0 {
            self.latency.add(took, answers as u64);
        }
    }

    /// Adds what another one has counted. `zones` are those that there are now.
    pub(crate) fn merge(&mut self, other: &Self, zones: &Zones) {
        self.udp += other.udp;
        self.tcp += other.tcp;
        let add =
            |all: &mut [u64], more: &[u64]| all.iter_mut().zip(more).for_each(|(sum, count)| *sum += count);
        add(&mut self.types, &other.types);
        add(&mut self.rcodes, &other.rcodes);
        add(&mut self.latency.counts, &other.latency.counts);
        self.latency.sum = self.latency.sum.saturating_add(other.latency.sum);
        for (kind, count) in &other.other_types {
            *self.other_types.entry(*kind).or_default() += count;
        }
        for (zone, count) in &other.zones {
            *self.zones.entry(*zone).or_default() += count;
        }
        self.drop_deleted(zones);
        self.forwarded += other.forwarded;
        self.ignored += other.ignored;
        self.unsent += other.unsent;
    }

    /// All of it. `zones` are those that there are now.
    pub(crate) fn snapshot(self, zones: &Zones) -> Counters {
        let usual = (0..).zip(self.types).filter(|(_, count)| *count > 0);
        let by_zone = zones.names().filter_map(|(key, name)| Some((name, *self.zones.get(&key)?)));
        Counters {
            udp: self.udp,
            tcp: self.tcp,
            by_type: usual.chain(self.other_types).collect(),
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
        for (nanos, answers) in [(999, 1), (1000, 2), (1999, 3), (2000, 4), (4_000_000, 5), (u64::MAX, 6)] {
            latency.add(Duration::from_nanos(nanos), answers);
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

    fn answer(zone: ZoneKey) -> Answered {
        Answered { kind: Some(1), zone: Some(zone), rcode: Rcode::NoError.into(), forwarded: false }
    }

    #[test]
    fn counts_of_workers_add_up_and_unusual_types_are_bounded() {
        let zones = Zones::with_keys([3, 4]);
        let mut sum = Counts::new();
        for _ in 0..2 {
            let mut counts = Counts::new();
            for kind in 0..5000 {
                let answered = Answered {
                    kind: Some(kind),
                    zone: Some(3),
                    rcode: Rcode::NxDomain.into(),
                    forwarded: true,
                };
                counts.answered(Transport::Udp, answered, &zones);
            }
            counts.answered(
                Transport::Tcp,
                Answered { kind: None, zone: None, rcode: Rcode::BadVers.into(), forwarded: false },
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
        assert_eq!(counters.by_type.len(), Counts::USUAL_TYPES + Counts::MAX_OTHER_TYPES);
        assert!(counters.by_type.values().all(|count| *count == 2));
        assert_eq!(counters.by_rcode, [(3, 10_000), (16, 2)].into());
        assert_eq!(counters.by_zone, [(name(3), 10_000)].into());
        assert_eq!((counters.latency.count(), counters.latency.sum()), (14, Duration::from_secs(14)));
    }

    #[test]
    fn counts_of_deleted_zones_are_dropped_and_the_others_stay() {
        // A test suite that makes a zone, asks and deletes it, beside zones that stay.
        let (mut counts, mut closed) = (Counts::new(), Counts::new());
        let mut most = 0;
        for key in 10..500 {
            let zones = Zones::with_keys([1, 2, key]);
            for zone in [1, key] {
                counts.answered(Transport::Udp, answer(zone), &zones);
            }
            let mut worker = Counts::new();
            worker.answered(Transport::Udp, answer(key), &zones);
            closed.merge(&worker, &zones);
            most = most.max(counts.zones.len()).max(closed.zones.len());
        }
        assert!(most <= 2 * 3 + 64, "{most}");
        let zones = Zones::with_keys([1, 2]);
        counts.answered(Transport::Udp, answer(2), &zones);
        assert_eq!(counts.snapshot(&zones).by_zone, [(name(1), 490), (name(2), 1)].into());
    }

    #[test]
    fn rows_of_deleted_zones_are_dropped_only_when_they_are_more_than_the_others() {
        let zones = Zones::with_keys(0..100);
        let mut counts = Counts::new();
        let mut rows = Vec::new();
        for key in 0..300 {
            counts.answered(Transport::Udp, answer(key), &zones);
            rows.push(counts.zones.len());
        }
        // Each drop takes as many steps as there are rows, and 164 zones must come and go before the next one.
        assert_eq!(rows[..264], (1..=264).collect::<Vec<_>>());
        assert_eq!(rows[264..], (100..136).collect::<Vec<_>>());
    }
}
