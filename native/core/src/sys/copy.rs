//! Copies of files, which can be cancelled.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::{files, open, rename, sync};
use crate::model::error::{Error, Result};
use crate::sys::open::Wary;

/// Copies content, not permissions, to a temporary file, syncs it and gives it the name `to`.
pub(crate) fn to_name(from: &Path, to: &Path, cancel: &CancellationToken) -> Result<()> {
    let temporary = files::temporary_beside(to);
    let copied = content(from, &temporary, cancel).and_then(|()| {
        rename::replace(&temporary, to).map_err(|e| Error::name("rename to", to, e))
    });
    copied.inspect_err(|_| files::discard(&temporary))
}

/// Copies content, not permissions, to the file `to`, which is made or emptied, and syncs it. File
/// systems that can share blocks between files do. An error names the one of the two that failed.
pub(crate) fn content(from: &Path, to: &Path, cancel: &CancellationToken) -> Result<()> {
    let source = open::to_read(from).map_err(|e| Error::io("read", from, e))?;
    let copy = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .never_follow()
        .open(to)
        .map_err(|e| Error::io("write", to, e))?;
    let (mut done, mut is_plain) = (0, false);
    while !cancel.is_cancelled() {
        let mut step = (&source).take(files::STEP);
        let mut plain = Plain { file: &copy, has_failed: false };
        // Between two files this is copy_file_range, where the system has it.
        let copied = if is_plain {
            io::copy(&mut step, &mut plain)
        } else {
            io::copy(&mut step, &mut &copy)
        };
        match copied {
            Ok(0) => return sync::content(&copy, to),
            Ok(bytes) => done += bytes,
            // Network file systems say all sorts of things where they can't do that. What is really broken
            // fails once more.
            Err(e) if !is_plain && !is_full(&e) => {
                tracing::debug!(path = %to.display(), error = %e, "copying by reading and writing");
                is_plain = true;
                let back = (&source).seek(SeekFrom::Start(done));
                let back = back.and_then(|_| (&copy).seek(SeekFrom::Start(done)));
                back.map_err(|e| Error::io("copy", from, e))?;
            }
            Err(e) if is_full(&e) || plain.has_failed => return Err(Error::io("write", to, e)),
            Err(e) => return Err(Error::io("read", from, e)),
        }
    }
    Err(Error::cancelled())
}

/// A file that is written to by nothing but writes.
struct Plain<'a> {
    file: &'a File,
    /// It's the writing that has failed, and not the reading.
    has_failed: bool,
}

impl Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.has_failed = written.is_err();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that fails to read is another matter than one that fails to write.
    #[test]
    fn an_error_names_the_file_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        let (unreadable, source) = (folder.path().join("folder"), folder.path().join("source"));
        std::fs::create_dir(&unreadable).unwrap();
        std::fs::write(&source, "content").unwrap();
        let copy = folder.path().join("copy");
        let cases = [(&unreadable, copy.as_path()), (&source, Path::new("/dev/full"))];
        for ((from, to), failed) in cases.into_iter().zip([&*unreadable, Path::new("/dev/full")]) {
            let error = content(from, to, &CancellationToken::new()).unwrap_err();
            assert_eq!(error.context().file.as_deref(), failed.to_str(), "{error}");
        }
    }
}
