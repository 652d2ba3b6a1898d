use std::sync::Arc;

use sd_core::random::RandomSource;

use crate::{
    name_table::NameTable,
    random::WorkerRandom,
    slow,
    wire::{
        Transport, answer,
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
        Self { table, random: Arc::new(WorkerRandom::seeded()) }
    }

    /// Chooses among records by this source instead.
    #[must_use]
    pub fn with_random(mut self, random: impl RandomSource) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// Appends the answer to a message to `out`.
    ///
    /// The answer is no longer than the client can receive over this transport: 65 535 octets in a stream; in a datagram
    /// 512, or what it says by EDNS (RFC 6891) within 512–1232. What is longer is cut as RFC 2181 section 9 has it.
    #[inline]
    pub fn answer(&self, packet: &[u8], transport: Transport, out: &mut Vec<u8>) -> Reply {
        let Some(header) = QueryHeader::read(packet) else {
            return Reply::Nothing;
        };
        let published = self.table.read();
        match Query::read(header, packet) {
            Some(Query { header, question, edns }) => {
                let limit = transport.limit(edns);
                answer::answer(&published, header, &question, edns, limit, &*self.random, out);
            }
            None => slow::answer(&published, header, packet, transport, &*self.random, out),
        }
        Reply::Written
    }
}
