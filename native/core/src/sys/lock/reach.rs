//! Whom a lock keeps out, as far as its file system can be trusted.
//!
//! Some grant every lock (Lustre with `localflock` on some kernels, NFS without a lock server, many in user
//! space), and some keep it to the machine that asked, although other machines write to the same files.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::super::{disk, files, fork};
use crate::sys::open::Wary;

/// Folders of locks that are remembered; beyond that it is found out again.
const MOST_FOLDERS: usize = 1024;

/// Whom a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Who wants it on this machine, or on another one.
    Everybody,
    /// Who wants it on this machine.
    ThisMachine,
    /// Nobody: it's granted to everyone, or can't be had at all.
    Nobody,
    /// Nobody, as it wasn't asked for.
    NotTaken,
}

/// What is known of folders of locks. Used while nobody forks: a child could wait for ever for a thread that
/// it doesn't have.
static KNOWN: Mutex<BTreeMap<PathBuf, Reach>> = Mutex::new(BTreeMap::new());

/// Whom the lock keeps out that was just granted on `file`, opened at `path`. Found out once for each folder
/// of locks.
pub(super) fn of(file: &File, path: &Path) -> Reach {
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = files::parent(path);
    if let Some(reach) = fork::hold_off(|| known().get(folder).copied()) {
        return reach;
    }
    // Not to be counted on this time.
    let Some(reach) = find_out(file, path) else { return Reach::Nobody };
    let is_news = fork::hold_off(|| {
        let mut known = known();
        let is_news = !known.values().any(|&other| other == reach);
        if known.len() >= MOST_FOLDERS {
            known.clear();
        }
        known.insert(folder.to_path_buf(), reach);
        is_news
    });
    // Said once: what holds for one folder nearly always holds for those beside it.
    match reach {
        _ if !is_news => {}
        Reach::Everybody => {}
        Reach::ThisMachine => tracing::info!(
            folder = %folder.display(),
            "locks here may not keep out other machines: each download has a partial file of its own"
        ),
        Reach::Nobody | Reach::NotTaken => tracing::warn!(
            folder = %folder.display(),
            "the file system grants a lock to everyone: the same file may be downloaded by several at a time"
        ),
    }
    reach
}

/// Asks for the same lock once more, as somebody else would; `None`: the file is another one by now.
fn find_out(file: &File, path: &Path) -> Option<Reach> {
    let open =
        |write| OpenOptions::new().read(true).write(write).never_follow_nor_wait().open(path);
    // NFS and others want a file that may be written to.
    let other = open(true).or_else(|_| open(false)).ok()?;
    let (ours, found) = (file.metadata().ok()?, other.metadata().ok()?);
    if (ours.dev(), ours.ino()) != (found.dev(), found.ino()) {
        return None;
    }
    Some(match other.try_lock() {
        // Closing it lets go of it.
        Ok(()) => Reach::Nobody,
        Err(_) if disk::has_own_locks(file) => Reach::ThisMachine,
        Err(_) => Reach::Everybody,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lock that is held is refused to others here; one that nobody holds is what a lock looks like that
    /// is granted to everyone.
    #[test]
    fn a_lock_that_others_get_too_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let file = File::create(&path).unwrap();
        assert_eq!(find_out(&file, &path), Some(Reach::Nobody));
        file.try_lock().unwrap();
        assert_eq!(find_out(&file, &path), Some(Reach::Everybody));
        std::fs::remove_file(&path).unwrap();
        File::create(&path).unwrap();
        assert_eq!(find_out(&file, &path), None);
    }
}
