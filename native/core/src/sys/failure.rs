//! What the system's failures mean: errors of the crate, with what the machine can say about them.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::model::error::{Error, Kind};
use crate::model::refused::{Refused, is_no_text};
use crate::model::repo::Entry;

impl Error {
    /// A local failure while doing `what` ("write", "create folder") to `path`. A full disk and a
    /// missing permission get kinds of their own; for the latter the message says whose the path is.
    #[must_use]
    pub fn io(what: &str, path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Kind::LocalPermission
            }
            _ if way_out(&source).is_some() => Kind::ResourceLimit,
            _ => Kind::Io,
        };
        let advice = match source.kind() {
            io::ErrorKind::PermissionDenied => owner(path),
            _ => way_out(&source).map(str::to_owned),
        };
        let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
        Self::new(kind, format!("can't {what} {}: {source}{advice}", path.display()))
            .with(|c| c.file = Some(path.display().to_string()))
            .caused_by(source)
    }

    /// The same where `what` looks up the name `path`, or gives it to something: such a failure may be due to
    /// the name. What is done to an open file can't be.
    #[must_use]
    pub fn name(what: &str, path: &Path, source: io::Error) -> Self {
        Self::io(what, path, source).with(|c| c.name = Some(path.to_path_buf()))
    }
}

impl Refused {
    /// Takes `error`, which is what became of `entry`, if it's due to the name alone. False: it isn't. The names
    /// in the folder `root`, where the files go, are the repo's.
    #[must_use]
    pub fn takes(&self, root: &Path, entry: &Entry, error: &Error) -> bool {
        let is_due_to_name = is_due_to_name(root, entry.path.as_str(), error);
        if is_due_to_name {
            self.add(entry.path.as_str(), error.clone());
        }
        is_due_to_name
    }
}

/// Whether a file can't be written because of what it's called, or because of what else has a name
/// on its way. What isn't UTF-8 in git isn't found by the name that it's listed with.
fn is_due_to_name(root: &Path, path: &str, error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|e| e.downcast_ref::<io::Error>());
    let is_in_root = |name: &PathBuf| name.starts_with(root) && name != root && is_free(root);
    let by_system = error.kind() == Kind::Io
        && error.context().name.as_ref().is_some_and(is_in_root)
        && cause.is_some_and(is_about_a_name);
    error.kind() == Kind::UnsafePath
        || by_system
        || (error.kind() == Kind::EntryNotFound && is_no_text(path))
}

/// Whether a failure of a call that is about a name is due to it, or to what has a name on its way. Windows'
/// file systems, and shares of them, say EINVAL of `a:b`.
fn is_about_a_name(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, IsADirectory, NotADirectory};
    matches!(error.kind(), InvalidFilename | IsADirectory | NotADirectory)
        || matches!(error.raw_os_error(), Some(libc::EILSEQ | libc::EINVAL))
}

/// Whether nothing but a folder is at `path`, nor in its way: else no name in it can be had.
fn is_free(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(found) => found.is_dir(),
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}

/// Whose `path` is, or the nearest folder above it that is there.
fn owner(path: &Path) -> Option<String> {
    let found = path.ancestors().find_map(|at| Some((at, fs::symlink_metadata(at).ok()?)));
    let (at, found) = found?;
    let mode = found.permissions().mode() & 0o7777;
    Some(format!("{} belongs to user {} (mode {mode:04o})", at.display(), found.uid()))
}

/// What to do about a failure that is due to a limit of the machine; `None`: it isn't.
pub(crate) fn way_out(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EMFILE => Some(
            "this process has as many files open as it may: raise its limit (ulimit -n), or lower \
             max_concurrent_downloads",
        ),
        libc::ENFILE => Some("the machine has as many files open as it may (fs.file-max)"),
        libc::ENOMEM => Some(
            "this process is at its limit of memory or address space (ulimit -v, or the container's)",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full disk is not just any I/O error.
    #[test]
    fn a_full_disk_has_its_own_kind() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Error::io("write", Path::new("/x"), full).kind(), Kind::NoSpace);
    }
}
