//! Answers of upstreams that are kept for their TTLs.

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
use crate::wire::{asked::Asked, response::Response};

/// How long a failure of all upstreams is kept (RFC 9520 section 3.2 demands at least 1 s).
const FAILURE: Duration = Duration::from_secs(1);

/// Responses by question, up to a number of octets. What is used least is evicted first.
///
/// The clock is tokio's, as for all of the forwarder.
#[derive(Debug)]
pub(super) struct Cache {
    /// `None` if nothing is kept.
    entries: Option<sync::Cache<Asked, Arc<Entry>, Octets>>,
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

/// Weighs entries by the octets that they take, about.
#[derive(Clone, Copy, Debug)]
struct Octets;

impl Octets {
    /// What an entry takes beside question and response: allocations, indices, the eviction's own data.
    const FIXED: usize = 256;
}

impl Weighter<Asked, Arc<Entry>> for Octets {
    fn weight(&self, asked: &Asked, entry: &Arc<Entry>) -> u64 {
        let response = entry.response.as_ref().map_or(0, |response| response.octets().len());
        (Self::FIXED + asked.question().len() + response) as u64
    }
}

impl Cache {
    /// The octets of a usual entry. The bound is on the sum, whatever single entries take.
    const USUAL: usize = 2 * Octets::FIXED;

    /// A cache of `size` octets; no cache if `size` is 0.
    pub(super) fn new(octets: usize) -> Self {
        let entries = (octets > 0)
            .then(|| sync::Cache::with_weighter(octets.div_ceil(Self::USUAL), octets as u64, Octets));
        Self { entries, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// What upstreams have answered, with what is left of its TTLs. `None` if that is not known.
    pub(super) fn get(&self, asked: &Asked) -> Option<Outcome> {
        let entry = self.entries.as_ref()?.get(asked)?;
        let age = entry.since.elapsed();
        if age >= entry.lifetime {
            self.entries.as_ref()?.remove_if(asked, |found| Arc::ptr_eq(found, &entry));
            return None;
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        Some(entry.response.as_ref().map(|response| match seconds {
            0 => Arc::clone(response),
            1.. => Arc::new(response.aged(seconds)),
        }))
    }

    /// Counts a question that upstreams have to answer.
    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps what upstreams have answered, if that may be kept.
    pub(super) fn insert(&self, asked: &Asked, outcome: &Outcome) {
        let Some(entries) = &self.entries else { return };
        let entry = match outcome {
            None => Some((None, FAILURE)),
            // An upstream without EDNS has left out what DNSSEC needs.
            Some(response) if asked.wants_dnssec() && !response.has_edns => None,
            // Each answer from the cache reads the whole response, before other queries have their turn.
            Some(response) if !response.is_small() => None,
            Some(response) => bounded(response).map(|(response, lifetime)| (Some(response), lifetime)),
        };
        if let Some((response, lifetime)) = entry {
            entries.insert(asked.clone(), Arc::new(Entry { response, since: Instant::now(), lifetime }));
        }
    }

    /// How many questions were answered from here, and how many were not.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

fn bounded(response: &Response) -> Option<(Arc<Response>, Duration)> {
    let lifetime = response.lifetime()?;
    Some((Arc::new(response.bounded(lifetime)), Duration::from_secs(lifetime.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with one address for this name, padded with `more` octets.
    fn answer(name: &[u8], ttl: u32, more: usize) -> (Asked, Outcome) {
        let asked = Asked::new(name, 1);
        let header = [0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
        let address = [&b"\xC0\x0C\0\x01\0\x01"[..], &ttl.to_be_bytes(), b"\0\x04\x0A\0\0\x01"].concat();
        let text = [&b"\xC0\x0C\0\x10\0\x01"[..], &ttl.to_be_bytes(), &(more as u16).to_be_bytes()].concat();
        let octets = [&header[..], asked.question(), &address, &text, &vec![0; more]].concat();
        let response = Response::read(octets, 0, asked.question()).unwrap();
        (asked, Some(Arc::new(response)))
    }

    #[tokio::test(start_paused = true)]
    async fn the_size_is_bounded_whatever_is_asked() {
        const SIZE: usize = 1 << 20;
        let cache = Cache::new(SIZE);
        for number in 0..20_000_u32 {
            let label = format!("{number:08}");
            let more = if number % 100 == 0 { 60_000 } else { 10 };
            let (asked, outcome) = answer(&[b"\x08", label.as_bytes(), b"\0"].concat(), 60, more);
            cache.insert(&asked, &outcome);
            let failed = Asked::new(&[b"\x08", label.as_bytes(), b"\0"].concat(), 28);
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
    async fn used_answers_survive_a_flood_of_names() {
        let cache = Cache::new(1 << 20);
        let (used, outcome) = answer(b"\x04used\0", 600, 10);
        cache.insert(&used, &outcome);
        for number in 0..50_000_u32 {
            let label = format!("{number:08}");
            let (asked, outcome) = answer(&[b"\x08", label.as_bytes(), b"\0"].concat(), 60, 10);
            cache.insert(&asked, &outcome);
            if number % 100 == 0 {
                assert!(cache.get(&used).is_some(), "{number}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_is_over_leaves_at_the_next_look() {
        let cache = Cache::new(1 << 20);
        let (asked, outcome) = answer(b"\x03web\0", 60, 10);
        cache.insert(&asked, &outcome);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(cache.get(&asked).is_none());
        assert_eq!(cache.entries.as_ref().unwrap().len(), 0);
        assert_eq!(cache.counts(), (0, 0));
    }
}
