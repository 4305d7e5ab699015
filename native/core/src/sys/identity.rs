//! Whether a file is still what it was.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest step in which a file system's clock goes (FAT). Whoever writes to a file within the step of
/// its last write leaves it with the same time.
const STEP: Duration = Duration::from_secs(2);

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
            modified: nanos(found.mtime(), found.mtime_nsec()),
        })
    }

    /// Whether the file at `path` is the same, and as it was. Links are followed.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| Self::of(&found) == Some(*self))
    }
}

/// What tells a regular file from any other one that had its path, also from one that was renamed to it,
/// with its old time and the same size. Not its device: that may get another number with each mount.
///
/// Programs can't set the time of the last change. Where inodes or times don't last, the same file looks like
/// another one, and never the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp {
    inode: u64,
    size: u64,
    /// In nanoseconds since 1970, as the next.
    modified: i64,
    changed: i64,
}

impl FileStamp {
    /// `None`: it isn't a regular file.
    pub(crate) fn of(found: &Metadata) -> Option<Self> {
        found.is_file().then(|| Self {
            inode: found.ino(),
            size: found.len(),
            modified: nanos(found.mtime(), found.mtime_nsec()),
            changed: nanos(found.ctime(), found.ctime_nsec()),
        })
    }

    /// Whether each write after `at` gives the file another stamp.
    pub(crate) fn is_settled(&self, at: SystemTime) -> bool {
        let now = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let latest = now.checked_sub(STEP).unwrap_or_default().as_nanos();
        i128::from(self.modified) <= i128::try_from(latest).unwrap_or(i128::MAX)
    }

    /// Whether nobody has written to the file since it had the stamp `before`, be it one whose inode has another
    /// number each time.
    pub(crate) fn is_unwritten_since(self, before: Self) -> bool {
        Self { inode: before.inode, ..self } == before
    }

    /// As [`Display`](fmt::Display) writes it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let stamp = Self {
            inode: words.next()?.parse().ok()?,
            size: words.next()?.parse().ok()?,
            modified: words.next()?.parse().ok()?,
            changed: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(stamp)
    }
}

impl fmt::Display for FileStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inode, size, modified, changed } = self;
        write!(f, "{inode} {size} {modified} {changed}")
    }
}

/// A time so long before now that a file with it is [settled](FileStamp::is_settled).
pub(crate) fn settled_time() -> SystemTime {
    SystemTime::now() - 2 * STEP
}

fn nanos(seconds: i64, parts: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stamp is read as it was written.
    #[test]
    fn a_stamp_is_read_back() {
        let stamp = FileStamp { inode: 1, size: u64::MAX, modified: -1, changed: i64::MAX };
        assert_eq!(FileStamp::parse(&stamp.to_string()), Some(stamp));
        for bad in ["", "1 2 3", "1 2 3 4 5", "1 2 3 x", "-1 2 3 4", "1  2 3 4"] {
            assert_eq!(FileStamp::parse(bad), None, "{bad}");
        }
    }

    /// A file that was written to just now could be so again without a trace, and so could one that will
    /// have been.
    #[test]
    fn only_a_file_that_was_left_alone_is_settled() {
        let at = |ago: i64| {
            let now = SystemTime::now();
            let nanos = now.duration_since(UNIX_EPOCH).unwrap().as_nanos();
            let modified = i64::try_from(nanos).unwrap() - ago * 1_000_000_000;
            FileStamp { inode: 1, size: 1, modified, changed: 0 }.is_settled(now)
        };
        assert!(at(2) && at(3) && at(1_000_000_000));
        assert!(!at(0) && !at(1) && !at(-1) && !at(-1_000_000_000));
    }
}
