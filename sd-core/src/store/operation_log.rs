//! The log of the newest finished operations.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

use crate::model::{Age, Operation, Scope};

/// A bounded log of finished operations. When it is full, the one that was logged first is dropped.
pub struct OperationLog {
    capacity: usize,
    log: RwLock<Log>,
}

#[derive(Clone, Default)]
struct Log {
    /// In the order in which they were logged. May hold forgotten operations.
    by_end: VecDeque<Arc<Operation>>,
    /// By scope, in order of age. Most operations finish in this order, so they are added at the end or close to it.
    by_age: HashMap<Scope, VecDeque<(Age, Arc<Operation>)>>,
    by_id: HashSet<ById>,
}

/// An operation, hashed by its id, and its age in the log.
#[derive(Clone)]
struct ById(Arc<Operation>, Age);

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

/// The number of operations up to this age.
fn until(by_age: &VecDeque<(Age, Arc<Operation>)>, age: Age) -> usize {
    by_age.partition_point(|(found, _)| *found <= age)
}

/// This age, or the next vacant one, and where it belongs: an operation without changes has the revision of the change before
/// it, and follows that.
fn vacant(by_age: &VecDeque<(Age, Arc<Operation>)>, mut age: Age) -> (Age, usize) {
    if let Some((newest, _)) = by_age.back()
        && age <= *newest
        && newest.to_parts()[0] == age.to_parts()[0]
    {
        // Avoids a search for each of many operations of one moment.
        age = newest.next();
    }
    let mut place = until(by_age, age);
    while place.checked_sub(1).is_some_and(|before| by_age[before].0 == age) {
        age = age.next();
        place = until(by_age, age);
    }
    (age, place)
}

impl Log {
    fn remove_oldest(&mut self) {
        let is_kept = |operation: &Arc<Operation>| {
            self.by_id.get(operation.id.as_str()).is_some_and(|ById(kept, _)| Arc::ptr_eq(kept, operation))
        };
        // The entries before it are forgotten operations.
        let Some(place) = self.by_end.iter().position(is_kept) else { return };
        let oldest = self.by_end.drain(..=place).next_back();
        let Some(ById(oldest, age)) = oldest.and_then(|oldest| self.by_id.take(oldest.id.as_str())) else {
            return;
        };
        if let Some(by_age) = self.by_age.get_mut(&oldest.scope) {
            if let Ok(place) = by_age.binary_search_by_key(&age, |(found, _)| *found) {
                by_age.remove(place);
            }
            if by_age.is_empty() {
                self.by_age.remove(&oldest.scope);
            }
        }
    }
}

impl OperationLog {
    /// How many operations are kept by default.
    pub const CAPACITY: usize = 100_000;

    /// How many operations are copied at a time while they are listed.
    const BLOCK: usize = 256;

    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), log: RwLock::default() }
    }

    /// The operation with this id, if the log still has it.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Operation>> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        log.by_id.get(id).map(|ById(operation, _)| Arc::clone(operation))
    }

    /// The age of the operation with this id, if the log still has it.
    pub(super) fn age(&self, id: &str) -> Option<Age> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        log.by_id.get(id).map(|ById(_, age)| *age)
    }

    /// The age that an operation of this scope gets if it is added with this one.
    pub(super) fn vacant(&self, scope: &Scope, age: Age) -> Age {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        log.by_age.get(scope).map_or(age, |by_age| vacant(by_age, age).0)
    }

    pub(crate) fn push(&self, operation: Arc<Operation>, age: Age) {
        let mut guard = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let log = &mut *guard;
        if log.by_id.contains(operation.id.as_str()) {
            // A backend may store a set twice, after a commit without an answer.
            return;
        }
        if log.by_id.len() == self.capacity {
            if log.by_end.front().is_some_and(|oldest| operation.updated < oldest.updated) {
                // It is older than everything in the full log.
                return;
            }
            log.remove_oldest();
        }
        log.by_end.push_back(Arc::clone(&operation));
        let by_age = match log.by_age.get_mut(&operation.scope) {
            Some(by_age) => by_age,
            None => log.by_age.entry(operation.scope.clone()).or_default(),
        };
        let (age, place) = vacant(by_age, age);
        by_age.insert(place, (age, Arc::clone(&operation)));
        log.by_id.insert(ById(operation, age));
    }

    /// The operations of a scope that were started after this one, in order.
    ///
    /// They are copied in blocks, so that a write never waits for more than one block.
    pub(crate) fn after(
        &self,
        scope: &Scope,
        position: Option<Age>,
    ) -> impl Iterator<Item = (Age, Arc<Operation>)> {
        let (mut position, mut block) = (position, Vec::new().into_iter());
        std::iter::from_fn(move || {
            if block.len() == 0 {
                block = self.block(scope, position).into_iter();
            }
            let next: Option<(Age, Arc<Operation>)> = block.next();
            position = next.as_ref().map(|(age, _)| *age).or(position);
            next
        })
    }

    fn block(&self, scope: &Scope, position: Option<Age>) -> Vec<(Age, Arc<Operation>)> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let Some(by_age) = log.by_age.get(scope) else { return Vec::new() };
        let start = position.map_or(0, |age| until(by_age, age));
        by_age.range(start..).take(Self::BLOCK).cloned().collect()
    }

    /// All operations and their ages, in the order in which they were logged.
    pub(super) fn all(&self) -> Vec<(Arc<Operation>, Age)> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let kept = log.by_end.iter().filter_map(|operation| log.by_id.get(operation.id.as_str()));
        kept.map(|ById(operation, age)| (Arc::clone(operation), *age)).collect()
    }

    /// The scopes of the operations.
    pub(crate) fn scopes(&self) -> BTreeSet<Scope> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        log.by_age.keys().cloned().collect()
    }

    /// Forgets the operations of a scope.
    pub(crate) fn forget(&self, scope: &Scope) {
        let mut guard = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let Log { by_end, by_age, by_id } = &mut *guard;
        let Some(forgotten) = by_age.remove(scope) else { return };
        for (_, operation) in &forgotten {
            by_id.remove(operation.id.as_str());
        }
        // Only now and then, since it costs a walk through all of them.
        if by_end.len() > 2 * by_id.len() {
            by_end.retain(|operation| by_id.contains(operation.id.as_str()));
            by_end.shrink_to_fit();
            by_id.shrink_to_fit();
        }
    }

    /// How many operations are in the log.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.read().unwrap_or_else(PoisonError::into_inner).by_id.len()
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
    use crate::model::{
        NamespaceId, OperationId, OperationStatus, OperationTargets, OperationType, Scope, Timestamp,
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
            let scope = Scope::default();
            let found = log.after(&scope, position.map(Age::from_parts));
            found.map(|(_, operation)| operation.id.to_string()).collect::<String>()
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
        let scope = Scope::default();
        let found = log.after(&scope, None);
        let ids: Vec<_> = found.map(|(_, operation)| operation.id.to_string()).collect();
        assert_eq!(ids, ["z", "b", "c", "a", "d"]);
    }
}
