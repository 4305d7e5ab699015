//! How a file is begun: its turn, its lock, and what there is of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::in_flight::{self, Claim, Turn};
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

/// What is found under a file's lock, which is given up unless there's a job.
enum Opened {
    Here,
    Job(Job),
    Gone,
}

/// How a file begins.
pub(super) enum Begun {
    /// Its content is on this machine after all.
    Here,
    /// It is to be fetched.
    Job(Admission, Job),
    /// The file that somebody had made of its content can't be taken any more.
    Gone,
}

impl Transfer {
    /// The wait for a content, should others be at work on it.
    pub(super) fn content_wait(&self, entry: &Entry) -> in_flight::Wait {
        in_flight::Wait::new(&self.call, &self.hub, entry, self.patience())
    }

    /// Claims the content of a file, or waits until those have it who are at work on it: then comes a file that
    /// they have made of it. The permit is given back meanwhile, as others may get on with it.
    pub(super) async fn claim(
        &self,
        wait: &mut in_flight::Wait,
        entry: &Entry,
        mut permit: Permit,
    ) -> Result<(Option<Claim>, Option<PathBuf>, Permit)> {
        // What is to come again isn't to be taken from here.
        if self.force {
            return Ok((None, None, permit));
        }
        loop {
            let others = match wait.turn() {
                Turn::Own(claim) => return Ok((claim, None, permit)),
                Turn::Others(others) => others,
            };
            drop(permit);
            let found = wait.until_over(others).await;
            let what = format!("its turn to bring in {}", entry.path);
            permit = self.call.turn(self.gate(entry), what).await?;
            if found.is_some() {
                return Ok((None, found, permit));
            }
        }
    }

    /// Takes the file's lock, and what there is of the file: its content may be on this machine after all (in the
    /// file `found`, or another process was first, or another part of the cache has it). While somebody else has the lock, the permits are given back, as others may get on
    /// with them; and who has them again tries for the lock again.
    pub(super) async fn open(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        found: Option<PathBuf>,
        permit: Permit,
    ) -> Result<Begun> {
        let found = Arc::new(found);
        let mut wait = self.lock_wait(entry);
        let mut admission = self.admit(entry, permit).await?;
        loop {
            let (this, wanted, take) = (Arc::clone(self), Arc::clone(entry), wait.attempt());
            let found = Arc::clone(&found);
            let attempt = move || {
                let path = match this.target.lock_path(&wanted) {
                    Err(error) if !this.force && this.is_here_unnoted(&wanted, &error)? => {
                        return Ok(Ok(Opened::Here));
                    }
                    path => path?,
                };
                Ok(match take(&path)? {
                    Some(lock) => Ok(this.open_under(lock, &wanted, found.as_deref())?),
                    None => Err(path),
                })
            };
            let what = format!("a look at what is here of {}", entry.path);
            let path = match self.call.blocking(what, attempt).await? {
                Ok(Opened::Here) => return Ok(Begun::Here),
                Ok(Opened::Job(job)) => return Ok(Begun::Job(admission, job)),
                Ok(Opened::Gone) => return Ok(Begun::Gone),
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

    fn open_under(
        &self,
        lock: FileLock,
        entry: &Arc<Entry>,
        found: Option<&Path>,
    ) -> Result<Opened> {
        let what = format!("a look at what is here of {}", entry.path);
        let _waiting = self.call.counters.waits.begin(what, disk_time(entry.size));
        let cancel = self.call.cancellation();
        let partial = self.target.partial_path(entry, &lock)?;
        if !self.force {
            let here = match (self.target.adopt(entry, &lock, cancel)?, found) {
                (None, Some(_)) if self.is_known_elsewhere(entry) => None,
                (None, Some(found)) => match self.adopt_from(found, entry, &lock)? {
                    None => return Ok(Opened::Gone),
                    here => here,
                },
                (here, _) => here,
            };
            if let Some(path) = here {
                self.meet(entry, &path);
                partial::remove_remains(&partial)?;
                return Ok(Opened::Here);
            }
        }
        let leftover = self.target.leftover(entry, &lock)?.filter(|_| !self.force);
        let (entry, call) = (Arc::clone(entry), self.call.clone());
        Job::open(entry, partial, leftover, Arc::new(lock), call).map(Opened::Job)
    }

    /// Whether the reuse index knows where all of a file's content is.
    fn is_known_elsewhere(&self, entry: &Entry) -> bool {
        let known = self.local(entry).zip(entry.xet_hash());
        known.is_some_and(|(local, hash)| local.has_whole(hash, entry.size))
    }

    /// Makes a file from `found`, which should have the same content; `None`: it can't be taken.
    fn adopt_from(&self, found: &Path, entry: &Entry, lock: &FileLock) -> Result<Option<PathBuf>> {
        let cancel = self.call.cancellation();
        self.target.adopt_from(found, entry, lock, cancel).or_else(|error| {
            if cancel.is_cancelled() {
                return Err(error);
            }
            // The Hub has it, too.
            tracing::debug!(path = %found.display(), %error, "can't be taken");
            Ok(None)
        })
    }

    /// How long somebody else may do nothing for a file before one goes on without waiting for it.
    fn patience(&self) -> Duration {
        self.hub.deadlines().longest() * 4
    }

    /// The wait for the file's lock, should somebody else have it: as long as that one gets on.
    pub(super) fn lock_wait(&self, entry: &Arc<Entry>) -> LockWait {
        let what = format!("another download of {}", entry.path);
        let (target, entry) = (Arc::clone(&self.target), Arc::clone(entry));
        LockWait::new(&self.call, what, self.patience(), move || target.signs_of_life(&entry))
    }
}
