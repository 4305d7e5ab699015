//! Hashing everything again: disks forget.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::super::check;
use super::super::layout::Cache;
use super::inventory::{Inventory, RepoFolder};
use crate::model::error::{Error, Result};
use crate::model::repo::CommitId;
use crate::sys::files;

/// What is wrong with a link of a revision to what isn't there.
const MISSING: &str = "leads to content that isn't there";

/// What came of looking at everything.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Contents that were hashed.
    pub files: u64,
    /// What they have.
    pub bytes: u64,
    /// Those that aren't what their names say.
    pub damaged: Vec<Finding>,
    /// Links of revisions to contents that aren't there.
    pub missing: Vec<Finding>,
    /// What can't be said anything of: it can't be read or understood, or it's a link that leads out of the cache.
    pub left_out: Vec<Finding>,
}

/// A file and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where the content is.
    pub path: PathBuf,
    /// In bytes.
    pub bytes: u64,
    /// What is wrong, or what was done.
    pub reason: String,
}

impl Finding {
    /// Of something whose size doesn't matter.
    pub(super) fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), bytes: 0, reason: reason.into() }
    }

    /// Of something that can't be looked at.
    pub(crate) fn hidden(path: &Path, error: &Error) -> Self {
        Self::new(path, format!("can't be looked at: {error}"))
    }
}

impl Inventory {
    /// Hashes all contents, each once, and changes nothing. `progress` gets the bytes as they're
    /// read. Content in the shared store that no repo links to has no published hash to be compared
    /// with, and neither has a snapshot's real file of which no listing is cached.
    pub fn verify(
        &self,
        cache: &Cache,
        cancel: &CancellationToken,
        progress: impl Fn(u64),
    ) -> Result<Verified> {
        let findings = self.repos.iter().flat_map(RepoFolder::findings).cloned();
        let mut verified = Verified { left_out: findings.collect(), ..Verified::default() };
        let mut seen = HashSet::new();
        let goes_on = |bytes| {
            progress(bytes);
            if cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
        };
        let mut check = |path: &Path, etag: &str, size: u64| {
            let finding = |reason| {
                let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
                Finding { path, bytes: size, reason }
            };
            match look(path, etag, goes_on)? {
                Looked::Gone => return Ok(()),
                Looked::Unreadable(reason) => {
                    verified.left_out.push(finding(reason));
                    return Ok(());
                }
                Looked::Damaged(reason) => verified.damaged.push(finding(reason)),
                Looked::Right => {}
            }
            verified.files += 1;
            verified.bytes += size;
            Ok::<_, Error>(())
        };
        let (mut hidden, mut missing) = (Vec::new(), Vec::new());
        for repo in &self.repos {
            // One of the links stands for all that lead there.
            let mut lost = HashSet::new();
            for (path, etag) in repo.own_revisions().iter().flat_map(|one| &one.pointers) {
                goes_on(0)?;
                // A link that has gone meanwhile leads to nothing, too, and isn't missed.
                let is_absent = |e: &io::Error| files::is_absent(e) && path.is_symlink();
                if std::fs::metadata(path).is_err_and(|e| is_absent(&e)) && lost.insert(etag) {
                    missing.push(Finding::new(path, MISSING));
                }
            }
            for (etag, blob) in &repo.blobs {
                if seen.insert(blob.inode) {
                    check(&blob.path, etag, blob.size)?;
                }
            }
            for snapshot in
                repo.own_revisions().iter().filter(|snapshot| !snapshot.files.is_empty())
            {
                let Some(commit) = CommitId::parse(&snapshot.commit) else { continue };
                let listing = match cache.repo(&repo.repo).read_tree(&commit) {
                    Ok(Some(listing)) => listing,
                    Ok(None) => continue,
                    Err(error) => {
                        hidden.push(Finding::hidden(&snapshot.folder, &error));
                        continue;
                    }
                };
                let files: HashSet<_> = snapshot.files.iter().map(|(file, _)| file).collect();
                for entry in &listing.entries {
                    let path = snapshot.folder.join(entry.path.as_str());
                    if files.contains(&path) {
                        check(&path, entry.etag(), entry.size)?;
                    }
                }
            }
        }
        verified.missing = missing;
        verified.left_out.extend(hidden);
        Ok(verified)
    }
}

/// What a file turned out to be.
enum Looked {
    /// It has the hash that is its name.
    Right,
    /// It has another one: that is said here.
    Damaged(String),
    /// Its disk, or its permissions, let nobody say: this is why.
    Unreadable(String),
    /// It's there no more, or what is in its place has no content.
    Gone,
}

fn look(path: &Path, etag: &str, goes_on: impl Fn(u64) -> Result<()>) -> Result<Looked> {
    let error = match check::digits(path, etag, goes_on) {
        Ok(None) => return Ok(Looked::Gone),
        Ok(Some(digits)) if digits == etag => return Ok(Looked::Right),
        Ok(Some(digits)) => {
            return Ok(Looked::Damaged(format!("has the hash {digits} instead of {etag}")));
        }
        Err(error) => error,
    };
    match std::error::Error::source(&error).and_then(|e| e.downcast_ref::<io::Error>()) {
        Some(e) if e.kind() == io::ErrorKind::NotFound => Ok(Looked::Gone),
        Some(e) => Ok(Looked::Unreadable(format!("can't be read: {e}"))),
        None => Err(error),
    }
}
