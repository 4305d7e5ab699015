//! What became of an upload's questions to storage about chunks that it may have from others.

use std::sync::atomic::{AtomicU64, Ordering};

/// Each question is about one chunk, however many requests it takes. Those that are counted neither here as
/// answered nor as failed were answered with "no such chunk".
#[derive(Debug, Default)]
pub(crate) struct DedupQuestions {
    asked: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl DedupQuestions {
    /// A chunk is asked about.
    pub(crate) fn add_asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Storage has told where it has it.
    pub(crate) fn add_answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Storage has refused, or said nothing that could be read.
    pub(crate) fn add_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were asked.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many of them were answered with chunks that storage has.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// How many of them failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}
