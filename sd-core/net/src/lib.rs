//! Accepts TCP connections for the servers of sd, limits and evicts them, and drains them. HTTP and DNS share this one
//! policy.
//!
//! - **Limit.** At most [`limit`](Connections::new) connections are served. One more evicts the connection that has been
//!   idle for longest, so that silent clients cannot lock out others (RFC 7766 section 6.2.3 recommends it for DNS). If all
//!   connections are [busy](Connection::busy), the new one is [beyond the limit](Connection::is_beyond_limit), and its
//!   server refuses it as the protocol provides.
//! - **Memory.** The octets that a server [holds](Connection::hold) for its connections are limited, too. Beyond the limit
//!   the connection that holds most is closed.
//! - **Errors.** An error of one connection does not delay the next one. When the process has no file descriptors left, the
//!   idlest connection is closed and accepting pauses for 50 ms.
//! - **Draining.** A [`Drain`] ends all connections by one deadline.
//!
//! ```
//! use std::{net::Ipv4Addr, time::Duration};
//!
//! use sd_net::{Connections, Drain};
//! use tokio::{
//!     net::{TcpListener, TcpStream},
//!     time::Instant,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
//! let connections = Connections::new(1000, 64 << 20);
//! let drain = Drain::new();
//! let draining = drain.signal();
//! let server = tokio::spawn(async move {
//!     let greet = |stream: TcpStream, _connection, _draining| async move {
//!         let _ = stream.try_write(b"hello");
//!     };
//!     connections.accept(listener, draining, greet).await;
//! });
//! drain.begin(Instant::now() + Duration::from_secs(5));
//! server.await?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod accept;
mod connections;
mod drain;
#[cfg(test)]
mod tests;

pub use accept::Listener;
pub use connections::{Busy, Connection, Connections, Held};
pub use drain::{Drain, Draining};
