//! What a download would find on this machine: a look without locks, hashes or writes.

use std::fs;
use std::path::PathBuf;

use super::layout::RepoCache;
use super::local_dir::LocalDir;
use super::shared;
use super::target::Target;
use crate::model::error::Result;
use crate::model::repo::Entry;
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
    /// What a download of `entry` would find here. It can be wrong where only a hash would tell.
    pub fn probe(&self, entry: &Entry) -> Result<Probed> {
        if self.find_current(entry)?.is_some() {
            return Ok(Probed::Present);
        }
        match self {
            Self::Cache { repo, .. } => {
                if repo.has_blob(entry)? {
                    return Ok(Probed::Present);
                }
                if repo.has_shared(entry) {
                    return Ok(Probed::Linked);
                }
                let name = format!("{}.partial", files::blob_name(entry)?);
                Ok(Probed::Missing(existing(repo.folder().join(".xet").join(name))))
            }
            Self::LocalDir { dir, repo, commit } => {
                if dir.has_etag(entry)? {
                    return Ok(Probed::Present);
                }
                if repo.find_content(commit, entry)?.is_some() {
                    return Ok(Probed::Copied);
                }
                Ok(Probed::Missing(existing(dir.find_partial(entry)?)))
            }
        }
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
    fn has_shared(&self, entry: &Entry) -> bool {
        entry.xet_hash().is_some_and(|hash| {
            self.cache().shared_blobs()
                && shared::Store::new(self.cache().root()).find(&hash.hex(), entry.size).is_some()
        })
    }
}

impl LocalDir {
    /// Whether the file is there and its metadata say that it has this content.
    fn has_etag(&self, entry: &Entry) -> Result<bool> {
        let path = self.file_path(&entry.path)?;
        Ok(self.known(&path, entry)?.is_some_and(|known| known.etag == entry.etag()))
    }
}

fn existing(path: PathBuf) -> Option<PathBuf> {
    fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()).then_some(path)
}
