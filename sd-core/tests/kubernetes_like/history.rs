//! The requests of a run with their times and answers, and whether they explain the final state.

use std::collections::BTreeMap;

/// What is stored after a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    This(String),
    /// An entity whose id no answer has told.
    Something,
}

#[derive(Clone, Debug)]
struct Write {
    from: u64,
    /// `None` if there was no answer, or an ambiguous one: the write may then happen at any time.
    to: Option<u64>,
    left: Left,
}

/// The writes to each entity, with times from one clock.
#[derive(Debug, Default)]
pub(crate) struct History {
    now: u64,
    writes: BTreeMap<String, Vec<Write>>,
    pub(crate) acknowledged: usize,
}

impl History {
    pub(crate) fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// A write that may happen from this moment on.
    pub(crate) fn opened(&mut self, key: &str, from: u64, left: Left) {
        self.writes.entry(key.to_owned()).or_default().push(Write { from, to: None, left });
    }

    /// A write that has happened since `from`.
    pub(crate) fn done(&mut self, key: &str, from: u64, left: Left) {
        let to = Some(self.tick());
        self.acknowledged += 1;
        self.writes.entry(key.to_owned()).or_default().push(Write { from, to, left });
    }

    /// Notes that an entity existed at this moment. If no answer tells of it, its writer got no answer.
    pub(crate) fn seen(&mut self, key: &str, at: u64, value: &str) {
        let left = Left::This(value.to_owned());
        let writes = self.writes.entry(key.to_owned()).or_default();
        if !writes.iter().any(|write| write.left == left) {
            writes.push(Write { from: 0, to: Some(at), left });
        }
    }

    /// The keys whose value in `end` does not come from a possible last write.
    pub(crate) fn impossible(&self, end: &BTreeMap<String, String>) -> Vec<String> {
        let start = Write { from: 0, to: Some(0), left: Left::Nothing };
        let explains = |write: &Write, all: &[Write], found: Option<&String>| {
            let fits = match (&write.left, found) {
                (Left::Nothing, found) => found.is_none(),
                (Left::This(left), found) => found == Some(left),
                (Left::Something, found) => found.is_some_and(|found| {
                    !all.iter().any(|write| matches!(&write.left, Left::This(known) if known == found))
                }),
            };
            let followed = |other: &Write| other.to.is_some() && write.to.is_some_and(|to| other.from > to);
            fits && !all.iter().any(followed)
        };
        let wrong = self.writes.iter().filter(|(key, all)| {
            let found = end.get(*key);
            !all.iter().chain([&start]).any(|write| explains(write, all, found))
        });
        wrong.map(|(key, all)| format!("{key} is {:?} after {all:?}", end.get(key))).collect()
    }
}
