//! What is in a cache, and what holds on to what.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::layout::Cache;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Repo, is_lower_hex};
use crate::sys::files;

/// A whole cache.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Repos, by folder.
    pub repos: Vec<RepoFolder>,
    /// Content in the shared store.
    pub shared: Vec<SharedBlob>,
}

/// One repo in a cache.
#[derive(Clone, Debug)]
pub struct RepoFolder {
    /// Its folder.
    pub folder: PathBuf,
    /// What it is on the Hub.
    pub repo: Repo,
    /// Commits that a ref names.
    pub refs: BTreeSet<String>,
    /// Revisions.
    pub snapshots: Vec<Snapshot>,
    /// `blobs/<etag>`, by etag.
    pub blobs: BTreeMap<String, Blob>,
    /// What interrupted downloads have left.
    pub remains: Vec<Remains>,
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
}

impl Inventory {
    /// Looks at all of a cache. What disappears meanwhile isn't in it.
    pub fn take(cache: &Cache) -> Result<Self> {
        let mut inventory = Self::default();
        for (name, path) in entries(cache.root())? {
            if let Some(repo) = Repo::from_folder_name(&name)
                && path.is_dir()
            {
                inventory.repos.push(RepoFolder::look(path, repo)?);
            }
        }
        if cache.is_store() {
            for (_, folder) in entries(&cache.root().join("blobs"))? {
                for (hash, path) in entries(&folder)? {
                    inventory.shared.extend(SharedBlob::look(cache.root(), path, hash));
                }
            }
        }
        Ok(inventory)
    }

    /// Sums up.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage { repos: self.repos.len() as u64, ..Usage::default() };
        let mut referenced = HashSet::new();
        for repo in &self.repos {
            usage.revisions += repo.snapshots.len() as u64;
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
            for snapshot in &repo.snapshots {
                let bytes: u64 = snapshot.files.iter().map(|(_, size)| size).sum();
                usage.files += snapshot.files.len() as u64;
                usage.bytes += bytes;
                if !repo.refs.contains(&snapshot.commit) {
                    usage.bytes_unreferenced += bytes;
                }
            }
        }
        usage
    }
}

impl RepoFolder {
    fn look(folder: PathBuf, repo: Repo) -> Result<Self> {
        let mut refs = BTreeSet::new();
        read_refs(&folder.join("refs"), &mut refs)?;
        let mut snapshots = Vec::new();
        for (commit, path) in entries(&folder.join("snapshots"))? {
            if is_folder(&path) {
                snapshots.push(Snapshot::at(&path, &commit)?);
            }
        }
        let mut blobs = BTreeMap::new();
        let mut remains = Vec::new();
        for (name, path) in entries(&folder.join("blobs"))? {
            if is_lower_hex(&name, 40) || is_lower_hex(&name, 64) {
                blobs.extend(Blob::look(&path).map(|blob| (name, blob)));
            } else if name.ends_with(".incomplete") {
                remains.extend(Remains::look(path, &name));
            }
        }
        let ours = folder.join(".xet");
        if is_folder(&ours) {
            for (name, path) in entries(&ours)? {
                remains.extend(Remains::look(path, &name));
            }
        }
        Ok(Self { folder, repo, refs, snapshots, blobs, remains })
    }

    /// The etags of blobs that revisions link to which a ref names.
    pub(super) fn referenced(&self) -> impl Iterator<Item = &str> {
        let named = self.snapshots.iter().filter(|snapshot| self.refs.contains(&snapshot.commit));
        named.flat_map(|snapshot| snapshot.pointers.iter().map(|(_, etag)| etag.as_str()))
    }

    /// Any commit that is known of it.
    #[must_use]
    pub fn some_commit(&self) -> Option<CommitId> {
        let snapshots = self.snapshots.iter().map(|snapshot| &snapshot.commit);
        self.refs.iter().chain(snapshots).find_map(|commit| CommitId::parse(commit))
    }
}

impl Snapshot {
    /// Looks at a revision's folder.
    pub(super) fn at(folder: &Path, commit: &str) -> Result<Self> {
        let changed = fs::metadata(folder).and_then(|m| m.modified());
        let mut snapshot = Self {
            folder: folder.to_path_buf(),
            commit: commit.to_owned(),
            pointers: Vec::new(),
            files: Vec::new(),
            changed: changed.unwrap_or(SystemTime::UNIX_EPOCH),
        };
        snapshot.walk(folder)?;
        Ok(snapshot)
    }

