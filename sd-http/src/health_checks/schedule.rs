//! What is due when: one ordered set for all instances, in two lanes.
//!
//! Targets that let the prober wait have a lane and sockets of their own, so they delay only each
//! other.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// Which sockets a probe uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Those of targets that answer soon, or are not known.
    Quick,
    /// Those of targets that let the prober wait.
    Slow,
}

/// The next probe of each entry.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    quick: BTreeSet<(Duration, u64)>,
    slow: BTreeSet<(Duration, u64)>,
    /// Where each entry is in the sets.
    places: HashMap<u64, (Lane, Duration)>,
}

impl Schedule {
    fn lane(&mut self, lane: Lane) -> &mut BTreeSet<(Duration, u64)> {
        match lane {
            Lane::Quick => &mut self.quick,
            Lane::Slow => &mut self.slow,
        }
    }

    /// Sets when an entry is due, in place of when it was due before.
    pub(super) fn set(&mut self, entry: u64, lane: Lane, due: Duration) {
        self.remove(entry);
        self.places.insert(entry, (lane, due));
        self.lane(lane).insert((due, entry));
    }

    pub(super) fn remove(&mut self, entry: u64) {
        if let Some((lane, due)) = self.places.remove(&entry) {
            self.lane(lane).remove(&(due, entry));
        }
    }

    /// Takes the entry of the lane that has been due for the longest time, and when it was due.
    pub(super) fn take_due(&mut self, lane: Lane, now: Duration) -> Option<(u64, Duration)> {
        let (due, entry) = self.lane(lane).first().copied().filter(|(due, _)| *due <= now)?;
        self.remove(entry);
        Some((entry, due))
    }

    /// When the next entry of the lane is due.
    pub(super) fn next(&mut self, lane: Lane) -> Option<Duration> {
        self.lane(lane).first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn entries_are_taken_in_the_order_in_which_they_are_due() {
        let mut schedule = Schedule::default();
        for (entry, due) in [(1, 3), (2, 1), (3, 2), (4, 9)] {
            schedule.set(entry, Lane::Quick, at(due));
        }
        schedule.set(5, Lane::Slow, at(0));
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take_due(Lane::Quick, at(5))).collect();
        assert_eq!(taken, [(2, at(1)), (3, at(2)), (1, at(3))]);
        assert_eq!((schedule.next(Lane::Quick), schedule.next(Lane::Slow)), (Some(at(9)), Some(at(0))));
    }

    #[test]
    fn an_entry_is_due_once() {
        let mut schedule = Schedule::default();
        schedule.set(1, Lane::Quick, at(1));
        schedule.set(1, Lane::Slow, at(2));
        assert_eq!(schedule.take_due(Lane::Quick, at(9)), None);
        schedule.set(2, Lane::Slow, at(1));
        schedule.remove(2);
        assert_eq!(schedule.take_due(Lane::Slow, at(9)), Some((1, at(2))));
        assert_eq!(schedule.take_due(Lane::Slow, at(9)), None);
    }
}
