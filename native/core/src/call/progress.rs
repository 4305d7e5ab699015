//! What one call has done so far: counters that every part of the call adds to, and the snapshot of
//! them that observers see.

mod counters;
mod dedup;
mod file;
mod patience;
mod shards;

pub use counters::Counters;
pub(crate) use counters::Movement;
pub use file::FileProgress;
pub(crate) use patience::TimeLimit;
pub(crate) use shards::ShardProgress;
pub use shards::ShardStats;

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
    pub rate_limited_seconds: u64,
}

impl Progress {
    /// These numbers, or the earlier ones where those are higher: a retry must not make a progress
    /// bar jump back. (What is left of a wait may only shrink.)
    #[must_use]
    pub fn not_less_than(&self, earlier: Option<Self>) -> Self {
        let Some(earlier) = earlier else { return self.clone() };
        let same_file = self.file == earlier.file;
        let of_file = |now: u64, before: u64| if same_file { now.max(before) } else { now };
        Self {
            phase: if earlier.phase as u32 > self.phase as u32 {
                earlier.phase
            } else {
                self.phase
            },
            bytes_total: self.bytes_total.max(earlier.bytes_total),
            bytes_completed: self.bytes_completed.max(earlier.bytes_completed),
            bytes_network: self.bytes_network.max(earlier.bytes_network),
            bytes_reused: self.bytes_reused.max(earlier.bytes_reused),
            files_total: self.files_total.max(earlier.files_total),
            files_completed: self.files_completed.max(earlier.files_completed),
            file_bytes_completed: of_file(self.file_bytes_completed, earlier.file_bytes_completed),
            file_bytes_total: of_file(self.file_bytes_total, earlier.file_bytes_total),
            file: self.file.clone(),
            rate_limited_seconds: self.rate_limited_seconds,
        }
    }
}
