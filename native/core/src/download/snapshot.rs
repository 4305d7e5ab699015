//! What a download call does: find out which files it is about, have them transferred, and write
//! down what was learnt.
//!
//! When the Hub can't be asked, the cache answers if it can. The rules are huggingface_hub's, so a
//! job that runs offline with one of the two clients runs with the other.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::http::Known;
use super::plan::Plan;
use super::request::{DownloadRequest, Selection};
use super::session::Session;
use super::transfer::Transfer;
use crate::cache::{Hold, LastSync, LocalDir, Located, RepoCache, Target};
use crate::call::Call;
use crate::call::file_transfer::{FileTransfer, PublishedHash};
use crate::call::walk::Walk;
use crate::http::RetryPolicy;
use crate::model::error::{Error, Kind, Result};
use crate::model::refused::Refused;
use crate::model::repo::{CommitId, Entry};

/// Attempts of a call's first requests, at most: someone who misspelt the endpoint should not wait for
/// all of them. One that is away is the right one.
const FIRST_ATTEMPTS: u32 = 3;

/// Where a finished download is.
pub(crate) struct Placed {
    pub(crate) path: PathBuf,
    pub(crate) commit: CommitId,
    /// In the order of the listing.
    pub(crate) file_transfers: Vec<FileTransfer>,
}

/// One download call.
pub(crate) struct Download {
    pub(super) session: Session,
    pub(super) call: Call,
    pub(super) request: DownloadRequest,
    pub(super) repo_cache: RepoCache,
    /// The request's, once somebody has looked for it.
    local_dir: OnceLock<LocalDir>,
}

/// What the Hub, or the cache in its stead, said about the request.
pub(super) struct Resolved {
    pub(super) commit: CommitId,
    /// Those that are selected.
    pub(super) entries: Vec<Entry>,
    /// Those that are selected, too, and can't be written under their names.
    pub(super) refused: Refused,
    /// The answer about a file by itself is where they are from: a mirror's may be about its own copy.
    pub(super) by_itself: bool,
}

impl Resolved {
    pub(super) fn one(commit: CommitId, entry: Entry) -> Self {
        Self { commit, entries: vec![entry], refused: Refused::default(), by_itself: false }
    }
}

/// What came of a request's first questions.
pub(super) enum Found {
    /// The files are on this machine, and the Hub can't be asked.
    Here(Placed),
    OnHub(Resolved),
}

impl Download {
    pub(crate) fn new(session: Session, call: Call, request: DownloadRequest) -> Self {
        let repo_cache = session.cache.repo(&request.repo);
        Self { session, call, request, repo_cache, local_dir: OnceLock::new() }
    }

    pub(crate) async fn run(self) -> Result<Placed> {
        let this = Arc::new(self);
        let placed = this.place().await;
        placed.map_err(|error| this.repo_cache.cache().explain(error))
    }

    async fn place(self: &Arc<Self>) -> Result<Placed> {
        // What is here stays here until the call returns.
        let hold = Hold::take(&self.repo_cache, false, &self.call).await?;
        if self.request.local_files_only {
            return self.locally(None).await;
        }
        if self.is_immutable_file() {
            match self.locally(None).await {
                Err(error) if error.kind() == Kind::LocalEntryNotFound => {}
                answer => return answer,
            }
        }
        match self.resolve_or_locate().await? {
            Found::Here(placed) => Ok(placed),
            Found::OnHub(resolved) => {
                let needs_one = hold.is_none() && self.request.local_dir.is_none();
                let hold = if needs_one {
                    Hold::take(&self.repo_cache, true, &self.call).await?
                } else {
                    hold
                };
                let is_held = hold.as_ref().is_none_or(Hold::is_held);
                let first = resolved.entries.first().filter(|_| resolved.by_itself).cloned();
                let described = first.map(|entry| (resolved.commit.clone(), entry));
                match (self.transfer(resolved, is_held).await, described) {
                    (Err(error), Some(described)) if may_be_misdescribed(&error) => {
                        self.transfer_as_listed(described, error, is_held).await
                    }
                    (Err(error), None) if contradicts_the_listing(&error) => {
                        self.transfer_as_looked_up(error, is_held).await
                    }
                    // What is here was known from its listing; what isn't, by name, says more.
                    (Err(error), _) if error.kind() == Kind::Offline => {
                        self.locally(Some(error)).await
                    }
                    (done, _) => done,
                }
            }
        }
    }

