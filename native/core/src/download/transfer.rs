//! Moves files of one commit from the Hub to their places on this machine.
//!
//! [`Transfer::run`] takes entries of a listing, leaves alone what is present, and brings in the
//! rest: side by side, each under its lock, into a partial file that gets its final name only when
//! its content has been checked and is on the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::http;
use super::job::{self, Job, disk_time};
use super::xet::{self, Local};
use crate::call::connections::Connections;
use crate::cas::Cas;
use crate::sys::lock::FileLock;

use crate::cache::{Group, Target, dedupe};
use crate::call::Call;
use crate::call::file_transfer::{PublishedHash, Way};
use crate::call::progress::Phase;
use crate::http::RetryPolicy;
use crate::hub::Hub;
use crate::model::error::{Error, Result};
use crate::model::repo::{CommitId, Entry, Repo};
use crate::reuse::Index;

/// Files that are open at a time, each with a lock, a partial file and a journal: those in flight,
/// and those whose content is complete and that are being synced and named. File systems join syncs
/// that run side by side, so this is far more than the files in flight need to be.
const MAX_OPEN: usize = 44;

/// Files in flight, at most, whatever was asked for: some of those open must be left for syncing.
const MAX_FILES: usize = 32;

/// Streams from Xet storage, at most. With the files above, of which each may have a stream of plain
/// HTTP instead, a client stays under 256 descriptors.
const MAX_CONNECTIONS: usize = 48;

/// How much of what may happen at a time, over all calls on one client.
pub(crate) struct Permits {
    /// Files in flight.
    files: Arc<Semaphore>,
    /// Streams from Xet storage.
    connections: Arc<Connections>,
    open: Arc<Semaphore>,
    /// Copies from other files on this machine.
    copying: Arc<Semaphore>,
}

impl Permits {
    pub(crate) fn new(files: usize, connections: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            files: Arc::new(Semaphore::new(files.min(MAX_FILES))),
            connections: Arc::new(Connections::new(connections.min(MAX_CONNECTIONS))),
            open: Arc::new(Semaphore::new(MAX_OPEN)),
            copying: Arc::new(Semaphore::new(cores)),
        }
    }
}

/// One call's transfer: from where, to where, and by what means.
pub(crate) struct Transfer {
    pub(crate) hub: Hub,
    /// `None` if Xet is switched off: everything comes over plain HTTP.
    pub(crate) cas: Option<Arc<Cas>>,
    /// Whether plain HTTP takes over where Xet fails.
    pub(crate) falls_back: bool,
    pub(crate) policy: RetryPolicy,
    pub(crate) limits: Arc<Permits>,
    pub(crate) repo: Repo,
    pub(crate) commit: CommitId,
    pub(crate) target: Arc<Target>,
    /// What other files on this machine have; `None`: nobody knows.
    pub(crate) reuse: Option<Arc<Index>>,
    /// Fetch what is present, too.
    pub(crate) force: bool,
    pub(crate) call: Call,
}

impl Transfer {
    /// Brings all of `entries` to their places. The first failure ends the others.
    pub(crate) async fn run(self: Arc<Self>, entries: Vec<Entry>) -> Result<()> {
        let bytes = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        let files = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        self.call.counters.set_totals(files, bytes);

        let missing = self.missing(entries).await?;
        self.check_space(&missing).await?;
        let mut running = JoinSet::new();
        for group in dedupe(missing) {
            let permit =
                Arc::clone(&self.limits.files).acquire_owned().await.map_err(Error::internal)?;
            running.spawn(Arc::clone(&self).bring_group(group, permit));
            while let Some(done) = running.try_join_next() {
                done.map_err(Error::internal)??;
            }
        }
        while let Some(done) = running.join_next().await {
            done.map_err(Error::internal)??;
        }
        self.call.counters.enter(Phase::Finalizing);
        Ok(())
    }

    /// Counts what is at its place already, and returns the rest. One look at each file, no locks.
    async fn missing(self: &Arc<Self>, entries: Vec<Entry>) -> Result<Vec<Entry>> {
        if self.force {
            return Ok(entries);
        }
        let this = Arc::clone(self);
        self.call
            .blocking("a look for what is here already", move || {
                let mut missing = Vec::new();
                for entry in entries {
                    if this.call.is_cancelled() {
                        return Err(Error::cancelled());
                    }
                    match this.target.find_current(&entry)? {
                        Some(_) => this.call.counters.add_present(entry.path.as_str(), entry.size),
                        None => missing.push(entry),
                    }
                }
                Ok(missing)
            })
            .await
    }

