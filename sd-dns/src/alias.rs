//! Resolves the targets of alias records.

use std::{error::Error as StdError, fmt, net::IpAddr, pin::Pin, sync::Arc};

use async_trait::async_trait;
use sd_core::model::{DnsName, RecordType};

/// Finds the addresses of alias targets: the load balancers that instances name by `AWS_ALIAS_DNS_NAME`. Implemented by
/// the program that embeds this crate and knows its load balancers.
///
/// # Contract
/// - [`resolve`](Self::resolve) is called for each question for which an alias is drawn, by several tasks at once. Targets
///   in zones of the [`NameTable`](crate::NameTable) never come here.
/// - Nothing is cached: an implementation that asks a network should cache what it finds, for its TTL.
/// - A [`DnsServer`](crate::DnsServer#pending-responses) waits up to 2 s, then drops the future. Other clients do not
///   wait meanwhile.
/// - [`Answerer::answer`](crate::Answerer::answer) polls the future once and then drops it. An implementation that is
///   ready at once works without a runtime.
/// - The addresses are final: an alias of an alias is SERVFAIL.
///
/// Without an alias resolver a [`Forwarder`](crate::Forwarder) is asked, and without that the response is SERVFAIL.
///
/// # Examples
/// ```
/// use std::{error::Error, net::Ipv4Addr};
///
/// use sd_core::model::{DnsName, RecordType};
/// use sd_dns::{AliasAddresses, AliasResolver, DnsServer, NameTable};
///
/// /// Every load balancer of this emulator listens on 127.0.0.1.
/// #[derive(Debug)]
/// struct Emulated;
///
/// #[async_trait::async_trait]
/// impl AliasResolver for Emulated {
///     async fn resolve(
///         &self,
///         _target: &DnsName,
///         kind: RecordType,
///     ) -> Result<AliasAddresses, Box<dyn Error + Send + Sync>> {
///         let ipv4 = (kind == RecordType::A).then_some(Ipv4Addr::LOCALHOST.into());
///         Ok(AliasAddresses::new(60, ipv4))
///     }
/// }
///
/// let builder = DnsServer::builder(NameTable::new()).with_alias_resolver(Emulated);
/// # drop(builder);
/// ```
#[async_trait]
pub trait AliasResolver: fmt::Debug + Send + Sync + 'static {
    /// Finds the addresses of `target`. `kind` is the type of the question: A or AAAA. Addresses of the other family are
    /// left out of the response. No addresses means that the name exists and has none of the type (NODATA).
    ///
    /// # Errors
    /// The name does not exist, or cannot be resolved now. The error is logged at level debug, and the response is
    /// SERVFAIL.
    async fn resolve(
        &self,
        target: &DnsName,
        kind: RecordType,
    ) -> Result<AliasAddresses, Box<dyn StdError + Send + Sync>>;
}

/// A shared resolver. Not an `async fn`, so that the future is not boxed twice.
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

/// The addresses of an alias's target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AliasAddresses {
    /// The TTL of the response, in seconds. As in Route 53 it replaces the TTL of the service's records. Values above
    /// 2³¹ − 1 count as that (RFC 2181 section 8).
    pub ttl: u32,
    /// The addresses. The response has the first eight distinct ones of the question's family.
    pub addresses: Vec<IpAddr>,
}

impl AliasAddresses {
    /// Addresses with a TTL in seconds.
    #[must_use]
    pub fn new(ttl: u32, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { ttl, addresses: addresses.into_iter().collect() }
    }
}
