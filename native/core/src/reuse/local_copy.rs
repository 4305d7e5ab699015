//! Files on this machine, and whether they're still what they were.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What tells a file from one that was put in its place or written to since. Content can change
/// without it, by a bad disk or by someone who sets times back; a reader hashes anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// In nanoseconds since 1970.
    pub(super) modified: i64,
}

impl FileIdentity {
    /// Of a regular file.
    pub(super) fn of(found: &Metadata) -> Option<Self> {
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
}

/// A file that has the content that the index says, unless it has changed.
#[derive(Debug)]
pub(crate) struct LocalCopy {
    /// Its row.
    pub(super) id: i64,
    /// The content's row.
    pub(super) content: i64,
    pub(super) path: PathBuf,
    pub(super) identity: FileIdentity,
}

impl LocalCopy {
    /// One that isn't in an index.
    #[cfg(test)]
    pub(crate) fn at(path: &str) -> Self {
        let identity = FileIdentity { device: 0, inode: 0, size: 0, modified: 0 };
        Self { id: 0, content: 0, path: path.into(), identity }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for reading, if it's still the file that was remembered.
    pub(crate) fn open(&self) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            // Whatever has taken its place since, opening it must not block.
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
            .open(&self.path)?;
        if FileIdentity::of(&file.metadata()?) == Some(self.identity) {
            Ok(file)
        } else {
            Err(io::Error::other("it has changed"))
        }
    }

    /// Whether it looks as it did.
    pub(super) fn is_unchanged(&self) -> bool {
        std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| FileIdentity::of(&found) == Some(self.identity))
    }
}
