//! Moves files of one commit from the Hub to their places on this machine.
//!
//! [`Transfer::run`] takes entries of a listing, leaves alone what is present, and brings in the
//! rest: side by side, each under its lock, into a partial file that gets its final name only when
//! its content has been checked and is on the disk.

use std::io;
use std::sync::Arc;

use super::http;
use super::job::{Job, disk_time};
use super::xet::{self, Local};
use crate::cache::{Group, Target, Walk, dedupe};
use crate::call::Call;
use crate::call::file_transfer::{PublishedHash, Way};
use crate::call::progress::Phase;
use crate::call::scheduler::{Gate, Permit, SMALL};
use crate::call::tasks::Tasks;
use crate::cas::Cas;
use crate::http::RetryPolicy;
use crate::hub::Hub;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{CommitId, Entry, Repo, Revision};
use crate::reuse::Index;

/// How often files that somebody else removes during the call are brought in.
const ROUNDS: u32 = 4;

/// One call's transfer: from where, to where, and by what means.
pub(crate) struct Transfer {
    pub(crate) hub: Hub,
    /// `None` if Xet is switched off: everything comes over plain HTTP.
    pub(crate) cas: Option<Arc<Cas>>,
    /// Whether plain HTTP takes over where Xet fails.
    pub(crate) falls_back: bool,
    pub(crate) policy: RetryPolicy,
    pub(crate) repo: Repo,
    pub(crate) commit: CommitId,
    /// What the caller called it.
    pub(crate) revision: Revision,
    pub(crate) target: Arc<Target>,
    /// What other files on this machine have; `None`: nobody knows.
    pub(crate) reuse: Option<Arc<Index>>,
    /// Fetch what is present, too.
    pub(crate) force: bool,
    pub(crate) call: Call,
}

