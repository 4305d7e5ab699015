//! Reading what the system has in memory, without a wait for the disk.

use std::fs::File;
use std::io;

/// Fills `buffer` from `offset` on with what the system has in memory of a file. False: it would have to wait for some
/// of that, or it's behind the end of the file, or the system, or the file system, can't tell.
#[cfg(target_os = "linux")]
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    use std::os::fd::AsRawFd;

    let mut read = 0;
    while read < buffer.len() {
        let rest = &mut buffer[read..];
        let part = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
        let at = offset.saturating_add(read as u64);
        // The kernel puts the offset together from two longs, of which the upper one counts where longs are short.
        let (low, high) =
            (at.cast_signed() as libc::c_long, (at >> 32).cast_signed() as libc::c_long);
        // SAFETY: the descriptor is open; `part` is writable memory of that length, borrowed until the call returns. By
        // its number, since glibc has a function for it only from 2.26 on.
        let got = unsafe {
            libc::syscall(
                libc::SYS_preadv2,
                file.as_raw_fd(),
                &raw const part,
                1,
                low,
                high,
                libc::RWF_NOWAIT,
            )
        };
        match usize::try_from(got) {
            Ok(0) => return Ok(false),
            Ok(got) => read += got,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if is_no_answer(&error) => return Ok(false),
                error => return Err(error),
            },
        }
    }
    Ok(true)
}

/// Elsewhere a read may always wait.
#[cfg(not(target_os = "linux"))]
pub(crate) fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> io::Result<bool> {
    Ok(false)
}

/// It would have to wait (`EAGAIN`), the file system can't tell (`ENOTSUP`), or the system doesn't know the question:
/// `ENOSYS`, `EINVAL`, or what a sandbox says to what it doesn't know.
#[cfg(target_os = "linux")]
fn is_no_answer(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAGAIN | libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM)
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Either all of it, or nothing is said; what is behind the end is somebody else's to tell.
    #[test]
    fn what_was_just_written_may_be_at_hand() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        file.write_all(&content).unwrap();
        let mut buffer = vec![0; 100_000];
        if read_exact_at(file.as_file(), &mut buffer, 150_001).unwrap() {
            assert_eq!(buffer, content[150_001..250_001]);
        }
        for offset in [250_000, 300_000, u64::from(u32::MAX) + 7, u64::MAX] {
            assert!(!read_exact_at(file.as_file(), &mut buffer, offset).unwrap(), "{offset}");
        }
        assert!(read_exact_at(file.as_file(), &mut [], 7).unwrap());
    }
}
