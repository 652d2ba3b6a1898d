//! The task that begins probes when they are due, and the tasks of the probes.

use std::{
    collections::HashMap,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use sd_core::{
    State,
    model::{CustomHealthStatus, HealthCheck, HealthCheckConfig},
};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::JoinSet,
};

use super::{
    Shared,
    entry::{Ask, Counted, Entry, Key},
    probe::{Probed, probe},
    schedule::{Lane, Schedule},
    timer::Timer,
};

/// A probe that has no result after this time does not take a place among the quick ones any more.
const GRACE: Duration = Duration::from_millis(250);
/// How many instances are looked at before other tasks get their turn.
const BATCH: usize = 256;

/// When an entry is probed next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// After this time.
    In(Lane, Duration),
    /// Now, since the instance or its check has changed.
    Anew,
    /// Not before the instance changes.
    Never,
}

/// What the tasks of probes tell the driver.
#[derive(Debug)]
enum Told {
    /// A probe is over.
    Over(u64, Next),
    /// A place among the quick ones is free.
    Room,
}

/// Tells the driver that a probe is over, also if its task panics.
struct Guard {
    entry: u64,
    next: Next,
    tell: mpsc::UnboundedSender<Told>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.tell.send(Told::Over(self.entry, self.next));
    }
}

struct Slot {
    entry: Arc<Entry>,
    /// Whether a probe is under way.
    is_probed: bool,
    /// Whether the instance or its check has changed during the probe.
    is_anew: bool,
}

