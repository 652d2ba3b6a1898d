//! Writes a response into a buffer.

use super::{
    CLASS_IN, Edns, HEADER, MAX_UDP_PAYLOAD, flag, query::QueryHeader, rtype,
    upstream_response::UpstreamResponse,
};

/// A response code (RFC 1035 section 4.1.1, RFC 6891 section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    /// Needs EDNS: its high bits stand in the OPT record.
    BadVers = 16,
}

impl From<Rcode> for u16 {
    fn from(rcode: Rcode) -> Self {
        rcode as Self
    }
}

/// A section whose records are always written, whatever the size limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer,
    Authority,
}

/// A response that is being appended to a buffer.
///
/// Records of the answer and authority sections are written without looking at the limit; [`finish`](Self::finish)
/// truncates a response that is too long. Additional records are written only if they fit.
pub(crate) struct MessageWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Where the message begins in the buffer.
    start: usize,
    question_end: usize,
    header: QueryHeader,
    edns: Option<Edns>,
    limit: usize,
    authoritative: bool,
    /// The AD and CD bits of a forwarded response.
    forwarded_flags: u16,
    truncated: bool,
    questions: u16,
    answers: u16,
    authorities: u16,
    additionals: u16,
}

impl<'o> MessageWriter<'o> {
    pub(crate) const OPT_LEN: usize = 11;
    /// The octets of a record without its RDATA, if its owner is a pointer.
    const FIXED: usize = 12;
    /// The most octets of RDATA that are written together with the fields before it: an IPv6 address.
    const MAX_FIRST: usize = 16;
    /// The two high bits of a compression pointer (RFC 1035 section 4.1.4).
    const POINTER: u16 = 0xC000;

    /// Begins the response to a query. The question is copied octet by octet; an empty one is left out.
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
            forwarded_flags: 0,
            truncated: false,
            questions: u16::from(!question.is_empty()),
            answers: 0,
            authorities: 0,
            additionals: 0,
        }
    }

    /// Sets the AA bit.
    pub(crate) fn set_authoritative(&mut self) {
        self.authoritative = true;
    }

    /// Sets the TC bit: the upstream truncated its response.
    pub(crate) fn set_truncated(&mut self) {
        self.truncated = true;
    }

    /// Sets the flags of a response that has records of an upstream. `authentic` is the AD bit.
    fn set_forwarded(&mut self, authentic: bool) {
        // CD is copied from the query (RFC 4035 section 3.2.2).
        self.forwarded_flags = (u16::from(authentic) * flag::AD) | (self.header.forwarded_flags() & flag::CD);
    }

    /// The offset of the next octet in the message.
    pub(crate) fn position(&self) -> usize {
        self.out.len() - self.start
    }

    /// A compression pointer to the name at this offset of the message.
    pub(crate) fn pointer(to: usize) -> [u8; 2] {
        // Names that are pointed to stand within the first 16 KiB, because CNAME chains are short.
        (Self::POINTER | u16::try_from(to).unwrap_or(HEADER as u16)).to_be_bytes()
    }

    /// Writes a record. Its owner name is the one at offset `owner`. `len` is the length of the whole RDATA, `first` is
    /// its first part; the caller [pushes](Self::push) the rest.
    #[inline]
    pub(crate) fn record<const N: usize>(
        &mut self,
        section: Section,
        owner: usize,
        rtype: u16,
        ttl: u32,
        len: usize,
        first: &[u8; N],
    ) {
        self.count(section);
        self.write_fields(owner, rtype, ttl, len, first);
    }

    /// Writes a record of the additional section if it fits, and returns whether it did. Its owner name is `labels`
    /// followed by the name at offset `parent`.
    #[inline]
    pub(crate) fn additional<const N: usize>(
        &mut self,
        labels: &[u8],
        parent: usize,
        rtype: u16,
        ttl: u32,
        data: &[u8; N],
    ) -> bool {
        if !self.fits(labels.len() + Self::FIXED + N) {
            return false;
        }
        self.additionals += 1;
        self.out.extend_from_slice(labels);
        self.write_fields(parent, rtype, ttl, N, data);
        true
    }

    /// Writes fixed fields and first RDATA in one piece, which takes half the time of two.
    #[inline]
    fn write_fields<const N: usize>(
        &mut self,
        owner: usize,
        rtype: u16,
        ttl: u32,
        len: usize,
        first: &[u8; N],
    ) {
        const { assert!(N <= Self::MAX_FIRST) };
        let mut fixed = [0; Self::FIXED + Self::MAX_FIRST];
        fixed[..2].copy_from_slice(&Self::pointer(owner));
        fixed[2..4].copy_from_slice(&rtype.to_be_bytes());
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

    /// Writes a record that is already encoded.
    pub(crate) fn encoded_record(&mut self, section: Section, record: &[u8]) {
        self.count(section);
        self.push(record);
    }

    #[inline]
    fn count(&mut self, section: Section) {
        match section {
            Section::Answer => self.answers += 1,
            Section::Authority => self.authorities += 1,
        }
    }

    /// Writes the records of an upstream's response to the same question. If they do not fit, additional records are
    /// left out first. If that is not enough, the response is truncated to as many answers as fit (RFC 2181 section 9).
    pub(crate) fn forward(&mut self, response: &UpstreamResponse) {
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
        self.set_forwarded(response.authentic);
        [self.answers, self.authorities, self.additionals] = records.counts;
        self.push(records.octets);
    }

    /// Whether `more` octets and the OPT record fit.
    fn fits(&self, more: usize) -> bool {
        let opt = if self.edns.is_some() { Self::OPT_LEN } else { 0 };
        self.position() + more + opt <= self.limit
    }

    /// Takes the message out of the buffer, to finish it later. It has answer records only.
    pub(crate) fn suspend(self) -> SuspendedMessage {
        let Self { out, start, question_end, header, edns, limit, authoritative, answers, .. } = self;
        let (octets, question_end) = (out.split_off(start), question_end - start);
        SuspendedMessage { octets, question_end, header, edns, limit, authoritative, answers }
    }

    /// Writes the OPT record and the header. A response that is too long is truncated to its question, and gets the TC
    /// bit (RFC 2181 section 9).
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
            opt[1..3].copy_from_slice(&rtype::OPT.to_be_bytes());
            opt[3..5].copy_from_slice(&MAX_UDP_PAYLOAD.to_be_bytes());
            opt[5] = (rcode >> 4) as u8;
            opt[7] = u8::from(edns.dnssec_ok) << 7;
            self.out.extend_from_slice(&opt);
        }
        // Z is 0, and so is CD in authoritative responses (RFC 4035 section 3.1.6).
        let flags = flag::QR
            | self.header.response_flags()
            | (u16::from(self.authoritative) * flag::AA)
            | (u16::from(self.truncated) * flag::TC)
            | self.forwarded_flags
            | (rcode & flag::RCODE);
        let words = [self.header.id, flags, self.questions, self.answers, self.authorities, self.additionals];
        for (place, word) in self.out[self.start..].chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// An unfinished response outside of its buffer. It has records in its answer section only.
