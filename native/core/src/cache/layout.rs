//! Where things are in the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::shared;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Repo, RepoPath, Revision};
use crate::sys::files::{self, Sign};
use crate::sys::lock::FileLock;
use crate::sys::names::{NamesByPlace, NewNames};

/// The name of a repo's own lock, among those of its blobs, which are hashes.
pub(super) const REPO_LOCK: &str = "repo.xet.lock";

/// A Hub cache (`HF_HUB_CACHE`). Cheap to clone; for any thread.
#[derive(Clone, Debug)]
pub struct Cache(Arc<CacheState>);

#[derive(Debug)]
struct CacheState {
    root: PathBuf,
    shared_blobs: bool,
    /// Cleared for good when the file system turns out to have no symbolic links.
    symlinks: AtomicBool,
    names: NamesByPlace,
}

impl Cache {
    /// A cache at `root`, which is created when something is written.
    ///
    /// `symlinks` is false for `HF_HUB_DISABLE_SYMLINKS`: snapshots then hold the files themselves.
    /// `shared_blobs` is false for `HF_HUB_DISABLE_SHARED_BLOBS` and for plain HTTP: Xet
    /// files then aren't shared between repos.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, symlinks: bool, shared_blobs: bool) -> Self {
        Self(Arc::new(CacheState {
            root: root.into(),
            shared_blobs,
            symlinks: AtomicBool::new(symlinks),
            names: NamesByPlace::default(),
        }))
    }

    /// The cache folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// The part of the cache that belongs to one repo.
    #[must_use]
    pub fn repo(&self, repo: &Repo) -> RepoCache {
        let folder = self.0.root.join(repo.folder_name());
        RepoCache(Arc::new(RepoState {
            cache: self.clone(),
            repo: repo.clone(),
            file_mode: OnceLock::new(),
            names: self.names_in(&folder),
            folder,
            announcement: Mutex::default(),
            kin: OnceLock::new(),
        }))
    }

    /// Names the way out where `error` says that the cache can't be used at all, such as below a home folder
    /// that nobody has.
    #[must_use]
    pub fn explain(&self, error: Error) -> Error {
        let file = error.context().file.as_deref().map(Path::new);
        let is_here =
            file.is_some_and(|file| file.starts_with(self.root()) || self.root().starts_with(file));
        let cause = std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>());
        let is_no_folder = cause.is_some_and(|e| e.kind() == io::ErrorKind::NotADirectory);
        if !is_here || !(error.kind() == Kind::LocalPermission || is_no_folder) {
            return error;
        }
        error.advise("cache_dir, HF_HUB_CACHE or HF_HOME says where the cache can be")
    }

    /// Where names were made in a repo's folder, or another, by whichever call.
    pub(super) fn names_in(&self, folder: &Path) -> Arc<NewNames> {
        self.0.names.of(folder)
    }

    /// The locks of a repo, by the name of its folder.
    pub(super) fn locks(&self, repo_folder: &str) -> PathBuf {
        self.root().join(".locks").join(repo_folder)
    }

    /// See [`RepoCache::repo_lock_path`].
    pub(super) fn repo_lock_path(&self, repo_folder: &str) -> PathBuf {
        self.locks(repo_folder).join(REPO_LOCK)
    }

    /// Whether there is a shared store whose layout is known.
    pub(super) fn is_store(&self) -> bool {
        shared::Store::new(self.root()).is_ours()
    }

    pub(super) fn symlinks(&self) -> bool {
        self.0.symlinks.load(Ordering::Relaxed)
    }

    pub(super) fn shared_blobs(&self) -> bool {
        self.0.shared_blobs && self.symlinks()
    }

    /// There are no symbolic links here after all.
    pub(super) fn give_up_symlinks(&self) {
        if self.0.symlinks.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                cache = %self.0.root.display(),
                "the file system has no symbolic links; each revision takes its own space"
            );
        }
    }
}

/// The part of a cache that belongs to one repo. Cheap to clone; for any thread.
#[derive(Clone, Debug)]
pub struct RepoCache(Arc<RepoState>);

#[derive(Debug)]
struct RepoState {
    cache: Cache,
    repo: Repo,
    folder: PathBuf,
    file_mode: OnceLock<u32>,
    names: Arc<NewNames>,
    /// The ref to write before the first pointer is made.
    announcement: Mutex<Option<Revision>>,
    /// Other folders of the same repo, once somebody has looked for them.
    kin: OnceLock<Vec<PathBuf>>,
}

impl RepoCache {
    /// The cache that it's part of.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// The repo.
    #[must_use]
    pub fn repo(&self) -> &Repo {
        &self.0.repo
    }

