//! The counters of a call, and of each file in it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::dedup::DedupQuestions;
use super::file::{FileProgress, Shown};
use super::patience::Patience;
use super::shards::ShardCounters;
use super::{Phase, Progress};
use crate::call::file_transfer::{FileTransfer, Way};
use crate::call::scheduler::CallId;
use crate::call::waits::Waits;

/// The counters of one call, or of one file as a part of its call: what a file adds to its own is added
/// to the call's, too. Shared by the call's tasks; all methods take `&self`, never block for long, and
/// never count down.
#[derive(Debug, Default)]
pub struct Counters {
    call: CallId,
    phase: AtomicU32,
    bytes_total: AtomicU64,
    pub(super) bytes_completed: AtomicU64,
    pub(super) bytes_network: AtomicU64,
    pub(super) bytes_reused: AtomicU64,
    pub(super) bytes_shared: AtomicU64,
    files_total: AtomicU32,
    files_completed: AtomicU32,
    retries: AtomicU32,
    fallbacks: AtomicU32,
    stalls: AtomicU32,
    refreshes: AtomicU32,
    refetches: AtomicU32,
    dropped: AtomicU32,
    tier_errors: AtomicU32,
    beats: AtomicU64,
    is_in_xet: AtomicBool,
    /// What the call waits for at the moment.
    pub waits: Waits,
    /// What an upload asks storage about chunks of others.
    pub(crate) dedup: DedupQuestions,
    /// How far storage is with what describes an upload.
    pub(crate) shards: ShardCounters,
    pub(super) current: Mutex<Option<Arc<Shown>>>,
    /// The files that have ended, by path.
    ended: Mutex<HashMap<String, FileTransfer>>,
    pub(super) patience: Patience,
    /// The call's, if these are a file's.
    pub(super) whole: Option<Arc<Counters>>,
}

/// All that grows while a call gets on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Movement([u64; 7]);

impl Counters {
    /// Those of this call.
    pub(in crate::call) fn of_call(call: CallId) -> Self {
        Self { call, ..Self::default() }
    }

    /// Which call they are of.
    pub(in crate::call) fn call(&self) -> &CallId {
        &self.call
    }

