//! Content that comes out of a storage: what has come of it is kept in a folder, by its Xet hash, for the next attempt.
//! Storages remove what is old by themselves; here that of the Xet cache is a part of what is pruned.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::names::list;
use super::look::modified;
use super::prune::Pruner;
use super::remover::{LEFT, LOCKED_NOW, is_left_alone};
use crate::call::walk::Walk;
use crate::model::error::Result;
use crate::model::repo::is_lower_hex;
use crate::sys::files;
use crate::sys::lock::FileLock;

/// What has come of one content.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its Xet hash.
    pub(crate) hash: String,
    /// Whoever is at work on it has this lock.
    lock: PathBuf,
    /// The content, and notes on it, with what they take of the disk.
    files: Vec<(PathBuf, u64)>,
    /// In bytes, of all of them.
    pub size: u64,
    /// When the content was last written to.
    pub(crate) changed: SystemTime,
}

impl Kept {
    /// All of a folder, by hash. A folder that isn't there has none.
    pub(crate) fn all_in(folder: &Path, walk: &Walk) -> Result<Vec<Self>> {
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for found in list(folder)? {
            walk.step()?;
            let Some((hash, kind)) = found.name.split_once('.') else { continue };
            if !is_lower_hex(hash, 64) || kind == "lock" {
                continue;
            }
            // It may have found its place meanwhile.
            let Ok(metadata) = found.path.symlink_metadata() else { continue };
            let kept = all.entry(hash.to_owned()).or_insert_with(|| Self {
                hash: hash.to_owned(),
                lock: folder.join(format!("{hash}.lock")),
                files: Vec::new(),
                size: 0,
                changed: SystemTime::UNIX_EPOCH,
            });
            let size = metadata.blocks() * 512;
            kept.size += size;
            if is_content(&found.path) {
                kept.changed = kept.changed.max(modified(&found.path));
            }
            kept.files.push((found.path, size));
        }
        Ok(all.into_values().collect())
    }

    /// Removes it, unless somebody is at work on it.
    pub(crate) fn remove(&self) -> bool {
        let Ok(Some(held)) = FileLock::try_acquire(&self.lock) else { return false };
        // Notes first: without the content they would be about another one's.
        let (contents, notes): (Vec<_>, Vec<_>) =
            self.files.iter().map(|(path, _)| path).partition(|path| is_content(path));
        notes.into_iter().chain(contents).for_each(|path| files::discard(path));
        files::discard(&self.lock);
        drop(held);
        self.files.iter().all(|(path, _)| !path.exists())
    }
}

/// The folder in this Xet cache.
pub(crate) fn folder(xet_cache: &Path) -> PathBuf {
    xet_cache.join("xet-ffi/incomplete")
}

fn is_content(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "partial")
}

impl Pruner<'_> {
    /// Removes it, unless somebody is at work on it, or was since it was chosen.
    pub(super) fn remove_kept(&mut self, kept: &Kept) -> Result<()> {
        let lock = if self.dry_run {
            (!FileLock::is_held(&kept.lock)?).then_some(None)
        } else {
            FileLock::try_acquire(&kept.lock)?.map(Some)
        };
        let Some(lock) = lock else {
            for (path, size) in &kept.files {
                self.keep(path, *size, LOCKED_NOW);
            }
            return Ok(());
        };
        let contents = || kept.files.iter().filter(|(path, _)| is_content(path));
        let is_as_it_was = contents().all(|(path, _)| modified(path) <= kept.changed);
        if is_as_it_was && is_left_alone(lock.as_ref(), kept.changed) {
            let files: Vec<_> =
                kept.files.iter().map(|(path, size)| (path.as_path(), *size)).collect();
            self.unlink(&files, LEFT)?;
        }
        if !self.dry_run {
            files::discard(&kept.lock);
        }
        Ok(())
    }
}
