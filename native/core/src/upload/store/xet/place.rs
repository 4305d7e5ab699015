//! Folders that go with one upload, and what is left of those whose process was killed.
//!
//! ```text
//! <folder>/xet-ffi-<random>/        of one upload
//! <folder>/xet-ffi-<random>.lock    locked for as long as that upload lives
//! ```
//!
//! Whoever gets the lock of a folder knows that nobody uses it any more, and removes it. Where locks aren't shared by all
//! who have the disk, age tells, as it does for what has no lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use xet_core_structures::metadata_shard::utils::is_temp_shard_file;

use crate::model::error::{Error, Result};
use crate::sys::files;
use crate::sys::lock::FileLock;

/// What such folders, and their locks, begin with.
const NAME: &str = "xet-ffi-";
const LOCK: &str = "lock";
/// What they began with before they had locks.
const UNLOCKED: &str = ".tmp";

/// No upload lasts so long, nor does anything that it has begun.
const DEAD: Duration = Duration::from_hours(7 * 24);
/// Nobody takes so long to write a shard.
const UNWRITTEN: Duration = Duration::from_hours(24);

/// A folder for one upload, removed with it. Made, used and given up where that may block.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Who has it knows that the upload lives.
    lock: FileLock,
}

impl Place {
    /// A new one in `folder`.
    pub(super) fn new_in(folder: &Path) -> Result<Self> {
        loop {
            let path = folder.join(format!("{NAME}{}", files::random_hex()));
            // Somebody who looks for what is left may have been quicker.
            let Some(lock) = FileLock::try_acquire(&path.with_extension(LOCK))? else { continue };
            let place = Self { path, lock };
            fs::create_dir(&place.path).map_err(|e| Error::io("make", &place.path, e))?;
            return Ok(place);
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        remove(&self.path);
        files::discard(self.lock.path());
    }
}

/// Removes what uploads that were killed have left in `folder`. That it can't would be litter, not a failure.
pub(super) fn sweep(folder: &Path) {
    for (path, name, age) in entries(folder) {
        if name.starts_with(UNLOCKED) && path.is_dir() {
            if age >= DEAD {
                remove(&path);
            }
        } else if name.starts_with(NAME) {
            sweep_locked(&path.with_extension(""), age);
        }
    }
}

/// Removes a place whose lock nobody has, and that lock.
fn sweep_locked(path: &Path, age: Duration) {
    let lock = match FileLock::try_acquire(&path.with_extension(LOCK)) {
        Ok(Some(lock)) => lock,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!("can't tell whether an upload lives: {error}");
            return;
        }
    };
    if lock.keeps_all_out() || age >= DEAD {
        remove(path);
        files::discard(lock.path());
    }
}

/// Removes shards in `folder` of which only a part was written.
pub(super) fn sweep_unwritten(folder: &Path) {
    for (path, _, age) in entries(folder) {
        if age >= UNWRITTEN && is_temp_shard_file(&path) {
            files::discard(&path);
        }
    }
}

/// What is in a folder: path, name, and how long it hasn't changed.
fn entries(folder: &Path) -> impl Iterator<Item = (PathBuf, String, Duration)> {
    let found = fs::read_dir(folder).inspect_err(|error| {
        tracing::debug!(folder = %folder.display(), %error, "can't look for what uploads have left");
    });
    found.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_ours = name.starts_with(NAME) || name.starts_with('.');
        let changed = is_ours.then(|| entry.metadata().and_then(|found| found.modified()))?.ok()?;
        let age = SystemTime::now().duration_since(changed).unwrap_or_default();
        Some((entry.path(), name, age))
    })
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(folder = %folder.display(), %error, "can't remove what an upload has left");
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let found = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// Makes something seem to be so old.
    fn age(path: &Path, age: Duration) {
        let then = SystemTime::now().checked_sub(age).unwrap();
        File::open(path).unwrap().set_modified(then).unwrap();
    }

    /// What a process has left that was killed goes; what belongs to a living one stays, and goes with it.
    #[test]
    fn what_the_dead_have_left_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let living = Place::new_in(folder).unwrap();
        for dead in ["xet-ffi-1", "xet-ffi-2", "xet-ffi-3"] {
            fs::create_dir(folder.join(dead)).unwrap();
            fs::write(folder.join(dead).join("shard.mdb"), "").unwrap();
        }
        fs::write(folder.join("xet-ffi-1.lock"), "").unwrap();
        fs::write(folder.join("xet-ffi-4.lock"), "").unwrap();
        sweep(folder);
        let name = living.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(names(folder), [name.clone(), name + ".lock"]);
        drop(living);
        assert!(names(folder).is_empty());
    }

    /// What has no lock goes by its age, and what isn't ours never goes.
    #[test]
    fn what_has_no_lock_goes_by_its_age() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in [".tmpold", ".tmpnew", "session", ".other"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        for name in [".old.mdb_temp", ".new.mdb_temp", "old.mdb"] {
            fs::write(folder.join(name), "").unwrap();
        }
        for name in [".tmpold", "session", ".other", ".old.mdb_temp", "old.mdb"] {
            age(&folder.join(name), 2 * DEAD);
        }
        sweep(folder);
        sweep_unwritten(folder);
        assert_eq!(names(folder), [".new.mdb_temp", ".other", ".tmpnew", "old.mdb", "session"]);
    }
}
