//! What a file in a local folder really is: what was noted of it when it was hashed, as long as it's the file that
//! it was then; else its hash, which is noted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::{LocalDir, is_regular};
use crate::cache::check::has_etag;
use crate::cache::metadata::Metadata;
use crate::cache::verified;
use crate::call::walk::Walk;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, RepoPath, RepoType};
use crate::sys::files;
use crate::sys::identity::FileStamp;
use crate::sys::refused;

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
    /// Whether the file at the path of `entry` has its content. Reads the whole file unless it's noted.
    pub(in crate::cache) fn is_really(&self, entry: &Entry, walk: &Walk) -> Result<bool> {
        let has_size = files::file_size(&self.file_path(&entry.path)?)? == Some(entry.size);
        Ok(has_size && self.has_etag(&entry.path, entry.etag(), || walk.step())?)
    }

    /// The file at the path of `entry`, if its content is right, with metadata that say so.
    pub(in crate::cache) fn keep(
        &self,
        commit: &CommitId,
        entry: &Entry,
        cancel: &CancellationToken,
    ) -> Result<Option<PathBuf>> {
        let path = self.file_path(&entry.path)?;
        let unless_cancelled =
            || if cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) };
        let Some(found) = self.found(entry, unless_cancelled)? else { return Ok(None) };
        if !self.is_of(commit, entry)? {
            let noted = self
                .prepare(&entry.path)
                .and_then(|metadata| Metadata::write(&metadata, commit, entry, &found));
            match noted {
                Err(error) if error.kind() == Kind::LocalPermission => self.warn_of_notes(&error),
                noted => noted?,
            }
        }
        Ok(Some(path))
    }

    /// Says once that what is known of the files here can't be kept.
    pub(in crate::cache) fn warn_of_notes(&self, error: &Error) {
        let what = "can't note what the files of a local folder are; they are hashed each time";
        refused::warn_once(what, self.root(), error);
    }

    /// Whether [`keep`](Self::keep) would keep the file at the path of `entry`. Reads it unless it's noted what it
    /// is, and notes it.
    pub(in crate::cache) fn would_keep(&self, entry: &Entry, walk: &Walk) -> Result<bool> {
        Ok(self.found(entry, || walk.step())?.is_some())
    }

    /// The file at the path of `entry`, as it was before it was read, if its content is right.
    fn found(
        &self,
        entry: &Entry,
        goes_on: impl Fn() -> Result<()>,
    ) -> Result<Option<fs::Metadata>> {
        let path = self.file_path(&entry.path)?;
        if !is_regular(&path)? || files::file_size(&path)? != Some(entry.size) {
            return Ok(None);
        }
        self.with_etag(&entry.path, entry.etag(), goes_on)
    }

    /// Where the file at `path`, which is there, is from. Reads it unless it's noted what it is.
    pub(in crate::cache) fn origin(&self, path: &RepoPath, walk: &Walk) -> Result<Origin> {
        let Some(known) = Metadata::read(&self.bookkeeping(path, "metadata")?)? else {
            return Ok(Origin::Unknown);
        };
        if self.has_etag(path, &known.etag, || walk.step())? {
            return Ok(CommitId::parse(&known.commit).map_or(Origin::Unknown, Origin::Commit));
        }
        Ok(Origin::Changed)
    }

    /// Whether the file at `path` has the content that `etag` names. Reads the whole file unless that is noted;
    /// `goes_on` is asked now and then, and ends it by its error.
    pub(in crate::cache) fn has_etag(
        &self,
        path: &RepoPath,
        etag: &str,
        goes_on: impl Fn() -> Result<()>,
    ) -> Result<bool> {
        Ok(self.with_etag(path, etag, goes_on)?.is_some())
    }

    /// The file at `path` as it was before it was read, if it has the content that `etag` names: as
    /// [`has_etag`](Self::has_etag).
    fn with_etag(
        &self,
        path: &RepoPath,
        etag: &str,
        goes_on: impl Fn() -> Result<()>,
    ) -> Result<Option<fs::Metadata>> {
        let (file, begun) = (self.file_path(path)?, SystemTime::now());
        let Some(found) = look(&file)? else { return Ok(None) };
        // A hash of another kind says nothing: a file may be LFS's in one commit and Git's in the next.
        let noted = self.noted(path, &found)?.filter(|noted| noted.len() == etag.len());
        if let Some(noted) = noted {
            return Ok((noted == etag).then_some(found));
        }
        // What is read is what a link leads to.
        let stamp = || fs::metadata(&file).ok().as_ref().and_then(FileStamp::of);
        let before = stamp();
        if !has_etag(&file, etag, goes_on)? {
            return Ok(None);
        }
        let (Some(before), Some(after)) = (before, stamp()) else { return Ok(None) };
        if !after.is_unwritten_since(before) {
            // It may have been the right one nowhere but in what was read.
            tracing::debug!(path = %file.display(), "a file was written to while it was read");
            return Ok(None);
        }
        if after == before && FileStamp::of(&found) == Some(before) {
            verified::note(&self.bookkeeping(path, "verified")?, etag, before, begun);
        }
        Ok(Some(found))
    }

    /// Whether the file at the path of `entry` was found to have its content, and has been left alone since.
    pub(in crate::cache) fn has_noted(&self, entry: &Entry) -> Result<bool> {
        let found = look(&self.file_path(&entry.path)?)?;
        let noted = found.map(|found| self.noted(&entry.path, &found)).transpose()?.flatten();
        Ok(noted.is_some_and(|etag| etag == entry.etag()))
    }

    /// Whether the metadata say that the file at the path of `entry` is its, and of this commit.
    pub(super) fn is_of(&self, commit: &CommitId, entry: &Entry) -> Result<bool> {
        let known = Metadata::read(&self.bookkeeping(&entry.path, "metadata")?)?;
        Ok(known.is_some_and(|known| known.commit == commit.as_str() && known.etag == entry.etag()))
    }

    /// Notes that the file that `found` is has the content of `entry`, wherever it is by now.
    pub(super) fn note(&self, entry: &Entry, found: &fs::Metadata) -> Result<()> {
        if let Some(stamp) = FileStamp::of(found) {
            let note = self.bookkeeping(&entry.path, "verified")?;
            verified::note(&note, entry.etag(), stamp, SystemTime::now());
        }
        Ok(())
    }

    /// Forgets what is known of the file at `path`.
    pub(in crate::cache) fn forget_notes(&self, path: &RepoPath) -> Result<()> {
        files::discard(&self.bookkeeping(path, "verified")?);
        Metadata::remove(&self.bookkeeping(path, "metadata")?)
    }

    /// The etag that was noted of the file at `path`, if it's still the one that `found` is.
    fn noted(&self, path: &RepoPath, found: &fs::Metadata) -> Result<Option<String>> {
        Ok(verified::etag(&self.bookkeeping(path, "verified")?, found))
    }
}

