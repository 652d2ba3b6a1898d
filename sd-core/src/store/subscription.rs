//! Waiting for the state to change, without a runtime.

use std::{
    fmt,
    future::poll_fn,
    task::{Context, Poll},
};

use crate::{
    model::Revision,
    store::cell::{StateCell, StateRef},
    waiting::Ticket,
};

/// Waits until the state differs from the last one returned. It is a level, not a stream of events.
///
/// Several changes may be merged into one, and none is lost: [`changed`](Self::changed) returns the newest state.
///
/// An effect that is due counts as a change once the state is [advanced](StateCell::advance) to it: by the next call of any
/// `CloudMap` over the cell, or by [`keep_time`](crate::CloudMap::keep_time).
///
/// [`State::diff`](crate::State::diff) lists the changes between two states. An [`Observer`](crate::Observer) gets every
/// state in between.
///
/// ```
/// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # use sd_backend_memory::MemoryRegistry;
/// use sd_core::{Change, Scope, SyncCloudMap, request::CreateHttpNamespaceRequest};
///
/// let cloud_map = SyncCloudMap::new(MemoryRegistry::new());
/// let mut subscription = cloud_map.cloud_map().cell().subscribe();
/// let before = cloud_map.cloud_map().state();
/// # let mut changed = pin!(async {
/// let after = subscription.changed().await;
/// for (scope, changes) in before.diff(&after) {
///     assert_eq!(scope, Scope::default());
///     assert!(matches!(&changes[..], [Change::PutNamespace(namespace)] if namespace.name.as_str() == "app"));
/// }
/// # });
/// # let mut poll = || changed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
/// # assert_eq!(poll(), Poll::Pending);
/// cloud_map.at(Scope::default()).create_http_namespace(CreateHttpNamespaceRequest::new("app"))?;
/// # assert_eq!(poll(), Poll::Ready(()));
/// # Ok::<(), sd_core::Error>(())
/// ```
pub struct Subscription {
    cell: StateCell,
    seen: Revision,
    ticket: Option<Ticket>,
}

impl Subscription {
    pub(crate) fn new(cell: StateCell) -> Self {
        let seen = cell.load().revision();
        Self { cell, seen, ticket: None }
    }

    /// Waits for a state other than the last one returned, or than the one at the time of subscribing. Returns the newest.
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
        // A change between the check and the registration has woken no task.
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
