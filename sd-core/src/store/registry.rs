//! What the engine and a backend owe each other.

use std::{error::Error as StdError, fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{state::change::ChangeSet, store::cell::StateCell};

/// Holds the state and stores decided changes: all that a backend must do.
///
/// # For implementers
/// - [`commit`](Self::commit) checks the preconditions against what is stored, stores the changes in their order, and
///   publishes them in the cell through the [`StateWriter`](crate::StateWriter) before it returns. A caller that has
///   its answer sees its change through every door.
/// - Preconditions are checked as of [`ChangeSet::at`]: an operation that ended before it claims nothing any more.
///   `publish` sees to it; a backend that checks by itself calls [`StateCell::advance`] first.
/// - A set with [`reset`](ChangeSet::reset) makes its scope start over: the backend deletes all that it
///   stores of the scope, finished operations too, in one step with the changes of the set. Other handles on
///   the store, and one that is opened later, neither show nor remember anything from before. A handle that
///   learns of it from the store publishes a set with `reset`, since
///   [`StateWriter::reconcile`](crate::StateWriter::reconcile) forgets no operations.
/// - It interprets nothing. Which request the changes come from, and what they mean, is decided.
/// - [`CommitError::Conflict`] is returned only after the cell shows the fact that caused it, so that planning again
///   leads to another result.
/// - [`Precondition::At`](crate::state::change::Precondition::At) names a revision of this handle's cell. A backend that other processes
///   write to keeps, beside the cell, the version that its store had for an entity at that revision.
/// - A store that others write to is followed: what is found there becomes changes on the current state, published
///   without preconditions. After a full listing [`StateWriter::reconcile`](crate::StateWriter::reconcile) makes them, from
///   the state shown to the state listed; a state is never published from nothing.
/// - A backend without transactions may fail half-way. It then publishes the changes that are stored, which are a
///   prefix and a legal state, and returns the error.
/// - Dropping the future of `commit` may leave the changes stored or not, and never half published.
///
/// # For callers
/// Writes go through [`CloudMap`](crate::CloudMap), which plans, commits, and plans again after a conflict.
/// Reads look at the cell and do not wait for writers: what is due and cannot be published at once is
/// computed for the answer.
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// The read side of the published state. Every read of every door goes through it.
    fn cell(&self) -> &StateCell;

    /// Stores decided changes and publishes them in [`cell`](Self::cell) before it returns.
    ///
    /// # Errors
    /// The four ways in which storing can fail.
    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError>;
}

/// A shared registry is a registry. Its future is that of the registry, which is why this is not written as an `async fn`.
impl<R: Registry + ?Sized> Registry for Arc<R> {
    fn cell(&self) -> &StateCell {
        R::cell(self)
    }

    fn commit<'s, 'f>(
        &'s self,
        changes: ChangeSet,
    ) -> Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        R::commit(self, changes)
    }
}

impl<R: Immediate + ?Sized> Immediate for Arc<R> {}

/// A registry whose [`commit`](Registry::commit) is done when its future is first polled: it waits for nothing.
///
/// Such a registry can be used without a runtime, through [`SyncCloudMap`](crate::SyncCloudMap).
pub trait Immediate: Registry {}

/// The ways in which storing can fail.
#[derive(Debug, thiserror::Error)]
#[allow(clippy::exhaustive_enums, reason = "the engine answers each in its own way")]
pub enum CommitError {
    /// A precondition does not hold, and the cell shows it.
    #[error("what the change relies on does not hold any more")]
    Conflict,
    /// The backend will not store this, now or later.
    #[error("the backend refuses to store {key}: {reason}")]
    Rejected {
        /// What it refuses.
        key: String,
        /// Why.
        reason: String,
    },
    /// The backend cannot be reached. Nothing was stored, or a published prefix.
    #[error("the backend is unavailable")]
    Unavailable {
        /// When to try again, if the backend says.
        retry_after: Option<Duration>,
        /// What went wrong.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The changes may have been stored or not; the cell will show which.
    #[error("the backend did not say whether it stored the change")]
    Ambiguous,
}
