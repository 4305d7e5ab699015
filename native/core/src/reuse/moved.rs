//! Files that were given another name after they were remembered: `huggingface_hub` downloads to a file with a name
//! of its own, and moves that to its place when whoever downloads for it is done.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use crate::sys::files;
use crate::sys::identity::FileIdentity;

/// What its names for downloads end with: `<name>.<8 hex digits>.incomplete`.
const ENDING: &[u8] = b".incomplete";
const RANDOM: usize = 8;

/// Where it keeps such files below a local folder, in the folders that the finished ones have there.
const BELOW_LOCAL: &str = ".cache/huggingface/download";

/// The most names that are looked at in a folder.
const MOST: usize = 10_000;

/// Where a file is now that was downloaded to `path`, and is still what it was then.
pub(super) fn find(path: &Path, identity: FileIdentity) -> Option<PathBuf> {
    let stem = stem(path.file_name()?)?;
    let folder = files::parent(path);
    let is_it = |path: &Path| identity.is_of(path);
    // In the cache it has the name of its content, be it that of a link into the store that repos share.
    let in_cache = fs::canonicalize(folder.join(stem)).ok().filter(|path| is_it(path));
    in_cache.or_else(|| {
        let entries = fs::read_dir(mirrored(folder)?).ok()?;
        let same = |entry: &fs::DirEntry| entry.ino() == identity.inode;
        let found = entries.take(MOST).flatten().find(same)?.path();
        is_it(&found).then_some(found)
    })
}

/// What such a name begins with.
fn stem(name: &OsStr) -> Option<&OsStr> {
    let name = name.as_bytes().strip_suffix(ENDING)?;
    let (stem, random) = name.split_at_checked(name.len().checked_sub(RANDOM + 1)?)?;
    let is_random = random[0] == b'.' && random[1..].iter().all(u8::is_ascii_hexdigit);
    (is_random && !stem.is_empty()).then(|| OsStr::from_bytes(stem))
}

/// The folder in which the finished files are of those that are downloaded to `folder`, below a local one.
fn mirrored(folder: &Path) -> Option<PathBuf> {
    let root = folder.ancestors().find(|ancestor| ancestor.ends_with(BELOW_LOCAL))?;
    let below = folder.strip_prefix(root).ok()?;
    Some(root.ancestors().nth(3)?.join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(path: &Path) -> FileIdentity {
        FileIdentity::of(&fs::metadata(path).unwrap()).unwrap()
    }

    /// Both layouts, and nothing else: no other name, and no other file.
    #[test]
    fn what_huggingface_hub_moved_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let blobs = root.join("blobs");
        let local = root.join("local/.cache/huggingface/download/sub/folder");
        for folder in [&blobs, &local, &root.join("local/sub/folder"), &root.join("shared")] {
            fs::create_dir_all(folder).unwrap();
        }
        let moves = [
            (blobs.join("etag.0123abcd.incomplete"), blobs.join("etag")),
            (blobs.join("other.0123abcd.incomplete"), root.join("shared/x")),
            (local.join("hash=.etag.0123abcd.incomplete"), root.join("local/sub/folder/a.bin")),
        ];
        for (from, to) in &moves {
            fs::write(from, from.as_os_str().as_bytes()).unwrap();
            let before = identity(from);
            assert_eq!(find(from, before), None, "it's still there");
            fs::rename(from, to).unwrap();
            if to.starts_with(root.join("shared")) {
                std::os::unix::fs::symlink(to, blobs.join("other")).unwrap();
            }
            assert_eq!(find(from, before).as_ref(), Some(to));
            let other = FileIdentity { modified: before.modified + 1, ..before };
            assert_eq!(find(from, other), None);
            assert_eq!(find(&from.with_extension("partial"), before), None);
        }
    }

    #[test]
    fn only_names_of_downloads_have_a_stem() {
        let stem = |name: &str| super::stem(OsStr::new(name)).map(ToOwned::to_owned);
        assert_eq!(stem("a.b.0123abcd.incomplete"), Some("a.b".into()));
        for name in [".0123abcd.incomplete", "a.0123abcx.incomplete", "a.incomplete", "incomplete"]
        {
            assert_eq!(stem(name), None, "{name}");
        }
    }
}
