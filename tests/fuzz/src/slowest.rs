//! The slowest inputs. Time selects them roughly; slowest.py later counts their instructions.

use std::time::Instant;

use sd_fuzz::Work;

/// The slowest refused inputs, and the slowest accepted (`taken`) ones.
pub(crate) struct Slowest {
    work: Work,
    free: usize,
    refused: Vec<Slow>,
    taken: Vec<Slow>,
}

/// An input with the shortest time measured for it, in picoseconds per byte.
struct Slow {
    cost: u64,
    input: Vec<u8>,
}

impl Slowest {
    /// The number of inputs of each kind that are kept and measured again.
    const KEPT: usize = 16;
    /// The number of inputs of each kind that are written at the end.
    const WRITTEN: usize = 4;
    /// The number of times that a seemingly slow input is measured, because the machine may have been busy.
    const TRIES: usize = 5;
    /// The number of further measurements at the end.
    const LAST_TRIES: usize = 50;

    /// Inputs shorter than `free` bytes count as if they were that long.
    pub(crate) fn new(work: Work, free: usize) -> Self {
        Self { work, free, refused: Vec::new(), taken: Vec::new() }
    }

    /// Measures an input, and keeps it if it is one of the slowest.
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
            // Measures the kept inputs again, so that those which were slow by chance sink.
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

    /// The slowest inputs of all, each with a file name.
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

/// Measures the cost of an input. Also returns whether it is refused.
fn timed(input: &[u8], work: Work, free: usize) -> (u64, bool) {
    let started = Instant::now();
    let refused = work(input);
    let picoseconds = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_mul(1000);
    (picoseconds / input.len().max(free) as u64, refused)
}
