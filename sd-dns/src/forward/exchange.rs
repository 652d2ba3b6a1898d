use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::{
    Outcome,
    upstream::{Failure, Turn, Upstream},
};
use crate::wire::asked::Asked;

/// How long one server is waited for before another one is asked as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long all of them are waited for: clients wait for 5 s.
const DEADLINE: Duration = Duration::from_secs(4);

/// Asks one upstream after the other until one of them has an answer. `None` if none has.
pub(super) async fn exchange(upstreams: &[Upstream], asked: &Asked) -> Outcome {
    let deadline = Instant::now() + DEADLINE;
    let mut queue: Vec<_> = upstreams.iter().filter(|upstream| upstream.turn() != Turn::Never).collect();
    queue.sort_by_key(|upstream| upstream.turn());
    let mut queue = VecDeque::from(queue);
    // Those that have not been asked.
    let mut fresh = queue.len();
    let mut attempts = FuturesUnordered::new();
    loop {
        let asking = queue.pop_front();
        if let Some(upstream) = asking {
            fresh = fresh.saturating_sub(1);
            queue.push_back(upstream);
            attempts.push(async move { (upstream, upstream.ask(asked).await) });
        }
        let next = (Instant::now() + PATIENCE).min(deadline);
        loop {
            if queue.is_empty() && attempts.is_empty() {
                return None;
            }
            tokio::select! {
                Some((upstream, answer)) = attempts.next() => match answer {
                    Ok(response) => {
                        upstream.works();
                        return Some(Arc::new(response));
                    }
                    Err(why) => {
                        upstream.fails(&why);
                        queue.retain(|other| !std::ptr::eq(*other, upstream));
                        if fresh > 0 {
                            break;
                        }
                    }
                },
                () = sleep_until(next) => {
                    if let Some(upstream) = asking {
                        upstream.is_slow();
                    }
                    break;
                }
            }
        }
        if Instant::now() >= deadline {
            queue.iter().for_each(|upstream| upstream.tell(&Failure::Silent));
            return None;
        }
    }
}