    /// Whether the request is for a file that, once it is in the cache, is the right one for ever.
    pub(super) fn is_immutable_file(&self) -> bool {
        let request = &self.request;
        matches!(request.selection, Selection::File(_))
            && request.revision.as_commit().is_some()
            && request.local_dir.is_none()
            && !request.force
    }

    /// Asks the Hub once; if that fails, what is on this machine will do, as for huggingface_hub;
    /// and only if that doesn't help, asks again. A Hub that refuses for now hasn't failed: it is
    /// waited for, unless the call ends before.
    pub(super) async fn resolve_or_locate(self: &Arc<Self>) -> Result<Found> {
        let policy = RetryPolicy::new(&self.session.config);
        let counters = &self.call.counters;
        let error = loop {
            let error = match self.resolve(policy.once()).await {
                Ok(resolved) => return Ok(Found::OnHub(resolved)),
                Err(error) if may_use_cache(&error) => error,
                Err(error) => return Err(error),
            };
            // How long a Hub that names no time will refuse, nobody knows; the cache has an answer now.
            let is_named = error.context().hold.is_some_and(|hold| hold.is_named);
            if !is_named || !policy.may_wait_out(&error, counters) {
                break error;
            }
            policy.pause(1, error, counters).await?;
        };
        // Who wants a file anew can't use the one that is here. Of a snapshot, huggingface_hub takes what there is.
        let is_wanted_anew =
            self.request.force && matches!(self.request.selection, Selection::File(_));
        let explain = |error: Error| {
            let could_stand_in = error.is_transient() || error.kind() == Kind::Offline;
            if is_wanted_anew && could_stand_in {
                return error.noting("what is on this machine isn't what force_download asks for");
            }
            error
        };
        let error = if is_wanted_anew {
            error
        } else {
            match self.locally(Some(error)).await {
                Ok(placed) => return Ok(Found::Here(placed)),
                Err(error) => error,
            }
        };
        if !error.is_transient() {
            return Err(explain(error));
        }
        let most = if error.context().is_away { policy.attempts } else { FIRST_ATTEMPTS };
        policy.pause(1, error, counters).await?;
        let attempts = policy.attempts.min(most) - 1;
        let resolved = self.resolve(RetryPolicy { attempts, ..policy }).await;
        // The first attempt counts, too.
        resolved
            .map(Found::OnHub)
            .map_err(|error| error.with(|c| c.attempts = c.attempts.map(|attempts| attempts + 1)))
            .map_err(explain)
    }

    /// What [`run`](Self::run) would do. Changes nothing, but may keep a listing.
    pub(crate) async fn plan(self) -> Result<Plan> {
        let this = Arc::new(self);
        let planned = this.plan_transfer().await;
        planned.map_err(|error| this.repo_cache.cache().explain(error))
    }

    async fn plan_transfer(self: &Arc<Self>) -> Result<Plan> {
        let policy = RetryPolicy::new(&self.session.config);
        let Resolved { commit, entries, refused, .. } = self.resolve(policy).await?;
        let (of, preparing) = (commit.clone(), Arc::clone(self));
        let what = "a look at the folders of a download";
        let prepare = move || preparing.prepare(&of, false, refused);
        let transfer = self.call.blocking(what, prepare).await?;
        transfer.plan(entries).await
    }

