//! One file of a call on its way: whose it is, who counts its bytes, and who writes them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::task::TaskTracker;

use super::progress::FileProgress;
use super::waits::Waiting;
use super::{Begun, Call};
use crate::model::error::Result;
use crate::model::repo::Entry;

/// What all that bring in one file share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FileTask {
    pub(crate) entry: Arc<Entry>,
    pub(crate) call: Call,
    pub(crate) progress: Arc<FileProgress>,
    writers: TaskTracker,
    /// What is waited for where it comes faster than it can be written.
    sink: Arc<str>,
}

impl FileTask {
    /// Begins to count. `sink` is what is waited for where the file comes faster than it can be
    /// written ("the disk to take more of a.bin").
    pub(crate) fn begin(entry: Arc<Entry>, call: Call, sink: impl Into<Arc<str>>) -> Self {
        let progress = call.counters.begin_file(entry.path.as_str(), entry.size);
        Self { entry, call, progress, writers: TaskTracker::new(), sink: sink.into() }
    }

    /// Hands a piece of a body to the writer at the other end of `queue`. False: the writer has
    /// ended, and says why itself.
    pub(crate) async fn hand_over<T>(&self, queue: &mpsc::Sender<T>, piece: T) -> bool {
        let piece = match queue.try_send(piece) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(piece)) => piece,
        };
        let _waiting = self.call.counters.waits.begin(Arc::clone(&self.sink), Duration::ZERO);
        queue.send(piece).await.is_ok()
    }

    /// Begins work of the disk's on the whole file ("to copy"), which lasts for as long as it
    /// [beats](Call::beat).
    pub(crate) fn at_disk(&self, what: &str) -> Waiting {
        let what = format!("the disk {what} {}", self.entry.path);
        self.call.counters.waits.begin(what, Duration::ZERO)
    }

    /// Begins a blocking job that writes the file; `what` it waits for.
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

    /// The same for a job that doesn't wait for the network, and is waited for.
    pub(crate) async fn write_now<T, F>(&self, what: impl Into<Arc<str>>, write: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let writing = self.writers.token();
        let write = move || {
            let _writing = writing;
            write()
        };
        self.call.blocking(what, write).await
    }

    /// Waits until no writer is at work, including those whose result nobody waits for any more.
    pub(crate) async fn writers_ended(&self) {
        self.writers.close();
        self.writers.wait().await;
        self.writers.reopen();
    }
}

/// How long a disk may be busy with so many bytes before somebody wonders, where it's one system call or
/// somebody else's work, in which nothing can beat.
pub(crate) fn disk_time(bytes: u64) -> Duration {
    Duration::from_mins(1) + writing_time(bytes)
}

/// How long so many bytes may take. A disk that is slower than 5 MB/s isn't one to keep models on.
pub(crate) fn writing_time(bytes: u64) -> Duration {
    Duration::from_secs(bytes / 5_000_000)
}
