//! How one file of a transfer, or a group with the same content, gets to its place.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::http;
use super::job::Job;
use super::partial;
use super::transfer::Transfer;
use super::xet::{self, Local};
use crate::cache::Group;
use crate::call::file_task::disk_time;
use crate::call::file_transfer::{PublishedHash, Way};
use crate::call::scheduler::{OffWorker, Permit, SMALL};
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::Entry;
use crate::reuse::Index;
use crate::sys::lock::FileLock;

impl Transfer {
    /// Files with the same content: the first is brought in, the others are made from it.
    pub(super) async fn bring_group(
        self: Arc<Self>,
        group: Group,
        permit: Permit,
    ) -> Result<Option<Error>> {
        let first = Arc::new(group.first);
        let mut removal = self.unless_removed(&first, self.bring(&first, permit).await)?;
        if removal.is_some() {
            // The last look finds the whole group missing.
            return Ok(removal);
        }
        for other in group.others {
            let other = Arc::new(other);
            let made = self.duplicate(&first, &other).await;
            removal = self.unless_removed(&other, made)?.or(removal);
        }
        Ok(removal)
    }

    /// A failure that is no reason to end the call: a file, or its folder, disappeared while it was
    /// written, since somebody removes the whole repo. Any other one fails.
    fn unless_removed(&self, entry: &Entry, brought: Result<()>) -> Result<Option<Error>> {
        match brought {
            Ok(()) => Ok(None),
            Err(error) if is_removal(&error) => {
                tracing::warn!(file = %entry.path, %error, "a file was removed on its way");
                Ok(Some(error))
            }
            Err(error) => Err(self.locate(error, entry)),
        }
    }

    /// Adds what an error was about, where it doesn't say so itself.
    pub(super) fn locate(&self, error: Error, entry: &Entry) -> Error {
        error.with(|c| {
            c.repo.get_or_insert_with(|| self.repo.id().to_owned());
            c.revision.get_or_insert_with(|| self.commit.to_string());
            c.file.get_or_insert_with(|| entry.path.to_string());
        })
    }

    async fn bring(self: &Arc<Self>, entry: &Arc<Entry>, permit: Permit) -> Result<()> {
        // A small file keeps its permit until it has its name.
        let is_small = entry.size <= SMALL;
        let (_small, large) = if is_small { (Some(permit), None) } else { (None, Some(permit)) };
        let _open = match large {
            Some(_) => {
                let what = format!("its turn to open {}", entry.path);
                Some(self.call.turn(&self.call.scheduler.open, what).await?)
            }
            None => None,
        };
        let Some(job) = self.open(entry).await? else {
            self.call.counters.add_present(entry.path.as_str(), entry.size);
            return Ok(());
        };
        let local = self.local(entry);
        let fetched = self.fetch(&job, local.as_ref()).await;
        job.task.progress.counters().add_dropped(local.as_ref().map_or(0, |local| local.dropped()));
        let share = fetched?;
        if let Some(hash) = checked_by(entry, share) {
            job.task.progress.verified_by(hash);
        }
        // From here on the disk works, not the network: the next file may begin.
        drop(large);
        let this = Arc::clone(self);
        let what: Arc<str> = format!("the disk to keep {}", job.task.entry.path).into();
        self.call
            .blocking(Arc::clone(&what), move || {
                let _waiting = this.call.counters.waits.begin(what, disk_time(job.task.entry.size));
                job.partial.sync()?;
                let path = this.target.install(&job.task.entry, job.partial.path(), share)?;
                if let (true, Some(local), Some(hash)) = (share, local, job.task.entry.xet_hash()) {
                    local.remember(&job, hash, &path);
                }
                job.partial.remove_journal()?;
                job.task.progress.finish();
                Ok(())
            })
            .await
    }

    /// The reuse index, as far as it's for this file.
    pub(super) fn local(&self, entry: &Entry) -> Option<Arc<Local>> {
        let index = self.reuse.as_ref().filter(|_| Index::is_for(entry.size))?;
        let (index, link_within) = (Arc::clone(index), self.target.link_within());
        Some(Arc::new(Local::new(index, !self.force, link_within)))
    }

