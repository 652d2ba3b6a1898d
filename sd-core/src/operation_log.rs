//! The finished operations, the newest ones.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{ids::OperationId, model::Operation};

/// A bounded log of finished operations. When it is full, the oldest leaves.
pub struct OperationLog {
    capacity: usize,
    log: RwLock<Log>,
}

#[derive(Default)]
struct Log {
    ring: VecDeque<Arc<Operation>>,
    /// The running number of an operation; the ring starts at `first`.
    numbers: HashMap<OperationId, u64>,
    first: u64,
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
        let number = log.numbers.get(id)?;
        let index = usize::try_from(number - log.first).ok()?;
        log.ring.get(index).cloned()
    }

    pub(crate) fn push(&self, operation: Arc<Operation>) {
        let mut guard = self.log.write().unwrap_or_else(PoisonError::into_inner);
        let log = &mut *guard;
        if log.numbers.contains_key(&operation.id) {
            // Stored twice by a backend that did not know of the first time.
            return;
        }
        if log.ring.len() == self.capacity
            && let Some(oldest) = log.ring.pop_front()
        {
            log.numbers.remove(&oldest.id);
            log.first += 1;
        }
        log.numbers.insert(operation.id.clone(), log.first + log.ring.len() as u64);
        log.ring.push_back(operation);
    }

    /// How many operations are in the log.
    #[must_use]
    pub fn len(&self) -> usize {
        self.log.read().unwrap_or_else(PoisonError::into_inner).ring.len()
    }

    /// Whether no operation has finished yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A log of its own with the same operations.
    pub(crate) fn fork(&self) -> Self {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        let copy = Log { ring: log.ring.clone(), numbers: log.numbers.clone(), first: log.first };
        Self { capacity: self.capacity, log: RwLock::new(copy) }
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
            created: Timestamp::default(),
            updated: Timestamp::default(),
        })
    }

    #[test]
    fn the_oldest_leaves_when_it_is_full() {
        let log = OperationLog::with_capacity(3);
        for id in ["a", "b", "c", "d", "e"] {
            log.push(operation(id));
        }
        assert_eq!(log.len(), 3);
        assert!(log.get("b").is_none());
        for id in ["c", "d", "e"] {
            assert_eq!(log.get(id).unwrap().id.as_str(), id);
        }
        let fork = log.fork();
        fork.push(operation("f"));
        assert!(log.get("f").is_none() && log.get("c").is_some());
        assert!(fork.get("f").is_some() && fork.get("c").is_none());
    }
}
