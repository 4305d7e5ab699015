//! Downloads to a folder of the user's: real files, and beside them, in `.cache/huggingface`, what
//! is needed to tell later that they are current. The layout is `huggingface_hub`'s.
//!
//! ```text
//! <root>/<path>
//! <root>/.cache/huggingface/CACHEDIR.TAG, .gitignore
//! <root>/.cache/huggingface/download/<path>.metadata
//! <root>/.cache/huggingface/download/<path>.verified                            ours
//! <root>/.cache/huggingface/download/<path>.lock
//! <root>/.cache/huggingface/download/<folder>/<hash of name>.metadata~, ...       ours: long names
//! <root>/.cache/huggingface/download/<folder>/<hash of name>.<etag>.partial     ours
//! <root>/.cache/huggingface/trees/<commit>.json
//! <root>/.cache/huggingface/refs/models--org--name/<revision>                   ours
//! ```

mod truth;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sha1::{Digest, Sha1};
use tokio_util::sync::CancellationToken;

pub(super) use self::truth::Origin;
pub use self::truth::is_bookkeeping;
use super::layout::{Cache, RepoCache, partial_name};
use super::metadata::Metadata;
use super::place::place;
use super::{refs, tree};
use crate::model::content;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Listing, Repo, RepoPath, Revision};
use crate::sys::files::{self, Sign};
use crate::sys::lock::FileLock;
use crate::sys::names::NewNames;
use crate::sys::refused;

/// A folder that receives real files. Cheap to clone; for any thread.
#[derive(Clone, Debug)]
pub struct LocalDir(Arc<State>);

#[derive(Debug)]
struct State {
    root: PathBuf,
    /// The way from there to the cache, if that is in the folder; empty if the folder is the cache.
    cache: Option<String>,
    file_mode: OnceLock<u32>,
    /// See [`LocalDir::partials`].
    partials: Mutex<HashMap<PathBuf, Arc<Vec<String>>>>,
    names: Arc<NewNames>,
}

impl LocalDir {
    /// The folder at `root`, which is created when something is written, and is filled with the help of
    /// `cache`. It may be among the repos of a cache, and not in one of them.
    pub fn new(root: &Path, cache: &Cache) -> Result<Self> {
        let root = files::real_path(root)?;
        let (file_mode, partials) = (OnceLock::new(), Mutex::default());
        let names = cache.names_in(&root);
        // Where that can't be found out, there is no cache.
        let cache = files::real_path(cache.root()).unwrap_or_else(|_| cache.root().to_path_buf());
        let inside = root.strip_prefix(&cache).ok().map(Path::to_string_lossy);
        if inside.is_some_and(|inside| truth::is_of_cache(&inside, "")) {
            let problem = format!(
                "{} is a part of the cache {}, where other downloads would take its files for what they \
                 look for; choose a folder elsewhere",
                root.display(),
                cache.display()
            );
            return Err(Error::invalid("options.local_dir", problem));
        }
        let below = cache.strip_prefix(&root).ok();
        let cache = below.map(|below| below.to_string_lossy().into_owned());
        Ok(Self(Arc::new(State { root, cache, file_mode, partials, names })))
    }

    /// The folder, absolute and without links.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Where a file goes. Refuses what git or a later download would take for their own.
    pub fn file_path(&self, path: &RepoPath) -> Result<PathBuf> {
        let place = if truth::is_of_git(path.as_str()) {
            ".git"
        } else if is_bookkeeping(path.as_str()) {
            ".cache/huggingface, where it is noted what a folder's files are"
        } else if self
            .0
            .cache
            .as_ref()
            .is_some_and(|cache| truth::is_of_cache(path.as_str(), cache))
        {
            "the cache, where other files are looked for"
        } else {
            return files::join(self.root(), path);
        };
        Err(Error::new(Kind::UnsafePath, format!("{path}: won't write into {place}"))
            .with(|c| c.file = Some(path.to_string())))
    }

    /// The lock for writing a file and its metadata, in a folder that exists afterwards.
    /// `huggingface_hub` takes the same. Refuses what [`file_path`](Self::file_path) does.
    pub fn lock_path(&self, path: &RepoPath) -> Result<PathBuf> {
        self.file_path(path)?;
        self.prepare(path)?;
        self.bookkeeping(path, "lock")
    }

    /// The file that receives the content, as [`RepoCache::partial_path`].
    pub fn partial_path(&self, entry: &Entry, lock: &FileLock) -> Result<PathBuf> {
        let metadata = self.prepare(&entry.path)?;
        let name = partial_name(&partial_key(&metadata, files::blob_name(entry)?), lock);
        let partial = metadata.with_file_name(name);
        files::remove_unless_file(&partial)?;
        Ok(partial)
    }

