//! Where a file in a local folder is from: `<path>.metadata`, `huggingface_hub`'s format.
//!
//! Three lines: commit, etag, and the Unix time, in seconds with a fraction, at which the file had
//! that content. `huggingface_hub` takes each file for it that hasn't a later time. Here the time doesn't count:
//! that a file has the content is known by [`verified`](super::verified), or by its hash.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry};
use crate::sys::files::{self, Durability};

/// More bytes than any has.
const LONGEST: u64 = 4 << 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) commit: String,
    pub(super) etag: String,
}

impl Metadata {
    /// Reads a metadata file; `None` if it's absent or broken.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let parsed = files::read_text(path, LONGEST)?.map(|text| Self::parse(&text));
        if parsed == Some(None) {
            tracing::warn!(path = %path.display(), "ignored a broken metadata file");
        }
        Ok(parsed.flatten())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(|line| line.trim().to_owned());
        let (commit, etag, _time) = (lines.next()?, lines.next()?, lines.next()?);
        Some(Self { commit, etag })
    }

    /// Forgets what is known of a file.
    pub(super) fn remove(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(e) if !files::is_absent(&e) => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    /// Notes in `path`, whose folder exists, that a file has the content of `entry`. The time is that of the last
    /// write to it, as it was `found` before it was read, or when it was finished: a later write isn't vouched for.
    pub(super) fn write(
        path: &Path,
        commit: &CommitId,
        entry: &Entry,
        found: &fs::Metadata,
    ) -> Result<()> {
        let (second, nanos) = (found.mtime(), found.mtime_nsec());
        // Before 1970 the second and its parts don't go in one direction.
        let time = if second < 0 { "0.0".to_owned() } else { format!("{second}.{nanos:09}") };
        let text = format!("{commit}\n{}\n{time}\n", entry.etag());
        files::write(path, text.as_bytes(), Durability::Lazy)
    }
}

#[cfg(test)]
mod fuzz;
