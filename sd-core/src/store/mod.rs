//! What a backend implements and uses: the trait, the cell of the published state, the log of finished operations.
//!
//! A backend implements [`Registry`]. If it keeps nothing but the cell, this is the whole of it; one that stores sets uses
//! [`Checked`]:
//!
//! ```
//! use sd_core::{
//!     ChangeSet, CloudMap, CommitError, Registry, Scope, State, StateCell, StateWriter,
//!     request::CreateHttpNamespaceRequest,
//! };
//!
//! #[derive(Debug)]
//! struct InMemory(StateWriter);
//!
//! #[async_trait::async_trait]
//! impl Registry for InMemory {
//!     fn cell(&self) -> &StateCell {
//!         self.0.cell()
//!     }
//!
//!     async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
//!         self.0.publish(&changes).map(drop)
//!     }
//! }
//!
//! # async fn create() -> Result<(), sd_core::Error> {
//! let cloud_map = CloudMap::new(InMemory(StateWriter::new(State::new())));
//! let scope = Scope::default();
//! let app = cloud_map.at(scope.clone()).create_http_namespace(CreateHttpNamespaceRequest::new("app")).await?;
//! assert!(cloud_map.cell().load().scope(&scope).namespace(app.namespace_id.as_str()).is_some());
//! # Ok(())
//! # }
//! # let created = std::pin::pin!(create()).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
//! # assert!(matches!(created, std::task::Poll::Ready(Ok(()))));
//! ```

pub(crate) mod cell;
pub(crate) mod operation_log;
mod publish;
pub(crate) mod registry;
mod restored;
pub(crate) mod subscription;
mod written;

pub use cell::{Attached, Observer, StateCell, StateRef, StateWriter};
pub use operation_log::OperationLog;
pub use publish::Checked;
pub use registry::{CommitError, Immediate, Lookup, Registry};
pub use subscription::Subscription;
pub use written::{Writes, Written};
