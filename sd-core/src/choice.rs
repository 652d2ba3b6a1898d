//! Random choices among many.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

use crate::settings::random::RandomSource;

/// How many elements a permutation may have to be kept whole, and how many displaced places of a longer one are kept
/// without allocating.
const FEW: usize = 16;

/// The longest permutation whose places are all written down once there are more: a list of 64 KiB, made in a microsecond.
const SHORT: u32 = 16 * 1024;

/// A random permutation of `0..len`, made one element at a time: taking `k` elements costs `O(k)`, whatever `len` is.
///
/// A Fisher–Yates shuffle that keeps only the places it has touched; the first of them without allocating. It draws one
/// number for several elements.
pub struct Permutation<'a> {
    draws: Draws<'a>,
    len: u32,
    taken: u32,
    places: Places,
}

/// Draws numbers, several from one of the source.
struct Draws<'a> {
    random: &'a dyn RandomSource,
    /// What is left of the last number that was drawn.
    drawn: u64,
    /// How many outcomes that number has decided between.
    outcomes: u64,
}

/// What stands at each place: the place itself, until a swap has put something else there.
enum Places {
    /// Of few places, all.
    Whole([u8; FEW]),
    /// The displaced ones.
    Few([(u32, u32); FEW], usize),
    /// All of them: with more displaced ones this costs less than to look them up.
    List(Vec<u32>),
    /// The displaced ones of many.
    Many(HashMap<u32, u32, BuildHasherDefault<Spread>>),
}

/// Spreads the numbers of places, which are our own and need no defence.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, place: u32) {
        // An odd number near 2^64 divided by the golden ratio: neighbours end up far from each other.
        self.0 = (self.0 ^ u64::from(place)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Places {
    const IN_ORDER: [u8; FEW] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    fn of(len: u32) -> Self {
        if len as usize <= FEW { Self::Whole(Self::IN_ORDER) } else { Self::Few([(0, 0); FEW], 0) }
    }

    /// Exchanges what stands at two places of a permutation of this length, and returns what came to the first one, which
    /// is never looked at again.
    #[inline]
    fn swap(&mut self, first: u32, other: u32, len: u32) -> u32 {
        if let Self::Whole(all) = self {
            all.swap(first as usize, other as usize);
            return u32::from(all[first as usize]);
        }
        let value = self.at(other);
        if first != other {
            let displaced = self.at(first);
            self.put(other, displaced, len);
        }
        value
    }

    fn at(&self, place: u32) -> u32 {
        match self {
            Self::Whole(all) => all.get(place as usize).copied().map(u32::from),
            Self::Few(few, len) => few[..*len].iter().find(|entry| entry.0 == place).map(|entry| entry.1),
            Self::List(all) => all.get(place as usize).copied(),
            Self::Many(many) => many.get(&place).copied(),
        }
        .unwrap_or(place)
    }

    fn put(&mut self, place: u32, value: u32, permutation: u32) {
        match self {
            Self::Whole(_) => {}
            Self::Few(few, len) => {
                if let Some(entry) = few[..*len].iter_mut().find(|entry| entry.0 == place) {
                    entry.1 = value;
                } else if *len < FEW {
                    few[*len] = (place, value);
                    *len += 1;
                } else {
                    let few = *few;
                    *self = if permutation <= SHORT {
                        Self::List((0..permutation).collect())
                    } else {
                        Self::Many(HashMap::default())
                    };
                    few.into_iter().for_each(|(place, value)| self.put(place, value, permutation));
                    self.put(place, value, permutation);
                }
            }
            Self::List(all) => {
                if let Some(entry) = all.get_mut(place as usize) {
                    *entry = value;
                }
            }
            Self::Many(many) => {
                many.insert(place, value);
            }
        }
    }
}

impl<'a> Draws<'a> {
    /// A number may decide between so many outcomes: the bias stays below 2^-32, which is of no matter here.
    const MAX_OUTCOMES: u64 = 1 << 32;

    fn new(random: &'a dyn RandomSource) -> Self {
        Self { random, drawn: 0, outcomes: u64::MAX }
    }

    /// A number below `limit`, by the multiply-shift method: the upper half of the product is the number, and the lower
    /// half is as good for the next one (Brackett-Rozinsky and Lemire, Batched Ranged Random Integer Generation).
    #[inline]
    fn below(&mut self, limit: u32) -> u32 {
        if limit == 1 {
            return 0;
        }
        self.outcomes = self.outcomes.saturating_mul(u64::from(limit));
        if self.outcomes > Self::MAX_OUTCOMES {
            self.drawn = self.random.next_u64();
            self.outcomes = u64::from(limit);
        }
        let wide = u128::from(self.drawn) * u128::from(limit);
        self.drawn = wide as u64;
        (wide >> 64) as u32
    }
}

impl<'a> Permutation<'a> {
    /// A permutation of `0..len`.
    #[must_use]
    pub fn new(len: u32, random: &'a dyn RandomSource) -> Self {
        Self { draws: Draws::new(random), len, taken: 0, places: Places::of(len) }
    }
}

impl Iterator for Permutation<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let left = self.len - self.taken;
        if left == 0 {
            return None;
        }
        let chosen = self.taken + self.draws.below(left);
        let value = self.places.swap(self.taken, chosen, self.len);
        self.taken += 1;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.len - self.taken) as usize;
        (left, Some(left))
    }
}

