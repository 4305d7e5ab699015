//! Reading what the system has in memory, without a wait for the disk.

use std::fs::File;

/// Fills `buffer` from `offset` on with what the system has in memory of a file. False: it would have to wait for some
/// of that (`EAGAIN`), it's behind the end of the file, the system or the file system can't tell (`ENOSYS`,
/// `EOPNOTSUPP`), or it fails: whoever reads in earnest is told.
#[cfg(target_os = "linux")]
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> bool {
    use std::io;
    use std::os::fd::AsRawFd;

    const ONE: libc::c_long = 1;
    let mut read = 0;
    while read < buffer.len() {
        let rest = &mut buffer[read..];
        let part = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
        // Below 0 stands for where the file was read last.
        let Some(at) = offset.checked_add(read as u64).and_then(|at| i64::try_from(at).ok()) else {
            return false;
        };
        // The kernel puts the offset together from two longs, of which the upper one counts where longs are short.
        #[allow(clippy::cast_possible_truncation, reason = "the upper half is in the other one")]
        let (low, high) = (at as libc::c_long, (at >> 32) as libc::c_long);
        // SAFETY: the descriptor is open; `part` is writable memory of that length, borrowed until the call returns. By
        // its number, since glibc has a function for it only from 2.26 on.
        let got = unsafe {
            libc::syscall(
                libc::SYS_preadv2,
                libc::c_long::from(file.as_raw_fd()),
                &raw const part,
                ONE,
                low,
                high,
                libc::c_long::from(libc::RWF_NOWAIT),
            )
        };
        match usize::try_from(got) {
            Ok(0) => return false,
            Ok(got) => read += got,
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    true
}

/// Elsewhere a read may always wait.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;

    use super::*;

    /// What was just written is, on a disk of this machine; what is behind the end is somebody else's to tell.
    #[test]
    fn what_was_just_written_is_at_hand() {
        let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        file.write_all(&content).unwrap();
        let mut buffer = vec![0; 100_000];
        assert!(read_exact_at(file.as_file(), &mut buffer, 150_001));
        assert_eq!(buffer, content[150_001..250_001]);
        for offset in [250_000, 300_000, u64::from(u32::MAX) + 7, i64::MAX as u64, u64::MAX] {
            assert!(!read_exact_at(file.as_file(), &mut buffer, offset), "{offset}");
        }
        assert!(read_exact_at(file.as_file(), &mut [], 7));
    }
}
