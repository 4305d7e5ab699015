//! The files of a folder, as an upload takes them.
//!
//! What the patterns exclude can't be in the way: a folder that may not be read, or a name that isn't
//! text, is an error only where it might be wanted. What is no content (sockets, links that lead
//! nowhere, loops of folders) is left out, by name.

use std::collections::HashMap;
use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::item::Addition;
use super::request::ContentSource;
use crate::call::walk::Walk;
use crate::model::error::{Error, Kind, Result};
use crate::model::pattern::PatternSet;
use crate::model::repo::RepoPath;
use crate::sys::files::is_link_loop;

/// Deeper folders than this come from a mistake.
const MAX_DEPTH: usize = 256;

/// Ways to one folder, over links. A few folders that link to each other, as package managers make them, have
/// more ways than anybody could upload.
const MAX_WAYS: u32 = 1000;

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
    walk: &Walk,
) -> Result<Found> {
    let metadata = fs::metadata(folder).map_err(|e| Error::io("read folder", folder, e))?;
    if !metadata.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(Error::io("upload folder", folder, error));
    }
    let search = Search { patterns, walk };
    let (mut names, mut left_out) = (Vec::new(), 0);
    let mut ways: HashMap<Identity, u32> = HashMap::new();
    let mut level = vec![Folder::root(folder, &metadata)];
    // All folders of one depth are read side by side, where that helps.
    while !level.is_empty() {
        let entries = walk.each(&level, |folder| search.entries(folder))?;
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        let looked = walk.each(&entries, |entry| search.look(entry))?;
        level.clear();
        for (entry, what) in entries.into_iter().zip(looked) {
            match what {
                What::Content => names.push(entry.relative),
                What::Folder(folder) => {
                    if let Some(identity) = folder.identity {
                        let ways = ways.entry(identity).or_default();
                        *ways += 1;
                        if *ways > MAX_WAYS {
                            return Err(too_many_ways(&folder.path));
                        }
                    }
                    level.push(folder);
                }
                What::Nothing => {}
                What::LeftOut(why) => {
                    tracing::warn!("left out of the upload: {} is {why}", entry.path.display());
                    left_out += 1;
                }
            }
        }
    }
    names.sort();
    let additions = names.into_iter().map(|relative| {
        let path = match prefix {
            Some(prefix) => RepoPath::new(&format!("{prefix}/{relative}"))?,
            None => RepoPath::new(&relative)?,
        };
        Ok(Addition { path, source: ContentSource::Path(folder.join(relative)) })
    });
    Ok(Found { files: additions.collect::<Result<_>>()?, left_out })
}

/// Device and inode: what a folder is, whatever it's called.
type Identity = (u64, u64);

/// `None`: the file system doesn't say.
fn identity(metadata: &fs::Metadata) -> Option<Identity> {
    (metadata.ino() != 0).then(|| (metadata.dev(), metadata.ino()))
}

/// A folder that is read.
struct Folder {
    path: PathBuf,
    /// Below the folder of the upload, with `/`; that one's own is empty.
    relative: String,
    identity: Option<Identity>,
    /// The one that led here.
    above: Option<Arc<Folder>>,
    depth: usize,
}

impl Folder {
    fn root(path: &Path, metadata: &fs::Metadata) -> Arc<Self> {
        let (path, identity) = (path.to_owned(), identity(metadata));
        Arc::new(Self { path, relative: String::new(), identity, above: None, depth: 0 })
    }

    /// What is called `name` in it.
    fn below(&self, name: &str) -> String {
        if self.depth == 0 { name.to_owned() } else { format!("{}/{name}", self.relative) }
    }

    /// Whether `name` in it is no content: `.git`, or `huggingface` in a `.cache`.
    fn keeps_private(&self, name: &str) -> bool {
        let own = self.relative.rsplit('/').next();
        name == ".git" || (name == "huggingface" && own == Some(".cache"))
    }

    /// Whether the folder of this identity is it, or led to it.
    fn is_within(&self, identity: Option<Identity>) -> bool {
        let mut folders = std::iter::successors(Some(self), |folder| folder.above.as_deref());
        identity.is_some() && folders.any(|folder| folder.identity == identity)
    }
}

/// Something in a folder.
struct Entry {
    folder: Arc<Folder>,
    path: PathBuf,
    relative: String,
    /// Of what is there itself, which may be a link.
    kind: FileType,
    /// Whether its name is UTF-8; if not, `relative` is only like it.
    is_text: bool,
}

