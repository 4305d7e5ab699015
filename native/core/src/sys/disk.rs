//! What the standard library doesn't tell of file systems: free space, and sharing blocks between
//! files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{files, open};

/// A shorter stretch isn't worth an extent of its own.
const SHORTEST: u64 = 64 << 10;

/// How many bytes an unprivileged user can still write to the file system of `path`, which needn't
/// exist yet: the nearest folder above it counts. `None`: the file system doesn't know, as it says by a
/// size of 0, like many in user space.
pub(crate) fn free(path: &Path) -> io::Result<Option<u64>> {
    for existing in path.ancestors() {
        match open::to_read(existing) {
            Ok(folder) => {
                let found = file_system(&folder)?;
                let is_known = found.f_blocks > 0 && found.f_frsize > 0;
                return Ok(is_known.then(|| found.f_bavail.saturating_mul(found.f_frsize)));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Whether upper and lower case are one in names in `folder`, which is there. Found by making a file.
pub(crate) fn folds_case(folder: &Path) -> io::Result<bool> {
    let name = format!(".case-{}.tmp", files::random_hex());
    let (path, other) = (folder.join(&name), folder.join(name.to_uppercase()));
    File::create_new(&path)?;
    let found = std::fs::symlink_metadata(other);
    files::discard(&path);
    Ok(found.is_ok())
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

/// Whether what is written to `file` takes memory: it's of a file system that has no disk.
pub(crate) fn is_memory(file: &File) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    kind_of(file).is_some_and(|kind| [TMPFS, RAMFS].contains(&kind))
}

/// Whether the file system of `file` is one that other machines may write to, too, while its locks are this
/// machine's own. What isn't known has locks that all see.
pub(super) fn has_own_locks(file: &File) -> bool {
    const NFS: i64 = 0x6969;
    const CIFS: i64 = 0xff53_4d42;
    const SMB2: i64 = 0xfe53_4d42;
    const LUSTRE: i64 = 0x0bd0_0bd0;
    const FUSE: i64 = 0x6573_5546;
    const GPFS: i64 = 0x4750_4653;
    match kind_of(file) {
        // They have it as they like, and there is no way to ask them.
        Some(FUSE | GPFS) => true,
        Some(NFS | CIFS | SMB2 | LUSTRE) => {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            file.metadata().is_ok_and(|found| keeps_locks(&mounts, found.dev()))
        }
        _ => false,
    }
}

/// Whether the options of what is mounted as `device` say that locks stay on this machine. A line of
/// `/proc/self/mountinfo` looks like `36 35 0:52 / /mnt rw shared:1 - nfs4 server:/ rw,local_lock=none`.
fn keeps_locks(mounts: &str, device: u64) -> bool {
    const OPTIONS: [&str; 5] =
        ["nolock", "local_lock=all", "local_lock=flock", "localflock", "nobrl"];
    let device = format!("{}:{}", libc::major(device), libc::minor(device));
    let of_it = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(&device));
    of_it.flat_map(|line| line.split([' ', ','])).any(|option| OPTIONS.contains(&option))
}

/// Whether the file system of `path` can share blocks between files: btrfs, and XFS as it's made
/// nowadays.
pub(crate) fn can_share(path: &Path) -> bool {
    kind(path).is_some_and(|kind| [libc::BTRFS_SUPER_MAGIC, libc::XFS_SUPER_MAGIC].contains(&kind))
}

/// The number by which the system knows the kind of file system that `path` is, or will be, on.
fn kind(path: &Path) -> Option<i64> {
    kind_of(&path.ancestors().find_map(|existing| open::to_read(existing).ok())?)
}

fn kind_of(file: &File) -> Option<i64> {
    // SAFETY: `statfs` is plain numbers, for which zero is a value.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and `found` is a `statfs` to be written to.
    let known = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut found) } == 0;
    known.then_some(found.f_type)
}

/// Where the first part of a file is that was never written to; its end, if there is none, or if the
/// file system doesn't tell.
pub(crate) fn first_hole(file: &File) -> io::Result<u64> {
    // SAFETY: the descriptor is open. Nobody here reads at its position, which this changes.
    let found = unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_HOLE) };
    u64::try_from(found).map_err(|_| io::Error::last_os_error())
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    /// The end of a file counts as one.
    #[test]
    fn the_first_hole_is_found() {
        let file = tempfile::tempfile().unwrap();
        assert!(first_hole(&file).is_err(), "nothing is there");
        file.write_all_at(&[1; 4 << 10], 0).unwrap();
        assert_eq!(first_hole(&file).unwrap(), 4 << 10);
        file.write_all_at(&vec![1; 1 << 20], 2 << 20).unwrap();
        let hole = first_hole(&file).unwrap();
        assert!(hole < 2 << 20 || hole == 3 << 20, "{hole}");
    }

    /// Only what is mounted as the device counts.
    #[test]
    fn mounts_say_whose_their_locks_are() {
        let mounts = "36 35 0:52 / /a rw,relatime shared:1 - nfs4 s:/a rw,vers=4.2,local_lock=none\n\
            37 35 0:53 / /b rw shared:2 - nfs s:/b rw,vers=3,local_lock=flock\n\
            38 35 0:54 / /c rw - lustre s:/c rw,localflock\n";
        let keeps = |minor| keeps_locks(mounts, libc::makedev(0, minor));
        assert_eq!([52, 53, 54, 55].map(keeps), [false, true, true, false]);
    }
}
