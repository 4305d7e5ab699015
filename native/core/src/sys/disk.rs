//! What the standard library doesn't tell of file systems: free space, and sharing blocks between
//! files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A shorter stretch isn't worth an extent of its own.
const SHORTEST: u64 = 64 << 10;

/// How many bytes an unprivileged user can still write to the file system of `path`, which needn't
/// exist yet: the nearest folder above it counts.
pub(crate) fn free(path: &Path) -> io::Result<u64> {
    for existing in path.ancestors() {
        match File::open(existing) {
            Ok(folder) => {
                let found = file_system(&folder)?;
                return Ok(found.f_bavail.saturating_mul(found.f_frsize));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// What the system says of a file's file system.
fn file_system(file: &File) -> io::Result<libc::statvfs> {
    // SAFETY: `statvfs` is plain numbers, for which zero is a value.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and `found` is a `statvfs` to be written to.
    match unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut found) } {
        0 => Ok(found),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the file system of `path` may be that of another machine, which other machines write to,
/// too. What isn't known counts as local.
pub(crate) fn is_remote(path: &Path) -> bool {
    // NFS, SMB 1 to 3, AFS, Ceph, Lustre, 9P, and FUSE, which is most often one of those.
    const REMOTE: [i64; 9] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x5346_414f,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x0102_1997,
        0x6573_5546,
    ];
    kind(path).is_some_and(|kind| REMOTE.contains(&kind))
}

/// Whether the file system of `path` can share blocks between files: btrfs, and XFS as it's made
/// nowadays.
pub(crate) fn can_share(path: &Path) -> bool {
    kind(path).is_some_and(|kind| [libc::BTRFS_SUPER_MAGIC, libc::XFS_SUPER_MAGIC].contains(&kind))
}

/// The number by which the system knows the kind of file system that `path` is, or will be, on.
fn kind(path: &Path) -> Option<i64> {
    let folder = path.ancestors().find_map(|existing| File::open(existing).ok())?;
    // SAFETY: `statfs` is plain numbers, for which zero is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and `found` is a `statfs` to be written to.
    let known = unsafe { libc::fstatfs(folder.as_raw_fd(), &raw mut found) } == 0;
    known.then_some(found.f_type)
}

/// Makes the bytes `range` of `to` the same blocks on the disk as those of `from` that begin at
/// `at`. Returns which bytes it did that for: whole blocks, or `None` where the file system can't,
/// or if the two places don't lie at the same distance from the beginning of a block.
pub(crate) fn share(from: &File, at: u64, to: &File, range: &Range<u64>) -> Option<Range<u64>> {
    let block = file_system(to).ok().map(|found| found.f_bsize).filter(|&size| size > 0)?;
    if at % block != range.start % block {
        return None;
    }
    let shared = range.start.next_multiple_of(block)..range.end - range.end % block;
    if shared.end.saturating_sub(shared.start) < SHORTEST {
        return None;
    }
    let request = libc::file_clone_range {
        src_fd: from.as_raw_fd().into(),
        src_offset: at + (shared.start - range.start),
        src_length: shared.end - shared.start,
        dest_offset: shared.start,
    };
    // SAFETY: FICLONERANGE reads a `file_clone_range`, which `request` is; both files are open.
    let done = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONERANGE as _, &raw const request) };
    if done == 0 {
        return Some(shared);
    }
    let error = io::Error::last_os_error();
    tracing::trace!(%error, "blocks can't be shared");
    None
}
