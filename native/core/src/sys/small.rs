//! Small files, read whole: notes of ours and of `huggingface_hub`'s, and what a user's variable names.
//!
//! Anything may stand where such a file is expected. A pipe would be waited for until somebody writes to
//! it, and a device need not end; so nothing is waited for, and no more is read than is expected.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::open;

/// How long a user's pipe may keep silent, before it says something and in between: `<(...)` starts a program at
/// the same time as this one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the regular file at `path`, or at the end of the links there, of at most `most` bytes. Returns
/// what the system says of it, too.
///
/// [`InvalidData`](io::ErrorKind::InvalidData): what is there is no such file. It's passed over by
/// [`is_no_file`] where that is what's wanted.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let file = open::to_read(path).map_err(named)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(unfit(kind(found.file_type())));
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(unfit(&format!("longer than {most} bytes")));
    }
    Ok((content, found))
}

/// Reads what a user has named: a regular file, or what a shell makes of `<(...)`, or `/dev/stdin`; of at
/// most `most` bytes. A pipe or terminal is given up once it has kept silent for five seconds.
pub(crate) fn read_from_user(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_patiently(path, most, PATIENCE)
}

/// The same with another patience.
fn read_patiently(path: &Path, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    let file = open::to_read(path).map_err(named)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_fifo() && !kind.is_char_device() {
        return read(path, most).map(|(content, _)| content);
    }
    let (mut content, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        // Without it, a pipe that nobody has opened yet would look like one that has come to its end.
        if !is_readable(&file, Instant::now() + patience)? {
            let (kind, limit) = (self::kind(kind), patience.as_secs());
            let silent = format!("it's {kind}, to which nothing was written in {limit} s");
            return Err(io::Error::new(io::ErrorKind::TimedOut, silent));
        }
        match (&file).read(&mut piece) {
            Ok(0) => return Ok(content),
            Ok(n) => content.extend_from_slice(&piece[..n]),
            Err(e) if is_for_later(&e) => {}
            Err(e) => return Err(e),
        }
        if content.len() as u64 > most {
            return Err(unfit(&format!("longer than {most} bytes")));
        }
    }
}

/// Whether `read` has failed since there is no file of that kind.
pub(crate) fn is_no_file(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::InvalidData
}

/// What something is that is neither a file nor a folder.
pub(crate) fn kind(kind: FileType) -> &'static str {
    match kind {
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    }
}

/// Waits until there is something to read, or the end; false: there wasn't, until then.
fn is_readable(file: &File, until: Instant) -> io::Result<bool> {
    let mut asked = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up, so that it isn't asked again and again in the last millisecond.
        let left = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        // SAFETY: `asked` is one valid `pollfd`, of an open file.
        match unsafe { libc::poll(&raw mut asked, 1, left) } {
            0 => return Ok(false),
            1.. => return Ok(true),
            _ => {}
        }
        let failure = io::Error::last_os_error();
        if failure.kind() != io::ErrorKind::Interrupted {
            return Err(failure);
        }
    }
}

fn is_for_later(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A socket can't be opened, and neither can a device that isn't there.
fn named(e: io::Error) -> io::Error {
    if e.raw_os_error() == Some(libc::ENXIO) { unfit("a socket, or a device") } else { e }
}

fn unfit(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it's {what}, and not a small file"))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;

    fn pipe(folder: &Path) -> PathBuf {
        let path = folder.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    /// Nothing is waited for; what is there is named.
    #[test]
    fn only_small_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "12345").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        assert_eq!(read(&path("file"), 5).unwrap().0, b"12345");
        assert_eq!(read(&path("link"), 5).unwrap().0, b"12345");
        let _listener = UnixListener::bind(path("socket")).unwrap();
        let unfit = [
            (path("file"), 4, "longer than 4 bytes"),
            (pipe(folder.path()), 5, "a pipe"),
            (path("socket"), 5, "a socket"),
            ("/dev/zero".into(), 5, "a device"),
        ];
        for (path, most, why) in unfit {
            let error = read(&path, most).unwrap_err();
            assert!(is_no_file(&error) && error.to_string().contains(why), "{error}");
        }
        for (path, kind) in
            [(path("none"), io::ErrorKind::NotFound), (path(""), io::ErrorKind::IsADirectory)]
        {
            assert_eq!(read(&path, 5).unwrap_err().kind(), kind);
        }
    }

    /// Only silence ends it, and not that it takes long.
    #[test]
    fn a_slow_writer_is_not_silent() {
        const PATIENCE: Duration = Duration::from_secs(2);
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(folder.path());
        let at = path.clone();
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let writer = std::thread::spawn(move || {
            let mut pipe = OpenOptions::new().write(true).open(at).unwrap();
            for _ in 0..4 {
                std::thread::sleep(PATIENCE / 3);
                pipe.write_all(b"x").unwrap();
            }
            drop(pipe);
            is_done.recv().unwrap_err();
        });
        let begun = Instant::now();
        assert_eq!(read_patiently(&path, 100, PATIENCE).unwrap(), b"xxxx");
        assert!(begun.elapsed() > PATIENCE, "the writer wasn't slow");
        drop(done);
        writer.join().unwrap();
        let _silent = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let error = read_patiently(&path, 100, PATIENCE / 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("nothing was written in 1 s"), "{error}");
    }

    /// A pipe is read until its writers are done, however late the first one comes.
    #[test]
    fn a_users_pipe_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = pipe(folder.path());
        let at = path.clone();
        let writer = std::thread::spawn(move || {
            let mut pipe = OpenOptions::new().write(true).open(at).unwrap();
            for piece in ["hf_", "abc", "\n"] {
                pipe.write_all(piece.as_bytes()).unwrap();
                std::thread::yield_now();
            }
        });
        assert_eq!(read_from_user(&path, 100).unwrap(), b"hf_abc\n");
        writer.join().unwrap();
        assert_eq!(read_from_user(Path::new("/dev/null"), 100).unwrap(), b"");
        assert!(is_no_file(&read_from_user(Path::new("/dev/zero"), 100).unwrap_err()));
    }
}
