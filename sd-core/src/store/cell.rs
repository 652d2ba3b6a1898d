//! The published state: readers never wait, changes come one after the other, and observers keep up.
//!
//! One lock, the publish lock, orders all changes. Reads do not wait for it. If something is due and the lock is free, the
//! read publishes it, and the observers run inside the read. If another thread holds the lock, or the reader is an observer,
//! the read is answered from a projection of the state. The holder of the lock publishes the same when it releases the lock.

use std::{
    fmt,
    future::poll_fn,
    ops::Deref,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering, fence},
    },
    task::Poll,
};

use arc_swap::{ArcSwap, Guard};

use crate::{
    model::{Age, Operation, Scope, Timestamp},
    state::{Elapsed, State, change::Change},
    store::{operation_log::OperationLog, subscription::Subscription},
    waiting::{Place, Waiting},
};

/// The published state and the finished operations. A handle: clones share everything.
#[derive(Clone)]
pub struct StateCell {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    state: ArcSwap<State>,
    pub(super) operations: OperationLog,
    /// The publish lock. It is held while a set is checked, applied, swapped in and told to the observers, and never across
    /// anything that waits.
    observers: Mutex<Observers>,
    /// The last moment at which something happened by itself, in milliseconds. Written under the publish lock.
    pub(super) passed: AtomicU64,
    /// The latest moment of a read that found something due, in milliseconds; 0 when the state was brought
    /// there. Whoever releases the publish lock sees to that.
    read: AtomicU64,
    /// Those who wait for a change.
    waiting: Waiting,
    /// Those who wait for a deadline. Only a change that brings a nearer deadline wakes them.
    timers: Waiting,
    /// Whether the next deadline has come nearer since the timers were woken.
    nearer: AtomicBool,
}

#[derive(Default)]
pub(super) struct Observers {
    pub(super) attached: Vec<(u64, Arc<dyn Observer>)>,
    next: u64,
}

/// Derives something from the state and keeps it up to date, inside the call that changes the state.
///
/// Observers run under the publish lock, one after the other in the order of attachment: they must be quick,
/// in the order of the changes and not of the state. They may read, through the cell or a
/// [`CloudMap`](crate::CloudMap). They must not write to the registry, [advance](StateCell::advance) the
/// cell, attach or detach an observer, or fork the cell: each of these waits for the lock that they run
/// under.
///
/// They run inside the call that publishes: a write, or a read that is the first after something became due.
/// A caller must therefore not hold a lock that one of its observers takes while it calls a `CloudMap`.
///
/// They do not depend on a clock: what is due comes as changes, after the changes that made it due, and is never taken back
/// when the clock goes back. A panic is caught and logged, and the observer starts again by [`rebuild`](Self::rebuild).
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// The state has changed from `old` to `new` by these changes of one scope. When several scopes reach a
    /// deadline at once, `new` holds the changes of all of them.
    fn changed(&self, old: &State, new: &State, scope: &Scope, changes: &[Change]);

    /// Start again from this state: when attached, and after a panic in [`changed`](Self::changed). Changes
    /// that `new` holds already are not reported again.
    fn rebuild(&self, new: &State);
}

/// Keeps an observer attached until it is dropped.
#[must_use = "the observer is detached when this is dropped"]
pub struct Attached {
    shared: Weak<Shared>,
    id: u64,
}

/// The state at the moment of the call, by reference. Keep it for one answer only, because it keeps the old state alive.
pub struct StateRef(Guard<Arc<State>>);

impl StateRef {
    /// A state that is not published.
    fn of(state: State) -> Self {
        Self(Guard::from_inner(Arc::new(state)))
    }

    /// Whether both are the same version of the state.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for StateRef {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl fmt::Debug for StateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        State::fmt(self, f)
    }
}

impl StateCell {
    /// A cell of its own that starts with what this one shows, state and operations. Observers stay here.
    #[must_use]
    pub fn fork(&self) -> StateWriter {
        self.publishing(|_| {
            let fork = StateWriter::with_log((*self.load()).clone(), self.shared.operations.fork());
            let passed = self.shared.passed.load(Ordering::Acquire);
            fork.cell.shared.passed.store(passed, Ordering::Release);
            fork
        })
    }

