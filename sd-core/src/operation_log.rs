//! The finished operations, the newest ones.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashSet, VecDeque},
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

use crate::{ids::Scope, model::Operation, state::Age};

/// A bounded log of finished operations. When it is full, the oldest leaves.
pub struct OperationLog {
    capacity: usize,
    log: RwLock<Log>,
}

#[derive(Clone, Default)]
struct Log {
    /// In order of age. Most finish in this order, so that they are added at the end or close to it.
    by_age: VecDeque<(Age, Arc<Operation>)>,
    by_id: HashSet<ById>,
}

/// An operation that is found by its id.
#[derive(Clone)]
struct ById(Arc<Operation>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id.as_str()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.as_str().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Log {
    /// How many are not after this age.
    fn until(&self, age: Age) -> usize {
        self.by_age.partition_point(|(found, _)| *found <= age)
    }

    /// The age itself and its place, or the next ones where that is taken: an operation that changed nothing has the
    /// revision of the change before it, and comes after that.
    fn vacant(&self, mut age: Age) -> (usize, Age) {
        let mut place = self.until(age);
        while place.checked_sub(1).is_some_and(|before| self.by_age[before].0 == age) {
            age = age.next();
            place = self.until(age);
        }
        (place, age)
    }
}

impl OperationLog {
    /// How many operations are kept by default.
    pub const CAPACITY: usize = 100_000;

    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), log: RwLock::default() }
    }

    /// The operation of this id, if it is among the newest.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Operation>> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        log.by_id.get(id).map(|ById(operation)| Arc::clone(operation))
    }

    pub(crate) fn push(&self, operation: Arc<Operation>, age: Age) {
        let mut guard = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let log = &mut *guard;
        if !log.by_id.insert(ById(Arc::clone(&operation))) {
            // Stored twice by a backend that did not know of the first time.
            return;
        }
        if log.by_age.len() == self.capacity
            && let Some((_, oldest)) = log.by_age.pop_front()
        {
            log.by_id.remove(oldest.id.as_str());
        }
        match log.by_age.back() {
            Some((newest, _)) if age <= *newest => {
                let (place, age) = log.vacant(age);
                log.by_age.insert(place, (age, operation));
            }
            _ => log.by_age.push_back((age, operation)),
        }
    }

    /// The operations that were started after this one, in order, as long as `take` wants them.
    pub(crate) fn after(&self, position: Option<Age>, mut take: impl FnMut(Age, &Arc<Operation>) -> bool) {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let start = position.map_or(0, |age| log.until(age));
        for (age, operation) in log.by_age.range(start..) {
            if !take(*age, operation) {
                break;
            }
        }
    }

    /// The scopes of the operations.
    pub(crate) fn scopes(&self) -> BTreeSet<Scope> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let mut scopes = BTreeSet::new();
        for (_, operation) in &log.by_age {
            if !scopes.contains(&operation.scope) {
                scopes.insert(operation.scope.clone());
            }
        }
        scopes
    }

    /// Forgets the operations of a scope.
    pub(crate) fn forget(&self, scope: &Scope) {
        let mut guard = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let log = &mut *guard;
        let before = log.by_age.len();
        log.by_age.retain(|(_, operation)| {
            let kept = operation.scope != *scope;
            if !kept {
                log.by_id.remove(operation.id.as_str());
            }
            kept
        });
        if log.by_age.len() < before / 2 {
            log.by_age.shrink_to_fit();
            log.by_id.shrink_to_fit();
        }
    }

    /// How many operations are in the log.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.read().unwrap_or_else(PoisonError::into_inner).by_age.len()
    }

    /// Whether no operation has finished yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A log of its own with the same operations.
    pub(crate) fn fork(&self) -> Self {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner).clone();
        Self { capacity: self.capacity, log: RwLock::new(log) }
    }
}

impl fmt::Debug for OperationLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationLog").field("len", &self.len()).field("capacity", &self.capacity).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        ids::{NamespaceId, OperationId, Scope},
        model::{OperationStatus, OperationTargets, OperationType},
    };

    fn operation(id: &str) -> Arc<Operation> {
        Arc::new(Operation {
            scope: Scope::default(),
            id: OperationId::parse(id).unwrap(),
            kind: OperationType::CreateNamespace,
            status: OperationStatus::Success,
            error: None,
            targets: OperationTargets::Namespace(NamespaceId::parse("ns-a").unwrap()),
            namespace: NamespaceId::parse("ns-a").unwrap(),
            created: Timestamp::default(),
            updated: Timestamp::default(),
        })
    }

    #[test]
    fn the_oldest_leaves_when_it_is_full() {
        let log = OperationLog::with_capacity(3);
        let age = |n| Age::from_parts([n, 0]);
        for (n, id) in (1..).zip(["a", "b", "c", "d", "e"]) {
            log.push(operation(id), age(n));
        }
        assert_eq!(log.len(), 3);
        assert!(log.get("b").is_none());
        for id in ["c", "d", "e"] {
            assert_eq!(log.get(id).unwrap().id.as_str(), id);
        }
        let fork = log.fork();
        fork.push(operation("f"), age(6));
        assert!(log.get("f").is_none() && log.get("c").is_some());
        assert!(fork.get("f").is_some() && fork.get("c").is_none());
    }

    #[test]
    fn the_order_is_that_of_creation_whatever_ends_first() {
        let log = OperationLog::with_capacity(10);
        for (created, since, id) in
            [(3, 1, "c"), (1, 0, "a"), (5, 0, "e"), (3, 0, "b"), (4, 0, "d"), (3, 1, "c")]
        {
            log.push(operation(id), Age::from_parts([created, since]));
        }
        let after = |position: Option<[u64; 2]>| {
            let mut ids = String::new();
            log.after(position.map(Age::from_parts), |_, operation| {
                ids.push_str(operation.id.as_str());
                true
            });
            ids
        };
        assert_eq!((log.len(), after(None)), (5, "abcde".into()));
        assert_eq!(after(Some([3, 0])), "cde");
        assert_eq!(after(Some([2, 7])), "bcde", "a place where none is");
        assert_eq!(after(Some([5, 0])), "");
    }

    #[test]
    fn operations_of_one_revision_stay_in_the_order_in_which_they_came() {
        let log = OperationLog::with_capacity(5);
        for (since, id) in [(1, "z"), (1, "b"), (1, "c"), (2, "a"), (9, "d")] {
            log.push(operation(id), Age::from_parts([7, since]));
        }
        let mut ids = Vec::new();
        log.after(None, |_, operation| {
            ids.push(operation.id.to_string());
            true
        });
        assert_eq!(ids, ["z", "b", "c", "a", "d"]);
    }
}
