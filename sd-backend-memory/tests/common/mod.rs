//! A minimal executor for the tests of this crate.

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
    thread::{self, Thread},
};

use sd_core::conformance::BoxFuture;

/// Wakes a thread by unparking it.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs the future on this thread, which parks while the future is pending.
pub(crate) fn block_on(mut future: BoxFuture<'static, ()>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        thread::park();
    }
}
