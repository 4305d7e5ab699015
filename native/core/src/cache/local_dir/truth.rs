//! What a file in a local folder really is: metadata vouch for one that hasn't been written to since, and for
//! every other one its hash does.

use std::fs;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::{LocalDir, has_size, is_regular};
use crate::cache::check::{content_matches, content_matches_while, has_etag};
use crate::cache::metadata::Metadata;
use crate::call::walk::Walk;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry, RepoPath};

/// Where a file is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Origin {
    /// It's as it was downloaded, of this commit.
    Commit(CommitId),
    /// It has changed since it was downloaded.
    Changed,
    /// Nothing is noted of it.
    Unknown,
}

impl LocalDir {
    /// Whether the file at the path of `entry` has its content. Reads the whole file if its metadata don't
    /// vouch for what it is now.
    pub(in crate::cache) fn is_really(&self, entry: &Entry, walk: &Walk) -> Result<bool> {
        let path = self.file_path(&entry.path)?;
        match self.known(&path, entry)? {
            Some(known) => Ok(known.etag == entry.etag()),
            None => {
                Ok(has_size(&path, entry)? && content_matches_while(&path, entry, || walk.step())?)
            }
        }
    }

    /// The file at the path of `entry`, if its content is right, with metadata that say so.
    pub(in crate::cache) fn keep(
        &self,
        commit: &CommitId,
        entry: &Entry,
        cancel: &CancellationToken,
    ) -> Result<Option<PathBuf>> {
        let path = self.file_path(&entry.path)?;
        let current = match self.known(&path, entry)? {
            Some(known) => known.etag == entry.etag(),
            None => is_regular(&path)? && content_matches(&path, entry, cancel)?,
        };
        if !current {
            return Ok(None);
        }
        Metadata::write(&self.prepare(&entry.path)?, commit, entry, &path)?;
        Ok(Some(path))
    }

    /// Where the file at `path`, which is there, is from. Reads it if it was written to since.
    pub(in crate::cache) fn origin(&self, path: &RepoPath, walk: &Walk) -> Result<Origin> {
        let Some(known) = Metadata::read(&self.bookkeeping(path, "metadata")?)? else {
            return Ok(Origin::Unknown);
        };
        let file = self.file_path(path)?;
        let found = fs::metadata(&file).map_err(|e| Error::io("look at", &file, e))?;
        if known.describes(&found) || has_etag(&file, &known.etag, || walk.step())? {
            return Ok(CommitId::parse(&known.commit).map_or(Origin::Unknown, Origin::Commit));
        }
        Ok(Origin::Changed)
    }
}

/// Whether a path of a repo is where a local folder keeps what it knows of its files: in `.cache/huggingface`,
/// however a file system may write that. What a repo puts there would pass for our own notes.
#[must_use]
pub fn is_bookkeeping(path: &str) -> bool {
    let mut parts = path.split(['/', '\\']).filter(|part| !matches!(*part, "" | "."));
    let mut is = |name: &str| {
        // Some file systems leave out blanks and dots at the end.
        let part = parts.next().map(|part| part.trim_end_matches([' ', '.']));
        part.map(|part| part.to_lowercase() == name)
    };
    // A file in a folder's place would be in the way.
    is(".cache") == Some(true) && is("huggingface") != Some(false)
}

/// Whether git would take the path for a part of its own folder, in which a file can be a program that it
/// runs; a repo on the Hub can't have one.
pub(super) fn is_of_git(path: &str) -> bool {
    path.split(['/', '\\']).any(|part| part.eq_ignore_ascii_case(".git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever a file system may take for the same name; and nothing else.
    #[test]
    fn a_repo_has_no_place_among_what_is_noted() {
        for path in [
            ".cache/huggingface/download/a.metadata",
            ".cache/huggingface/trees/x.json",
            ".Cache/HuggingFace/x",
            ".cache./huggingface /x",
            r".cache\huggingface\x",
            ".cache/huggingface",
            ".cache",
            "./.cache//huggingface/x",
        ] {
            assert!(is_bookkeeping(path), "{path}");
        }
        for path in [".cache/pip/x", "cache/huggingface/x", "a/.cache/huggingface/x", ".cached"] {
            assert!(!is_bookkeeping(path), "{path}");
        }
    }
}
