//! Starting over: a registry without anything, for tests that share one.

use std::sync::Arc;

use super::{ATTEMPTS, CloudMap, SyncCloudMap, at_once};
use crate::{
    change::{Change, ChangeSet},
    error::Error,
    ids::OperationId,
    model::Operation,
    registry::CommitError,
    state::State,
};

/// What became of one attempt.
enum Attempt {
    /// Nothing is left of what there was. These operations had ended before.
    Done(Vec<Arc<Operation>>),
    /// Something came in between.
    Again,
}

impl CloudMap {
    /// Deletes everything in all accounts and Regions: what is there, operations that are under way, those that have
    /// ended, and how often each account has asked. An operation from before is not found any more.
    ///
    /// Whatever was answered before the reset began is gone when it returns, for every door; a request that runs at the
    /// same time comes before or after it. Of one account and Region, readers see everything or nothing. Revisions go on
    /// growing. Doing it twice is doing it once.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Rejected`] and [`Error::Contention`], after which some accounts and Regions may be
    /// empty and others not.
    pub async fn reset(&self) -> Result<(), Error> {
        let mut error = Error::Contention;
        for _ in 0..ATTEMPTS {
            match self.try_reset().await {
                Ok(Attempt::Done(operations)) => {
                    self.cell().operations().forget(&operations);
                    self.inner.throttle.forget();
                    return Ok(());
                }
                Ok(Attempt::Again) => {}
                // What was to be deleted may have got a child since.
                Err(refused @ Error::Rejected { .. }) => error = refused,
                Err(error) => return Err(error),
            }
        }
        Err(error)
    }

    async fn try_reset(&self) -> Result<Attempt, Error> {
        let now = self.inner.clock.now();
        self.cell().advance(now);
        // Before the state, so that no operation is forgotten whose effect stays.
        let operations = self.cell().operations().all();
        let scopes = self.cell().load().diff(&State::new());
        for (scope, changes) in scopes {
            let ended: Vec<OperationId> = changes.iter().filter_map(ended).cloned().collect();
            let mut set = ChangeSet::new(scope, now);
            set.changes = changes;
            match self.inner.registry.commit(set).await {
                Ok(()) => {}
                Err(CommitError::Conflict | CommitError::Ambiguous) => return Ok(Attempt::Again),
                Err(CommitError::Rejected { key, reason }) => return Err(Error::Rejected { key, reason }),
                Err(CommitError::Unavailable { retry_after, source }) => {
                    return Err(Error::Unavailable { retry_after, source: Some(source.into()) });
                }
            }
            // One that came to its end just before is in the log, and what it has created may be there.
            if ended.iter().any(|id| self.cell().operations().get(id.as_str()).is_some()) {
                return Ok(Attempt::Again);
            }
        }
        Ok(Attempt::Done(operations))
    }
}

/// The operation that a change ends.
fn ended(change: &Change) -> Option<&OperationId> {
    match change {
        Change::EndOperation(id) => Some(id),
        _ => None,
    }
}

impl SyncCloudMap {
    /// As [`CloudMap::reset`].
    ///
    /// # Errors
    /// Those of [`CloudMap::reset`].
    pub fn reset(&self) -> Result<(), Error> {
        at_once(self.cloud_map.reset())
    }
}
