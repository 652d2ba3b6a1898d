use super::{CLASS_IN, Edns, HEADER, MAX_UDP_PAYLOAD, flag, kind, query::QueryHeader, response::Response};

/// What became of a query (RFC 1035 section 4.1.1, RFC 6891 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    /// Needs EDNS.
    BadVers = 16,
}

impl From<Rcode> for u16 {
    fn from(rcode: Rcode) -> Self {
        rcode as Self
    }
}

/// The sections whose records are always written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
}

/// An answer that is being appended to a buffer.
///
/// Records are written without looking at the limit, but for the additional ones, which may be left out; what has become
/// too long is cut when the message is finished.
pub(crate) struct Message<'o> {
    out: &'o mut Vec<u8>,
    /// Where the message begins in the buffer.
    start: usize,
    question_end: usize,
    header: QueryHeader,
    edns: Option<Edns>,
    limit: usize,
    authoritative: bool,
    /// AD and CD, in the answer of another server.
    relayed: u16,
    truncated: bool,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl<'o> Message<'o> {
    pub(crate) const OPT_LEN: usize = 11;
    /// A record without its data, its owner's name being a pointer.
    const FIXED: usize = 12;
    /// The most octets of its data that are written with it: those of an address.
    const FIRST: usize = 16;
    /// The two high bits of a compression pointer (RFC 1035 section 4.1.4).
    const POINTER: u16 = 0xC000;

    /// Begins the answer to a query. The question is repeated byte for byte; it is empty if there is none to repeat.
    pub(crate) fn begin(
        out: &'o mut Vec<u8>,
        header: QueryHeader,
        question: &[u8],
        edns: Option<Edns>,
        limit: usize,
    ) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        out.extend_from_slice(question);
        Self {
            question_end: out.len(),
            out,
            start,
            header,
            edns,
            limit,
            authoritative: false,
            relayed: 0,
            truncated: false,
            questions: u16::from(!question.is_empty()),
            answers: 0,
            authorities: 0,
            additionals: 0,
        }
    }

    /// The answer comes from a zone of ours.
    pub(crate) fn set_authoritative(&mut self) {
        self.authoritative = true;
    }

    /// Records are missing: another server has cut its answer.
    pub(crate) fn set_truncated(&mut self) {
        self.truncated = true;
    }

    /// The answer comes from another server, which may say that the data is authentic.
    fn set_relayed(&mut self, authentic: bool) {
        // CD is the client's (RFC 4035 section 3.2.2).
        self.relayed = (u16::from(authentic) * flag::AD) | (self.header.passed_flags() & flag::CD);
    }

    /// Where the next octet will stand in the message.
    pub(crate) fn position(&self) -> usize {
        self.out.len() - self.start
    }

    /// A pointer to the name that stands at this place of the message.
    pub(crate) fn pointer(to: usize) -> [u8; 2] {
        // Answers with names that are pointed to never reach 16 KiB: the chain of aliases is short.
        (Self::POINTER | u16::try_from(to).unwrap_or(HEADER as u16)).to_be_bytes()
    }

    /// Writes a record whose owner's name stands at `owner`, with data of this length, of which the first octets are given
    /// and the others are to be pushed.
    #[inline]
    pub(crate) fn record<const N: usize>(
        &mut self,
        section: Section,
        owner: usize,
        kind: u16,
        ttl: u32,
        len: usize,
        first: &[u8; N],
    ) {
        match section {
            Section::Answer => self.answers += 1,
            Section::Authority => self.authorities += 1,
        }
        self.fixed(owner, kind, ttl, len, first);
    }

    /// Writes a whole record of the additional section, whose owner's name is `labels` before the name that stands at
    /// `parent`. Left out, with `false`, if it does not fit.
    #[inline]
    pub(crate) fn additional<const N: usize>(
        &mut self,
        labels: &[u8],
        parent: usize,
        kind: u16,
        ttl: u32,
        data: &[u8; N],
    ) -> bool {
        if !self.fits(labels.len() + Self::FIXED + N) {
            return false;
        }
        self.additionals += 1;
        self.out.extend_from_slice(labels);
        self.fixed(parent, kind, ttl, N, data);
        true
    }

    /// In one piece, which is half as much work as in two.
    #[inline]
    fn fixed<const N: usize>(&mut self, owner: usize, kind: u16, ttl: u32, len: usize, first: &[u8; N]) {
        const { assert!(N <= Self::FIRST) };
        let mut fixed = [0; Self::FIXED + Self::FIRST];
        fixed[..2].copy_from_slice(&Self::pointer(owner));
        fixed[2..4].copy_from_slice(&kind.to_be_bytes());
        fixed[4..6].copy_from_slice(&CLASS_IN.to_be_bytes());
        fixed[6..10].copy_from_slice(&ttl.to_be_bytes());
        fixed[10..Self::FIXED].copy_from_slice(&(len as u16).to_be_bytes());
        fixed[Self::FIXED..Self::FIXED + N].copy_from_slice(first);
        self.out.extend_from_slice(&fixed[..Self::FIXED + N]);
    }

    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Writes a record as it is.
    pub(crate) fn whole(&mut self, section: Section, record: &[u8]) {
        match section {
            Section::Answer => self.answers += 1,
            Section::Authority => self.authorities += 1,
        }
        self.push(record);
    }

    /// Writes the records of another server's answer to the same question: of its answer section as many as fit, the authority
    /// section if all of it does, and so the additional one, without which an answer is not cut (RFC 2181 section 9).
    pub(crate) fn relay(&mut self, response: &Response) {
        let mut records = response.all();
        if !self.fits(records.octets.len()) {
            records = response.required();
        }
        if !self.fits(records.octets.len()) {
            self.truncated = true;
            records = response
                .answers()
                .take_while(|records| self.fits(records.octets.len()))
                .last()
                .unwrap_or_default();
        }
        self.truncated |= response.truncated;
        self.set_relayed(response.authentic);
        [self.answers, self.authorities, self.additionals] = records.counts;
        self.push(records.octets);
    }

    /// Whether so many more octets fit, beside the OPT record.
    fn fits(&self, more: usize) -> bool {
        let opt = if self.edns.is_some() { Self::OPT_LEN } else { 0 };
        self.position() + more + opt <= self.limit
    }

    /// Takes the message out of the buffer, to go on with it later.
    pub(crate) fn suspend(self) -> Suspended {
        let Self { out, start, question_end, header, edns, limit, authoritative, answers, .. } = self;
        let (octets, question_end) = (out.split_off(start), question_end - start);
        Suspended { octets, question_end, header, edns, limit, authoritative, answers }
    }

    /// Completes the message. One that is too long is cut to question and OPT record, and says so (RFC 2181 section 9).
    pub(crate) fn finish(mut self, rcode: impl Into<u16>) {
        if !self.fits(0) {
            self.truncated = true;
            self.out.truncate(self.question_end);
            (self.answers, self.authorities, self.additionals) = (0, 0, 0);
        }
        let rcode = rcode.into();
        if let Some(edns) = self.edns {
            self.additionals += 1;
            let mut opt = [0; Self::OPT_LEN];
            opt[1..3].copy_from_slice(&kind::OPT.to_be_bytes());
            opt[3..5].copy_from_slice(&MAX_UDP_PAYLOAD.to_be_bytes());
            opt[5] = (rcode >> 4) as u8;
            opt[7] = u8::from(edns.dnssec_ok) << 7;
            self.out.extend_from_slice(&opt);
        }
        // Z is 0, and in answers of ours CD (RFC 4035 section 3.1.6).
        let flags = flag::QR
            | self.header.answer_flags()
            | (u16::from(self.authoritative) * flag::AA)
            | (u16::from(self.truncated) * flag::TC)
            | self.relayed
            | (rcode & flag::RCODE);
        let words = [self.header.id, flags, self.questions, self.answers, self.authorities, self.additionals];
        for (place, word) in self.out[self.start..].chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// An answer that has no records but in its answer section, out of its buffer.
#[derive(Debug)]
pub(crate) struct Suspended {
    octets: Vec<u8>,
    /// Where the question ends.
    question_end: usize,
    header: QueryHeader,
    edns: Option<Edns>,
    limit: usize,
    /// Whether it begins in a zone of ours.
    authoritative: bool,
    answers: u16,
}

impl Suspended {
    /// Goes on with the answer, at the end of this buffer.
    pub(crate) fn resume<'o>(&self, out: &'o mut Vec<u8>) -> Message<'o> {
        let mut message = self.begin(out);
        message.push(&self.octets[self.question_end..]);
        message.answers = self.answers;
        if self.authoritative {
            message.set_authoritative();
        } else {
            // Of what is put together nobody says that it is authentic.
            message.set_relayed(false);
        }
        message
    }

    /// Answers nothing but this code.
    pub(crate) fn fail(&self, rcode: u16, out: &mut Vec<u8>) {
        self.begin(out).finish(rcode);
    }

    /// Answers what another server does.
    pub(crate) fn relay(&self, response: &Response, out: &mut Vec<u8>) {
        let mut message = self.begin(out);
        message.relay(response);
        message.finish(response.rcode);
    }

    /// The question, as it stood in the packet.
    pub(crate) fn question(&self) -> &[u8] {
        &self.octets[HEADER..self.question_end]
    }

    /// The name that is asked for, as it stood in the packet.
    pub(crate) fn name(&self) -> &[u8] {
        let question = self.question();
        &question[..question.len().saturating_sub(4)]
    }

    pub(crate) fn header(&self) -> QueryHeader {
        self.header
    }

    pub(crate) fn edns(&self) -> Option<Edns> {
        self.edns
    }

    fn begin<'o>(&self, out: &'o mut Vec<u8>) -> Message<'o> {
        Message::begin(out, self.header, self.question(), self.edns, self.limit)
    }
}