    pub(super) async fn transfer(
        self: &Arc<Self>,
        resolved: Resolved,
        is_held: bool,
    ) -> Result<Placed> {
        let Resolved { commit, entries, refused, .. } = resolved;
        let (this, of, first) = (Arc::clone(self), commit.clone(), entries.first().cloned());
        let prepare = move || {
            let transfer = this.prepare(&of, is_held, refused)?;
            let path = this.path(&transfer.target, first.as_ref())?;
            Ok((transfer, path))
        };
        let what = "a look at the folders of a download";
        let (transfer, path) = self.call.blocking(what, prepare).await?;
        let known =
            |entry: &Entry| (entry.path.to_string(), PublishedHash::from_etag(entry.etag()));
        let files: Vec<_> = entries.iter().map(known).collect();
        Arc::clone(&transfer).run(entries).await?;
        if transfer.listing_is_old.load(Ordering::Relaxed) {
            self.renew_listing(&commit).await;
        }
        Ok(self.placed(path, commit, files))
    }

    /// What a finished call says, about `files` and the hashes that they are known by.
    fn placed(
        &self,
        path: PathBuf,
        commit: CommitId,
        files: impl IntoIterator<Item = (String, Option<PublishedHash>)>,
    ) -> Placed {
        let ended = files.into_iter().filter_map(|(name, known)| {
            let mut ended = self.call.counters.take_ended(&name)?;
            ended.local_path = self.local_path(&path, &name);
            ended.hash = ended.hash.or(known);
            Some(ended)
        });
        let file_transfers = ended.collect();
        Placed { path, commit, file_transfers }
    }

    /// Where a file is, in a call that returns `path`.
    fn local_path(&self, path: &Path, name: &str) -> PathBuf {
        match self.request.selection {
            Selection::File(_) => path.to_path_buf(),
            Selection::Snapshot(_) => path.join(name),
        }
    }

    /// All that is needed to bring in files of a commit; `is_held`: our own pruning is kept away;
    /// `refused`: those that won't be.
    fn prepare(&self, commit: &CommitId, is_held: bool, refused: Refused) -> Result<Arc<Transfer>> {
        let Session { config, hub, .. } = &self.session;
        let (repo, target) = (self.request.repo.clone(), Arc::new(self.target(commit)?));
        let cas = self.session.cas(&repo, commit)?;
        Ok(Arc::new(Transfer {
            hub: hub.clone(),
            cas: config.transport.uses_xet().then(|| Arc::new(cas)),
            falls_back: config.transport.falls_back(),
            policy: RetryPolicy::new(config),
            plain: Known::new(&self.session.content_outages),
            repo,
            commit: commit.clone(),
            revision: self.request.revision.clone(),
            names: self.call.off_worker(LastSync::new(&target)),
            target,
            is_held,
            refused,
            reuse: self.session.reuse.clone(),
            force: self.request.force,
            listing_is_old: AtomicBool::new(false),
            call: self.call.clone(),
        }))
    }

    /// Answers from this machine alone; `why` is what kept the Hub from being asked.
    pub(super) async fn locally(self: &Arc<Self>, why: Option<Error>) -> Result<Placed> {
        let this = Arc::clone(self);
        let locate = move || {
            let found = this.locate()?;
            let known =
                |(name, _): &(String, u64)| Ok(known_hash(&this.local_path(&found.path, name)));
            let hashes = Walk::new(&this.call).each(&found.files, known)?;
            Ok((found, hashes))
        };
        let located = self.call.blocking("a look at what is on this machine", locate).await;
        match (located, why) {
            // One hiccup of the network must not turn a part of a snapshot into the whole.
            (Ok((found, _)), Some(error))
                if !found.is_known_complete && error.kind() != Kind::Offline =>
            {
                let path = found.path.display();
                let note = format!("what is in {path} may not be all of it, and can't stand in");
                Err(error.noting(&note))
            }
            (Ok((found, hashes)), why) => {
                match why {
                    // Who has switched the network off knows.
                    Some(error) if error.kind() == Kind::Offline => {
                        tracing::info!(%error, "using what is on this machine");
                    }
                    Some(error) => {
                        tracing::warn!(%error, "can't ask the Hub; using what is on this machine");
                    }
                    None => {}
                }
                let counters = &self.call.counters;
                counters.set_totals(
                    u32::try_from(found.files.len()).unwrap_or(u32::MAX),
                    found.bytes(),
                );
                for (path, bytes) in &found.files {
                    counters.add_present(path, *bytes);
                }
                let names = found.files.into_iter().map(|(name, _)| name);
                Ok(self.placed(found.path, found.commit, names.zip(hashes)))
            }
            // The cache doesn't help, so the first failure is the one to tell, unless it is that we
            // may not ask.
            (Err(absence), Some(error))
                if absence.kind() == Kind::LocalEntryNotFound && error.kind() != Kind::Offline =>
            {
                Err(error.noting(&format!("what is on this machine can't stand in: {absence}")))
            }
            (Err(absence), Some(_)) if absence.kind() == Kind::LocalEntryNotFound => Err(absence
                .noting(
                    "the network is switched off (HF_HUB_OFFLINE, or the client's offline option)",
                )),
            (Err(absence), _) => Err(absence),
        }
    }

