//! The finished operations, the newest ones.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{ids::OperationId, model::Operation, state::Age};

/// A bounded log of finished operations. When it is full, the oldest leaves.
pub struct OperationLog {
    capacity: usize,
    log: RwLock<Log>,
}

#[derive(Clone, Default)]
struct Log {
    by_age: BTreeMap<(Age, OperationId), Arc<Operation>>,
    ages: HashMap<OperationId, Age>,
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
        let (id, age) = log.ages.get_key_value(id)?;
        log.by_age.get(&(*age, id.clone())).cloned()
    }

    pub(crate) fn push(&self, operation: Arc<Operation>, age: Age) {
        let mut guard = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let log = &mut *guard;
        if log.ages.contains_key(&operation.id) {
            // Stored twice by a backend that did not know of the first time.
            return;
        }
        if log.by_age.len() == self.capacity
            && let Some(((_, oldest), _)) = log.by_age.pop_first()
        {
            log.ages.remove(&oldest);
        }
        log.ages.insert(operation.id.clone(), age);
        log.by_age.insert((age, operation.id.clone()), operation);
    }

    /// The operations that were started after this one, in order, as long as `take` wants them.
    pub(crate) fn after(
        &self,
        position: Option<&(Age, OperationId)>,
        mut take: impl FnMut(Age, &Arc<Operation>) -> bool,
    ) {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let start = position.map_or(Bound::Unbounded, |position| Bound::Excluded(position.clone()));
        for ((age, _), operation) in log.by_age.range((start, Bound::Unbounded)) {
            if !take(*age, operation) {
                break;
            }
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
        ids::{NamespaceId, Scope},
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
}
