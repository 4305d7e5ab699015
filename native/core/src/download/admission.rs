//! How a file is begun: its turn, its lock, and what there is of it.

use std::sync::Arc;

use super::job::Job;
use super::partial;
use super::transfer::Transfer;
use crate::cache::LockWait;
use crate::call::file_task::disk_time;
use crate::call::scheduler::{Gate, Permit, SMALL};
use crate::call::walk::Walk;
use crate::model::error::{Error, Result};
use crate::model::repo::Entry;
use crate::sys::lock::FileLock;

/// The permits under which a file is brought in.
pub(super) struct Admission {
    in_flight: Option<Permit>,
    /// Only large files need one.
    open: Option<Permit>,
}

impl Admission {
    /// From here on the disk works, not the network: the next large file may begin. A small one keeps
    /// its permit until it has its name.
    pub(super) fn fetched(&mut self) {
        if self.open.is_some() {
            self.in_flight = None;
        }
    }
}

impl Transfer {
    /// Takes the file's lock, and what there is of the file: `None` if its content is on this machine
    /// after all (another process was first, or another part of the cache has it), else the job of
    /// fetching it. While somebody else has the lock, the permits are given back, as others may get on
    /// with them; and who has them again tries for the lock again.
    pub(super) async fn open(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        permit: Permit,
    ) -> Result<(Admission, Option<Job>)> {
        let mut wait = self.lock_wait(entry);
        let mut admission = self.admit(entry, permit).await?;
        loop {
            let (this, wanted, take) = (Arc::clone(self), Arc::clone(entry), wait.attempt());
            let attempt = move || {
                let path = match this.target.lock_path(&wanted) {
                    Err(error) if !this.force && this.is_here_unnoted(&wanted, &error)? => {
                        return Ok(Ok(None));
                    }
                    path => path?,
                };
                Ok(match take(&path)? {
                    Some(lock) => Ok(this.open_under(lock, &wanted)?),
                    None => Err(path),
                })
            };
            let what = format!("a look at what is here of {}", entry.path);
            let path = match self.call.blocking(what, attempt).await? {
                Ok(job) => return Ok((admission, job)),
                Err(path) => path,
            };
            drop(admission);
            wait.until_free(path).await?;
            let what = format!("its turn to bring in {}", entry.path);
            let permit = self.call.turn(self.gate(entry), what).await?;
            admission = self.admit(entry, permit).await?;
        }
    }

    /// See [`Target::is_right_unnoted`](crate::cache::Target::is_right_unnoted).
    fn is_here_unnoted(&self, entry: &Entry, error: &Error) -> Result<bool> {
        let what = format!("the disk to hash {}", entry.path);
        let _waiting = self.call.counters.waits.begin(what, disk_time(entry.size));
        self.target.is_right_unnoted(entry, error, &Walk::new(&self.call))
    }

    /// Where a file waits for its turn.
    pub(super) fn gate(&self, entry: &Entry) -> &Arc<Gate> {
        let scheduler = &self.call.scheduler;
        if entry.size <= SMALL { &scheduler.requests } else { &scheduler.files }
    }

    /// What a file needs besides its turn.
    async fn admit(&self, entry: &Entry, permit: Permit) -> Result<Admission> {
        if entry.size <= SMALL {
            return Ok(Admission { in_flight: Some(permit), open: None });
        }
        let what = format!("its turn to open {}", entry.path);
        let open = self.call.turn(&self.call.scheduler.open, what).await?;
        Ok(Admission { in_flight: Some(permit), open: Some(open) })
    }

    fn open_under(&self, lock: FileLock, entry: &Arc<Entry>) -> Result<Option<Job>> {
        let what = format!("a look at what is here of {}", entry.path);
        let _waiting = self.call.counters.waits.begin(what, disk_time(entry.size));
        let cancel = self.call.cancellation();
        let partial = self.target.partial_path(entry, &lock)?;
        if !self.force
            && let Some(path) = self.target.adopt(entry, &lock, cancel)?
        {
            self.meet(entry, &path);
            partial::remove_remains(&partial)?;
            return Ok(None);
        }
        let leftover = self.target.leftover(entry, &lock)?.filter(|_| !self.force);
        let (entry, call) = (Arc::clone(entry), self.call.clone());
        Job::open(entry, partial, leftover, Arc::new(lock), call).map(Some)
    }

    /// The wait for the file's lock, should somebody else have it: as long as that one gets on.
    pub(super) fn lock_wait(&self, entry: &Arc<Entry>) -> LockWait {
        let patience = self.hub.deadlines().longest() * 4;
        let what = format!("another download of {}", entry.path);
        let (target, entry) = (Arc::clone(&self.target), Arc::clone(entry));
        LockWait::new(&self.call, what, patience, move || target.signs_of_life(&entry))
    }
}
