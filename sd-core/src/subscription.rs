//! Waiting for the state to change, without a runtime.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use crate::{
    cell::{StateCell, StateRef},
    state::Revision,
};

/// Tells that the state has changed since it was last asked: a level, not a stream of events.
///
/// Several changes may be told as one, and none is lost: what [`changed`](Self::changed) returns is the newest state.
/// What lies between two states is the business of an [`Observer`](crate::Observer).
pub struct Subscription {
    cell: StateCell,
    seen: Revision,
    ticket: Option<u64>,
}

impl Subscription {
    pub(crate) fn new(cell: StateCell) -> Self {
        let seen = cell.load().revision();
        Self { cell, seen, ticket: None }
    }

    /// The newest state, once it is another than the last one returned, or than the one at the time of subscribing.
    ///
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> StateRef {
        poll_fn(|context| self.poll_changed(context)).await
    }

    /// As [`changed`](Self::changed), for hand-written futures.
    pub fn poll_changed(&mut self, context: &mut Context<'_>) -> Poll<StateRef> {
        if let Some(state) = self.newer() {
            return Poll::Ready(state);
        }
        self.cell.waiting().register(&mut self.ticket, context.waker());
        // A change between the look and the registration has woken nobody.
        match self.newer() {
            Some(state) => Poll::Ready(state),
            None => Poll::Pending,
        }
    }

    fn newer(&mut self) -> Option<StateRef> {
        let state = self.cell.load();
        if state.revision() == self.seen {
            return None;
        }
        self.seen = state.revision();
        Some(state)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.cell.waiting().forget(self.ticket);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// The tasks that wait for a change, one entry for each subscription.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Tasks>);

#[derive(Default)]
struct Tasks {
    wakers: Vec<(u64, Waker)>,
    next: u64,
}

impl Waiting {
    fn register(&self, ticket: &mut Option<u64>, waker: &Waker) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tasks.wakers.iter_mut().find(|(id, _)| Some(*id) == *ticket);
        match known {
            Some((_, before)) => before.clone_from(waker),
            None => {
                let id = ticket.unwrap_or(tasks.next);
                tasks.next = tasks.next.max(id + 1);
                tasks.wakers.push((id, waker.clone()));
                *ticket = Some(id);
            }
        }
    }

    fn forget(&self, ticket: Option<u64>) {
        if let Some(ticket) = ticket {
            let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.wakers.retain(|(id, _)| *id != ticket);
        }
    }

    /// Wakes all that wait; each registers again if it still does.
    pub(crate) fn wake(&self) {
        let woken = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).wakers);
        for (_, waker) in woken {
            // A panic is the waiting task's, and no reason for others to sleep on or for a writer to fail.
            if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
                tracing::error!("a waker panicked; its task may not see the change");
            }
        }
    }
}
