//! Giving a file its final name.

use std::fs;
use std::io;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{copy, files};
use crate::model::error::{Error, Result};

/// Gives `from` the name `to` in one step, or by a copy beside `to` where they are on two file
/// systems. What has that name is replaced.
pub(crate) fn move_file(from: &Path, to: &Path) -> Result<()> {
    match replace(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            copy::to_name(from, to, &CancellationToken::new())?;
            files::discard(from);
            Ok(())
        }
        moved => moved.map_err(|e| Error::name("rename to", to, e)),
    }
}

/// Gives `from` the name `to`. What has it is replaced; where it can't be, as somebody has it open (SMB,
/// FUSE), it is removed first.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if is_in_use(&e) => {
            tracing::debug!(path = %to.display(), error = %e, "removing what is in the way");
            fs::remove_file(to).and_then(|()| fs::rename(from, to))
        }
        renamed => renamed,
    }
}

/// Gives `from` the name `to` unless something has it already. False: `from` is as it was. Both are in
/// folders of one file system.
///
/// A link takes a name in one step where a renaming would replace; file systems without links have the
/// look and the renaming as two steps, so the last of several may replace the first one's, whole by whole.
pub(crate) fn take_name(from: &Path, to: &Path) -> Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => {
            files::discard(from);
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::name("rename to", to, e)),
        Err(e) => {
            tracing::debug!(path = %to.display(), error = %e, "no links here");
            if fs::symlink_metadata(to).is_ok() {
                return Ok(false);
            }
            move_file(from, to).map(|()| true)
        }
    }
}

fn is_in_use(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::ExecutableFileBusy)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that something has is left to it.
    #[test]
    fn a_name_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("first"), "first").unwrap();
        fs::write(path("second"), "second").unwrap();
        assert!(take_name(&path("first"), &path("name")).unwrap());
        assert!(!take_name(&path("second"), &path("name")).unwrap());
        assert_eq!(fs::read(path("name")).unwrap(), b"first");
        assert!(!path("first").exists(), "it has one name");
        assert!(path("second").exists());
        assert!(take_name(&path("none"), &path("other")).is_err());
    }
}
