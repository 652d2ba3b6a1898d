//! Registries that each break a promise.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
};

use async_trait::async_trait;
use sd_core::{
    Change, ChangeSet, CommitError, Immediate, Registry, Scope, State, StateCell, StateWriter, Timestamp,
    conformance::Subject,
    model::{EntityKey, OperationId, UniqueKey},
    state::Precondition,
    store::Lookup,
};

/// Is pending once.
pub(crate) async fn wait() {
    let mut waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The set without its preconditions, its reset, and the changes at the indices for which `gone` is true.
pub(crate) fn without(set: &ChangeSet, gone: impl Fn(usize) -> bool) -> ChangeSet {
    let mut kept = set.clone();
    let mut index = 0..;
    kept.preconditions.clear();
    kept.reset = false;
    kept.changes.retain(|_| !index.next().is_some_and(&gone));
    kept
}

/// The first `end` changes of the set and its reset, without its operation and preconditions.
pub(crate) fn prefix(set: &ChangeSet, end: usize) -> ChangeSet {
    let mut prefix = without(set, |index| index >= end);
    prefix.operation = None;
    prefix.reset = set.reset;
    prefix
}

/// Whether the preconditions of the set hold.
pub(crate) fn holds(writer: &StateWriter, set: &ChangeSet) -> bool {
    let mut facts = set.clone();
    facts.changes.clear();
    writer.cell().load().apply(&facts).is_ok()
}

/// A registry with this function as its commit.
pub(crate) struct Altered<F> {
    writer: StateWriter,
    commit: F,
}

impl<F> Altered<F> {
    pub(crate) fn new(commit: F) -> Self {
        Self { writer: StateWriter::new(State::new()), commit }
    }
}

impl<F> fmt::Debug for Altered<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Altered")
    }
}

#[async_trait]
impl<F> Registry for Altered<F>
where
    F: Fn(&StateWriter, ChangeSet) -> Result<(), CommitError> + Send + Sync + 'static,
{
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        (self.commit)(&self.writer, changes)
    }
}

/// Publishes each set only when the next one is committed.
#[derive(Debug)]
pub(crate) struct Late {
    writer: StateWriter,
    /// The state of the store.
    store: Mutex<State>,
    waiting: Mutex<VecDeque<ChangeSet>>,
}

impl Default for Late {
    fn default() -> Self {
        let writer = StateWriter::new(State::new());
        Self { writer, store: Mutex::default(), waiting: Mutex::default() }
    }
}

#[async_trait]
impl Registry for Late {
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn commit(&self, mut changes: ChangeSet) -> Result<(), CommitError> {
        let mut waiting = self.waiting.lock().unwrap();
        for set in waiting.drain(..) {
            self.writer.publish(&set)?;
        }
        let mut store = self.store.lock().unwrap();
        *store = store.apply(&changes).map_err(|_| CommitError::Conflict)?;
        changes.preconditions.clear();
        waiting.push_back(changes);
        Ok(())
    }
}

/// Publishes a set in several parts.
#[derive(Debug)]
pub(crate) struct Stepwise {
    writer: StateWriter,
    parts: fn(ChangeSet) -> Vec<ChangeSet>,
    waits: bool,
}

impl Stepwise {
    pub(crate) fn new(parts: fn(ChangeSet) -> Vec<ChangeSet>, waits: bool) -> Self {
        Self { writer: StateWriter::new(State::new()), parts, waits }
    }
}

/// The first half of the changes, then the second half with the operation.
pub(crate) fn in_halves(set: ChangeSet) -> Vec<ChangeSet> {
    let middle = set.changes.len() / 2;
    if middle == 0 {
        return vec![set];
    }
    let (mut first, second) = (set.clone(), without(&set, |index| index < middle));
    first.changes.truncate(middle);
    first.operation = None;
    vec![first, second]
}

/// The changes, then the operation.
pub(crate) fn operation_last(set: ChangeSet) -> Vec<ChangeSet> {
    let (second, mut first) = (without(&set, |_| true), set);
    first.operation = None;
    vec![first, second]
}

#[async_trait]
impl Registry for Stepwise {
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        for part in (self.parts)(changes) {
            self.writer.publish(&part)?;
            if self.waits {
                wait().await;
            }
        }
        Ok(())
    }
}

