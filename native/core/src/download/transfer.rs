//! Moves files of one commit from the Hub to their places on this machine.
//!
//! [`Transfer::run`] takes entries of a listing, leaves alone what is present, and brings in the
//! rest: side by side, each under its lock, into a partial file that gets its final name only when
//! its content has been checked and is on the disk.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use super::http;
use super::partial::journal_path;
use crate::cache::{Group, LastSync, Target, dedupe};
use crate::call::Call;
use crate::call::progress::Phase;
use crate::call::scheduler::{Gate, OffWorker, SMALL};
use crate::call::tasks::Tasks;
use crate::call::walk::Walk;
use crate::cas::Cas;
use crate::http::RetryPolicy;
use crate::hub::Hub;
use crate::model::error::{Error, Kind, Result};
use crate::model::refused::{Refused, differ_by_case};
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
    /// What is known of servers of plain content.
    pub(crate) plain: http::Known,
    pub(crate) repo: Repo,
    pub(crate) commit: CommitId,
    /// What the caller called it.
    pub(crate) revision: Revision,
    pub(crate) target: Arc<Target>,
    /// Goes last, with the last job of a transfer that fails or is cancelled.
    pub(crate) names: OffWorker<LastSync>,
    /// Whether the repo's lock keeps our own pruning away while this runs.
    pub(crate) is_held: bool,
    /// Files that are left out because of their names, and fail the call at its end.
    pub(crate) refused: Refused,
    /// What other files on this machine have; `None`: nobody knows.
    pub(crate) reuse: Option<Arc<Index>>,
    /// Fetch what is present, too.
    pub(crate) force: bool,
    /// The Hub has said of a file that it's in Xet storage, and the listing hadn't.
    pub(crate) listing_is_old: AtomicBool,
    pub(crate) call: Call,
}

impl Transfer {
    /// Brings all of `entries` to their places, where they are when this returns. The first failure
    /// ends the others, unless it's a name that can't be had here: that is told when they are there.
    pub(crate) async fn run(self: Arc<Self>, entries: Vec<Entry>) -> Result<()> {
        self.bring_in(entries).await?;
        self.refused.verdict().map_err(|error| self.of_this_commit(error))
    }

    async fn bring_in(self: &Arc<Self>, entries: Vec<Entry>) -> Result<()> {
        let entries = self.sort_out_case(entries).await?;
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
        let mut removal = None;
        for _ in 0..ROUNDS {
            // What was found without a ref to it, or without the repo's lock, wasn't safe from pruning while
            // it was looked at; what was brought in took its time.
            let is_settled = if missing.is_empty() {
                self.call.counters.enter(Phase::Finalizing);
                self.announce().await? && self.is_held
            } else {
                self.target.announce_with_first(&self.revision);
                removal = self.bring_all(missing).await?.or(removal);
                false
            };
            if is_settled {
                return self.conclude().await;
            }
            self.settle().await?;
            missing = self.gone(&wanted).await?;
            if missing.is_empty() {
                return self.conclude().await;
            }
            let (files, first) = (missing.len(), missing[0].path.as_str());
            tracing::warn!(
                files,
                first,
                "files were removed or replaced during the call; bringing them again"
            );
        }
        let error = Error::new(
            Kind::FilesRemoved,
            format!(
                "{} of the {} files, such as {}, were removed or replaced by somebody else as soon as they \
                 were there; stop what cleans up {}, or writes to it, and try again",
                missing.len(),
                wanted.len(),
                missing[0].path,
                self.target.content_folder().display()
            ),
        );
        let error = match removal {
            Some(removal) => Error::cause(("bringing them in", removal), ("a last look", error)),
            None => error,
        };
        Err(self.locate(error, &missing[0]))
    }

    /// Refuses files that would replace each other, where the disk takes their names for one.
    async fn sort_out_case(self: &Arc<Self>, entries: Vec<Entry>) -> Result<Vec<Entry>> {
        if !differ_by_case(&entries) {
            return Ok(entries);
        }
        let this = Arc::clone(self);
        self.call
            .blocking("a look at the names that the disk can have", move || {
                // A folder that can't be written to is no matter here: all may be in it.
                Ok(match this.target.folds_case() {
                    Ok(true) => this.refused.sort_out_case(entries),
                    _ => entries,
                })
            })
            .await
    }

    /// Side by side, each group of files with the same content once. Small files don't stand behind
    /// large ones, nor the other way. Returns what became of the last file that was removed on its
    /// way, if one was: it isn't there.
    async fn bring_all(self: &Arc<Self>, missing: Vec<Entry>) -> Result<Option<Error>> {
        let (small, large): (Vec<_>, Vec<_>) =
            dedupe(missing).into_iter().partition(|group| group.first.size <= SMALL);
        let scheduler = &self.call.scheduler;
        let (small, large) = tokio::try_join!(
            self.bring_groups(small, &scheduler.requests),
            self.bring_groups(large, &scheduler.files),
        )?;
        self.call.counters.enter(Phase::Finalizing);
        Ok(large.or(small))
    }

