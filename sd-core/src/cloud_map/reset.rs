//! Starting over: a registry without anything, for tests that share one.

use std::collections::BTreeSet;

use super::{CloudMap, SyncCloudMap, blocking::at_once, commit::ATTEMPTS, refresh};
use crate::{api::error::Error, model::Scope, state::change::ChangeSet};

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
        for attempt in 1..=ATTEMPTS {
            let mut set = ChangeSet::new(scope.clone(), self.inner.clock.now());
            set.reset = true;
            // It relies on nothing, and a second time changes nothing that the first one has not.
            match self.inner.registry.commit(set).await.map_err(refresh::failure) {
                Ok(()) => return Ok(()),
                Err(Some(error)) => return Err(error),
                Err(None) if attempt < ATTEMPTS => self.inner.registry.pause(attempt).await,
                Err(None) => {}
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