    /// Takes the file's lock, and what there is of the file: `None` if its content is on this machine
    /// after all (another process was first, or another part of the cache has it), else the job of
    /// fetching it.
    async fn open(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<Option<Job>> {
        let (this, wanted) = (Arc::clone(self), Arc::clone(entry));
        let attempt = move || {
            let path = this.target.lock_path(&wanted)?;
            Ok(match FileLock::try_acquire(&path)? {
                Some(lock) => Ok(this.open_under(lock, &wanted)?),
                None => Err(path),
            })
        };
        let what: Arc<str> = format!("a look at what is here of {}", entry.path).into();
        match self.call.blocking(Arc::clone(&what), attempt).await? {
            Ok(job) => Ok(job),
            Err(taken) => {
                let lock = self.wait_for(taken, entry).await?;
                let (this, entry) = (Arc::clone(self), Arc::clone(entry));
                self.call.blocking(what, move || this.open_under(lock.into_inner(), &entry)).await
            }
        }
    }

    fn open_under(&self, lock: FileLock, entry: &Arc<Entry>) -> Result<Option<Job>> {
        let what = format!("a look at what is here of {}", entry.path);
        let _waiting = self.call.counters.waits.begin(what, disk_time(entry.size));
        let cancel = self.call.cancellation();
        let partial = self.target.partial_path(entry, &lock)?;
        if !self.force && self.target.adopt(entry, &lock, cancel)?.is_some() {
            partial::remove_remains(&partial)?;
            return Ok(None);
        }
        let leftover = self.target.leftover(entry)?.filter(|_| !self.force);
        let (entry, call) = (Arc::clone(entry), self.call.clone());
        Job::open(entry, partial, leftover, Arc::new(lock), call).map(Some)
    }

    /// Waits for a lock that somebody else has, as long as that one gets on.
    async fn wait_for(&self, lock: PathBuf, entry: &Arc<Entry>) -> Result<OffWorker<FileLock>> {
        // In which the looks at the other one's work have their place.
        const ROOM: Duration = Duration::from_secs(5);
        let patience = self.hub.deadlines().longest() * 4;
        let what = format!("another download of {}", entry.path);
        let waiting = self.call.counters.waits.begin(what, patience + ROOM);
        let (target, entry) = (Arc::clone(&self.target), Arc::clone(entry));
        let signs = move || target.signs_of_life(&entry);
        let lock =
            FileLock::acquire(lock, patience, signs, || waiting.allow(patience + ROOM)).await?;
        Ok(self.call.off_worker(lock))
    }

    async fn duplicate(self: &Arc<Self>, done: &Arc<Entry>, entry: &Arc<Entry>) -> Result<()> {
        let (this, wanted) = (Arc::clone(self), Arc::clone(entry));
        let path = self
            .call
            .blocking("a look for the lock of a file", move || this.target.lock_path(&wanted))
            .await?;
        let lock = self.wait_for(path, entry).await?;
        let (this, done, entry) = (Arc::clone(self), Arc::clone(done), Arc::clone(entry));
        let what: Arc<str> = format!("the disk to copy {}", entry.path).into();
        self.call
            .blocking(Arc::clone(&what), move || {
                let _waiting = this.call.counters.waits.begin(what, disk_time(entry.size));
                this.target.duplicate(&done, &entry, &lock, this.call.cancellation())?;
                let (made, original) = (entry.path.as_str(), done.path.as_str());
                this.call.counters.add_copy(made, entry.size, original);
                Ok(())
            })
            .await
    }

    /// Fills the job's partial file with verified content. True if that was by its Xet hash.
    async fn fetch(&self, job: &Job, local: Option<&Arc<Local>>) -> Result<bool> {
        let source = http::Source {
            hub: &self.hub,
            policy: self.policy,
            repo: &self.repo,
            commit: &self.commit,
        };
        let Some(hash) = job.task.entry.xet_hash() else {
            job.task.progress.set_way(Way::Http);
            return http::fetch(job, &source).await.map(|()| false);
        };
        let sources = xet::Sources {
            cas: self.cas.as_ref(),
            falls_back: self.falls_back,
            http: &source,
            local,
        };
        xet::fetch(job, *hash, &sources).await
    }
}

/// The hash that a file was fetched by: its Xet hash, or the one that is its etag.
fn checked_by(entry: &Entry, by_xet_hash: bool) -> Option<PublishedHash> {
    match entry.xet_hash() {
        Some(hash) if by_xet_hash => Some(PublishedHash::Xet(hash.hex())),
        _ => PublishedHash::from_etag(entry.etag()),
    }
}

/// Whether a failure says that something isn't there any more.
fn is_removal(error: &Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    error.kind() == Kind::Io && cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}