    /// Something has happened that no other counter shows: a request was answered.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.beat();
        }
    }

    /// Differs from an earlier one if anything has happened since.
    pub(crate) fn movement(&self) -> Movement {
        Movement([
            self.bytes_completed.load(Ordering::Relaxed),
            self.bytes_network.load(Ordering::Relaxed),
            self.bytes_shared.load(Ordering::Relaxed),
            self.files_completed.load(Ordering::Relaxed).into(),
            self.retries.load(Ordering::Relaxed).into(),
            self.beats.load(Ordering::Relaxed),
            self.call.turns(),
        ])
    }

    /// A request is made again.
    pub fn add_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_retry();
        }
    }

    /// A file is fetched another way than the Hub proposed first.
    pub fn add_fallback(&self) {
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_fallback();
        }
    }

    /// A stream stalled and was given up for another.
    pub fn add_stall(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_stall();
        }
    }

    /// A token or a signed URL was refused and fetched anew.
    pub fn add_refresh(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_refresh();
        }
    }

    /// A range of a file that was complete, but wrong, is fetched again.
    pub fn add_refetch(&self) {
        self.refetches.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_refetch();
        }
    }

    /// Files on this machine that were to be reused had changed, shrunk, rotted or gone.
    pub fn add_dropped(&self, files: u32) {
        self.dropped.fetch_add(files, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_dropped(files);
        }
    }

    /// The Hub has said of the file that it's in Xet storage.
    pub fn note_in_xet(&self) {
        self.is_in_xet.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_in_xet(&self) -> bool {
        self.is_in_xet.load(Ordering::Relaxed)
    }

    /// Content bytes came in from the network, counted as sent.
    pub fn add_network(&self, bytes: u64) {
        self.bytes_network.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            self.end_silence();
            whole.add_network(bytes);
        }
    }

    /// Content came from the cache that nodes share, counted as it's stored there.
    pub fn add_shared(&self, bytes: u64) {
        self.bytes_shared.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            self.end_silence();
            whole.add_shared(bytes);
        }
    }

    /// The cache that nodes share has failed, or gave something that is damaged.
    pub fn add_tier_error(&self) {
        self.tier_errors.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_tier_error();
        }
    }

    /// Content was taken from files on this machine.
    pub fn add_reused(&self, bytes: u64) {
        self.bytes_reused.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add_reused(bytes);
        }
    }

    /// Content on this machine was read, for its own sake.
    pub fn add_looked_at(&self, bytes: u64) {
        self.bytes_completed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A file on this machine was removed, which makes so much room.
    pub fn add_removed(&self, bytes: u64) {
        self.bytes_completed.fetch_add(bytes, Ordering::Relaxed);
        self.files_completed.fetch_add(1, Ordering::Relaxed);
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

    /// The call is about so many bytes more than was said.
    pub fn add_total(&self, bytes: u64) {
        self.bytes_total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Moves on to a later phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u32, Ordering::Relaxed);
    }

    /// A whole file was on this machine already.
    pub fn add_present(&self, path: &str, bytes: u64) {
        self.add_reused(bytes);
        self.bytes_completed.fetch_add(bytes, Ordering::Relaxed);
        self.end_file(FileTransfer::local(path, bytes));
    }

    /// A whole file was made from `original`, a file of this call that has ended: its content is as
    /// well known.
    pub fn add_copy(&self, path: &str, bytes: u64, original: &str) {
        self.add_reused(bytes);
        self.bytes_completed.fetch_add(bytes, Ordering::Relaxed);
        let mut copy = FileTransfer::local(path, bytes);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(original) = ended.get(original) {
            copy.hash.clone_from(&original.hash);
            copy.verified = original.verified;
        }
        drop(ended);
        self.end_file(copy);
    }

    /// A file of `total` bytes begins.
    pub fn begin_file(self: &Arc<Self>, path: &str, total: u64) -> Arc<FileProgress> {
        let counters = Self {
            call: self.call.clone(),
            waits: self.waits.clone(),
            patience: self.patience.of_file(),
            whole: Some(Arc::clone(self)),
            ..Self::default()
        };
        Arc::new(FileProgress::new(Arc::clone(self), counters, path, total))
    }

    pub(super) fn end_file(&self, file: FileTransfer) {
        self.files_completed.fetch_add(1, Ordering::Relaxed);
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // What this call has fetched is there when the call looks once more.
        if file.way != Way::Local || !ended.contains_key(&file.path) {
            ended.insert(file.path.clone(), file);
        }
    }

    /// Takes out what is known of a file that has ended.
    pub fn take_ended(&self, path: &str) -> Option<FileTransfer> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).remove(path)
    }

    /// Content bytes that came in from the network, or went out, as sent.
    pub fn network(&self) -> u64 {
        self.bytes_network.load(Ordering::Relaxed)
    }

    /// Content bytes that needn't be sent, as they're there already.
    pub fn reused(&self) -> u64 {
        self.bytes_reused.load(Ordering::Relaxed)
    }

    /// Content bytes that came from the cache that nodes share.
    pub fn shared(&self) -> u64 {
        self.bytes_shared.load(Ordering::Relaxed)
    }

    /// How often that has failed so far, or gave something that is damaged.
    pub fn tier_errors(&self) -> u32 {
        self.tier_errors.load(Ordering::Relaxed)
    }

    /// Requests made again so far.
    pub fn retries(&self) -> u32 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Files fetched another way so far.
    pub fn fallbacks(&self) -> u32 {
        self.fallbacks.load(Ordering::Relaxed)
    }

    /// Streams given up because they stalled, so far.
    pub fn stalls(&self) -> u32 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Tokens and signed URLs fetched anew so far.
    pub fn refreshes(&self) -> u32 {
        self.refreshes.load(Ordering::Relaxed)
    }

    /// Ranges fetched again so far because they were wrong.
    pub fn refetches(&self) -> u32 {
        self.refetches.load(Ordering::Relaxed)
    }

    /// Files that were to be reused so far, and weren't what they should be.
    pub fn dropped(&self) -> u32 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The counters as they are now.
    pub fn snapshot(&self) -> Progress {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bytes_total = self.bytes_total.load(Ordering::Relaxed);
        let files_total = self.files_total.load(Ordering::Relaxed);
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
            bytes_completed: at_most(self.bytes_completed.load(Ordering::Relaxed), bytes_total),
            bytes_network: self.bytes_network.load(Ordering::Relaxed),
            bytes_reused: self.bytes_reused.load(Ordering::Relaxed),
            files_total,
            files_completed: at_most(self.files_completed.load(Ordering::Relaxed), files_total),
            file: current.as_ref().map(|f| f.path.clone()),
            file_bytes_completed: current.as_ref().map_or(0, |f| f.completed()),
            file_bytes_total: current.as_ref().map_or(0, |f| f.total),
            // The last second is one, too.
            rate_limited_seconds: self.waits.limited_for().map_or(0, |left| left.as_secs() + 1),
        }
    }
}