/// Begins probes when they are due.
pub(super) struct Driver {
    shared: Arc<Shared>,
    turn: Option<watch::Receiver<bool>>,
    schedule: Schedule,
    /// When the next slow probe may begin. They begin one after another, because those that begin together wait together,
    /// and end in a burst that delays the quick ones.
    slow_from: Duration,
    slots: HashMap<u64, Slot>,
    next_id: u64,
    tell: mpsc::UnboundedSender<Told>,
    /// Every probe under way tells at most two things, so that its size is bounded by theirs.
    told: mpsc::UnboundedReceiver<Told>,
    probes: JoinSet<()>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, turn: Option<watch::Receiver<bool>>) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self {
            shared,
            turn,
            schedule: Schedule::default(),
            slow_from: Duration::ZERO,
            slots: HashMap::new(),
            next_id: 0,
            tell,
            told,
            probes: JoinSet::new(),
        }
    }

    /// Runs until the task is aborted.
    pub(super) async fn run(mut self) {
        let mut alarm = Alarm::default();
        loop {
            if self.has_turn() {
                self.follow().await;
                self.begin_due();
            }
            let shared = Arc::clone(&self.shared);
            alarm.set(&shared.setup.timer, self.next_due());
            tokio::select! {
                told = self.told.recv() => {
                    self.hear(told.as_ref());
                    while let Ok(told) = self.told.try_recv() {
                        self.hear(Some(&told));
                    }
                    while self.probes.try_join_next().is_some() {}
                }
                () = shared.dirty.wake.notified() => {}
                () = alarm.rings() => {}
                () = turned(self.turn.as_mut()) => {}
            }
        }
    }

    /// Whether this prober has the turn. Without it nothing is kept; with it everything is looked at.
    fn has_turn(&mut self) -> bool {
        let has = self.turn.as_mut().is_none_or(|turn| *turn.borrow_and_update());
        if self.shared.probing.swap(has, Relaxed) != has {
            if has {
                self.shared.dirty.mark_all();
            } else {
                self.schedule = Schedule::default();
                self.slots.clear();
                self.shared.table.clear();
                self.probes.abort_all();
                self.shared.instances.store(0, Relaxed);
            }
        }
        has
    }

    /// Looks at what has changed.
    async fn follow(&mut self) {
        let keys = self.shared.dirty.take();
        let mut looked_at = 0;
        if keys.all {
            // A state is a value, and cheap to keep for this long.
            let state = State::clone(&self.shared.cloud_map.state());
            for key in self.shared.table.keys() {
                self.look(&key, &state);
                pause(&mut looked_at).await;
            }
            for (scope, here) in state.scopes() {
                for service in here.services() {
                    let of = (scope.clone(), service.service().id.clone());
                    let Some(config) = route53(&service.service().health_check) else { continue };
                    self.shared.table.has_check(&of, Some(config));
                    for instance in service.instances().iter() {
                        let (scope, service) = of.clone();
                        let instance = instance.instance().id.clone();
                        self.look(&Key { scope, service, instance }, &state);
                        pause(&mut looked_at).await;
                    }
                }
            }
            return;
        }
        if keys.services.is_empty() && keys.instances.is_empty() {
            return;
        }
        let state = State::clone(&self.shared.cloud_map.state());
        for of in keys.services {
            let service = state.scope(&of.0).service(of.1.as_str());
            let config = service.and_then(|entry| route53(&entry.service().health_check));
            if self.shared.table.has_check(&of, config) {
                continue;
            }
            let registered = service.into_iter().flat_map(|entry| entry.instances().iter());
            let registered = registered.map(|entry| entry.instance().id.clone());
            let (scope, service) = of.clone();
            let registered =
                registered.map(|instance| Key { scope: scope.clone(), service: service.clone(), instance });
            for key in registered.chain(self.shared.table.keys_of(&of)).collect::<Vec<_>>() {
                self.look(&key, &state);
                pause(&mut looked_at).await;
            }
        }
        for key in keys.instances {
            self.look(&key, &state);
            pause(&mut looked_at).await;
        }
    }

    /// Looks at one instance: it is new, has changed, or is gone.
    fn look(&mut self, key: &Key, state: &State) {
        match (self.shared.table.get(key), key.check(state)) {
            (None, None) => {}
            (Some(entry), None) => self.forget(&entry),
            (None, Some(check)) => {
                let id = self.next_id;
                self.next_id += 1;
                let entry = Arc::new(Entry::new(id, key.clone(), &check));
                self.shared.table.insert(Arc::clone(&entry), check.config());
                self.shared.instances.fetch_add(1, Relaxed);
                self.slots.insert(id, Slot { entry, is_probed: false, is_anew: false });
                self.begin_anew(id);
            }
            (Some(entry), Some(check)) => {
                if entry.follow(&check) {
                    self.begin_anew(entry.id);
                }
            }
        }
    }

    fn forget(&mut self, entry: &Arc<Entry>) {
        self.schedule.remove(entry.id);
        if self.slots.remove(&entry.id).is_some() {
            self.shared.instances.fetch_sub(1, Relaxed);
        }
        self.shared.table.remove(&entry.key);
    }

    /// Plans a first probe: soon, but not all at once.
    fn begin_anew(&mut self, id: u64) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.is_anew = slot.is_probed;
        let is_checked = slot.entry.known().target.is_ok();
        if slot.is_probed {
            return;
        }
        if is_checked {
            let within = self.shared.interval / 10;
            let due = self.shared.setup.timer.now().saturating_add(within.mul_f64(fastrand::f64()));
            self.schedule.set(id, Lane::Quick, due);
        } else {
            self.schedule.remove(id);
        }
    }

    fn hear(&mut self, told: Option<&Told>) {
        let Some(&Told::Over(id, next)) = told else { return };
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.is_probed = false;
        match next {
            _ if slot.is_anew => self.begin_anew(id),
            Next::In(lane, wait) => {
                self.schedule.set(id, lane, self.shared.setup.timer.now().saturating_add(wait));
            }
            Next::Anew => self.begin_anew(id),
            Next::Never => {}
        }
    }

    /// When something is due next. What is due and has no place waits for one.
    fn next_due(&mut self) -> Option<Duration> {
        let quick = self.schedule.next(Lane::Quick).filter(|_| self.shared.quick.available_permits() > 0);
        let slow = self.schedule.next(Lane::Slow).filter(|_| self.shared.slow.available_permits() > 0);
        let slow = slow.map(|due| due.max(self.slow_from));
        quick.into_iter().chain(slow).min()
    }

    fn begin_due(&mut self) {
        let now = self.shared.setup.timer.now();
        for lane in [Lane::Quick, Lane::Slow] {
            let places = match lane {
                Lane::Quick => &self.shared.quick,
                Lane::Slow => &self.shared.slow,
            };
            while lane == Lane::Quick || self.slow_from <= now {
                let Ok(place) = Arc::clone(places).try_acquire_owned() else { break };
                let Some((id, due)) = self.schedule.take_due(lane, now) else { break };
                if lane == Lane::Slow {
                    // A slow probe takes at least the grace, so that this leaves no place empty.
                    self.slow_from = now + GRACE / self.shared.slow_places;
                }
                let Some(slot) = self.slots.get_mut(&id) else { continue };
                slot.is_probed = true;
                self.shared.count_lateness(lane, now.saturating_sub(due));
                let shared = Arc::clone(&self.shared);
                let entry = Arc::clone(&slot.entry);
                let next = Next::In(lane, shared.interval);
                let guard = Guard { entry: id, next, tell: self.tell.clone() };
                self.probes.spawn(run_probe(shared, entry, Place { lane, _place: place }, guard));
            }
        }
    }
}

fn route53(check: &HealthCheck) -> Option<&HealthCheckConfig> {
    match check {
        HealthCheck::Route53(config) => Some(config),
        HealthCheck::None | HealthCheck::Custom => None,
    }
}

/// Lets other tasks run now and then.
async fn pause(looked_at: &mut usize) {
    *looked_at += 1;
    if looked_at.is_multiple_of(BATCH) {
        tokio::task::yield_now().await;
    }
}