    fn locate(&self) -> Result<Located> {
        let (cache, revision) = (&self.repo_cache, &self.request.revision);
        let walk = Walk::new(&self.call);
        match (&self.request.local_dir, &self.request.selection) {
            (None, Selection::File(path)) => cache.locate_file(revision, path),
            (None, Selection::Snapshot(patterns)) => {
                cache.locate_snapshot(revision, patterns, &walk)
            }
            (Some(root), Selection::File(path)) => {
                LocalDir::new(root, cache.cache())?.locate_file(cache, revision, path, &walk)
            }
            (Some(root), Selection::Snapshot(patterns)) => LocalDir::new(root, cache.cache())?
                .locate_snapshot(cache, revision, patterns, &walk),
        }
    }

    pub(super) fn target(&self, commit: &CommitId) -> Result<Target> {
        let (repo, commit) = (self.repo_cache.clone(), commit.clone());
        Ok(match &self.request.local_dir {
            None => Target::Cache { repo, commit },
            Some(root) => Target::LocalDir { dir: self.local_dir(root)?, repo, commit },
        })
    }

    /// One for the whole call: it knows which folders have got new names.
    fn local_dir(&self, root: &Path) -> Result<LocalDir> {
        if let Some(dir) = self.local_dir.get() {
            return Ok(dir.clone());
        }
        let dir = LocalDir::new(root, self.repo_cache.cache())?;
        Ok(self.local_dir.get_or_init(|| dir).clone())
    }

    /// What the call returns: the file's path, or the folder's.
    fn path(&self, target: &Target, first: Option<&Entry>) -> Result<PathBuf> {
        match (&self.request.selection, first) {
            (Selection::File(_), Some(entry)) => target.final_path(entry),
            _ => Ok(target.root()),
        }
    }
}

/// The hash that the cache knows a file by: the name of the blob that a snapshot's link leads to.
/// `None` where there is no link, as in a local folder.
fn known_hash(path: &Path) -> Option<PublishedHash> {
    let blob = std::fs::read_link(path).ok()?;
    PublishedHash::from_etag(blob.file_name()?.to_str()?)
}

/// Whether a failure can come from a wrong hash or size in a listing. A redirect that leads nowhere has no content
/// that could, and whoever asks about the file is led there, too.
fn contradicts_the_listing(error: &Error) -> bool {
    let is_redirect = matches!(error.context().http_status, Some(300..=399));
    matches!(error.kind(), Kind::ChecksumMismatch | Kind::InvalidResponse) && !is_redirect
}

/// Whether a failure can come from a wrong hash, size or commit, and not only from wrong content.
pub(crate) fn may_be_misdescribed(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::ChecksumMismatch
            | Kind::InvalidResponse
            | Kind::RevisionNotFound
            | Kind::EntryNotFound
            | Kind::NotFound
    )
}

/// Whether the local cache may answer after this failure to ask the Hub: all but a plain "there is
/// no such thing". As in huggingface_hub, that includes refusals: what is here was allowed once.
fn may_use_cache(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Connection
            | Kind::Timeout
            | Kind::ServerError
            | Kind::RateLimited
            | Kind::InvalidResponse
            | Kind::Offline
            | Kind::Unauthorized
            | Kind::Forbidden
            | Kind::GatedRepo
            | Kind::RepoDisabled
            | Kind::RepoNotFound
    )
}
