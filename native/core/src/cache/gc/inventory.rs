//! What is in a cache, and what holds on to what.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::layout::Cache;
use super::super::names::list;
use super::kept::{self, Kept};
use super::packs::{self, Pack};
use super::verify::Finding;
use super::{doubt, look};
use crate::call::walk::Walk;
use crate::model::error::Result;
use crate::model::repo::{Repo, is_lower_hex};
use crate::sys::files;

/// A whole cache.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Repos, by folder.
    pub repos: Vec<RepoFolder>,
    /// Content in the shared store.
    pub shared: Vec<SharedBlob>,
    /// What has come of contents out of storages, if the Xet cache was [looked at](Self::with_xet_cache).
    pub kept: Vec<Kept>,
    /// What was read in place, likewise.
    pub packs: Vec<Pack>,
}

/// One repo in a cache.
#[derive(Clone, Debug)]
pub struct RepoFolder {
    /// Its folder.
    pub folder: PathBuf,
    /// When it was looked at.
    pub(super) looked: SystemTime,
    /// When a revision was last made or removed.
    pub(super) revisions_changed: SystemTime,
    /// What it is on the Hub.
    pub repo: Repo,
    /// Commits that a ref names, each with a ref that does so.
    pub refs: BTreeMap<String, PathBuf>,
    /// Revisions.
    pub snapshots: Vec<Snapshot>,
    /// `blobs/<etag>`, by etag.
    pub blobs: BTreeMap<String, Blob>,
    /// What interrupted downloads have left.
    pub remains: Vec<Remains>,
    /// `snapshots` is a link that leads to others' folders: revisions there hold on to blobs, and aren't ours to
    /// remove.
    pub(super) has_foreign_revisions: bool,
    /// Blobs that are links and lead out of where the cache keeps things, which nobody follows.
    pub foreign: Vec<Finding>,
    /// Why nobody can tell what in it is needed. Pruning leaves such a repo alone.
    pub doubts: Vec<Finding>,
}

/// One revision of a repo in a cache.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// `snapshots/<commit>`.
    pub folder: PathBuf,
    /// The name of that folder.
    pub commit: String,
    /// Links to blobs: their paths, and the etags.
    pub pointers: Vec<(PathBuf, String)>,
    /// Files that aren't links, with their sizes.
    pub files: Vec<(PathBuf, u64)>,
    /// When something in it was made.
    pub changed: SystemTime,
    /// Its folders, the outer before the inner, and when a name in each was last made or removed.
    pub(super) folders: Vec<(PathBuf, SystemTime)>,
    /// What of it can't be looked at.
    pub(super) hidden: Vec<Finding>,
}

/// A blob of a repo.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its path, which may be a link into the shared store.
    pub path: PathBuf,
    /// Of the content.
    pub size: u64,
    /// What the link leads to is in the shared store under this Xet hash.
    pub shared: Option<String>,
    /// When the content was last read or written, as far as the file system keeps count.
    pub used: SystemTime,
    /// Device and inode of the content.
    pub(super) inode: (u64, u64),
    /// It's a link, to wherever.
    pub(super) is_link: bool,
    /// Removing this one frees nothing.
    pub(super) has_other_names: bool,
}

/// Content in the shared store.
#[derive(Clone, Debug)]
pub struct SharedBlob {
    /// `blobs/<xx>/<xet hash>`.
    pub path: PathBuf,
    /// Its name.
    pub hash: String,
    /// In bytes.
    pub size: u64,
    /// Whether a repo's blob links to it, or one can't know: it has no manifest.
    pub is_referenced: bool,
    /// As in [`Blob`].
    pub used: SystemTime,
    pub(super) inode: (u64, u64),
    pub(super) has_other_names: bool,
    /// Whether something that isn't a blob in the inventory may need it.
    pub(super) is_needed_elsewhere: bool,
}

/// A file that an interrupted download has left.
#[derive(Clone, Debug)]
pub struct Remains {
    /// Of ours, or of `huggingface_hub`.
    pub path: PathBuf,
    /// The blob that it was going to be.
    pub etag: String,
    /// In bytes.
    pub size: u64,
    /// When it was last written to.
    pub changed: SystemTime,
}

/// How much a cache takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Repos in it.
    pub repos: u64,
    /// Revisions of them.
    pub revisions: u64,
    /// Contents: files, each counted once.
    pub files: u64,
    /// What they take.
    pub bytes: u64,
    /// What of that no ref leads to.
    pub bytes_unreferenced: u64,
    /// What interrupted downloads have left.
    pub bytes_partial: u64,
    /// What is kept of what was read in place.
    pub read_bytes: u64,
}

