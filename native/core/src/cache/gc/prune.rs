//! Removing what nothing holds on to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::super::layout::Cache;
use super::inventory::{
    Inventory, RepoFolder, Snapshot, age, entries, is_referenced, leads_to, read_refs,
};
use super::verify::Finding;
use crate::model::error::{Error, Result};
use crate::model::repo::is_lower_hex;
use crate::sys::files;
use crate::sys::lock::FileLock;

/// A revision without a ref may be one that a download is just filling. It's safe from pruning for
/// so long after the last change.
const GRACE: Duration = Duration::from_mins(10);

/// How long to wait for a lock of the shared store.
const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// What may go. Whatever is chosen, only what nothing refers to goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneOptions {
    /// All of it.
    pub unreferenced: bool,
    /// What was not used for that long.
    pub older_than: Option<Duration>,
    /// What was not used for longest, until the cache has at most so many bytes.
    pub max_bytes: Option<u64>,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What went.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Space that is free now.
    pub bytes: u64,
    /// What was removed, with the reason.
    pub removed: Vec<Finding>,
}

/// Something that can go by itself.
struct Removable<'a> {
    what: What<'a>,
    used: SystemTime,
    bytes: u64,
}

enum What<'a> {
    Remains { repo: &'a RepoFolder, path: &'a Path, etag: &'a str },
    Blob { repo: &'a RepoFolder, etag: &'a str },
    Revision { repo: &'a RepoFolder, snapshot: &'a Snapshot },
    Shared { path: &'a Path },
}

impl Inventory {
    /// Removes from `cache`, of which this is the inventory.
    pub fn prune(
        &self,
        cache: &Cache,
        limits: &PruneOptions,
        cancel: &CancellationToken,
    ) -> Result<Pruned> {
        let mut pruner = Pruner { cache, dry_run: limits.dry_run, pruned: Pruned::default() };
        let usage = self.usage();
        let mut total = usage.bytes + usage.bytes_partial;
        let mut candidates = self.candidates();
        candidates.sort_by_key(|candidate| candidate.used);
        for candidate in candidates {
            if cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
            let wanted = limits.unreferenced
                || limits.older_than.is_some_and(|limit| age(candidate.used) >= limit)
                || limits.max_bytes.is_some_and(|most| total > most);
            if wanted {
                let before = pruner.pruned.bytes;
                pruner.remove(&candidate)?;
                total = total.saturating_sub(pruner.pruned.bytes - before);
            }
        }
        Ok(pruner.pruned)
    }

    fn candidates(&self) -> Vec<Removable<'_>> {
        let mut candidates = Vec::new();
        for repo in &self.repos {
            for remains in &repo.remains {
                candidates.push(Removable {
                    what: What::Remains { repo, path: &remains.path, etag: &remains.etag },
                    used: remains.changed,
                    bytes: remains.size,
                });
            }
            for (etag, blob) in &repo.blobs {
                if !repo.is_linked(etag) {
                    candidates.push(Removable {
                        what: What::Blob { repo, etag },
                        used: blob.used,
                        bytes: blob.size,
                    });
                }
            }
            for snapshot in &repo.snapshots {
                // A folder with another name isn't a revision, whatever it is.
                let is_revision = is_lower_hex(&snapshot.commit, 40);
                let is_unnamed = is_revision && !repo.refs.contains(&snapshot.commit);
                if is_unnamed && age(snapshot.changed) >= GRACE {
                    let blobs = || snapshot.pointers.iter().filter_map(|(_, e)| repo.blobs.get(e));
                    let used = blobs().map(|blob| blob.used).max();
                    candidates.push(Removable {
                        what: What::Revision { repo, snapshot },
                        used: used.unwrap_or(snapshot.changed).max(snapshot.changed),
                        bytes: snapshot.files.iter().map(|(_, size)| size).sum(),
                    });
                }
            }
        }
        for shared in self.shared.iter().filter(|shared| !shared.is_referenced) {
            candidates.push(Removable {
                what: What::Shared { path: &shared.path },
                used: shared.used,
                bytes: shared.size,
            });
        }
        candidates
    }
}

impl RepoFolder {
    fn is_linked(&self, etag: &str) -> bool {
        self.snapshots.iter().any(|snapshot| snapshot.pointers.iter().any(|(_, e)| e == etag))
    }

