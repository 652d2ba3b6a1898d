use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use arc_swap::Guard;
use sd_core::settings::{RandomSource, ThreadRandom};

use crate::{
    alias::{AliasAddresses, AliasResolver},
    counters::ResponseSummary,
    forward::{self, Forwarder},
    name_table::{NameTable, Published},
    response::{self, Missing, PendingAlias, PendingResponse, uncommon},
    wire::{
        MAX_UDP_PAYLOAD, Transport,
        query::{Query, QueryHeader},
    },
};

/// Answers DNS messages from a [`NameTable`]: octets in, octets out, no socket.
///
/// Every message gets a response, unless it is shorter than a header or a response itself. Responses for names in zones
/// of the table are authoritative. Names in no zone are REFUSED.
///
/// Give each thread its own answerer: clones share one random number generator, which threads would contend for.
///
/// # Examples
/// ```
/// use sd_dns::{Answerer, NameTable, Reply, Transport};
///
/// let answerer = Answerer::new(NameTable::new());
/// // `example.com. IN A?` with id 0x1234. The table has no zones.
/// let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01";
/// let mut response = Vec::new();
/// assert_eq!(answerer.answer(query, Transport::Udp, &mut response), Reply::Written);
/// assert_eq!(response[..2], query[..2]);
/// const REFUSED: u8 = 5;
/// assert_eq!(response[3] & 0x0F, REFUSED);
///
/// // A response gets no response.
/// assert_eq!(answerer.answer(&response.clone(), Transport::Udp, &mut response), Reply::Nothing);
/// ```
#[derive(Clone, Debug)]
pub struct Answerer {
    table: NameTable,
    random: Arc<dyn RandomSource>,
    resolvers: Resolvers,
}

/// Where an answerer looks for what the table does not have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolvers {
    pub(crate) aliases: Option<Arc<dyn AliasResolver>>,
    pub(crate) forwarder: Option<Forwarder>,
}

/// What can be done with a message without waiting.
pub(crate) enum Outcome {
    /// It gets no response.
    Ignored,
    /// The response was appended to the buffer.
    Complete(ResponseSummary),
    /// Nothing was written: the response has to wait.
    Pending(Box<PendingResponse>),
}

/// Whether a message gets a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "there is nothing to send unless a response was written"]
#[non_exhaustive]
pub enum Reply {
    /// The response was appended to the buffer.
    Written,
    /// Nothing was written: the message is shorter than a header (12 octets), or a response itself.
    Nothing,
}

impl Answerer {
    /// An answerer with a random number generator of its own, and without an [`AliasResolver`].
    #[must_use]
    pub fn new(table: NameTable) -> Self {
        Self { table, random: Arc::new(ThreadRandom), resolvers: Resolvers::default() }
    }

    /// Sets the source of the random choice among records, by default one that is seeded by the system.
    #[must_use]
    pub fn with_random(mut self, random: impl RandomSource) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Sets the resolver of alias targets that are in no zone of the table. Without one, and where it finds nothing, the
    /// response is SERVFAIL.
    #[must_use]
    pub fn with_alias_resolver(mut self, resolver: impl AliasResolver) -> Self {
        self.resolvers.aliases = Some(Arc::new(resolver));
        self
    }

    pub(crate) fn with_resolvers(mut self, resolvers: Resolvers) -> Self {
        self.resolvers = resolvers;
        self
    }

    /// Appends the response to a message to `out`, and leaves what `out` holds alone.
    ///
    /// It never blocks or waits: a response that needs an [`AliasResolver`] which is not ready when it is first polled is
    /// SERVFAIL.
    ///
    /// The response has at most 65 535 octets over TCP. Over UDP it has at most 512, or the client's EDNS payload size
    /// (RFC 6891) clamped to 512–1232. A longer one loses additional records first; if it is still too long, it is
    /// truncated and has the TC bit (RFC 2181 section 9).
    #[inline]
    pub fn answer(&self, packet: &[u8], transport: Transport, out: &mut Vec<u8>) -> Reply {
        match self.begin(&self.read(), packet, transport, out) {
            Outcome::Ignored => return Reply::Nothing,
            Outcome::Complete(_) => {}
            Outcome::Pending(pending) => {
                let mut context = Context::from_waker(Waker::noop());
                if pin!(self.complete(&pending, out)).poll(&mut context).is_pending() {
                    pending.fail(out);
                }
            }
        }
        Reply::Written
    }

    /// The current contents of the table.
    #[inline]
    pub(crate) fn read(&self) -> Guard<Arc<Published>> {
        self.table.read()
    }

    /// Appends the response to a message, unless it has to wait.
    #[inline]
    pub(crate) fn begin(
        &self,
        published: &Published,
        packet: &[u8],
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let Some(header) = QueryHeader::read(packet) else {
            return Outcome::Ignored;
        };
        let header = header.with_recursion(self.resolvers.forwarder.is_some());
        let responded = match Query::read(header, packet) {
            Some(Query { header, question, edns }) => {
                let limit = transport.limit(edns);
                response::respond(published, header, &question, edns, limit, &*self.random, out)
            }
            None => uncommon::respond_to(published, header, packet, transport, &*self.random, out),
        };
        match responded {
            Ok(summary) => Outcome::Complete(summary),
            Err(pending) => self.complete_from_cache(published, packet, pending, out),
        }
    }

