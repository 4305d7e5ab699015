//! What one call has done so far: counters that every part of the call adds to, and the snapshot of
//! them that observers see.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a call is doing. The numbers are `XET_PROGRESS_PHASE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Phase {
    /// Resolving the revision and listing.
    Scanning = 0,
    /// Moving bytes.
    Downloading = 1,
    /// All bytes are there; names, refs and metadata are being written.
    Finalizing = 2,
    /// Upload: reading files to find out which of them have changed.
    Hashing = 3,
    /// Upload: moving bytes.
    Uploading = 4,
    /// Upload: the last commit is being made.
    Committing = 5,
}

/// A snapshot of a call's counters; the fields are those of `XetProgress` in `xet.h`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented once, at XetProgress in xet.h")]
pub struct Progress {
    pub phase: Phase,
    pub bytes_total: u64,
    pub bytes_completed: u64,
    pub bytes_network: u64,
    pub bytes_reused: u64,
    pub files_total: u32,
    pub files_completed: u32,
    pub file: Option<String>,
    pub file_bytes_completed: u64,
    pub file_bytes_total: u64,
}

/// The counters of one call. Shared by its tasks; all methods take `&self`, never block for long,
/// and never count down.
#[derive(Debug, Default)]
pub struct Counters {
    phase: AtomicU32,
    bytes_total: AtomicU64,
    bytes_completed: AtomicU64,
    bytes_network: AtomicU64,
    bytes_reused: AtomicU64,
    files_total: AtomicU32,
    files_completed: AtomicU32,
    retries: AtomicU32,
    fallbacks: AtomicU32,
    current: Mutex<Option<Arc<FileProgress>>>,
}

/// How far one file of a call is.
#[derive(Debug)]
pub struct FileProgress {
    call: Arc<Counters>,
    path: String,
    total: u64,
    completed: AtomicU64,
}

impl Counters {
    /// A request is made again.
    pub fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A file is fetched another way than the Hub proposed first.
    pub fn add_fallback(&self) {
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// Content bytes came in from the network, counted as sent.
    pub fn add_network(&self, bytes: u64) {
        self.bytes_network.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The call is about this much.
    pub fn set_totals(&self, files: u32, bytes: u64) {
        self.files_total.store(files, Ordering::Relaxed);
        self.bytes_total.store(bytes, Ordering::Relaxed);
        self.enter(Phase::Downloading);
    }

    /// The call is an upload of this much.
    pub fn set_upload_totals(&self, files: u32, bytes: u64) {
        self.files_total.store(files, Ordering::Relaxed);
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// Moves on to a later phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u32, Ordering::Relaxed);
    }

    /// Whole files were on this machine already.
    pub fn add_present(&self, files: u32, bytes: u64) {
        self.bytes_reused.fetch_add(bytes, Ordering::Relaxed);
        self.bytes_completed.fetch_add(bytes, Ordering::Relaxed);
        self.files_completed.fetch_add(files, Ordering::Relaxed);
    }

    /// A file of `total` bytes begins.
    pub fn begin_file(self: &Arc<Self>, path: &str, total: u64) -> Arc<FileProgress> {
        Arc::new(FileProgress {
            call: Arc::clone(self),
            path: path.to_owned(),
            total,
            completed: AtomicU64::new(0),
        })
    }

    /// Requests made again so far.
    pub fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Files fetched another way so far.
    pub fn fallbacks(&self) -> u32 {
        self.fallbacks.load(Ordering::Relaxed)
    }

    /// The counters as they are now.
    pub fn snapshot(&self) -> Progress {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bytes_total = self.bytes_total.load(Ordering::Relaxed);
        Progress {
            phase: match self.phase.load(Ordering::Relaxed) {
                0 => Phase::Scanning,
                1 => Phase::Downloading,
                2 => Phase::Finalizing,
                3 => Phase::Hashing,
                4 => Phase::Uploading,
                _ => Phase::Committing,
            },
            bytes_total,
            bytes_completed: self.bytes_completed.load(Ordering::Relaxed),
            bytes_network: self.bytes_network.load(Ordering::Relaxed),
            bytes_reused: self.bytes_reused.load(Ordering::Relaxed),
            files_total: self.files_total.load(Ordering::Relaxed),
            files_completed: self.files_completed.load(Ordering::Relaxed),
            file: current.as_ref().map(|f| f.path.clone()),
            file_bytes_completed: current.as_ref().map_or(0, |f| f.completed()),
            file_bytes_total: current.as_ref().map_or(0, |f| f.total),
        }
    }
}

impl FileProgress {
    /// Content bytes of this file were received and written. What is received again, after a retry
    /// or by another way, counts once: the sum never passes the file's size.
    pub fn advance(self: &Arc<Self>, bytes: u64) {
        let before = self
            .completed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |done| {
                Some((done + bytes).min(self.total))
            })
            .unwrap_or_else(|unchanged| unchanged);
        self.count(before, (before + bytes).min(self.total));
    }

    /// The file is complete up to `position`, counted from its start.
    pub fn reach(self: &Arc<Self>, position: u64) {
        let position = position.min(self.total);
        let before = self.completed.fetch_max(position, Ordering::Relaxed);
        self.count(before, position);
    }

    /// The file has its final name.
    pub fn finish(self: &Arc<Self>) {
        self.reach(self.total);
        self.call.files_completed.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether all of the file has been counted.
    pub fn is_complete(&self) -> bool {
        self.completed() == self.total
    }

    /// The file's content is known, without it having been moved as a whole.
    pub fn skip(self: &Arc<Self>) {
        self.reused(self.total.saturating_sub(self.completed()));
        self.finish();
    }

    /// Bytes taken from files on this machine; they must be passed to `advance` or `reach` too.
    pub fn reused(&self, bytes: u64) {
        self.call.bytes_reused.fetch_add(bytes, Ordering::Relaxed);
    }

    fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    fn count(self: &Arc<Self>, before: u64, now: u64) {
        self.call.bytes_completed.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        let mut current = self.call.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.as_ref().is_some_and(|file| Arc::ptr_eq(file, self)) {
            *current = Some(Arc::clone(self));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is received one and a half times is counted once.
    #[test]
    fn bytes_received_again_count_once() {
        let call = Arc::new(Counters::default());
        call.set_totals(1, 100);
        let file = call.begin_file("a", 100);
        file.advance(80);
        file.reach(50); // the server ignored the range: from the start again
        file.reach(100);
        file.finish();
        let progress = call.snapshot();
        assert_eq!((progress.bytes_completed, progress.files_completed), (100, 1));
        assert_eq!((progress.file.as_deref(), progress.file_bytes_completed), (Some("a"), 100));
    }
}
