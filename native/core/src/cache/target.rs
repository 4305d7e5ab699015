//! Where a download goes, with one face for the cache and for a local folder.
//!
//! For each file, in this order: [`find_current`](Target::find_current); if it isn't there, take
//! the lock at [`lock_path`](Target::lock_path); [`adopt`](Target::adopt), since another process
//! may have been faster; else fill the file at [`partial_path`](Target::partial_path), verify it,
//! sync it, and [`install`](Target::install) it. Then [`duplicate`](Target::duplicate) it for the
//! other paths of its [`Group`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::layout::RepoCache;
use super::local_dir::LocalDir;
use super::names::Names;
use crate::call::walk::Walk;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Listing, Repo, Revision};
use crate::sys::files::Sign;
use crate::sys::lock::FileLock;
use crate::sys::names::NewNames;
use crate::sys::{copy, disk};

/// Where the files of one commit go. Cheap to clone; for any thread.
#[derive(Clone, Debug)]
pub enum Target {
    /// To a snapshot in the cache.
    Cache {
        /// The repo in the cache.
        repo: RepoCache,
        /// The commit that is downloaded.
        commit: CommitId,
    },
    /// To a folder of the user's.
    LocalDir {
        /// The folder.
        dir: LocalDir,
        /// The repo in the cache: content that is there isn't downloaded.
        repo: RepoCache,
        /// The commit that is downloaded.
        commit: CommitId,
    },
}

