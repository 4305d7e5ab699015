//! Files that no forked child keeps.
//!
//! A child of `fork` has all open files of its parent, and a lock lasts until the last process that has
//! the file lets go of it: a child that lives on would hold the locks of a parent that was killed, and
//! the disk space of what was removed. So a child gives up what is noted here right after the fork.
//! It unlocks nothing, which would free what the parent has.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::fork;

/// More descriptors than a process has: those beyond, if they can be at all, are kept by children.
const MOST: usize = 1 << 20;
const BITS: usize = u64::BITS as usize;

/// A bit for each descriptor that is not for children. No lock guards it, so that it can be read in a
/// child whatever the parent's threads were at; what was never used takes no memory.
static NOTED: [AtomicU64; MOST / BITS] = [const { AtomicU64::new(0) }; MOST / BITS];
/// How many words of it have ever been used.
static WORDS: AtomicUsize = AtomicUsize::new(0);

/// An open file that is given up in a child. There it stays open as a number, of a file that is always
/// empty, so that dropping it closes nothing else.
#[derive(Debug)]
pub(crate) struct Unshared(File);

impl Unshared {
    /// The file that `open` opens. Asks again if the process has forked meanwhile: the child has got
    /// the same file then, and would share the lock that is taken on it next.
    pub(crate) fn open<E>(open: impl Fn() -> Result<File, E>) -> Result<Self, E> {
        loop {
            let forks = fork::count();
            let file = Self::of(open()?);
            if fork::hold_off(fork::count) == forks {
                return Ok(file);
            }
        }
    }

    /// `file`, to be given up by children from now on: not for locks, as one that was forked since it was
    /// opened keeps it.
    pub(crate) fn of(file: File) -> Self {
        let file = Self(file);
        if let Some((word, bit)) = file.place() {
            // What is done inside has the functions around a fork registered.
            fork::hold_off(|| {
                WORDS.fetch_max(word + 1, Ordering::SeqCst);
                NOTED[word].fetch_or(bit, Ordering::SeqCst);
            });
        }
        file
    }

    fn place(&self) -> Option<(usize, u64)> {
        let number = usize::try_from(self.0.as_raw_fd()).ok().filter(|&number| number < MOST)?;
        Some((number / BITS, 1 << (number % BITS)))
    }
}

impl Deref for Unshared {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        // Before the file is closed: then the number may be another file's.
        if let Some((word, bit)) = self.place() {
            NOTED[word].fetch_and(!bit, Ordering::SeqCst);
        }
    }
}

/// Gives all of them up. For a child that has just been forked, and has one thread: calls only what is
/// safe in a signal handler.
pub(super) fn give_up_in_child() {
    let mut empty = None;
    for (index, word) in NOTED.iter().enumerate().take(WORDS.load(Ordering::SeqCst)) {
        let mut left = word.swap(0, Ordering::SeqCst);
        while left != 0 {
            let number = index * BITS + left.trailing_zeros() as usize;
            left &= left - 1;
            let Ok(empty) = empty.get_or_insert_with(Empty::open) else { return };
            if let Ok(number) = RawFd::try_from(number) {
                empty.replace(number);
            }
        }
    }
}

/// The file that is always empty.
struct Empty(RawFd);

impl Empty {
    fn open() -> io::Result<Self> {
        // SAFETY: the path is a string that ends with a NUL.
        match unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) } {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(Self(number)),
        }
    }

    /// Makes `number` mean this file. Where that can't be, it stays what it was.
    fn replace(&self, number: RawFd) {
        // SAFETY: `number` belongs to an `Unshared`, which this child has a copy of and nobody uses; both
        // are open.
        unsafe {
            if libc::dup2(self.0, number) == number {
                libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC);
            }
        }
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        // SAFETY: it was opened here, and nobody else knows it.
        unsafe { libc::close(self.0) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    fn lock(path: &Path) -> Option<Unshared> {
        let open = || OpenOptions::new().create(true).append(true).open(path);
        let file = Unshared::open(open).unwrap();
        file.try_lock().is_ok().then_some(file)
    }

    /// Whether `path` can be locked before long. A process that another test is forking just now has the
    /// file until it comes to giving it up.
    fn comes_free(path: &Path) -> bool {
        let until = Instant::now() + Duration::from_secs(30);
        while lock(path).is_none() {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// A child frees no lock that its parent has, and keeps none that its parent lets go of by closing
    /// it, as the kernel does for one that was killed. What it has a copy of is of no effect there.
    #[test]
    fn a_child_that_lives_on_keeps_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap();
        let (mut said, says) = io::pipe().unwrap();
        // SAFETY: the child calls only what is safe in a signal handler, and is killed.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the byte and the files are valid; `held` isn't dropped, as nothing here returns.
            unsafe {
                let written = libc::write(held.as_raw_fd(), b"x".as_ptr().cast(), 1);
                let answer = if written == 1 { c"y" } else { c"n" };
                libc::write(says.as_raw_fd(), answer.as_ptr().cast(), 1);
                loop {
                    libc::pause();
                }
            }
        }
        let mut answer = [0];
        said.read_exact(&mut answer).unwrap();
        let of_the_parent = lock(&path).is_none();
        let is_untouched = held.metadata().unwrap().len() == 0;
        drop(held);
        let is_free = comes_free(&path);
        // SAFETY: `child` is our child, which hasn't been waited for.
        let ended = unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0)
        };
        assert_eq!((ended, &answer), (child, b"y"));
        assert!(of_the_parent, "the child freed its parent's lock");
        assert!(is_untouched, "the child wrote to its parent's file");
        assert!(is_free, "the child kept the lock that its parent let go of");
    }
}