    /// The same question, to the disk as it is now.
    fn is_still_linked(&self, etag: &str, except: Option<&Path>) -> Result<bool> {
        for (commit, path) in entries(&self.folder.join("snapshots"))? {
            if except == Some(path.as_path()) || !path.is_dir() {
                continue;
            }
            let snapshot = Snapshot::at(&path, &commit)?;
            if snapshot.pointers.iter().any(|(_, e)| e == etag) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

struct Pruner<'a> {
    cache: &'a Cache,
    dry_run: bool,
    pruned: Pruned,
}

impl Pruner<'_> {
    fn remove(&mut self, candidate: &Removable<'_>) -> Result<()> {
        match &candidate.what {
            What::Remains { repo, path, etag } => {
                // Somebody may be at work on it.
                let Some(_lock) = self.lock(repo, etag)? else { return Ok(()) };
                self.unlink(path, candidate.bytes, "left by an interrupted download");
            }
            What::Blob { repo, etag } => {
                self.remove_blob(repo, etag, None, "no revision has it")?;
            }
            What::Revision { repo, snapshot } => self.remove_revision(repo, snapshot)?,
            What::Shared { path } => self.remove_shared(path)?,
        }
        Ok(())
    }

    /// The lock of a blob, if it's free.
    fn lock(&self, repo: &RepoFolder, etag: &str) -> Result<Option<FileLock>> {
        let folder = repo.folder.file_name().unwrap_or_default();
        let locks = self.cache.root().join(".locks").join(folder);
        let lock = FileLock::try_acquire(&locks.join(format!("{etag}.lock")))?;
        Ok(lock.filter(FileLock::is_exclusive))
    }

    fn remove_blob(
        &mut self,
        repo: &RepoFolder,
        etag: &str,
        gone: Option<&Path>,
        reason: &str,
    ) -> Result<()> {
        let Some(blob) = repo.blobs.get(etag) else { return Ok(()) };
        let Some(_lock) = self.lock(repo, etag)? else { return Ok(()) };
        if repo.is_still_linked(etag, gone)? {
            return Ok(());
        }
        // What a link leads to is the shared store's.
        let freed = if blob.shared.is_some() { 0 } else { blob.size };
        self.unlink(&blob.path, freed, reason);
        if let Some(hash) = &blob.shared {
            let content = self.cache.root().join("blobs").join(&hash[..2]).join(hash);
            self.remove_shared(&content)?;
        }
        Ok(())
    }

    fn remove_revision(&mut self, repo: &RepoFolder, snapshot: &Snapshot) -> Result<()> {
        // A download that is at work in this repo may be one of this revision. One lock after the
        // other: a repo can have more of them than a process may have open files.
        let folder = repo.folder.file_name().unwrap_or_default();
        for (_, lock) in entries(&self.cache.root().join(".locks").join(folder))? {
            if FileLock::try_acquire(&lock)?.is_none() {
                tracing::info!(revision = %snapshot.folder.display(), "a download is running; kept");
                return Ok(());
            }
        }
        let mut refs = BTreeSet::new();
        read_refs(&repo.folder.join("refs"), &mut refs)?;
        let current = Snapshot::at(&snapshot.folder, &snapshot.commit)?;
        if refs.contains(&snapshot.commit) || age(current.changed) < GRACE {
            return Ok(());
        }
        for (path, size) in &current.files {
            self.unlink(path, *size, "no ref names its revision");
        }
        for (pointer, _) in &current.pointers {
            self.unlink(pointer, 0, "no ref names its revision");
        }
        if !self.dry_run
            && let Err(error) = fs::remove_dir_all(&snapshot.folder)
        {
            tracing::warn!(path = %snapshot.folder.display(), %error, "can't remove a revision");
        }
        let mut etags: Vec<_> = current.pointers.iter().map(|(_, etag)| etag.as_str()).collect();
        etags.sort_unstable();
        etags.dedup();
        for etag in etags {
            self.remove_blob(repo, etag, Some(&snapshot.folder), "no ref names its revision")?;
        }
        Ok(())
    }

    fn remove_shared(&mut self, content: &Path) -> Result<()> {
        let beside = |extension: &str| {
            let mut path = content.as_os_str().to_owned();
            path.push(extension);
            PathBuf::from(path)
        };
        let Some(lock) = FileLock::acquire_within(&beside(".lock"), 0o666, LOCK_LIMIT)? else {
            return Ok(());
        };
        let root = self.cache.root();
        let is_needed = if self.dry_run {
            still_referenced(root, content, &self.pruned)
        } else {
            is_referenced(root, content)
        };
        if !lock.is_exclusive() || is_needed {
            return Ok(());
        }
        let bytes = fs::symlink_metadata(content).map_or(0, |found| found.len());
        self.unlink(content, bytes, "no repo has it");
        if !self.dry_run {
            files::discard(&beside(".refs"));
        }
        Ok(())
    }

    fn unlink(&mut self, path: &Path, bytes: u64, reason: &str) {
        use std::os::unix::fs::MetadataExt;
        let Ok(found) = fs::symlink_metadata(path) else { return };
        // The other names of a file keep its content.
        let freed = if found.nlink() > 1 { 0 } else { bytes };
        if !self.dry_run
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "can't remove");
            return;
        }
        self.pruned.bytes += freed;
        let reason = reason.to_owned();
        self.pruned.removed.push(Finding { path: path.to_path_buf(), bytes: freed, reason });
    }
}

/// Whether shared content would still be referenced without what is to be removed.
fn still_referenced(root: &Path, content: &Path, pruned: &Pruned) -> bool {
    let mut manifest = content.as_os_str().to_owned();
    manifest.push(".refs");
    let (Ok(lines), Ok(content)) = (fs::read_to_string(&manifest), fs::canonicalize(content))
    else {
        return true;
    };
    lines.lines().any(|line| {
        let blob = root.join(line);
        leads_to(&blob, &content) && !pruned.removed.iter().any(|removed| removed.path == blob)
    })
}
