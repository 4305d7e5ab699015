//! One file on its way: what it is, where it is being written, and what the ways of fetching it
//! share.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::xet::Journal;
use crate::cache::FileLock;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::progress::FileProgress;
use crate::repo::Entry;

/// A file that is being fetched into its partial file.
///
/// The partial file outlives a failure, a cancelled call and a kill, so that the next attempt takes
/// it up. Beside it stands a
/// [`Journal`] while chunks are written to it out of order; without one, it holds the beginning of
/// the file and nothing else.
///
/// Cheap to clone. The lock goes when the last clone does, so a job that is still writing when its
/// call is cancelled can't be overtaken by another process.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) entry: Arc<Entry>,
    pub(crate) call: Call,
    pub(crate) progress: Arc<FileProgress>,
    partial: Arc<Partial>,
    writers: TaskTracker,
}

struct Partial {
    path: PathBuf,
    file: File,
    /// What another client has left of the same content.
    leftover: Option<PathBuf>,
    _lock: Arc<FileLock>,
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
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            // A link that someone planted under this name must not lead the content elsewhere.
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|e| Error::io("create", &path, e))?;
        // The parts of a Xet file are checked, each in its place: what lies behind the last one has
        // to be cut off here, or it would become part of the file.
        let len = file.metadata().map_err(|e| Error::io("look at", &path, e))?.len();
        if len > entry.size {
            file.set_len(0).map_err(|e| Error::io("truncate", &path, e))?;
        }
        let progress = call.counters.begin_file(entry.path.as_str(), entry.size);
        let partial = Arc::new(Partial { path, file, leftover, _lock: lock });
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
        let what = format!("the disk to take more of {}", self.path().display());
        let _waiting = self.call.counters.waits.begin(what, Duration::ZERO);
        queue.send(piece).await.is_ok()
    }

    /// Begins a blocking job that writes to the partial file.
    pub(crate) fn spawn_writer<F>(&self, write: F) -> JoinHandle<Result<()>>
    where
        F: FnOnce() -> Result<()> + Send + 'static,
    {
        let writing = self.writers.token();
        self.call.spawn_blocking(move || {
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

/// Removes what an ended attempt has left of a file that is here after all.
pub(crate) fn remove_remains(partial: &Path) -> Result<()> {
    Journal::remove(&Journal::beside(partial))?;
    match std::fs::remove_file(partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", partial, e)),
        _ => Ok(()),
    }
}
