//! How far one file of a call is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};

use super::counters::Counters;
use crate::call::file_transfer::{FileTransfer, PublishedHash, Way};

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
pub(super) struct Shown {
    pub(super) path: String,
    pub(super) total: u64,
    completed: AtomicU64,
}

impl FileProgress {
    /// Of a file of `total` bytes, which is a part of `call` and has `counters` of its own.
    pub(super) fn new(call: Arc<Counters>, counters: Counters, path: &str, total: u64) -> Self {
        let shown = Shown { path: path.to_owned(), total, completed: AtomicU64::new(0) };
        let way = AtomicU32::new(Way::Local as u32);
        Self { call, counters, shown: Arc::new(shown), way, verified_by: OnceLock::new() }
    }

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
            bytes_shared: self.counters.shared(),
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

    /// Content came from the cache that nodes share, counted as it's stored there.
    pub fn add_shared(&self, bytes: u64) {
        self.counters.add_shared(bytes);
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

    /// A file of which nothing had to be sent came no way at all, whichever was chosen for it, or from other nodes.
    fn way(&self) -> Way {
        let chosen = self.way.load(Ordering::Relaxed);
        if chosen == Way::XetThenHttp as u32 {
            Way::XetThenHttp
        } else if self.counters.bytes_network.load(Ordering::Relaxed) == 0 {
            if self.counters.shared() > 0 { Way::Shared } else { Way::Local }
        } else if chosen == Way::Xet as u32 {
            Way::Xet
        } else {
            Way::Http
        }
    }

    /// Bytes of the file that are there.
    pub fn completed(&self) -> u64 {
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
    pub(super) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }
}
