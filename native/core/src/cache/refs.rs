//! What the cache remembers about names: which commit a revision stood for, and which files a
//! commit doesn't have.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::layout::RepoCache;
use super::names::{Found, list};
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Revision};
use crate::sys::files::{self, Durability, Staged};
use crate::sys::names::NewNames;
use crate::sys::small;

/// More bytes than any ref has.
const LONGEST: u64 = 4 << 10;

/// Folders of refs that `huggingface_hub` leaves behind when it has removed the last ref in them.
const NAMESPACES: [&str; 3] = ["refs", "pr", "convert"];

/// What macOS puts into any folder, and `huggingface_hub` passes over as well.
const DS_STORE: &str = ".DS_Store";

impl RepoCache {
    /// The commit that a branch, tag or sub-ref stood for when it was last downloaded.
    pub fn read_ref(&self, revision: &Revision) -> Result<Option<CommitId>> {
        read(&self.folder().join("refs"), revision)
    }

    /// Remembers what a revision stands for before the first file of it comes, as `huggingface_hub`
    /// does: pruning, theirs and ours, removes revisions without a ref, also while they are being
    /// filled. Makes the snapshot's folder, since `scan_cache_dir` reports a repo with a ref to
    /// nothing as corrupted.
    ///
    /// Returns whether a ref named the commit already. A commit has no ref of its own, but one of a
    /// branch may name it. A ref that says the same isn't written.
    pub fn announce(&self, revision: &Revision, commit: &CommitId) -> Result<bool> {
        if revision.as_str() == commit.as_str() {
            let refs = All::of(&self.folder().join("refs"));
            return Ok(refs.commits.contains_key(commit.as_str()));
        }
        let is_known = self.read_ref(revision)?.as_ref() == Some(commit);
        if is_known && self.snapshot_folder(commit).is_dir() {
            return Ok(true);
        }
        // Others prune a snapshot without a ref. So the ref is made ready first, and nothing that takes
        // time comes between the two.
        let reference = Ref::prepare(&self.folder().join("refs"), revision, self.names())?;
        let staged = stage(&self.private_folder()?, commit)?;
        self.names().create_folder(&self.snapshot_folder(commit))?;
        reference.name(staged, self.names())?;
        Ok(false)
    }

    /// Has [`announce`](Self::announce) done before the first pointer is made: not earlier, so that a
    /// download that is refused, or finds no room, leaves the ref to what is there.
    pub(super) fn announce_with_first(&self, revision: &Revision) {
        *self.announcement() = Some(revision.clone());
    }

    /// Does what [`announce_with_first`](Self::announce_with_first) has asked for. Whoever comes
    /// meanwhile waits. That it fails is no reason to fail: the files are there all the same.
    pub(super) fn announce_now(&self, commit: &CommitId) {
        let mut announcement = self.announcement();
        if let Some(revision) = announcement.take()
            && let Err(error) = self.announce(&revision, commit)
        {
            tracing::warn!(%error, "can't remember what the revision stands for");
        }
    }

    /// Remembers what a revision stands for, and returns whether it's remembered now.
    ///
    /// Not if the commit has no snapshot folder: `scan_cache_dir` reports a repo with such a ref as
    /// corrupted. A ref that says the same isn't written, so a cache that is read-only and up to date
    /// is fine.
    pub fn write_ref(&self, revision: &Revision, commit: &CommitId) -> Result<bool> {
        if !self.snapshot_folder(commit).is_dir() {
            return Ok(false);
        }
        let is_commit = revision.as_str() == commit.as_str();
        if is_commit || self.read_ref(revision)?.as_ref() == Some(commit) {
            return Ok(!is_commit);
        }
        // Not among the refs, where others read whatever they find.
        let reference = Ref::prepare(&self.folder().join("refs"), revision, self.names())?;
        reference.name(stage(&self.private_folder()?, commit)?, self.names())?;
        Ok(true)
    }

    /// The commit for a revision without the network: the revision itself if it's a commit by its
    /// shape, else what [`read_ref`](Self::read_ref) says.
    pub fn resolve(&self, revision: &Revision) -> Result<Option<CommitId>> {
        match revision.as_commit() {
            Some(commit) => Ok(Some(commit)),
            None => self.read_ref(revision),
        }
    }
}

