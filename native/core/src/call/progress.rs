//! What one call has done so far: counters that every part of the call adds to, and the snapshot of
//! them that observers see.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::call::file_transfer::{FileTransfer, PublishedHash, Way};
use crate::call::scheduler::CallId;
use crate::call::waits::Waits;

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

/// The counters of one call, or of one file as a part of its call: what a file adds to its own is added
/// to the call's, too. Shared by the call's tasks; all methods take `&self`, never block for long, and
/// never count down.
#[derive(Debug, Default)]
pub struct Counters {
    call: CallId,
    phase: AtomicU32,
    bytes_total: AtomicU64,
    bytes_completed: AtomicU64,
    bytes_network: AtomicU64,
    bytes_reused: AtomicU64,
    files_total: AtomicU32,
    files_completed: AtomicU32,
    retries: AtomicU32,
    fallbacks: AtomicU32,
    stalls: AtomicU32,
    refreshes: AtomicU32,
    refetches: AtomicU32,
    dropped: AtomicU32,
    beats: AtomicU64,
    /// What the call waits for at the moment.
    pub waits: Waits,
    current: Mutex<Option<Arc<Shown>>>,
    /// The files that have ended, by path.
    ended: Mutex<HashMap<String, FileTransfer>>,
    /// How long nothing may come, if that has a limit.
    patience: OnceLock<Duration>,
    /// When the call ends whatever it does, if it does.
    limit: OnceLock<TimeLimit>,
    silence: Mutex<Silence>,
    /// Another way of fetching is left, which needs its part of the patience.
    has_another_way: AtomicBool,
    /// The call's, if these are a file's.
    whole: Option<Arc<Counters>>,
}

/// The end of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeLimit {
    /// As the caller has it.
    pub(crate) timeout: Duration,
    pub(crate) at: Instant,
}

/// The time since anything came in which somebody waited in vain for it. Waits side by side count
/// once, and what lies between them, such as a turn that has to be waited for, not at all.
#[derive(Debug, Default)]
struct Silence {
    total: Duration,
    until: Option<Instant>,
}

/// How far one file of a call is.
#[derive(Debug)]
pub struct FileProgress {
    call: Arc<Counters>,
    counters: Counters,
    shown: Arc<Shown>,
    way: AtomicU32,
    /// By which its content was found right.
    verified_by: OnceLock<PublishedHash>,
}

/// What the call's progress shows of its current file. Apart from the rest, which leads back to the
/// call: as a part of it, that would keep it for ever.
#[derive(Debug)]
struct Shown {
    path: String,
    total: u64,
    completed: AtomicU64,
}

/// All that grows while a call gets on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Movement([u64; 6]);

impl Counters {
    /// Those of this call.
    pub(super) fn of_call(call: CallId) -> Self {
        Self { call, ..Self::default() }
    }

    /// Which call they are of.
    pub(super) fn call(&self) -> &CallId {
        &self.call
    }

