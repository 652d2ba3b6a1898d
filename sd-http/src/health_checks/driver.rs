//! The task that begins probes when they are due, and the tasks of the probes.

use std::{
    collections::HashMap,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use sd_core::{State, model::CustomHealthStatus};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::JoinSet,
};

use super::{
    Shared,
    entry::{Counted, Entry, Key, Plan},
    probe::{Probed, probe},
    schedule::{Lane, Schedule},
    timer::Timer,
};

/// A probe that has no result after this time leaves the quick lane.
const GRACE: Duration = Duration::from_millis(250);
/// How many instances are examined between two looks at what is due.
const BATCH: usize = 256;

/// When an entry is probed next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// After this time.
    In(Lane, Duration),
    /// Soon, because the instance or its check has changed.
    Anew,
    /// Not before the instance changes.
    Never,
}

/// A message of a probe's task to the driver.
#[derive(Clone, Copy, Debug)]
enum Message {
    /// A probe is over.
    Over(u64, Next),
    /// A place among the quick ones is free.
    Room,
}

/// Reports the end of a probe to the driver, even if its task panics.
struct Guard {
    entry: u64,
    next: Next,
    sender: mpsc::UnboundedSender<Message>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.sender.send(Message::Over(self.entry, self.next));
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
    sender: mpsc::UnboundedSender<Message>,
    /// A probe sends at most two messages, so the number of probes in flight bounds the queue.
    messages: mpsc::UnboundedReceiver<Message>,
    probes: JoinSet<()>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, turn: Option<watch::Receiver<bool>>) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        Self {
            shared,
            turn,
            schedule: Schedule::default(),
            slow_from: Duration::ZERO,
            slots: HashMap::new(),
            next_id: 0,
            sender,
            messages,
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
                Some(message) = self.messages.recv() => {
                    self.handle(message);
                    self.handle_messages();
                }
                () = shared.dirty.wake.notified() => {}
                () = alarm.rings() => {}
                () = turned(self.turn.as_mut()) => {}
            }
        }
    }

    /// Whether this prober has the turn. When it loses the turn, it forgets everything; when it gets it, it examines everything.
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

    /// Examines what has changed.
    async fn follow(&mut self) {
        let keys = self.shared.dirty.take();
        let mut examined = 0;
        if keys.all {
            // A state is a value, and cheap to keep for this long.
            let state = State::clone(&self.shared.cloud_map.state());
            for key in self.shared.table.keys() {
                self.examine(&key, &state);
                self.pause(&mut examined).await;
            }
            for (scope, here) in state.scopes() {
                for service in here.services() {
                    let of = (scope.clone(), service.service().id.clone());
                    let Some(config) = service.service().health_check.route53() else { continue };
                    self.shared.table.has_check(&of, Some(config));
                    for instance in service.instances().iter() {
                        let (scope, service) = of.clone();
                        let instance = instance.instance().id.clone();
                        self.examine(&Key { scope, service, instance }, &state);
                        self.pause(&mut examined).await;
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
            let config = service.and_then(|entry| entry.service().health_check.route53());
            if self.shared.table.has_check(&of, config) {
                continue;
            }
            let registered = service.into_iter().flat_map(|entry| entry.instances().iter());
            let registered = registered.map(|entry| entry.instance().id.clone());
            let (scope, service) = of.clone();
            let registered =
                registered.map(|instance| Key { scope: scope.clone(), service: service.clone(), instance });
            for key in registered.chain(self.shared.table.keys_of(&of)).collect::<Vec<_>>() {
                self.examine(&key, &state);
                self.pause(&mut examined).await;
            }
        }
        for key in keys.instances {
            self.examine(&key, &state);
            self.pause(&mut examined).await;
        }
    }

    /// Between two instances: now and then begins what is due meanwhile, so that a large service delays no probe of others,
    /// and lets other tasks run.
    async fn pause(&mut self, examined: &mut usize) {
        *examined += 1;
        if examined.is_multiple_of(BATCH) {
            self.handle_messages();
            self.begin_due();
            tokio::task::yield_now().await;
        }
    }

    /// Examines one instance, which may be new, changed or deregistered.
    fn examine(&mut self, key: &Key, state: &State) {
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

    /// Handles the messages that have arrived.
    fn handle_messages(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            self.handle(message);
        }
        while self.probes.try_join_next().is_some() {}
    }

    fn handle(&mut self, message: Message) {
        let Message::Over(id, next) = message else { return };
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
                let guard = Guard { entry: id, next, sender: self.sender.clone() };
                self.probes.spawn(run_probe(shared, entry, Place { lane, _place: place }, guard));
            }
        }
    }
}