/// What something in a folder is to the upload.
enum What {
    Content,
    Folder(Arc<Folder>),
    /// Wanted, but no content, for this reason.
    LeftOut(&'static str),
    /// Not wanted.
    Nothing,
}

struct Search<'a> {
    patterns: &'a PatternSet,
    walk: &'a Walk,
}

impl Search<'_> {
    /// What is in `folder`.
    fn entries(&self, folder: &Arc<Folder>) -> Result<Vec<Entry>> {
        let failed = |e| Error::io("read folder", &folder.path, e);
        if folder.depth > MAX_DEPTH {
            return Err(failed(io::Error::other(format!(
                "it is more than {MAX_DEPTH} folders deep"
            ))));
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(&folder.path).map_err(failed)? {
            self.walk.step()?;
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let (is_text, name) = (name.to_str().is_some(), name.to_string_lossy());
            if folder.keeps_private(&name) {
                continue;
            }
            let (path, relative) = (entry.path(), folder.below(&name));
            let kind = entry.file_type().map_err(|e| Error::io("look at", &path, e))?;
            entries.push(Entry { folder: Arc::clone(folder), path, relative, kind, is_text });
        }
        Ok(entries)
    }

    /// What `entry` is, at its end if it's a link.
    fn look(&self, entry: &Entry) -> Result<What> {
        let Entry { path, relative, .. } = entry;
        let kind = if entry.kind.is_symlink() {
            match fs::metadata(path) {
                Ok(end) => end.file_type(),
                Err(e) if leads_nowhere(&e) => {
                    return Ok(self.left_out(relative, "a link that leads nowhere"));
                }
                Err(_) if !self.may_matter(relative) => return Ok(What::Nothing),
                Err(e) => return Err(Error::io("follow", path, e)),
            }
        } else {
            entry.kind
        };
        if kind.is_dir() {
            return self.folder(entry);
        }
        if !kind.is_file() {
            return Ok(self.left_out(relative, "neither a file nor a folder"));
        }
        match self.patterns.matches(relative) {
            false => Ok(What::Nothing),
            true if !entry.is_text => Err(not_utf8(path)),
            true => Ok(What::Content),
        }
    }

    fn folder(&self, entry: &Entry) -> Result<What> {
        let Entry { folder: above, path, relative, is_text, .. } = entry;
        if !self.patterns.may_take_below(relative) {
            return Ok(What::Nothing);
        }
        if !is_text {
            return Err(not_utf8(path));
        }
        let metadata = fs::metadata(path).map_err(|e| Error::io("look at", path, e))?;
        let identity = identity(&metadata);
        if above.is_within(identity) {
            return Ok(What::LeftOut("a link to a folder that it is in"));
        }
        Ok(What::Folder(Arc::new(Folder {
            path: path.clone(),
            relative: relative.clone(),
            identity,
            above: Some(Arc::clone(above)),
            depth: above.depth + 1,
        })))
    }

    fn may_matter(&self, relative: &str) -> bool {
        self.patterns.matches(relative) || self.patterns.may_take_below(relative)
    }

    fn left_out(&self, relative: &str, why: &'static str) -> What {
        if self.patterns.matches(relative) { What::LeftOut(why) } else { What::Nothing }
    }
}

/// Whether following a link failed because there is nothing at its end.
fn leads_nowhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory) || is_link_loop(error)
}

fn too_many_ways(path: &Path) -> Error {
    let shown = path.display().to_string();
    let message = format!(
        "{shown}: more than {MAX_WAYS} ways lead to this folder, over links; leave some out with \
         ignore_patterns"
    );
    Error::new(Kind::InvalidArgument, message).with(|c| c.file = Some(shown))
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
            files(root.path(), prefix, patterns, &Walk::default()).unwrap()
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

    /// Folders that link to each other end the walk, unless they are left out.
    #[test]
    fn folders_that_link_to_each_other_are_no_endless_walk() {
        let root = tempfile::tempdir().unwrap();
        let name = |i: usize| format!("p{i}");
        for i in 0..12 {
            let folder = root.path().join("packages").join(name(i));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("x"), "x").unwrap();
            for other in (0..12).filter(|&other| other != i) {
                let to = Path::new("..").join(name(other));
                std::os::unix::fs::symlink(to, folder.join(name(other))).unwrap();
            }
        }
        fs::write(root.path().join("a.bin"), "x").unwrap();
        let error = files(root.path(), None, &PatternSet::default(), &Walk::default()).unwrap_err();
        assert!(error.to_string().contains("1000 ways"), "{error}");
        let some = PatternSet::new(None, &["packages/*".to_owned()]).unwrap();
        let found = files(root.path(), None, &some, &Walk::default()).unwrap();
        assert_eq!(found.files.len(), 1);
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