impl fmt::Debug for Permutation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permutation").field("len", &self.len).field("taken", &self.taken).finish()
    }
}

/// The most numbers among which those that were chosen are marked: 16 KiB of bits.
const MARKED: u32 = 128 * 1024;

/// How many numbers are drawn for each that is wanted before [`choose`] stops drawing. At most half of the
/// numbers are wanted, so that a uniform source needs two for each at the most, and in the mean less.
const DRAWS: usize = 4;

/// Chooses `count` of the numbers `0..len`, in random order; all of them if there are not more.
///
/// Like taking `count` elements of a [`Permutation`], but faster: while few of many are chosen, a number that
/// repeats is drawn again. A source that repeats itself ends in a permutation.
pub(crate) fn choose(count: usize, len: u32, random: &dyn RandomSource) -> Vec<u32> {
    let mut draws = Draws::new(random);
    let wanted = u32::try_from(count).unwrap_or(u32::MAX).min(len);
    if wanted > len / 2 {
        let mut all: Vec<u32> = (0..len).collect();
        for (place, left) in (0..wanted as usize).zip((1..=len).rev()) {
            all.swap(place, place + draws.below(left) as usize);
        }
        all.truncate(wanted as usize);
        return all;
    }
    if len > MARKED {
        return Permutation::new(len, random).take(count).collect();
    }
    let mut marks = vec![0u64; len.div_ceil(u64::BITS) as usize];
    let mut chosen = Vec::with_capacity(wanted as usize);
    for _ in 0..DRAWS * (wanted as usize + u64::BITS as usize) {
        if chosen.len() == wanted as usize {
            return chosen;
        }
        let number = draws.below(len);
        let (marks, mark) = (&mut marks[(number / u64::BITS) as usize], 1 << (number % u64::BITS));
        if *marks & mark == 0 {
            *marks |= mark;
            chosen.push(number);
        }
    }
    Permutation::new(len, random).take(wanted as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::random::SeededRandom;

    #[test]
    fn a_permutation_has_every_number_once() {
        for len in [0, 1, 2, 7, 8, 9, 15, 16, 17, 18, 100, SHORT, SHORT + 1] {
            let mut all: Vec<u32> = Permutation::new(len, &SeededRandom::new(7)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_number_comes_first_about_equally_often() {
        let random = SeededRandom::new(1);
        let mut first = [0u32; 10];
        for _ in 0..10_000 {
            first[Permutation::new(10, &random).next().unwrap() as usize] += 1;
        }
        assert!(first.iter().all(|n| (800..1200).contains(n)), "{first:?}");
    }

    #[test]
    fn every_order_comes_about_equally_often() {
        let random = SeededRandom::new(1);
        let mut orders = HashMap::<Vec<u32>, u32>::new();
        for _ in 0..24_000 {
            *orders.entry(Permutation::new(4, &random).collect()).or_default() += 1;
        }
        assert_eq!(orders.len(), 24);
        assert!(orders.values().all(|n| (850..1150).contains(n)), "{orders:?}");
    }

    #[test]
    fn every_number_stands_at_every_place_about_equally_often() {
        // One of those that are kept whole and one of the others, the last elements of which need a second number.
        for len in [16, 20] {
            let random = SeededRandom::new(2);
            let mut found = vec![vec![0u32; len]; len];
            for _ in 0..1000 * len {
                for (place, number) in Permutation::new(len as u32, &random).enumerate() {
                    found[place][number as usize] += 1;
                }
            }
            assert!(found.iter().flatten().all(|n| (850..1150).contains(n)), "{found:?}");
        }
    }

    #[test]
    fn what_is_kept_does_not_change_the_choices() {
        for len in [10, 100, 1000, SHORT, SHORT + 1, 100_000] {
            let (random, again) = (SeededRandom::new(5), SeededRandom::new(5));
            let mut plain = Permutation::new(len, &random);
            let mut all: Vec<u32> = (0..len).collect();
            let taken = len.min(100);
            (0..taken).for_each(|i| all.swap(i as usize, (i + plain.draws.below(len - i)) as usize));
            all.truncate(taken as usize);
            assert_eq!(Permutation::new(len, &again).take(100).collect::<Vec<_>>(), all, "{len}");
        }
    }

    #[test]
    fn as_many_are_chosen_as_are_wanted_and_none_twice() {
        let random = SeededRandom::new(6);
        for len in [0, 1, 2, 3, 7, 64, 65, 199, 200, 201, 1000, MARKED, MARKED + 1] {
            for count in [0, 1, 2, 3, 32, 100, 1000] {
                let mut chosen = choose(count, len, &random);
                assert_eq!(chosen.len(), count.min(len as usize), "{count} of {len}");
                assert!(chosen.iter().all(|number| *number < len), "{count} of {len}");
                chosen.sort_unstable();
                chosen.dedup();
                assert_eq!(chosen.len(), count.min(len as usize), "{count} of {len}");
            }
        }
    }

    #[test]
    fn a_source_that_repeats_chooses_as_many() {
        #[derive(Debug)]
        struct Fixed(u64);
        impl RandomSource for Fixed {
            fn next_u64(&self) -> u64 {
                self.0
            }
        }
        for number in [0, 4, 1 << 63, u64::MAX] {
            for (count, len) in [(2, 10), (5, 10), (9, 10), (100, 1000), (100, MARKED), (100, MARKED + 1)] {
                let mut chosen = choose(count, len, &Fixed(number));
                chosen.sort_unstable();
                chosen.dedup();
                assert_eq!(chosen.len(), count, "{count} of {len} with {number}");
            }
        }
    }

    #[test]
    fn every_order_of_chosen_ones_comes_about_equally_often() {
        // Both ways to choose: two of five are few, three are not.
        for (count, orders) in [(2, 20), (3, 60)] {
            let random = SeededRandom::new(1);
            let mut found = HashMap::<Vec<u32>, u32>::new();
            for _ in 0..1000 * orders {
                *found.entry(choose(count, 5, &random)).or_default() += 1;
            }
            assert_eq!(found.len(), orders);
            assert!(found.values().all(|n| (850..1150).contains(n)), "{found:?}");
        }
    }

    #[test]
    fn eight_elements_cost_one_number() {
        #[derive(Debug, Default)]
        struct Counting(std::sync::atomic::AtomicU64);
        impl RandomSource for Counting {
            fn next_u64(&self) -> u64 {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            }
        }
        let random = Counting::default();
        assert_eq!(Permutation::new(8, &random).count(), 8);
        assert_eq!(random.0.into_inner(), 1);
    }

    #[test]
    fn a_seed_repeats_its_choices() {
        let run = || Permutation::new(1000, &SeededRandom::new(3)).take(20).collect::<Vec<_>>();
        assert_eq!(run(), run());
        assert_ne!(run(), Permutation::new(1000, &SeededRandom::new(4)).take(20).collect::<Vec<_>>());
    }
}
