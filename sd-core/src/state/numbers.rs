//! The numbers of instances by the hashes of their ids.

use super::persistent::{OrdMap, OrdSet};

/// The number of each instance by the hash of its id: hashes are compared, and copied, faster than ids.
///
/// Ids may have the same hash, however unlikely that is, so a hash may have several numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// One number of each hash.
    first: OrdMap<u64, u32>,
    /// The other numbers, with their hash.
    others: OrdSet<(u64, u32)>,
}

impl Numbers {
    /// The numbers of this hash.
    pub(super) fn of(&self, hash: u64) -> impl Iterator<Item = u32> {
        self.first.get(&hash).copied().into_iter().chain(self.others_of(hash))
    }

    fn others_of(&self, hash: u64) -> impl Iterator<Item = u32> {
        // Looking for a range costs more than seeing that there is nothing.
        let others = (!self.others.is_empty()).then(|| self.others.range((hash, 0)..=(hash, u32::MAX)));
        others.into_iter().flatten().map(|(_, number)| *number)
    }

    /// Adds a number, which no instance has.
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        if self.first.contains_key(&hash) {
            self.others.insert((hash, number));
        } else {
            self.first.insert(hash, number);
        }
    }

    /// Removes the number of an instance with this hash.
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        if self.first.get(&hash) != Some(&number) {
            self.others.remove(&(hash, number));
            return;
        }
        let other = self.others_of(hash).next();
        match other {
            Some(other) => {
                self.others.remove(&(hash, other));
                self.first.insert(hash, other);
            }
            None => drop(self.first.remove(&hash)),
        }
    }

    /// Replaces the number of an instance with this hash.
    pub(super) fn renumber(&mut self, hash: u64, from: u32, to: u32) {
        if self.first.get(&hash) == Some(&from) {
            self.first.insert(hash, to);
        } else {
            self.others.remove(&(hash, from));
            self.others.insert((hash, to));
        }
    }

    /// Swaps the numbers of two instances, each given with its hash.
    pub(super) fn swap(&mut self, (hash, number): (u64, u32), (other_hash, other): (u64, u32)) {
        // With one hash both numbers stay: one after the other, the first instance would take the second one's number.
        if hash != other_hash {
            self.renumber(hash, number, other);
            self.renumber(other_hash, other, number);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        /// Two hashes for all, so that most numbers share theirs.
        #[test]
        fn numbers_that_share_a_hash_are_all_found(steps in vec((0..4, 0..2u64, any::<[usize; 2]>()), 1..60)) {
            let mut numbers = Numbers::default();
            // The hash of each number.
            let mut hashes: Vec<u64> = Vec::new();
            for (step, hash, places) in steps {
                let [one, other] = places.map(|place| place % hashes.len().max(1));
                let last = hashes.len() as u32;
                match step {
                    0 if !hashes.is_empty() => {
                        numbers.swap((hashes[one], one as u32), (hashes[other], other as u32));
                        hashes.swap(one, other);
                    }
                    1 if !hashes.is_empty() => {
                        // The last instance takes the number of the one that is removed.
                        numbers.remove(hashes[one], one as u32);
                        if one as u32 != last - 1 {
                            numbers.renumber(hashes[last as usize - 1], last - 1, one as u32);
                        }
                        hashes.swap_remove(one);
                    }
                    _ => {
                        numbers.insert(hash, last);
                        hashes.push(hash);
                    }
                }
                prop_assert_eq!(numbers.len(), hashes.len());
                for hash in 0..2 {
                    let mut found: Vec<_> = numbers.of(hash).collect();
                    found.sort_unstable();
                    let all = (0..).zip(&hashes).filter(|(_, of)| **of == hash).map(|(number, _)| number);
                    prop_assert_eq!(found, all.collect::<Vec<u32>>());
                }
            }
        }
    }
}
