//! What the cache remembers about names: which commit a revision stood for, and which files a
//! commit doesn't have.

use std::path::Path;

use super::layout::RepoCache;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Revision};
use crate::sys::files::{self, Durability};
use crate::sys::names::NewNames;

impl RepoCache {
    /// The commit that a branch, tag or sub-ref stood for when it was last downloaded.
    pub fn read_ref(&self, revision: &Revision) -> Result<Option<CommitId>> {
        read(&self.folder().join("refs"), revision)
    }

    /// Remembers what a revision stands for before the first file of it comes, as `huggingface_hub`
    /// does: pruning, theirs and ours, removes revisions without a ref, also while they are being
    /// filled. Makes the snapshot's folder, since `scan_cache_dir` reports a repo with a ref to
    /// nothing as corrupted. Returns whether the ref is new; one that says the same isn't written.
    pub fn announce(&self, revision: &Revision, commit: &CommitId) -> Result<bool> {
        if revision.as_str() == commit.as_str() {
            return Ok(false);
        }
        let is_known = self.read_ref(revision)?.as_ref() == Some(commit);
        if is_known && self.snapshot_folder(commit).is_dir() {
            return Ok(false);
        }
        self.names().create_folder(&self.snapshot_folder(commit))?;
        self.write_ref(revision, commit)
    }

    /// Has [`announce`](Self::announce) done before the first pointer is made: not earlier, so that a
    /// download that is refused, or finds no room, leaves the ref to what is there.
    pub(super) fn announce_with_first(&self, revision: &Revision) {
        *self.announcement() = Some(revision.clone());
    }

    /// Does what [`announce_with_first`](Self::announce_with_first) has asked for. Whoever comes
    /// meanwhile waits. That it fails is no reason to fail: the files are there all the same.
    pub(super) fn announce_now(&self, commit: &CommitId) {
        let mut announcement = self.announcement();
        if let Some(revision) = announcement.take()
            && let Err(error) = self.announce(&revision, commit)
        {
            tracing::warn!(%error, "can't remember what the revision stands for");
        }
    }

    /// Remembers what a revision stands for, and returns whether it's remembered now.
    ///
    /// Not if the commit has no snapshot folder: `scan_cache_dir` reports a repo with such a ref as
    /// corrupted. A ref that says the same isn't written, so a cache that is read-only and up to date
    /// is fine.
    pub fn write_ref(&self, revision: &Revision, commit: &CommitId) -> Result<bool> {
        if !self.snapshot_folder(commit).is_dir() {
            return Ok(false);
        }
        write(&self.folder().join("refs"), revision, commit, self.names())
    }

    /// The commit for a revision without the network: the revision itself if it's a commit by its
    /// shape, else what [`read_ref`](Self::read_ref) says.
    pub fn resolve(&self, revision: &Revision) -> Result<Option<CommitId>> {
        match revision.as_commit() {
            Some(commit) => Ok(Some(commit)),
            None => self.read_ref(revision),
        }
    }
}

/// Reads a ref from the folder `refs`. Anything but 40 hex digits is no ref, not even with a
/// newline: `huggingface_hub` takes the file's whole content.
pub(super) fn read(refs: &Path, revision: &Revision) -> Result<Option<CommitId>> {
    let path = refs.join(revision.as_str());
    let Some(text) = files::read_text(&path)? else { return Ok(None) };
    let commit = CommitId::parse(&text);
    if commit.is_none() {
        tracing::warn!(path = %path.display(), "ignored a ref that holds no commit");
    }
    Ok(commit)
}

/// Writes a ref in the folder `refs`. A revision that is a commit needs none.
pub(super) fn write(
    refs: &Path,
    revision: &Revision,
    commit: &CommitId,
    names: &NewNames,
) -> Result<bool> {
    if revision.as_str() == commit.as_str() {
        return Ok(false);
    }
    let path = refs.join(revision.as_str());
    if !path.starts_with(refs) {
        return Err(Error::invalid("revision", "it leaves the cache's refs folder"));
    }
    if files::read_text(&path)?.as_deref() == Some(commit.as_str()) {
        return Ok(true);
    }
    names.create_folder_within(refs, files::parent(&path))?;
    files::write(&path, commit.as_str().as_bytes(), Durability::Synced)?;
    names.add(&path);
    Ok(true)
}

#[cfg(test)]
mod fuzz;
