//! What a download would find on this machine: a look without locks. What a file in a local folder is, only its
//! hash tells, unless that is noted.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::RepoCache;
use super::local_dir::LocalDir;
use super::names::Names;
use super::shared;
use super::target::Target;
use crate::call::walk::Walk;
use crate::model::error::Result;
use crate::model::repo::{CommitId, Entry};
use crate::sys::files;

/// What there is of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It's in its place, or can be by a link alone.
    Present,
    /// Another repo of the cache has it, and a link is enough.
    Linked,
    /// It's in the cache, and is going to be copied.
    Copied,
    /// It has to be brought in. The partial file that an earlier attempt has left, if any.
    Missing(Option<PathBuf>),
}

impl Target {
    /// What a download of `entry` would find here, as one of many such questions. What is in the cache may be
    /// wrong, where only a hash would tell.
    pub fn probe(&self, names: &Names, entry: &Entry, walk: &Walk) -> Result<Probed> {
        if self.find_among(names, entry)?.is_some() {
            return Ok(Probed::Present);
        }
        match self {
            Self::Cache { repo, .. } => {
                let blob = repo.blob_path(entry)?;
                if names.find(&blob, || Ok(repo.has_blob(entry)?.then_some(())))?.is_some() {
                    return Ok(Probed::Present);
                }
                if repo.has_shared(names, entry)? || repo.find_in_kin(entry).is_some() {
                    return Ok(Probed::Linked);
                }
                Ok(Probed::Missing(existing(names, &self.find_partial(entry)?)?))
            }
            Self::LocalDir { dir, repo, commit } => {
                let file = dir.file_path(&entry.path)?;
                if names.find(&file, || Ok(dir.would_keep(entry, walk)?.then_some(())))?.is_some() {
                    return Ok(Probed::Present);
                }
                if LocalDir::of_cache(repo, repo.has_content(names, commit, entry)) {
                    return Ok(Probed::Copied);
                }
                Ok(Probed::Missing(existing(names, &self.find_partial(entry)?)?))
            }
        }
    }

    /// The partial file's path where there are locks, whether it's there or not.
    pub fn find_partial(&self, entry: &Entry) -> Result<PathBuf> {
        match self {
            Self::Cache { repo, .. } => {
                let name = format!("{}.partial", files::blob_name(entry)?);
                Ok(repo.folder().join(".xet").join(name))
            }
            Self::LocalDir { dir, .. } => dir.find_partial(entry),
        }
    }

    /// Whether users move finished files, or the folder with them.
    #[must_use]
    pub fn is_moved_about(&self) -> bool {
        matches!(self, Self::LocalDir { .. })
    }

    /// The folder on whose file system the content ends up.
    #[must_use]
    pub fn content_folder(&self) -> PathBuf {
        match self {
            Self::Cache { repo, .. } => repo.folder().to_path_buf(),
            Self::LocalDir { dir, .. } => dir.root().to_path_buf(),
        }
    }

    /// The folder in which files with the same content may be one file with several names: the cache,
    /// if its repos don't share a store anyway. What is in a local folder, the user may write to.
    #[must_use]
    pub fn link_within(&self) -> Option<PathBuf> {
        match self {
            Self::Cache { repo, .. } if repo.cache().symlinks() && !repo.cache().shared_blobs() => {
                fs::canonicalize(repo.cache().root()).ok()
            }
            _ => None,
        }
    }

    /// Whether a second file with the same content takes space of its own.
    #[must_use]
    pub fn copies_duplicates(&self) -> bool {
        match self {
            Self::Cache { repo, .. } => !repo.cache().symlinks(),
            Self::LocalDir { .. } => true,
        }
    }
}

impl RepoCache {
    fn has_shared(&self, names: &Names, entry: &Entry) -> Result<bool> {
        let Some(hash) = entry.xet_hash().filter(|_| self.cache().shared_blobs()) else {
            return Ok(false);
        };
        let (store, hash) = (shared::Store::new(self.cache().root()), hash.hex());
        Ok(names.find(&store.content_path(&hash), || Ok(store.find(&hash, entry.size)))?.is_some())
    }

    /// Whether there is something to copy, as [`find_content`](Self::find_content) finds it.
    fn has_content(&self, names: &Names, commit: &CommitId, entry: &Entry) -> Result<bool> {
        let (blob, pointer) = (self.blob_path(entry)?, self.pointer_path(commit, &entry.path)?);
        let blob = names.find(&blob, || Ok(self.has_blob(entry)?.then_some(())))?;
        Ok(blob.is_some()
            || names.find(&pointer, || self.find_entry(commit, entry))?.is_some()
            || self.has_shared(names, entry)?)
    }
}

fn existing(names: &Names, path: &Path) -> Result<Option<PathBuf>> {
    let is_file = || fs::symlink_metadata(path).is_ok_and(|found| found.is_file()).then_some(());
    Ok(names.find(path, || Ok(is_file()))?.map(|()| path.to_path_buf()))
}
