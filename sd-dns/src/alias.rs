//! The targets of aliases, which somebody else knows.

use std::{error::Error as StdError, fmt, net::IpAddr, pin::Pin, sync::Arc};

use async_trait::async_trait;
use sd_core::{model::RecordType, name::DnsName};

/// Finds what the target of an alias has: the addresses of a load balancer, which an instance names by
/// `AWS_ALIAS_DNS_NAME`. The host of the library knows where to ask; nothing here asks the network.
///
/// It is asked for each question that an alias is drawn for, but for targets in zones of the table itself; to keep what was
/// found, for its TTL, is its own affair. Without one, a [`Forwarder`](crate::Forwarder) is asked.
/// - [`DnsServer`](crate::DnsServer#answers-that-wait) waits up to 2 s, and holds up nobody. It bounds how
///   many answers wait.
/// - [`Answerer::answer`](crate::Answerer::answer) waits for nothing: it takes an answer that is there when the future is
///   first polled, so that a resolver that knows its answers needs no runtime.
///
/// A question whose target cannot be resolved is answered with SERVFAIL, and so is one whose target is an alias in turn.
#[async_trait]
pub trait AliasResolver: fmt::Debug + Send + Sync + 'static {
    /// What this name has of a type, A or AAAA; nothing, if the name exists and has none. Addresses of the other family
    /// are left out of the answer.
    ///
    /// # Errors
    /// The name does not exist, or cannot be asked for. It is logged, and answered with SERVFAIL.
    async fn resolve(
        &self,
        target: &DnsName,
        kind: RecordType,
    ) -> Result<AliasAddresses, Box<dyn StdError + Send + Sync>>;
}

/// A shared resolver is a resolver. Its future is that of the resolver, which is why this is not written as an `async fn`.
impl<R: AliasResolver + ?Sized> AliasResolver for Arc<R> {
    fn resolve<'s, 't, 'f>(
        &'s self,
        target: &'t DnsName,
        kind: RecordType,
    ) -> Pin<Box<dyn Future<Output = Result<AliasAddresses, Box<dyn StdError + Send + Sync>>> + Send + 'f>>
    where
        's: 'f,
        't: 'f,
        Self: 'f,
    {
        R::resolve(self, target, kind)
    }
}

/// What the target of an alias has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AliasAddresses {
    /// In seconds. It counts instead of that of the service's records, as in Route 53.
    pub ttl: u32,
    /// The first eight that are different are answered.
    pub addresses: Vec<IpAddr>,
}

impl AliasAddresses {
    /// These addresses, with a TTL in seconds.
    #[must_use]
    pub fn new(ttl: u32, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { ttl, addresses: addresses.into_iter().collect() }
    }
}
