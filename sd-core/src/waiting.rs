//! Wakers of tasks that wait for a change.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    task::Waker,
};

/// The tasks that wait for a change, with one waker each. The cost of registering, removing or waking a task does not
/// depend on the number of tasks.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Tasks>);

#[derive(Default)]
struct Tasks {
    wakers: HashMap<Ticket, Waker, BuildHasherDefault<DefaultHasher>>,
    next: u64,
}

/// The key of a waiting task. The task keeps it from one change to the next.
#[derive(Clone, Copy, Debug, Eq)]
pub(crate) struct Ticket(u64);

impl PartialEq for Ticket {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(test)]
        tests::COMPARED.set(tests::COMPARED.get() + 1);
        self.0 == other.0
    }
}

impl Hash for Ticket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

impl Waiting {
    /// Registers a waker for the next change. It replaces the ticket's previous waker.
    pub(crate) fn register(&self, ticket: &mut Option<Ticket>, waker: &Waker) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Tasks { wakers, next } = &mut *guard;
        let ticket = *ticket.get_or_insert_with(|| {
            *next += 1;
            Ticket(*next)
        });
        wakers.entry(ticket).and_modify(|before| before.clone_from(waker)).or_insert_with(|| waker.clone());
    }

    pub(crate) fn forget(&self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let forgotten = tasks.wakers.remove(&ticket);
            // Dropping a waker may run code of its task, so the lock is released first.
            drop(tasks);
            drop(forgotten);
        }
    }

    /// Wakes all tasks and removes them. A task that still waits registers again.
    pub(crate) fn wake(&self) {
        let woken = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).wakers);
        for waker in woken.into_values() {
            // A waker that panics must neither keep others asleep nor fail the writer.
            if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
                tracing::error!("waker panicked: its task may miss the change");
            }
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").finish_non_exhaustive()
    }
}

/// A waiting task. Dropping it removes its waker.
pub(crate) struct Place<'w> {
    waiting: &'w Waiting,
    ticket: Option<Ticket>,
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

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    thread_local! {
        /// The number of comparisons of tickets.
        pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn the_cost_of_a_task_does_not_depend_on_how_many_wait() {
        const TASKS: usize = 10_000;
        const CHANGES: usize = 3;
        let (waiting, counter) = (Waiting::default(), Arc::new(Counter::default()));
        let waker = Waker::from(Arc::clone(&counter));
        let mut places: Vec<_> = (0..TASKS).map(|_| Place::among(&waiting)).collect();
        COMPARED.set(0);
        for _ in 0..CHANGES {
            // Twice, like a task that is polled for another reason.
            places.iter_mut().for_each(|place| place.wait(&waker));
            places.iter_mut().for_each(|place| place.wait(&waker));
            waiting.wake();
        }
        places.iter_mut().for_each(|place| place.wait(&waker));
        drop(places);
        waiting.wake();
        assert_eq!(
            counter.0.load(Ordering::SeqCst),
            CHANGES * TASKS,
            "each is woken once, and not after it is dropped"
        );
        let compared = COMPARED.get();
        assert!(compared <= 8 * CHANGES * TASKS, "{compared} comparisons");
    }
}
