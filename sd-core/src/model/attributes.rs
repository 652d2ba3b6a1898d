use std::fmt;

/// The attributes of an instance, as registered: keys and values, sorted by key.
///
/// All texts stand in one allocation, since a registry holds hundreds of thousands of them.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Attributes {
    text: Box<str>,
    /// Where each key and each value ends in `text`, alternately.
    ends: Box<[u16]>,
}

impl Attributes {
    /// Packs the pairs, which are sorted by key and together no longer than 65 535 octets; `None` if they are longer.
    pub(crate) fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Option<Self> {
        let (entries, octets) =
            pairs.clone().fold((0, 0), |(n, sum), (key, value)| (n + 1, sum + key.len() + value.len()));
        let mut text = String::with_capacity(octets);
        let mut ends = Vec::with_capacity(2 * entries);
        for (key, value) in pairs {
            for part in [key, value] {
                text.push_str(part);
                ends.push(u16::try_from(text.len()).ok()?);
            }
        }
        Some(Self { text: text.into(), ends: ends.into() })
    }

    /// The number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn part(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[usize::from(start)..usize::from(self.ends[index])]
    }

    /// The pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.len()).map(|i| (self.part(2 * i), self.part(2 * i + 1)))
    }

    /// The value of a key. Keys are case-sensitive.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.part(2 * middle).cmp(key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(self.part(2 * middle + 1)),
            }
        }
        None
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
        let packed = Attributes::from_sorted(pairs.into_iter()).unwrap();
        assert_eq!(packed.iter().collect::<Vec<_>>(), pairs);
        for (key, value) in pairs {
            assert_eq!(packed.get(key), Some(value));
        }
        assert_eq!(packed.get("A"), None);
        assert_eq!(packed.get(""), None);
        assert!(Attributes::from_sorted(std::iter::empty()).unwrap().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let long = "x".repeat(40_000);
        assert_eq!(Attributes::from_sorted([("a", &*long), ("b", &*long)].into_iter()), None);
    }
}
