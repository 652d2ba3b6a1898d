//! The write side of the cell: publishing a set, a set that a backend has stored, and what it finds in its store.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    model::{Age, Operation, Revision, Scope, Timestamp},
    state::{
        State, Unmet,
        change::{Change, ChangeSet},
    },
    store::{
        cell::{Observers, StateCell, StateRef, StateWriter, tell},
        registry::CommitError,
    },
};

/// How often [`StateWriter::reconcile`] compares beside other writers before it makes them wait.
const COMPARISONS: usize = 4;

/// What came of a set.
struct Published {
    /// The state before, if there is another one now.
    before: Option<StateRef>,
    /// The revision of the state that has the changes.
    revision: Revision,
}

impl StateWriter {
    /// Publishes the changes if their preconditions hold: all of them at once, then the operation, then the observers.
    /// Returns the revision of the state that has the changes, which is what their entities have as well.
    ///
    /// The state is brought to [`ChangeSet::at`] first, as [`StateCell::advance`] does. A set without changes is checked,
    /// and then nothing is published and nobody is woken.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] if a precondition does not hold in the published state, and [`CommitError::Rejected`] if
    /// the preconditions hold and the changes lead to a state that cannot be, which no planner of this crate decides.
    pub fn publish(&self, set: &ChangeSet) -> Result<Revision, CommitError> {
        // The states before are freed after the lock is released, so that this does not block other writers.
        let (passed, published) = self.cell.publishing(|observers| {
            let passed = self.cell.pass(set.at, observers);
            (passed, self.publish_under(observers, set))
        });
        if passed.is_some() || matches!(&published, Ok(Published { before: Some(_), .. })) {
            self.cell.shared.wake();
        }
        published.map(|published| published.revision)
    }

