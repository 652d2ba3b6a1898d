//! A timer that applies delayed effects when they are due, for programs that only follow the state.

use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::CloudMap;

impl CloudMap {
    /// Brings the state to each moment at which something happens by itself, without end: what follows the state, such as DNS
    /// or a [`Subscription`](crate::Subscription), sees it then, although nobody has asked this handle. With the
    /// [`Timing`](crate::Timing) that is instant it has nothing to do.
    ///
    /// `sleep` is the runtime's timer. It may return early or late.
    ///
    /// With tokio: `tokio::spawn(cloud_map.clone().keep_time(tokio::time::sleep))`.
    pub async fn keep_time<S: Future<Output = ()> + Send>(
        self,
        sleep: impl Fn(Duration) -> S + Send + Sync,
    ) -> Infallible {
        let cell = self.cell();
        loop {
            let now = self.inner.clock.now();
            cell.advance(now);
            let due = cell.next_deadline();
            let mut reached = pin!(async {
                match due {
                    Some(due) => {
                        let wait = due.as_millis().saturating_sub(now.as_millis());
                        sleep(Duration::from_millis(wait)).await;
                    }
                    None => pending().await,
                }
            });
            let mut nearer = pin!(cell.deadline_before(due));
            poll_fn(|context| {
                let is_over =
                    reached.as_mut().poll(context).is_ready() || nearer.as_mut().poll(context).is_ready();
                if is_over { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }
}
