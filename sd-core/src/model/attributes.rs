use std::{fmt, hash::Hasher, ops::Range};

use siphasher::sip::SipHasher13;

/// The attributes of an instance, as registered: keys and values, sorted by key.
///
/// They stand in one allocation, since a registry holds hundreds of thousands of them.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes {
    /// The number of pairs, then where each key and each value ends in what follows, then these, key and value
    /// alternately. Numbers are written in characters of seven bits.
    packed: Box<str>,
}

/// Characters of a number: 21 bits, more than 30 pairs of at most 255 and 1,024 octets need.
const DIGITS: usize = 3;
const LARGEST: usize = (1 << (7 * DIGITS)) - 1;

fn push_number(packed: &mut Vec<u8>, number: usize) {
    packed.extend((0..DIGITS).map(|digit| (number >> (7 * digit)) as u8 & 0x7f));
}

fn number(digits: [u8; DIGITS]) -> usize {
    digits.iter().rev().fold(0, |number, digit| number << 7 | usize::from(*digit))
}

impl Attributes {
    /// Packs the pairs, which are sorted by key and together have less than 2 MiB; `None` if they have more.
    pub(crate) fn from_sorted<'a>(
        pairs: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
    ) -> Option<Self> {
        let parts = || pairs.clone().flat_map(|(key, value)| [key, value]);
        let (count, octets) = parts().fold((0, 0), |(count, sum), part| (count + 1, sum + part.len()));
        if count == 0 {
            return Some(Self::default());
        }
        if octets > LARGEST || count > LARGEST {
            return None;
        }
        let mut packed = Vec::with_capacity(DIGITS * (1 + count) + octets);
        push_number(&mut packed, count / 2);
        let mut end = 0;
        for part in parts() {
            end += part.len();
            push_number(&mut packed, end);
        }
        for part in parts() {
            packed.extend_from_slice(part.as_bytes());
        }
        String::from_utf8(packed).ok().map(|packed| Self { packed: packed.into() })
    }

    /// The number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packed.as_bytes().first_chunk().map_or(0, |digits| number(*digits))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Where each key and each value is.
    fn places(&self) -> impl Iterator<Item = [Range<usize>; 2]> {
        let start = DIGITS * (1 + 2 * self.len());
        let digits = self.packed.as_bytes().get(DIGITS..start).unwrap_or_default();
        let mut from = start;
        digits.as_chunks().0.iter().map(move |digits: &[u8; 2 * DIGITS]| {
            let [a, b, c, d, e, f] = *digits;
            let (key, value) = (start + number([a, b, c]), start + number([d, e, f]));
            [std::mem::replace(&mut from, value)..key, key..value]
        })
    }

    /// The pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places().map(|[key, value]| (&self.packed[key], &self.packed[value]))
    }

    /// The value of a key. Keys are case-sensitive.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let octets = self.packed.as_bytes();
        let is_key =
            |place: &Range<usize>| place.len() == key.len() && &octets[place.clone()] == key.as_bytes();
        let [_, value] = self.places().find(|[place, _]| is_key(place))?;
        Some(&self.packed[value])
    }
}

/// What some pairs have in common with all that hold them, in 64 bits: whatever has them has these bits as well, and little
/// else has. Tells most instances that do not match without looking at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signature(u64);

impl Signature {
    pub(crate) fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let bits = pairs.map(|(key, value)| {
            let mut hasher = SipHasher13::new();
            hasher.write(key.as_bytes());
            hasher.write_u8(0xff);
            hasher.write(value.as_bytes());
            let hash = hasher.finish();
            1 << (hash & 63) | 1 << (hash >> 6 & 63)
        });
        Self(bits.fold(0, |all, bits| all | bits))
    }

    /// Whether something of this signature may have all the pairs of the other one.
    pub(crate) fn may_have(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_found_again() {
        let pairs = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("a", ""), ("b", "x y"), ("bb", "z")];
        let packed = Attributes::from_sorted(&pairs.into_iter()).unwrap();
        assert_eq!(packed.iter().collect::<Vec<_>>(), pairs);
        for (key, value) in pairs {
            assert_eq!(packed.get(key), Some(value));
        }
        assert_eq!(packed.get("A"), None);
        assert_eq!(packed.get(""), None);
        assert!(Attributes::from_sorted(&std::iter::empty()).unwrap().is_empty());
    }

    #[test]
    fn a_signature_has_the_bits_of_every_pair() {
        let all: Vec<_> = (0..8).map(|i| (format!("key-{i}"), format!("value-{i}"))).collect();
        let pairs = || all.iter().map(|(key, value)| (&**key, &**value));
        let signature = Signature::of(pairs());
        for pair in pairs() {
            assert!(signature.may_have(Signature::of([pair].into_iter())));
        }
        assert!(signature.may_have(Signature::of(pairs())) && signature.may_have(Signature::default()));
        // 16 of 64 bits are set: of other pairs about one in 16 looks alike, and of two others one in 256.
        let others = (0..4000).map(|i| i.to_string());
        let alike = others.filter(|i| signature.may_have(Signature::of([("key-0", &**i)].into_iter())));
        assert!(alike.count() < 500);
    }

    #[test]
    fn long_texts_and_many_pairs_fit() {
        let keys: Vec<_> = (0..30).map(|i| format!("{i:02}{}", "k".repeat(253))).collect();
        let value = "ä".repeat(512);
        let packed = Attributes::from_sorted(&keys.iter().map(|key| (&**key, &*value))).unwrap();
        assert_eq!(packed.len(), 30);
        for key in &keys {
            assert_eq!(packed.get(key), Some(&*value));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = "x".repeat(1 << 20);
        assert_eq!(Attributes::from_sorted(&[("a", &*long), ("b", &*long)].into_iter()), None);
        assert!(Attributes::from_sorted(&[("a", &*long)].into_iter()).is_some());
    }
}
