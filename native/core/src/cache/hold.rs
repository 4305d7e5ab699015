//! Holding on to a repo in the cache while a call relies on its files.

use std::time::{Duration, Instant};

use super::layout::RepoCache;
use crate::call::Call;
use crate::call::scheduler::OffWorker;
use crate::model::error::Result;
use crate::sys::lock::FileLock;

/// How often to ask for the lock: more often than a pruning frees it.
const POLL: Duration = Duration::from_millis(20);

/// How long to ask. A pruning frees the lock twice a second; one that doesn't is stopped, or its disk
/// is, and what it removes is seen to be missing at the end of the call.
const PATIENCE: Duration = Duration::from_secs(10);

/// A repo's lock, shared with other calls: pruning leaves the repo alone.
///
/// Where it can't be had (no locks on the file system, a folder that may not be written to), the call
/// goes on without: it looks at its files once more before it returns.
pub(crate) struct Hold {
    /// Given up before the call returns, so that whoever prunes next finds the repo free.
    lock: Option<OffWorker<FileLock>>,
}

/// What came of an attempt.
enum Attempt {
    Held(Option<FileLock>),
    Taken,
    NoRepo,
}

impl Hold {
    /// Takes the lock of `repo`; `None`: nothing of the repo is here. `make`: something is about to be,
    /// so the lock is needed all the same.
    pub(crate) async fn take(repo: &RepoCache, make: bool, call: &Call) -> Result<Option<Self>> {
        let started = Instant::now();
        let mut waiting = None;
        loop {
            let of = repo.clone();
            let what = format!("a look at the lock of {}", repo.repo());
            let held = match call.blocking(what, move || Ok(attempt(&of, make))).await? {
                Attempt::Held(lock) => lock,
                Attempt::NoRepo => return Ok(None),
                Attempt::Taken if started.elapsed() < PATIENCE => {
                    let lock = repo.repo_lock_path();
                    let what = || {
                        format!(
                            "another process to prune {} (its lock: {})",
                            repo.repo(),
                            lock.display()
                        )
                    };
                    waiting.get_or_insert_with(|| call.counters.waits.begin(what(), PATIENCE * 2));
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                Attempt::Taken => {
                    let lock = repo.repo_lock_path();
                    tracing::warn!(lock = %lock.display(), "a pruning hangs; going on without its lock");
                    None
                }
            };
            return Ok(Some(Self { lock: held.map(|lock| call.off_worker(lock)) }));
        }
    }

    /// False: the call goes on without the lock.
    pub(crate) fn is_held(&self) -> bool {
        self.lock.is_some()
    }
}

fn attempt(repo: &RepoCache, make: bool) -> Attempt {
    if !make && !repo.folder().is_dir() {
        return Attempt::NoRepo;
    }
    let path = repo.repo_lock_path();
    match FileLock::try_share(&path) {
        Ok(Some(lock)) => {
            // For a pruning that is at work on the repo and has just let go of it for a moment.
            lock.mark();
            Attempt::Held(Some(lock))
        }
        Ok(None) => Attempt::Taken,
        Err(error) => {
            tracing::debug!(lock = %path.display(), %error, "can't hold on to a repo");
            Attempt::Held(None)
        }
    }
}
