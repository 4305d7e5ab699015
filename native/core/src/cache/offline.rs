//! Answers without the network: what the cache or a local folder holds of a revision.

use std::path::{Path, PathBuf};

use super::layout::RepoCache;
use super::local_dir::{LocalDir, Origin};
use super::names::{Names, list};
use crate::call::walk::Walk;
use crate::model::error::{Error, Kind, Result};
use crate::model::pattern::PatternSet;
use crate::model::refused::Refused;
use crate::model::repo::{CommitId, Entry, Listed, Listing, Repo, RepoPath, Revision};
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

    fn snapshot(path: PathBuf, commit: CommitId) -> Self {
        Self { path, commit, files: Vec::new(), is_known_complete: true }
    }

    /// Takes the files that are in the folder, since nobody knows which should be. `pointers`: those that
    /// are links are pointers to blobs, so one that leads nowhere is a file that is missing.
    fn collect(
        mut self,
        repo: &Repo,
        revision: &Revision,
        patterns: &PatternSet,
        walk: &Walk,
        pointers: bool,
    ) -> Result<Self> {
        self.is_known_complete = false;
        let Collected { files, dangling } = collect(&self.path, patterns, walk)?;
        if pointers && !dangling.is_empty() {
            return Err(self.incomplete(repo, revision, "missing", &dangling));
        }
        if files.is_empty() && !self.path.is_dir() {
            let what = format!("{repo} at {revision} isn't in {}", self.path.display());
            return Err(not_found(repo, revision, what));
        }
        self.files = files;
        Ok(self)
    }

    /// Checks the folder against the listing of its commit.
    fn check(
        mut self,
        repo: &Repo,
        revision: &Revision,
        listing: Listing,
        patterns: &PatternSet,
        walk: &Walk,
        is_there: impl Fn(&Entry) -> Result<bool> + Sync,
    ) -> Result<Self> {
        let (mut listed, refused) = (listing.entries, Refused::default());
        listed.retain(|entry| patterns.matches(&entry.path));
        let wanted = refused.sort_out(listed);
        let there = walk.each(&wanted, |entry| match is_there(entry) {
            Err(error) if refused.takes(&self.path, entry, &error) => Ok(true),
            answer => answer,
        })?;
        let mut missing = Vec::new();
        for (entry, is_there) in wanted.iter().zip(there) {
            if is_there {
                self.files.push((entry.path.to_string(), entry.size));
            } else {
                missing.push(entry.path.to_string());
            }
        }
        if !missing.is_empty() {
            return Err(self.incomplete(repo, revision, "missing", &missing));
        }
        refused.verdict().map(|()| self)
    }

    fn incomplete(
        &self,
        repo: &Repo,
        revision: &Revision,
        what: &str,
        missing: &[String],
    ) -> Error {
        let sample = missing[..missing.len().min(3)].join(", ");
        let more = if missing.len() > 3 { ", ..." } else { "" };
        not_found(
            repo,
            revision,
            format!(
                "{} of {repo} at {revision} is incomplete: {} {what} ({sample}{more}); \
                 download it with the network",
                self.path.display(),
                missing.len(),
            ),
        )
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
    /// cached, all of them must be there; if not, what is there is the answer, unless a pointer among it
    /// leads nowhere.
    pub fn locate_snapshot(
        &self,
        revision: &Revision,
        patterns: &PatternSet,
        walk: &Walk,
    ) -> Result<Located> {
        let commit = self.require_commit(revision)?;
        let folder = self.snapshot_folder(&commit);
        if !folder.is_dir() {
            return Err(self.no_snapshot(revision));
        }
        let found = Located::snapshot(folder.clone(), commit.clone());
        let Some(listing) = self.read_tree(&commit)? else {
            return found.collect(self.repo(), revision, patterns, walk, true);
        };
        let names = Names::below(&folder);
        let is_there = |entry: &Entry| {
            let path = self.pointer_path(&commit, &entry.path)?;
            Ok(names.find(&path, || self.find_entry(&commit, entry))?.is_some())
        };
        found.check(self.repo(), revision, listing, patterns, walk, is_there)
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
    /// One file, if it's known to be the one of the commit that the revision stood for: by a listing and its hash,
    /// or since its metadata say that it's of that commit, and it's as it was then. A commit's name is made of its
    /// content, so which repo is asked for doesn't matter any more. (`huggingface_hub` answers with whatever has
    /// the name.)
    pub fn locate_file(
        &self,
        cache: &RepoCache,
        revision: &Revision,
        path: &RepoPath,
        walk: &Walk,
    ) -> Result<Located> {
        let commit = self.require_commit(cache, revision)?;
        let file = self.file_path(path)?;
        let absent = |what: String| {
            not_found(cache.repo(), revision, what).with(|c| c.file = Some(path.to_string()))
        };
        let Some(bytes) = files::file_size(&file)? else {
            return Err(absent(format!("{path} isn't in {}", self.root().display())));
        };
        let is_it = match self.listing(cache, &commit)? {
            Some(listing) => {
                let is_meant = |entry: &Listed| entry.path == path.as_str();
                let Some(listed) = listing.entries.into_iter().find(is_meant) else {
                    return Err(absent(format!("{path}: {revision} has no such file")));
                };
                self.is_really(&listed.placed()?, walk)?
            }
            None => false,
        };
        let origin = if is_it { Origin::Commit(commit.clone()) } else { self.origin(path, walk)? };
        let why = match origin {
            Origin::Commit(of) if of == commit => {
                return Ok(Located::file(file, commit, path, bytes));
            }
            Origin::Commit(of) => format!("it is of commit {of}"),
            Origin::Changed => "it has changed since it was downloaded".to_owned(),
            Origin::Unknown => "nothing is noted of it".to_owned(),
        };
        Err(absent(format!(
            "{} isn't known to be the file of {} at {revision} (commit {commit}): {why}; download it \
             with the network",
            file.display(),
            cache.repo(),
        )))
    }

    /// The listing of a commit, from here or from the cache.
    fn listing(&self, cache: &RepoCache, commit: &CommitId) -> Result<Option<Listing>> {
        match self.read_tree(commit)? {
            None => cache.read_tree(commit),
            listing => Ok(listing),
        }
    }

    /// The files of a revision that `patterns` takes, as [`RepoCache::locate_snapshot`]. A file counts if it has
    /// the content that the commit's listing says; without the listing, if its metadata say that it's of the
    /// commit, and it's as it was then. All others that are there must be left out by patterns.
    pub fn locate_snapshot(
        &self,
        cache: &RepoCache,
        revision: &Revision,
        patterns: &PatternSet,
        walk: &Walk,
    ) -> Result<Located> {
        let commit = self.require_commit(cache, revision)?;
        let root = self.root().to_path_buf();
        let found = Located::snapshot(root.clone(), commit.clone());
        let Some(listing) = self.listing(cache, &commit)? else {
            let found = found.collect(cache.repo(), revision, patterns, walk, false)?;
            let others = self.of_others(&found, walk)?;
            if others.is_empty() {
                return Ok(found);
            }
            let what = "not known to be of it";
            return Err(found.incomplete(cache.repo(), revision, what, &others));
        };
        let names = Names::below(&root);
        let is_there = |entry: &Entry| {
            let path = self.file_path(&entry.path)?;
            Ok(names.find(&path, || Ok(self.is_really(entry, walk)?.then_some(())))?.is_some())
        };
        found.check(cache.repo(), revision, listing, patterns, walk, is_there)
    }

    /// Those of the files that were found which aren't known to be of its commit.
    fn of_others(&self, found: &Located, walk: &Walk) -> Result<Vec<String>> {
        let is_other = |(name, _): &(String, u64)| {
            // A name that can't be in a repo is of a file of the user's.
            let path = RepoPath::new(name).and_then(|path| self.file_path(&path).map(|_| path));
            let Ok(path) = path else { return Ok(false) };
            Ok(self.origin(&path, walk)? != Origin::Commit(found.commit.clone()))
        };
        let others = walk.each(&found.files, is_other)?;
        let others = found.files.iter().zip(others).filter(|(_, is_other)| *is_other);
        Ok(others.map(|((name, _), _)| name.clone()).collect())
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

/// What is in a folder.
#[derive(Default)]
struct Collected {
    /// With their sizes, in the order of their names.
    files: Vec<(String, u64)>,
    /// Links that lead nowhere.
    dangling: Vec<String>,
}

/// What of `folder` `patterns` takes. What belongs to the bookkeeping or to git isn't among it.
fn collect(folder: &Path, patterns: &PatternSet, walk: &Walk) -> Result<Collected> {
    let mut names = Vec::new();
    // Level by level: each folder with its path from the root, and a `/` at the end.
    let mut folders = vec![(folder.to_path_buf(), String::new())];
    while !folders.is_empty() {
        let lists = walk.each(&folders, |(folder, _)| list(folder))?;
        let mut below = Vec::new();
        for ((_, prefix), found) in folders.iter().zip(lists).flat_map(|(at, list)| {
            let at = std::iter::repeat(at);
            at.zip(list)
        }) {
            // A name that isn't text can't be from the Hub.
            if found.path.file_name().is_none_or(|name| name.to_str().is_none()) {
                continue;
            }
            let name = format!("{prefix}{}", found.name);
            if !found.kind.is_dir() {
                names.push((name, found.path, found.kind));
            } else if !matches!(name.as_str(), ".cache/huggingface" | ".git") {
                below.push((found.path, format!("{name}/")));
            }
        }
        folders = below;
    }
    names.retain(|(name, ..)| patterns.matches(name));
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let sizes = walk.each(&names, |(_, path, _)| files::file_size(path))?;
    let mut collected = Collected::default();
    for ((name, path, kind), size) in names.into_iter().zip(sizes) {
        match size {
            Some(size) => collected.files.push((name, size)),
            None if kind.is_symlink() && !path.is_dir() => collected.dangling.push(name),
            None => {}
        }
    }
    Ok(collected)
}

fn not_found(repo: &Repo, revision: &Revision, what: String) -> Error {
    Error::new(Kind::LocalEntryNotFound, what).with(|c| {
        c.repo = Some(repo.id().to_owned());
        c.revision = Some(revision.as_str().to_owned());
    })
}
