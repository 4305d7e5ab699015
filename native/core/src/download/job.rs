//! One file on its way: what it is, where it is being written, and what the ways of fetching it
//! share.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::task::TaskTracker;

use super::xet::Journal;
use crate::call::progress::FileProgress;
use crate::call::scheduler::OffWorker;
use crate::call::waits::Waiting;
use crate::call::{Begun, Call};
use crate::model::error::{Error, Result};
use crate::model::repo::Entry;
use crate::sys::disk;
use crate::sys::lock::FileLock;
use crate::sys::open::Wary;

/// A file that is being fetched into its partial file.
///
/// The partial file outlives a failure, a cancelled call and a kill, so that the next attempt takes
/// it up. Beside it stands a [`Journal`] while chunks are written to it out of order; without one, it
/// holds the beginning of the file and nothing else.
///
/// Cheap to clone. The lock goes when the last clone does, so a job that is still writing when its
/// call is cancelled can't be overtaken by another process.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) entry: Arc<Entry>,
    pub(crate) call: Call,
    pub(crate) progress: Arc<FileProgress>,
    partial: Arc<OffWorker<Partial>>,
    writers: TaskTracker,
}

struct Partial {
    path: PathBuf,
    file: File,
    /// What another client has left of the same content.
    leftover: Option<PathBuf>,
    lock: Arc<FileLock>,
    /// What is waited for where the disk is too slow.
    disk: Arc<str>,
    /// When its lock was last shown to be in use.
    shown: Mutex<Option<Instant>>,
}

impl Job {
    /// Opens the partial file, with what an earlier attempt has left in it. The caller holds the
    /// file's lock and hands it over. `leftover` is what another client has left of the same
    /// content, if anything.
    pub(crate) fn open(
        entry: Arc<Entry>,
        path: PathBuf,
        leftover: Option<PathBuf>,
        lock: Arc<FileLock>,
        call: Call,
    ) -> Result<Self> {
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                // A link that someone planted under this name must not lead the content elsewhere.
                .never_follow()
                .open(&path)
                .map_err(|e| Error::io("create", &path, e))
        };
        let mut file = open()?;
        let names = file.metadata().map_err(|e| Error::io("look at", &path, e))?.nlink();
        if names > 1 {
            // What `link` made, in a process that was killed before it could name it: another name
            // of a finished file, which is nobody's to write to.
            fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
            file = open()?;
        }
        // The parts of a Xet file are checked, each in its place: what lies behind the last one has
        // to be cut off here, or it would become part of the file.
        let len = file.metadata().map_err(|e| Error::io("look at", &path, e))?.len();
        if len > entry.size {
            file.set_len(0).map_err(|e| Error::io("truncate", &path, e))?;
        }
        let progress = call.counters.begin_file(entry.path.as_str(), entry.size);
        let disk = format!("the disk to take more of {}", path.display()).into();
        let partial = Partial { path, file, leftover, lock, disk, shown: Mutex::default() };
        let partial = Arc::new(call.off_worker(partial));
        Ok(Self { entry, call, progress, partial, writers: TaskTracker::new() })
    }

    /// The partial file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.partial.path
    }

    /// What another client has left of the same content.
    pub(crate) fn leftover(&self) -> Option<&Path> {
        self.partial.leftover.as_deref()
    }

    /// Hands a piece of a body to the writer at the other end of `queue`. False: the writer has
    /// ended, and says why itself.
    pub(crate) async fn hand_over(&self, queue: &mpsc::Sender<Bytes>, piece: Bytes) -> bool {
        let piece = match queue.try_send(piece) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(piece)) => piece,
        };
        let what = Arc::clone(&self.partial.disk);
        let _waiting = self.call.counters.waits.begin(what, Duration::ZERO);
        queue.send(piece).await.is_ok()
    }

    /// Begins work of the disk's on the whole file ("to hash"), in which no counter moves.
    pub(crate) fn at_disk(&self, what: &str) -> Waiting {
        let what = format!("the disk {what} {}", self.entry.path);
        self.call.counters.waits.begin(what, disk_time(self.entry.size))
    }

    /// Asked between pieces of work on what is here: fails if the call has been cancelled, and shows
    /// that it's being worked on.
    pub(crate) fn check_alive(&self) -> Result<()> {
        if self.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        self.show_life();
        Ok(())
    }

    /// Shows those who wait for the file's lock that its holder is at work, where nothing is written
    /// for a long time.
    pub(crate) fn show_life(&self) {
        const EVERY: Duration = Duration::from_secs(1);
        let mut shown = self.partial.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        *shown = Some(Instant::now());
        if let Err(error) = self.partial.file.set_modified(SystemTime::now()) {
            tracing::debug!(path = %self.path().display(), %error, "can't show that it's in use");
        }
    }

    /// Begins a blocking job that writes to the partial file; `what` it waits for.
    pub(crate) fn spawn_writer<T, F>(&self, what: impl Into<Arc<str>>, write: F) -> Begun<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let writing = self.writers.token();
        self.call.spawn_blocking(what, move || {
            let _writing = writing;
            write()
        })
    }

    /// Waits until no writer is at work, including those whose result nobody waits for any more.
    pub(crate) async fn writers_ended(&self) {
        self.writers.close();
        self.writers.wait().await;
        self.writers.reopen();
    }

    /// Writes `data` at `offset`.
    pub(crate) fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        self.partial
            .file
            .write_all_at(data, offset)
            .map_err(|e| Error::io("write", &self.partial.path, e))
    }

    /// Reads all of `buffer` at `offset`; false if the partial file ends before.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<bool> {
        match self.partial.file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(Error::io("read", &self.partial.path, e)),
        }
    }

    /// How many bytes the partial file holds.
    pub(crate) fn len(&self) -> Result<u64> {
        let metadata = self.partial.file.metadata();
        metadata.map(|m| m.len()).map_err(|e| Error::io("look at", &self.partial.path, e))
    }

    /// Where the journal of this file is.
    pub(crate) fn journal_path(&self) -> PathBuf {
        Journal::beside(&self.partial.path)
    }

    /// Forgets all that was written, for another start.
    pub(crate) fn restart(&self) -> Result<()> {
        Journal::remove(&self.journal_path())?;
        self.partial.file.set_len(0).map_err(|e| Error::io("truncate", &self.partial.path, e))
    }

    /// Makes bytes of the partial file the same blocks on the disk as those of `source` from `at`
    /// on, as far as the file system can. Returns which.
    pub(crate) fn share(&self, source: &File, at: u64, range: &Range<u64>) -> Option<Range<u64>> {
        disk::share(source, at, &self.partial.file, range)
    }

    /// Makes the partial file another name of `source`, which is open as `opened`: for content that
    /// is complete and needn't be a file of its own. False: it can't be linked, or isn't that file
    /// any more.
    pub(crate) fn link(&self, source: &Path, opened: &File) -> Result<bool> {
        let link = self.partial.path.with_extension("link");
        let is_same = fs::hard_link(source, &link).is_ok()
            && match (fs::symlink_metadata(&link), opened.metadata()) {
                (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
                _ => false,
            };
        let renamed = if is_same { fs::rename(&link, self.path()) } else { Ok(()) };
        // It's still there if that failed; and also if both were names of one file already, since
        // then there was nothing to rename.
        let _ = fs::remove_file(&link);
        renamed.map(|()| is_same).map_err(|e| Error::io("link", self.path(), e))
    }

    /// Brings the complete content to the disk, so that the final name never points to less.
    pub(crate) fn sync(&self) -> Result<()> {
        self.partial.file.sync_data().map_err(|e| Error::io("sync", &self.partial.path, e))
    }

    /// Removes the notes about a file that has its final name: only then, so that an end before it
    /// costs nothing.
    pub(crate) fn clean_up(&self) -> Result<()> {
        Journal::remove(&self.journal_path())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // One that isn't under a lock has a name of its own, and nobody would take it up.
        if !self.lock.is_exclusive() {
            let removed = remove_remains(&self.path);
            if let Err(error) = removed {
                tracing::debug!(%error, "can't remove a partial file");
            }
        }
    }
}

