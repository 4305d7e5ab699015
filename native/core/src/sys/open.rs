//! Opening what somebody else may have replaced.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How to open a path that may have become something else since it was last looked at.
pub(crate) trait Wary {
    /// Doesn't wait for a peer if it's a pipe or a device, nor later when it is read from.
    fn never_wait(&mut self) -> &mut Self;
    /// Fails on a symbolic link, which may lead anywhere.
    fn never_follow(&mut self) -> &mut Self;
    /// Both.
    fn never_follow_nor_wait(&mut self) -> &mut Self;
}

impl Wary for OpenOptions {
    fn never_wait(&mut self) -> &mut Self {
        self.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
    }

    fn never_follow(&mut self) -> &mut Self {
        self.custom_flags(libc::O_NOFOLLOW)
    }

    fn never_follow_nor_wait(&mut self) -> &mut Self {
        self.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
    }
}

/// Opens a file, or what links lead to, for reading. Something else may be there, or come there before it's opened:
/// a pipe or a device isn't waited for.
pub(crate) fn to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).never_wait().open(path)
}

/// Whether the failure to make a symbolic link means that there are none on this file system: FAT
/// says `EPERM`, network file systems `ENOTSUP`, `ENOSYS` or `EINVAL`.
pub(crate) fn has_no_symlinks(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::Unsupported
        || matches!(
            e.raw_os_error(),
            Some(libc::EPERM | libc::ENOTSUP | libc::ENOSYS | libc::EINVAL)
        )
}