    /// Checks a set before a backend stores it: nothing is published until [`Checked::publish`].
    ///
    /// The state is brought to [`ChangeSet::at`] first, as by [`publish`](Self::publish).
    ///
    /// # Errors
    /// Those of [`publish`](Self::publish).
    pub fn check(&self, set: ChangeSet) -> Result<Checked<'_>, CommitError> {
        self.cell.advance(set.at);
        let base = (*self.cell.load()).clone();
        match base.apply(&set) {
            Ok(_) => Ok(Checked { writer: self, set, base }),
            Err(unmet) => Err(refusal(&set.scope, &unmet)),
        }
    }

    /// Publishes what a backend has found in its store, of which all scopes are in `found`: the changes from the state shown
    /// to that one, [`State::diff`], and the operations that it found finished.
    ///
    /// Both states are brought to `at` first, and to what has passed here already. A store holds facts with their moments:
    /// what they have come to here is not undone by finding them again.
    ///
    /// The states are compared while others publish. If one does, they are compared again, a few times at most; after that
    /// the others wait. A backend must not publish a set of its own between the listing that `found` is made of and this
    /// call: what the listing lacks would be deleted.
    ///
    /// # Errors
    /// [`CommitError::Rejected`] if `found` cannot be, which no state is that was made by [`State::apply`].
    pub fn reconcile(
        &self,
        found: &State,
        at: Timestamp,
        finished: &[Arc<Operation>],
    ) -> Result<(), CommitError> {
        self.reconcile_beside(found, at, finished, || ())
    }

    /// The same. `beside` runs after each comparison that others do not wait for.
    fn reconcile_beside(
        &self,
        found: &State,
        at: Timestamp,
        finished: &[Arc<Operation>],
        beside: impl Fn(),
    ) -> Result<(), CommitError> {
        let cell = &self.cell;
        cell.advance(at);
        for _ in 0..COMPARISONS {
            let compared = Comparison::of(cell, found, at);
            beside();
            let published = cell.publishing(|observers| {
                compared.shown.is(&cell.load()).then(|| self.publish_found(observers, &compared, finished))
            });
            if let Some(published) = published {
                return self.told(published);
            }
        }
        let (published, _compared) = cell.publishing(|observers| {
            let passed = cell.pass(at, observers).is_some();
            let compared = Comparison::of(cell, found, at);
            let (result, changed) = self.publish_found(observers, &compared, finished);
            ((result, changed || passed), compared)
        });
        self.told(published)
    }

    /// Wakes the tasks that wait for a change, if the state has changed.
    fn told(&self, (result, changed): (Result<(), CommitError>, bool)) -> Result<(), CommitError> {
        if changed {
            self.cell.shared.wake();
        }
        result
    }

    /// Publishes a difference to the state shown, under the publish lock. Whether anything has changed as well.
    fn publish_found(
        &self,
        observers: &Observers,
        compared: &Comparison,
        finished: &[Arc<Operation>],
    ) -> (Result<(), CommitError>, bool) {
        let shared = &*self.cell.shared;
        let shown = &compared.shown;
        let mut finished: Vec<_> = finished.iter().chain(&compared.ended).cloned().collect();
        // The log keeps what ended last.
        finished.sort_by_key(|operation| operation.updated);
        let (mut under_way, mut unknown) = (Vec::new(), Vec::new());
        for operation in finished {
            match shown.scope(&operation.scope).in_flight(operation.id.as_str()) {
                // It keeps its place in lists.
                Some(known) => under_way.push((operation, known.age)),
                None => {
                    let age = Age::new(operation.created, shown.revision());
                    unknown.push((operation, age));
                }
            }
        }
        // As in `pass`: at no moment is an operation neither under way nor in the log.
        shared.log(under_way);
        let (mut result, mut changed) = (Ok(()), false);
        for (scope, changes) in &compared.changes {
            let set = ChangeSet { changes: changes.clone(), ..ChangeSet::new(scope.clone(), compared.at) };
            match self.publish_under(observers, &set) {
                Ok(published) => changed |= published.before.is_some(),
                Err(error) => result = Err(error),
            }
        }
        shared.log(unknown);
        (result, changed)
    }

    fn publish_under(&self, observers: &Observers, set: &ChangeSet) -> Result<Published, CommitError> {
        let shared = &*self.cell.shared;
        let old = self.cell.load();
        let new = old.apply(set).map_err(|unmet| refusal(&set.scope, &unmet))?;
        let revision = new.revision();
        let finished = set.operation.as_ref().map(|operation| {
            let age = Age::new(operation.created, revision);
            (Arc::clone(operation), age)
        });
        let mut changes = Cow::Borrowed(&set.changes[..]);
        if set.reset {
            changes = [old.deletions(&set.scope), set.changes.clone()].concat().into();
        }
        // As in `pass`: at no moment is an operation neither under way nor in the log.
        if set.reset {
            shared.operations.forget(&set.scope);
        }
        shared.log(finished);
        if changes.is_empty() {
            if set.reset {
                // Names of deleted namespaces are forgotten, which no observer sees.
                shared.swap(&old, new);
            }
            return Ok(Published { before: None, revision });
        }
        let new = shared.swap(&old, new);
        for (_, observer) in &observers.attached {
            tell(&**observer, &old, &new, &set.scope, &changes);
        }
        Ok(Published { before: Some(old), revision })
    }
}

fn refusal(scope: &Scope, unmet: &Unmet) -> CommitError {
    tracing::debug!(%scope, %unmet, "refused");
    match unmet {
        Unmet::Precondition(_) => CommitError::Conflict,
        Unmet::Parent(key) => CommitError::Rejected { key: key.to_string(), reason: unmet.to_string() },
    }
}

/// What lies between the state shown and one that was found.
struct Comparison {
    shown: StateRef,
    at: Timestamp,
    changes: Vec<(Scope, Vec<Change>)>,
    /// The operations that are under way in the one found, and over by now.
    ended: Vec<Arc<Operation>>,
}

