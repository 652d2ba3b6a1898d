//! Counters: what a service has answered, and what its connections did.
//!
//! Each set of counters is of a fixed size: operations, protocols and codes are those of the API, never text
//! that a client sends.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sd_core::{Action, ErrorCode, door::Latency};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{
    error::{Failure, ProtocolError},
    protocol::Protocol,
};

/// What a [`CloudMapService`](crate::CloudMapService) and its clones have answered since the service was made:
/// see [`counters`](crate::CloudMapService::counters).
///
/// The parts are read one after another while requests go on, so that sums can differ by the requests of that
/// moment.
///
/// ```
/// use http_body_util::Full;
/// use sd_backend_memory::MemoryRegistry;
/// use sd_core::{Action, CloudMap};
/// use sd_http::{CloudMapService, Outcome};
/// use tower_service::Service;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let mut service = CloudMapService::new(CloudMap::new(MemoryRegistry::new()));
/// let request = http::Request::post("http://localhost/")
///     .header("X-Amz-Target", "Route53AutoNaming_v20170314.GetNamespace")
///     .body(Full::<bytes::Bytes>::from(r#"{"Id": "ns-aaaaaaaaaaaaaaaa"}"#))
///     .unwrap();
/// service.call(request).await.unwrap();
///
/// let counters = service.counters();
/// assert_eq!(counters.in_progress, 0);
/// let refused = &counters.finished[0];
/// assert_eq!((refused.operation, refused.count), (Some(Action::GetNamespace), 1));
/// assert_eq!(refused.outcome, Outcome::Refused("NamespaceNotFound"));
/// # });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RequestCounters {
    /// Requests that have begun and are not answered yet.
    pub in_progress: u64,
    /// Finished requests, by operation, protocol and outcome. Combinations without a request are left out.
    pub finished: Vec<FinishedRequests>,
    /// How long the finished requests of each operation took. Operations without a request are left out.
    pub latency: Vec<OperationLatency>,
}

/// The number of finished requests of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FinishedRequests {
    /// The operation. `None` if the request names none that exists, or is a reset or a CORS preflight.
    #[serde(serialize_with = "operation_name")]
    pub operation: Option<Action>,
    /// The protocol of the request.
    pub protocol: Protocol,
    /// How the requests ended.
    #[serde(rename = "code")]
    pub outcome: Outcome,
    /// How many there were; at least 1.
    pub count: u64,
}

/// How long the requests of one operation took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OperationLatency {
    /// The operation, or `None` as in [`FinishedRequests::operation`].
    #[serde(serialize_with = "operation_name")]
    pub operation: Option<Action>,
    /// The durations.
    #[serde(flatten, serialize_with = "latency")]
    pub latency: Latency,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// With a response.
    Answered,
    /// With an error of this code, as the client sees it, such as `InvalidInput`.
    Refused(&'static str),
    /// Without an answer: the client left, or the server gave the request up.
    Canceled,
}

impl Outcome {
    /// `OK`, the code of the error, or `Canceled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "OK",
            Self::Refused(code) => code,
            Self::Canceled => "Canceled",
        }
    }

    /// Every outcome that there can be, in the order in which they are counted.
    fn all() -> impl Iterator<Item = Self> {
        let codes = ErrorCode::ALL.iter().map(|code| code.as_str()).chain(ProtocolError::CODES);
        [Self::Answered, Self::Canceled].into_iter().chain(codes.map(Self::Refused))
    }

    const COUNT: usize = 2 + ErrorCode::ALL.len() + ProtocolError::CODES.len();
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

fn operation_name<S: Serializer>(operation: &Option<Action>, serializer: S) -> Result<S::Ok, S::Error> {
    operation.map(Action::as_str).serialize(serializer)
}