    /// Something has happened that no other counter shows: a request was answered.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.beat();
        }
    }

    /// Ends waits in vain at three times `longest`, the longest deadline of a request: over all
    /// attempts and all ways together, since the last byte. What gets on is never ended by it.
    pub(crate) fn set_patience(&self, longest: Duration) {
        let _ = self.patience.set(longest * 3);
    }

    /// Says whether, if this way fails, another one is tried. It has a third of the patience for
    /// itself.
    pub(crate) fn set_another_way(&self, has_another: bool) {
        self.has_another_way.store(has_another, Ordering::Relaxed);
    }

    /// Whether another way is tried if this one fails.
    pub(crate) fn has_another_way(&self) -> bool {
        self.has_another_way.load(Ordering::Relaxed)
    }

    /// Says when the call ends at the latest. The first time counts.
    pub(crate) fn set_limit(&self, limit: TimeLimit) {
        let _ = self.limit.set(limit);
    }

    /// When the call ends at the latest, if that is known.
    pub(crate) fn limit(&self) -> Option<TimeLimit> {
        self.limit.get().copied()
    }

    /// Something was waited for since `begun`, in vain.
    pub(crate) fn add_silence(&self, begun: Instant) {
        let now = Instant::now();
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let from = silence.until.map_or(begun, |until| until.max(begun));
        silence.total += now.saturating_duration_since(from);
        silence.until = Some(now);
    }

    /// A request was answered. For a file that isn't enough: what counts there are its bytes.
    pub(crate) fn answered(&self) {
        if self.whole.is_none() {
            self.end_silence();
        }
    }

    /// Something came. A silence that follows begins here, however long ago its attempt did.
    fn end_silence(&self) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) =
            Silence { total: Duration::ZERO, until: Some(Instant::now()) };
    }

    /// Whether another attempt would be one too many.
    pub(crate) fn is_out_of_patience(&self) -> bool {
        let Some(&patience) = self.patience.get() else { return false };
        let share = if self.has_another_way() { patience * 2 / 3 } else { patience };
        self.silence.lock().unwrap_or_else(PoisonError::into_inner).total >= share
    }

    /// Differs from an earlier one if anything has happened since.
    pub(crate) fn movement(&self) -> Movement {
        Movement([
            self.bytes_completed.load(Ordering::Relaxed),
            self.bytes_network.load(Ordering::Relaxed),
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

    /// Content bytes came in from the network, counted as sent.
    pub fn add_network(&self, bytes: u64) {
        self.bytes_network.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            self.end_silence();
            whole.add_network(bytes);
        }
    }

    /// Content was taken from us to be sent. A server that only swallows it hasn't said anything, so
    /// this doesn't end a silence; but a wait in vain begins here at the earliest.
    pub(crate) fn add_sent(&self, bytes: u64) {
        self.add_network(bytes);
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.until = Some(Instant::now());
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
        Arc::new(FileProgress {
            call: Arc::clone(self),
            counters: Self {
                call: self.call.clone(),
                waits: self.waits.clone(),
                patience: self.patience.clone(),
                limit: self.limit.clone(),
                whole: Some(Arc::clone(self)),
                ..Self::default()
            },
            shown: Arc::new(Shown { path: path.to_owned(), total, completed: AtomicU64::new(0) }),
            way: AtomicU32::new(Way::Local as u32),
            verified_by: OnceLock::new(),
        })
    }

    fn end_file(&self, file: FileTransfer) {
        self.files_completed.fetch_add(1, Ordering::Relaxed);
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert(file.path.clone(), file);
    }

    /// Takes out what is known of a file that has ended.
    pub fn take_ended(&self, path: &str) -> Option<FileTransfer> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).remove(path)
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

impl FileProgress {
    /// Content bytes of this file were received and written. What is received again, after a retry
    /// or by another way, counts once: the sum never passes the file's size.
    pub fn advance(self: &Arc<Self>, bytes: u64) {
        let before = self
            .shown
            .completed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |done| {
                Some((done + bytes).min(self.shown.total))
            })
            .unwrap_or_else(|unchanged| unchanged);
        self.count(before, (before + bytes).min(self.shown.total));
    }

    /// The file is complete up to `position`, counted from its start.
    pub fn reach(self: &Arc<Self>, position: u64) {
        let position = position.min(self.shown.total);
        let before = self.shown.completed.fetch_max(position, Ordering::Relaxed);
        self.count(before, position);
    }

    /// The whole content was hashed, and has this hash.
    pub fn verified_by(&self, hash: PublishedHash) {
        // A file is verified once: when it is complete.
        let _ = self.verified_by.set(hash);
    }

    /// The file has its final name.
    pub fn finish(self: &Arc<Self>) {
        self.reach(self.shown.total);
        let hash = self.verified_by.get().cloned();
        self.call.end_file(FileTransfer {
            path: self.shown.path.clone(),
            way: self.way(),
            bytes_total: self.shown.total,
            bytes_network: self.counters.bytes_network.load(Ordering::Relaxed),
            bytes_reused: self.counters.bytes_reused.load(Ordering::Relaxed),
            retries: self.counters.retries(),
            fallbacks: self.counters.fallbacks(),
            local_path: PathBuf::new(),
            verified: hash.is_some(),
            hash,
        });
    }

    /// The file's own counters, for what counts its retries.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The file's bytes are about to be asked for this way.
    pub fn set_way(&self, way: Way) {
        self.way.store(way as u32, Ordering::Relaxed);
    }

    /// Xet has failed, and plain HTTP takes its place; counts once.
    pub fn add_fallback(&self) {
        let fallen_back = Way::XetThenHttp as u32;
        if self.way.swap(fallen_back, Ordering::Relaxed) != fallen_back {
            self.counters.add_fallback();
        }
        self.counters.set_another_way(false);
    }

    /// Content bytes came in from the network, counted as sent.
    pub fn add_network(&self, bytes: u64) {
        self.counters.add_network(bytes);
    }

    /// Whether all of the file has been counted.
    pub fn is_complete(&self) -> bool {
        self.completed() == self.shown.total
    }

    /// The file's content is known, without it having been moved as a whole.
    pub fn skip(self: &Arc<Self>) {
        self.reused(self.shown.total.saturating_sub(self.completed()));
        self.finish();
    }

    /// Bytes taken from files on this machine; they must be passed to `advance` or `reach` too.
    pub fn reused(&self, bytes: u64) {
        self.counters.add_reused(bytes);
    }

    /// A file of which nothing had to be sent came no way at all, whichever was chosen for it.
    fn way(&self) -> Way {
        let chosen = self.way.load(Ordering::Relaxed);
        if chosen == Way::XetThenHttp as u32 {
            Way::XetThenHttp
        } else if self.counters.bytes_network.load(Ordering::Relaxed) == 0 {
            Way::Local
        } else if chosen == Way::Xet as u32 {
            Way::Xet
        } else {
            Way::Http
        }
    }

    fn completed(&self) -> u64 {
        self.shown.completed()
    }

    fn count(self: &Arc<Self>, before: u64, now: u64) {
        self.call.bytes_completed.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
        let mut current = self.call.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, &self.shown)) {
            *current = Some(Arc::clone(&self.shown));
        }
    }
}

