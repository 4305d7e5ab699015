//! Whether a file is still what it was.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells a regular file from one that was put in its place or written to since. Content can
/// change without it, by a bad disk or by someone who sets times back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// In nanoseconds since 1970.
    pub(crate) modified: i64,
}

impl FileIdentity {
    /// `None`: it isn't a regular file.
    pub(crate) fn of(found: &Metadata) -> Option<Self> {
        found.is_file().then(|| Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: found
                .mtime()
                .saturating_mul(1_000_000_000)
                .saturating_add(found.mtime_nsec()),
        })
    }

    /// Whether the file at `path` is the same, and as it was. Links are followed.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| Self::of(&found) == Some(*self))
    }
}