/// Wakes the driver when a probe is due. It hears of many results meanwhile, and most leave that moment as it is.
#[derive(Default)]
struct Alarm {
    moment: Option<Duration>,
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Alarm {
    fn set(&mut self, timer: &Arc<dyn Timer>, moment: Option<Duration>) {
        if self.moment != moment {
            let timer = Arc::clone(timer);
            let sleep = |moment| Box::pin(async move { timer.sleep_until(moment).await }) as Pin<Box<_>>;
            (self.moment, self.sleep) = (moment, moment.map(sleep));
        }
    }

    async fn rings(&mut self) {
        match &mut self.sleep {
            Some(sleep) => sleep.await,
            None => pending().await,
        }
        *self = Self::default();
    }
}

/// Waits until somebody else may have the turn.
async fn turned(turn: Option<&mut watch::Receiver<bool>>) {
    let has_changed = match turn {
        Some(turn) => turn.changed().await.is_ok(),
        None => false,
    };
    // Without a sender the turn stays where it is.
    if !has_changed {
        pending::<()>().await;
    }
}

/// The right to have a socket.
struct Place {
    lane: Lane,
    _place: OwnedSemaphorePermit,
}

/// Probes an instance once, and stores the status that this leads to.
async fn run_probe(shared: Arc<Shared>, entry: Arc<Entry>, mut place: Place, mut guard: Guard) {
    let ask = entry.ask(&shared.cloud_map.state());
    let Some((ask, is_first)) = ask else {
        // Not checked any more. If it is gone, the driver has been told, or will be.
        guard.next = Next::Never;
        return;
    };
    let begun = shared.setup.timer.now();
    let Some(outcome) = probe_in_place(&shared, &ask, &mut place, &guard.tell).await else {
        guard.next = Next::In(Lane::Slow, Duration::ZERO);
        return;
    };
    let took = shared.setup.timer.now().saturating_sub(begun);
    // The socket is closed. What follows does not delay others.
    drop(place);
    let probed = match outcome {
        Ok(probed) => probed,
        Err(error) => return shared.not_made(&error),
    };
    let failure = probed.result.err();
    let lane = match failure.is_some_and(super::Failure::is_timeout) || took > GRACE {
        true => Lane::Slow,
        false => Lane::Quick,
    };
    // The second probe comes earlier by chance, so that what was registered together is not probed together for ever.
    let interval = shared.interval;
    let wait = if is_first { interval.mul_f64(fastrand::f64().mul_add(0.9, 0.1)) } else { interval };
    guard.next = Next::In(lane, wait);
    let counted = entry.count(&ask, probed, &shared.cloud_map.state(), shared.cloud_map.now());
    shared.count(probed, &counted);
    match counted {
        Counted::Same => {}
        Counted::Outdated => guard.next = Next::Anew,
        Counted::Changed(status) => {
            // From here, so that a slow store does not shift the next probe.
            let stored_from = shared.setup.timer.now();
            store(&shared, &entry, &ask, status, probed).await;
            let spent = shared.setup.timer.now().saturating_sub(stored_from);
            guard.next = Next::In(lane, wait.saturating_sub(spent));
        }
    }
}

/// Probes, and moves to a slow place if it takes long. `None` if there is no such place: the probe is given up, and is made
/// in its turn among the slow ones.
async fn probe_in_place(
    shared: &Shared,
    ask: &Ask,
    place: &mut Place,
    tell: &mpsc::UnboundedSender<Told>,
) -> Option<std::io::Result<Probed>> {
    if place.lane == Lane::Slow {
        return Some(probe(&ask.target, &ask.request, &shared.setup, None).await);
    }
    let grace = shared.setup.timer.now().saturating_add(GRACE);
    let probe = probe(&ask.target, &ask.request, &shared.setup, Some(grace));
    tokio::pin!(probe);
    tokio::select! {
        biased;
        outcome = &mut probe => return Some(outcome),
        () = shared.setup.timer.sleep_until(grace) => {}
    }
    let slow = Arc::clone(&shared.slow).try_acquire_owned().ok()?;
    *place = Place { lane: Lane::Slow, _place: slow };
    let _ = tell.send(Told::Room);
    Some(probe.await)
}

/// Stores a status.
async fn store(shared: &Shared, entry: &Entry, ask: &Ask, status: CustomHealthStatus, probed: Probed) {
    if !shared.probing.load(Relaxed) {
        return;
    }
    let Key { scope, service, instance } = &entry.key;
    match shared.cloud_map.at(scope.clone()).put_checked_health(&ask.subject, status).await {
        // The instance or its check has changed, of which the driver is told.
        Ok(false) => {}
        Ok(true) => {
            shared.count_transition(status);
            let results = entry.known().history.in_a_row();
            match probed.result {
                Ok(_) => tracing::info!(
                    %scope, %service, %instance, target = %ask.target.address, results, "instance is healthy"
                ),
                Err(failure) => tracing::warn!(
                    %scope, %service, %instance, target = %ask.target.address, %failure, results,
                    "instance is unhealthy"
                ),
            }
        }
        Err(error) => shared.not_stored(&error),
    }
}