    /// Brings in files as their turn comes at `gate`. The first failure ends the others, unless it's
    /// a removal.
    async fn bring_groups(
        self: &Arc<Self>,
        groups: Vec<Group>,
        gate: &Arc<Gate>,
    ) -> Result<Option<Error>> {
        let mut running = Tasks::default();
        let removal = Arc::new(OnceLock::new());
        for group in groups {
            let what = format!("its turn to bring in {}", group.first.path);
            let permit = running.turn(&self.call, gate, what).await?;
            let (this, removal) = (Arc::clone(self), Arc::clone(&removal));
            running.spawn(async move {
                if let Some(removed) = this.bring_group(group, permit).await? {
                    // One of them is enough.
                    let _ = removal.set(removed);
                }
                Ok(())
            });
        }
        running.all().await?;
        Ok(removal.get().cloned())
    }

    /// Writes down what the revision stands for, whose files are all here. True: a ref named the commit
    /// already.
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

    /// Makes the names of the files last.
    async fn settle(self: &Arc<Self>) -> Result<()> {
        let this = Arc::clone(self);
        self.call
            .blocking("the disk to keep the names of files", move || {
                this.target.announce_now();
                this.names.sync(&Walk::new(&this.call))
            })
            .await
    }

    /// Writes down what is only true now that all files are there, and makes that last, too.
    async fn conclude(self: &Arc<Self>) -> Result<()> {
        let this = Arc::clone(self);
        self.call
            .blocking("the disk to keep what the revision stands for", move || {
                this.target.announce_at_last(&this.revision);
                this.names.sync(&Walk::new(&this.call))
            })
            .await
    }

    /// Which of the files aren't in their places any more. The last look before success is reported.
    async fn gone(self: &Arc<Self>, wanted: &Arc<Vec<Entry>>) -> Result<Vec<Entry>> {
        let (this, wanted) = (Arc::clone(self), Arc::clone(wanted));
        self.call
            .blocking("a last look at the files", move || {
                let (names, walk) = (this.target.names(), Walk::new(&this.call));
                let look = |entry: &Entry| {
                    Ok(this.refused.has(entry) || this.target.is_in_place(&names, entry, &walk)?)
                };
                Ok(absent(&wanted, walk.each(&wanted, look)?))
            })
            .await
    }

    /// Sees to it that what is found at `path` is known to be there, where it may not be.
    pub(super) fn meet(&self, entry: &Entry, path: &Path) {
        let Some((local, hash)) = self.local(entry).zip(entry.xet_hash()) else { return };
        match self.target.find_partial(entry) {
            // What is in the cache stays where it was when it was finished, unless that was cut short.
            Ok(partial) if self.target.is_moved_about() || journal_path(&partial).exists() => {
                local.meet((hash, entry.size), path, &partial);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(file = %entry.path, %error, "it isn't remembered"),
        }
    }

    /// Counts what is at its place already, and returns the rest. One look at each file, no locks.
    async fn missing(self: &Arc<Self>, wanted: &Arc<Vec<Entry>>) -> Result<Vec<Entry>> {
        let (this, wanted) = (Arc::clone(self), Arc::clone(wanted));
        if self.force {
            return Ok(wanted.to_vec());
        }
        self.call
            .blocking("a look for what is here already", move || {
                let (names, root) = (this.target.names(), this.target.root());
                let walk = Walk::new(&this.call);
                let present = walk.each(&wanted, |entry| {
                    let found = match this.target.find_among(&names, entry) {
                        // Neither here nor missing.
                        Err(error) if this.refused.takes(&root, entry, &error) => return Ok(true),
                        found => found?,
                    };
                    if let Some(path) = &found {
                        this.meet(entry, path);
                        this.call.counters.add_present(entry.path.as_str(), entry.size);
                    }
                    Ok(found.is_some())
                })?;
                let missing = absent(&wanted, present);
                this.target.find_kin(this.hub.name_of(&this.repo).as_ref(), &missing, &walk)?;
                Ok(missing)
            })
            .await
    }
}

/// Those of the entries of which `present` says that they aren't there.
fn absent(entries: &[Entry], present: Vec<bool>) -> Vec<Entry> {
    let absent = entries.iter().zip(present).filter(|(_, is_there)| !is_there);
    absent.map(|(entry, _)| entry.clone()).collect()
}
