//! The handle without asynchrony.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::{CloudMap, CloudMapBuilder, ScopedCloudMap};
use crate::{
    api::{error::Error, request::DiscoverInstancesRequest},
    dns::explanation::Explanation,
    model::Scope,
    store::registry::Immediate,
};

/// [`CloudMap`] without asynchrony, over a registry that waits for nothing.
#[derive(Clone, Debug)]
pub struct SyncCloudMap {
    pub(super) cloud_map: CloudMap,
}

impl SyncCloudMap {
    /// A handle on the registry with the default settings.
    #[must_use]
    pub fn new(registry: impl Immediate) -> Self {
        Self { cloud_map: CloudMap::new(registry) }
    }

    /// As [`new`](Self::new), with the settings that `configure` makes.
    #[must_use]
    pub fn with(
        registry: impl Immediate,
        configure: impl FnOnce(CloudMapBuilder) -> CloudMapBuilder,
    ) -> Self {
        Self { cloud_map: configure(CloudMap::builder(registry)).build() }
    }

    /// The asynchronous handle on the same registry, for the doors.
    #[must_use]
    pub fn cloud_map(&self) -> &CloudMap {
        &self.cloud_map
    }

    /// The API in an account and Region.
    #[must_use]
    pub fn at(&self, scope: Scope) -> SyncScopedCloudMap {
        SyncScopedCloudMap { scoped: self.cloud_map.at(scope) }
    }
}

/// [`ScopedCloudMap`] without asynchrony.
#[derive(Clone, Debug)]
pub struct SyncScopedCloudMap {
    pub(super) scoped: ScopedCloudMap,
}

impl SyncScopedCloudMap {
    /// The account and Region.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scoped.scope
    }

    /// As [`ScopedCloudMap::explain_discovery`].
    ///
    /// # Errors
    /// Those of [`ScopedCloudMap::explain_discovery`].
    pub fn explain_discovery(&self, request: &DiscoverInstancesRequest) -> Result<Explanation, Error> {
        self.scoped.explain_discovery(request)
    }
}

/// Polls a write over an [`Immediate`] registry, which is done at once.
pub(super) fn at_once<R>(write: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
    match pin!(write).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::Internal("a registry that is marked Immediate has waited")),
    }
}