    /// Files with the same content: the first is brought in, the others are made from it.
    async fn bring_group(
        self: Arc<Self>,
        group: Group,
        permit: OwnedSemaphorePermit,
    ) -> Result<()> {
        let first = Arc::new(group.first);
        self.bring(&first, permit).await.map_err(|error| self.locate(error, &first))?;
        for other in group.others {
            let other = Arc::new(other);
            let made = self.duplicate(&first, &other).await;
            made.map_err(|error| self.locate(error, &other))?;
        }
        Ok(())
    }

    /// Adds what an error was about, where it doesn't say so itself.
    fn locate(&self, error: Error, entry: &Entry) -> Error {
        error.with(|c| {
            c.repo.get_or_insert_with(|| self.repo.id().to_owned());
            c.revision.get_or_insert_with(|| self.commit.to_string());
            c.file.get_or_insert_with(|| entry.path.to_string());
        })
    }

    async fn bring(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        permit: OwnedSemaphorePermit,
    ) -> Result<()> {
        let _open = Arc::clone(&self.limits.open).acquire_owned().await.map_err(Error::internal)?;
        let Some(job) = self.open(entry).await? else {
            self.call.counters.add_present(entry.path.as_str(), entry.size);
            return Ok(());
        };
        let local = self.local(entry);
        let fetched = self.fetch(&job, local.as_ref()).await;
        job.progress.counters().add_dropped(local.as_ref().map_or(0, |local| local.dropped()));
        let share = fetched?;
        if let Some(hash) = checked_by(entry, share) {
            job.progress.verified_by(hash);
        }
        // From here on the disk works, not the network: the next file may begin.
        drop(permit);
        let this = Arc::clone(self);
        let what: Arc<str> = format!("the disk to keep {}", job.entry.path).into();
        self.call
            .blocking(Arc::clone(&what), move || {
                let _waiting = this.call.counters.waits.begin(what, disk_time(job.entry.size));
                job.sync()?;
                let path = this.target.install(&job.entry, job.path(), share)?;
                if let (true, Some(local), Some(hash)) = (share, local, job.entry.xet_hash()) {
                    local.remember(&job, hash, &path);
                }
                job.clean_up()?;
                job.progress.finish();
                Ok(())
            })
            .await
    }

    /// The reuse index, as far as it's for this file.
    pub(super) fn local(&self, entry: &Entry) -> Option<Arc<Local>> {
        let index = self.reuse.as_ref().filter(|_| Index::is_for(entry.size))?;
        let copying = Arc::clone(&self.limits.copying);
        let (index, link_within) = (Arc::clone(index), self.target.link_within());
        Some(Arc::new(Local::new(index, !self.force, copying, link_within)))
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
                self.call.blocking(what, move || this.open_under(lock, &entry)).await
            }
        }
    }

    fn open_under(&self, lock: FileLock, entry: &Arc<Entry>) -> Result<Option<Job>> {
        let what = format!("a look at what is here of {}", entry.path);
        let _waiting = self.call.counters.waits.begin(what, disk_time(entry.size));
        let cancel = self.call.cancellation();
        let partial = self.target.partial_path(entry, &lock)?;
        if !self.force && self.target.adopt(entry, &lock, cancel)?.is_some() {
            job::remove_remains(&partial)?;
            return Ok(None);
        }
        let leftover = self.target.leftover(entry)?.filter(|_| !self.force);
        let (entry, call) = (Arc::clone(entry), self.call.clone());
        Job::open(entry, partial, leftover, Arc::new(lock), call).map(Some)
    }

    /// Waits for a lock that somebody else has, as long as that one gets on.
    async fn wait_for(&self, lock: PathBuf, entry: &Arc<Entry>) -> Result<FileLock> {
        // In which the looks at the other one's work have their place.
        const ROOM: Duration = Duration::from_secs(5);
        let patience = self.hub.deadlines().longest() * 4;
        let what = format!("another download of {}", entry.path);
        let waiting = self.call.counters.waits.begin(what, patience + ROOM);
        let (target, entry) = (Arc::clone(&self.target), Arc::clone(entry));
        let signs = move || target.signs_of_life(&entry);
        FileLock::acquire(lock, patience, signs, || waiting.allow(patience + ROOM)).await
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
        let Some(hash) = job.entry.xet_hash() else {
            job.progress.set_way(Way::Http);
            return http::fetch(job, &source).await.map(|()| false);
        };
        let sources = xet::Sources {
            cas: self.cas.as_ref(),
            connections: &self.limits.connections,
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
