//! What one call has done so far: counters that every part of the call adds to, and the snapshot of them that observers see.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What a call is doing. The numbers are `XET_PROGRESS_PHASE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// Resolving the revision and listing.
    Scanning = 0,
    /// Moving bytes.
    Downloading = 1,
    /// All bytes are there; names, refs and metadata are being written.
    Finalizing = 2,
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

/// The counters of one call. Shared by its tasks; all methods take `&self` and never block for long.
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
    current: Mutex<Option<CurrentFile>>,
}

#[derive(Clone, Debug)]
struct CurrentFile {
    path: String,
    completed: u64,
    total: u64,
}

impl Counters {
    /// A request is made again.
    pub fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Content bytes came in from the network, counted as sent.
    pub fn add_network(&self, bytes: u64) {
        self.bytes_network.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Requests made again so far.
    pub fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }
}