/// Writes the sum as `microseconds`, and `by_microseconds` as pairs of an upper bound (`null` for the last) and a number.
pub(crate) fn latency<S: Serializer>(latency: &Latency, serializer: S) -> Result<S::Ok, S::Error> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).ok();
    let buckets: Vec<_> = latency.buckets().map(|(bound, count)| (micros(bound), count)).collect();
    let mut fields = serializer.serialize_struct("Latency", 2)?;
    fields.serialize_field("microseconds", &micros(latency.sum()))?;
    fields.serialize_field("by_microseconds", &buckets)?;
    fields.end()
}

/// The counters of a service, which all of its requests write.
#[derive(Debug)]
pub(crate) struct RequestCounts {
    begun: AtomicU64,
    rows: Box<[OperationCounts]>,
}

/// The counters of an operation: those of one request are close together.
#[derive(Debug)]
struct OperationCounts {
    finished: [[AtomicU64; Outcome::COUNT]; 2],
    buckets: [AtomicU64; Latency::BUCKETS],
    micros: AtomicU64,
}

impl RequestCounts {
    pub(crate) fn new() -> Self {
        let zeros = || OperationCounts {
            finished: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            micros: AtomicU64::new(0),
        };
        Self { begun: AtomicU64::new(0), rows: operations().map(|_| zeros()).collect() }
    }

    /// Counts a request from now on.
    pub(crate) fn begin(self: &Arc<Self>, operation: Option<Action>, protocol: Protocol) -> Counted {
        self.begun.fetch_add(1, Relaxed);
        Counted { counts: Arc::clone(self), operation, protocol, begun: Instant::now() }
    }

    pub(crate) fn read(&self) -> RequestCounters {
        let mut finished = Vec::new();
        let mut latency = Vec::new();
        for (operation, row) in operations().zip(&self.rows) {
            for protocol in [Protocol::Json, Protocol::Cbor] {
                for (outcome, count) in Outcome::all().zip(&row.finished[protocol as usize]) {
                    let count = count.load(Relaxed);
                    if count > 0 {
                        finished.push(FinishedRequests { operation, protocol, outcome, count });
                    }
                }
            }
            let counts: [u64; _] = std::array::from_fn(|bucket| row.buckets[bucket].load(Relaxed));
            if counts.iter().any(|count| *count > 0) {
                let sum = Duration::from_micros(row.micros.load(Relaxed));
                latency.push(OperationLatency { operation, latency: Latency::from_parts(counts, sum) });
            }
        }
        // Read last, so that no request has finished and not begun.
        let ended = finished.iter().map(|row| row.count).sum();
        let in_progress = self.begun.load(Relaxed).saturating_sub(ended);
        RequestCounters { in_progress, finished, latency }
    }
}

/// The operations, in the order in which they are counted.
fn operations() -> impl Iterator<Item = Option<Action>> {
    Action::ALL.iter().map(|action| Some(*action)).chain([None])
}

/// A request that is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    counts: Arc<RequestCounts>,
    operation: Option<Action>,
    protocol: Protocol,
    begun: Instant,
}

impl Counted {
    /// Counts the end, and returns how long the request took, in microseconds.
    pub(crate) fn end(&self, outcome: Outcome) -> u64 {
        let took = self.begun.elapsed();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let row = self.operation.map_or(Action::ALL.len(), |operation| operation as usize);
        if let Some(row) = self.counts.rows.get(row) {
            let outcome = Outcome::all().position(|known| known == outcome).unwrap_or_default();
            row.finished[self.protocol as usize][outcome].fetch_add(1, Relaxed);
            row.buckets[Latency::bucket(took)].fetch_add(1, Relaxed);
            row.micros.fetch_add(micros, Relaxed);
        }
        micros
    }
}

impl From<&Failure> for Outcome {
    fn from(failure: &Failure) -> Self {
        Self::Refused(failure.code())
    }
}