impl Transfer {
    /// Brings all of `entries` to their places, where they are when this returns. The first failure
    /// ends the others.
    pub(crate) async fn run(self: Arc<Self>, entries: Vec<Entry>) -> Result<()> {
        let bytes = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.size));
        let files = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        self.call.counters.set_totals(files, bytes);

        let wanted = Arc::new(entries);
        let mut missing = self.missing(&wanted).await?;
        self.check_space(&missing).await?;
        if wanted.is_empty() {
            self.call.counters.enter(Phase::Finalizing);
            return Ok(());
        }
        for _ in 0..ROUNDS {
            // What was found without a ref to it wasn't safe from pruning by others while it was
            // looked at; what was brought in took its time.
            let is_settled = if missing.is_empty() {
                self.call.counters.enter(Phase::Finalizing);
                // A commit that no ref names isn't safe from pruning at any moment.
                !self.announce().await? && self.revision.as_commit().is_none()
            } else {
                self.target.announce_with_first(&self.revision);
                self.bring_all(missing).await?;
                false
            };
            self.settle().await?;
            if is_settled {
                return Ok(());
            }
            missing = self.gone(&wanted).await?;
            if missing.is_empty() {
                return Ok(());
            }
            let (files, first) = (missing.len(), missing[0].path.as_str());
            tracing::warn!(files, first, "files were removed during the call; bringing them again");
        }
        let error = Error::new(
            Kind::FilesRemoved,
            format!(
                "{} of the {} files, such as {}, were removed by somebody else as soon as they were \
                 there; stop what cleans up {}, and try again",
                missing.len(),
                wanted.len(),
                missing[0].path,
                self.target.content_folder().display()
            ),
        );
        Err(self.locate(error, &missing[0]))
    }

    /// Side by side, each group of files with the same content once. Small files don't stand behind
    /// large ones, nor the other way.
    async fn bring_all(self: &Arc<Self>, missing: Vec<Entry>) -> Result<()> {
        let (small, large): (Vec<_>, Vec<_>) =
            dedupe(missing).into_iter().partition(|group| group.first.size <= SMALL);
        let scheduler = &self.call.scheduler;
        tokio::try_join!(
            self.bring_groups(small, &scheduler.requests),
            self.bring_groups(large, &scheduler.files),
        )?;
        self.call.counters.enter(Phase::Finalizing);
        Ok(())
    }

    /// Brings in files as their turn comes at `gate`. The first failure ends the others.
    async fn bring_groups(self: &Arc<Self>, groups: Vec<Group>, gate: &Arc<Gate>) -> Result<()> {
        let mut running = Tasks::default();
        for group in groups {
            let what = format!("its turn to bring in {}", group.first.path);
            let permit = running.turn(&self.call, gate, what).await?;
            running.spawn(Arc::clone(self).bring_group(group, permit));
        }
        running.all().await
    }

    /// Writes down what the revision stands for, whose files are all here. True if that is news.
    async fn announce(self: &Arc<Self>) -> Result<bool> {
        let this = Arc::clone(self);
        self.call
            .blocking("the disk to keep what the revision stands for", move || {
                Ok(this.target.announce(&this.revision).unwrap_or_else(|error| {
                    tracing::warn!(%error, "can't remember what the revision stands for");
                    false
                }))
            })
            .await
    }

    /// Writes down what is only true once all files are there, and makes their names last.
    async fn settle(self: &Arc<Self>) -> Result<()> {
        let this = Arc::clone(self);
        self.call
            .blocking("the disk to keep the names of files", move || {
                this.target.announce_at_last(&this.revision);
                this.target.sync_names(&Walk::new(&this.call))
            })
            .await
    }

    /// Which of the files aren't in their places any more. The last look before success is reported.
    async fn gone(self: &Arc<Self>, wanted: &Arc<Vec<Entry>>) -> Result<Vec<Entry>> {
        let (this, wanted) = (Arc::clone(self), Arc::clone(wanted));
        self.call
            .blocking("a last look at the files", move || {
                let names = this.target.names();
                let look = |entry: &Entry| this.target.is_in_place(&names, entry);
                Ok(absent(&wanted, Walk::new(&this.call).each(&wanted, look)?))
            })
            .await
    }

    /// Counts what is at its place already, and returns the rest. One look at each file, no locks.
    async fn missing(self: &Arc<Self>, wanted: &Arc<Vec<Entry>>) -> Result<Vec<Entry>> {
        let (this, wanted) = (Arc::clone(self), Arc::clone(wanted));
        if self.force {
            return Ok(wanted.to_vec());
        }
        self.call
            .blocking("a look for what is here already", move || {
                let names = this.target.names();
                let present = Walk::new(&this.call).each(&wanted, |entry| {
                    let found = this.target.find_among(&names, entry)?.is_some();
                    if found {
                        this.call.counters.add_present(entry.path.as_str(), entry.size);
                    }
                    Ok(found)
                })?;
                Ok(absent(&wanted, present))
            })
            .await
    }

    /// Files with the same content: the first is brought in, the others are made from it.
    async fn bring_group(self: Arc<Self>, group: Group, permit: Permit) -> Result<()> {
        let first = Arc::new(group.first);
        match self.bring(&first, permit).await {
            // The last look finds the whole group missing.
            Err(error) if is_removal(&error) => {
                tracing::warn!(file = %first.path, %error, "a file was removed on its way");
                return Ok(());
            }
            brought => brought.map_err(|error| self.locate(error, &first))?,
        }
        for other in group.others {
            let other = Arc::new(other);
            match self.duplicate(&first, &other).await {
                Err(error) if is_removal(&error) => {
                    tracing::warn!(file = %other.path, %error, "a file was removed on its way");
                }
                made => made.map_err(|error| self.locate(error, &other))?,
            }
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

    async fn bring(self: &Arc<Self>, entry: &Arc<Entry>, permit: Permit) -> Result<()> {
        let (mut admission, job) = self.open(entry, permit).await?;
        let Some(job) = job else {
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
        admission.fetched();
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
        let (index, link_within) = (Arc::clone(index), self.target.link_within());
        Some(Arc::new(Local::new(index, !self.force, link_within)))
    }

    async fn duplicate(self: &Arc<Self>, done: &Arc<Entry>, entry: &Arc<Entry>) -> Result<()> {
        let mut wait = self.lock_wait(entry);
        let what: Arc<str> = format!("the disk to copy {}", entry.path).into();
        loop {
            let (this, take) = (Arc::clone(self), wait.attempt());
            let (done, entry, disk) = (Arc::clone(done), Arc::clone(entry), Arc::clone(&what));
            let attempt = move || {
                let path = this.target.lock_path(&entry)?;
                let Some(lock) = take(&path)? else { return Ok(Some(path)) };
                let _waiting = this.call.counters.waits.begin(disk, disk_time(entry.size));
                this.target.duplicate(&done, &entry, &lock, this.call.cancellation())?;
                let (made, original) = (entry.path.as_str(), done.path.as_str());
                this.call.counters.add_copy(made, entry.size, original);
                Ok(None)
            };
            match self.call.blocking(Arc::clone(&what), attempt).await? {
                Some(taken) => wait.until_free(taken).await?,
                None => return Ok(()),
            }
        }
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
            falls_back: self.falls_back,
            http: &source,
            local,
        };
        xet::fetch(job, *hash, &sources).await
    }
}

/// Those of the entries of which `present` says that they aren't there.
fn absent(entries: &[Entry], present: Vec<bool>) -> Vec<Entry> {
    let absent = entries.iter().zip(present).filter(|(_, is_there)| !is_there);
    absent.map(|(entry, _)| entry.clone()).collect()
}

/// The hash that a file was fetched by: its Xet hash, or the one that is its etag.
fn checked_by(entry: &Entry, by_xet_hash: bool) -> Option<PublishedHash> {
    match entry.xet_hash() {
        Some(hash) if by_xet_hash => Some(PublishedHash::Xet(hash.hex())),
        _ => PublishedHash::from_etag(entry.etag()),
    }
}

/// Whether a file, or its folder, disappeared while it was written: somebody removes the whole repo.
fn is_removal(error: &Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    error.kind() == Kind::Io && cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}
