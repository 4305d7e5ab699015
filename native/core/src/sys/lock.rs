//! Locks between processes: `flock` on a file that stays, as Python's `filelock` does it, so that
//! `huggingface_hub` and this library wait for each other.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::reach::Reach;
use self::refusal::is_refusal;
use super::{files, refused};
use crate::model::error::{Error, Result};
use crate::sys::open::Wary;
use crate::sys::unshared::Unshared;

mod reach;
pub(super) mod refusal;

/// The pauses between looks at a lock that somebody else has: 5 ms, and half as long again each time, up to a
/// quarter of a second. There is no end to them.
pub(crate) fn pauses() -> impl Iterator<Item = Duration> {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_millis(250);
    std::iter::successors(Some(FIRST), |pause| Some((*pause * 3 / 2).min(LONGEST)))
}

/// A lock that is held until it's dropped. It keeps out other processes and other holders in this
/// one. The file isn't removed: that would let a waiter and a newcomer lock two different files.
///
/// Where locks can't be had, or are granted to everybody, it isn't [exclusive](Self::is_exclusive), with a
/// warning. `huggingface_hub` makes do with marker files there; we don't wait for those, because one that a
/// killed process left would block for ever.
#[derive(Debug)]
pub struct FileLock {
    /// `None`: the file system has no locks, or the caller goes on without one.
    file: Option<Unshared>,
    reach: Reach,
    sharing: Sharing,
    path: PathBuf,
    /// The process that took it; a forked child has a copy that isn't its own.
    owner: u32,
}

/// Whom a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    /// Everybody.
    Exclusive,
    /// Those who want it for themselves alone.
    Shared,
}

impl FileLock {
    /// Takes the lock if it's free; `None` if someone has it. Makes its folder.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        Self::try_with_mode(path, 0o664, Sharing::Exclusive)
    }

    /// Takes the lock beside others who share it; `None` if someone has it for himself. Makes its
    /// folder. Never [exclusive](Self::is_exclusive).
    pub fn try_share(path: &Path) -> Result<Option<Self>> {
        Self::try_with_mode(path, 0o664, Sharing::Shared)
    }

    /// A lock in name only, which isn't [exclusive](Self::is_exclusive): for who goes on without it, as
    /// whoever has it hangs.
    #[must_use]
    pub fn without(path: &Path) -> Self {
        let (sharing, path) = (Sharing::Exclusive, path.to_path_buf());
        let (reach, owner) = (Reach::NotTaken, std::process::id());
        Self { file: None, reach, sharing, path, owner }
    }

    /// Whether someone holds the lock, shared or not, or may hold it, as far as one can tell: nothing is made
    /// nor written. Keeps others out for the moment of the look.
    pub fn is_held(path: &Path) -> Result<bool> {
        let fail = |e| Error::io("look at", path, e);
        let open =
            |write| OpenOptions::new().read(true).write(write).never_follow_nor_wait().open(path);
        // NFS and others grant a lock for oneself on a file only that may be written to.
        let (file, may_be_locked) = match open(true) {
            Err(e) if is_forbidden(&e) => (open(false), false),
            opened => (opened, true),
        };
        let file = match file {
            Ok(file) => file,
            Err(e) if files::is_absent(&e) || e.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(false);
            }
            // A lease on the file is being broken: somebody is at it.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(e) => return Err(fail(e)),
        };
        match file.try_lock() {
            Ok(()) => file.unlock().map(|()| false).map_err(fail),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => {
                let is_asked_again = e.raw_os_error() == Some(libc::EINTR);
                Ok(is_asked_again || is_refusal(&e) || !may_be_locked)
            }
        }
    }

    /// Blocks until the lock is free, or gives up after `limit`. For locks that are held briefly.
    pub(crate) fn acquire_within(path: &Path, mode: u32, limit: Duration) -> Result<Option<Self>> {
        Self::within(limit, || Self::try_with_mode(path, mode, Sharing::Exclusive))
    }

    /// The same for a lock that is [shared](Self::try_share).
    pub(crate) fn share_within(path: &Path, mode: u32, limit: Duration) -> Result<Option<Self>> {
        Self::within(limit, || Self::try_with_mode(path, mode, Sharing::Shared))
    }

    fn within(limit: Duration, attempt: impl Fn() -> Result<Option<Self>>) -> Result<Option<Self>> {
        let deadline = Instant::now() + limit;
        for pause in pauses() {
            if let Some(lock) = attempt()? {
                return Ok(Some(lock));
            }
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(pause);
        }
        Ok(None)
    }

    fn try_with_mode(path: &Path, mode: u32, sharing: Sharing) -> Result<Option<Self>> {
        let fail = |e| Error::io("lock", path, e);
        let file = match Unshared::open(|| open(path, mode)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                files::create_folder(files::parent(path))?;
                Unshared::open(|| open(path, mode))
            }
            opened => opened,
        };
        let file = match file {
            // A lease on the file is being broken.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            opened => opened.map_err(|e| Error::name("lock", path, e))?,
        };
        let locked = match sharing {
            Sharing::Exclusive => file.try_lock(),
            Sharing::Shared => file.try_lock_shared(),
        };
        let (file, reach) = match locked {
            Ok(()) => {
                let found = file.metadata().map_err(fail)?;
                // A file that was removed meanwhile keeps nobody out; the next attempt makes a new one.
                if found.nlink() == 0 {
                    return Ok(None);
                }
                refusal::end(path, found.dev());
                let reach = reach::of(&file, path);
                (Some(file), reach)
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) if e.raw_os_error() == Some(libc::EINTR) => {
                return Ok(None);
            }
            Err(TryLockError::Error(e)) if is_refusal(&e) => {
                if !refusal::is_of_everybody(path) {
                    return Ok(None);
                }
                let what = "every lock is refused here, whoever asks for it; going on without it: the same \
                    file may be downloaded by several at a time";
                refused::warn_once(what, path, &e);
                (None, Reach::Nobody)
            }
            // No locks here, or none left. Nothing depends on them but the work that is done twice.
            Err(TryLockError::Error(e)) => {
                let what = "the file system has no locks: the same file may be downloaded by several at \
                    a time";
                refused::warn_once(what, path, &e);
                (None, Reach::Nobody)
            }
        };
        let (path, owner) = (path.to_path_buf(), std::process::id());
        Ok(Some(Self { file, reach, sharing, path, owner }))
    }

    /// False if the file system has no locks, or grants them to everybody, or another process hangs over
    /// this one, or it's shared: others may believe they hold it too.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        matches!(self.reach, Reach::Everybody | Reach::ThisMachine)
            && self.sharing == Sharing::Exclusive
    }

    /// Whether nobody else can be writing to what it's about, on no machine that has the same file system.
    #[must_use]
    pub fn keeps_all_out(&self) -> bool {
        self.reach == Reach::Everybody && self.sharing == Sharing::Exclusive
    }

    /// Whether it's a lock in name only since somebody [goes on without](Self::without) the real one.
    pub(crate) fn is_passed_by(&self) -> bool {
        self.reach == Reach::NotTaken
    }

    /// Leaves a mark for who has the lock for himself alone later, and let go of it in between: somebody
    /// was here. It's a byte in the lock file, so it's there however coarse the file system's clock is.
    pub(crate) fn mark(&self) {
        let marked = self.file.as_ref().map_or(Ok(()), |file| file.write_all_at(b"1", 0));
        if let Err(error) = marked {
            // Who may lock but not write can't change what the lock is about either.
            tracing::debug!(lock = %self.path.display(), %error, "can't mark a lock");
        }
    }

    /// Removes all marks. False: that can't be done, so marks tell nothing.
    pub(crate) fn wipe(&self) -> bool {
        let wiped = self.file.as_ref().map_or(Ok(()), |file| file.set_len(0));
        if let Err(error) = &wiped {
            tracing::debug!(lock = %self.path.display(), %error, "can't wipe the marks of a lock");
        }
        wiped.is_ok()
    }

    /// Whether anybody has left a mark since the last [`wipe`](Self::wipe), as far as one can tell.
    pub(crate) fn is_marked(&self) -> bool {
        let found = self.file.as_ref().map(|file| file.metadata());
        !matches!(found, Some(Ok(found)) if found.len() == 0)
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing isn't enough: what was forked without our knowledge keeps the file open, and the
        // lock with it. A child must only close, or it would free the parent's lock.
        if let Some(file) = &self.file
            && self.owner == std::process::id()
            && let Err(e) = file.unlock()
        {
            tracing::warn!(lock = %self.path.display(), error = %e, "can't unlock");
        }
    }
}

