//! A registry in memory: nothing is stored but the published state itself.
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
use sd_core::{ChangeSet, CommitError, Immediate, Registry, State, StateCell, StateWriter};

/// A registry in memory. It lives as long as the handles on it.
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

    /// A registry that starts with this state, and with no operations.
    #[must_use]
    pub fn from_state(state: State) -> Self {
        Self { writer: StateWriter::new(state) }
    }

    /// An empty registry that keeps so many of the operations that have finished, at least one; 100,000 by default.
    #[must_use]
    pub fn keeping(operations: usize) -> Self {
        Self { writer: StateWriter::keeping(State::new(), operations) }
    }

    /// A registry of its own that starts with what a cell shows, state and operations. The state
    /// costs nothing to share, the operations are copied; observers stay with the original.
    ///
    /// What the handle on it depends on is chosen anew. A clock that stands before the original's makes what is created
    /// older than what was there, and what is under way end only at its moment. Identifiers that count up come from a clone
    /// of their source ([`SequentialIds`](sd_core::ids::SequentialIds)).
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