    fn walk(&mut self, folder: &Path) -> Result<()> {
        for (_, path) in entries(folder)? {
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => found,
                Err(e) if files::is_absent(&e) => continue,
                // A link that can't be seen may be the one that a blob is kept for.
                Err(e) => return Err(Error::io("look at", &path, e)),
            };
            self.changed = self.changed.max(found.modified().unwrap_or(SystemTime::UNIX_EPOCH));
            if found.is_dir() {
                self.walk(&path)?;
            } else if found.is_symlink() {
                let target = fs::read_link(&path).unwrap_or_default();
                let etag = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.pointers.push((path, etag));
            } else {
                self.files.push((path, found.len()));
            }
        }
        Ok(())
    }
}

impl Blob {
    fn look(path: &Path) -> Option<Self> {
        let content = fs::metadata(path).ok().filter(Metadata::is_file)?;
        let shared = fs::read_link(path).ok().and_then(|target| {
            let name = target.file_name()?.to_str()?.to_owned();
            is_lower_hex(&name, 64).then_some(name)
        });
        Some(Self {
            path: path.to_path_buf(),
            size: content.len(),
            shared,
            used: used(&content),
            inode: (content.dev(), content.ino()),
        })
    }
}

impl SharedBlob {
    fn look(root: &Path, path: PathBuf, hash: String) -> Option<Self> {
        let content = fs::symlink_metadata(&path).ok().filter(Metadata::is_file)?;
        is_lower_hex(&hash, 64).then(|| Self {
            is_referenced: is_referenced(root, &path),
            hash,
            size: content.len(),
            used: used(&content),
            inode: (content.dev(), content.ino()),
            path,
        })
    }
}

impl Remains {
    fn look(path: PathBuf, name: &str) -> Option<Self> {
        let found = fs::symlink_metadata(&path).ok().filter(Metadata::is_file)?;
        let etag = name.split('.').next().unwrap_or_default().to_owned();
        Some(Self { path, etag, size: found.len(), changed: found.modified().ok()? })
    }
}

/// Whether a line in the manifest of shared content leads to a link to it. Without a manifest one
/// can't know, so it counts as referenced.
pub(super) fn is_referenced(root: &Path, content: &Path) -> bool {
    let mut manifest = content.as_os_str().to_owned();
    manifest.push(".refs");
    let Ok(lines) = fs::read_to_string(&manifest) else { return true };
    lines.lines().any(|line| {
        // Whatever the line says, it's compared, and nothing is done to what it names.
        leads_to(&root.join(line), content)
    })
}

/// Whether a blob is a link to shared content, as far as one can tell: one that can't be looked at,
/// in somebody else's folder for example, may be.
pub(super) fn leads_to(blob: &Path, content: &Path) -> bool {
    match (fs::canonicalize(blob), fs::canonicalize(content)) {
        (Ok(end), Ok(content)) => end == content,
        (Err(e), _) | (_, Err(e)) => !files::is_absent(&e),
    }
}

/// Whether it's a folder, and not a link to one. A link in a place of ours was put there by
/// somebody else, and what lies behind it isn't the cache's to remove.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Adds the commits that the refs in a folder name.
pub(super) fn read_refs(folder: &Path, refs: &mut BTreeSet<String>) -> Result<()> {
    for (_, path) in entries(folder)? {
        if path.is_dir() {
            read_refs(&path, refs)?;
        } else if let Some(commit) = files::read_text(&path)? {
            refs.insert(commit.trim().to_owned());
        }
    }
    Ok(())
}

/// Reading counts where the file system keeps count of it.
fn used(found: &Metadata) -> SystemTime {
    let modified = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    found.accessed().unwrap_or(modified).max(modified)
}

/// How long ago that was.
pub(super) fn age(time: SystemTime) -> Duration {
    SystemTime::now().duration_since(time).unwrap_or_default()
}

/// What is in a folder, by name; nothing if there is no such folder.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(e) if files::is_absent(&e) => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", folder, e)),
    };
    let mut found = Vec::new();
    for item in list {
        let item = item.map_err(|e| Error::io("list", folder, e))?;
        found.push((item.file_name().to_string_lossy().into_owned(), item.path()));
    }
    found.sort();
    Ok(found)
}
