//! The handle that embedders hold: the API's operations as typed methods, asynchronous and synchronous.

mod blocking;
mod builder;
mod commit;
mod keep_time;
mod methods;
mod refresh;
mod reset;
mod sync;
mod throttle;

pub(crate) use blocking::at_once;
pub use blocking::{SyncCloudMap, SyncScopedCloudMap};
pub use builder::CloudMapBuilder;
pub use sync::{DesiredInstance, RefusedInstance, SyncedInstance, SyncedInstances};

use std::{
    borrow::Borrow,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::{
    api::{call::Request, error::Error, request::DiscoverInstancesRequest},
    cloud_map::{commit::Write, throttle::Throttle},
    dns::{
        explanation::{self, Explanation},
        records::{self, Answer, View},
    },
    health_check::HealthReasons,
    model::{DnsName, HealthStart, OperationError, RecordType, Scope, Timestamp, action::Action},
    ops::{
        Plan, ReadContext, WriteContext,
        discovery::{self, FoundInstances},
    },
    settings::{
        clock::Clock, id_source::IdSource, mode::Mode, quotas::Quotas, random::RandomSource, timing::Timing,
    },
    store::{
        cell::{StateCell, StateRef},
        registry::Registry,
    },
    testing::{
        fault::{Faults, Met},
        journal::{Entry, Journal},
    },
};

const NO_OPERATION: &str = "the injected fault fails an operation, and this action starts none";

/// AWS Cloud Map over a registry. A handle: clones share everything. It has no threads, no sockets and no global state.
#[derive(Clone, Debug)]
pub struct CloudMap {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Arc<dyn Registry>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    random: Arc<dyn RandomSource>,
    mode: Mode,
    timing: Timing,
    quotas: Quotas,
    health_start: HealthStart,
    /// Who explains the health of instances. Behind a lock that is held to clone it.
    health_reasons: Mutex<Option<Weak<dyn HealthReasons>>>,
    throttle: Throttle,
    faults: Faults,
    journal: Journal,
}

impl CloudMap {
    /// A handle on the registry with the default settings.
    #[must_use]
    pub fn new(registry: impl Registry) -> Self {
        Self::builder(registry).build()
    }

    /// A handle on the registry, with settings. An `Arc` of a registry, which others may share, is a registry too.
    pub fn builder<R: Registry>(registry: R) -> CloudMapBuilder<R> {
        CloudMapBuilder::new(registry)
    }

    /// The API in an account and Region.
    #[must_use]
    pub fn at(&self, scope: Scope) -> ScopedCloudMap {
        ScopedCloudMap { cloud_map: self.clone(), scope, waits: true, begun: None }
    }

    /// Why [`resolve`](Self::resolve), and with it the DNS door, answers a DNS question as it does.
    #[must_use]
    pub fn explain(&self, view: &View, name: &DnsName, kind: RecordType) -> Explanation {
        self.with_reasons(explanation::explain(&self.state(), view, name, kind))
    }

    /// Lets a prober say why instances have their health, in explanations. Replaces the one before. It is forgotten when its
    /// last owner drops it.
    pub fn explain_health_by(&self, reasons: Weak<dyn HealthReasons>) {
        *self.inner.health_reasons.lock().unwrap_or_else(PoisonError::into_inner) = Some(reasons);
    }

    fn with_reasons(&self, mut explanation: Explanation) -> Explanation {
        let reasons = self.inner.health_reasons.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(reasons), Some(namespace)) =
            (reasons.and_then(|weak| weak.upgrade()), &explanation.namespace)
        {
            for candidate in &mut explanation.candidates {
                candidate.reason = reasons.reason(&namespace.scope, &candidate.service, &candidate.instance);
            }
        }
        explanation
    }

    /// The time, by [the clock](CloudMapBuilder::clock).
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// How strict requests are checked.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }

    /// How long operations and reports of health take, and how often health is checked.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.inner.timing
    }

    /// What is to go wrong with the next calls: nothing, until something is injected.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// The newest calls, if [the builder](CloudMapBuilder::journal) was told how many to keep.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.inner.journal
    }

    /// Brings the published state to now, as every call does, and tells when something happens by itself next. For those
    /// who only look at [`cell`](Self::cell), and do not have [`keep_time`](Self::keep_time).
    pub fn advance(&self) -> Option<Timestamp> {
        self.cell().advance(self.inner.clock.now());
        self.cell().next_deadline()
    }

    /// Where the published state stands; doors attach their observers here.
    #[must_use]
    pub fn cell(&self) -> &StateCell {
        self.inner.registry.cell()
    }

    /// The state now: what is due has taken effect.
    ///
    /// It does not wait. If something became due and another thread is publishing at this moment, the state
    /// is computed ahead of what [`cell`](Self::cell) shows. Preconditions are then not to be taken from it:
    /// its revisions are provisional.
    #[must_use]
    pub fn state(&self) -> StateRef {
        self.cell().read_at(self.inner.clock.now()).into_state()
    }

    /// The published state, brought to now: what a write is planned from. Waits for other writers.
    fn published(&self) -> StateRef {
        self.cell().advance(self.inner.clock.now());
        self.cell().load()
    }

    /// Answers a DNS question as [`records::resolve`] does, from the state now.
    #[must_use]
    pub fn resolve(&self, view: &View, name: &DnsName, kind: RecordType) -> Answer {
        records::resolve(&self.state(), view, name, kind, &*self.inner.random)
    }

    /// Refuses what is asked too often, and what meets a fault. What is left of a fault is why the operation is to fail.
    fn admit(
        &self,
        action: Action,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Option<Box<OperationError>>, Error> {
        let failure = match self.inner.faults.meet(action, scope) {
            Some(Met::Refusal(error)) => return Err(error),
            Some(Met::Failure(error)) if action.starts_operation() => Some(error),
            Some(Met::Failure(_)) => return Err(Error::Internal(NO_OPERATION)),
            None => None,
        };
        if let Some(rate) = self.inner.quotas.rate(action) {
            self.inner.throttle.admit(rate, scope, now)?;
        }
        Ok(failure)
    }

    fn at_moment<R>(&self, scope: &Scope, now: Timestamp, read: impl FnOnce(&ReadContext<'_>) -> R) -> R {
        let moment = self.cell().read_at(now);
        read(&ReadContext {
            state: moment.state(),
            published: moment.published(),
            scope,
            now,
            operations: self.cell().operations(),
            random: &*self.inner.random,
        })
    }
}

/// The API in an account and Region. Reads answer at once; writes wait for the registry.
///
/// The operations of the API are methods by their names there. Each takes its request by value, or by reference if it is to be
/// sent again. It lists the errors of the service model. Any operation can also end in [`Error::Throttling`] by a
/// [fault](crate::Fault), and a write in [`Error::Unavailable`] and [`Error::Contention`], after which the request can be sent
/// again, [`Error::Rejected`] and [`Error::Internal`].
#[derive(Clone, Debug)]
pub struct ScopedCloudMap {
    cloud_map: CloudMap,
    scope: Scope,
    /// Whether delays hold writes back.
    waits: bool,
    /// The read that was held back and is done now is in the journal already.
    begun: Option<Entry>,
}

impl ScopedCloudMap {
    /// The account and Region.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The handle on all accounts and Regions.
    pub(crate) fn cloud_map(&self) -> &CloudMap {
        &self.cloud_map
    }

    /// Why [`discover_instances`](Self::discover_instances) answers a request as it does. Neither quotas nor faults count.
    ///
    /// # Errors
    /// Those of DiscoverInstances that tell of the request.
    pub fn explain_discovery(
        &self,
        request: impl Borrow<DiscoverInstancesRequest>,
    ) -> Result<Explanation, Error> {
        let cloud_map = &self.cloud_map;
        cloud_map
            .at_moment(&self.scope, cloud_map.inner.clock.now(), |context| {
                discovery::explain(request.borrow(), context)
            })
            .map(|explanation| cloud_map.with_reasons(explanation))
    }

    /// See [`door::discover_instances_with`](crate::door::discover_instances_with).
    pub(crate) fn discover_instances_with<R>(
        &self,
        request: &DiscoverInstancesRequest,
        use_it: impl FnOnce(&FoundInstances<'_>) -> R,
    ) -> Result<R, Error> {
        self.read(Action::DiscoverInstances, request, |request, context| {
            discovery::find(request, context).map(|found| use_it(&found))
        })
    }

    /// Commits what is no request of the API.
    async fn planned<R: Send>(
        &self,
        plan: impl Fn(&WriteContext<'_>) -> Result<Plan<R>, Error> + Send,
    ) -> Result<R, Error> {
        let now = self.cloud_map.inner.clock.now();
        let write = Write { scope: &self.scope, now, failure: None, asked: &|| None };
        self.cloud_map.commit(write, plan).await
    }

    /// See [`door::hold_back`](crate::door::hold_back).
    pub(crate) async fn hold_back<Q: Clone + Into<Request> + Sync, R>(
        &self,
        action: Action,
        request: &Q,
        read: impl FnOnce(&Self) -> R + Send,
    ) -> R {
        let Inner { clock, faults, journal, .. } = &*self.cloud_map.inner;
        let Some(delay) = faults.delay(action, &self.scope) else {
            self.look_ahead(action, || request.clone().into()).await;
            return read(self);
        };
        let begun = journal.begin(clock.now(), &self.scope, || request.clone().into());
        delay.await;
        self.look_ahead(action, || request.clone().into()).await;
        read(&Self { begun, ..self.clone() })
    }

    fn read<Q: Clone + Into<Request>, R>(
        &self,
        action: Action,
        request: &Q,
        plan: impl FnOnce(&Q, &ReadContext<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let Self { cloud_map, scope, begun, .. } = self;
        let Inner { clock, journal, .. } = &*cloud_map.inner;
        // One moment for all: what an answer says has happened is in the published state.
        let now = clock.now();
        let entry = begun.or_else(|| journal.begin(now, scope, || request.clone().into()));
        let admitted = cloud_map.admit(action, scope, now);
        let result = admitted.and_then(|_| cloud_map.at_moment(scope, now, |context| plan(request, context)));
        journal.end(entry, &result);
        result
    }
}
