//! Whether a local file holds what a listing says.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::model::content::ContentHasher;
use crate::model::error::{Error, Result};
use crate::model::repo::Entry;
use crate::sys::files::STEP;

/// Whether the file at `path` has the size of `entry` and the content that its etag names. Reads the
/// whole file if the size is right.
pub fn content_matches(path: &Path, entry: &Entry, cancel: &CancellationToken) -> Result<bool> {
    let fail = |e| Error::io("read", path, e);
    let mut file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() != entry.size {
        return Ok(false);
    }
    let mut hasher = ContentHasher::new(entry);
    let mut buffer = vec![0; 256 << 10];
    let mut unchecked = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.matches(entry)),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(fail(e)),
        };
        hasher.update(&buffer[..n]);
        unchecked += n as u64;
        if unchecked >= STEP {
            unchecked = 0;
            if cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
        }
    }
}
