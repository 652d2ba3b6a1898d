//! The `HttpName`s of deleted namespaces, which AWS does not reuse.

use std::sync::Arc;

use super::persistent::OrdMap;
use crate::model::Scope;

/// The newest names of deleted namespaces: a bounded number for each scope and for all scopes together.
#[derive(Clone, Debug, Default)]
pub(super) struct FormerNames {
    /// The number of each name, in order of deletion.
    numbers: OrdMap<(Scope, Arc<str>), u64>,
    /// The names of each scope, oldest first.
    by_scope: OrdMap<(Scope, u64), Arc<str>>,
    /// How many names a scope has.
    counts: OrdMap<Scope, usize>,
    /// The scope of each number.
    scopes: OrdMap<u64, Scope>,
    next: u64,
}

impl FormerNames {
    /// The most names of a scope.
    const PER_SCOPE: usize = 1000;
    /// The most names of all scopes together.
    const IN_ALL: usize = 10_000;

    pub(super) fn contains(&self, scope: &Scope, name: &str) -> bool {
        self.numbers.contains_key(&(scope.clone(), Arc::from(name)))
    }

    /// Adds a name, or makes it the newest again. Removes the oldest name if there are too many.
    pub(super) fn insert(&mut self, scope: &Scope, name: &Arc<str>) {
        if let Some(number) = self.numbers.get(&(scope.clone(), Arc::clone(name))).copied() {
            self.remove(number);
        }
        let number = self.next;
        self.next += 1;
        self.numbers.insert((scope.clone(), Arc::clone(name)), number);
        self.by_scope.insert((scope.clone(), number), Arc::clone(name));
        self.scopes.insert(number, scope.clone());
        let count = self.counts.get(scope).map_or(1, |count| count + 1);
        self.counts.insert(scope.clone(), count);
        let oldest = if count > Self::PER_SCOPE { self.of_scope(scope).next() } else { None };
        oldest.into_iter().for_each(|oldest| self.remove(oldest));
        let oldest = self.scopes.get_min().map(|(oldest, _)| *oldest);
        oldest
            .filter(|_| self.scopes.len() > Self::IN_ALL)
            .into_iter()
            .for_each(|oldest| self.remove(oldest));
    }

    /// The scopes that have names.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.counts.keys()
    }

    /// Removes the names of a scope.
    pub(super) fn forget(&mut self, scope: &Scope) {
        let numbers: Vec<_> = self.of_scope(scope).collect();
        numbers.into_iter().for_each(|number| self.remove(number));
    }

    /// The names of a scope, oldest first.
    pub(super) fn names(&self, scope: &Scope) -> impl Iterator<Item = &str> {
        let all = (scope.clone(), 0)..=(scope.clone(), u64::MAX);
        self.by_scope.range(all).map(|(_, name)| &**name)
    }

    fn of_scope(&self, scope: &Scope) -> impl Iterator<Item = u64> {
        let all = (scope.clone(), 0)..=(scope.clone(), u64::MAX);
        self.by_scope.range(all).map(|((_, number), _)| *number)
    }

    fn remove(&mut self, number: u64) {
        let Some(scope) = self.scopes.remove(&number) else { return };
        match self.counts.get_mut(&scope) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.counts.remove(&scope)),
        }
        if let Some(name) = self.by_scope.remove(&(scope.clone(), number)) {
            self.numbers.remove(&(scope, name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(account: usize) -> Scope {
        Scope::parse(&format!("{account:012}"), "us-east-1").unwrap()
    }

    fn name(number: usize) -> Arc<str> {
        format!("n{number}").into()
    }

    #[test]
    fn a_scope_keeps_its_newest_names() {
        let mut names = FormerNames::default();
        for number in 0..FormerNames::PER_SCOPE {
            names.insert(&scope(1), &name(number));
        }
        // The first name becomes the newest again.
        names.insert(&scope(1), &name(0));
        names.insert(&scope(1), &name(FormerNames::PER_SCOPE));
        assert!(names.contains(&scope(1), "n0") && names.contains(&scope(1), "n2"));
        assert!(!names.contains(&scope(1), "n1") && !names.contains(&scope(2), "n2"));
        assert_eq!(names.numbers.len(), FormerNames::PER_SCOPE);
    }

    #[test]
    fn all_scopes_together_are_bounded() {
        let mut names = FormerNames::default();
        for account in 0..=FormerNames::IN_ALL {
            names.insert(&scope(account), &name(0));
        }
        assert!(!names.contains(&scope(0), "n0") && names.contains(&scope(1), "n0"));
        names.forget(&scope(1));
        assert!(!names.contains(&scope(1), "n0") && names.contains(&scope(2), "n0"));
        let sizes = [names.numbers.len(), names.by_scope.len(), names.scopes.len()];
        assert_eq!(sizes, [FormerNames::IN_ALL - 1; 3]);
        assert_eq!(names.counts.len(), FormerNames::IN_ALL - 1);
    }
}