impl Target {
    /// What the call returns as its path: the snapshot folder or the local folder.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        match self {
            Self::Cache { repo, commit } => repo.snapshot_folder(commit),
            Self::LocalDir { dir, .. } => dir.root().to_path_buf(),
        }
    }

    /// The path that a file has when it's there.
    pub fn final_path(&self, entry: &Entry) -> Result<PathBuf> {
        match self {
            Self::Cache { repo, commit } => repo.pointer_path(commit, &entry.path),
            Self::LocalDir { dir, .. } => dir.file_path(&entry.path),
        }
    }

    /// The file, if it's there and right: no lock, no write, no hashing, no network.
    pub fn find_current(&self, entry: &Entry) -> Result<Option<PathBuf>> {
        match self {
            Self::Cache { repo, commit } => repo.find_entry(commit, entry),
            Self::LocalDir { dir, commit, .. } => dir.find(commit, entry),
        }
    }

    /// Names below the folder that receives the files, for [`find_among`](Self::find_among).
    #[must_use]
    pub fn names(&self) -> Names {
        Names::below(&self.root())
    }

    /// [`find_current`](Self::find_current), as one of many such questions.
    pub fn find_among(&self, names: &Names, entry: &Entry) -> Result<Option<PathBuf>> {
        names.find(&self.final_path(entry)?, || self.find_current(entry))
    }

    /// Whether the file is still in its place: for one that was brought there, or found to be current, a moment
    /// ago. In a local folder somebody may have put another revision's there; it's read where nothing that is
    /// noted says that it's the one.
    pub fn is_in_place(&self, names: &Names, entry: &Entry, walk: &Walk) -> Result<bool> {
        let found = names.find(&self.final_path(entry)?, || {
            Ok(match self {
                Self::Cache { repo, commit } => repo.find_entry(commit, entry)?.is_some(),
                Self::LocalDir { dir, .. } => dir.is_really(entry, walk)?,
            }
            .then_some(()))
        });
        Ok(found?.is_some())
    }

    /// The lock to hold while a file is adopted, downloaded or duplicated. For a local folder, the
    /// lock's folder exists afterwards.
    pub fn lock_path(&self, entry: &Entry) -> Result<PathBuf> {
        match self {
            Self::Cache { repo, .. } => repo.lock_path(entry),
            Self::LocalDir { dir, .. } => dir.lock_path(&entry.path),
        }
    }

    /// Finds the other folders of the cache that hold some of what is `missing` of this repo, which the Hub may
    /// call `other`, for [`adopt`](Self::adopt) and [`probe`](Self::probe).
    pub fn find_kin(&self, other: Option<&Repo>, missing: &[Entry], walk: &Walk) -> Result<()> {
        match self {
            Self::Cache { repo, commit } | Self::LocalDir { repo, commit, .. } => {
                repo.find_kin(other, commit, missing, walk)
            }
        }
    }

    /// Makes the file from what this machine has, under its lock, and returns its path: from a blob
    /// of this repo, or of another one; for a local folder also from what is there, by its hash.
    /// May hash and copy, so it can be cancelled.
    pub fn adopt(
        &self,
        entry: &Entry,
        lock: &FileLock,
        cancel: &CancellationToken,
    ) -> Result<Option<PathBuf>> {
        match self {
            Self::Cache { repo, commit } => {
                if let Some(path) = repo.find_entry(commit, entry)? {
                    return Ok(Some(path));
                }
                if repo.has_blob(entry)? || repo.try_shared(entry)? {
                    return repo.link(commit, entry, cancel).map(Some);
                }
                repo.adopt_from_kin(commit, entry, lock, cancel)
            }
            Self::LocalDir { dir, repo, commit } => dir.adopt(repo, commit, entry, lock, cancel),
        }
    }

    /// Makes the file from `source`, a file of somebody else's that should have its content, under its lock, and
    /// returns its path. `None`: the content is wrong, or can't be read. What is made shares nothing with it but
    /// blocks of the disk.
    pub fn adopt_from(
        &self,
        source: &Path,
        entry: &Entry,
        lock: &FileLock,
        cancel: &CancellationToken,
    ) -> Result<Option<PathBuf>> {
        match self {
            Self::Cache { repo, commit } => {
                repo.adopt_file(source, copy::content, commit, entry, lock, cancel)
            }
            Self::LocalDir { dir, commit, .. } => {
                dir.copy_from(source, commit, entry, lock, cancel)
            }
        }
    }

    /// Whether the file is in a local folder that may not be written to, as `error` says, and is right: it's hashed,
    /// as nothing can be noted.
    pub fn is_right_unnoted(&self, entry: &Entry, error: &Error, walk: &Walk) -> Result<bool> {
        let Self::LocalDir { dir, .. } = self else { return Ok(false) };
        let is_right = error.kind() == Kind::LocalPermission && dir.would_keep(entry, walk)?;
        if is_right {
            dir.warn_of_notes(error);
        }
        Ok(is_right)
    }

    /// The file, if it's in a local folder and needn't be made from another one with the same content; under its
    /// lock. May hash.
    pub fn keep(&self, entry: &Entry, cancel: &CancellationToken) -> Result<Option<PathBuf>> {
        match self {
            Self::Cache { .. } => Ok(None),
            Self::LocalDir { dir, commit, .. } => dir.keep(commit, entry, cancel),
        }
    }

    /// The file to fill, under the lock; its folder exists. It may hold the content of an earlier
    /// attempt.
    pub fn partial_path(&self, entry: &Entry, lock: &FileLock) -> Result<PathBuf> {
        match self {
            Self::Cache { repo, .. } => repo.partial_path(entry, lock),
            Self::LocalDir { dir, .. } => dir.partial_path(entry, lock),
        }
    }

    /// The beginning of the file that somebody else has left, killed in the middle of it (or at work, if
    /// `lock` doesn't keep everybody out). Not to be changed: it isn't ours.
    pub fn leftover(&self, entry: &Entry, lock: &FileLock) -> Result<Option<PathBuf>> {
        // What a look into the folder is worth: for each of thousands of small files that would be
        // more work than fetching them.
        const WORTHWHILE: u64 = 1 << 20;
        match self {
            _ if entry.size < WORTHWHILE => Ok(None),
            Self::Cache { repo, .. } => repo.leftover(entry, lock),
            Self::LocalDir { dir, .. } => dir.leftover(entry, lock),
        }
    }

    /// Whether upper and lower case are one in the names of the files. Makes the folder to find out.
    pub fn folds_case(&self) -> Result<bool> {
        let folder = match self {
            Self::Cache { repo, .. } => repo.private_folder()?,
            Self::LocalDir { dir, .. } => dir.private_folder()?,
        };
        disk::folds_case(&folder).map_err(|e| Error::io("write to", &folder, e))
    }

    /// What there is to see, from outside, of somebody else's work on the file.
    #[must_use]
    pub fn signs_of_life(&self, entry: &Entry) -> impl PartialEq + Send + use<> {
        let signs: Vec<Sign> = match self {
            Self::Cache { repo, .. } => repo.signs_of_life(entry),
            Self::LocalDir { dir, .. } => dir.signs_of_life(entry),
        };
        signs
    }

    /// Gives a partial file that is complete, verified and synced its final name, which is
    /// returned. The caller holds the lock, which keeps everybody out if `alone`; if not, what somebody else
    /// has finished meanwhile stays. `share`: its *Xet* hash was verified, so other repos of the cache may
    /// have it.
    pub fn install(
        &self,
        entry: &Entry,
        partial: &Path,
        share: bool,
        alone: bool,
    ) -> Result<PathBuf> {
        match self {
            Self::Cache { repo, commit } => repo.install(commit, entry, partial, share, alone),
            Self::LocalDir { dir, commit, .. } => dir.install(commit, entry, partial, alone),
        }
    }

    /// Makes `entry` from `done`, another file with the same content that is in its final place,
    /// and returns its path. The caller holds the lock of `entry`.
    pub fn duplicate(
        &self,
        done: &Entry,
        entry: &Entry,
        lock: &FileLock,
        cancel: &CancellationToken,
    ) -> Result<PathBuf> {
        let source = self.final_path(done)?;
        match self {
            Self::Cache { repo, commit } => {
                if repo.has_blob(entry)? {
                    repo.link(commit, entry, cancel)
                } else {
                    // Without symbolic links the snapshot holds the only copy.
                    repo.copy_pointer(commit, &source, entry, cancel)
                }
            }
            Self::LocalDir { dir, commit, .. } => {
                dir.copy_from(&source, commit, entry, lock, cancel)?.ok_or_else(|| {
                    Error::io(
                        "copy",
                        &source,
                        std::io::Error::other("it changed meanwhile, or can't be read"),
                    )
                })
            }
        }
    }

    /// The listing of the commit, if it's on disk.
    pub fn read_tree(&self) -> Result<Option<Listing>> {
        match self {
            Self::Cache { repo, commit } => repo.read_tree(commit),
            Self::LocalDir { dir, commit, .. } => dir.read_tree(commit),
        }
    }

    /// Keeps a whole listing, before patterns are applied. Without it downloads work all the same,
    /// so callers may log the failure and go on.
    pub fn write_tree(&self, listing: &Listing) -> Result<()> {
        match self {
            Self::Cache { repo, .. } => repo.write_tree(listing),
            Self::LocalDir { dir, .. } => dir.write_tree(listing),
        }
    }

    /// Forgets the listing of the commit, which has turned out to be wrong.
    pub fn forget_tree(&self) {
        match self {
            Self::Cache { repo, commit } => repo.forget_tree(commit),
            Self::LocalDir { dir, commit, .. } => dir.forget_tree(commit),
        }
    }

    /// What `revision` stands for is to be remembered before the first file gets its name: see
    /// [`RepoCache::announce`]. A local folder gets its ref when all files are there, since until then
    /// it may hold another revision's.
    pub fn announce_with_first(&self, revision: &Revision) {
        if let Self::Cache { repo, .. } = self {
            repo.announce_with_first(revision);
        }
    }

    /// The same now, if somebody else made the pointers: from here on pruning leaves them alone.
    pub fn announce_now(&self) {
        if let Self::Cache { repo, commit } = self {
            repo.announce_now(commit);
        }
    }

    /// What is only to be remembered once all files are there: what a local folder holds.
    pub fn announce_at_last(&self, revision: &Revision) {
        if let Self::LocalDir { .. } = self
            && let Err(error) = self.write_ref(revision)
        {
            tracing::warn!(%error, "can't remember what the revision stands for");
        }
    }

    /// The same at once, for files that are all there. Returns whether a ref named the commit already,
    /// so that pruning has left them alone; nobody prunes a local folder.
    pub fn announce(&self, revision: &Revision) -> Result<bool> {
        match self {
            Self::Cache { repo, commit } => repo.announce(revision, commit),
            Self::LocalDir { .. } => Ok(true),
        }
    }

    /// Where names were made.
    fn new_names(&self) -> Vec<&NewNames> {
        match self {
            Self::Cache { repo, .. } => vec![repo.names()],
            Self::LocalDir { dir, repo, .. } => vec![dir.names(), repo.names()],
        }
    }

    /// Remembers what `revision` stands for: call it when the files are there. See
    /// [`RepoCache::write_ref`].
    pub fn write_ref(&self, revision: &Revision) -> Result<()> {
        match self {
            Self::Cache { repo, commit } => repo.write_ref(revision, commit)?,
            Self::LocalDir { dir, repo, commit } => {
                LocalDir::of_cache(repo, repo.write_ref(revision, commit));
                dir.write_ref(repo.repo(), revision, commit)?
            }
        };
        Ok(())
    }
}

