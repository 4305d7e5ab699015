//! How long a file that is ours alone has to be. Another program can cut it off without opening it, and the system's
//! [`Watch`](super::watch::Watch) doesn't tell that from a write of ours.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The length that our own writes have given it.
#[derive(Debug)]
pub(crate) struct Length {
    /// Up to where it has been written.
    reached: AtomicU64,
    /// It was found to be shorter.
    is_cut: AtomicBool,
}

impl Length {
    /// Of one that holds so many bytes.
    pub(crate) fn of(held: u64) -> Self {
        Self { reached: held.into(), is_cut: AtomicBool::new(false) }
    }

    /// It was written up to there.
    pub(crate) fn reaches(&self, end: u64) {
        self.reached.fetch_max(end, Ordering::AcqRel);
    }

    /// It's about to be emptied.
    pub(crate) fn begin_anew(&self) {
        self.reached.store(0, Ordering::Release);
        self.is_cut.store(false, Ordering::Release);
    }

    /// Whether `file` has ever been found shorter than that, now included.
    pub(crate) fn is_cut(&self, file: &File) -> bool {
        // First: it grows meanwhile.
        let reached = self.reached.load(Ordering::Acquire);
        let is_shorter = !file.metadata().is_ok_and(|found| found.len() >= reached);
        self.is_cut.fetch_or(is_shorter, Ordering::AcqRel) || is_shorter
    }
}