impl Comparison {
    fn of(cell: &StateCell, found: &State, at: Timestamp) -> Self {
        let shown = cell.load();
        let moment = at.max(cell.passed());
        let advanced = found.advanced(moment);
        let (found, elapsed) = match &advanced {
            Some((state, elapsed)) => (state, &elapsed[..]),
            None => (found, &[][..]),
        };
        let ended = elapsed.iter().flat_map(|elapsed| &elapsed.operations);
        let ended = ended.map(|(operation, _)| Arc::clone(operation)).collect();
        let changes = shown.diff(found);
        Self { shown, at, changes, ended }
    }
}

impl StateCell {
    /// The last moment at which something happened by itself.
    pub(super) fn passed(&self) -> Timestamp {
        Timestamp::from_millis(self.shared.passed.load(Ordering::Acquire))
    }
}

/// A set whose preconditions have been found to hold, on its way into a backend's store.
///
/// Exactly one thing is done with it. If all of the set is stored, [`publish`](Self::publish); if the store failed half-way,
/// [`publish_prefix`](Self::publish_prefix); if nothing is stored, it is dropped. Publishing does not check again, and
/// cannot fail: what happens by itself in between, or is published in between, does not turn a stored set into a conflict.
///
/// The set counts as made before what happened since it was checked. Its revision, and with it the places of what it creates,
/// is known only when it is published: it is above that of whatever was published in between. If the namespace that it tags was due to be deleted
/// in the meantime, the namespace is not shown again. If something else was published in between of an entity that the set
/// puts, that counts as stored later, and stays. A backend therefore stores sets about one entity one after the other, from
/// the check to the publication, and keeps back what its watch tells of that entity.
///
/// [`Written`](crate::store::Written) tells the records that the set leads to.
///
/// ```
/// # use sd_core::{ChangeSet, CommitError, StateWriter, store::Checked};
/// async fn commit(writer: &StateWriter, set: ChangeSet) -> Result<(), CommitError> {
///     let checked = writer.check(set)?;
///     store(checked.set()).await?;
///     let _revision = checked.publish();
///     Ok(())
/// }
/// # async fn store(_: &ChangeSet) -> Result<(), CommitError> { Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "once the set is stored, it is to be published"]
pub struct Checked<'w> {
    writer: &'w StateWriter,
    set: ChangeSet,
    /// The state in which the preconditions held.
    base: State,
}

impl Checked<'_> {
    /// The set, to be stored.
    #[must_use]
    pub fn set(&self) -> &ChangeSet {
        &self.set
    }

    /// The state that the set was checked in. A revision that a precondition names is one of this state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.base
    }

    pub(super) fn cell(&self) -> &StateCell {
        &self.writer.cell
    }

    /// Publishes the set, which is stored. Returns the revision of the state that has the changes.
    pub fn publish(self) -> Revision {
        let Self { writer, mut set, base } = self;
        let cell = &writer.cell;
        set.preconditions.clear();
        // The states before are freed after the lock is released.
        let (published, late) = cell.publishing(|observers| {
            let (shown, passed) = (cell.load(), cell.passed());
            if !set.reset && !shown.shares(&base, &set.scope) {
                set.changes = shown.rebased(&base, &set, passed);
            }
            let published = writer.publish_under(observers, &set);
            // An operation that has begun may be over by now.
            (published, cell.pass(passed, observers))
        });
        if late.is_some() || matches!(&published, Ok(Published { before: Some(_), .. })) {
            cell.shared.wake();
        }
        match published {
            Ok(published) => published.revision,
            Err(error) => {
                tracing::error!(scope = %set.scope, %error, "a stored set cannot be shown");
                cell.load().revision()
            }
        }
    }

    /// Publishes the first `stored` changes of the set, and its reset if it has one; the others, and the operation, are not
    /// stored. Returns the revision of the state that has these changes.
    pub fn publish_prefix(mut self, stored: usize) -> Revision {
        self.set.changes.truncate(stored);
        self.set.operation = None;
        self.publish()
    }
}

#[cfg(test)]
mod tests;
