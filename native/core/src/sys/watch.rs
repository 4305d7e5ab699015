//! Whether anybody else has opened a file that is ours alone.

use std::path::Path;

/// What the system says of who opens a file. It hears of this machine's programs, by whatever name they open the
/// file; not of another machine's on a network file system, nor of who has it open already.
///
/// Making one and giving it up takes longer than reading a small file.
#[derive(Debug)]
pub(crate) struct Watch(Option<imp::Opened>);

impl Watch {
    /// Of the file that is at `path`, from now on.
    pub(crate) fn of(path: &Path) -> Self {
        let watched = imp::Opened::of(path);
        if let Err(error) = &watched {
            tracing::debug!(path = %path.display(), %error, "can't watch who opens a file");
        }
        Self(watched.ok())
    }

    /// One that tells nothing.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Whether it tells anything.
    pub(crate) fn tells(&self) -> bool {
        self.0.is_some()
    }

    /// Whether nobody has opened the file since. False, too, if that isn't known, or has been said before.
    pub(crate) fn has_seen_nobody(&self) -> bool {
        self.0.as_ref().is_some_and(imp::Opened::by_nobody)
    }

    /// Whether somebody has opened the file since, as far as that is known, and hasn't been said before.
    pub(crate) fn has_seen_somebody(&self) -> bool {
        self.0.as_ref().is_some_and(|opened| !opened.by_nobody())
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use std::ffi::CString;
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use crate::sys::unshared::Unshared;

    /// An inotify instance with one watch.
    #[derive(Debug)]
    pub(super) struct Opened(Unshared);

    impl Opened {
        pub(super) fn of(path: &Path) -> io::Result<Self> {
            let path = CString::new(path.as_os_str().as_bytes())?;
            // SAFETY: it takes no pointer.
            let made = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
            if made < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: it was just made, and is nobody else's.
            let events = Unshared::of(unsafe { File::from_raw_fd(made) });
            let wanted = libc::IN_OPEN | libc::IN_DONT_FOLLOW;
            // SAFETY: `path` ends with a NUL, and outlives the call.
            let added =
                unsafe { libc::inotify_add_watch(events.as_raw_fd(), path.as_ptr(), wanted) };
            if added < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(events)) }
        }

        pub(super) fn by_nobody(&self) -> bool {
            // Room for some events; without names, each takes sixteen bytes.
            let mut events = [0; 256];
            let read = (&*self.0).read(&mut events);
            read.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;
    use std::path::Path;

    #[derive(Debug)]
    pub(super) enum Opened {}

    impl Opened {
        pub(super) fn of(_: &Path) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn by_nobody(&self) -> bool {
            match *self {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};

    use super::*;

    /// Whoever opens it is seen, by whichever name, and who only looks at it isn't.
    #[cfg(target_os = "linux")]
    #[test]
    fn who_opens_a_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        let _ours = File::create(&path).unwrap();
        let watch = Watch::of(&path);
        fs::metadata(&path).unwrap();
        fs::hard_link(&path, &other).unwrap();
        assert!(watch.has_seen_nobody() && !watch.has_seen_somebody());
        for seen in [|watch: &Watch| !watch.has_seen_nobody(), Watch::has_seen_somebody] {
            drop(OpenOptions::new().write(true).open(&other).unwrap());
            assert!(seen(&watch));
        }
    }

    /// What isn't watched may have been opened.
    #[test]
    fn what_is_not_watched_is_not_vouched_for() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!Watch::of(&folder.path().join("absent")).has_seen_nobody());
        assert!(!Watch::none().has_seen_nobody() && !Watch::none().has_seen_somebody());
    }
}