#[derive(Debug)]
pub(crate) struct SuspendedMessage {
    octets: Vec<u8>,
    question_end: usize,
    header: QueryHeader,
    edns: Option<Edns>,
    limit: usize,
    /// Whether QNAME is in one of our zones.
    authoritative: bool,
    answers: u16,
}

impl SuspendedMessage {
    /// Appends the message to a buffer, to go on with it.
    pub(crate) fn resume<'o>(&self, out: &'o mut Vec<u8>) -> MessageWriter<'o> {
        let mut message = self.begin(out);
        message.push(&self.octets[self.question_end..]);
        message.answers = self.answers;
        if self.authoritative {
            message.set_authoritative();
        } else {
            // No server vouches for a response that is assembled from several.
            message.set_forwarded(false);
        }
        message
    }

    /// Appends a response without records.
    pub(crate) fn fail(&self, rcode: u16, out: &mut Vec<u8>) {
        self.begin(out).finish(rcode);
    }

    /// Appends an upstream's response to the same question.
    pub(crate) fn forward(&self, response: &UpstreamResponse, out: &mut Vec<u8>) {
        let mut message = self.begin(out);
        message.forward(response);
        message.finish(response.rcode);
    }

    /// The question as the client sent it.
    pub(crate) fn question(&self) -> &[u8] {
        &self.octets[HEADER..self.question_end]
    }

    /// QNAME as the client sent it.
    pub(crate) fn qname(&self) -> &[u8] {
        let question = self.question();
        &question[..question.len().saturating_sub(4)]
    }

    pub(crate) fn header(&self) -> QueryHeader {
        self.header
    }

    pub(crate) fn edns(&self) -> Option<Edns> {
        self.edns
    }

    fn begin<'o>(&self, out: &'o mut Vec<u8>) -> MessageWriter<'o> {
        MessageWriter::begin(out, self.header, self.question(), self.edns, self.limit)
    }
}
