//! What a file in a local folder was when its hash was last known to be right: `<path>.verified`, ours.
//!
//! One line: the etag, and the file's [stamp](FileStamp). `huggingface_hub`'s metadata name a time only, at which
//! the file was right, so that any file with an older one would pass.
//!
//! What a note says is true for ever: such a file has such content. So it may be written without a lock; and one
//! that fits no file does no harm. Where none fits, the file is hashed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use crate::sys::files::{self, Durability};
use crate::sys::identity::FileStamp;
use crate::sys::small;

/// More bytes than any note has.
const LONGEST: u64 = 4 << 10;

/// The etag in the note at `path`, if it's about the file that `found` is. What can't be read, or understood, is no
/// note.
pub(super) fn etag(path: &Path, found: &fs::Metadata) -> Option<String> {
    let (text, note) = match small::read(path, LONGEST) {
        Ok(read) => read,
        Err(error) => {
            if !files::is_absent(&error) {
                tracing::warn!(path = %path.display(), %error, "ignored a note of what a file is");
            }
            return None;
        }
    };
    let (etag, stamp) = parse(std::str::from_utf8(&text).ok()?)?;
    // Where two files have one inode, inodes tell nothing.
    let tells_apart = note.ino() != found.ino();
    (tells_apart && FileStamp::of(found) == Some(stamp)).then(|| etag.to_owned())
}

/// Notes at `path`, whose folder exists, that the file with this stamp has the content that `etag` names. It had
/// at `at`, or later.
///
/// It isn't noted if somebody might write to it without a trace. That costs a hash, another time.
pub(super) fn note(path: &Path, etag: &str, stamp: FileStamp, at: SystemTime) {
    if !stamp.is_settled(at) {
        return;
    }
    let text = format!("{etag} {stamp}\n");
    if let Err(error) = files::write(path, text.as_bytes(), Durability::Lazy) {
        tracing::debug!(path = %path.display(), %error, "can't note what a file is");
    }
}

fn parse(text: &str) -> Option<(&str, FileStamp)> {
    let (etag, stamp) = text.strip_suffix('\n')?.split_once(' ')?;
    Some((etag, FileStamp::parse(stamp)?))
}

#[cfg(test)]
mod fuzz;