/// What the connections of an [`HttpServer`](crate::HttpServer) did since it was bound: see
/// [`counters`](crate::HttpServer::counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ConnectionCounters {
    /// Connections that are open now, without those that are being refused.
    pub open: u64,
    /// Octets of bodies that are pending now; see [`Limits::pending_octets`](crate::Limits::pending_octets).
    pub pending_octets: u64,
    /// Connections that were accepted, those that were refused included.
    pub accepted: u64,
    /// Connections that were refused, because all others were busy and the limit was reached.
    pub refused: u64,
    /// Connections that were closed while they were served: for a limit of the server, such as
    /// [`connections`](crate::Limits::connections), or when it ended.
    pub cut_off: u64,
    /// Connections that were closed because a head took longer than
    /// [`head_time`](crate::Limits::head_time).
    pub head_timeouts: u64,
    /// Requests that were answered with 408, after [`request_time`](crate::Limits::request_time). A service
    /// counts such a request as [canceled](Outcome::Canceled).
    pub request_timeouts: u64,
    /// Connections that were closed because a client took longer than
    /// [`response_time`](crate::Limits::response_time) for a response.
    pub response_timeouts: u64,
    /// Connections that were closed after [`idle_time`](crate::Limits::idle_time).
    pub idle_timeouts: u64,
}

/// The counters of a server, which all of its connections write.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) cut_off: AtomicU64,
    pub(crate) head_timeouts: AtomicU64,
    pub(crate) request_timeouts: AtomicU64,
    pub(crate) response_timeouts: AtomicU64,
    pub(crate) idle_timeouts: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl ConnectionCounts {
    /// The counters, with these numbers of open connections and pending octets.
    pub(crate) fn read(&self, open: usize, pending_octets: usize) -> ConnectionCounters {
        ConnectionCounters {
            open: open as u64,
            pending_octets: pending_octets as u64,
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            cut_off: self.cut_off.load(Relaxed),
            head_timeouts: self.head_timeouts.load(Relaxed),
            request_timeouts: self.request_timeouts.load(Relaxed),
            response_timeouts: self.response_timeouts.load(Relaxed),
            idle_timeouts: self.idle_timeouts.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_protocol_and_outcome_has_a_counter_of_its_own() {
        let counts = Arc::new(RequestCounts::new());
        let mut expected = Vec::new();
        for operation in operations() {
            for protocol in [Protocol::Json, Protocol::Cbor] {
                for outcome in Outcome::all() {
                    counts.begin(operation, protocol).end(outcome);
                    expected.push(FinishedRequests { operation, protocol, outcome, count: 1 });
                }
            }
        }
        let counters = counts.read();
        assert_eq!(counters.finished, expected);
        assert_eq!(expected.len(), (Action::ALL.len() + 1) * 2 * Outcome::COUNT);
        assert_eq!(counters.in_progress, 0);
        assert_eq!(counters.latency.len(), Action::ALL.len() + 1);
        assert!(counters.latency.iter().all(|row| row.latency.count() == 2 * Outcome::COUNT as u64));
    }

    #[test]
    fn a_request_is_in_progress_until_it_ends() {
        let counts = Arc::new(RequestCounts::new());
        let request = counts.begin(Some(Action::GetService), Protocol::Cbor);
        assert_eq!((counts.read().in_progress, counts.read().finished.len()), (1, 0));
        request.end(Outcome::Canceled);
        assert_eq!((counts.read().in_progress, counts.read().finished.len()), (0, 1));
    }

    #[test]
    fn a_bucket_ends_at_twice_the_bound_of_the_one_before() {
        for (micros, bucket) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1 << 22, 23), (u64::MAX, 23)] {
            assert_eq!(Latency::bucket(Duration::from_micros(micros)), bucket, "{micros}");
        }
        let bounds: Vec<_> = Latency::default().buckets().map(|(bound, _)| bound).collect();
        assert_eq!(bounds[..3], [1, 2, 4].map(Duration::from_micros));
        assert_eq!(bounds[22..], [Duration::from_micros(1 << 22), Duration::MAX]);
    }
}