/// Wakes the driver when a probe is due. Most messages leave that moment as it is, so the timer is kept between them.
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

/// Waits until the turn may have changed hands.
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
    let plan = entry.plan(&shared.cloud_map.state());
    let Some((plan, is_first)) = plan else {
        // It is not checked any more. The observer notifies the driver of every change.
        guard.next = Next::Never;
        return;
    };
    let begun = shared.setup.timer.now();
    let Some(outcome) = probe_in_place(&shared, &plan, &mut place, &guard.sender).await else {
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
    // The second probe comes at a random time, to spread instances that were registered together over the interval.
    let interval = shared.interval;
    let wait = if is_first { interval.mul_f64(fastrand::f64().mul_add(0.9, 0.1)) } else { interval };
    guard.next = Next::In(lane, wait);
    let counted = entry.count(&plan, probed, &shared.cloud_map.state(), shared.cloud_map.now());
    shared.count(probed, &counted);
    match counted {
        Counted::Same => {}
        Counted::Outdated => guard.next = Next::Anew,
        Counted::Changed(status) => {
            // The interval counts from the response, so a slow store does not postpone the next probe.
            let stored_from = shared.setup.timer.now();
            store(&shared, &entry, &plan, status, probed).await;
            let spent = shared.setup.timer.now().saturating_sub(stored_from);
            guard.next = Next::In(lane, wait.saturating_sub(spent));
        }
    }
}

/// Probes, and moves to a slow place if it takes long. `None` if there is no such place: the probe is given up, and is made
/// in its turn among the slow ones.
async fn probe_in_place(
    shared: &Shared,
    plan: &Plan,
    place: &mut Place,
    sender: &mpsc::UnboundedSender<Message>,
) -> Option<std::io::Result<Probed>> {
    if place.lane == Lane::Slow {
        return Some(probe(&plan.target, &plan.request, &shared.setup, None).await);
    }
    let grace = shared.setup.timer.now().saturating_add(GRACE);
    let probe = probe(&plan.target, &plan.request, &shared.setup, Some(grace));
    tokio::pin!(probe);
    tokio::select! {
        biased;
        outcome = &mut probe => return Some(outcome),
        () = shared.setup.timer.sleep_until(grace) => {}
    }
    let slow = Arc::clone(&shared.slow).try_acquire_owned().ok()?;
    *place = Place { lane: Lane::Slow, _place: slow };
    let _ = sender.send(Message::Room);
    Some(probe.await)
}

/// Stores a status.
async fn store(shared: &Shared, entry: &Entry, plan: &Plan, status: CustomHealthStatus, probed: Probed) {
    if !shared.probing.load(Relaxed) {
        return;
    }
    let Key { scope, service, instance } = &entry.key;
    match shared.cloud_map.at(scope.clone()).put_checked_health(&plan.subject, status).await {
        // The instance or its check has changed, and the observer has notified the driver.
        Ok(false) => {}
        Ok(true) => {
            shared.count_transition(status);
            let results = entry.known().history.in_a_row();
            match probed.result {
                Ok(_) => tracing::info!(
                    %scope, %service, %instance, target = %plan.target.address, results, "instance is healthy"
                ),
                Err(failure) => tracing::warn!(
                    %scope, %service, %instance, target = %plan.target.address, %failure, results,
                    "instance is unhealthy"
                ),
            }
        }
        Err(error) => shared.not_stored(&error),
    }
}