    /// That file's path where there are locks, whether it's there or not.
    pub(super) fn find_partial(&self, entry: &Entry) -> Result<PathBuf> {
        let metadata = self.bookkeeping(&entry.path, "metadata")?;
        let name = format!("{}.partial", partial_key(&metadata, files::blob_name(entry)?));
        Ok(metadata.with_file_name(name))
    }

    /// What others have left of the content, as [`RepoCache::leftover`]: `huggingface_hub`
    /// `<hash of name>.<etag>.<random>.incomplete`.
    pub fn leftover(&self, entry: &Entry, lock: &FileLock) -> Result<Option<PathBuf>> {
        let etag = format!(".{}.", files::blob_name(entry)?);
        let metadata = self.bookkeeping(&entry.path, "metadata")?;
        let left = |ending| {
            let folder = files::parent(&metadata);
            files::largest(folder, ending, entry.size, |name| name.contains(&etag))
        };
        let theirs = left(".incomplete");
        Ok(if lock.keeps_all_out() { theirs } else { theirs.or_else(|| left(".partial")) })
    }

    /// Partial files of the content, ours and others'.
    pub(super) fn signs_of_life(&self, entry: &Entry) -> Vec<Sign> {
        let metadata = self.bookkeeping(&entry.path, "metadata");
        let signs = metadata.map(|path| files::signs(files::parent(&path), entry.etag()));
        signs.unwrap_or_default()
    }

    /// The file, if it's there, with the right content as was noted, and its metadata say that it's the one
    /// of this commit. Takes no lock and changes nothing.
    pub fn find(&self, commit: &CommitId, entry: &Entry) -> Result<Option<PathBuf>> {
        let path = self.file_path(&entry.path)?;
        let current = self.has_noted(entry)? && self.is_of(commit, entry)?;
        Ok(current.then_some(path))
    }

    /// Finds out whether the file is there by more work than [`find`](Self::find), or copies it
    /// from the cache. The caller holds the lock.
    ///
    /// A file is current if its hash is right, or was when it was last looked at. A copy is checked before
    /// it gets its name.
    pub fn adopt(
        &self,
        cache: &RepoCache,
        commit: &CommitId,
        entry: &Entry,
        lock: &FileLock,
        cancel: &CancellationToken,
    ) -> Result<Option<PathBuf>> {
        if let Some(path) = self.keep(commit, entry, cancel)? {
            return Ok(Some(path));
        }
        match Self::of_cache(cache, cache.find_content(commit, entry)) {
            Some(source) => self.copy_from(&source, commit, entry, lock, cancel),
            None => Ok(None),
        }
    }

    /// What `cache` has, if it can be used: a local folder needs none.
    pub(super) fn of_cache<T: Default>(cache: &RepoCache, found: Result<T>) -> T {
        found.unwrap_or_else(|error| {
            let root = cache.cache().root();
            refused::warn_once(
                "the cache can't be read, so nothing is taken from it",
                root,
                &error,
            );
            T::default()
        })
    }

    /// Gives verified content its final name, notes the metadata, and returns the path. The caller
    /// holds the lock, which keeps everybody out if `alone`; `partial` is complete, checked and synced, and is
    /// gone afterwards. The old file is there until the new one replaces it. A link in its place is replaced
    /// too; a folder that is a link out of the root is an error.
    pub fn install(
        &self,
        commit: &CommitId,
        entry: &Entry,
        partial: &Path,
        alone: bool,
    ) -> Result<PathBuf> {
        let path = self.file_path(&entry.path)?;
        let metadata = self.prepare(&entry.path)?;
        self.name(&entry.path, || {
            self.names().create_folder_within(self.root(), files::parent(&path))
        })?;
        // What is noted is noted of this file, whatever has its name a moment later.
        let file = files::settle(partial)?;
        files::set_mode(partial, self.file_mode(partial)?);
        // If we're killed between these steps, the file has no metadata and is judged by its hash.
        // With the old ones it could pass for the old file: it may have been written before them.
        Metadata::remove(&metadata)?;
        let is_ours =
            self.name(&entry.path, || place(self.names(), entry, partial, &path, alone))?;
        if is_ours {
            let found = file.metadata().map_err(|e| Error::io("look at", &path, e))?;
            Metadata::write(&metadata, commit, entry, &found)?;
            self.note(entry, &found)?;
        } else {
            self.keep(commit, entry, &CancellationToken::new())?;
        }
        self.remove_outdated(&metadata, entry);
        Ok(path)
    }

    /// The listing of a commit, if one is kept here.
    pub fn read_tree(&self, commit: &CommitId) -> Result<Option<Listing>> {
        tree::read(&self.folder(), commit)
    }

    /// Keeps the listing of a commit here.
    pub fn write_tree(&self, listing: &Listing) -> Result<()> {
        self.prepare_folder(&self.folder().join("trees"))?;
        tree::write(&self.folder(), listing)
    }