/// Brings the names of finished files to the disk, at the latest when it's dropped: the next attempt
/// counts on those of a call that failed or was cancelled, too.
pub(crate) struct LastSync(Arc<Target>);

impl LastSync {
    pub(crate) fn new(target: &Arc<Target>) -> Self {
        Self(Arc::clone(target))
    }

    /// Those that haven't been synced, whichever call made them, each folder once. One that fails leaves
    /// none of the others behind.
    pub(crate) fn sync(&self, walk: &Walk) -> Result<()> {
        let mut failed = None;
        for names in self.0.new_names() {
            let synced = walk.each(&names.unsynced(), |folder| Ok(names.sync(folder).err()))?;
            failed = failed.or(synced.into_iter().flatten().next());
        }
        failed.map_or(Ok(()), Err)
    }
}

impl Drop for LastSync {
    fn drop(&mut self) {
        // Not in a walk of the call's, which may have been told to stop.
        for names in self.0.new_names() {
            for folder in names.unsynced() {
                if let Err(error) = names.sync(&folder) {
                    tracing::warn!(%error, "names of finished files may not outlive a power cut");
                }
            }
        }
    }
}

/// Files of one commit with the same content: it's fetched once.
#[derive(Clone, Debug)]
pub struct Group {
    /// The one to fetch.
    pub first: Entry,
    /// The ones to [duplicate](Target::duplicate) from it.
    pub others: Vec<Entry>,
}

/// Groups entries by etag, in the order of their first files.
#[must_use]
pub fn dedupe(entries: impl IntoIterator<Item = Entry>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut by_etag: HashMap<String, usize> = HashMap::new();
    for entry in entries {
        if let Some(&i) = by_etag.get(entry.etag()) {
            groups[i].others.push(entry);
        } else {
            by_etag.insert(entry.etag().to_owned(), groups.len());
            groups.push(Group { first: entry, others: Vec::new() });
        }
    }
    groups
}
