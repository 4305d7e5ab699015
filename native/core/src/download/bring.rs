//! How one file of a transfer, or a group with the same content, gets to its place.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::admission::Begun;
use super::http;
use super::job::Job;
use super::still_right::still_right;
use super::transfer::Transfer;
use super::xet::{self, Local, Proof};
use crate::cache::Group;
use crate::call::file_task::disk_time;
use crate::call::file_transfer::{PublishedHash, Way};
use crate::call::scheduler::{Permit, SMALL};
use crate::hub::Hub;
use crate::model::error::{Error, Kind, Result};
use crate::model::repo::{Entry, Storage};
use crate::reuse::Index;

impl Transfer {
    /// Files with the same content: the first is brought in, the others are made from it.
    pub(super) async fn bring_group(
        self: Arc<Self>,
        group: Group,
        permit: Permit,
    ) -> Result<Option<Error>> {
        let mut first = Arc::new(group.first);
        let mut others = group.others.into_iter();
        let root = self.target.root();
        let mut brought = self.bring(&first, permit).await;
        // A name that can't be had says nothing of the others with the same content.
        while let Err(error) = &brought
            && self.refused.takes(&root, &first, error)
        {
            let Some(next) = others.next() else { return Ok(None) };
            first = Arc::new(next);
            let what = format!("its turn to bring in {}", first.path);
            let permit = self.call.turn(self.gate(&first), what).await?;
            brought = self.bring(&first, permit).await;
        }
        let mut removal = self.unless_removed(&first, brought)?;
        if removal.is_some() {
            // The last look finds the whole group missing.
            return Ok(removal);
        }
        for other in others {
            let other = Arc::new(other);
            match self.duplicate(&first, &other).await {
                Err(error) if self.refused.takes(&root, &other, &error) => {}
                made => removal = self.unless_removed(&other, made)?.or(removal),
            }
        }
        Ok(removal)
    }

    /// A failure that is no reason to end the call: a file, or its folder, disappeared while it was
    /// written, since somebody removes the whole repo. Any other one fails.
    fn unless_removed(&self, entry: &Entry, brought: Result<()>) -> Result<Option<Error>> {
        match brought {
            Ok(()) => Ok(None),
            Err(error) if is_removal(&error) => {
                tracing::warn!(file = %entry.path, %error, "a file was removed, or written to, on its way");
                Ok(Some(error))
            }
            Err(error) => Err(self.locate(error, entry)),
        }
    }

    /// Adds what an error was about, where it doesn't say so itself.
    pub(super) fn locate(&self, error: Error, entry: &Entry) -> Error {
        self.of_this_commit(error).with(|c| {
            c.file.get_or_insert_with(|| entry.path.to_string());
        })
    }

    /// The same without a file.
    pub(super) fn of_this_commit(&self, error: Error) -> Error {
        error.with(|c| {
            c.repo.get_or_insert_with(|| self.repo.id().to_owned());
            c.revision.get_or_insert_with(|| self.commit.to_string());
        })
    }

    /// Brings in a file, unless somebody else is at work on the same content: then it's made from that one's.
    async fn bring(self: &Arc<Self>, entry: &Arc<Entry>, permit: Permit) -> Result<()> {
        let mut wait = self.content_wait(entry);
        let mut permit = permit;
        loop {
            let (claim, found, turn) = self.claim(&mut wait, entry, permit).await?;
            let brought = self.bring_in_one(entry, found, turn).await;
            if let Some(claim) = claim {
                match &brought {
                    Ok(_) => claim.done(self.target.final_path(entry)?),
                    Err(error) => claim.failed(error),
                }
            }
            if brought? {
                return Ok(());
            }
            // Whoever made the file may have used and removed it. Of all who counted on it one is to fetch it.
            wait.is_of_no_use();
            let what = format!("its turn to bring in {}", entry.path);
            permit = self.call.turn(self.gate(entry), what).await?;
        }
    }

