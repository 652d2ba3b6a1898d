use std::{collections::BTreeMap, sync::Arc};

/// Declares a small map of texts, sorted by key. Clones share it.
macro_rules! pairs {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name(Option<Arc<BTreeMap<String, String>>>);

        impl $name {
            pub(crate) fn new(pairs: BTreeMap<String, String>) -> Self {
                Self((!pairs.is_empty()).then(|| Arc::new(pairs)))
            }

            /// The number of pairs.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.as_deref().map_or(0, BTreeMap::len)
            }

            /// Whether there are no pairs.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_none()
            }

            /// The value of a key. Keys are case-sensitive.
            #[must_use]
            pub fn get(&self, key: &str) -> Option<&str> {
                self.0.as_deref()?.get(key).map(String::as_str)
            }

            /// The pairs, sorted by key.
            pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
                self.0.iter().flat_map(|pairs| pairs.iter()).map(|(key, value)| (key.as_str(), value.as_str()))
            }

            /// These pairs with more. A pair in `more` replaces one with the same key.
            pub(crate) fn with(&self, more: BTreeMap<String, String>) -> Self {
                let mut pairs = self.0.as_deref().cloned().unwrap_or_default();
                pairs.extend(more);
                Self::new(pairs)
            }

            /// These pairs without the given keys.
            pub(crate) fn without(&self, keys: &[String]) -> Self {
                let mut pairs = self.0.as_deref().cloned().unwrap_or_default();
                keys.iter().for_each(|key| drop(pairs.remove(key)));
                Self::new(pairs)
            }
        }
    };
}

pairs! {
    /// The tags of a namespace or service: at most 50, keys of 1–128 and values of 0–256 characters.
    Tags
}

pairs! {
    /// The attributes of a service, not of its instances: at most 30, keys of at most 255 and values of at most 1024
    /// characters.
    ServiceAttributes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn merging_replaces_pairs_and_removing_ignores_unknown_keys() {
        let tags = Tags::new(pairs(&[("b", "1"), ("a", "")]));
        let merged = tags.with(pairs(&[("b", "2"), ("B", "3")]));
        assert_eq!(merged.iter().collect::<Vec<_>>(), [("B", "3"), ("a", ""), ("b", "2")]);
        assert_eq!((tags.len(), tags.get("b"), tags.get("B")), (2, Some("1"), None));
        let fewer = merged.without(&["a".to_owned(), "none".to_owned(), "a".to_owned()]);
        assert_eq!(fewer, Tags::new(pairs(&[("B", "3"), ("b", "2")])));
        assert_eq!(tags.without(&["a".to_owned(), "b".to_owned()]), Tags::default(), "none is one value");
        assert!(Tags::default().is_empty());
    }
}
