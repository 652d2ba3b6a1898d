//! The handle that embedders hold: the API's operations as typed methods, asynchronous and synchronous.

mod keep_time;
mod reset;
mod sync;

pub use sync::{DesiredInstance, SyncedInstances};

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    action::Action,
    cell::{StateCell, StateRef},
    change::{Change, ChangeSet, Precondition},
    clock::{Clock, SystemClock, Timestamp},
    error::Error,
    explanation::{self, Explanation},
    fault::{Faults, Met},
    ids::{Fresh, IdSource, OperationId, RandomIds, Scope},
    journal::{Entry, Journal, Request},
    mode::Mode,
    model::{Operation, OperationError, RecordType, Tags},
    name::DnsName,
    ops::{
        Plan, ReadContext, WriteContext, custom_health, discovery, instances, namespaces, operations,
        service_attributes, services, tags, update_namespace, update_service,
    },
    quotas::Quotas,
    random::{RandomSource, ThreadRandom},
    records::{self, Answer, View},
    registry::{CommitError, Immediate, Registry},
    request::{
        CreateHttpNamespaceRequest, CreatePrivateDnsNamespaceRequest, CreatePublicDnsNamespaceRequest,
        CreateServiceRequest, DeleteNamespaceRequest, DeleteServiceAttributesRequest, DeleteServiceRequest,
        DeregisterInstanceRequest, DiscoverInstancesRequest, DiscoverInstancesRevisionRequest,
        GetInstanceRequest, GetInstancesHealthStatusRequest, GetNamespaceRequest, GetOperationRequest,
        GetServiceAttributesRequest, GetServiceRequest, ListInstancesRequest, ListNamespacesRequest,
        ListOperationsRequest, ListServicesRequest, ListTagsForResourceRequest, RegisterInstanceRequest,
        TagResourceRequest, UntagResourceRequest, UpdateHttpNamespaceRequest,
        UpdateInstanceCustomHealthStatusRequest, UpdatePrivateDnsNamespaceRequest,
        UpdatePublicDnsNamespaceRequest, UpdateServiceAttributesRequest, UpdateServiceRequest,
    },
    response::{
        DiscoveredInstances, DiscoveredRevision, FoundInstances, InstanceDescription, InstanceHealth,
        InstancePage, NamespaceDescription, OperationStarted, OperationSummary, Page,
        ServiceAttributesDescription, ServiceDescription,
    },
    state::State,
    throttle::Throttle,
    timing::Timing,
};

/// How often a request is planned again after a conflict before the caller is told to try later.
const ATTEMPTS: usize = 16;

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
    throttle: Throttle,
    faults: Faults,
    journal: Journal,
}

/// Collects what a [`CloudMap`] depends on.
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct CloudMapBuilder {
    inner: Inner,
}

impl CloudMapBuilder {
    fn new(registry: Arc<dyn Registry>) -> Self {
        let inner = Inner {
            registry,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            random: Arc::new(ThreadRandom),
            mode: Mode::default(),
            timing: Timing::default(),
            quotas: Quotas::default(),
            throttle: Throttle::default(),
            faults: Faults::default(),
            journal: Journal::keeping(0),
        };
        Self { inner }
    }

    /// Where the time comes from; by default the system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.inner.clock = Arc::new(clock);
        self
    }

    /// Where identifiers come from; by default they are random.
    pub fn ids(mut self, ids: impl IdSource) -> Self {
        self.inner.ids = Arc::new(ids);
        self
    }

    /// Where random choices come from; by default a generator that the operating system seeds.
    pub fn random(mut self, random: impl RandomSource) -> Self {
        self.inner.random = Arc::new(random);
        self
    }

    /// What happens to requests that AWS refuses; by default [`Mode::Lenient`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.inner.mode = mode;
        self
    }

    /// How long operations and reports of health take; by default [`Timing::instant`].
    pub fn timing(mut self, timing: Timing) -> Self {
        self.inner.timing = timing;
        self
    }

    /// How much an account may have and how often it may ask; by default [`Quotas::none`].
    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.inner.quotas = quotas;
        self
    }

    /// How many calls the journal keeps, the newest; by default none.
    pub fn journal(mut self, calls: usize) -> Self {
        self.inner.journal = Journal::keeping(calls);
        self
    }

    /// The handle.
    #[must_use]
    pub fn build(self) -> CloudMap {
        CloudMap { inner: Arc::new(self.inner) }
    }
}

