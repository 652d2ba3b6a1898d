//! Sends a query to one upstream after the other.

use std::{sync::Arc, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::{
    Outcome,
    upstream::{Failure, Preference, Upstream},
};
use crate::wire::upstream_query::UpstreamQuery;

/// How long one upstream may take before the next one is queried as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long all upstreams may take. Most clients wait for 5 s.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4);

/// Queries the upstreams in turn until one of them responds. `None` if none does.
pub(super) async fn exchange(upstreams: &[Upstream], query: &UpstreamQuery) -> Outcome {
    let deadline = Instant::now() + DEADLINE;
    let mut queue: Vec<_> =
        upstreams.iter().filter(|upstream| upstream.preference() != Preference::Never).collect();
    queue.sort_by_key(|upstream| upstream.preference());
    // Silent upstreams are queried again in turn.
    let retry_after = PATIENCE * u32::try_from(queue.len()).unwrap_or(u32::MAX);
    let mut silent = Vec::with_capacity(queue.len());
    let mut queue = queue.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        let mut current = queue.next();
        if let Some(upstream) = current {
            silent.push(upstream);
            attempts.push(async move { (upstream, upstream.query(query, retry_after, deadline).await) });
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
                Some((upstream, result)) = attempts.next() => match result {
                    Ok(response) => {
                        upstream.succeeded();
                        return Some(Arc::new(response));
                    }
                    Err(failure) => {
                        upstream.failed(&failure);
                        let is_other = |other: &&Upstream| !std::ptr::eq(*other, upstream);
                        silent.retain(is_other);
                        current = current.filter(is_other);
                        if queue.len() > 0 {
                            break;
                        }
                    }
                },
                () = sleep_until(next), if current.is_some() => {
                    current.into_iter().for_each(Upstream::is_slow);
                    break;
                }
            }
        }
    }
}
