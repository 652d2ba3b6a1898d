//! Health checks (feature `health-checks`): a prober asks the instances of services with a Route 53 health check, and keeps
//! their status.
//!
//! What is asked, and what results mean, are rules of [`sd_core::health_check`]. The prober has the sockets, the schedule and
//! the counts. It commits a status only when it changes, so that results that confirm it cost a backend nothing.
//!
//! ```
//! use std::time::Duration;
//!
//! use sd_backend_memory::MemoryRegistry;
//! use sd_core::CloudMap;
//! use sd_http::health_checks::Prober;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let cloud_map = CloudMap::new(MemoryRegistry::new());
//! let prober = Prober::new(cloud_map).with_interval(Duration::from_millis(500)).spawn()?;
//! assert_eq!(prober.counters().instances, 0);
//! // It probes until it is dropped.
//! drop(prober);
//! # Ok::<(), sd_http::health_checks::SpawnError>(())
//! # }).unwrap();
//! ```
//!
//! # When an instance is asked
//! - First within a tenth of the interval after its registration, then once in each interval, which counts from the
//!   response. Instances that were registered together are spread over the interval by their second probe.
//! - A registration again and a change of the check begin anew. Nothing else does: not other registrations, not an
//!   UpdateService that leaves the check as it is, not a restart over a store, which has the statuses.
//! - At most [`with_max_in_flight`](Prober::with_max_in_flight) sockets are open. Targets that let the prober wait have a
//!   quarter of them, so they delay only each other.
//! - Only the registered address is asked, never where a redirect points. Link-local addresses are not asked
//!   ([`Failure::ForbiddenAddress`]) unless that is [allowed](Prober::with_link_local).
//!
//! # Why a status is what it is
//! [`ProberHandle::report`] has the last 20 results of each instance and, apart, its last 5 failures, with the time of each
//! phase. [`CloudMap::explain`] says the last reason. Changes of a status are logged; results are not.

mod counters;
mod dirty;
mod driver;
mod entry;
mod failure;
pub(crate) mod head;
mod history;
mod probe;
mod report;
#[cfg(feature = "admin")]
mod routes;
mod schedule;
mod table;
mod timer;
mod tls;

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub use counters::{FailedProbes, ProberCounters};
pub use failure::Failure;
pub use history::CheckResult;
pub use probe::{Phases, Probed};
pub use report::{InstanceChecks, Probe, ProbeError, ServiceChecks};
use sd_core::{
    Attached, CloudMap,
    door::Latency,
    health_check::HealthReasons,
    model::{CustomHealthStatus, InstanceId, ServiceId},
};
pub use timer::Timer;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use self::{
    dirty::Dirty,
    driver::Driver,
    entry::{Counted, Key},
    probe::Setup,
    schedule::Lane,
    table::Table,
    timer::TokioTimer,
};

/// The shortest interval of health checks.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// How many probes may be under way by default.
const MAX_IN_FLIGHT: usize = 256;

/// Checks the health of instances. Collects settings; [`spawn`](Self::spawn) starts it.
#[derive(Debug)]
#[must_use = "a prober does nothing until it is spawned"]
pub struct Prober {
    cloud_map: CloudMap,
    interval: Duration,
    max_in_flight: usize,
    link_local: bool,
    timer: Option<Arc<dyn Timer>>,
    turn: Option<watch::Receiver<bool>>,
}

/// Why a prober was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The interval is shorter than [`MIN_INTERVAL`].
    #[error("the interval of health checks is {0:?}, expected at least {MIN_INTERVAL:?}")]
    Interval(Duration),
    /// TLS cannot be set up.
    #[error("cannot set up TLS for health checks: {0}")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Prober {
    /// A prober with the interval of the Cloud Map's [`Timing`](sd_core::Timing).
    pub fn new(cloud_map: CloudMap) -> Self {
        let interval = cloud_map.timing().health_check_interval();
        Self { cloud_map, interval, max_in_flight: MAX_IN_FLIGHT, link_local: false, timer: None, turn: None }
    }

    /// Sets the time from the response of a target to the next probe, [`MIN_INTERVAL`] or more.
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets how many probes may be under way, each with a socket: 256 by default, at least 2.
    pub fn with_max_in_flight(mut self, most: usize) -> Self {
        self.max_in_flight = most.max(2);
        self
    }

    /// Lets the prober ask link-local addresses, which serve the metadata of a machine in a cloud.
    pub fn with_link_local(mut self) -> Self {
        self.link_local = true;
        self
    }

    /// Sets the time that it goes by, such as a [`ManualClock`](sd_core::ManualClock); by default tokio's.
    pub fn with_timer(mut self, timer: impl Timer) -> Self {
        self.timer = Some(Arc::new(timer));
        self
    }

    /// Lets the prober probe only while this is true. Where several replicas share a store, one has the turn; which one is
    /// the host's choice. A prober that gets the turn begins with a first probe of each instance, and with the statuses that
    /// are stored.
    pub fn with_turn(mut self, turn: watch::Receiver<bool>) -> Self {
        self.turn = Some(turn);
        self
    }

    /// Starts the prober as a task of the current runtime. It stops when the handle is dropped.
    ///
    /// # Errors
    /// The interval is too short, or TLS cannot be set up.
    ///
    /// # Panics
    /// There is no tokio runtime.
    pub fn spawn(self) -> Result<ProberHandle, SpawnError> {
        let Self { cloud_map, interval, max_in_flight, link_local, timer, turn } = self;
        if interval < MIN_INTERVAL {
            return Err(SpawnError::Interval(interval));
        }
        let tls = tls::connector().map_err(|error| SpawnError::Tls(Box::new(error)))?;
        let timer = timer.unwrap_or_else(|| Arc::new(TokioTimer::new()));
        let slow = (max_in_flight / 4).max(1);
        let shared = Arc::new(Shared {
            cloud_map: cloud_map.clone(),
            setup: Setup { timer, tls, link_local },
            interval,
            table: Table::default(),
            dirty: Arc::new(Dirty::default()),
            max_in_flight,
            quick: Arc::new(Semaphore::new(max_in_flight - slow)),
            slow: Arc::new(Semaphore::new(slow)),
            slow_places: u32::try_from(slow).unwrap_or(u32::MAX),
            on_request: Semaphore::new(report::ON_REQUEST),
            probing: AtomicBool::new(false),
            instances: AtomicUsize::new(0),
            warned: AtomicU64::new(0),
            counters: Mutex::default(),
        });
        let attached = cloud_map.cell().attach(shared.dirty.clone());
        let task = tokio::spawn(Driver::new(Arc::clone(&shared), turn).run());
        let reasons: Weak<dyn HealthReasons> = Arc::downgrade(&(shared.clone() as Arc<dyn HealthReasons>));
        cloud_map.explain_health_by(reasons);
        Ok(ProberHandle { running: Arc::new(Running { shared, task, _attached: attached }) })
    }
}

