//! A registry in memory, for tests and emulators. It needs no runtime, so [`SyncCloudMap`](sd_core::SyncCloudMap) works over
//! it. Its data is lost when the last handle is dropped.
//!
//! ```
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::{Scope, SyncCloudMap, request::CreateHttpNamespaceRequest};
//!
//! let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
//! cloud_map.at(Scope::default()).create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
//! # Ok::<(), sd_core::Error>(())
//! ```

#![forbid(unsafe_code)]

use async_trait::async_trait;
use sd_core::{
    ChangeSet, CommitError, Immediate, OperationLog, Registry, State, StateCell, StateWriter,
    stored::{Operation, RestoreError},
};

/// A registry in memory. It stores nothing but the published state.
#[derive(Debug)]
pub struct MemoryRegistry {
    writer: StateWriter,
}

impl MemoryRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::from_state(State::new())
    }

    /// A registry that starts with this state and without operations.
    #[must_use]
    pub fn from_state(state: State) -> Self {
        Self { writer: StateWriter::new(state) }
    }

    /// A registry that starts with a restored state and with the operations that had finished, of which it keeps the newest
    /// 100,000.
    ///
    /// # Errors
    /// The operation and the member that cannot be read.
    pub fn restored(
        state: State,
        finished: impl IntoIterator<Item = Operation>,
    ) -> Result<Self, RestoreError> {
        Ok(Self { writer: StateWriter::restored(state, finished, OperationLog::CAPACITY)? })
    }

    /// An empty registry that keeps the newest `operations` finished operations: at least 1, by default 100,000.
    #[must_use]
    pub fn keeping(operations: usize) -> Self {
        Self { writer: StateWriter::keeping(State::new(), operations) }
    }

    /// An independent registry that starts with the state and the operations of `cell`. It shares the state until
    /// either changes, which costs nothing, and copies the operations. Observers stay with the original.
    ///
    /// The handle on the fork gets its own clock and ids. With a clock behind the original's, new entities look older
    /// than existing ones, and operations in progress end only when that clock reaches their end. For ids that
    /// continue those of the original, clone its [`SequentialIds`](sd_core::settings::SequentialIds).
    #[must_use]
    pub fn fork(cell: &StateCell) -> Self {
        Self { writer: cell.fork() }
    }
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        self.writer.publish(&changes).map(drop)
    }
}

impl Immediate for MemoryRegistry {}
