//! Whether a local file holds what a listing says.

use std::io::{self, Read};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::model::content::ContentHasher;
use crate::model::error::{Error, Result};
use crate::model::repo::{Entry, Storage};
use crate::sys::files;
use crate::sys::open;

/// What is read at once.
const PIECE: usize = 1 << 20;

/// Whether the file at `path` has the size of `entry` and the content that its etag names. Reads the
/// whole file if the size is right. False where only the Xet hash is known: that is a hash of chunks, and the
/// file doesn't tell which those are.
pub fn content_matches(path: &Path, entry: &Entry, cancel: &CancellationToken) -> Result<bool> {
    if let Storage::XetAlone { .. } = entry.storage {
        return Ok(false);
    }
    let unless_cancelled = |_| if cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) };
    let hasher = |size| (size == entry.size).then(|| ContentHasher::new(entry));
    Ok(hashed(path, hasher, unless_cancelled)?.is_some_and(|hasher| hasher.matches(entry)))
}

/// Whether the file at `path` has the content that an etag names. `goes_on` is asked now and then, and ends it by
/// its error.
pub(super) fn has_etag(path: &Path, etag: &str, goes_on: impl Fn() -> Result<()>) -> Result<bool> {
    Ok(digits(path, etag, |_| goes_on())?.is_some_and(|digits| digits == etag))
}

/// What the etag of the file at `path` is by its content, if `etag` is one of that kind; `None` if it's no hash, or
/// there is no file. `goes_on` hears of the bytes as they are read, and ends it by its error.
pub(super) fn digits(
    path: &Path,
    etag: &str,
    goes_on: impl Fn(u64) -> Result<()>,
) -> Result<Option<String>> {
    let hasher = |size| ContentHasher::for_etag(etag, size);
    Ok(hashed(path, hasher, goes_on)?.map(ContentHasher::digits))
}

/// The content of a file, hashed by what `hasher` makes for its size; `None` if that is nothing, or it's no file.
fn hashed(
    path: &Path,
    hasher: impl Fn(u64) -> Option<ContentHasher>,
    goes_on: impl Fn(u64) -> Result<()>,
) -> Result<Option<ContentHasher>> {
    let fail = |e| Error::io("read", path, e);
    let mut file = open::to_read(path).map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Ok(None);
    }
    let Some(mut hasher) = hasher(files::length(&mut file).map_err(fail)?) else { return Ok(None) };
    let mut buffer = vec![0; PIECE];
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(hasher)),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(fail(e)),
        };
        hasher.update(&buffer[..n]);
        goes_on(n as u64)?;
    }
}
