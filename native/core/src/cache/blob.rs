//! Blobs and the pointers to them: the content of a snapshot's files.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::layout::RepoCache;
use super::place::place;
use super::shared;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry, RepoPath};
use crate::sys::{copy, files, open, rename};

impl RepoCache {
    /// The file at `path` of a cached commit, if it's there. One system call.
    pub fn find(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<PathBuf>> {
        let pointer = self.pointer_path(commit, path)?;
        Ok(files::file_size(&pointer)?.map(|_| pointer))
    }

    /// Like [`find`](Self::find), for a file whose size is known: one of another size isn't it.
    pub fn find_entry(&self, commit: &CommitId, entry: &Entry) -> Result<Option<PathBuf>> {
        let pointer = self.pointer_path(commit, &entry.path)?;
        Ok(has_size(&pointer, entry)?.then_some(pointer))
    }

    /// Whether this repo holds the content of `entry`, for whichever path and commit.
    pub fn has_blob(&self, entry: &Entry) -> Result<bool> {
        has_size(&self.blob_path(entry)?, entry)
    }

    /// Makes the pointer of `entry` in a commit's snapshot, to a blob that is there, and returns
    /// its path. What was at that path is replaced. Without symbolic links the content is copied.
    pub fn link(
        &self,
        commit: &CommitId,
        entry: &Entry,
        cancel: &CancellationToken,
    ) -> Result<PathBuf> {
        let pointer = self.prepare_pointer(commit, entry)?;
        if !self.point(&pointer, entry)? {
            self.copy_to(&self.blob_path(entry)?, &pointer, cancel)?;
        }
        Ok(pointer)
    }

    /// Gives verified content its final name and makes the pointer to it, whose path is returned.
    ///
    /// `partial` is complete, checked against the hash in `entry`, synced, and on the file system
    /// of the cache ([`partial_path`](Self::partial_path)); it's gone afterwards. The caller holds
    /// the blob's lock; `alone`: that keeps everybody out, and what was in the place of blob or pointer is
    /// replaced. `share`: the content was checked against the *Xet* hash, so that other repos may have it by
    /// that name.
    pub fn install(
        &self,
        commit: &CommitId,
        entry: &Entry,
        partial: &Path,
        share: bool,
        alone: bool,
    ) -> Result<PathBuf> {
        let blob = self.blob_path(entry)?;
        let pointer = self.prepare_pointer(commit, entry)?;
        let shared = share && self.publish_shared(entry, partial)?;
        if !shared {
            files::set_mode(partial, self.file_mode()?);
            if !self.cache().symlinks() {
                place(self.names(), entry, partial, &pointer, alone)?;
                return Ok(pointer);
            }
            self.names().create_folder(files::parent(&blob))?;
            place(self.names(), entry, partial, &blob, alone)?;
        }
        if !self.point(&pointer, entry)? {
            if shared {
                self.copy_to(&blob, &pointer, &CancellationToken::new())?;
            } else {
                place(self.names(), entry, &blob, &pointer, alone)?;
            }
        }
        Ok(pointer)
    }

    /// A local file with the content of `entry` that can be copied: this repo's blob, its file in
    /// the snapshot of `commit`, or another repo's content.
    pub fn find_content(&self, commit: &CommitId, entry: &Entry) -> Result<Option<PathBuf>> {
        if self.has_blob(entry)? {
            return self.blob_path(entry).map(Some);
        }
        // Without symbolic links there are no blobs, only the snapshot.
        if let Some(pointer) = self.find_entry(commit, entry)? {
            return Ok(Some(pointer));
        }
        let shared = match entry.xet_hash() {
            Some(hash) if self.cache().shared_blobs() => {
                shared::Store::new(self.cache().root()).find(&hash.hex(), entry.size)
            }
            _ => None,
        };
        Ok(shared.or_else(|| self.find_in_kin(entry)))
    }

    /// Takes the content of `entry` from another repo of the cache, and returns whether that
    /// worked. The caller holds the blob's lock. As in `huggingface_hub`, the size is checked, not
    /// the hash.
    pub fn try_shared(&self, entry: &Entry) -> Result<bool> {
        match entry.xet_hash() {
            Some(hash) if self.cache().shared_blobs() => {
                let store = shared::Store::new(self.cache().root());
                store.link(&hash.hex(), &self.blob_link(entry)?, self.names())
            }
            _ => Ok(false),
        }
    }

    fn publish_shared(&self, entry: &Entry, partial: &Path) -> Result<bool> {
        match entry.xet_hash() {
            Some(hash) if self.cache().shared_blobs() => {
                let link = self.blob_link(entry)?;
                self.names().create_folder(files::parent(&link.path))?;
                let store = shared::Store::new(self.cache().root());
                store.publish(&hash.hex(), &link, partial, self.names())
            }
            _ => Ok(false),
        }
    }

    fn blob_link(&self, entry: &Entry) -> Result<shared::BlobLink> {
        Ok(shared::BlobLink {
            path: self.blob_path(entry)?,
            reference: format!("{}/blobs/{}", self.repo().folder_name(), entry.etag()),
            size: entry.size,
        })
    }

    /// The pointer's path, in a folder that exists and isn't a link to elsewhere.
    fn prepare_pointer(&self, commit: &CommitId, entry: &Entry) -> Result<PathBuf> {
        self.announce_now(commit);
        let snapshot = self.snapshot_folder(commit);
        let pointer = files::join(&snapshot, &entry.path)?;
        self.names().create_folder_within(&snapshot, files::parent(&pointer))?;
        Ok(pointer)
    }

    /// Makes a relative link from the pointer to the blob. False: there are no symbolic links here.
    fn point(&self, pointer: &Path, entry: &Entry) -> Result<bool> {
        if !self.cache().symlinks() {
            return Ok(false);
        }
        // snapshots/<commit>/, and one more for each folder in the path.
        let up = "../".repeat(2 + entry.path.as_str().matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", entry.etag()));
        match symlink(&target, pointer) {
            Ok(()) => {
                self.names().add(pointer);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read_link(pointer).is_ok_and(|present| present == target) {
                    return Ok(true);
                }
                // In our own folder, so that no reader of the snapshot sees the temporary name.
                let temporary =
                    self.private_folder()?.join(format!("{}.link", files::random_hex()));
                symlink(&target, &temporary)
                    .and_then(|()| rename::replace(&temporary, pointer))
                    .map_err(|e| {
                        files::discard(&temporary);
                        Error::name("link", pointer, e)
                    })?;
                self.names().add(pointer);
                Ok(true)
            }
            Err(e) if open::has_no_symlinks(&e) => {
                self.cache().give_up_symlinks();
                Ok(false)
            }
            Err(e) => Err(Error::name("link", pointer, e)),
        }
    }

    /// Makes the file of `entry` in a commit's snapshot by copying another file of it.
    pub(super) fn copy_pointer(
        &self,
        commit: &CommitId,
        from: &Path,
        entry: &Entry,
        cancel: &CancellationToken,
    ) -> Result<PathBuf> {
        let pointer = self.prepare_pointer(commit, entry)?;
        self.copy_to(from, &pointer, cancel)?;
        Ok(pointer)
    }

    /// Copies content within the repo's folder.
    fn copy_to(&self, from: &Path, to: &Path, cancel: &CancellationToken) -> Result<()> {
        let temporary = self.private_folder()?.join(format!("{}.copy", files::random_hex()));
        let copied = copy::content(from, &temporary, cancel).and_then(|()| {
            files::set_mode(&temporary, self.file_mode()?);
            self.names().move_file(&temporary, to)
        });
        copied.inspect_err(|_| files::discard(&temporary))
    }
}

pub(super) fn has_size(path: &Path, entry: &Entry) -> Result<bool> {
    match files::file_size(path)? {
        Some(size) if size == entry.size => Ok(true),
        Some(size) => {
            tracing::warn!(
                path = %path.display(), size, expected = entry.size,
                "a cached file has the wrong size and isn't used"
            );
            Ok(false)
        }
        None => Ok(false),
    }
}
