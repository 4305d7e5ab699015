//! One file of a group: what becomes of it, for all who want to know.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use xet_core_structures::merklehash::MerkleHash;

use super::dedup::DedupStats;
use crate::call::progress::FileProgress;
use crate::model::error::{Error, Kind};

/// How far a task, or a group, is. The numbers are those of `xet.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskState {
    /// It goes on, or waits for its turn.
    #[default]
    Running = 0,
    /// All of it is known, or of a group: nothing more will be added.
    Finalizing = 1,
    /// It has succeeded.
    Done = 2,
    /// It has failed.
    Failed = 3,
    /// It was cancelled.
    Cancelled = 4,
}

impl TaskState {
    /// Whether nothing more becomes of it.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What there is to tell of a task.
#[derive(Clone, Debug)]
pub struct TaskReport {
    /// How far it is.
    pub state: TaskState,
    /// Its number, from 1.
    pub task: u64,
    /// The path of a download, or what an upload is called.
    pub name: Arc<str>,
    /// The Xet hash, in hex, if it's known.
    pub hash: Option<String>,
    /// The SHA-256 of an upload, in hex, if there is one.
    pub sha256: Option<String>,
    /// 0: not known yet.
    pub bytes_total: u64,
    /// Of those.
    pub bytes_completed: u64,
    /// Received, or sent.
    pub bytes_network: u64,
    /// Taken from this machine; of an upload, known to storage.
    pub bytes_reused: u64,
    /// Why it has failed.
    pub error: Option<Error>,
    /// Of an upload whose content has been cut.
    pub dedup: Option<DedupStats>,
}

/// A task, as its group holds it.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) number: u64,
    pub(super) name: Arc<str>,
    /// Ends it.
    pub(super) cancel: CancellationToken,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    state: TaskState,
    has_begun: bool,
    /// Its file is getting its name, and nothing else can become of it.
    is_committed: bool,
    hash: Option<MerkleHash>,
    sha256: Option<String>,
    size: Option<u64>,
    progress: Option<Arc<FileProgress>>,
    error: Option<Error>,
    dedup: Option<DedupStats>,
}

impl Task {
    /// One that is about to begin. It's cancelled with `group`, too.
    pub(super) fn new(number: u64, name: &str, group: &CancellationToken) -> Self {
        let cancel = group.child_token();
        Self { number, name: name.into(), cancel, known: Mutex::default() }
    }

    /// It has its turn.
    pub(super) fn begins(&self) {
        self.known().has_begun = true;
    }

    /// Whether it has had its turn.
    pub(super) fn has_begun(&self) -> bool {
        self.known().has_begun
    }

    /// Its file is about to get its name, unless it's cancelled. From here on it can't be.
    pub(super) fn commits(&self) -> bool {
        let mut known = self.known();
        known.is_committed = !self.cancel.is_cancelled() && !known.state.has_ended();
        known.is_committed
    }

    /// Its file hasn't got its name.
    pub(super) fn is_thrown_back(&self) {
        self.known().is_committed = false;
    }

    /// Its content.
    pub(super) fn knows(&self, hash: Option<MerkleHash>, size: Option<u64>) {
        let mut known = self.known();
        known.hash = hash.or(known.hash);
        known.size = size.or(known.size);
    }

    /// Its size. False: that was known already.
    pub(super) fn has_size(&self, size: u64) -> bool {
        self.known().size.replace(size).is_none()
    }

    /// Who counts its bytes.
    pub(super) fn counts(&self, progress: &Arc<FileProgress>) {
        self.known().progress = Some(Arc::clone(progress));
    }

    /// All of an upload has been cut.
    pub(super) fn is_cut(&self, sha256: Option<String>, dedup: DedupStats) {
        let mut known = self.known();
        known.sha256 = sha256;
        known.dedup = Some(dedup);
        if !known.state.has_ended() {
            known.state = TaskState::Finalizing;
        }
    }

    /// It has ended. False: it had before, or is about to succeed, and stays as it is. Only what was told to end is cancelled: what ends like
    /// that by itself has failed, and nobody may take it for what he wanted.
    pub(super) fn ends(&self, result: Result<(), Error>) -> bool {
        let mut known = self.known();
        if known.state.has_ended() || (known.is_committed && result.is_err()) {
            return false;
        }
        known.state = match &result {
            Ok(()) => TaskState::Done,
            Err(error) if error.kind() == Kind::Cancelled && self.cancel.is_cancelled() => {
                TaskState::Cancelled
            }
            Err(_) => TaskState::Failed,
        };
        known.error = result.err().filter(|_| known.state == TaskState::Failed);
        true
    }

    pub(super) fn state(&self) -> TaskState {
        self.known().state
    }

    /// Why it has failed, if it has.
    pub(super) fn failure(&self) -> Option<Error> {
        self.known().error.clone()
    }

    pub(super) fn report(&self) -> TaskReport {
        let known = self.known();
        let progress = known.progress.as_deref();
        let is_done = known.state == TaskState::Done;
        let bytes_total = known.size.unwrap_or_default();
        TaskReport {
            state: known.state,
            task: self.number,
            name: Arc::clone(&self.name),
            hash: known.hash.map(|hash| hash.hex()),
            sha256: known.sha256.clone(),
            bytes_total,
            bytes_completed: match progress {
                _ if is_done => bytes_total,
                Some(progress) => progress.completed(),
                None => 0,
            },
            bytes_network: match &known.dedup {
                Some(dedup) => dedup.new_bytes,
                None => progress.map_or(0, |progress| progress.counters().network()),
            },
            bytes_reused: match &known.dedup {
                Some(dedup) => dedup.deduped_bytes,
                None => progress.map_or(0, |progress| progress.counters().reused()),
            },
            error: known.error.clone(),
            dedup: known.dedup,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change leaves it whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
