//! Several pieces of memory, written to one place of a file in one go.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// As many as one call takes on each system (`IOV_MAX`).
const MOST: usize = 1024;

/// Writes `slices`, one behind the other, at `offset`. They are used up.
pub(crate) fn write_all_at(
    file: &File,
    mut slices: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    // Those without content, or an end without content would look like a disk that takes nothing.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match write_at(file, &slices[..slices.len().min(MOST)], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut slices, written);
                offset += written as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn write_at(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    if let [slice] = slices {
        return file.write_at(slice, offset);
    }
    let (count, offset) = (
        slices.len().try_into().map_err(io::Error::other)?,
        offset.try_into().map_err(io::Error::other)?,
    );
    // SAFETY: the descriptor is open; an `IoSlice` is an `iovec`, and there are `count` of them, all of which
    // outlive the call.
    let written = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr().cast(), count, offset) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of them come, in order, however many there are, empty ones included.
    #[test]
    fn all_pieces_come_in_order() {
        let file = tempfile::tempfile().unwrap();
        for count in [0, 1, 2, MOST, MOST * 2 + 7] {
            let pieces: Vec<_> = (0..count).map(|n| n.to_string().repeat(n % 3)).collect();
            let mut slices: Vec<_> =
                pieces.iter().map(|piece| IoSlice::new(piece.as_bytes())).collect();
            write_all_at(&file, &mut slices, 3).unwrap();
            let mut found = vec![0; pieces.concat().len()];
            file.read_exact_at(&mut found, 3).unwrap();
            assert_eq!(found, pieces.concat().as_bytes());
        }
    }

    /// A disk that takes no more is an error.
    #[test]
    fn what_cannot_be_written_is_an_error() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut slices = [IoSlice::new(b"a"), IoSlice::new(b"b")];
        let error = write_all_at(&full, &mut slices, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