/// Opens the lock file, or makes it, with permissions that let other users of the cache lock it
/// too. Rust opens files close-on-exec, so no child program inherits the lock.
fn open(path: &Path, mode: u32) -> io::Result<File> {
    let options = |write: bool| {
        let mut options = OpenOptions::new();
        options.read(true).write(write).mode(mode).never_follow_nor_wait();
        options
    };
    let refusal = match options(true).create_new(true).open(path) {
        Ok(file) => {
            // The umask took bits away. Where they can't be set, other users can't lock, that's
            // all.
            if let Err(e) = file.set_permissions(fs::Permissions::from_mode(mode)) {
                tracing::debug!(lock = %path.display(), error = %e, "can't set permissions");
            }
            return Ok(file);
        }
        // PermissionDenied: it may exist in a folder where we can't make files.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists || is_forbidden(&e) => e,
        Err(e) => return Err(e),
    };
    let opened = match options(true).open(path) {
        // Another user's lock file can be locked without writing to it.
        Err(e) if is_forbidden(&e) => options(false).open(path),
        opened => opened,
    };
    match opened {
        // There is none: that it can't be made is what's wrong.
        Err(e) if e.kind() == io::ErrorKind::NotFound && is_forbidden(&refusal) => Err(refusal),
        opened => opened,
    }
}

fn is_forbidden(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// The process that holds a lock, if Linux tells: a line of `/proc/locks` looks like
/// `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`, with the device and inode of the file.
pub(crate) fn holder(path: &Path) -> Option<u32> {
    let inode = fs::metadata(path).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_flock = fields.next()? == "FLOCK";
        let process = fields.nth(2)?.parse().ok()?;
        let of_this_file = fields.next()?.rsplit(':').next()? == inode;
        (is_flock && of_this_file).then_some(process)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who lets go of a lock for a moment learns whether somebody was there, once.
    #[test]
    fn a_mark_outlives_who_left_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let alone = || FileLock::try_acquire(&path).unwrap().unwrap();
        let share = || FileLock::try_share(&path).unwrap().unwrap();
        drop(share());
        assert!(!alone().is_marked(), "it was taken, and not marked");
        share().mark();
        let lock = alone();
        assert!(lock.is_marked());
        assert!(lock.wipe());
        drop(lock);
        assert!(!alone().is_marked());
    }
}
