//! What a file system refuses, and is done without.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::fork;

/// Whether a failure says that there is no such thing here, rather than that it went wrong.
pub(crate) fn is_refusal(e: &io::Error) -> bool {
    use libc::{EACCES, EBADF, EINVAL, ENOSYS, ENOTSUP, ENOTTY, EPERM, EROFS};
    let code = e.raw_os_error();
    e.kind() == io::ErrorKind::Unsupported
        || code.is_some_and(|code| {
            [EACCES, EBADF, EINVAL, ENOSYS, ENOTSUP, ENOTTY, EPERM, EROFS].contains(&code)
        })
}

/// Says in the log what is done without: once for each file system, as the next file will be refused it, too.
pub(crate) fn warn_once(what: &'static str, path: &Path, error: &impl fmt::Display) {
    static SAID: Mutex<BTreeSet<(&str, u64)>> = Mutex::new(BTreeSet::new());
    let existing = path.ancestors().find_map(|at| fs::metadata(at).ok());
    let device = existing.map_or(0, |found| found.dev());
    // Nobody forks meanwhile: a child could wait for ever for a thread that it doesn't have.
    let is_new = fork::hold_off(|| {
        SAID.lock().unwrap_or_else(PoisonError::into_inner).insert((what, device))
    });
    if is_new {
        tracing::warn!(path = %path.display(), %error, "{what}");
    }
}
