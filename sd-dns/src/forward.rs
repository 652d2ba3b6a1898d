//! Questions that are none of ours, asked of other servers.

mod exchange;
mod upstream;

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, fs, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RData,
};
use resolv_conf::{Config, ScopedIp};
use tokio::sync::watch;

pub(crate) use self::exchange::DEADLINE;
use self::{exchange::exchange, upstream::Upstream};
use crate::{
    alias::AliasAddresses,
    wire::{asked::Asked, response::Response},
};

/// Asks other servers, the upstreams, for what is in none of the zones here. With one, a [`DnsServer`](crate::DnsServer) is
/// the resolver of a whole machine: [`with_forwarder`](crate::DnsServerBuilder::with_forwarder).
///
/// - Names in zones of the table are never asked for, whether they exist or not. Nor is anything for a client that does not
///   desire recursion (RD is 0): it is refused. The targets of aliases are asked for in any case, since what they have is the
///   answer of a zone here.
/// - The first upstream is asked; the next one when it fails, or has said nothing for 1 s; all of them in turns up to 4 s, after
///   which the client is told SERVFAIL, before it gives up by itself (5 s in most resolvers). An upstream that cannot be
///   reached or is slow is asked last for the next 30 s. SERVFAIL, REFUSED, NOTIMP and FORMERR are no answers; its FORMERR or
///   NOTIMP to EDNS is not the last word, since it is asked again without (RFC 6891 section 7).
/// - Each query has a socket of its own, whose port the system chooses, and an id of the system's random source (RFC 5452).
///   What comes from elsewhere, with another id or another question is not an answer.
/// - Answers pass as the bytes that they are, whatever their types are (RFC 3597). EDNS is between two neighbours: an
///   upstream is told of 1232 octets, the client's DO bit is passed on, options are not. An answer that is cut is asked for
///   again over TCP. A client that cannot receive all of it gets the first records and the TC bit; additional ones
///   are left out before (RFC 2181 section 9).
/// - Where the CNAME records of an answer lead into a zone of the table, the zone has the last word, as if the chain had begun
///   there; what the answer says of the zone's names is left out. All of a chain takes no more than the 4 s.
/// - Clients that ask the same at the same time wait for one query. 256 different questions at a time are asked; others fail
///   at once. Nothing is kept: that is for the upstreams to do.
/// - A query of ours that an upstream hands back to us fails: an option of EDNS goes with all of them, to know them again. Other
///   names may still be asked of it, since it may do so for a zone that is to be here. Whether it does for all names is found
///   out by a question for one below `sd-loop`, which goes with the first query, after failures, and after one that came back:
///   if that comes back as well, the upstream is left alone for 30 s, and told of in the log as an error.
///
/// It is a handle: servers that share one share its queries.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

struct Inner {
    upstreams: Vec<Upstream>,
    in_flight: Mutex<HashMap<Asked, watch::Receiver<Option<Outcome>>>>,
}

/// What all upstreams together say: `None` if none of them has answered.
type Outcome = Option<Arc<Response>>;

/// The upstreams of this system cannot be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemResolverError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// No line of it names a server.
    #[error("{path} names no server")]
    NoServer {
        /// The file.
        path: &'static str,
    },
}

impl Forwarder {
    /// The most questions that are asked at a time. Each takes a descriptor for each upstream that is asked, of which many
    /// processes have 1,024.
    const MAX_IN_FLIGHT: usize = 256;
    const RESOLV_CONF: &str = "/etc/resolv.conf";
    const PORT: u16 = 53;

    /// Asks these servers, preferring the first ones. Without any, every question fails.
    #[must_use]
    pub fn new(upstreams: impl IntoIterator<Item = SocketAddr>) -> Self {
        let upstreams = upstreams.into_iter().map(Upstream::new).collect();
        Self(Arc::new(Inner { upstreams, in_flight: Mutex::default() }))
    }