/// What is at `path`; links aren't followed.
fn look(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(e) if files::is_absent(&e) => Ok(None),
        Err(e) => Err(Error::name("look at", path, e)),
    }
}

/// Whether a path of a repo is where a local folder keeps what it knows of its files: in `.cache/huggingface`. Each
/// folder in this one may be somebody's local folder, and what a repo puts there would pass for its notes.
#[must_use]
pub fn is_bookkeeping(path: &str) -> bool {
    let names: Vec<String> = names(path).collect();
    // A file in a folder's place would be in the way.
    names.last().is_some_and(|last| stands_for(last, ".cache"))
        || names
            .windows(2)
            .any(|two| stands_for(&two[0], ".cache") && stands_for(&two[1], "huggingface"))
}

/// Whether git would take the path for a part of its own folder, in which a file can be a program that it
/// runs; a repo on the Hub can't have one.
pub(super) fn is_of_git(path: &str) -> bool {
    names(path).any(|name| stands_for(&name, ".git"))
}

/// Whether a file system may take the path for that of a part of the cache, to which `way` leads. If it leads
/// nowhere, both begin at the same place, and what isn't called as the cache calls its own isn't the cache's.
pub(super) fn is_of_cache(path: &str, way: &str) -> bool {
    let mut names_of_path = names(path);
    if names(way).next().is_none() {
        return names_of_path.next().is_some_and(|name| is_kept(&name));
    }
    names(way).all(|name| names_of_path.next().is_some_and(|other| other == name))
}

