//! The files of a folder, as an upload takes them.
//!
//! What the patterns exclude can't be in the way: a folder that may not be read, or a name that isn't
//! text, is an error only where it might be wanted. What is no content (sockets, links that lead
//! nowhere, loops of folders) is left out, by name.

use std::fs::{self, DirEntry, FileType};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::item::Addition;
use super::request::ContentSource;
use crate::call::Call;
use crate::model::error::{Error, Kind, Result};
use crate::model::pattern::PatternSet;
use crate::model::repo::RepoPath;
use crate::sys::files::is_link_loop;

/// Deeper folders than this come from a mistake.
const MAX_DEPTH: usize = 256;

/// What is in a folder.
#[derive(Debug)]
pub(super) struct Found {
    /// In the order of their paths.
    pub(super) files: Vec<Addition>,
    /// What the patterns take, too, and isn't content.
    pub(super) left_out: u64,
}

/// All regular files below `folder` that `patterns` take. Links are followed, those to folders too.
/// What git and `huggingface_hub` keep for themselves (`.git`, `.cache/huggingface`) is no part of it.
pub(super) fn files(
    folder: &Path,
    prefix: Option<&RepoPath>,
    patterns: &PatternSet,
    call: &Call,
) -> Result<Found> {
    let metadata = fs::metadata(folder).map_err(|e| Error::io("read folder", folder, e))?;
    if !metadata.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(Error::io("upload folder", folder, error));
    }
    let above = vec![identity(&metadata)];
    let mut walk =
        Walk { patterns, call, above, names: Vec::new(), found: Vec::new(), left_out: 0 };
    walk.folder(folder)?;
    walk.found.sort();
    let additions = walk.found.into_iter().map(|relative| {
        let path = match prefix {
            Some(prefix) => RepoPath::new(&format!("{prefix}/{relative}"))?,
            None => RepoPath::new(&relative)?,
        };
        Ok(Addition { path, source: ContentSource::Path(folder.join(relative)) })
    });
    Ok(Found { files: additions.collect::<Result<_>>()?, left_out: walk.left_out })
}

/// Device and inode: what a folder is, whatever it's called.
type Identity = (u64, u64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

struct Walk<'a> {
    patterns: &'a PatternSet,
    call: &'a Call,
    /// The folder that is read and those above it, and the names that led there.
    above: Vec<Identity>,
    names: Vec<String>,
    found: Vec<String>,
    left_out: u64,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path) -> Result<()> {
        if self.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        let failed = |e| Error::io("read folder", folder, e);
        if self.names.len() > MAX_DEPTH {
            return Err(failed(io::Error::other(format!(
                "it is more than {MAX_DEPTH} folders deep"
            ))));
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            self.call.beat();
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let shown = name.to_string_lossy().into_owned();
            if is_private(&self.names, &shown) {
                continue;
            }
            self.names.push(shown);
            self.entry(&entry, name.to_str().is_some())?;
            self.names.pop();
        }
        Ok(())
    }

    /// What is at `entry`, whose name has been added; `is_text`: as it is.
    fn entry(&mut self, entry: &DirEntry, is_text: bool) -> Result<()> {
        let (path, relative) = (entry.path(), self.names.join("/"));
        let kind = entry.file_type().map_err(|e| Error::io("look at", &path, e))?;
        if !kind.is_symlink() {
            return self.found(&path, relative, kind, is_text);
        }
        match fs::metadata(&path) {
            Ok(end) => self.found(&path, relative, end.file_type(), is_text),
            Err(e) if leads_nowhere(&e) => {
                self.leave_out(&path, &relative, "a link that leads nowhere");
                Ok(())
            }
            Err(_) if !self.may_matter(&relative) => Ok(()),
            Err(e) => Err(Error::io("follow", &path, e)),
        }
    }

    fn found(
        &mut self,
        path: &Path,
        relative: String,
        kind: FileType,
        is_text: bool,
    ) -> Result<()> {
        if kind.is_dir() {
            let found = self.found.len();
            return match self.below(path, &relative, is_text) {
                Err(error) if !self.call.is_cancelled() && !self.may_matter_below(&relative) => {
                    tracing::debug!(path = %path.display(), %error, "an excluded folder");
                    self.found.truncate(found);
                    Ok(())
                }
                done => done,
            };
        }
        if !kind.is_file() {
            self.leave_out(path, &relative, "neither a file nor a folder");
        } else if self.patterns.matches(&relative) {
            if !is_text {
                return Err(not_utf8(path));
            }
            self.found.push(relative);
        }
        Ok(())
    }

    fn below(&mut self, path: &Path, relative: &str, is_text: bool) -> Result<()> {
        if !is_text {
            return Err(not_utf8(path));
        }
        let metadata = fs::metadata(path).map_err(|e| Error::io("look at", path, e))?;
        let folder = identity(&metadata);
        if self.above.contains(&folder) {
            if self.may_matter_below(relative) {
                self.count(path, "a link to a folder that it is in");
            }
            return Ok(());
        }
        let depth = self.names.len();
        self.above.push(folder);
        let read = self.folder(path);
        self.above.pop();
        // After a failure, what led there.
        self.names.truncate(depth);
        read
    }

    fn may_matter(&self, relative: &str) -> bool {
        self.patterns.matches(relative) || self.may_matter_below(relative)
    }

    fn may_matter_below(&self, relative: &str) -> bool {
        self.patterns.may_take_below(relative)
    }

    fn leave_out(&mut self, path: &Path, relative: &str, why: &str) {
        if self.patterns.matches(relative) {
            self.count(path, why);
        }
    }

    fn count(&mut self, path: &Path, why: &str) {
        tracing::warn!(path = %path.display(), why, "left out of the upload");
        self.left_out += 1;
    }
}

