//! Locks on parts of a file, which are others than those on [whole files](super::lock).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::files;
use super::lock::refusal::{is_refusal, with_new};
use super::open::Wary;

/// Fails if the file system has no such locks, as NFS without a lock server, or refuses them to everybody. Nothing
/// is left on the file at `path`. One that somebody holds is no failure, and what can't be opened is somebody
/// else's to tell.
pub(crate) fn can_be_locked(path: &Path) -> io::Result<()> {
    let opened = OpenOptions::new().read(true).write(true).never_follow_nor_wait().open(path);
    let Ok(file) = opened else { return Ok(()) };
    match lock_part(&file) {
        Err(error) if error.raw_os_error() == Some(libc::ENOLCK) => Err(error),
        // It may be held; a file of which nobody else knows isn't.
        Err(error) if is_refusal(&error) => match with_new(files::parent(path), lock_part) {
            Some(Err(error)) if is_refusal(&error) => Err(error),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Takes the lock on a part of `file`, which lasts until the file is closed.
fn lock_part(file: &File) -> io::Result<()> {
    // SAFETY: `flock` is plain data, for which zeros are a value.
    let mut part: libc::flock = unsafe { std::mem::zeroed() };
    // One byte at the beginning. These constants fit their fields on every system that has them.
    #[allow(clippy::cast_possible_truncation)]
    {
        part.l_type = libc::F_WRLCK as libc::c_short;
        part.l_whence = libc::SEEK_SET as libc::c_short;
    }
    part.l_len = 1;
    // SAFETY: the descriptor is open, and `part` is what F_OFD_SETLK reads. The lock is this descriptor's own,
    // so closing it takes none from others in this process.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const part) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever else looks, too, is no reason.
    #[test]
    fn a_disk_of_this_machine_has_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        can_be_locked(file.path()).unwrap();
        can_be_locked(file.path()).unwrap();
        can_be_locked(Path::new("/nowhere/at all")).unwrap();
    }
}
