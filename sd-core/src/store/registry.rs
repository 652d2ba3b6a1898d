//! What the engine and a backend owe each other.

use std::{error::Error as StdError, fmt, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    model::{EntityKey, OperationId, Scope},
    state::change::ChangeSet,
    store::cell::StateCell,
};

/// Holds the state and stores decided changes: all that a backend must do.
///
/// A backend has a [`StateWriter`](crate::StateWriter) and a store. It interprets nothing: which request the changes come
/// from, and what they mean, is decided. A *handle* is one value of the type that implements this trait; several handles,
/// in one process or in many, may be open on one store.
///
/// # Committing
/// [`commit`](Self::commit) checks the preconditions against what is stored, stores the changes in their order, and
/// publishes them in the cell before it returns. A caller that has its answer sees its change through every door.
///
/// - A backend whose cell is all that it has calls [`StateWriter::publish`](crate::StateWriter::publish).
/// - A backend that is the only writer of its store calls [`StateWriter::check`](crate::StateWriter::check), stores the set,
///   and calls [`Checked::publish`](crate::store::Checked::publish). What it stores of the set, and how it reads that again, is
///   in [Writing a store](crate::stored#writing-a-store). Nothing that happens in between turns a stored set into a conflict.
/// - A backend whose store others write to checks the preconditions in the store as well.
///
/// Preconditions are checked as of [`ChangeSet::at`]: an operation that ended before it claims nothing any more. `publish`
/// and `check` see to it for the cell; a backend that checks by itself calls [`StateCell::advance`] first.
///
/// A set without changes is committed like any other, and its preconditions are checked where others can change them: the
/// answer to a repeated request, or to a report that changes nothing, rests on them. Nothing is published, and nobody is
/// woken.
///
/// [`Precondition::At`](crate::state::Precondition::At) names a revision of this handle's cell, which `publish` returned or
/// the cell showed. A backend that others write to keeps, beside the cell, the version that its store had for an entity at
/// that revision.
///
/// # Failing
/// - [`CommitError::Conflict`] is returned only after the cell shows the fact that caused it, so that planning again leads to
///   another result.
/// - A backend without transactions may fail half-way. It then publishes the changes that are stored, which are a prefix and
///   a legal state ([`Checked::publish_prefix`](crate::store::Checked::publish_prefix)), and returns the error.
/// - Dropping the future of `commit` may leave the changes stored or not, and never half published.
/// - After [`CommitError::Ambiguous`] the engine plans again, and looks for the operation or the entities of the set in the
///   cell. What the cell shows is taken as stored, so a change that this handle may yet have to take back is not in it.
/// - Before a handle checks the next set about an entity, it finds out what has become of a write to it that is in doubt: the
///   set may be the same request, sent again by its client.
///
/// # Waiting between attempts
/// The engine plans and commits a request up to 16 times. It has no timer: before it plans again after a conflict, or without
/// an answer, it calls [`pause`](Self::pause), and the backend waits there, for a random time that grows with the number of
/// attempts. A backend whose conflicts are resolved when they are returned keeps the default, which does not wait.
///
/// # Resets
/// A set with [`reset`](ChangeSet::reset) makes its scope start over: the backend deletes all that it stores of the scope,
/// finished operations too, in one step with the changes of the set, or in steps of its own if it has no transactions. Other
/// handles on the store, and one that is opened later, neither show nor remember anything from before. A handle that learns
/// of it from the store publishes a set with `reset`, because [`StateWriter::reconcile`](crate::StateWriter::reconcile)
/// forgets no operations.
///
/// # Time
/// Operations that take time, and reports of health that wait, are stored as facts with their moments. Every handle comes to
/// the same effect at the same moment, without a write. The effect is stored by the next writer of the object that holds the
/// fact, in the same write, with the operation that has ended; otherwise by the backend in its own time, or not at all: what is
/// restored without it comes to the same. A write to a target that is due never loses the effect. The only writer of a store
/// leaves this to [`Written`](crate::store::Written).
///
/// # Several handles on one store
/// - A store that others write to is followed: what is found there becomes changes on the current state, published without
///   preconditions. After a full listing [`StateWriter::reconcile`](crate::StateWriter::reconcile) makes them, from the state
///   shown to the state listed; a state is never published from nothing.
/// - A handle may lag behind the store. Before the engine refuses a request over what its cell shows, it calls
///   [`refresh`](Self::refresh).
/// - An operation that one handle has finished is found by every other one within its lag, and at once after a `refresh` that
///   names it. So is the end of an operation that was under way, and an operation that failed without an entity. Clients
///   poll an operation through whatever handle answers them.
/// - A handle may show what another one has not acknowledged yet, and not show it later, because it was taken back. Reads may
///   rest on that. No answer to a write may, which is why sets without changes are committed.
///
/// # For callers
/// Writes go through [`CloudMap`](crate::CloudMap), which plans, commits, and plans again after a conflict. Reads look at the
/// cell and do not wait for writers: what is due and cannot be published at once is computed for the answer.
///
/// # Implementing
/// Implementations carry [`#[async_trait]`](https://docs.rs/async-trait) and have `async fn`s, as the example of
/// [`store`](crate::store) has. The crate `async-trait` is a dependency of theirs.
///
/// # Wrappers
/// A registry around another one forwards every method, those with a default as well.
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// The read side of the published state. Every read of every door goes through it.
    fn cell(&self) -> &StateCell;

    /// Stores decided changes and publishes them in [`cell`](Self::cell) before it returns.
    ///
    /// # Errors
    /// The four ways in which storing can fail.
    async fn commit(&self, changes: ChangeSet) -> Result<(), CommitError>;

    /// Looks in the store for what a refusal is about to rest on. When it returns, the cell shows of each of these facts
    /// everything that was acknowledged on any handle before the call.
    ///
    /// The engine calls it before it answers that something does not exist, exists already or is in use, and plans once
    /// more if the cell has changed. The doors also call it before they read an operation or an entity by its id, if the
    /// cell does not have it. It may wait for a watch to catch up, for about a second at most; of an operation whose id is
    /// older than a few seconds the watch has told already.
    ///
    /// The default does nothing, which is right where one handle is the only writer of its store.
    ///
    /// # Errors
    /// [`CommitError::Unavailable`] and [`CommitError::Rejected`], which the caller is answered in place of the refusal.
    async fn refresh(&self, scope: &Scope, facts: &[Lookup]) -> Result<(), CommitError> {
        let _ = (scope, facts);
        Ok(())
    }

    /// Waits before a request is planned again. `attempts` is how many of its sets have been committed in vain, from 1.
    ///
    /// The default does not wait. A backend over a network waits for a random time below 10 ms, 20 ms, 40 ms and so on, at
    /// most half a second, so that writers that met do not meet again.
    async fn pause(&self, attempts: u32) {
        let _ = attempts;
    }
}

