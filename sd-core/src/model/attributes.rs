use std::{fmt, hash::Hasher, mem};

use siphasher::sip::SipHasher13;

/// The attributes of an instance, as registered: keys and values, sorted by key.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes {
    /// Keys and values alternately, in one allocation: a registry holds hundreds of thousands of these.
    texts: Box<str>,
    /// Where each key and each value ends in `texts`. The API allows 5,000 ASCII characters in all, so 16 bits suffice.
    ends: Box<[u16]>,
}

impl Attributes {
    /// Takes pairs that are sorted by key. `None` if their texts have more than 65,535 octets in all.
    pub(crate) fn from_sorted<'a>(
        pairs: &(impl Iterator<Item = (&'a str, &'a str)> + Clone),
    ) -> Option<Self> {
        let parts = || pairs.clone().flat_map(|(key, value)| [key, value]);
        let mut ends = Vec::with_capacity(parts().count());
        let mut end = 0;
        for part in parts() {
            end += part.len();
            ends.push(u16::try_from(end).ok()?);
        }
        let mut texts = String::with_capacity(end);
        texts.extend(parts());
        Some(Self { texts: texts.into(), ends: ends.into() })
    }

    /// The number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.as_chunks().0.iter().map(move |[key_end, end]| {
            let (key_end, end) = (usize::from(*key_end), usize::from(*end));
            (&self.texts[mem::replace(&mut start, end)..key_end], &self.texts[key_end..end])
        })
    }

    /// The value of a key. Keys are case-sensitive.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(found, _)| *found == key).map(|(_, value)| value)
    }
}

/// A 64-bit Bloom filter of pairs. Attributes that contain the pairs have all bits of their signature; few others do.
/// It rules out most instances that do not match without a look at their attributes.
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

    /// Whether something with this signature may have all the pairs of the other one.
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
    fn every_pair_is_found_by_its_key() {
        let pairs = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("a", ""), ("b", "x y"), ("bb", "z")];
        let attributes = Attributes::from_sorted(&pairs.into_iter()).unwrap();
        assert_eq!(attributes.iter().collect::<Vec<_>>(), pairs);
        for (key, value) in pairs {
            assert_eq!(attributes.get(key), Some(value));
        }
        assert_eq!(attributes.get("A"), None);
        assert_eq!(attributes.get(""), None);
        assert!(Attributes::from_sorted(&std::iter::empty()).unwrap().is_empty());
    }

    #[test]
    fn a_signature_matches_its_own_pairs_and_few_others() {
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
    fn the_largest_attributes_of_the_api_fit() {
        let keys: Vec<_> = (0..30).map(|i| format!("{i:02}{}", "k".repeat(253))).collect();
        let value = "ä".repeat(512);
        let attributes = Attributes::from_sorted(&keys.iter().map(|key| (&**key, &*value))).unwrap();
        assert_eq!(attributes.len(), 30);
        for key in &keys {
            assert_eq!(attributes.get(key), Some(&*value));
        }
    }

    #[test]
    fn texts_beyond_the_limit_are_refused() {
        let long = "x".repeat((1 << 15) - 2);
        let with = |last| Attributes::from_sorted(&[("a", &*long), ("b", &*long), (last, "")].into_iter());
        assert_eq!(with("c").unwrap().get("b"), Some(&*long));
        assert_eq!(with("cc"), None);
    }
}
