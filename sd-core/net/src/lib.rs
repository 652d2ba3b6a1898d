//! TCP connections of sd's servers: accepting, the limit, eviction, and draining. One policy for HTTP and
//! DNS.
//!
//! - At most [`limit`](Connections::new) connections are served. One more evicts the connection that has been
//!   idle for longest, so that silent clients cannot lock out others (RFC 7766 section 6.2.3 says so of DNS).
//!   If all of them are [busy](Connection::busy), the new connection is [beyond the
//!   limit](Connection::is_beyond_limit): its server refuses it in the protocol's own words.
//! - The octets that a server [holds](Connection::hold) for its connections have a limit too. Beyond it, the
//!   connection that holds most is closed.
//! - An error of one connection does not pause accepting. Without file descriptors the idlest connection is
//!   closed and accepting backs off.
//! - A [`Drain`] ends everything by one deadline.

#![forbid(unsafe_code)]

mod accept;
mod connections;
mod drain;
#[cfg(test)]
mod tests;

pub use accept::Listener;
pub use connections::{Busy, Connection, Connections, Held};
pub use drain::{Drain, Draining};
