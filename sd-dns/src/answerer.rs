use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use arc_swap::Guard;
use sd_core::random::RandomSource;

use crate::{
    alias::{AliasAddresses, AliasResolver},
    counters::Answered,
    name_table::{NameTable, Published},
    random::WorkerRandom,
    slow,
    wire::{
        Transport,
        answer::{self, Waiting},
        query::{Query, QueryHeader},
    },
};

/// Answers DNS messages from a name table: bytes in, bytes out, no socket.
///
/// Every message that is not itself a response is answered, whatever its bytes are. Answers for names in the table's
/// zones are authoritative; names outside are refused.
///
/// Each thread should have its own, since the choice among records takes turns at one random generator.
#[derive(Clone, Debug)]
pub struct Answerer {
    table: NameTable,
    random: Arc<dyn RandomSource>,
    resolver: Option<Arc<dyn AliasResolver>>,
}

/// What is known of an answer without waiting.
pub(crate) enum Begun {
    /// Nothing is to be sent.
    Nothing,
    /// All of it: it was appended to the buffer.
    Done(Answered),
    /// Nothing was written: it waits for the resolver.
    Waits(Box<Waiting>),
}

/// Whether there is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "nothing is to be sent unless an answer was written"]
#[non_exhaustive]
pub enum Reply {
    /// The answer was appended to the buffer.
    Written,
    /// Nothing was written: the packet is shorter than a header, or a response.
    Nothing,
}

impl Answerer {
    /// Answers from this table, with a random generator of its own.
    #[must_use]
    pub fn new(table: NameTable) -> Self {
        Self { table, random: Arc::new(WorkerRandom::seeded()), resolver: None }
    }

    /// Chooses among records by this source instead.
    #[must_use]
    pub fn with_random(mut self, random: impl RandomSource) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Finds what the targets of aliases have by this resolver. Without one they cannot be answered (SERVFAIL).
    #[must_use]
    pub fn with_alias_resolver(mut self, resolver: impl AliasResolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// As [`with_alias_resolver`](Self::with_alias_resolver), with what another has.
    pub(crate) fn with_shared_resolver(mut self, resolver: Option<Arc<dyn AliasResolver>>) -> Self {
        self.resolver = resolver;
        self
    }

    /// Appends the answer to a message to `out`. It waits for nothing: an [`AliasResolver`] that has no answer at once has
    /// none.
    ///
    /// The answer is no longer than the client can receive over this transport: 65 535 octets in a stream; in a datagram
    /// 512, or what it says by EDNS (RFC 6891) within 512–1232. What is longer is cut as RFC 2181 section 9 has it.
    #[inline]
    pub fn answer(&self, packet: &[u8], transport: Transport, out: &mut Vec<u8>) -> Reply {
        match self.begin(&self.read(), packet, transport, out) {
            Begun::Nothing => return Reply::Nothing,
            Begun::Done(_) => {}
            Begun::Waits(waiting) => {
                let mut context = Context::from_waker(Waker::noop());
                let _ = match pin!(self.addresses(&waiting)).poll(&mut context) {
                    Poll::Ready(Some(found)) => waiting.finish(&found, out),
                    Poll::Ready(None) | Poll::Pending => waiting.fail(out),
                };
            }
        }
        Reply::Written
    }

    /// What messages are answered from that are here by now.
    #[inline]
    pub(crate) fn read(&self) -> Guard<Arc<Published>> {
        self.table.read()
    }

    /// As [`answer`](Self::answer), up to where the resolver is needed.
    #[inline]
    pub(crate) fn begin(
        &self,
        published: &Published,
        packet: &[u8],
        transport: Transport,
        out: &mut Vec<u8>,
    ) -> Begun {
        let Some(header) = QueryHeader::read(packet) else {
            return Begun::Nothing;
        };
        let answered = match Query::read(header, packet) {
            Some(Query { header, question, edns }) => {
                let limit = transport.limit(edns);
                answer::answer(published, header, &question, edns, limit, &*self.random, out)
            }
            None => slow::answer(published, header, packet, transport, &*self.random, out),
        };
        match answered {
            Ok(answered) => Begun::Done(answered),
            Err(waiting) if self.resolver.is_some() => Begun::Waits(waiting),
            Err(waiting) => Begun::Done(waiting.fail(out)),
        }
    }

    /// What the resolver says of the alias that an answer waits for. `None` if it cannot say.
    pub(crate) async fn addresses(&self, waiting: &Waiting) -> Option<AliasAddresses> {
        let (target, kind) = (waiting.target(), waiting.kind());
        match self.resolver.as_ref()?.resolve(target, kind).await {
            Ok(found) => Some(found),
            Err(error) => {
                tracing::debug!(%target, kind = kind.as_str(), %error, "the target of an alias cannot be resolved");
                None
            }
        }
    }
}