/// Reads a ref from the folder `refs`. Anything but 40 hex digits is no ref, not even with a
/// newline: `huggingface_hub` takes the file's whole content.
pub(super) fn read(refs: &Path, revision: &Revision) -> Result<Option<CommitId>> {
    let path = refs.join(revision.as_str());
    let Some(text) = files::read_text(&path, LONGEST)? else { return Ok(None) };
    let commit = CommitId::parse(&text);
    if commit.is_none() {
        tracing::warn!(path = %path.display(), "ignored a ref that holds no commit");
    }
    Ok(commit)
}

/// Each ref in the folder `refs`, and the commit that it names; `None`: it holds none.
pub(super) fn each(refs: &Path) -> Result<Vec<(PathBuf, Option<String>)>> {
    let (mut all, mut folders) = (Vec::new(), vec![refs.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for Found { path, kind, .. } in list(&folder)? {
            if kind.is_dir() {
                folders.push(path);
            } else {
                let commit =
                    commit_in(&path).ok().flatten().map(|commit| commit.as_str().to_owned());
                all.push((path, commit));
            }
        }
    }
    Ok(all)
}

fn commit_in(path: &Path) -> io::Result<Option<CommitId>> {
    let (text, _) = small::read(path, LONGEST)?;
    Ok(std::str::from_utf8(&text).ok().and_then(|text| CommitId::parse(text.trim())))
}

/// All refs of a repo. What of them can't be understood isn't passed over: it may have named what is needed.
#[derive(Default)]
pub(super) struct All {
    /// The commits that are named, each with a ref that does so.
    pub(super) commits: BTreeMap<String, PathBuf>,
    /// How many refs there are.
    pub(super) count: usize,
    /// What no commit can be read from, and why.
    pub(super) odd: Vec<(PathBuf, String)>,
}

impl All {
    /// Those in the folder `refs`, which need not be there.
    pub(super) fn of(refs: &Path) -> Self {
        let mut all = Self::default();
        all.add(refs);
        all
    }

    fn add(&mut self, folder: &Path) {
        let found = match list(folder) {
            Ok(found) => found,
            Err(error) => return self.doubt(folder, error.to_string()),
        };
        for Found { name, path, kind } in found {
            if kind.is_dir() {
                let known = self.count + self.odd.len();
                self.add(&path);
                if self.count + self.odd.len() == known && !NAMESPACES.contains(&name.as_str()) {
                    self.doubt(&path, "is an empty folder where a ref may have been".to_owned());
                }
            } else if name != DS_STORE {
                self.read(path, kind.is_symlink());
            }
        }
    }

    fn read(&mut self, path: PathBuf, is_link: bool) {
        let commit = match commit_in(&path) {
            Ok(commit) => commit,
            // Somebody has removed it meanwhile; a link without an end is there.
            Err(e) if files::is_absent(&e) && !is_link => return,
            Err(e) => return self.doubt(&path, format!("is a ref that can't be read: {e}")),
        };
        match commit {
            Some(commit) => {
                self.count += 1;
                self.commits.entry(commit.as_str().to_owned()).or_insert(path);
            }
            None => self.doubt(&path, "is a ref that holds no commit".to_owned()),
        }
    }

    fn doubt(&mut self, path: &Path, reason: String) {
        self.odd.push((path.to_path_buf(), reason));
    }
}

/// Writes a ref in the folder `refs`. A revision that is a commit needs none.
pub(super) fn write(
    refs: &Path,
    revision: &Revision,
    commit: &CommitId,
    names: &NewNames,
) -> Result<bool> {
    if revision.as_str() == commit.as_str() {
        return Ok(false);
    }
    if read(refs, revision)?.as_ref() != Some(commit) {
        let reference = Ref::prepare(refs, revision, names)?;
        reference.name(stage(refs, commit)?, names)?;
    }
    Ok(true)
}

/// Writes to `folder`, on the same file system, what is going to be a ref.
fn stage(folder: &Path, commit: &CommitId) -> Result<Staged> {
    Staged::write(folder, commit.as_str().as_bytes(), Durability::Synced)
}

/// A ref that is going to be written; its folder exists.
struct Ref(PathBuf);

impl Ref {
    fn prepare(refs: &Path, revision: &Revision, names: &NewNames) -> Result<Self> {
        let path = refs.join(revision.as_str());
        if !path.starts_with(refs) {
            return Err(Error::invalid("revision", "it leaves the cache's refs folder"));
        }
        names.create_folder_within(refs, files::parent(&path))?;
        Ok(Self(path))
    }

    fn name(&self, staged: Staged, names: &NewNames) -> Result<()> {
        staged.rename(&self.0)?;
        names.add(&self.0);
        Ok(())
    }
}

#[cfg(test)]
mod fuzz;
