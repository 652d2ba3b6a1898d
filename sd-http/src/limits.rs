//! How much a server takes from its clients, and how long it waits for them.

use std::time::Duration;

/// How much an [`HttpServer`](crate::HttpServer) takes from its clients, and how long it waits for them.
///
/// A client that goes beyond one of these is answered with an error or finds its connection closed; no other client has to
/// wait for it. A time may be `Duration::MAX`, which is without end. How long a body may be is not of the server but of the
/// service: [`BODY_LIMIT`](crate::BODY_LIMIT).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections that are served at once, by default 4,096. Each takes a file descriptor of the process. The next
    /// 64 are answered with `ServiceUnavailable`, 503 and `Retry-After`, and closed; any others wait to be accepted.
    pub connections: usize,
    /// The most octets of a request's head, its first line included, by default 32 KiB and never less than 8 KiB. A longer
    /// one is answered with 431 (RFC 6585 section 5), and so is one of more than 100 fields under HTTP/1.
    pub head_octets: usize,
    /// How long the head of a request may take from its first octet, by default 10 s. Then the connection is closed.
    /// That of the first request of an HTTP/2 connection begins with the connection's preface.
    pub head_time: Duration,
    /// How long a request may take after its head, its body included, by default 30 s. Then it is answered with 408.
    pub request_time: Duration,
    /// How long a connection may be without a request and without an octet of an answer that its client takes, by default
    /// 75 s. Then it is closed.
    pub idle_time: Duration,
    /// How long connections may take to finish their requests in [`HttpServer::shutdown`](crate::HttpServer::shutdown), by
    /// default 10 s.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            head_octets: 32 * 1024,
            head_time: Duration::from_secs(10),
            request_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(75),
            drain_time: Duration::from_secs(10),
        }
    }
}

/// The members, and what sets them.
macro_rules! setters {
    ($($with:ident $member:ident: $type:ty,)*) => {
        impl Limits {
            $(
                #[doc = concat!("Sets [`", stringify!($member), "`](Self::", stringify!($member), ").")]
                #[must_use]
                pub fn $with(mut self, $member: $type) -> Self {
                    self.$member = $member;
                    self
                }
            )*
        }
    };
}

setters! {
    with_connections connections: usize,
    with_head_octets head_octets: usize,
    with_head_time head_time: Duration,
    with_request_time request_time: Duration,
    with_idle_time idle_time: Duration,
    with_drain_time drain_time: Duration,
}