    /// The published state. What is due and was not published yet has not taken effect in it.
    #[must_use]
    pub fn load(&self) -> StateRef {
        StateRef(self.shared.state.load())
    }

    /// When the state changes by itself, if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.load().next_deadline()
    }

    /// Waits until the next deadline is before this moment, or until there is one if it is `None`, and returns it. A timer
    /// that is set to one deadline waits for a nearer one by it. Dropping the future loses nothing.
    pub(crate) async fn deadline_before(&self, moment: Option<Timestamp>) -> Timestamp {
        let mut place = Place::among(&self.shared.timers);
        poll_fn(|context| {
            place.wait(context.waker());
            // After that, so that a deadline that comes meanwhile is seen or wakes.
            match self.next_deadline() {
                Some(due) if moment.is_none_or(|moment| due < moment) => Poll::Ready(due),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Brings the state to this moment: operations that are due end, reports of health that are due take effect, and the
    /// observers are told. Nothing is written to a backend's store, since every replica comes to the same.
    ///
    /// It waits for the publish lock. A [`CloudMap`](crate::CloudMap) does so before each write, and by
    /// [`keep_time`](crate::CloudMap::keep_time) for the sake of the observers; its reads do so if nobody
    /// else has the lock.
    pub fn advance(&self, now: Timestamp) {
        if self.load().is_due(now) && self.publishing(|observers| self.pass(now, observers)).is_some() {
            self.shared.wake();
        }
    }

    /// What a read at this moment is answered from, without waiting.
    pub(crate) fn read_at(&self, now: Timestamp) -> Moment {
        let published = self.load();
        if !published.is_due(now) {
            return Moment { published, projected: None };
        }
        self.shared.read.fetch_max(now.as_millis(), Ordering::SeqCst);
        self.catch_up(now);
        let published = self.load();
        let projected = published.advanced(now).map(|(state, _)| StateRef::of(state));
        Moment { published, projected }
    }

    /// Publishes what is due at a read's moment, and at those that other reads have noted, unless another
    /// thread has the publish lock.
    ///
    /// Each read that has noted its moment calls it, and each release of the lock is followed by it. A read either gets the
    /// lock or is seen by the holder: the fence keeps either from missing the other.
    fn catch_up(&self, own: Timestamp) {
        let read = &self.shared.read;
        loop {
            fence(Ordering::SeqCst);
            let noted = read.load(Ordering::SeqCst);
            let moment = own.max(Timestamp::from_millis(noted));
            if !self.load().is_due(moment) {
                // What becomes due later is for later reads, whose clock may be another one.
                let _ = read.compare_exchange(noted, 0, Ordering::SeqCst, Ordering::SeqCst);
                return;
            }
            let observers = match self.shared.observers.try_lock() {
                Ok(observers) => observers,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let passed = self.pass(moment, &observers);
            drop(observers);
            if passed.is_some() {
                self.shared.wake();
            }
        }
    }

    /// Publishes what has happened by itself, under the publish lock. Returns the state before, if anything has happened.
    pub(super) fn pass(&self, now: Timestamp, observers: &Observers) -> Option<StateRef> {
        let old = self.load();
        let (new, all) = old.advanced(now)?;
        self.shared.passed.fetch_max(now.as_millis(), Ordering::AcqRel);
        // Before the state: whoever knows an operation's id finds it under way, or in the log, or for a moment in both.
        for Elapsed { operations, .. } in &all {
            self.shared.log(operations.iter().cloned());
        }
        let new = self.shared.swap(&old, new);
        for (_, observer) in &observers.attached {
            // One that is rebuilt has the changes of all scopes.
            for Elapsed { scope, changes, .. } in &all {
                if !tell(&**observer, &old, &new, scope, changes) {
                    break;
                }
            }
        }
        Some(old)
    }

    /// The finished operations.
    #[must_use]
    pub fn operations(&self) -> &OperationLog {
        &self.shared.operations
    }

    /// Attaches an observer: it is rebuilt from the state now, and told every change from then on.
    pub fn attach(&self, observer: Arc<dyn Observer>) -> Attached {
        self.publishing(|observers| {
            let id = observers.next;
            observers.next += 1;
            rebuild(&*observer, &self.load());
            observers.attached.push((id, observer));
            Attached { shared: Arc::downgrade(&self.shared), id }
        })
    }

    /// Waits for changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(self.clone())
    }

    pub(crate) fn waiting(&self) -> &Waiting {
        &self.shared.waiting
    }

    /// Runs under the publish lock.
    pub(super) fn publishing<R>(&self, run: impl FnOnce(&mut Observers) -> R) -> R {
        let result = run(&mut self.lock());
        self.catch_up(Timestamp::default());
        result
    }

    fn lock(&self) -> MutexGuard<'_, Observers> {
        self.shared.observers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a read is answered from: one moment.
pub(crate) struct Moment {
    published: StateRef,
    /// The state at the moment, if the published one is behind and another thread has the publish lock.
    projected: Option<StateRef>,
}

impl Moment {
    pub(crate) fn state(&self) -> &State {
        self.projected.as_ref().unwrap_or(&self.published)
    }

    /// The state in which an operation is under way that the log does not have yet.
    pub(crate) fn published(&self) -> &State {
        &self.published
    }

    pub(crate) fn into_state(self) -> StateRef {
        self.projected.unwrap_or(self.published)
    }
}

impl fmt::Debug for StateCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateCell").field("state", &*self.load()).finish_non_exhaustive()
    }
}

/// The write side of a cell.
#[derive(Debug)]
pub struct StateWriter {
    pub(super) cell: StateCell,
}

impl StateWriter {
    /// A new cell with this state, and its only writer, which belongs to a backend.
    #[must_use]
    pub fn new(state: State) -> Self {
        Self::keeping(state, OperationLog::CAPACITY)
    }

    /// As [`new`](Self::new), with a log that keeps the newest `operations` finished operations, at least 1.
    #[must_use]
    pub fn keeping(state: State, operations: usize) -> Self {
        Self::with_log(state, OperationLog::with_capacity(operations))
    }

    pub(super) fn with_log(state: State, operations: OperationLog) -> Self {
        let shared = Shared {
            state: ArcSwap::from_pointee(state),
            operations,
            observers: Mutex::default(),
            passed: AtomicU64::new(0),
            read: AtomicU64::new(0),
            waiting: Waiting::default(),
            timers: Waiting::default(),
            nearer: AtomicBool::new(false),
        };
        Self { cell: StateCell { shared: Arc::new(shared) } }
    }

    /// The read side.
    #[must_use]
    pub fn cell(&self) -> &StateCell {
        &self.cell
    }
}

impl Shared {
    pub(super) fn swap(&self, old: &State, new: State) -> Arc<State> {
        let new = Arc::new(new);
        self.state.store(Arc::clone(&new));
        if let Some(due) = new.next_deadline()
            && old.next_deadline().is_none_or(|before| due < before)
        {
            self.nearer.store(true, Ordering::Release);
        }
        new
    }

    /// Outside the publish lock, after a change.
    pub(super) fn wake(&self) {
        self.waiting.wake();
        if self.nearer.swap(false, Ordering::AcqRel) {
            self.timers.wake();
        }
    }

    pub(super) fn log(&self, finished: impl IntoIterator<Item = (Arc<Operation>, Age)>) {
        for (operation, age) in finished {
            self.operations.push(operation, age);
        }
    }
}

/// Tells an observer of changes, and returns whether it did not panic. After a panic the change stands, the other
/// observers are called, and this one is rebuilt from the new state.
pub(super) fn tell(
    observer: &dyn Observer,
    old: &State,
    new: &State,
    scope: &Scope,
    changes: &[Change],
) -> bool {
    let told = catch_unwind(AssertUnwindSafe(|| observer.changed(old, new, scope, changes))).is_ok();
    if !told {
        tracing::error!(?observer, "an observer panicked and is rebuilt");
        rebuild(observer, new);
    }
    told
}

fn rebuild(observer: &dyn Observer, state: &State) {
    if catch_unwind(AssertUnwindSafe(|| observer.rebuild(state))).is_err() {
        tracing::error!(?observer, "an observer panicked while it was rebuilt, and may be out of date");
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            let detached = StateCell { shared }.publishing(|observers| {
                let found = observers.attached.iter().position(|(id, _)| *id == self.id);
                found.map(|index| observers.attached.remove(index))
            });
            // Outside the lock: this may be the end of the observer, which runs code of its own.
            drop(detached);
        }
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("id", &self.id).finish_non_exhaustive()
    }
}