    /// `<root>/models--org--name`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// `snapshots/<commit>`: the files of one commit.
    #[must_use]
    pub fn snapshot_folder(&self, commit: &CommitId) -> PathBuf {
        self.0.folder.join("snapshots").join(commit.as_str())
    }

    /// The path of a file in the snapshot of a commit, whether it's there or not.
    pub fn pointer_path(&self, commit: &CommitId, path: &RepoPath) -> Result<PathBuf> {
        files::join(&self.snapshot_folder(commit), path)
    }

    /// `blobs/<etag>`: the content of a file, whether it's there or not.
    pub fn blob_path(&self, entry: &Entry) -> Result<PathBuf> {
        Ok(self.0.folder.join("blobs").join(files::blob_name(entry)?))
    }

    /// The lock for writing that blob. `huggingface_hub` takes the same.
    pub fn lock_path(&self, entry: &Entry) -> Result<PathBuf> {
        let locks = self.0.cache.locks(&self.0.repo.folder_name());
        Ok(locks.join(format!("{}.lock", files::blob_name(entry)?)))
    }

    /// The lock that every call which relies on the repo's files shares with the others, from the
    /// first look until it returns, and that pruning takes for itself alone. In a folder that
    /// `scan_cache_dir` doesn't look into.
    #[must_use]
    pub fn repo_lock_path(&self) -> PathBuf {
        self.0.cache.repo_lock_path(&self.0.repo.folder_name())
    }

    pub(super) fn announcement(&self) -> MutexGuard<'_, Option<Revision>> {
        self.0.announcement.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`find_kin`](Self::find_kin).
    pub(super) fn kin(&self) -> &OnceLock<Vec<PathBuf>> {
        &self.0.kin
    }

    /// Where names were made in this repo's part of the cache.
    pub(super) fn names(&self) -> &NewNames {
        &self.0.names
    }

    /// The file that receives the content of a blob. It stays when a download breaks off, so that
    /// the next one goes on from it. Its folder exists afterwards.
    ///
    /// `lock` is the blob's. Where it may not keep everybody out the name is a new one each time, as two
    /// downloads would write to one file; [`leftover`](Self::leftover) finds what others have left then.
    pub fn partial_path(&self, entry: &Entry, lock: &FileLock) -> Result<PathBuf> {
        let name = partial_name(files::blob_name(entry)?, lock);
        let partial = self.private_folder()?.join(name);
        files::remove_unless_file(&partial)?;
        Ok(partial)
    }

    /// What others have left of a blob: `huggingface_hub` `blobs/<etag>.<random>.incomplete`, and where `lock`
    /// doesn't keep everybody out, those who had partial files of their own.
    pub fn leftover(&self, entry: &Entry, lock: &FileLock) -> Result<Option<PathBuf>> {
        let etag = files::blob_name(entry)?;
        let ours = |name: &str| name.strip_prefix(etag).is_some_and(|rest| rest.starts_with('.'));
        let theirs = files::largest(&self.0.folder.join("blobs"), ".incomplete", entry.size, ours);
        if lock.keeps_all_out() || theirs.is_some() {
            return Ok(theirs);
        }
        Ok(files::largest(&self.0.folder.join(".xet"), ".partial", entry.size, ours))
    }

    /// Partial files of a blob, ours and others'.
    pub(super) fn signs_of_life(&self, entry: &Entry) -> Vec<Sign> {
        let folders = [".xet", "blobs"].map(|name| self.0.folder.join(name));
        folders.iter().flat_map(|folder| files::signs(folder, entry.etag())).collect()
    }

    /// Our own folder in the repo's folder, made if need be. `huggingface_hub` doesn't look at it.
    pub(super) fn private_folder(&self) -> Result<PathBuf> {
        let folder = self.0.folder.join(".xet");
        if !folder.is_dir() {
            self.make_folder()?;
            self.names().create_folder(&folder)?;
            files::tag_as_cache(self.0.cache.root());
        }
        Ok(folder)
    }

    /// Makes the repo's folder, if need be, with a folder for snapshots in it: without one,
    /// `scan_cache_dir` reports the repo as corrupted, even before anything has come.
    pub(super) fn make_folder(&self) -> Result<()> {
        self.names().create_folder(&self.0.folder.join("snapshots"))
    }

    /// The permissions of a new file in this repo's folder.
    pub(super) fn file_mode(&self) -> Result<u32> {
        if let Some(mode) = self.0.file_mode.get() {
            return Ok(*mode);
        }
        let mode = files::default_mode(&self.private_folder()?)?;
        Ok(*self.0.file_mode.get_or_init(|| mode))
    }
}

/// The name of a partial file for what `key` names.
pub(crate) fn partial_name(key: &str, lock: &FileLock) -> String {
    if lock.keeps_all_out() {
        format!("{key}.partial")
    } else {
        format!("{key}.{}.partial", files::random_hex())
    }
}
