//! What is known of a file in a local folder: `<path>.metadata`, `huggingface_hub`'s format.
//!
//! Three lines: commit, etag, and the Unix time, in seconds with a fraction, at which the file had
//! that content. With nine digits behind the point, as we write it, it's the time of the last write to the
//! file, so one that was put in its place with an older time is noticed, too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry};
use crate::sys::files::{self, Durability};

/// How much later than its metadata a file may have been written, in seconds, as `huggingface_hub` has it: some
/// file systems round times.
const TOLERANCE: f64 = 1.0;

const NANOS: i64 = 1_000_000_000;

#[derive(Debug, PartialEq)]
pub(super) struct Metadata {
    pub(super) commit: String,
    pub(super) etag: String,
    time: Time,
}

#[derive(Debug, PartialEq)]
enum Time {
    /// Of the last write to the file, in nanoseconds.
    OfFile(i64),
    /// Of the note, in seconds.
    OfNote(f64),
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
        let (commit, etag, time) = (lines.next()?, lines.next()?, lines.next()?);
        Some(Self { commit, etag, time: Time::parse(&time)? })
    }

    /// Whether a file with these times hasn't been written to since.
    pub(super) fn describes(&self, file: &fs::Metadata) -> bool {
        let (second, nanos) = (file.mtime(), file.mtime_nsec());
        match self.time {
            Time::OfFile(time) => is_same(time, second.saturating_mul(NANOS).saturating_add(nanos)),
            Time::OfNote(time) => {
                file.modified().is_ok_and(|modified| seconds(modified) - TOLERANCE <= time)
            }
        }
    }

    /// Forgets what is known of a file.
    pub(super) fn remove(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(e) if !files::is_absent(&e) => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    /// Notes in `path`, whose folder exists, that `file` has the content of `entry`.
    pub(super) fn write(path: &Path, commit: &CommitId, entry: &Entry, file: &Path) -> Result<()> {
        let found = fs::symlink_metadata(file).map_err(|e| Error::io("look at", file, e))?;
        let (second, nanos) = (found.mtime(), found.mtime_nsec());
        // Before 1970 the second and its parts don't go in one direction.
        let time = if second < 0 { "0.0".to_owned() } else { format!("{second}.{nanos:09}") };
        let text = format!("{commit}\n{}\n{time}\n", entry.etag());
        files::write(path, text.as_bytes(), Durability::Lazy)
    }
}

impl Time {
    fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if let Some((second, nanos)) = text.split_once('.')
            && nanos.len() == 9
            && digits(nanos)
            && digits(second)
        {
            let second: i64 = second.parse().ok()?;
            let nanos: i64 = nanos.parse().ok()?;
            return Some(Self::OfFile(second.checked_mul(NANOS)?.checked_add(nanos)?));
        }
        text.parse().ok().map(Self::OfNote)
    }
}

/// Whether a file's time, in nanoseconds, is the one that was noted. Archives and many file systems keep whole
/// seconds, or fewer digits than the memory of the system does.
fn is_same(noted: i64, of_file: i64) -> bool {
    let mut kept = NANOS;
    while of_file % kept != 0 {
        kept /= 10;
    }
    noted.div_euclid(kept) == of_file.div_euclid(kept)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system may keep fewer digits, but not other ones.
    #[test]
    fn a_time_may_be_cut_short() {
        let noted = 1_700_000_000_123_456_789;
        for same in
            [noted, 1_700_000_000_123_456_700, 1_700_000_000_120_000_000, 1_700_000_000 * NANOS]
        {
            assert!(is_same(noted, same), "{same}");
        }
        for other in
            [noted + 1, 1_700_000_000_123_456_600, 1_700_000_000_130_000_000, 1_700_000_001 * NANOS]
        {
            assert!(!is_same(noted, other), "{other}");
        }
    }

    /// Nine digits are a file's own time, others that of a note.
    #[test]
    fn the_time_of_a_file_has_nine_digits() {
        let of_file = Time::OfFile(1_700_000_000_500_000_000);
        assert_eq!(Time::parse("1700000000.500000000"), Some(of_file));
        assert_eq!(Time::parse("1700000000.5"), Some(Time::OfNote(1_700_000_000.5)));
        assert_eq!(Time::parse("soon"), None);
    }
}