/// A running prober. Clones share it, and it stops when the last one is dropped.
#[derive(Clone, Debug)]
#[must_use = "the prober stops when this is dropped"]
pub struct ProberHandle {
    running: Arc<Running>,
}

struct Running {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    _attached: Attached,
}

impl Drop for Running {
    fn drop(&mut self) {
        // The driver's own tasks end with it.
        self.task.abort();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl ProberHandle {
    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> ProberCounters {
        let shared = &self.running.shared;
        let free = shared.quick.available_permits() + shared.slow.available_permits();
        ProberCounters {
            probing: shared.probing.load(Relaxed),
            instances: shared.instances.load(Relaxed),
            in_flight: shared.max_in_flight.saturating_sub(free),
            ..shared.counters().clone()
        }
    }
}

/// What the driver, the tasks of probes and the handles share.
struct Shared {
    cloud_map: CloudMap,
    setup: Setup,
    interval: Duration,
    table: Table,
    dirty: Arc<Dirty>,
    max_in_flight: usize,
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    /// How many places `slow` has in all.
    slow_places: u32,
    /// Permits of probes on request.
    on_request: Semaphore,
    probing: AtomicBool,
    instances: AtomicUsize,
    /// When the last warning about this machine or the store was logged: seconds of the timer, plus one. 0: never.
    warned: AtomicU64,
    /// Held to count.
    counters: Mutex<ProberCounters>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober")
            .field("interval", &self.interval)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// One warning in this time tells of faults that concern many probes.
    const WARNING_INTERVAL: Duration = Duration::from_secs(60);

    fn counters(&self) -> MutexGuard<'_, ProberCounters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_lateness(&self, lane: Lane, late: Duration) {
        let mut counters = self.counters();
        let lateness: &mut Latency = match lane {
            Lane::Quick => &mut counters.lateness,
            Lane::Slow => &mut counters.lateness_of_slow,
        };
        lateness.add(late, 1);
    }

    fn count(&self, probed: Probed, counted: &Counted) {
        let mut counters = self.counters();
        match (counted, probed.result) {
            (Counted::Outdated, _) => counters.outdated += 1,
            (_, Ok(_)) => counters.healthy += 1,
            (_, Err(failure)) => counters.failed.add(failure),
        }
    }

    fn count_transition(&self, status: CustomHealthStatus) {
        let mut counters = self.counters();
        match status {
            CustomHealthStatus::Healthy => counters.to_healthy += 1,
            CustomHealthStatus::Unhealthy => counters.to_unhealthy += 1,
        }
    }

    /// This machine could not make a probe.
    fn not_made(&self, error: &io::Error) {
        self.counters().not_made += 1;
        if self.may_warn() {
            tracing::warn!(%error, "cannot probe: health is not checked until this machine has sockets again");
        }
    }

    /// A status could not be stored.
    fn not_stored(&self, error: &sd_core::Error) {
        self.counters().not_stored += 1;
        if self.may_warn() {
            tracing::warn!(%error, "cannot store the status that a health check led to; the next result tries again");
        }
    }

    fn may_warn(&self) -> bool {
        let now = self.setup.timer.now().as_secs().saturating_add(1);
        let is_due = |last: u64| last == 0 || now.saturating_sub(last) >= Self::WARNING_INTERVAL.as_secs();
        self.warned.fetch_update(Relaxed, Relaxed, |last| is_due(last).then_some(now)).is_ok()
    }
}

impl HealthReasons for Shared {
    fn reason(&self, scope: &sd_core::Scope, service: &ServiceId, instance: &InstanceId) -> Option<String> {
        let key = Key { scope: scope.clone(), service: service.clone(), instance: instance.clone() };
        let entry = self.table.get(&key)?;
        let known = entry.known();
        let target = match &known.target {
            Ok(target) => target,
            Err(reason) => return Some(reason.to_string()),
        };
        let Some(last) = known.history.last() else {
            return Some(format!("{} has not been asked yet", target.address));
        };
        let (in_a_row, at) = (known.history.in_a_row(), target.address);
        Some(match (last.failure, last.status) {
            (Some(failure), _) => format!("{failure} at {at}, failures in a row: {in_a_row}"),
            (None, Some(0) | None) => format!("{at} accepts connections, successes in a row: {in_a_row}"),
            (None, Some(status)) => format!("{at} answers {status}, successes in a row: {in_a_row}"),
        })
    }
}
