//! Limits of connections: memory and time.

use std::time::Duration;

/// Limits of an [`HttpServer`](crate::HttpServer): how much memory its clients may use, and how long it waits
/// for them.
///
/// A client that exceeds one of these gets an error, or its connection is closed; no other client waits for
/// it. `Duration::MAX` is without end; a shorter time than 1 ms counts as 1 ms, except `request_time`. The
/// service limits the length of a body, not the server: [`BODY_LIMIT`](crate::BODY_LIMIT).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections that are served at once, by default 4,096 and at least 1. Each takes a file
    /// descriptor of the process. One more closes the connection that has been idle for longest. If all of
    /// them wait for the service, it is answered with `ServiceUnavailable`, 503 and `Retry-After`, and
    /// closed.
    pub connections: usize,
    /// The octets of bodies that a connection may have pending before its next requests wait, by default 4
    /// MiB: those of requests until they are answered, up to [`BODY_LIMIT`](crate::BODY_LIMIT) each, and
    /// those of responses until the client has taken them. Only HTTP/2 has requests that wait; a connection
    /// has at most 32 at a time.
    pub connection_octets: usize,
    /// The octets of bodies that all connections may have pending together, by default 256 MiB. Beyond that,
    /// the connection with most of them is closed.
    pub pending_octets: usize,
    /// The most octets of a request's head, its first line included, by default 32 KiB and never less than 8
    /// KiB. A longer one is answered with 431 (RFC 6585 section 5), and so is one of more than 100 fields
    /// under HTTP/1.
    pub head_octets: usize,
    /// How long the head of a request may take from its first octet, by default 10 s. Then the connection is
    /// closed. That of the first request of an HTTP/2 connection begins with the connection's preface.
    pub head_time: Duration,
    /// How long a request may take after its head, its body included, by default 30 s. Then it is answered
    /// with 408.
    pub request_time: Duration,
    /// How long a client may take to take a response, from when it is ready until its last octet is written,
    /// by default 60 s. Then its connection is closed.
    pub response_time: Duration,
    /// How long a connection may be without a request after its first one, by default 75 s. Then it is
    /// closed. HTTP/2's control frames, such as PING, are no request. Until its first octet a connection has
    /// [`head_time`](Self::head_time).
    pub idle_time: Duration,
    /// How long connections may take to finish their requests in
    /// [`HttpServer::shutdown`](crate::HttpServer::shutdown), by default 10 s.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connection_octets: 4 * 1024 * 1024,
            pending_octets: 256 * 1024 * 1024,
            head_octets: 32 * 1024,
            head_time: Duration::from_secs(10),
            request_time: Duration::from_secs(30),
            response_time: Duration::from_secs(60),
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
    with_connection_octets connection_octets: usize,
    with_pending_octets pending_octets: usize,
    with_head_octets head_octets: usize,
    with_head_time head_time: Duration,
    with_request_time request_time: Duration,
    with_response_time response_time: Duration,
    with_idle_time idle_time: Duration,
    with_drain_time drain_time: Duration,
}
