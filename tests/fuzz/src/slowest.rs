//! The inputs that cost most. Time says which they are, roughly; what they cost is counted later, in
//! instructions.

use std::time::Instant;

/// The work of a decoder or of an answer path for an input. Returns whether the input is refused.
pub(crate) type Work = fn(&[u8]) -> bool;

/// The slowest inputs of each kind.
pub(crate) struct Slowest {
    work: Work,
    free: usize,
    refused: Vec<Slow>,
    taken: Vec<Slow>,
}

/// An input with the least time that it has taken, in picoseconds for each octet.
struct Slow {
    cost: u64,
    input: Vec<u8>,
}

impl Slowest {
    /// How many of each kind are looked at again while others are found.
    const KEPT: usize = 16;
    /// How many of each kind are written.
    const WRITTEN: usize = 4;
    /// How often an input is tried that seems to be slow: the machine may have done something else meanwhile.
    const TRIES: usize = 5;
    /// How often at the end.
    const LAST_TRIES: usize = 50;

    /// Inputs of fewer octets than `free` count as if they had as many.
    pub(crate) fn new(work: Work, free: usize) -> Self {
        Self { work, free, refused: Vec::new(), taken: Vec::new() }
    }

    /// Does the work for an input, and keeps it if it is one of the slowest.
    pub(crate) fn look_at(&mut self, input: &[u8]) {
        let (work, free) = (self.work, self.free);
        let (mut cost, is_refused) = timed(input, work, free);
        let kept = if is_refused { &mut self.refused } else { &mut self.taken };
        let least = if kept.len() < Self::KEPT { 0 } else { kept.last().map_or(0, |slow| slow.cost) };
        for _ in 1..Self::TRIES {
            if cost <= least {
                return;
            }
            cost = cost.min(timed(input, work, free).0);
        }
        if cost > least {
            // Those that have seemed slow by chance sink.
            again(kept, work, free);
            kept.push(Slow { cost, input: input.to_vec() });
            sort(kept);
            kept.truncate(Self::KEPT);
        }
    }

    pub(crate) fn merge(&mut self, mut other: Self) {
        self.refused.append(&mut other.refused);
        self.taken.append(&mut other.taken);
    }

    /// The slowest of all, each with a name for its file.
    pub(crate) fn files(mut self) -> impl Iterator<Item = (String, Vec<u8>)> {
        for kept in [&mut self.refused, &mut self.taken] {
            for _ in 0..Self::LAST_TRIES {
                again(kept, self.work, self.free);
            }
            sort(kept);
            kept.truncate(Self::WRITTEN);
        }
        let named = |kind: &'static str, kept: Vec<Slow>| {
            kept.into_iter().enumerate().map(move |(n, slow)| (format!("{kind}-{n}"), slow.input))
        };
        named("refused", self.refused).chain(named("taken", self.taken))
    }
}

fn again(kept: &mut [Slow], work: Work, free: usize) {
    for slow in kept {
        slow.cost = slow.cost.min(timed(&slow.input, work, free).0);
    }
}

/// The slowest first.
fn sort(kept: &mut [Slow]) {
    kept.sort_by_key(|slow| std::cmp::Reverse(slow.cost));
}

/// What an input costs now, and whether it is refused.
fn timed(input: &[u8], work: Work, free: usize) -> (u64, bool) {
    let started = Instant::now();
    let refused = work(input);
    let picoseconds = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_mul(1000);
    (picoseconds / input.len().max(free) as u64, refused)
}
