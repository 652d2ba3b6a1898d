use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use arc_swap::Guard;
use sd_core::random::RandomSource;

use crate::{
    alias::{AliasAddresses, AliasResolver},
    counters::Answered,
    forward::{self, Forwarder},
    name_table::{NameTable, Published},
    random::WorkerRandom,
    unusual,
    wire::{
        MAX_UDP_PAYLOAD, Transport,
        answer::{self, Alias, Waiting, Wants},
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
    others: Others,
}

/// Other servers, for names that are not in the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    pub(crate) resolver: Option<Arc<dyn AliasResolver>>,
    pub(crate) forwarder: Option<Forwarder>,
}

/// An answer as far as it is known without waiting.
pub(crate) enum Begun {
    /// Nothing is to be sent.
    Nothing,
    /// The whole answer was appended to the buffer.
    Done(Answered),
    /// Nothing was written: the answer waits for another server.
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
        Self { table, random: Arc::new(WorkerRandom::seeded()), others: Others::default() }
    }

    /// Chooses among records by this source instead.
    #[must_use]
    pub fn with_random(mut self, random: impl RandomSource) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Finds what the targets of aliases have by this resolver, unless they are in zones of the table. Those that nobody
    /// finds are answered with SERVFAIL.
    #[must_use]
    pub fn with_alias_resolver(mut self, resolver: impl AliasResolver) -> Self {
        self.others.resolver = Some(Arc::new(resolver));
        self
    }

    /// Asks these for what is not in the table.
    pub(crate) fn with_others(mut self, others: Others) -> Self {
        self.others = others;
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
                if pin!(self.complete(&waiting, out)).poll(&mut context).is_pending() {
                    waiting.fail(out);
                }
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
        let header = header.with_recursion(self.others.forwarder.is_some());
        let answered = match Query::read(header, packet) {
            Some(Query { header, question, edns }) => {
                let limit = transport.limit(edns);
                answer::answer(published, header, &question, edns, limit, &*self.random, out)
            }
            None => unusual::answer(published, header, packet, transport, &*self.random, out),
        };
        match answered {
            Ok(answered) => Begun::Done(answered),
            Err(waiting) => self.look_in_cache(published, packet, waiting, out),
        }
    }

    /// Answers what waits as far as the forwarder's cache goes; with SERVFAIL if the forwarder itself has
    /// sent the query.
    fn look_in_cache(
        &self,
        published: &Published,
        packet: &[u8],
        mut waiting: Box<Waiting>,
        out: &mut Vec<u8>,
    ) -> Begun {
        let Some(forwarder) = &self.others.forwarder else {
            return Begun::Waits(waiting);
        };
        let mut asked = waiting.asked();
        // Our queries are short; octets that a client appends to its own are not searched.
        let short = &packet[..packet.len().min(usize::from(MAX_UDP_PAYLOAD))];
        if forwarder.has_sent(short, &asked) {
            return Begun::Done(waiting.fail(out));
        }
        // Each turn makes the chain longer, and its length is bounded.
        while !matches!(waiting.wants(), Wants::Addresses(_)) {
            match forwarder.cached(&asked) {
                None => break,
                Some(None) => return Begun::Done(waiting.fail(out)),
                Some(Some(response)) => match waiting.relay(&response, published, &*self.random, out) {
                    Ok(answered) => return Begun::Done(answered),
                    Err(beyond) => waiting = beyond,
                },
            }
            asked = waiting.asked();
        }
        Begun::Waits(waiting)
    }

    /// Appends an answer that waits for another server.
    pub(crate) async fn complete(&self, waiting: &Waiting, out: &mut Vec<u8>) -> Answered {
        if let Wants::Addresses(_) = waiting.wants() {
            return self.alias(waiting, out).await;
        }
        match self.relay(waiting, out).await {
            Ok(answered) => answered,
            Err(beyond) => self.alias(&beyond, out).await,
        }
    }

    /// Appends what the target of an alias has.
    async fn alias(&self, waiting: &Waiting, out: &mut Vec<u8>) -> Answered {
        let Wants::Addresses(alias) = waiting.wants() else {
            return waiting.fail(out);
        };
        match self.addresses(waiting, alias).await {
            Ok(found) => waiting.finish(alias, &found, out),
            Err(error) => {
                let (target, kind) = (alias.target(), alias.kind().as_str());
                tracing::debug!(%target, kind, %error, "cannot resolve alias target");
                waiting.fail(out)
            }
        }
    }

    /// Appends what other servers answer, and what is here if they lead back. The error is that they lead to an alias.
    async fn relay(&self, waiting: &Waiting, out: &mut Vec<u8>) -> Result<Answered, Box<Waiting>> {
        let mut answered = self.relay_once(waiting, out).await;
        // Each time the chain has become longer, which has an end.
        while let Err(beyond) = &answered
            && !matches!(beyond.wants(), Wants::Addresses(_))
        {
            answered = self.relay_once(beyond, out).await;
        }
        answered
    }

    async fn relay_once(&self, waiting: &Waiting, out: &mut Vec<u8>) -> Result<Answered, Box<Waiting>> {
        let response = match &self.others.forwarder {
            Some(forwarder) => forwarder.ask(waiting.asked()).await,
            None => None,
        };
        match response {
            Some(response) => waiting.relay(&response, &self.read(), &*self.random, out),
            None => Ok(waiting.fail(out)),
        }
    }

    /// What the target of an alias has: in the table, or else as somebody else says.
    async fn addresses(&self, waiting: &Waiting, alias: &Alias) -> Result<AliasAddresses, BoxError> {
        // An alias of an alias is not followed.
        let mut answer = Vec::new();
        let query = waiting.asked().packet(0, None);
        let (target, kind) = (alias.target(), alias.kind());
        let begun = self.begin(&self.read(), &query, Transport::Tcp, &mut answer);
        match (begun, &self.others.resolver) {
            (Begun::Done(answered), Some(resolver)) if answered.zone.is_none() => {
                return resolver.resolve(target, kind).await;
            }
            (Begun::Waits(beyond), resolver) => match (beyond.wants(), resolver) {
                (Wants::Everything, Some(resolver)) => return resolver.resolve(target, kind).await,
                (Wants::Addresses(_), _) => return Err("the target is an alias itself".into()),
                (Wants::Everything | Wants::Rest(_), _) => {
                    self.relay(&beyond, &mut answer).await.map_err(|_| "the target leads to an alias")?;
                }
            },
            (Begun::Done(_) | Begun::Nothing, _) => {}
        }
        forward::addresses(&answer).map_err(|code| format!("it is answered with {code}").into())
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