/// How long a disk may be busy with so many bytes before somebody wonders. A disk that is slower
/// than 5 MB/s isn't one to keep models on.
pub(super) fn disk_time(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / 5_000_000)
}

/// Removes what an ended attempt has left of a file that is here after all.
pub(crate) fn remove_remains(partial: &Path) -> Result<()> {
    Journal::remove(&Journal::beside(partial))?;
    match std::fs::remove_file(partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", partial, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::repo::{RepoPath, Storage};

    fn job(folder: &Path, lock: FileLock) -> Job {
        let entry = Entry {
            path: RepoPath::new("a.bin").unwrap(),
            size: 9,
            oid: "0".repeat(40),
            storage: Storage::Git,
        };
        let partial = folder.join("a.partial");
        Job::open(Arc::new(entry), partial, None, Arc::new(lock), Call::default()).unwrap()
    }

    fn lock(folder: &Path) -> FileLock {
        FileLock::try_acquire(&folder.join("lock")).unwrap().unwrap()
    }

    /// Reading for a long time looks like work from outside.
    #[test]
    fn a_job_that_only_reads_shows_life() {
        let folder = tempfile::tempdir().unwrap();
        let job = job(folder.path(), lock(folder.path()));
        let modified = || std::fs::metadata(job.path()).unwrap().modified().unwrap();
        job.partial.file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        job.show_life();
        assert!(modified() > SystemTime::UNIX_EPOCH);
    }

    /// What nobody else can take up isn't left behind; the rest is.
    #[test]
    fn only_a_partial_file_under_a_lock_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path());
        let passed = FileLock::without(&folder.path().join("lock"));
        let left = |job: Job| {
            job.write_at(b"content", 0).unwrap();
            std::fs::write(job.journal_path(), "notes").unwrap();
            drop(job);
            std::fs::read_dir(folder.path()).unwrap().count()
        };
        assert_eq!(left(job(folder.path(), passed)), 1, "the lock alone");
        assert_eq!(left(job(folder.path(), held)), 3);
    }
}