    /// Forgets the listing of a commit.
    pub(super) fn forget_tree(&self, commit: &CommitId) {
        tree::forget(&self.folder(), commit);
    }

    /// The commit that a revision of `repo` stood for when it was last downloaded to here.
    pub fn read_ref(&self, repo: &Repo, revision: &Revision) -> Result<Option<CommitId>> {
        refs::read(&self.refs(repo), revision)
    }

    /// Remembers what a revision stands for. `huggingface_hub` puts this into the main cache only,
    /// where a ref without a snapshot counts as a corrupted repo.
    pub fn write_ref(&self, repo: &Repo, revision: &Revision, commit: &CommitId) -> Result<bool> {
        self.prepare_folder(&self.refs(repo))?;
        refs::write(&self.refs(repo), revision, commit, self.names())
    }

    /// Where names were made.
    pub(super) fn names(&self) -> &NewNames {
        &self.0.names
    }

    fn refs(&self, repo: &Repo) -> PathBuf {
        self.folder().join("refs").join(repo.folder_name())
    }

    /// The folder of the bookkeeping, which exists afterwards.
    pub(super) fn private_folder(&self) -> Result<PathBuf> {
        let folder = self.folder();
        self.prepare_folder(&folder)?;
        Ok(folder)
    }

    fn folder(&self) -> PathBuf {
        self.root().join(".cache").join("huggingface")
    }

    /// A name as long as names get leaves no room for an extension: a hash stands in its place, and the
    /// extension is one that no other file's has. How long they get is only known of a folder that exists.
    pub(super) fn bookkeeping(&self, path: &RepoPath, extension: &str) -> Result<PathBuf> {
        let beside = files::join(&self.folder().join("download"), path)?;
        let name = beside.file_name().unwrap_or_default();
        let mut full = name.to_owned();
        full.push(format!(".{extension}"));
        if files::is_too_long(&beside.with_file_name(&full)) {
            let hash = content::hex(&Sha1::digest(name.as_encoded_bytes()));
            full = format!("{hash}.{extension}~").into();
        }
        Ok(beside.with_file_name(full))
    }

    /// The path of a file's metadata, in a folder that exists.
    fn prepare(&self, path: &RepoPath) -> Result<PathBuf> {
        self.prepare_folder(files::parent(&self.bookkeeping(path, "metadata")?))?;
        self.bookkeeping(path, "metadata")
    }

    /// Makes a folder of the bookkeeping, and the two files that mark it as such.
    fn prepare_folder(&self, folder: &Path) -> Result<()> {
        let marked = self.folder().join(".gitignore").exists();
        self.names().create_folder_within(self.root(), folder)?;
        if !marked {
            files::tag_as_cache(&self.folder());
            files::write_once(&self.folder().join(".gitignore"), "*");
        }
        Ok(())
    }

    fn file_mode(&self, partial: &Path) -> Result<u32> {
        if let Some(mode) = self.0.file_mode.get() {
            return Ok(*mode);
        }
        let mode = files::default_mode(files::parent(partial))?;
        Ok(*self.0.file_mode.get_or_init(|| mode))
    }

    /// Removes partial files of other content for the same path: nobody will ask for them again.
    /// The caller holds the path's lock. (In the cache such files belong to other blobs, which
    /// other revisions may still want.)
    fn remove_outdated(&self, metadata: &Path, entry: &Entry) {
        let (folder, ours) = (files::parent(metadata), partial_key(metadata, ""));
        for name in self.partials(folder).iter() {
            if name.starts_with(&ours) && !name.contains(entry.etag()) {
                files::discard(&folder.join(name));
            }
        }
    }

    /// The partial files and journals that were in a folder when this was first asked: one look for
    /// all of the folder's files.
    fn partials(&self, folder: &Path) -> Arc<Vec<String>> {
        let mut seen = self.0.partials.lock().unwrap_or_else(PoisonError::into_inner);
        let list = seen.entry(folder.to_path_buf()).or_insert_with(|| {
            let found = fs::read_dir(folder).into_iter().flatten().flatten();
            let names = found.filter_map(|found| found.file_name().into_string().ok());
            let endings = [".partial", ".partial.chunks", ".partial.parts"];
            let is_partial = |name: &String| endings.iter().any(|ending| name.ends_with(ending));
            Arc::new(names.filter(is_partial).collect())
        });
        Arc::clone(list)
    }
}

/// What the name of a partial file begins with: two files of one folder can have the same etag, and
/// a file's own name may be as long as names get.
fn partial_key(metadata: &Path, etag: &str) -> String {
    let name = metadata.file_name().unwrap_or_default().as_encoded_bytes();
    format!("{}.{etag}", content::hex(&Sha1::digest(name)[..8]))
}

/// Whether it's a regular file, and not a link to one.
fn is_regular(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(e) if files::is_absent(&e) => Ok(false),
        Err(e) => Err(Error::name("look at", path, e)),
    }
}
