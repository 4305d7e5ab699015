//! Whether a local file holds what a listing says.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::fsutil::STEP;
use crate::error::{Error, Result};
use crate::repo::{Entry, Storage};

/// Whether the file at `path` has the size of `entry` and the content that its etag names: SHA-256
/// for LFS and Xet files, the git blob id otherwise. Reads the whole file if the size is right.
pub fn content_matches(path: &Path, entry: &Entry, cancel: &CancellationToken) -> Result<bool> {
    let fail = |e| Error::io("read", path, e);
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() != entry.size {
        return Ok(false);
    }
    let etag = match &entry.storage {
        Storage::Git => {
            let header = format!("blob {}\0", entry.size);
            digest(file, Sha1::new().chain_update(header), path, cancel)?
        }
        Storage::Lfs { .. } | Storage::Xet { .. } => digest(file, Sha256::new(), path, cancel)?,
    };
    Ok(etag == entry.etag())
}

fn digest<D: Digest>(
    mut file: File,
    mut digest: D,
    path: &Path,
    cancel: &CancellationToken,
) -> Result<String> {
    let mut buffer = vec![0; 256 << 10];
    let mut unchecked = 0;
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read", path, e)),
        };
        digest.update(&buffer[..n]);
        unchecked += n as u64;
        if unchecked >= STEP {
            unchecked = 0;
            if cancel.is_cancelled() {
                return Err(Error::cancelled());
            }
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
