//! One file of a download: the task of bringing it in, and the partial file that it's written to.

use std::path::PathBuf;
use std::sync::Arc;

use super::partial::Partial;
use crate::call::Call;
use crate::call::file_task::FileTask;
use crate::call::scheduler::OffWorker;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Entry;
use crate::sys::lock::FileLock;

/// A file that is being fetched into its partial file.
///
/// Cheap to clone. The lock goes when the last clone does, so a job that is still writing when its
/// call is cancelled can't be overtaken by another process.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) task: FileTask,
    pub(crate) partial: Arc<OffWorker<Partial>>,
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
        let disk = format!("the disk to take more of {}", path.display());
        let partial = Partial::open(path, entry.size, leftover, lock)?;
        let partial = Arc::new(call.off_worker(partial));
        Ok(Self { task: FileTask::begin(entry, call, disk), partial })
    }

    /// Asked between pieces of work on what is here: fails if the call has been cancelled, and shows
    /// that it's being worked on, to other processes and to the call's watchdog.
    pub(crate) fn check_alive(&self) -> Result<()> {
        if self.task.call.is_cancelled() {
            return Err(Error::cancelled());
        }
        self.partial.show_life();
        self.task.call.beat();
        Ok(())
    }

    /// The failure of a file whose content isn't what was written there any more: it comes again, as one that was
    /// removed does.
    pub(crate) fn was_written_to(&self) -> Error {
        let (file, partial) = (&self.task.entry.path, self.partial.path().display());
        let message = format!("{file}: another program has written to {partial}");
        Error::new(Kind::FilesRemoved, message)
    }
}
