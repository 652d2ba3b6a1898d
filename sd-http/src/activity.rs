//! What happens on a connection, and what has taken too long.
//!
//! hyper has a timeout for the heads of HTTP/1, which runs while a connection is idle as well, and none for the
//! heads of HTTP/2, idle connections, or responses that a client does not take. One clock here has them all, for
//! both versions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Version;
use sd_net::Connection;
use tokio::time::{self, Instant};

use crate::limits::Limits;

/// The activity of a connection.
#[derive(Debug)]
pub(crate) struct Activity {
    pub(crate) connection: Connection,
    status: Mutex<Status>,
}

#[derive(Debug)]
struct Status {
    /// Requests whose response the client has not taken in whole.
    requests: usize,
    /// Responses that are ready, with the moment since when. The oldest is first.
    responses: Vec<(u64, Instant)>,
    next_response: u64,
    /// Since when the connection is idle, or a head is arriving. Meaningless while there are requests.
    since: Instant,
    /// Nothing has arrived yet.
    is_silent: bool,
    /// A head is arriving.
    is_head: bool,
    /// HTTP/2: octets that arrive need not belong to a request.
    has_frames: bool,
}

/// What has taken too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    Head,
    Response,
    Idle,
}

impl Activity {
    pub(crate) fn new(connection: Connection) -> Self {
        let status = Status {
            requests: 0,
            responses: Vec::new(),
            next_response: 0,
            since: Instant::now(),
            is_silent: true,
            is_head: false,
            has_frames: false,
        };
        Self { connection, status: Mutex::new(status) }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Octets have arrived.
    pub(crate) fn has_read(&self) {
        let mut status = self.status();
        status.is_silent = false;
        if status.requests == 0 && !status.is_head && !status.has_frames {
            (status.is_head, status.since) = (true, Instant::now());
        }
    }

    /// The head of a request has arrived. The request is in progress until the client has taken the response, or
    /// has left.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> InProgress {
        self.connection.used();
        let mut status = self.status();
        (status.is_head, status.has_frames) = (false, version == Version::HTTP_2);
        status.requests += 1;
        InProgress { activity: Arc::clone(self), response: None }
    }

    /// Waits until something has taken too long. Octets that belong to no request, such as those of an HTTP/2
    /// PING, are not progress.
    pub(crate) async fn overdue(&self, limits: &Limits) -> Overdue {
        loop {
            let now = Instant::now();
            // Nothing that begins from now on is overdue before this moment.
            let mut look = now + limits.head_time.min(limits.response_time).min(limits.idle_time);
            {
                let status = self.status();
                let due = match status.responses.first() {
                    Some((_, since)) => Some((Overdue::Response, *since + limits.response_time)),
                    None if status.requests > 0 => None,
                    None if status.is_head || status.is_silent => {
                        Some((Overdue::Head, status.since + limits.head_time))
                    }
                    None => Some((Overdue::Idle, status.since + limits.idle_time)),
                };
                if let Some((overdue, due)) = due {
                    if due <= now {
                        return overdue;
                    }
                    look = look.min(due);
                }
            }
            time::sleep_until(look).await;
        }
    }
}

/// A request from its head until the client has taken the response.
#[derive(Debug)]
pub(crate) struct InProgress {
    activity: Arc<Activity>,
    response: Option<u64>,
}

impl InProgress {
    /// The response is ready. From now on the client has to make progress.
    pub(crate) fn has_response(&mut self) {
        let mut status = self.activity.status();
        let id = status.next_response;
        status.next_response += 1;
        status.responses.push((id, Instant::now()));
        self.response = Some(id);
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.activity.connection
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.activity.connection.used();
        let mut status = self.activity.status();
        status.requests -= 1;
        status.since = Instant::now();
        if let Some(id) = self.response {
            status.responses.retain(|(other, _)| *other != id);
        }
    }
}

#[cfg(test)]
mod tests {
    use sd_net::Connections;

    use super::*;

    /// What is overdue after this many seconds, if anything is.
    async fn overdue_after(activity: &Activity, seconds: u64) -> Option<Overdue> {
        time::timeout(time::Duration::from_secs(seconds), activity.overdue(&Limits::default())).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_request_in_progress_is_not_idle() {
        let (connection, _open) = Connections::new(1, 1).connect();
        let activity = Arc::new(Activity::new(connection));
        activity.has_read();
        let request = activity.begin(Version::HTTP_11);
        assert_eq!(overdue_after(&activity, 1000).await, None);
        drop(request);
        assert_eq!(overdue_after(&activity, 74).await, None);
        assert_eq!(overdue_after(&activity, 2).await, Some(Overdue::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn each_response_has_its_own_time() {
        let (connection, _open) = Connections::new(1, 1).connect();
        let activity = Arc::new(Activity::new(connection));
        activity.has_read();
        let mut requests = [1, 2].map(|_| activity.begin(Version::HTTP_2));
        requests.iter_mut().for_each(InProgress::has_response);
        let [first, _second] = requests;
        // The client has taken the first response, and not the second one.
        drop(first);
        assert_eq!(overdue_after(&activity, 59).await, None);
        assert_eq!(overdue_after(&activity, 2).await, Some(Overdue::Response));
    }
}