impl Shown {
    fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that ran for long before it fell silent has been silent since its last byte only.
    #[test]
    fn a_silence_begins_with_the_last_byte() {
        let call = Arc::new(Counters::default());
        call.set_patience(Duration::from_secs(10));
        let file = call.begin_file("a", 100);
        file.add_network(1);
        let begun = Instant::now().checked_sub(Duration::from_mins(10)).unwrap();
        file.counters().add_silence(begun);
        assert!(!file.counters().is_out_of_patience());
    }

    /// Waits side by side count once, what lies between them doesn't, and a byte ends the silence.
    #[test]
    fn a_silence_is_the_time_that_was_waited_in_vain() {
        let call = Arc::new(Counters::default());
        call.set_patience(Duration::from_secs(10));
        let file = call.begin_file("a", 100);
        let counters = file.counters();
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        for _ in 0..8 {
            counters.add_silence(ago(21));
        }
        assert!(!counters.is_out_of_patience(), "21 s of 30, however many have waited");
        counters.set_another_way(true);
        assert!(counters.is_out_of_patience(), "the other way needs 10 s");
        file.add_fallback();
        assert!(!counters.is_out_of_patience());
        counters.silence.lock().unwrap().until = Some(ago(15));
        counters.add_silence(ago(10));
        assert!(counters.is_out_of_patience());
        file.add_network(1);
        assert!(!counters.is_out_of_patience());
        assert!(!call.is_out_of_patience(), "it was one file's");
    }

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