    /// Completes a pending response from the forwarder's cache if it can. A query that the forwarder itself has sent is
    /// SERVFAIL.
    fn complete_from_cache(
        &self,
        published: &Published,
        packet: &[u8],
        mut pending: Box<PendingResponse>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let Some(forwarder) = &self.resolvers.forwarder else {
            return Outcome::Pending(pending);
        };
        let mut query = pending.upstream_query();
        // Our own queries are short. Octets that clients append to theirs are not searched.
        let short = &packet[..packet.len().min(usize::from(MAX_UDP_PAYLOAD))];
        if forwarder.has_sent(short, &query) {
            return Outcome::Complete(pending.fail(out));
        }
        // Ends: each turn makes the CNAME chain longer, whose length is bounded.
        while !matches!(pending.missing(), Missing::Addresses(_)) {
            match forwarder.cached(&query) {
                None => break,
                Some(None) => return Outcome::Complete(pending.fail(out)),
                Some(Some(response)) => match pending.forward(&response, published, &*self.random, out) {
                    Ok(summary) => return Outcome::Complete(summary),
                    Err(next) => pending = next,
                },
            }
            query = pending.upstream_query();
        }
        Outcome::Pending(pending)
    }

    /// Appends a pending response once it is complete.
    pub(crate) async fn complete(&self, pending: &PendingResponse, out: &mut Vec<u8>) -> ResponseSummary {
        if let Missing::Addresses(_) = pending.missing() {
            return self.complete_alias(pending, out).await;
        }
        match self.forward(pending, out).await {
            Ok(summary) => summary,
            Err(next) => self.complete_alias(&next, out).await,
        }
    }

    /// Appends the addresses of an alias's target.
    async fn complete_alias(&self, pending: &PendingResponse, out: &mut Vec<u8>) -> ResponseSummary {
        let Missing::Addresses(alias) = pending.missing() else {
            return pending.fail(out);
        };
        match self.alias_addresses(pending, alias).await {
            Ok(found) => pending.finish(alias, &found, out),
            Err(error) => {
                let (target, kind) = (alias.target(), alias.kind().as_str());
                tracing::debug!(%target, kind, %error, "cannot resolve alias target");
                pending.fail(out)
            }
        }
    }

    /// Appends what upstreams answer, and what the table has if their CNAME chain leads back. The error is a response
    /// that waits for an alias's target.
    async fn forward(
        &self,
        pending: &PendingResponse,
        out: &mut Vec<u8>,
    ) -> Result<ResponseSummary, Box<PendingResponse>> {
        let mut forwarded = self.forward_once(pending, out).await;
        // Ends: each turn makes the CNAME chain longer, whose length is bounded.
        while let Err(next) = &forwarded
            && !matches!(next.missing(), Missing::Addresses(_))
        {
            forwarded = self.forward_once(next, out).await;
        }
        forwarded
    }

    async fn forward_once(
        &self,
        pending: &PendingResponse,
        out: &mut Vec<u8>,
    ) -> Result<ResponseSummary, Box<PendingResponse>> {
        let response = match &self.resolvers.forwarder {
            Some(forwarder) => forwarder.query(pending.upstream_query()).await,
            None => None,
        };
        match response {
            Some(response) => pending.forward(&response, &self.read(), &*self.random, out),
            None => Ok(pending.fail(out)),
        }
    }

    /// The addresses of an alias's target: from the table, from the alias resolver, or from upstreams.
    async fn alias_addresses(
        &self,
        pending: &PendingResponse,
        alias: &PendingAlias,
    ) -> Result<AliasAddresses, BoxError> {
        let mut response = Vec::new();
        let query = pending.upstream_query().encode(0, None);
        let (target, kind) = (alias.target(), alias.kind());
        let outcome = self.begin(&self.read(), &query, Transport::Tcp, &mut response);
        match (outcome, &self.resolvers.aliases) {
            (Outcome::Complete(summary), Some(resolver)) if summary.zone.is_none() => {
                return resolver.resolve(target, kind).await;
            }
            (Outcome::Pending(next), resolver) => match (next.missing(), resolver) {
                (Missing::Response, Some(resolver)) => return resolver.resolve(target, kind).await,
                (Missing::Addresses(_), _) => return Err("the target is an alias itself".into()),
                (Missing::Response | Missing::ChainEnd(_), _) => {
                    let forwarded = self.forward(&next, &mut response).await;
                    forwarded.map_err(|_| "the target's CNAME chain leads to an alias")?;
                }
            },
            (Outcome::Complete(_) | Outcome::Ignored, _) => {}
        }
        forward::addresses(&response).map_err(|rcode| format!("the response is {rcode}").into())
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
