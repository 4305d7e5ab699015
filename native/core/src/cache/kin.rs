//! Other folders of the cache that hold what a repo's lacks: the same repo's, under the name that somebody
//! wrote in another case, or before it was renamed. The cache is keyed by what the user wrote, as
//! `huggingface_hub`'s is; content needn't come twice for that.
//!
//! Only what the Hub has listed for this caller is looked for, by its hash, and it's read before it's
//! used. What is taken is a file of its own, or a hard link: a folder that is pruned takes nothing away
//! from others.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::layout::RepoCache;
use crate::model::error::Result;
use crate::model::repo::{CommitId, Entry, Repo};
use crate::sys::copy;
use crate::sys::files;
use crate::sys::lock::FileLock;

/// Looks for content in folders whose names don't tell. On a slow disk each takes a while.
const LOOKS: usize = 500;

/// For so many files is looked in each folder, if there are few folders: the largest, of which a revision may
/// have others than those before it.
const FILES: usize = 8;

impl RepoCache {
    /// Finds the folders that hold some of what is `missing` of a commit of the repo, which the Hub may call
    /// `other`. Once for each call.
    pub fn find_kin(&self, other: Option<&Repo>, commit: &CommitId, missing: &[Entry]) {
        if !missing.is_empty() && self.cache().symlinks() {
            self.set_kin(|| self.kin_with(other, commit, missing));
        }
    }

    fn kin_with(&self, other: Option<&Repo>, commit: &CommitId, missing: &[Entry]) -> Vec<PathBuf> {
        let own = self.repo().folder_name();
        let other = other.map(Repo::folder_name);
        let is_named = |name: &str| {
            [Some(&own), other.as_ref()].into_iter().flatten().any(|n| n.eq_ignore_ascii_case(name))
        };
        let prefix = format!("{}--", self.repo().repo_type().plural());
        let Ok(found) = fs::read_dir(self.cache().root()) else { return Vec::new() };
        let names = found.flatten().filter_map(|found| found.file_name().into_string().ok());
        let names = names.filter(|name| *name != own && name.starts_with(&prefix));
        let (mut kin, others): (Vec<_>, Vec<_>) = names.partition(|name| is_named(name));
        let mut largest: Vec<_> = missing.iter().collect();
        largest.sort_by_key(|entry| Reverse(entry.size));
        largest.truncate(LOOKS.checked_div(others.len()).unwrap_or(FILES).clamp(1, FILES));
        let has_some = |name: &String| {
            let folder = self.cache().root().join(name);
            let blobs = largest.iter().filter_map(|entry| files::blob_name(entry).ok());
            folder.join("snapshots").join(commit.as_str()).exists()
                || blobs.into_iter().any(|blob| folder.join("blobs").join(blob).exists())
        };
        kin.extend(others.into_iter().take(LOOKS).filter(has_some));
        kin.into_iter().map(|name| self.cache().root().join(name)).collect()
    }

    /// Content of `entry` in another folder of the same repo. It may be gone at any time.
    pub(super) fn find_in_kin(&self, entry: &Entry) -> Option<PathBuf> {
        let name = files::blob_name(entry).ok()?;
        let mut blobs = self.kin().iter().map(|folder| folder.join("blobs").join(name));
        blobs.find(|blob| fs::metadata(blob).is_ok_and(|m| m.is_file() && m.len() == entry.size))
    }

    /// Makes the file of `entry` from what another folder of the same repo has, if it has it. The caller
    /// holds the blob's lock.
    pub(super) fn adopt_from_kin(
        &self,
        commit: &CommitId,
        entry: &Entry,
        lock: &FileLock,
        cancel: &CancellationToken,
    ) -> Result<Option<PathBuf>> {
        match self.find_in_kin(entry) {
            Some(source) => self.adopt_file(&source, link_or_copy, commit, entry, lock, cancel),
            None => Ok(None),
        }
    }
}

/// Gives a file another name, or makes a copy of it where that can't be: a link leads out of the folder.
fn link_or_copy(source: &Path, to: &Path, cancel: &CancellationToken) -> Result<()> {
    files::discard(to);
    let is_file = fs::symlink_metadata(source).is_ok_and(|found| found.is_file());
    if is_file && fs::hard_link(source, to).is_ok() {
        return Ok(());
    }
    copy::content(source, to, cancel)
}
