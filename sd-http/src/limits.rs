//! The limits of connections: memory and time.

use std::time::Duration;

/// The limits of an [`HttpServer`](crate::HttpServer): the memory that its clients may use, and the time that it
/// waits for them.
///
/// A client that exceeds a limit gets an error, or its connection is closed. Other clients do not wait for it.
/// `Duration::MAX` is unlimited. A time below 1 ms counts as 1 ms, except `request_time`. The length of a body is
/// limited by the service, not by the server: [`BODY_LIMIT`](crate::BODY_LIMIT).
///
/// ```
/// use std::time::Duration;
///
/// use sd_http::Limits;
///
/// let limits = Limits::default().with_connections(256).with_idle_time(Duration::from_secs(20));
/// assert_eq!(limits.head_time, Duration::from_secs(10));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections at once, by default 4,096 and at least 1. Each takes a file descriptor of the
    /// process. One more closes the connection that has been idle for longest. If all connections wait for the
    /// service, the new one is answered with `ServiceUnavailable`, 503 and `Retry-After`, and closed.
    pub connections: usize,
    /// The octets of bodies that a connection may have pending before its next request waits, by default 4 MiB.
    /// A request's octets are pending until it is answered, up to [`BODY_LIMIT`](crate::BODY_LIMIT); those of a
    /// response until the client has taken them. Only HTTP/2 has requests that wait, at most 32 in a connection.
    pub connection_octets: usize,
    /// The octets of bodies that all connections may have pending together, by default 256 MiB. Beyond that,
    /// the connection with the most is closed.
    pub pending_octets: usize,
    /// The most octets of a request's head with its first line, by default 32 KiB and at least 8 KiB. A longer
    /// head is answered with 431 (RFC 6585 section 5), as is a head of more than 100 fields in HTTP/1.
    pub head_octets: usize,
    /// The time for the head of a request from its first octet, by default 10 s. After it, the connection is
    /// closed. The time of the first request of an HTTP/2 connection begins with the connection's preface.
    pub head_time: Duration,
    /// The time for a request after its head, its body included, by default 30 s. After it, the request is
    /// answered with 408.
    pub request_time: Duration,
    /// The time for a client to take a response, from when the response is ready until its last octet is
    /// written, by default 60 s. After it, the connection is closed.
    pub response_time: Duration,
    /// The time that a connection may be without a request after its first one, by default 75 s. After it, the
    /// connection is closed. Control frames of HTTP/2, such as PING, are not requests. A connection that has sent
    /// no octet yet has [`head_time`](Self::head_time).
    pub idle_time: Duration,
    /// The time for connections to finish their requests in
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
