//! Randomness as a dependency: which instances are chosen, and in which order.
//!
//! Choices need not be unpredictable, so a fast generator suffices. The operating system seeds it.

use std::{
    cell::RefCell,
    fmt,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::Read,
    sync::{Mutex, PoisonError},
};

use rand_xoshiro::{
    Xoshiro256PlusPlus,
    rand_core::{RngCore, SeedableRng},
};

/// Where random choices come from.
///
/// # For implementers
/// - Discovery and DNS resolution ask, on their caller's thread, several times for an answer. Writes do not ask.
/// - Several threads ask at once. A lock around the numbers makes them wait for each other.
/// - The library may hold locks of its own meanwhile: [`next_u64`](Self::next_u64) does not block, does not panic, and calls
///   neither the handle nor its registry.
pub trait RandomSource: fmt::Debug + Send + Sync + 'static {
    /// A uniformly distributed number.
    ///
    /// A source that is not uniform, such as one that always returns the same number, makes choices unfair. They still end
    /// and still have no repetition.
    fn next_u64(&self) -> u64;
}

impl<S: RandomSource + ?Sized> RandomSource for std::sync::Arc<S> {
    fn next_u64(&self) -> u64 {
        S::next_u64(self)
    }
}

/// One generator for each thread, seeded by the operating system. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadRandom;

impl RandomSource for ThreadRandom {
    fn next_u64(&self) -> u64 {
        with_os_seeded(Xoshiro256PlusPlus::next_u64)
    }
}

/// A generator that makes the same choices in every run.
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

/// The generator of a thread, and the id of the process that seeded it.
struct Seeded {
    process: u32,
    generator: Xoshiro256PlusPlus,
}

impl Seeded {
    fn new(process: u32) -> Self {
        Self { process, generator: Xoshiro256PlusPlus::from_seed(os_seed(process)) }
    }

    /// The generator for this process. After `fork` the child has a copy of its parent's, so it seeds its own.
    fn of(&mut self, process: u32) -> &mut Xoshiro256PlusPlus {
        if self.process != process {
            *self = Self::new(process);
        }
        &mut self.generator
    }
}

thread_local! {
    static SEEDED: RefCell<Seeded> = RefCell::new(Seeded::new(std::process::id()));
}

/// Runs with this thread's generator. After a `fork`, parent and child draw the same numbers.
fn with_os_seeded<T>(run: impl FnOnce(&mut Xoshiro256PlusPlus) -> T) -> T {
    SEEDED.with_borrow_mut(|seeded| run(&mut seeded.generator))
}

/// Fills the buffer from this thread's generator. No other process draws the same bytes, not even after a `fork`. Costs a
/// system call.
pub(crate) fn fill_unique(bytes: &mut [u8]) {
    SEEDED.with_borrow_mut(|seeded| seeded.of(std::process::id()).fill_bytes(bytes));
}

/// A seed from the operating system, different in each process.
fn os_seed(process: u32) -> [u8; 32] {
    let mut seed = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut numbers| numbers.read_exact(&mut seed));
    if read.is_err() {
        // Not a Unix, or a jail. The keys of std's hash maps are random too, but a fork inherits its parent's keys.
        let keys = RandomState::new();
        for (i, part) in seed.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&keys.hash_one((process, i)).to_ne_bytes());
        }
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_process_draws_its_own_numbers() {
        let fill = |seeded: &mut Seeded, process: u32| {
            let mut bytes = [0; 38];
            seeded.of(process).fill_bytes(&mut bytes);
            bytes
        };
        let mut parent = Seeded::new(1);
        fill(&mut parent, 1);
        // `fork` copies the memory of the thread.
        let copy = || Seeded { process: 1, generator: parent.generator.clone() };
        let (mut again, mut child, mut sibling) = (copy(), copy(), copy());
        let (of_child, of_sibling) = (fill(&mut child, 2), fill(&mut sibling, 3));
        assert_ne!(of_child, of_sibling);
        let of_parent = fill(&mut parent, 1);
        assert_ne!(of_parent, of_child);
        assert_eq!(of_parent, fill(&mut again, 1), "only another process seeds again");
    }
}
