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

/// What was tried longer ago says nothing of what is refused now: locks may have been granted in between. Who waits
/// tries again sooner.
const FRESH: Duration = Duration::from_secs(5);

/// What is known of folders in which a lock was refused.
#[derive(Debug, Default)]
struct Memory(BTreeMap<PathBuf, Seen>);

/// What is known of one.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The device that it's on.
    device: u64,
    /// When a new file was tried last.
    tried: Instant,
    /// Since when every lock is refused here; `None`: not every one is.
    since: Option<Instant>,
    /// A lock was granted elsewhere on the device, where it's something else then.
    is_alone: bool,
}

impl Seen {
    fn is_fresh(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.tried) < FRESH
    }
}

impl Memory {
    /// Notes what became of a new file's lock in `folder`, which was asked for from `begun` to `tried`.
    fn note(
        &mut self,
        folder: &Path,
        device: u64,
        is_refused: bool,
        (begun, tried): (Instant, Instant),
    ) {
        let before = self.0.get(folder).filter(|before| before.is_fresh(begun));
        let since = is_refused.then(|| before.and_then(|seen| seen.since).unwrap_or(tried));
        let is_alone = before.is_some_and(|before| before.is_alone);
        if self.0.len() >= MOST_FOLDERS {
            self.0.clear();
        }
        self.0.insert(folder.to_path_buf(), Seen { device, tried, since, is_alone });
    }

    /// Forgets a folder of a device, where a lock was granted. What refuses in others is no lock server.
    fn grant(&mut self, folder: &Path, device: u64) {
        self.0.remove(folder);
        for seen in self.0.values_mut().filter(|seen| seen.device == device) {
            seen.is_alone = true;
        }
    }

    /// Whether every lock has been refused in the folder, which was just tried, for long. What refuses in one
    /// folder of a device nearly always does so in those beside it: it's waited for once.
    fn is_refused(&self, folder: &Path, now: Instant) -> bool {
        let Some(seen) = self.0.get(folder) else { return false };
        let Some(since) = seen.since else { return false };
        let beside = self.0.values().filter(|other| {
            other.device == seen.device && !other.is_alone && !seen.is_alone && other.is_fresh(now)
        });
        let since = beside.filter_map(|other| other.since).fold(since, Instant::min);
        now.saturating_duration_since(since) >= PATIENCE
    }
}

/// Used while nobody forks: a child could wait for ever for a thread that it doesn't have.
static MEMORY: Mutex<Memory> = Mutex::new(Memory(BTreeMap::new()));

/// Whether anything is in there: where no lock was ever refused, nobody has to look.
static ANY: AtomicBool = AtomicBool::new(false);

/// Whether the lock at `path`, which was just refused, is to be done without: every lock in its folder is
/// refused, and has been for a while.
pub(super) fn is_of_everybody(path: &Path) -> bool {
    let (folder, begun) = (files::parent(path), Instant::now());
    let known = with_memory(|memory| {
        let is_known =
            memory.0.get(folder).is_some_and(|known| begun.duration_since(known.tried) < EVERY);
        is_known.then(|| memory.is_refused(folder, begun))
    });
    if let Some(known) = known {
        return known;
    }
    let Some((device, is_refused)) = try_new(folder) else { return false };
    with_memory(|memory| {
        let tried = Instant::now();
        memory.note(folder, device, is_refused, (begun, tried));
        ANY.store(true, Ordering::Relaxed);
        memory.is_refused(folder, tried)
    })
}

/// Notes that the lock at `path` was granted, which is on this device.
pub(super) fn end(path: &Path, device: u64) {
    if ANY.load(Ordering::Relaxed) {
        with_memory(|memory| memory.grant(files::parent(path), device));
    }
}

fn with_memory<T>(look: impl FnOnce(&mut Memory) -> T) -> T {
    fork::hold_off(|| look(&mut MEMORY.lock().unwrap_or_else(PoisonError::into_inner)))
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

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: u64 = 7;
    const STEP: Duration = Duration::from_secs(1);

    /// What is known after a lock was refused in these folders of one device, each so many seconds after a start.
    fn refused(at: &[(&str, u32)], start: Instant) -> Memory {
        let mut memory = Memory::default();
        for (folder, at) in at {
            let tried = start + STEP * *at;
            memory.note(Path::new(folder), DEVICE, true, (tried, tried));
        }
        memory
    }

    /// Nor do refusals that nobody knows to belong together.
    #[test]
    fn a_moment_is_waited_for_and_a_while_is_not() {
        let start = Instant::now();
        let table: [(&[(&str, u32)], bool); 7] = [
            (&[("a", 0)], false),
            (&[("a", 0), ("a", 3)], false),
            (&[("a", 0), ("a", 3), ("a", 6)], true),
            (&[("a", 0), ("a", 3), ("b", 6)], true),
            (&[("a", 0), ("a", 3600)], false),
            (&[("a", 0), ("a", 3), ("a", 6), ("b", 3600)], false),
            (&[("a", 0), ("a", 3), ("b", 3600), ("a", 3602), ("b", 3604)], false),
        ];
        for (tries, expected) in table {
            let (last, at) = tries.last().unwrap();
            let memory = refused(tries, start);
            assert_eq!(
                memory.is_refused(Path::new(last), start + STEP * *at),
                expected,
                "{tries:?}"
            );
        }
    }

    /// What still refuses in another folder goes by that folder alone: it has its own cause.
    #[test]
    fn a_lock_that_is_granted_ends_it_for_its_device() {
        let start = Instant::now();
        let (a, b, c) = (Path::new("a"), Path::new("b"), Path::new("c"));
        let is_refused = |memory: &Memory, folder| memory.is_refused(folder, start + STEP * 6);
        for device in [DEVICE, DEVICE + 1] {
            let mut memory = refused(&[("a", 0), ("a", 3), ("a", 6), ("b", 6)], start);
            memory.grant(c, device);
            assert!(is_refused(&memory, a));
            assert_eq!(is_refused(&memory, b), device != DEVICE);
        }
        let mut memory = refused(&[("a", 0), ("a", 3), ("a", 6)], start);
        memory.grant(a, DEVICE);
        assert!(!is_refused(&memory, a));
    }
}