    /// `found`: a file that somebody else has made of the same content. False: it can't be taken.
    async fn bring_in_one(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        found: Option<PathBuf>,
        permit: Permit,
    ) -> Result<bool> {
        let (mut admission, job) = match self.open(entry, found, permit).await? {
            Begun::Job(admission, job) => (admission, job),
            Begun::Gone => return Ok(false),
            Begun::Here => {
                self.call.counters.add_present(entry.path.as_str(), entry.size);
                return Ok(true);
            }
        };
        let local = self.local(entry);
        let begun = Instant::now();
        let fetched = self.fetch(&job, local.as_ref()).await;
        if fetched.is_ok() && entry.size <= SMALL && job.task.progress.counters().network() > 0 {
            self.call.scheduler.small_file_came(begun.elapsed());
        }
        job.task.progress.counters().add_dropped(local.as_ref().map_or(0, |local| local.dropped()));
        let proof = fetched?;
        let share = proof != Proof::Etag;
        if let Some(hash) = checked_by(entry, share) {
            job.task.progress.verified_by(hash);
        }
        admission.fetched();
        let this = Arc::clone(self);
        let what: Arc<str> = format!("the disk to keep {}", job.task.entry.path).into();
        self.call
            .blocking(Arc::clone(&what), move || {
                let _waiting = this.call.counters.waits.begin(what, disk_time(job.task.entry.size));
                job.partial.sync()?;
                still_right(&job, proof)?;
                let (partial, alone) = (job.partial.path(), job.partial.is_alone());
                let path = this.target.install(&job.task.entry, partial, share, alone)?;
                if let (Proof::Merkle(rule), Some(local), Some(hash)) =
                    (proof, local, job.task.entry.xet_hash())
                {
                    local.remember(&job, hash, &path, rule);
                }
                job.partial.discard_journal();
                job.partial.remove_abandoned();
                job.task.progress.finish();
                Ok(true)
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
                let cancel = this.call.cancellation();
                if !this.force && this.target.keep(&entry, cancel)?.is_some() {
                    this.call.counters.add_present(entry.path.as_str(), entry.size);
                    return Ok(None);
                }
                this.target.duplicate(&done, &entry, &lock, cancel)?;
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

    /// Fills the job's partial file with verified content.
    async fn fetch(&self, job: &Job, local: Option<&Arc<Local>>) -> Result<Proof> {
        let source = self.source(&self.hub);
        let fetched = self.fetch_from(&source, job, local).await;
        let (Err(error), Some(coding)) = (&fetched, source.decoded.get()) else { return fetched };
        if !is_of_content(error) {
            return fetched;
        }
        // Where no length tells, a file that is a .gz itself may have been taken for one that was
        // compressed on its way.
        let (file, coding) = (&job.task.entry.path, coding.name());
        tracing::warn!(%file, coding, %error, "what was decoded is wrong; taking it as it is sent");
        job.task.progress.counters().add_retry();
        http::restart(job).await?;
        let as_sent = self.hub.taking_as_sent();
        match self.fetch_from(&self.source(&as_sent), job, local).await {
            Err(error) if is_of_content(&error) => {
                let message = format!(
                    "{file}: content encoded as {coding:?}, which nobody asked for, and which isn't what was \
                     published, neither decoded nor as it is; a gateway or proxy on the way has to pass \
                     content on as it is"
                );
                let context = error.context().clone();
                let error = Error::new(Kind::InvalidResponse, message).with(|c| *c = context);
                Err(error.with(|c| c.http_status = Some(200)))
            }
            fetched => fetched,
        }
    }

    fn source<'a>(&'a self, hub: &'a Hub) -> http::Source<'a> {
        http::Source::new(hub, self.policy, (&self.repo, &self.commit), &self.plain)
    }

    async fn fetch_from(
        &self,
        source: &http::Source<'_>,
        job: &Job,
        local: Option<&Arc<Local>>,
    ) -> Result<Proof> {
        let Some(hash) = job.task.entry.xet_hash() else {
            job.task.progress.set_way(Way::Http);
            http::fetch(job, source).await?;
            let is_lfs = matches!(job.task.entry.storage, Storage::Lfs { .. });
            if is_lfs && job.task.progress.counters().is_in_xet() {
                self.listing_is_old.store(true, Ordering::Relaxed);
            }
            return Ok(Proof::Etag);
        };
        let plain = (self.cas.is_none() || self.falls_back).then_some(source);
        let cas = self.cas.as_ref();
        let sharing = cas.and_then(|cas| cas.sharing());
        let sources = xet::Sources { cas, plain, local, sharing };
        xet::fetch(job, *hash, &sources).await
    }
}

/// Whether a failure says that what came isn't what was published.
fn is_of_content(error: &Error) -> bool {
    matches!(error.kind(), Kind::ChecksumMismatch | Kind::InvalidResponse)
}

/// The hash that a file was fetched by: its Xet hash, or the one that is its etag.
fn checked_by(entry: &Entry, by_xet_hash: bool) -> Option<PublishedHash> {
    match entry.xet_hash() {
        Some(hash) if by_xet_hash => Some(PublishedHash::Xet(hash.hex())),
        _ => PublishedHash::from_etag(entry.etag()),
    }
}

/// Whether a failure says that something isn't there any more, or isn't what it was.
fn is_removal(error: &Error) -> bool {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    let is_gone = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound);
    error.kind() == Kind::FilesRemoved || error.kind() == Kind::Io && is_gone
}
