//! Wakers: who waits for something to change.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    task::Waker,
};

/// The tasks that wait for a change, one entry for each that waits.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Tasks>);

#[derive(Default)]
struct Tasks {
    wakers: Vec<(u64, Waker)>,
    next: u64,
}

impl Waiting {
    /// Wakes this waker at the next change, in place of the one that was registered with the ticket.
    pub(crate) fn register(&self, ticket: &mut Option<u64>, waker: &Waker) {
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

    pub(crate) fn forget(&self, ticket: Option<u64>) {
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

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

/// One that waits, until it is dropped.
pub(crate) struct Place<'w> {
    waiting: &'w Waiting,
    ticket: Option<u64>,
}

impl<'w> Place<'w> {
    pub(crate) fn among(waiting: &'w Waiting) -> Self {
        Self { waiting, ticket: None }
    }

    pub(crate) fn wait(&mut self, waker: &Waker) {
        self.waiting.register(&mut self.ticket, waker);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.forget(self.ticket);
    }
}
