use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::{
    Outcome,
    upstream::{Failure, Turn, Upstream},
};
use crate::wire::asked::Asked;

/// How long one upstream is waited for before another one is asked as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long all of them are waited for. Most clients wait for 5 s.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4);

/// Asks one upstream after the other until one of them has an answer. `None` if none has.
pub(super) async fn exchange(upstreams: &[Upstream], asked: &Asked) -> Outcome {
    let deadline = Instant::now() + DEADLINE;
    let mut queue: Vec<_> = upstreams.iter().filter(|upstream| upstream.turn() != Turn::Never).collect();
    queue.sort_by_key(|upstream| upstream.turn());
    // Those that say nothing are asked again in their turns.
    let again = PATIENCE * u32::try_from(queue.len()).unwrap_or(u32::MAX);
    let mut silent = Vec::with_capacity(queue.len());
    let mut queue = queue.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        let mut asking = queue.next();
        if let Some(upstream) = asking {
            silent.push(upstream);
            attempts.push(async move { (upstream, upstream.ask(asked, again, deadline).await) });
        }
        if attempts.is_empty() {
            return None;
        }
        let next = Instant::now() + PATIENCE;
        while !attempts.is_empty() {
            tokio::select! {
                biased;
                () = sleep_until(deadline) => {
                    silent.iter().for_each(|upstream| upstream.log(&Failure::Silent));
                    return None;
                }
                Some((upstream, answer)) = attempts.next() => match answer {
                    Ok(response) => {
                        upstream.works();
                        return Some(Arc::new(response));
                    }
                    Err(why) => {
                        upstream.fails(&why);
                        let is_other = |other: &&Upstream| !std::ptr::eq(*other, upstream);
                        silent.retain(is_other);
                        asking = asking.filter(is_other);
                        if queue.len() > 0 {
                            break;
                        }
                    }
                },
                () = sleep_until(next), if asking.is_some() => {
                    asking.into_iter().for_each(Upstream::is_slow);
                    break;
                }
            }
        }
    }
}
