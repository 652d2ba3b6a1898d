//! The source of new identifiers.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Where the bytes of new identifiers come from.
///
/// # For implementers
/// - Each write asks once, on its caller's thread and while the library holds no lock, however often it is planned again.
///   Reads do not ask.
/// - Several threads ask at once, and none of them may get what another one got. Nor may another handle on the registry, or
///   a process that was forked from this one.
/// - [`fill`](Self::fill) fills the whole buffer. It does not block, does not panic, and calls neither the handle nor its
///   registry.
/// - After a repetition a creation ends in [`Error::Contention`](crate::Error::Contention), and the id of an operation may
///   tell of an older one.
pub trait IdSource: fmt::Debug + Send + Sync + 'static {
    /// Fills the buffer with bytes that no earlier call has given.
    fn fill(&self, bytes: &mut [u8]);
}

impl<S: IdSource + ?Sized> IdSource for Arc<S> {
    fn fill(&self, bytes: &mut [u8]) {
        S::fill(self, bytes);
    }
}

/// Random identifiers, seeded by the operating system. A forked process has different ones from its parent. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn fill(&self, bytes: &mut [u8]) {
        super::random::fill_unique(bytes);
    }
}

/// Identifiers that count up from 1: the same in every run, for tests that compare whole answers.
///
/// A registry must take all its identifiers from one source: a second one would give the same identifiers again. Give the
/// handle on a fork a clone, which continues from the current number.
#[derive(Debug, Default)]
pub struct SequentialIds(AtomicU64);

impl Clone for SequentialIds {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

impl IdSource for SequentialIds {
    fn fill(&self, bytes: &mut [u8]) {
        let next = (self.0.fetch_add(1, Ordering::Relaxed) + 1).to_be_bytes();
        bytes.fill(0);
        let len = bytes.len().min(next.len());
        let start = bytes.len() - len;
        bytes[start..].copy_from_slice(&next[next.len() - len..]);
    }
}