impl Inventory {
    /// Looks at all of a cache. What disappears meanwhile isn't in it.
    pub fn take(cache: &Cache, walk: &Walk) -> Result<Self> {
        let mut folders = Vec::new();
        for found in list(cache.root())? {
            if let Some(repo) = Repo::from_folder_name(&found.name)
                && found.path.is_dir()
            {
                folders.push((found.path, repo));
            }
        }
        let mut repos = look::repos(cache.root(), folders, walk)?;
        doubt::raise(&mut repos);
        for doubt in repos.iter().flat_map(|repo| &repo.doubts) {
            let (path, reason) = (doubt.path.display(), &doubt.reason);
            tracing::warn!(%path, reason, "a repo in the cache isn't understood");
        }
        let shared = if cache.is_store() { look::shared(cache, &repos, walk)? } else { Vec::new() };
        Ok(Self { repos, shared, ..Self::default() })
    }

    /// The same with what of ours is in this Xet cache.
    pub fn with_xet_cache(mut self, xet_cache: &Path, walk: &Walk) -> Result<Self> {
        self.kept = Kept::all_in(&kept::folder(xet_cache), walk)?;
        self.packs = Pack::all_in(&packs::folder(xet_cache), walk)?;
        Ok(self)
    }

    /// Sums up.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage { repos: self.repos.len() as u64, ..Usage::default() };
        usage.bytes_partial += self.kept.iter().map(|kept| kept.size).sum::<u64>();
        usage.read_bytes = self.packs.iter().map(|pack| pack.size).sum();
        let mut referenced = HashSet::new();
        for repo in &self.repos {
            usage.revisions += repo.own_revisions().len() as u64;
            usage.bytes_partial += repo.remains.iter().map(|remains| remains.size).sum::<u64>();
            for etag in repo.referenced() {
                referenced.extend(repo.blobs.get(etag).map(|blob| blob.inode));
            }
        }
        let mut seen = HashSet::new();
        let blobs = self.repos.iter().flat_map(|repo| repo.blobs.values());
        let contents = blobs.map(|blob| (blob.inode, blob.size));
        let shared = self.shared.iter().map(|blob| (blob.inode, blob.size));
        for (inode, size) in contents.chain(shared) {
            if seen.insert(inode) {
                usage.files += 1;
                usage.bytes += size;
                if !referenced.contains(&inode) {
                    usage.bytes_unreferenced += size;
                }
            }
        }
        for repo in &self.repos {
            for snapshot in repo.own_revisions() {
                let bytes: u64 = snapshot.files.iter().map(|(_, size)| size).sum();
                usage.files += snapshot.files.len() as u64;
                usage.bytes += bytes;
                if !repo.refs.contains_key(&snapshot.commit) {
                    usage.bytes_unreferenced += bytes;
                }
            }
        }
        usage
    }
}

impl RepoFolder {
    /// Those of the revisions that are this repo's, and not others' to which a link leads.
    pub(super) fn own_revisions(&self) -> &[Snapshot] {
        if self.has_foreign_revisions { &[] } else { &self.snapshots }
    }

    /// What isn't followed or understood in it.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.foreign.iter().chain(&self.doubts)
    }

    /// The etags of blobs that revisions link to which a ref names.
    pub(super) fn referenced(&self) -> impl Iterator<Item = &str> {
        let named =
            self.snapshots.iter().filter(|snapshot| self.refs.contains_key(&snapshot.commit));
        named.flat_map(|snapshot| snapshot.pointers.iter().map(|(_, etag)| etag.as_str()))
    }
}

impl Blob {
    /// What a blob is, if it's there, given what `lstat` says of it.
    pub(super) fn new(path: &Path, found: &Metadata) -> Option<Self> {
        let target = if found.is_symlink() { Some(fs::read_link(path).ok()?) } else { None };
        let shared = target.as_deref().and_then(|target| {
            let name = target.file_name()?.to_str()?.to_owned();
            is_lower_hex(&name, 64).then_some(name)
        });
        let followed = if found.is_symlink() { fs::metadata(path).ok()? } else { found.clone() };
        followed.is_file().then(|| Self {
            path: path.to_path_buf(),
            size: followed.len(),
            shared,
            used: used(&followed),
            inode: (followed.dev(), followed.ino()),
            is_link: found.is_symlink(),
            has_other_names: found.nlink() > 1,
        })
    }
}

/// Whether a blob is a link to shared content, as far as one can tell: one that can't be looked at,
/// in somebody else's folder for example, may be.
pub(super) fn leads_to(blob: &Path, content: &Path) -> bool {
    match (fs::canonicalize(blob), fs::canonicalize(content)) {
        (Ok(end), Ok(content)) => end == content,
        (Err(e), _) | (_, Err(e)) => !files::is_absent(&e),
    }
}

/// Reading counts where the file system keeps count of it.
pub(super) fn used(found: &Metadata) -> SystemTime {
    let modified = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    found.accessed().unwrap_or(modified).max(modified)
}

/// How long ago that was.
pub(super) fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}
