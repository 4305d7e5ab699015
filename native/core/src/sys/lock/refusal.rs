//! Locks that are refused (`EACCES`): as somebody else has them, which NFS and SMB servers may say so, or as
//! whoever asks for any lock is refused it (`AppArmor`, some FUSE).
//!
//! A new file, of which nobody else knows, tells the two apart: if its lock is refused, too, nobody has the
//! other one. That may pass, as while a lock server starts, so it's waited for a while.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::{files, fork};
use crate::sys::open::Wary;

/// How long every lock has to be refused before one goes on without.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a new file is tried in one folder, at most.
const EVERY: Duration = Duration::from_millis(500);

/// Folders that are remembered; beyond that it is found out again.
const MOST_FOLDERS: usize = 1024;

/// What is known of a folder in which a lock was refused.
#[derive(Clone, Copy)]
struct Seen {
    /// The device that it's on.
    device: u64,
    /// When a new file was tried last.
    tried: Instant,
    /// Since when every lock is refused; `None`: not every one is.
    since: Option<Instant>,
}

/// Used while nobody forks: a child could wait for ever for a thread that it doesn't have.
static SEEN: Mutex<BTreeMap<PathBuf, Seen>> = Mutex::new(BTreeMap::new());

/// Whether anything is in there: where no lock was ever refused, nobody has to look.
static ANY: AtomicBool = AtomicBool::new(false);

/// Whether the lock at `path`, which was just refused, is to be done without: every lock in its folder is
/// refused, and has been for a while.
pub(super) fn is_of_everybody(path: &Path) -> bool {
    let folder = files::parent(path);
    let known = with_seen(|seen| seen.get(folder).copied());
    if let Some(known) = known.filter(|known| known.tried.elapsed() < EVERY) {
        return known.since.is_some_and(is_long_ago);
    }
    let Some((device, is_refused)) = try_new(folder) else { return false };
    with_seen(|seen| {
        let tried = Instant::now();
        // Once for all folders of a file system: what refuses in one nearly always does so in those beside it.
        let begun =
            || seen.values().filter(|other| other.device == device).find_map(|other| other.since);
        let before = known.and_then(|known| known.since);
        let since = is_refused.then(|| before.or_else(begun).unwrap_or(tried));
        if seen.len() >= MOST_FOLDERS {
            seen.clear();
        }
        seen.insert(folder.to_path_buf(), Seen { device, tried, since });
        ANY.store(true, Ordering::Relaxed);
        since.is_some_and(is_long_ago)
    })
}

/// Forgets what was seen in the folder of the lock at `path`, which was just granted.
pub(super) fn end(path: &Path) {
    if ANY.load(Ordering::Relaxed) {
        with_seen(|seen| seen.remove(files::parent(path)));
    }
}

fn is_long_ago(at: Instant) -> bool {
    at.elapsed() >= PATIENCE
}

fn with_seen<T>(look: impl FnOnce(&mut BTreeMap<PathBuf, Seen>) -> T) -> T {
    fork::hold_off(|| look(&mut SEEN.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// The device of `folder`, and whether the lock of a new file in it is refused; `None`: there can be none.
fn try_new(folder: &Path) -> Option<(u64, bool)> {
    with_new(folder, |file| {
        let is_refused = matches!(file.try_lock(), Err(TryLockError::Error(e)) if is_refusal(&e));
        Some((file.metadata().ok()?.dev(), is_refused))
    })?
}

/// What `attempt` makes of a new file in `folder`, of which nobody else knows, and which is gone afterwards;
/// `None`: there can be none.
pub(in crate::sys) fn with_new<T>(folder: &Path, attempt: impl FnOnce(&File) -> T) -> Option<T> {
    // It's a lock as others are, for whatever goes by names.
    let path = folder.join(format!(".{}.lock", files::random_hex()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).never_follow_nor_wait().open(&path);
    let found = file.ok().as_ref().map(attempt);
    if found.is_some() {
        files::discard(&path);
    }
    found
}

/// Whether a failure to lock may say that somebody else has the lock, as NFS and SMB servers do.
pub(in crate::sys) fn is_refusal(e: &io::Error) -> bool {
    e.raw_os_error() == Some(libc::EACCES)
}