/// What somebody removed during the call is brought in, and counted, again: there is no more than all
/// of it, once that is known.
fn at_most<T: Ord + Default>(completed: T, total: T) -> T {
    if total == T::default() { completed } else { completed.min(total) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::call::file_transfer::PublishedHash;

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

    /// What a file adds to its own numbers is part of its call's, and each file keeps its own.
    #[test]
    fn a_files_numbers_are_part_of_its_calls() {
        let call = Arc::new(Counters::default());
        call.add_retry(); // for the listing
        let (first, second) = (call.begin_file("a", 100), call.begin_file("b", 50));
        let hash = PublishedHash::Xet("5".repeat(64));
        first.verified_by(hash.clone());
        first.set_way(Way::Xet);
        first.reused(40);
        first.add_network(60);
        first.counters().add_retry();
        second.set_way(Way::Xet);
        second.add_network(10);
        second.add_fallback();
        second.add_network(50);
        call.add_present("c", 7);
        second.finish();
        first.finish();
        call.add_copy("d", 100, "a");
        let done = call.snapshot();
        assert_eq!((done.bytes_network, done.bytes_reused, done.files_completed), (120, 147, 4));
        assert_eq!((call.retries(), call.fallbacks()), (2, 1));
        let before = call.movement();
        first.counters().beat();
        assert_ne!(call.movement(), before, "the watchdog looks at the call");
        let _waiting = first.counters().waits.begin("storage", Duration::ZERO);
        assert_eq!(call.waits.describe(), "storage (0 s)");
        let file =
            |path: &str, way, bytes_total, bytes_network, bytes_reused, again| FileTransfer {
                path: path.to_owned(),
                way,
                bytes_total,
                bytes_network,
                bytes_reused,
                bytes_shared: 0,
                retries: again,
                fallbacks: u32::from(way == Way::XetThenHttp),
                local_path: PathBuf::new(),
                hash: matches!(path, "a" | "d").then(|| hash.clone()),
                verified: matches!(path, "a" | "d"),
            };
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|path| call.take_ended(path)),
            [
                Some(file("a", Way::Xet, 100, 60, 40, 1)),
                Some(file("b", Way::XetThenHttp, 50, 60, 0, 0)),
                Some(file("c", Way::Local, 7, 0, 7, 0)),
                Some(file("d", Way::Local, 100, 0, 100, 0)),
                None
            ]
        );
    }

    /// Nothing of a call is left when it is over.
    #[test]
    fn a_call_does_not_keep_itself() {
        let call = Arc::new(Counters::default());
        let file = call.begin_file("a", 100);
        file.advance(100);
        file.finish();
        assert_eq!(call.snapshot().file.as_deref(), Some("a"));
        let (call_ends, file_ends) = (Arc::downgrade(&call), Arc::downgrade(&file));
        drop((call, file));
        assert_eq!((call_ends.strong_count(), file_ends.strong_count()), (0, 0));
    }

    /// A file that was found complete, or that is empty, didn't come by the way chosen for it.
    #[test]
    fn a_file_without_network_is_local() {
        let call = Arc::new(Counters::default());
        for (path, total) in [("resumed", 9), ("empty", 0)] {
            let file = call.begin_file(path, total);
            file.set_way(Way::Http);
            file.reused(total);
            file.finish();
        }
        for file in ["empty", "resumed"].map(|path| call.take_ended(path).unwrap()) {
            assert_eq!(file.way, Way::Local, "{}", file.path);
        }
    }
}