impl CloudMap {
    /// A handle on the registry with the default settings.
    #[must_use]
    pub fn new(registry: impl Registry) -> Self {
        Self::builder(registry).build()
    }

    /// A handle on the registry, with settings. An `Arc` of a registry, which others may share, is a registry too.
    pub fn builder(registry: impl Registry) -> CloudMapBuilder {
        CloudMapBuilder::new(Arc::new(registry))
    }

    /// The API in an account and Region.
    #[must_use]
    pub fn at(&self, scope: Scope) -> ScopedCloudMap {
        ScopedCloudMap { cloud_map: self.clone(), scope, begun: None }
    }

    /// Why [`resolve`](Self::resolve), and with it the DNS door, answers a DNS question as it does.
    #[must_use]
    pub fn explain(&self, view: &View, name: &DnsName, kind: RecordType) -> Explanation {
        explanation::explain(&self.state(), view, name, kind)
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

    async fn write<Q: Clone + Into<Request> + Sync, R: Send>(
        &self,
        call: WriteCall<'_, Q>,
        plan: impl Fn(&Q, &WriteContext<'_>) -> Result<Plan<R>, Error> + Send,
    ) -> Result<R, Error> {
        let inner = &*self.inner;
        let WriteCall { action, scope, request, waits } = call;
        let entry = inner.journal.begin(inner.clock.now(), scope, || request.clone().into());
        if waits && let Some(delay) = inner.faults.delay(action, scope) {
            delay.await;
        }
        let now = inner.clock.now();
        let result = match self.admit(action, scope, now) {
            Ok(failure) => {
                self.commit(scope, now, failure.as_deref(), move |context| plan(request, context)).await
            }
            Err(error) => Err(error),
        };
        inner.journal.end(entry, &result);
        result
    }

    /// Plans, commits, and plans again if what the plan relied on has changed.
    async fn commit<R: Send>(
        &self,
        scope: &Scope,
        now: Timestamp,
        failure: Option<&OperationError>,
        plan: impl Fn(&WriteContext<'_>) -> Result<Plan<R>, Error> + Send,
    ) -> Result<R, Error> {
        let inner = &*self.inner;
        let fresh = Fresh::draw(&*inner.ids);
        // What the backend may have stored, and will show sooner or later; then this request is done.
        let mut uncertain: Option<(Trace, R)> = None;
        for _ in 0..ATTEMPTS {
            let planned = {
                let context = WriteContext {
                    state: &self.published(),
                    scope,
                    now,
                    mode: inner.mode,
                    timing: inner.timing,
                    quotas: inner.quotas,
                    failure,
                    fresh: &fresh,
                };
                plan(&context)
            };
            // After planning, so that a plan that saw what this request has stored before is not believed.
            uncertain = match uncertain {
                Some((trace, response)) if trace.is_in(self.cell()) => return Ok(response),
                open => open,
            };
            let planned = planned?;
            let Some(changes) = planned.changes else {
                return Ok(planned.response);
            };
            let trace = Trace::of(&changes);
            match inner.registry.commit(changes).await {
                Ok(()) => return Ok(planned.response),
                Err(CommitError::Conflict) => {}
                Err(CommitError::Ambiguous) => uncertain = Some((trace, planned.response)),
                Err(CommitError::Rejected { key, reason }) => return Err(Error::Rejected { key, reason }),
                Err(CommitError::Unavailable { retry_after, source }) => {
                    return Err(Error::Unavailable { retry_after, source: Some(source.into()) });
                }
            }
        }
        match uncertain {
            Some((trace, response)) if trace.is_in(self.cell()) => Ok(response),
            _ => Err(Error::Contention),
        }
    }
}

/// A call of a write.
struct WriteCall<'a, Q> {
    action: Action,
    scope: &'a Scope,
    request: &'a Q,
    /// Whether it can be held back.
    waits: bool,
}

/// Evidence that a set was stored: its operation, which has the same id however often the request is planned,
/// or the changed entities if it has none. With an operation a missing entity is not evidence: another
/// request may have deleted it, and the answer would name an operation that does not exist.
enum Trace {
    Operation(Scope, OperationId),
    Changes(ChangeSet),
}

impl Trace {
    fn of(set: &ChangeSet) -> Self {
        let begun = set.changes.iter().find_map(|change| match change {
            Change::BeginOperation(pending) => Some(&pending.operation),
            _ => None,
        });
        match set.operation.as_deref().or(begun) {
            Some(operation) => Self::Operation(set.scope.clone(), operation.id.clone()),
            None => Self::Changes(set.clone()),
        }
    }

    fn is_in(&self, cell: &StateCell) -> bool {
        match self {
            // In this order: an operation that ends is in the log before it is not under way any more.
            Self::Operation(scope, id) => {
                let id = id.as_str();
                cell.load().scope(scope).in_flight(id).is_some() || cell.operations().get(id).is_some()
            }
            Self::Changes(set) => {
                let state = cell.load();
                !set.changes.is_empty() && (is_visible(set, &state) || is_deleted(set, &state))
            }
        }
    }
}

/// Whether a set of deletions has nothing left to delete: the entities that it relies on do not exist any
/// more, whatever has their ids now.
fn is_deleted(set: &ChangeSet, state: &State) -> bool {
    let deletes = |change: &Change| {
        matches!(
            change,
            Change::DeleteNamespace(_) | Change::DeleteService(_) | Change::DeleteInstance { .. }
        )
    };
    let mut relied_on =
        set.preconditions.iter().filter(|fact| matches!(fact, Precondition::Live(..))).peekable();
    relied_on.peek().is_some()
        && set.changes.iter().all(deletes)
        && relied_on.all(|fact| !state.scope(&set.scope).holds(fact))
}

/// Whether the state shows that these changes were stored: each entity is the one that was put, or is gone.
fn is_visible(set: &ChangeSet, state: &State) -> bool {
    let scope = state.scope(&set.scope);
    set.changes.iter().all(|change| match change {
        Change::PutNamespace(namespace) => {
            scope.namespace(namespace.id.as_str()).is_some_and(|found| found.namespace() == namespace)
        }
        Change::DeleteNamespace(id) => scope.namespace(id.as_str()).is_none(),
        Change::PutService(service) => {
            scope.service(service.id.as_str()).is_some_and(|found| found.service() == service)
        }
        Change::DeleteService(id) => scope.service(id.as_str()).is_none(),
        Change::PutInstance { service, instance, .. } => scope
            .service(service.as_str())
            .and_then(|entry| entry.instances().get(instance.id.as_str()))
            .is_some_and(|found| found.instance().registered_by == instance.registered_by),
        Change::DeleteInstance { service, id } => {
            scope.service(service.as_str()).is_none_or(|entry| entry.instances().get(id.as_str()).is_none())
        }
        Change::BeginOperation(pending) => scope.in_flight(pending.operation.id.as_str()).is_some(),
        Change::EndOperation(id) => scope.in_flight(id.as_str()).is_none(),
        Change::PutHealth { service, id, health } => scope
            .service(service.as_str())
            .and_then(|entry| entry.instances().get(id.as_str()))
            .is_some_and(|found| found.health() == *health),
    })
}

/// The API in an account and Region. Reads answer at once; writes wait for the registry.
///
/// Every method is an operation of the API by its name there, and its errors are those that the API Reference lists for
/// it, or [`Error::Unavailable`] and [`Error::Contention`], after which the request can be sent again.
#[derive(Clone, Debug)]
pub struct ScopedCloudMap {
    cloud_map: CloudMap,
    scope: Scope,
    /// The read that was held back and is done now is in the journal already.
    begun: Option<Entry>,
}

impl ScopedCloudMap {
    /// The account and Region.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Why [`discover_instances`](Self::discover_instances) answers a request as it does. Neither quotas nor faults count.
    ///
    /// # Errors
    /// Those of DiscoverInstances that tell of the request.
    pub fn explain_discovery(&self, request: &DiscoverInstancesRequest) -> Result<Explanation, Error> {
        let cloud_map = &self.cloud_map;
        cloud_map.at_moment(&self.scope, cloud_map.inner.clock.now(), |context| {
            discovery::explain(request, context)
        })
    }

    /// [`discover_instances`](Self::discover_instances) for a door, which writes its answer from what stands in the state,
    /// without a copy in between.
    ///
    /// # Errors
    /// Those of [`discover_instances`](Self::discover_instances).
    pub fn discover_instances_with<R>(
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
        self.cloud_map.commit(&self.scope, now, None, plan).await
    }

    /// For doors: does a read, by the handle that the closure is given, after a [delay](crate::Fault::delay) that holds this
    /// call back. Writes wait by themselves.
    pub async fn hold_back<Q: Clone + Into<Request> + Sync, R>(
        &self,
        action: Action,
        request: &Q,
        read: impl FnOnce(&Self) -> R + Send,
    ) -> R {
        let Inner { clock, faults, journal, .. } = &*self.cloud_map.inner;
        let Some(delay) = faults.delay(action, &self.scope) else { return read(self) };
        let begun = journal.begin(clock.now(), &self.scope, || request.clone().into());
        delay.await;
        read(&Self { begun, ..self.clone() })
    }

    fn read<Q: Clone + Into<Request>, R>(
        &self,
        action: Action,
        request: &Q,
        plan: impl FnOnce(&Q, &ReadContext<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let Self { cloud_map, scope, begun } = self;
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

/// [`CloudMap`] without asynchrony, over a registry that waits for nothing.
#[derive(Clone, Debug)]
pub struct SyncCloudMap {
    cloud_map: CloudMap,
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
    scoped: ScopedCloudMap,
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
fn at_once<R>(write: impl Future<Output = Result<R, Error>>) -> Result<R, Error> {
    match pin!(write).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::Internal("a registry that is marked Immediate has waited")),
    }
}

macro_rules! methods {
    (
        write { $($write:ident $wm:ident $wq:ident => $wr:ty: $wp:path,)* }
        read { $($read:ident $rm:ident $rq:ident => $rr:ty: $rp:path,)* }
    ) => {
        impl ScopedCloudMap {
            $(
                #[doc = concat!("[`", stringify!($write), "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_", stringify!($write), ".html).")]
                ///
                /// # Errors
                /// Those of the API Reference.
                pub async fn $wm(&self, request: $wq) -> Result<$wr, Error> {
                    let (action, scope, request) = (Action::$write, &self.scope, &request);
                    self.cloud_map.write(WriteCall { action, scope, request, waits: true }, $wp).await
                }
            )*
            $(
                #[doc = concat!("[`", stringify!($read), "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_", stringify!($read), ".html).")]
                ///
                /// # Errors
                /// Those of the API Reference.
                pub fn $rm(&self, request: &$rq) -> Result<$rr, Error> {
                    self.read(Action::$read, request, $rp)
                }
            )*
        }

        impl SyncScopedCloudMap {
            $(
                #[doc = concat!("[`", stringify!($write), "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_", stringify!($write), ".html).")]
                ///
                /// # Errors
                /// Those of the API Reference.
                pub fn $wm(&self, request: $wq) -> Result<$wr, Error> {
                    let ScopedCloudMap { cloud_map, scope, .. } = &self.scoped;
                    let (action, request) = (Action::$write, &request);
                    at_once(cloud_map.write(WriteCall { action, scope, request, waits: false }, $wp))
                }
            )*
            $(
                #[doc = concat!("[`", stringify!($read), "`](https://docs.aws.amazon.com/cloud-map/latest/api/API_", stringify!($read), ".html).")]
                ///
                /// # Errors
                /// Those of the API Reference.
                pub fn $rm(&self, request: &$rq) -> Result<$rr, Error> {
                    self.scoped.$rm(request)
                }
            )*
        }
    };
}

crate::for_each_action!(methods);
