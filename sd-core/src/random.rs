//! Randomness as a dependency: which instances are picked, and in which order.
//!
//! The choice need not be secret, so a fast generator serves; it is seeded by the operating system.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::{Mutex, PoisonError},
};

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{RngCore, SeedableRng},
};

/// Where random choices come from.
pub trait RandomSource: fmt::Debug + Send + Sync + 'static {
    /// A uniformly distributed number.
    fn next_u64(&self) -> u64;
}

impl<S: RandomSource + ?Sized> RandomSource for std::sync::Arc<S> {
    fn next_u64(&self) -> u64 {
        S::next_u64(self)
    }
}

/// A generator per thread, seeded by the operating system. The default.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ThreadRandom;

impl RandomSource for ThreadRandom {
    fn next_u64(&self) -> u64 {
        with_os_seeded(Xoshiro256PlusPlus::next_u64)
    }
}

/// The same choices in every run.
#[derive(Debug)]
pub struct SeededRandom(Mutex<Xoshiro256PlusPlus>);

impl SeededRandom {
    /// A generator that starts from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Xoshiro256PlusPlus::seed_from_u64(seed)))
    }
}

impl RandomSource for SeededRandom {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

/// Runs with this thread's generator.
pub(crate) fn with_os_seeded<T>(run: impl FnOnce(&mut Xoshiro256PlusPlus) -> T) -> T {
    thread_local! {
        static RNG: RefCell<Xoshiro256PlusPlus> = RefCell::new(Xoshiro256PlusPlus::from_seed(os_seed()));
    }
    RNG.with_borrow_mut(run)
}

/// The keys of std's hash maps are random numbers of the system; hashes by them are as hard to guess.
fn os_seed() -> [u8; 32] {
    let keys = RandomState::new();
    let mut seed = [0; 32];
    for (i, part) in seed.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&keys.hash_one(i).to_ne_bytes());
    }
    seed
}

/// How many displaced places a permutation keeps without allocating.
const FEW: usize = 8;

/// The longest permutation whose places are all written down once there are more: a list of 64 KiB, made in a microsecond.
const SHORT: u32 = 16 * 1024;

/// A random permutation of `0..len`, made one element at a time: taking `k` elements costs `O(k)`, whatever `len` is.
///
/// A Fisher–Yates shuffle that keeps only the places it has touched; the first eight of them without allocating. Beyond
/// that a short permutation keeps all of its places, which costs less than to look the touched ones up.
pub struct Permutation<'a> {
    random: &'a dyn RandomSource,
    len: u32,
    taken: u32,
    places: Places,
}

/// What stands at the places of a permutation: the place itself, until a swap has put something else there.
enum Places {
    Few([(u32, u32); FEW], usize),
    All(Vec<u32>),
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
    fn at(&self, place: u32) -> u32 {
        match self {
            Self::Few(few, len) => few[..*len].iter().find(|entry| entry.0 == place).map(|entry| entry.1),
            Self::All(all) => all.get(place as usize).copied(),
            Self::Many(many) => many.get(&place).copied(),
        }
        .unwrap_or(place)
    }

    /// Puts a value at a place of a permutation of this length.
    fn put(&mut self, place: u32, value: u32, permutation: u32) {
        match self {
            Self::Few(few, len) => {
                if let Some(entry) = few[..*len].iter_mut().find(|entry| entry.0 == place) {
                    entry.1 = value;
                } else if *len < FEW {
                    few[*len] = (place, value);
                    *len += 1;
                } else {
                    let few = *few;
                    *self = if permutation <= SHORT {
                        Self::All((0..permutation).collect())
                    } else {
                        Self::Many(HashMap::default())
                    };
                    few.into_iter().for_each(|(place, value)| self.put(place, value, permutation));
                    self.put(place, value, permutation);
                }
            }
            Self::All(all) => {
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

impl<'a> Permutation<'a> {
    /// A permutation of `0..len`.
    #[must_use]
    pub fn new(len: u32, random: &'a dyn RandomSource) -> Self {
        Self { random, len, taken: 0, places: Places::Few([(0, 0); FEW], 0) }
    }
}

impl Iterator for Permutation<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let left = self.len - self.taken;
        if left == 0 {
            return None;
        }
        let chosen = self.taken + below(left, self.random);
        let value = self.places.at(chosen);
        let displaced = self.places.at(self.taken);
        if chosen != self.taken {
            self.places.put(chosen, displaced, self.len);
        }
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

/// A number below `limit` (which is not 0), by the multiply-shift method; the bias of at most 2^-32 is of no matter here.
fn below(limit: u32, random: &dyn RandomSource) -> u32 {
    let wide = (random.next_u64() >> 32) * u64::from(limit);
    (wide >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_has_every_number_once() {
        for len in [0, 1, 2, 7, 8, 9, 100, SHORT, SHORT + 1] {
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
    fn what_is_kept_does_not_change_the_choices() {
        let expected = |len: u32| {
            let random = SeededRandom::new(5);
            let mut all: Vec<u32> = (0..len).collect();
            (0..100).for_each(|i| all.swap(i, i + below(len - i as u32, &random) as usize));
            all.truncate(100);
            all
        };
        for len in [100, 1000, SHORT, SHORT + 1, 100_000] {
            let chosen: Vec<u32> = Permutation::new(len, &SeededRandom::new(5)).take(100).collect();
            assert_eq!(chosen, expected(len), "{len}");
        }
    }

    #[test]
    fn a_seed_repeats_its_choices() {
        let run = || Permutation::new(1000, &SeededRandom::new(3)).take(20).collect::<Vec<_>>();
        assert_eq!(run(), run());
        assert_ne!(run(), Permutation::new(1000, &SeededRandom::new(4)).take(20).collect::<Vec<_>>());
    }
}
