//! Caches responses of upstreams.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{Weighter, sync};
use tokio::time::Instant;

use super::Outcome;
use crate::wire::{upstream_query::UpstreamQuery, upstream_response::UpstreamResponse};

/// How long a failure of all upstreams is cached (RFC 9520 section 3.2 demands at least 1 s).
const FAILURE_TTL: Duration = Duration::from_secs(1);

/// Responses by query, up to a number of octets. The least used ones are evicted first. The clock is tokio's.
#[derive(Debug)]
pub(super) struct Cache {
    /// `None` if the cache is off.
    entries: Option<sync::Cache<UpstreamQuery, Arc<Entry>, Octets>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    /// `None` if all upstreams failed.
    response: Outcome,
    since: Instant,
    lifetime: Duration,
}

/// Weighs entries by the octets that they take, roughly.
#[derive(Clone, Copy, Debug)]
struct Octets;

impl Octets {
    /// The octets of an entry besides question and response: allocations, indices, data of the eviction.
    const FIXED: usize = 256;
}

impl Weighter<UpstreamQuery, Arc<Entry>> for Octets {
    fn weight(&self, query: &UpstreamQuery, entry: &Arc<Entry>) -> u64 {
        let response = entry.response.as_ref().map_or(0, |response| response.octets().len());
        (Self::FIXED + query.question().len() + response) as u64
    }
}

impl Cache {
    /// The octets of a typical entry, from which the number of entries is estimated. Only their sum is bounded.
    const TYPICAL: usize = 2 * Octets::FIXED;

    /// A cache of this many octets; 0 turns it off.
    pub(super) fn new(octets: usize) -> Self {
        let entries = (octets > 0)
            .then(|| sync::Cache::with_weighter(octets.div_ceil(Self::TYPICAL), octets as u64, Octets));
        Self { entries, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// The cached outcome, with the remaining TTLs. Counts a hit.
    pub(super) fn get(&self, query: &UpstreamQuery) -> Option<Outcome> {
        let entry = self.entries.as_ref()?.get(query)?;
        let age = entry.since.elapsed();
        if age >= entry.lifetime {
            self.entries.as_ref()?.remove_if(query, |found| Arc::ptr_eq(found, &entry));
            return None;
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        Some(entry.response.as_ref().map(|response| match seconds {
            0 => Arc::clone(response),
            1.. => Arc::new(response.aged(seconds)),
        }))
    }

    /// Counts a miss.
    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Caches an outcome if it is cacheable.
    pub(super) fn insert(&self, query: &UpstreamQuery, outcome: &Outcome) {
        let Some(entries) = &self.entries else { return };
        let entry = match outcome {
            None => Some((None, FAILURE_TTL)),
            // Without EDNS an upstream leaves out the records of DNSSEC.
            Some(response) if query.wants_dnssec() && !response.has_edns => None,
            // Each hit reads the whole response, which delays other queries.
            Some(response) if !response.is_small() => None,
            Some(response) => bounded(response).map(|(response, lifetime)| (Some(response), lifetime)),
        };
        if let Some((response, lifetime)) = entry {
            entries.insert(query.clone(), Arc::new(Entry { response, since: Instant::now(), lifetime }));
        }
    }

    /// Hits and misses.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

/// The response as it is cached, and for how long.
fn bounded(response: &UpstreamResponse) -> Option<(Arc<UpstreamResponse>, Duration)> {
    let lifetime = response.lifetime()?;
    Some((Arc::new(response.bounded(lifetime)), Duration::from_secs(lifetime.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for this name, and a response with one address and `more` octets of padding.
    fn exchange(name: &[u8], ttl: u32, more: usize) -> (UpstreamQuery, Outcome) {
        let query = UpstreamQuery::new(name, 1);
        let header = [0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
        let address = [&b"\xC0\x0C\0\x01\0\x01"[..], &ttl.to_be_bytes(), b"\0\x04\x0A\0\0\x01"].concat();
        let text = [&b"\xC0\x0C\0\x10\0\x01"[..], &ttl.to_be_bytes(), &(more as u16).to_be_bytes()].concat();
        let octets = [&header[..], query.question(), &address, &text, &vec![0; more]].concat();
        let response = UpstreamResponse::read(octets, 0, query.question()).unwrap();
        (query, Some(Arc::new(response)))
    }

    #[tokio::test(start_paused = true)]
    async fn the_size_is_bounded() {
        const SIZE: usize = 1 << 20;
        let cache = Cache::new(SIZE);
        for number in 0..20_000_u32 {
            let label = format!("{number:08}");
            let more = if number % 100 == 0 { 60_000 } else { 10 };
            let (query, outcome) = exchange(&[b"\x08", label.as_bytes(), b"\0"].concat(), 60, more);
            cache.insert(&query, &outcome);
            let failed = UpstreamQuery::new(&[b"\x08", label.as_bytes(), b"\0"].concat(), 28);
            cache.insert(&failed, &None);
        }
        let entries = cache.entries.as_ref().unwrap();
        assert!(entries.weight() <= SIZE as u64);
        assert!(
            (SIZE / 4 / Octets::FIXED..=SIZE / Octets::FIXED).contains(&entries.len()),
            "{}",
            entries.len()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn used_responses_survive_a_flood_of_names() {
        let cache = Cache::new(1 << 20);
        let (used, outcome) = exchange(b"\x04used\0", 600, 10);
        cache.insert(&used, &outcome);
        for number in 0..50_000_u32 {
            let label = format!("{number:08}");
            let (query, outcome) = exchange(&[b"\x08", label.as_bytes(), b"\0"].concat(), 60, 10);
            cache.insert(&query, &outcome);
            if number % 100 == 0 {
                assert!(cache.get(&used).is_some(), "{number}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_entry_is_removed_when_it_is_looked_up() {
        let cache = Cache::new(1 << 20);
        let (query, outcome) = exchange(b"\x03web\0", 60, 10);
        cache.insert(&query, &outcome);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(cache.get(&query).is_none());
        assert_eq!(cache.entries.as_ref().unwrap().len(), 0);
        assert_eq!(cache.counts(), (0, 0));
    }
}