/// Whether one of the [`names`] in a path is one of those in a cache: its repos, what they share, and the locks.
fn is_kept(name: &str) -> bool {
    const SHARED: [&str; 2] = [".locks", "blobs"];
    let is_repos = |kind: RepoType| {
        let prefix = format!("{}--", kind.plural());
        name.starts_with(&prefix) || stands_for(name, &prefix)
    };
    SHARED.iter().any(|known| stands_for(name, known)) || RepoType::ALL.into_iter().any(is_repos)
}

/// The names in a path, with nothing in them that some file system leaves out: case, blanks and dots at the end,
/// what follows a colon (NTFS), characters that can't be seen (ext4, HFS+; none of them is ASCII).
fn names(path: &str) -> impl Iterator<Item = String> {
    let parts = path.split(['/', '\\']).filter(|part| !matches!(*part, "" | "."));
    parts.map(|part| {
        let seen: String = part.to_lowercase().chars().filter(char::is_ascii).collect();
        let file = seen.split(':').next().unwrap_or_default();
        file.trim_end_matches([' ', '.']).to_owned()
    })
}

/// Whether one of the [`names`] in a path may lead to what is called `known`: as itself, or as the short name that
/// Windows gives it, such as `huggin~1`.
fn stands_for(name: &str, known: &str) -> bool {
    let short: String = known.trim_start_matches('.').chars().take(6).collect();
    let number = name.strip_prefix(&short).and_then(|rest| rest.strip_prefix('~'));
    name == known || number.is_some_and(|number| matches!(number.as_bytes(), [b'0'..=b'9']))
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
            "a/.cache/huggingface/x",
            "a/b/.CACHE/Huggingface",
            "a/.cache",
            r"a\.cache\huggingface\x",
            "a/.ca\u{200c}che/hugging\u{feff}face/x",
            "a/.cache::$INDEX_ALLOCATION/huggingface/x",
            "a/CACHE~1/HUGGIN~1/x",
        ] {
            assert!(is_bookkeeping(path), "{path}");
        }
        for path in [
            ".cache/pip/x",
            "cache/huggingface/x",
            "a/.cache/b/huggingface/x",
            ".cache/\u{65e5}/huggingface",
            ".cache/\u{65e5}",
            ".cached",
            "huggingface/.cache/x",
            "huggin~x",
        ] {
            assert!(!is_bookkeeping(path), "{path}");
        }
    }

    /// And in what else is in the way.
    #[test]
    fn a_path_is_in_a_folder_in_whichever_writing() {
        for path in ["a/b/c", "a/b", "A/B/c", r"a\b\c", "a/b./c", "./a//b/c"] {
            assert!(is_of_cache(path, "a/b"), "{path}");
        }
        for path in ["a", "a/c", "b/a/b", "a/bc", "ab"] {
            assert!(!is_of_cache(path, "a/b"), "{path}");
        }
        for path in
            ["models--a--b/x", "Datasets--a--b", "./spaces--a/x", ".locks/x", "MODELS~1", "blobs"]
        {
            assert!(is_of_cache(path, ""), "{path}");
        }
        for path in ["", "models/x", "a/models--a--b/x", "models-a", "llama", "blobs.txt"] {
            assert!(!is_of_cache(path, ""), "{path}");
        }
    }

    /// In whichever writing.
    #[test]
    fn a_repo_has_no_place_in_gits_folder() {
        for path in [".git/config", "a/.GIT/x", "a/.git", "git~1/x", ".git./x", ".gi\u{200b}t/x"] {
            assert!(is_of_git(path), "{path}");
        }
        for path in [".gitignore", "git/x", ".github/x", "a.git/x", "git~/x"] {
            assert!(!is_of_git(path), "{path}");
        }
    }
}
