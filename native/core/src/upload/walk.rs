//! The files of a folder, as an upload takes them.

use std::fs::ReadDir;
use std::io;
use std::path::{Path, PathBuf};

use super::item::Addition;
use super::request::ContentSource;
use crate::call::Call;
use crate::model::error::{Error, Kind, Result};
use crate::model::pattern::PatternSet;
use crate::model::repo::RepoPath;

/// Deeper folders than this come from a loop or a mistake.
const MAX_DEPTH: usize = 256;

/// All regular files below `folder` that `patterns` take, in the order of their paths, and their
/// sizes. Links to files are followed; links to folders are not, as for Python's `Path.glob`.
/// What git and `huggingface_hub` keep for themselves (`.git`, `.cache/huggingface`) is left out.
pub(super) fn files(
    folder: &Path,
    prefix: Option<&RepoPath>,
    patterns: &PatternSet,
    call: &Call,
) -> Result<Vec<Addition>> {
    let mut found = Vec::new();
    let metadata = std::fs::metadata(folder).map_err(|e| Error::io("read folder", folder, e))?;
    if !metadata.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(Error::io("upload folder", folder, error));
    }
    walk(folder, &mut Vec::new(), &mut found, call)?;
    found.sort();
    let taken = found.into_iter().filter(|relative| patterns.matches(relative));
    taken
        .map(|relative| {
            let path = match prefix {
                Some(prefix) => RepoPath::new(&format!("{prefix}/{relative}"))?,
                None => RepoPath::new(&relative)?,
            };
            Ok(Addition { path, source: ContentSource::Path(folder.join(relative)) })
        })
        .collect()
}

fn walk(
    folder: &Path,
    names: &mut Vec<String>,
    found: &mut Vec<String>,
    call: &Call,
) -> Result<()> {
    if call.is_cancelled() {
        return Err(Error::cancelled());
    }
    if names.len() > MAX_DEPTH {
        let error = io::Error::other(format!("it is more than {MAX_DEPTH} folders deep"));
        return Err(Error::io("read folder", folder, error));
    }
    let entries: ReadDir =
        std::fs::read_dir(folder).map_err(|e| Error::io("read folder", folder, e))?;
    for entry in entries {
        call.beat();
        let entry = entry.map_err(|e| Error::io("read folder", folder, e))?;
        let path = entry.path();
        let name = entry.file_name().into_string().map_err(|_| not_utf8(&path))?;
        if is_private(names, &name) {
            continue;
        }
        let kind = entry.file_type().map_err(|e| Error::io("look at", &path, e))?;
        if kind.is_dir() {
            names.push(name);
            walk(&path, names, found, call)?;
            names.pop();
        } else if kind.is_file() || (kind.is_symlink() && leads_to_a_file(&path)?) {
            names.push(name);
            found.push(names.join("/"));
            names.pop();
        }
    }
    Ok(())
}

/// Whether a folder or file is no content: `.git`, or `huggingface` in a `.cache`.
fn is_private(parents: &[String], name: &str) -> bool {
    name == ".git" || (name == "huggingface" && parents.last().is_some_and(|p| p == ".cache"))
}

/// A link that leads nowhere is no file.
fn leads_to_a_file(path: &Path) -> Result<bool> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("follow", path, error)),
    }
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

    /// A folder's files are found at all depths, through links to files, and without what git and
    /// the cache keep there.
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
        let paths = |prefix: Option<&RepoPath>, patterns: &PatternSet| -> Vec<String> {
            let found = files(root.path(), prefix, patterns, &Call::default()).unwrap();
            found.into_iter().map(|file| file.path.to_string()).collect()
        };
        let all = PatternSet::default();
        assert_eq!(paths(None, &all), [".gitattributes", "a/c.bin", "b.txt", "link.txt"]);
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