    /// Asks the servers that this machine's programs ask: those that `/etc/resolv.conf` names now.
    ///
    /// # Errors
    /// The file cannot be read, or names no server.
    pub fn system() -> Result<Self, SystemResolverError> {
        let path = Self::RESOLV_CONF;
        let text = fs::read(path).map_err(|source| SystemResolverError::Unreadable { path, source })?;
        let (config, faults) = Config::parse_with_errors(&text);
        for fault in faults {
            tracing::debug!(path, %fault, "a line is left out");
        }
        let addresses: Vec<_> = config.nameservers.iter().filter_map(address).collect();
        if addresses.is_empty() {
            Err(SystemResolverError::NoServer { path })
        } else {
            Ok(Self::new(addresses))
        }
    }

    /// The servers that are asked.
    pub fn upstreams(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.upstreams.iter().map(|upstream| upstream.address)
    }

    /// Waits for the answer to a question, which may be in flight already. `None` if there is none.
    pub(crate) async fn ask(&self, asked: Asked) -> Outcome {
        let mut outcome = self.join(asked)?;
        // The error: the runtime has ended.
        outcome.wait_for(Option::is_some).await.ok()?.clone().flatten()
    }

    fn join(&self, asked: Asked) -> Option<watch::Receiver<Option<Outcome>>> {
        let mut in_flight = self.in_flight();
        let count = in_flight.len();
        match in_flight.entry(asked) {
            Entry::Occupied(entry) => Some(entry.get().clone()),
            Entry::Vacant(_) if count >= Self::MAX_IN_FLIGHT => {
                tracing::debug!("too many questions wait for other servers");
                None
            }
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                let guard = InFlight { forwarder: self.clone(), asked: entry.key().clone() };
                entry.insert(receiver.clone());
                // Of its own: the client that was first may go away.
                tokio::spawn(async move {
                    let outcome = exchange(&guard.forwarder.0.upstreams, &guard.asked).await;
                    drop(guard);
                    sender.send_replace(Some(outcome));
                });
                Some(receiver)
            }
        }
    }

    /// Whether a query that was received, for this question, is one that was sent to an upstream, which is noted.
    pub(crate) fn has_sent(&self, query: &[u8], asked: &Asked) -> bool {
        let upstream = self.0.upstreams.iter().find(|upstream| upstream.has_got(query, asked));
        if let Some(upstream) = upstream {
            upstream.returns(asked);
        }
        upstream.is_some()
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<Asked, watch::Receiver<Option<Outcome>>>> {
        self.0.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question is in flight until this is dropped, by its answer or the end of the runtime.
struct InFlight {
    forwarder: Forwarder,
    asked: Asked,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.forwarder.in_flight().remove(&self.asked);
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").field("upstreams", &self.0.upstreams).finish_non_exhaustive()
    }
}

/// Scopes of addresses are numbers or names of interfaces; those that are not numbers cannot be told.
fn address(server: &ScopedIp) -> Option<SocketAddr> {
    match server {
        ScopedIp::V4(address) => Some((*address, Forwarder::PORT).into()),
        ScopedIp::V6(address, None) => Some((*address, Forwarder::PORT).into()),
        ScopedIp::V6(address, Some(scope)) => {
            let scope = scope.parse().ok()?;
            Some(std::net::SocketAddrV6::new(*address, Forwarder::PORT, 0, scope).into())
        }
    }
}

/// The addresses of an answer, with the lowest TTL on the way to them. The error is the code of one that says that there is no
/// such name.
pub(crate) fn addresses(answer: &[u8]) -> Result<AliasAddresses, ResponseCode> {
    let parsed = Message::from_vec(answer).map_err(|_| ResponseCode::FormErr)?;
    match parsed.metadata.response_code {
        ResponseCode::NoError => {}
        code => return Err(code),
    }
    let addresses = parsed.answers.iter().filter_map(|record| match record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    });
    let ttl = parsed.answers.iter().map(|record| record.ttl).min().unwrap_or_default();
    Ok(AliasAddresses::new(ttl, addresses))
}