/// A fact that the engine is about to refuse a request over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "a backend must look for every kind of fact")]
pub enum Lookup {
    /// An entity that the cell does not show, or that is in the way.
    Entity(EntityKey),
    /// The children of an entity, which keep it from being deleted: the services of a namespace, the instances of a service,
    /// and the operations on them that are under way.
    Children(EntityKey),
    /// An operation that the cell does not know.
    Operation(OperationId),
}

/// A shared registry is a registry. Its futures are those of the registry, which is why this is not written as `async fn`s.
impl<R: Registry + ?Sized> Registry for Arc<R> {
    fn cell(&self) -> &StateCell {
        R::cell(self)
    }

    fn commit<'s, 'f>(
        &'s self,
        changes: ChangeSet,
    ) -> Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        R::commit(self, changes)
    }

    fn refresh<'s, 'a, 'b, 'f>(
        &'s self,
        scope: &'a Scope,
        facts: &'b [Lookup],
    ) -> Pin<Box<dyn Future<Output = Result<(), CommitError>> + Send + 'f>>
    where
        's: 'f,
        'a: 'f,
        'b: 'f,
        Self: 'f,
    {
        R::refresh(self, scope, facts)
    }

    fn pause<'s, 'f>(&'s self, attempts: u32) -> Pin<Box<dyn Future<Output = ()> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        R::pause(self, attempts)
    }
}

impl<R: Immediate + ?Sized> Immediate for Arc<R> {}

/// A registry that waits for nothing: [`commit`](Registry::commit), [`refresh`](Registry::refresh) and
/// [`pause`](Registry::pause) are done when their futures are first polled.
///
/// Such a registry can be used without a runtime, through [`SyncCloudMap`](crate::SyncCloudMap). It may block the thread, on a
/// disk for example, if its callers can bear that: those of an asynchronous [`CloudMap`](crate::CloudMap) block their runtime.
pub trait Immediate: Registry {}

/// The ways in which storing can fail.
#[derive(Debug, thiserror::Error)]
#[allow(clippy::exhaustive_enums, reason = "the engine answers each in its own way")]
pub enum CommitError {
    /// A precondition does not hold, and the cell shows it.
    #[error("what the change relies on does not hold any more")]
    Conflict,
    /// The backend will not store this, now or later.
    #[error("the backend refuses to store {key}: {reason}")]
    Rejected {
        /// What it refuses.
        key: String,
        /// Why.
        reason: String,
    },
    /// The backend cannot be reached. Nothing was stored, or a published prefix.
    #[error("the backend is unavailable")]
    Unavailable {
        /// When to try again, if the backend says.
        retry_after: Option<Duration>,
        /// What went wrong.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The changes may have been stored or not; the cell will show which.
    #[error("the backend did not say whether it stored the change")]
    Ambiguous,
}
