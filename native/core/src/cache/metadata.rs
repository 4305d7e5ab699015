//! What is known of a file in a local folder: `<path>.metadata`, `huggingface_hub`'s format.
//!
//! Three lines: commit, etag, and the Unix time, in seconds with a fraction, at which the file had
//! that content.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry};
use crate::sys::files::{self, Durability};

/// How much later than its metadata a file may have been written, in seconds: some file systems
/// round times.
const TOLERANCE: f64 = 1.0;

#[derive(Debug, PartialEq)]
pub(super) struct Metadata {
    pub(super) commit: String,
    pub(super) etag: String,
    time: f64,
}

impl Metadata {
    /// Reads a metadata file; `None` if it's absent or broken.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let parsed = files::read_text(path)?.map(|text| Self::parse(&text));
        if parsed == Some(None) {
            tracing::warn!(path = %path.display(), "ignored a broken metadata file");
        }
        Ok(parsed.flatten())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(|line| line.trim().to_owned());
        Some(Self { commit: lines.next()?, etag: lines.next()?, time: lines.next()?.parse().ok()? })
    }

    /// Whether a file with these times hasn't been written to since.
    pub(super) fn describes(&self, file: &fs::Metadata) -> bool {
        file.modified().is_ok_and(|modified| seconds(modified) - TOLERANCE <= self.time)
    }

    /// Forgets what is known of a file.
    pub(super) fn remove(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(e) if !files::is_absent(&e) => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    /// Notes that a file has the content of `entry` now. The folder exists.
    pub(super) fn write(path: &Path, commit: &CommitId, entry: &Entry) -> Result<()> {
        let text = format!("{commit}\n{}\n{:.6}\n", entry.etag(), seconds(SystemTime::now()));
        files::write(path, text.as_bytes(), Durability::Lazy)
    }
}

/// Since 1970, negative before.
fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

#[cfg(test)]
mod fuzz;