/// Whether following a link failed because there is nothing at its end.
fn leads_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory) || is_link_loop(error)
}

/// Whether a folder or file is no content: `.git`, or `huggingface` in a `.cache`.
fn is_private(parents: &[String], name: &str) -> bool {
    name == ".git" || (name == "huggingface" && parents.last().is_some_and(|p| p == ".cache"))
}

fn not_utf8(path: &Path) -> Error {
    let shown = path.display().to_string();
    let message = format!("{shown}: the name is not valid UTF-8, which the Hub requires");
    Error::new(Kind::UnsafePath, message).with(|c| c.file = Some(shown))
}

/// Refuses places that neither git nor the Hub lets a commit write to.
pub(super) fn check_place(path: &RepoPath) -> Result<()> {
    let forbidden = |segment: &&str| matches!(*segment, ".git" | ".cache");
    match path.as_str().split('/').find(forbidden) {
        None => Ok(()),
        Some(segment) => {
            let message =
                format!("file path {:?}: nothing may be in a folder {segment}", path.as_str());
            Err(Error::new(Kind::UnsafePath, message).with(|c| c.file = Some(path.to_string())))
        }
    }
}

/// The path of a file or folder in the repo, as callers write it: `/a`, `./a` and `a/` are `a`.
pub fn place(text: &str) -> Result<RepoPath> {
    let text = text.strip_prefix("./").unwrap_or(text).trim_start_matches('/');
    let path = RepoPath::new(text.strip_suffix('/').unwrap_or(text))?;
    check_place(&path)?;
    Ok(path)
}

/// The absolute path of a folder or file of the caller's, so that a later change of the working
/// directory doesn't matter.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("find", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder's files are found at all depths, through links, and without what git and the cache keep
    /// there; what leads nowhere or round in circles is counted.
    #[test]
    fn a_folder_is_walked() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        for path in [
            "b.txt",
            "a/c.bin",
            ".gitattributes",
            ".git/config",
            "a/.git/config",
            ".cache/huggingface/x",
            "a/.cache/huggingface/y",
        ] {
            write(path);
        }
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, root.path().join(name)).unwrap();
        };
        link("b.txt", "link.txt");
        link("a", "folder");
        link("nowhere", "broken");
        link("round", "round");
        link("..", "a/up");
        let find = |prefix: Option<&RepoPath>, patterns: &PatternSet| {
            files(root.path(), prefix, patterns, &Call::default()).unwrap()
        };
        let paths = |prefix: Option<&RepoPath>, patterns: &PatternSet| -> Vec<String> {
            find(prefix, patterns).files.iter().map(|file| file.path.to_string()).collect()
        };
        let all = PatternSet::default();
        let expected = [".gitattributes", "a/c.bin", "b.txt", "folder/c.bin", "link.txt"];
        assert_eq!(paths(None, &all), expected);
        // "broken", "round", and "up" in "a" and in "folder".
        assert_eq!(find(None, &all).left_out, 4);
        let some = PatternSet::new(None, &["*up/*".to_owned(), "round".to_owned()]).unwrap();
        assert_eq!(find(None, &some).left_out, 1);
        let text = PatternSet::new(Some(&["*.txt".to_owned()]), &[]).unwrap();
        let prefix = RepoPath::new("p/q").unwrap();
        assert_eq!(paths(Some(&prefix), &text), ["p/q/b.txt", "p/q/link.txt"]);
    }

    /// Paths are taken as callers write them; forbidden folders are not.
    #[test]
    fn places_are_normalised_and_checked() {
        for (text, expected) in [
            ("a/b", Some("a/b")),
            ("/a", Some("a")),
            ("./a/", Some("a")),
            (".gitattributes", Some(".gitattributes")),
            ("a/.git/b", None),
            (".cache/x", None),
            ("../a", None),
            ("", None),
            ("/", None),
        ] {
            let place = place(text).ok();
            assert_eq!(place.as_ref().map(RepoPath::as_str), expected, "{text}");
        }
    }
}
