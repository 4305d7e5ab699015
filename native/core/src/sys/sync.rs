//! Bringing files, and the names in folders, to the disk.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{files, refused};
use crate::model::error::{Error, Result};

/// Brings what was written to a file at `path` to the disk, as far as the file system lets one.
pub(crate) fn content(file: &File, path: &Path) -> Result<()> {
    tolerate(file.sync_data(), path)
}

/// Brings the names in a folder to the disk.
///
/// Not every file system can sync a folder, and not every user may open one that he may write to;
/// there the system brings them to the disk in its own time. A folder that has gone has no names.
pub(crate) fn folder(folder: &Path) -> Result<()> {
    match File::open(folder).and_then(|opened| opened.sync_all()) {
        Err(e) if files::is_absent(&e) => Ok(()),
        Err(e) if refused::is_refusal(&e) => {
            tracing::debug!(folder = %folder.display(), error = %e, "a folder can't be synced");
            Ok(())
        }
        synced => synced.map_err(|e| Error::io("sync", folder, e)),
    }
}

fn tolerate(synced: io::Result<()>, path: &Path) -> Result<()> {
    match synced {
        Err(e) if refused::is_refusal(&e) => {
            let what = "the file system can't bring files to the disk when it's told to: what is \
                finished may not outlive a power cut";
            refused::warn_once(what, path, &e);
            Ok(())
        }
        synced => synced.map_err(|e| Error::io("sync", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What can't be synced isn't a failure; a folder that is gone neither.
    #[test]
    fn a_folder_that_is_gone_needs_no_sync() {
        let place = tempfile::tempdir().unwrap();
        folder(place.path()).unwrap();
        folder(&place.path().join("gone")).unwrap();
        folder(Path::new("/proc/self")).unwrap();
    }

    /// That nothing can be synced here is no failure; that it went wrong is.
    #[test]
    fn only_a_refusal_is_tolerated() {
        let of = |code| tolerate(Err(io::Error::from_raw_os_error(code)), Path::new("/x"));
        assert!([libc::EINVAL, libc::ENOSYS, libc::ENOTSUP].map(of).iter().all(Result::is_ok));
        assert!([libc::EIO, libc::ENOSPC, libc::EDQUOT].map(of).iter().all(Result::is_err));
    }
}
