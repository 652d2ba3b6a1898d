//! The handle without asynchrony.

use std::{
    borrow::Borrow,
    pin::pin,
    sync::Weak,
    task::{Context, Poll, Waker},
};

use super::{CloudMap, CloudMapBuilder, ScopedCloudMap};
use crate::{
    api::{error::Error, request::DiscoverInstancesRequest},
    dns::{
        explanation::Explanation,
        records::{Answer, View},
    },
    health_check::HealthReasons,
    model::{DnsName, RecordType, Scope, Timestamp},
    settings::{mode::Mode, timing::Timing},
    store::{
        cell::{StateCell, StateRef},
        registry::Immediate,
    },
    testing::{fault::Faults, journal::Journal},
};

/// [`CloudMap`] without `async`, over an [`Immediate`] registry.
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

    /// A handle on the registry, with settings: [`build_sync`](CloudMapBuilder::build_sync) makes it.
    pub fn builder<R: Immediate>(registry: R) -> CloudMapBuilder<R> {
        CloudMap::builder(registry)
    }

    /// The asynchronous handle with the same registry, settings, faults and journal, for the doors.
    #[must_use]
    pub fn cloud_map(&self) -> &CloudMap {
        &self.cloud_map
    }

    /// The API in an account and Region.
    #[must_use]
    pub fn at(&self, scope: Scope) -> SyncScopedCloudMap {
        SyncScopedCloudMap { scoped: ScopedCloudMap { waits: false, ..self.cloud_map.at(scope) } }
    }

    /// As [`CloudMap::explain`].
    #[must_use]
    pub fn explain(&self, view: &View, name: &DnsName, kind: RecordType) -> Explanation {
        self.cloud_map.explain(view, name, kind)
    }

    /// As [`CloudMap::resolve`].
    #[must_use]
    pub fn resolve(&self, view: &View, name: &DnsName, kind: RecordType) -> Answer {
        self.cloud_map.resolve(view, name, kind)
    }

    /// As [`CloudMap::explain_health_by`].
    pub fn explain_health_by(&self, reasons: Weak<dyn HealthReasons>) {
        self.cloud_map.explain_health_by(reasons);
    }

    /// As [`CloudMap::now`].
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.cloud_map.now()
    }

    /// As [`CloudMap::mode`].
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.cloud_map.mode()
    }

    /// As [`CloudMap::timing`].
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.cloud_map.timing()
    }

    /// As [`CloudMap::faults`]. Delays hold back nothing on this handle.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        self.cloud_map.faults()
    }

    /// As [`CloudMap::journal`].
    #[must_use]
    pub fn journal(&self) -> &Journal {
        self.cloud_map.journal()
    }

    /// As [`CloudMap::state`].
    #[must_use]
    pub fn state(&self) -> StateRef {
        self.cloud_map.state()
    }

    /// As [`CloudMap::cell`].
    #[must_use]
    pub fn cell(&self) -> &StateCell {
        self.cloud_map.cell()
    }

    /// As [`CloudMap::advance`].
    pub fn advance(&self) -> Option<Timestamp> {
        self.cloud_map.advance()
    }
}

/// [`ScopedCloudMap`] without `async`.
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

    /// The handle that this one polls. It waits for nothing.
    pub(crate) fn scoped(&self) -> &ScopedCloudMap {
        &self.scoped
    }

    /// As [`ScopedCloudMap::explain_discovery`].
    ///
    /// # Errors
    /// Those of [`ScopedCloudMap::explain_discovery`].
    pub fn explain_discovery(
        &self,
        request: impl Borrow<DiscoverInstancesRequest>,
    ) -> Result<Explanation, Error> {
        self.scoped.explain_discovery(request)
    }
}

/// Polls a write over an [`Immediate`] registry, which is done at once.
pub(crate) fn at_once<R>(write: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
    match pin!(write).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::Internal("a registry that is marked Immediate has waited")),
    }
}
