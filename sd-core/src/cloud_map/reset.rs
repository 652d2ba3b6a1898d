//! Starting over: a registry without anything, for tests that share one.

use std::collections::BTreeSet;

use super::{CloudMap, SyncCloudMap, blocking::at_once, commit::ATTEMPTS};
use crate::{api::error::Error, model::Scope, state::change::ChangeSet, store::registry::CommitError};

impl CloudMap {
    /// Deletes everything in all accounts and Regions: namespaces, services and instances, operations that
    /// are under way and those that have ended, and how often each account has called. An operation from
    /// before is not found any more, on any handle, nor after a restart of the backend.
    ///
    /// Whatever was answered before the reset began is deleted when it returns, for every door; a request
    /// that runs at the same time comes before or after it. Of one account and Region, readers see everything
    /// or nothing. Revisions go on growing. Doing it twice is doing it once.
    ///
    /// Each account and Region that holds anything is one [`ChangeSet`] with [`reset`](ChangeSet::reset).
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Rejected`] and [`Error::Contention`], after which some accounts and Regions may be
    /// empty and others not.
    pub async fn reset(&self) -> Result<(), Error> {
        let state = self.cell().load();
        let held = state.scopes().map(|(scope, _)| scope).chain(state.remembered_scopes());
        let held: BTreeSet<Scope> = held.cloned().collect();
        for scope in held.union(&self.cell().operations().scopes()) {
            self.reset_scope(scope).await?;
        }
        self.inner.throttle.forget();
        Ok(())
    }

    async fn reset_scope(&self, scope: &Scope) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            let mut set = ChangeSet::new(scope.clone(), self.inner.clock.now());
            set.reset = true;
            match self.inner.registry.commit(set).await {
                Ok(()) => return Ok(()),
                // It relies on nothing, and a second time changes nothing that the first one has not.
                Err(CommitError::Conflict | CommitError::Ambiguous) => {}
                Err(CommitError::Rejected { key, reason }) => return Err(Error::Rejected { key, reason }),
                Err(CommitError::Unavailable { retry_after, source }) => {
                    return Err(Error::Unavailable { retry_after, source: Some(source.into()) });
                }
            }
        }
        Err(Error::Contention)
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
