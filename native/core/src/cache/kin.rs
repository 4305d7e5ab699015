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
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::layout::RepoCache;
use crate::call::walk::Walk;
use crate::model::error::Result;
use crate::model::repo::{CommitId, Entry, Repo};
use crate::sys::copy;
use crate::sys::files;
use crate::sys::lock::FileLock;

/// Folders whose names don't tell that are looked into.
const FOLDERS: usize = 500;

/// Looks for content in all of those.
const LOOKS: usize = 500;

/// For so many files is looked in each folder, if there are few folders: the largest, of which a revision may
/// have others than those before it.
const FILES: usize = 8;

/// Bytes that are fetched sooner than other folders are looked through for them.
const SMALL: u64 = 256 << 10;

/// What a file counts for at least, in bytes: a request takes as long as those.
const SMALLEST: u64 = 16 << 10;

/// How long other folders are looked through, at most: on a slow disk each look takes a while.
const PATIENCE: Duration = Duration::from_secs(1);

impl RepoCache {
    /// Finds the folders that hold some of what is `missing` of a commit of the repo, which the Hub may call
    /// `other`. Once for each call.
    pub fn find_kin(
        &self,
        other: Option<&Repo>,
        commit: &CommitId,
        missing: &[Entry],
        walk: &Walk,
    ) -> Result<()> {
        if !missing.is_empty() && self.cache().symlinks() && self.kin().get().is_none() {
            let found = self.kin_with(other, commit, missing, walk)?;
            self.kin().get_or_init(|| found);
        }
        Ok(())
    }

    fn kin_with(
        &self,
        other: Option<&Repo>,
        commit: &CommitId,
        missing: &[Entry],
        walk: &Walk,
    ) -> Result<Vec<PathBuf>> {
        let own = self.repo().folder_name();
        let other = other.map(Repo::folder_name);
        let is_named = |name: &str| {
            [Some(&own), other.as_ref()].into_iter().flatten().any(|n| n.eq_ignore_ascii_case(name))
        };
        let prefix = format!("{}--", self.repo().repo_type().plural());
        let root = self.cache().root();
        let Ok(found) = fs::read_dir(root) else { return Ok(Vec::new()) };
        let names = found.flatten().filter_map(|found| found.file_name().into_string().ok());
        let names = names.filter(|name| *name != own && name.starts_with(&prefix));
        let (kin, others): (Vec<_>, Vec<_>) = names.partition(|name| is_named(name));
        let folders = |names: Vec<String>| names.into_iter().map(|name| root.join(name));
        let mut kin: Vec<_> = folders(kin).collect();
        let missed = missing.iter().map(|entry| entry.size.max(SMALLEST));
        if missed.fold(0_u64, u64::saturating_add) >= SMALL {
            let others: Vec<_> = folders(others).take(FOLDERS).collect();
            kin.extend(having_some(&others, commit, missing, walk)?.into_iter().cloned());
        }
        Ok(kin)
    }

    /// Content of `entry` in another folder of the same repo. It may be gone at any time.
    pub(super) fn find_in_kin(&self, entry: &Entry) -> Option<PathBuf> {
        let name = files::blob_name(entry).ok()?;
        let mut blobs = self.kin().get()?.iter().map(|folder| folder.join("blobs").join(name));
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

/// Those of the folders that have a snapshot of the commit, or one of the largest files that are `missing`; as many
/// of them as turn out to in a short time.
fn having_some<'a>(
    folders: &'a [PathBuf],
    commit: &CommitId,
    missing: &[Entry],
    walk: &Walk,
) -> Result<Vec<&'a PathBuf>> {
    let mut largest: Vec<_> = missing.iter().collect();
    largest.sort_by_key(|entry| Reverse(entry.size));
    largest.truncate(LOOKS.checked_div(folders.len()).unwrap_or(FILES).clamp(1, FILES));
    let blobs = largest.iter().filter_map(|entry| files::blob_name(entry).ok());
    let names = blobs.map(|blob| Path::new("blobs").join(blob));
    let snapshot = Path::new("snapshots").join(commit.as_str());
    // One look each, that many can be made side by side, and all of them stopped soon.
    let looks: Vec<(usize, PathBuf)> = std::iter::once(snapshot)
        .chain(names)
        .flat_map(|name| folders.iter().map(move |folder| folder.join(&name)).enumerate())
        .collect();
    let found: Vec<AtomicBool> = folders.iter().map(|_| AtomicBool::new(false)).collect();
    let begun = Instant::now();
    let are_in_time = walk.each(&looks, |(folder, path)| {
        let found = &found[*folder];
        if found.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let is_in_time = begun.elapsed() < PATIENCE;
        found.fetch_or(is_in_time && path.exists(), Ordering::Relaxed);
        Ok(is_in_time)
    })?;
    let late = are_in_time.iter().filter(|is_in_time| !**is_in_time).count();
    if late > 0 {
        tracing::debug!(
            late,
            looks = looks.len(),
            "the disk is too slow to look through the cache"
        );
    }
    let found = folders.iter().zip(found).filter(|(_, found)| found.load(Ordering::Relaxed));
    Ok(found.map(|(folder, _)| folder).collect())
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
