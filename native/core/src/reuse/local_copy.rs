//! Files on this machine, and whether they're still what they were.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::identity::FileIdentity;
use crate::sys::open::Wary;

/// A file that has the content that the index says, unless it has changed. A reader hashes anyway.
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

    /// What it was when it was remembered.
    pub(crate) fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// Opens it for reading, if it's still the file that was remembered.
    pub(crate) fn open(&self) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            // Whatever has taken its place since, opening it must not block.
            .never_follow_nor_wait()
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
