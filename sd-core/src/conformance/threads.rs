//! Threads that commit, and waiting for them without holding up the thread of the rule, which may have to drive the
//! backend's runtime.

use std::{
    future::poll_fn,
    panic::resume_unwind,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use super::{Bench, BoxFuture};

/// How many threads still run, and who waits for their end.
#[derive(Default)]
struct Latch {
    left: usize,
    waiting: Option<Waker>,
}

/// Counts down when its thread ends, in a panic too.
struct Running(Arc<Mutex<Latch>>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut latch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latch.left -= 1;
        if latch.left == 0
            && let Some(waker) = latch.waiting.take()
        {
            drop(latch);
            waker.wake();
        }
    }
}

impl Bench {
    /// Drives each of these on a thread of its own. A panic in one is a panic here, when all have ended.
    pub(super) async fn on_threads<T: Send + 'static>(&self, tasks: Vec<BoxFuture<'static, T>>) -> Vec<T> {
        let latch = Arc::new(Mutex::new(Latch { left: tasks.len(), waiting: None }));
        let block_on = self.block_on;
        let threads: Vec<_> = tasks
            .into_iter()
            .map(|task| {
                let running = Running(Arc::clone(&latch));
                thread::spawn(move || {
                    let _running = running;
                    let result = Arc::new(Mutex::new(None));
                    let told = Arc::clone(&result);
                    block_on(Box::pin(async move {
                        let value = task.await;
                        *told.lock().unwrap() = Some(value);
                    }));
                    let value = result.lock().unwrap().take();
                    value.expect("`block_on` drives a future to its end")
                })
            })
            .collect();
        poll_fn(|context| {
            let mut latch = latch.lock().unwrap_or_else(PoisonError::into_inner);
            latch.waiting = Some(context.waker().clone());
            if latch.left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    }
}

/// Polls both in turns on this task, so that what one leaves open while it waits is open to the other.
pub(super) async fn in_turns<T>(
    one: impl Future<Output = T> + Send,
    two: impl Future<Output = T> + Send,
) -> [T; 2] {
    let (mut one, mut two) = (pin!(one), pin!(two));
    let mut done = [None, None];
    poll_fn(|context: &mut Context<'_>| {
        if done[0].is_none()
            && let Poll::Ready(value) = one.as_mut().poll(context)
        {
            done[0] = Some(value);
        }
        if done[1].is_none()
            && let Poll::Ready(value) = two.as_mut().poll(context)
        {
            done[1] = Some(value);
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.map(|value| value.expect("both are done"))
}

/// Looks before and after each poll of a future.
pub(super) async fn looking<T>(future: impl Future<Output = T> + Send, mut look: impl FnMut() + Send) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        look();
        let polled = future.as_mut().poll(context);
        look();
        polled
    })
    .await
}
