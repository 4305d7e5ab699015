//! Answers without the network: what the cache or a local folder holds of a revision.

use std::fs;
use std::path::{Path, PathBuf};

use super::layout::RepoCache;
use super::local_dir::LocalDir;
use crate::model::error::{Error, Kind, Result};
use crate::model::pattern::PatternSet;
use crate::model::repo::{CommitId, Entry, Listing, Repo, RepoPath, Revision};
use crate::sys::files;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file, the snapshot folder, or the local folder; absolute if the cache's root is.
    pub path: PathBuf,
    /// The commit that the revision stood for when it was downloaded.
    pub commit: CommitId,
    /// Files that the answer is about, each with its size: in the order of the listing, else of
    /// their names.
    pub files: Vec<(String, u64)>,
    /// False: no listing of the commit is cached, so files that were never downloaded can't be
    /// missed.
    pub is_known_complete: bool,
}

impl Located {
    /// The content of the files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }

    fn file(path: PathBuf, commit: CommitId, name: &RepoPath, bytes: u64) -> Self {
        Self { path, commit, files: vec![(name.to_string(), bytes)], is_known_complete: true }
    }
}

impl RepoCache {
    /// One file of a revision, from the cache.
    pub fn locate_file(&self, revision: &Revision, path: &RepoPath) -> Result<Located> {
        let commit = self.require_commit(revision)?;
        let pointer = self.pointer_path(&commit, path)?;
        if let Some(bytes) = files::file_size(&pointer)? {
            return Ok(Located::file(pointer, commit, path, bytes));
        }
        Err(not_found(
            self.repo(),
            revision,
            format!("{path} of {} at {revision} isn't in the cache", self.repo()),
        )
        .with(|c| c.file = Some(path.to_string())))
    }

    /// The files of a revision that `patterns` takes, from the cache. If the commit's listing is
    /// cached, all of them must be there; if not, what is there is the answer.
    pub fn locate_snapshot(&self, revision: &Revision, patterns: &PatternSet) -> Result<Located> {
        let commit = self.require_commit(revision)?;
        let folder = self.snapshot_folder(&commit);
        if !folder.is_dir() {
            return Err(self.no_snapshot(revision));
        }
        let listing = self.read_tree(&commit)?;
        locate(self.repo(), revision, &commit, folder, listing, patterns, |entry| {
            Ok(self.find_entry(&commit, entry)?.is_some())
        })
    }

    fn require_commit(&self, revision: &Revision) -> Result<CommitId> {
        self.resolve(revision)?.ok_or_else(|| self.no_snapshot(revision))
    }

    fn no_snapshot(&self, revision: &Revision) -> Error {
        let what = format!("{} at {revision} isn't in the cache", self.repo());
        not_found(self.repo(), revision, what)
    }
}

impl LocalDir {
    /// One file, whichever revision it's from, as `huggingface_hub` answers; the commit is that of
    /// the file if known.
    pub fn locate_file(
        &self,
        cache: &RepoCache,
        revision: &Revision,
        path: &RepoPath,
    ) -> Result<Located> {
        let commit = self.require_commit(cache, revision)?;
        let file = self.file_path(path)?;
        if let Some(bytes) = files::file_size(&file)? {
            return Ok(Located::file(file, commit, path, bytes));
        }
        let what = format!("{path} isn't in {}", self.root().display());
        Err(not_found(cache.repo(), revision, what).with(|c| c.file = Some(path.to_string())))
    }

    /// The files of a revision that `patterns` takes, as [`RepoCache::locate_snapshot`].
    pub fn locate_snapshot(
        &self,
        cache: &RepoCache,
        revision: &Revision,
        patterns: &PatternSet,
    ) -> Result<Located> {
        let commit = self.require_commit(cache, revision)?;
        let root = self.root().to_path_buf();
        let listing = self.read_tree(&commit)?;
        locate(cache.repo(), revision, &commit, root, listing, patterns, |entry| self.holds(entry))
    }

    /// The folder's own ref comes first: the cache's may be of another time.
    fn require_commit(&self, cache: &RepoCache, revision: &Revision) -> Result<CommitId> {
        if let Some(commit) = revision.as_commit() {
            return Ok(commit);
        }
        if let Some(commit) = self.read_ref(cache.repo(), revision)? {
            return Ok(commit);
        }
        cache.read_ref(revision)?.ok_or_else(|| {
            let root = self.root().display();
            let what = format!("{} at {revision} was never downloaded to {root}", cache.repo());
            not_found(cache.repo(), revision, what)
        })
    }
}

/// Checks a folder against the listing of its commit, or takes what is there if there is none.
fn locate(
    repo: &Repo,
    revision: &Revision,
    commit: &CommitId,
    path: PathBuf,
    listing: Option<Listing>,
    patterns: &PatternSet,
    is_there: impl Fn(&Entry) -> Result<bool>,
) -> Result<Located> {
    let mut found =
        Located { path, commit: commit.clone(), files: Vec::new(), is_known_complete: true };
    let Some(listing) = listing else {
        found.is_known_complete = false;
        collect(&found.path, "", patterns, &mut found.files)?;
        found.files.sort_unstable();
        if found.files.is_empty() && !found.path.is_dir() {
            let what = format!("{} at {revision} isn't in {}", repo, found.path.display());
            return Err(not_found(repo, revision, what));
        }
        return Ok(found);
    };
    let mut missing = Vec::new();
    for entry in listing.entries.iter().filter(|entry| patterns.matches(entry.path.as_str())) {
        if is_there(entry)? {
            found.files.push((entry.path.to_string(), entry.size));
        } else {
            missing.push(entry.path.as_str());
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let sample = missing[..missing.len().min(3)].join(", ");
    let more = if missing.len() > 3 { ", ..." } else { "" };
    Err(not_found(
        repo,
        revision,
        format!(
            "{} of {repo} at {revision} is incomplete: {} missing ({sample}{more}); \
             download it with the network",
            found.path.display(),
            missing.len(),
        ),
    ))
}

/// Collects the files in `folder` that `patterns` takes. `prefix` is the folder's path from the
/// root, with a `/` at the end. What belongs to the bookkeeping or to git isn't among them.
fn collect(
    folder: &Path,
    prefix: &str,
    patterns: &PatternSet,
    found: &mut Vec<(String, u64)>,
) -> Result<()> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(e) if files::is_absent(&e) => return Ok(()),
        Err(e) => return Err(Error::io("list", folder, e)),
    };
    for item in list {
        let item = item.map_err(|e| Error::io("list", folder, e))?;
        // A name that isn't text can't be from the Hub.
        let Ok(name) = item.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        let kind = item.file_type().map_err(|e| Error::io("look at", &item.path(), e))?;
        if kind.is_dir() {
            if !matches!(name.as_str(), ".cache/huggingface" | ".git") {
                collect(&item.path(), &format!("{name}/"), patterns, found)?;
            }
        } else if patterns.matches(&name)
            && let Some(bytes) = files::file_size(&item.path())?
        {
            found.push((name, bytes));
        }
    }
    Ok(())
}

fn not_found(repo: &Repo, revision: &Revision, what: String) -> Error {
    Error::new(Kind::LocalEntryNotFound, what).with(|c| {
        c.repo = Some(repo.id().to_owned());
        c.revision = Some(revision.as_str().to_owned());
    })
}