/// Checks the preconditions, waits, and publishes without a second check. Wrongly claims to be `Immediate`.
#[derive(Debug)]
pub(crate) struct Lazy(StateWriter);

impl Default for Lazy {
    fn default() -> Self {
        Self(StateWriter::new(State::new()))
    }
}

#[async_trait]
impl Registry for Lazy {
    fn cell(&self) -> &StateCell {
        self.0.cell()
    }

    async fn commit(&self, mut changes: ChangeSet) -> Result<(), CommitError> {
        self.0.cell().load().apply(&changes).map_err(|_| CommitError::Conflict)?;
        changes.preconditions.clear();
        wait().await;
        self.0.publish(&changes).map(drop)
    }

    async fn pause(&self, _: u32) {
        wait().await;
    }
}

impl Immediate for Lazy {}

/// Replaces its cell by a fork after every commit, so that observers stay attached to the old one.
#[derive(Debug)]
pub(crate) struct ReplacedCell(Mutex<&'static StateWriter>);

impl Default for ReplacedCell {
    fn default() -> Self {
        Self(Mutex::new(Box::leak(Box::new(StateWriter::new(State::new())))))
    }
}

#[async_trait]
impl Registry for ReplacedCell {
    fn cell(&self) -> &StateCell {
        self.0.lock().unwrap().cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        let mut writer = self.0.lock().unwrap();
        writer.publish(&changes)?;
        *writer = Box::leak(Box::new(writer.cell().fork()));
        Ok(())
    }
}

/// Builds its state from nothing after every deletion of a service, like a backend that lists its store again.
#[derive(Debug)]
pub(crate) struct FromListing(Mutex<&'static StateWriter>);

impl Default for FromListing {
    fn default() -> Self {
        let ReplacedCell(writer) = ReplacedCell::default();
        Self(writer)
    }
}

#[async_trait]
impl Registry for FromListing {
    fn cell(&self) -> &StateCell {
        self.0.lock().unwrap().cell()
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        let mut writer = self.0.lock().unwrap();
        writer.publish(&changes)?;
        if !changes.changes.iter().any(|change| matches!(change, Change::DeleteService(_))) {
            return Ok(());
        }
        let state = writer.cell().load().clone();
        *writer = Box::leak(Box::new(StateWriter::new(State::new())));
        for (scope, here) in state.scopes() {
            let mut listing = ChangeSet::new(scope.clone(), changes.at);
            for namespace in here.namespaces() {
                listing.changes.push(Change::PutNamespace(Arc::clone(namespace.namespace())));
                for service in here.services_of(namespace) {
                    listing.changes.push(Change::PutService(Arc::clone(service.service())));
                    listing.changes.extend(service.instances().iter().map(|entry| Change::PutInstance {
                        service: service.service().id.clone(),
                        instance: Arc::clone(entry.instance()),
                        health: entry.health(),
                    }));
                }
            }
            writer.publish(&listing)?;
        }
        Ok(())
    }
}

/// How a handle follows the store that it shares, and what it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replication {
    Right,
    /// Returns a conflict before the handle has read its cause.
    EarlyConflict,
    /// The store checks preconditions without applying due effects first.
    Still,
    /// The handle reads the resets of other handles as plain deletions.
    OwnResets,
    /// Each handle has its own store.
    Apart,
    /// A set without changes is checked against what the handle shows.
    TrustsItsView,
    /// It reads the store only when it writes.
    Unrefreshed,
    /// Of the sets of other handles it reads the changes only.
    OwnOperations,
    /// The store checks what a registration says of its instance, and not what it says of the service.
    OwnService,
    /// The store does not know what operations under way hold.
    OwnTargets,
    /// What is stored in the place of an operation that is due is stored without its effect.
    LostEffects,
}

impl Replication {
    /// Whether the store does not check this for a set.
    fn ignores(self, precondition: &Precondition, set: &ChangeSet) -> bool {
        let puts_instance = || set.changes.iter().any(|change| matches!(change, Change::PutInstance { .. }));
        match precondition {
            Precondition::At(EntityKey::Service(_), _) => self == Self::OwnService && puts_instance(),
            Precondition::Free(UniqueKey::Target(_)) => self == Self::OwnTargets,
            _ => false,
        }
    }
}

/// All committed sets, in order.
#[derive(Debug)]
struct Store {
    master: StateWriter,
    sets: Vec<ChangeSet>,
    /// The operations that have begun, and when they are due.
    begun: Vec<(Timestamp, OperationId)>,
}

/// A handle with its own cell on a shared store. Its commits are pending before and after they store.
#[derive(Debug)]
pub(crate) struct Replica {
    store: Arc<Mutex<Store>>,
    writer: StateWriter,
    /// The number of sets that the handle has read.
    read: Mutex<usize>,
    replication: Replication,
}

impl Replica {
    pub(crate) fn subject(replication: Replication) -> Subject {
        let new = || {
            let (master, sets, begun) = (StateWriter::new(State::new()), Vec::new(), Vec::new());
            Arc::new(Mutex::new(Store { master, sets, begun }))
        };
        let store = new();
        let open = move || -> Arc<dyn Registry> {
            let store = if replication == Replication::Apart { new() } else { Arc::clone(&store) };
            let writer = StateWriter::new(State::new());
            Arc::new(Self { store, writer, read: Mutex::default(), replication })
        };
        Subject::new(open()).opened_by(move || std::future::ready(open()))
    }

    fn catch_up(&self, store: &Store, own: bool) {
        let mut read = self.read.lock().unwrap();
        for (number, set) in store.sets.iter().enumerate().skip(*read) {
            self.writer.cell().advance(set.at);
            let mut set = set.clone();
            let is_own = own && number + 1 == store.sets.len();
            if set.reset && !is_own && self.replication == Replication::OwnResets {
                set.reset = false;
                set.changes = [self.writer.cell().load().deletions(&set.scope), set.changes].concat();
            }
            if !is_own && self.replication == Replication::OwnOperations {
                set.operation = None;
            }
            self.writer.publish(&set).unwrap();
        }
        *read = store.sets.len();
    }

    fn store(&self, mut changes: ChangeSet) -> Result<(), CommitError> {
        let mut store = self.store.lock().unwrap();
        if self.replication == Replication::TrustsItsView
            && changes.changes.is_empty()
            && changes.operation.is_none()
        {
            return self.writer.publish(&changes).map(drop);
        }
        if self.replication == Replication::LostEffects {
            Self::lose_effects(&mut store, &changes);
        }
        let mut checked = changes.clone();
        checked.preconditions.retain(|it| !self.replication.ignores(it, &changes));
        if self.replication == Replication::Still {
            checked.at = Timestamp::default();
        }
        if let Err(error) = store.master.publish(&checked) {
            if self.replication != Replication::EarlyConflict {
                self.catch_up(&store, false);
            }
            return Err(error);
        }
        changes.preconditions.clear();
        store.sets.push(changes);
        self.catch_up(&store, true);
        Ok(())
    }

    /// Ends what is due in the store before it comes to anything.
    fn lose_effects(store: &mut Store, set: &ChangeSet) {
        let due = store.begun.extract_if(.., |(due, _)| *due <= set.at).collect::<Vec<_>>();
        for (_, id) in due {
            let mut ended = ChangeSet::new(set.scope.clone(), Timestamp::default());
            ended.changes = vec![Change::EndOperation(id)];
            store.master.publish(&ended).unwrap();
            store.sets.push(ended);
        }
        store.begun.extend(set.changes.iter().filter_map(|change| match change {
            Change::BeginOperation(pending) => Some((pending.due, pending.operation.id.clone())),
            _ => None,
        }));
    }
}

#[async_trait]
impl Registry for Replica {
    fn cell(&self) -> &StateCell {
        self.writer.cell()
    }

    async fn refresh(&self, _: &Scope, _: &[Lookup]) -> Result<(), CommitError> {
        wait().await;
        if self.replication != Replication::Unrefreshed {
            self.catch_up(&self.store.lock().unwrap(), false);
        }
        Ok(())
    }

    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError> {
        wait().await;
        let result = self.store(changes);
        wait().await;
        result
    }
}
