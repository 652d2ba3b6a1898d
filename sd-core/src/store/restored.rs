//! The cell of a registry that was stored.

use std::sync::Arc;

use super::{cell::StateWriter, operation_log::OperationLog};
use crate::{
    model::{Age, Revision},
    state::State,
    stored::{Operation, RestoreError},
};

impl StateWriter {
    /// A new cell with a restored state, [`State::restore`], and the operations that had finished, in any order.
    ///
    /// The log keeps the newest `operations` of them, at least one; [`OperationLog::CAPACITY`] is the default elsewhere.
    ///
    /// # Errors
    /// The operation and the member that cannot be read.
    pub fn restored(
        state: State,
        finished: impl IntoIterator<Item = Operation>,
        operations: usize,
    ) -> Result<Self, RestoreError> {
        let mut all = Vec::new();
        for record in finished {
            let revision = Revision::from_u64(record.place);
            let operation = record.restore()?;
            let age = Age::new(operation.created, revision);
            all.push((operation, age));
        }
        // The log keeps what is added last.
        all.sort_by_key(|(operation, age)| (operation.updated, *age));
        let log = OperationLog::with_capacity(operations);
        for (operation, age) in all {
            log.push(Arc::new(operation), age);
        }
        Ok(Self::with_log(state, log))
    }
}

impl OperationLog {
    /// The records of the operations, in the order in which they were logged.
    #[must_use]
    pub fn stored(&self) -> Vec<Operation> {
        self.all().into_iter().map(|(operation, age)| Operation::of(&operation, age.place())).collect()
    }
}
