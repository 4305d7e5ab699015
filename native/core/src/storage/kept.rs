//! Where content is kept while it comes, by its Xet hash: an attempt after this one, in whichever process and for
//! whichever file, takes up what has come.
//!
//! That is a folder of ours in the Xet cache, where the finished file can be moved from there to its place. If
//! that is on another disk, it's a folder beside the file. What nobody has come back for is removed when it's old,
//! and the oldest when all of it is too much.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use xet_core_structures::merklehash::MerkleHash;

use crate::cache::gc::kept::Kept;
use crate::cache::{gc, partial_name};
use crate::call::walk::Walk;
use crate::download::{Partial, remove_remains};
use crate::model::error::{Error, Result};
use crate::sys::files;
use crate::sys::lock::FileLock;

/// Beside a file whose folder is on another disk.
const BESIDE: &str = ".xet-ffi";

/// How long nobody has come back for what is removed.
const OLD: Duration = Duration::from_hours(14 * 24);

/// The place of one content that is coming.
#[derive(Clone, Debug)]
pub(super) struct Place {
    folder: PathBuf,
    hash: MerkleHash,
}

impl Place {
    /// For the content with this `hash`, which is to go to a file in the folder `target`. Makes its own folder. One that
    /// is beside the file is [tidied](tidy) on the way, since nobody else comes by.
    pub(super) fn of(
        xet_cache: &Path,
        target: &Path,
        hash: MerkleHash,
        limit: u64,
    ) -> Result<Self> {
        let in_cache = gc::kept::folder(xet_cache);
        let is_usable = files::create_folder(&in_cache).is_ok()
            && are_together(&in_cache, target)
            // A cache that is shared may be another user's, or be there to be read.
            && files::takes_files(&in_cache);
        if is_usable {
            return Ok(Self { folder: in_cache, hash });
        }
        let folder = target.join(BESIDE);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => tidy_folder(&folder, limit),
            Err(e) => return Err(Error::io("make", &folder, e)),
        }
        Ok(Self { folder, hash })
    }

    /// The lock to hold while the content comes.
    pub(super) fn lock(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.hash.hex()))
    }

    /// Where it comes, under that lock.
    pub(super) fn partial(&self, lock: &FileLock) -> Result<PathBuf> {
        let path = self.folder.join(partial_name(&self.hash.hex(), lock));
        files::remove_unless_file(&path)?;
        Ok(path)
    }

    /// What there is to see, from outside, of somebody else's work on it.
    pub(super) fn signs_of_life(&self) -> Vec<files::Sign> {
        files::signs(&self.folder, &self.hash.hex())
    }

    /// What others have left of it who had no lock that is sure.
    pub(super) fn leftover(&self, lock: &FileLock, size: u64) -> Option<PathBuf> {
        if lock.keeps_all_out() {
            return None;
        }
        let hash = self.hash.hex();
        files::largest(&self.folder, ".partial", size, |name| name.starts_with(&hash))
    }

    /// An attempt at it has failed. What has come stays for the next one; where nothing has, nothing is to stay.
    pub(super) fn give_up(&self, partial: &Partial) {
        match partial.len() {
            Ok(0) => {}
            _ => return,
        }
        match remove_remains(partial.path()) {
            Ok(()) => self.leave(),
            Err(error) => tracing::debug!(%error, "can't give up a partial file"),
        }
    }

    /// The disk is full: removes what has come of other contents, which nobody is at work on. Says of how many bytes.
    pub(super) fn make_room(&self) -> u64 {
        let own = self.hash.hex();
        let others = all_in(&self.folder).into_iter().filter(|kept| kept.hash != own);
        others.filter(Kept::remove).map(|kept| kept.size).sum()
    }

    /// The disk is full all the same: nothing of the content stays, so that there is room for others.
    pub(super) fn make_way(&self) {
        let own = self.hash.hex();
        for kept in all_in(&self.folder).iter().filter(|kept| kept.hash == own) {
            kept.remove();
        }
        self.leave();
    }

    /// The content has its place: nothing of it is to stay here but what others are at work on.
    pub(super) fn leave(&self) {
        // Whoever waits for it finds that it has another file, and takes that one's.
        files::discard(&self.lock());
        if self.folder.ends_with(BESIDE) {
            // Fails as long as there is something in it.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Whether a file can be moved from one folder to the other.
fn are_together(one: &Path, other: &Path) -> bool {
    let device = |folder: &Path| fs::metadata(folder).map(|found| found.dev()).ok();
    device(one).is_some() && device(one) == device(other)
}

/// All that is kept in a folder; what can't be looked at is left alone.
fn all_in(folder: &Path) -> Vec<Kept> {
    Kept::all_in(folder, &Walk::default()).unwrap_or_default()
}

/// Removes what is old from the Xet cache, and of the rest the oldest until it takes no more than `limit` bytes of the
/// disk. What somebody is at work on stays.
pub(super) fn tidy(xet_cache: &Path, limit: u64) {
    tidy_folder(&gc::kept::folder(xet_cache), limit);
}

fn tidy_folder(folder: &Path, limit: u64) {
    remove_locks(folder);
    let mut kept = all_in(folder);
    kept.sort_by_key(|kept| kept.changed);
    let mut all: u64 = kept.iter().map(|kept| kept.size).sum();
    for kept in kept {
        if all <= limit && !is_old(kept.changed) {
            continue;
        }
        if kept.remove() {
            let Kept { size, hash, .. } = kept;
            tracing::info!(hash, size, "removed what nobody came back for");
            all -= size;
        }
    }
}

/// Removes locks that nobody has had for long.
fn remove_locks(folder: &Path) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_lock = path.extension().is_some_and(|ending| ending == "lock");
        let modified = path.symlink_metadata().and_then(|found| found.modified());
        if is_lock
            && modified.is_ok_and(is_old)
            && let Ok(Some(lock)) = FileLock::try_acquire(&path)
        {
            files::discard(&path);
            drop(lock);
        }
    }
}

fn is_old(modified: SystemTime) -> bool {
    modified.elapsed().is_ok_and(|age| age > OLD)
}
